//! What is neither a small family of Git servers nor a registry: Azure DevOps, CDEvents, Flux, Slack.

use crate::event::mapping::{
    Deleted, Fork, ImageAt, Mapping, NO_IMAGE, NO_PULL_REQUEST, NO_REPOSITORY, NOTHING,
    PullRequestAt, RefAt, RepositoryAt, Text, at,
};

/// Azure DevOps lists no changed files. That `forkSource` is missing proves no absence of a fork.
pub(super) const AZURE_DEVOPS: &[Mapping] = &[
    Mapping {
        types: &["git.push"],
        refs: Some("/resource/refUpdates"),
        r#ref: RefAt::Full(&["/name"]),
        revision: &["/resource/refUpdates/0/newObjectId"],
        before: &["/resource/refUpdates/0/oldObjectId"],
        deleted: Deleted::Zero("/resource/refUpdates/0/newObjectId"),
        sender: at(&["/resource/pushedBy/uniqueName"]),
        ..AZURE_DEVOPS_ANY
    },
    Mapping {
        types: &["git.pullrequest.*"],
        action: Text::Rest,
        author: at(&["/resource/createdBy/uniqueName"]),
        pull_request: Some(PullRequestAt {
            number: &["/resource/pullRequestId"],
            title: &["/resource/title"],
            url: &["/resource/_links/web/href"],
            source_branch: &["/resource/sourceRefName"],
            target_branch: &["/resource/targetRefName"],
            revision: &["/resource/lastMergeSourceCommit/commitId"],
            fork: Fork::Present("/resource/forkSource"),
            ..NO_PULL_REQUEST
        }),
        ..AZURE_DEVOPS_ANY
    },
    Mapping {
        types: &["ms.vss-code.git-pullrequest-comment-event"],
        repository: RepositoryAt {
            name: at(&["/resource/pullRequest/repository/name"]),
            full_name: Text::Joined(&[
                "/resource/pullRequest/repository/project/name",
                "/resource/pullRequest/repository/name",
            ]),
            url: at(&["/resource/pullRequest/repository/remoteUrl"]),
            clone_url: at(&["/resource/pullRequest/repository/remoteUrl"]),
        },
        author: at(&["/resource/pullRequest/createdBy/uniqueName"]),
        pull_request: Some(PullRequestAt {
            number: &["/resource/pullRequest/pullRequestId"],
            title: &["/resource/pullRequest/title"],
            source_branch: &["/resource/pullRequest/sourceRefName"],
            target_branch: &["/resource/pullRequest/targetRefName"],
            revision: &["/resource/pullRequest/lastMergeSourceCommit/commitId"],
            fork: Fork::Present("/resource/pullRequest/forkSource"),
            ..NO_PULL_REQUEST
        }),
        ..NOTHING
    },
    Mapping {
        // About the repository itself, or about no code.
        types: &["git.repo.*", "message.posted", "tfvc.*", "workitem.*"],
        ..AZURE_DEVOPS_ANY
    },
    Mapping {
        // Builds, releases and pipelines may be of what a pull request from a fork brings.
        pull_request: Some(PullRequestAt {
            source_branch: &["/resource/sourceBranch"],
            revision: &["/resource/sourceVersion"],
            ..NO_PULL_REQUEST
        }),
        ..AZURE_DEVOPS_ANY
    },
];

const AZURE_DEVOPS_ANY: Mapping = Mapping {
    repository: RepositoryAt {
        name: at(&["/resource/repository/name"]),
        full_name: Text::Joined(&[
            "/resource/repository/project/name",
            "/resource/repository/name",
        ]),
        url: at(&[
            "/resource/repository/webUrl",
            "/resource/repository/remoteUrl",
        ]),
        clone_url: at(&["/resource/repository/remoteUrl"]),
    },
    ..NOTHING
};

/// CDEvents, out of their envelope.
pub(super) const CDEVENTS: &[Mapping] = &[
    Mapping {
        types: &["dev.cdevents.artifact.*"],
        image: Some(ImageAt {
            package: &["/subject/id"],
            ..NO_IMAGE
        }),
        ..NOTHING
    },
    Mapping {
        types: &["dev.cdevents.service.*"],
        image: Some(ImageAt {
            package: &["/subject/content/artifactId"],
            ..NO_IMAGE
        }),
        ..NOTHING
    },
    Mapping {
        types: &["dev.cdevents.repository.*"],
        repository: RepositoryAt {
            name: at(&["/subject/content/name"]),
            full_name: at(&["/subject/id"]),
            url: at(&["/subject/content/viewUrl"]),
            clone_url: at(&["/subject/content/url"]),
        },
        ..NOTHING
    },
    Mapping {
        types: &["dev.cdevents.change.merged.*", "dev.cdevents.branch.*"],
        repository: CDEVENTS_REPOSITORY,
        ..NOTHING
    },
    Mapping {
        // Proposals: nothing tells whether they come from a fork.
        types: &["dev.cdevents.change.*"],
        repository: CDEVENTS_REPOSITORY,
        pull_request: Some(NO_PULL_REQUEST),
        ..NOTHING
    },
];

const CDEVENTS_REPOSITORY: RepositoryAt = RepositoryAt {
    full_name: at(&["/subject/content/repository/id"]),
    ..NO_REPOSITORY
};

/// The controller forwards metadata without the prefix of its group; older ones left it.
pub(super) const FLUX_ALERT: &[Mapping] = &[Mapping {
    sender: at(&["/reportingController"]),
    revision: &[
        "/metadata/revision",
        "/metadata/source.toolkit.fluxcd.io~1revision",
        "/metadata/kustomize.toolkit.fluxcd.io~1revision",
        "/metadata/helm.toolkit.fluxcd.io~1revision",
    ],
    ..NOTHING
}];

/// Events, slash commands and interactive messages.
pub(super) const SLACK: &[Mapping] = &[Mapping {
    sender: at(&["/event/user", "/user_id", "/user/id"]),
    ..NOTHING
}];
