//! What is neither a small family of Git servers nor a registry: Azure DevOps, CDEvents, Flux, Slack, SonarQube.

use crate::event::mapping::{
    Deleted, Events, Fork, ImageAt, Mapping, NO_EVENTS, NO_IMAGE, NO_PULL_REQUEST, NO_REPOSITORY,
    NOTHING, Present, PullRequestAt, RefAt, RepositoryAt, Text, at,
};

/// Azure DevOps lists no changed files. That `forkSource` is missing proves no absence of a fork.
pub(crate) const AZURE_DEVOPS: Events = Events {
    mappings: &[
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
    ],
    ..NO_EVENTS
};

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
pub(crate) const CDEVENTS: Events = Events {
    mappings: &[
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
    ],
    ..NO_EVENTS
};

const CDEVENTS_REPOSITORY: RepositoryAt = RepositoryAt {
    full_name: at(&["/subject/content/repository/id"]),
    ..NO_REPOSITORY
};

/// The controller forwards metadata without the prefix of its group; older ones left it.
pub(crate) const FLUX_ALERT: Events = Events {
    mappings: &[Mapping {
        sender: at(&["/reportingController"]),
        revision: &[
            "/metadata/revision",
            "/metadata/source.toolkit.fluxcd.io~1revision",
            "/metadata/kustomize.toolkit.fluxcd.io~1revision",
            "/metadata/helm.toolkit.fluxcd.io~1revision",
        ],
        ..NOTHING
    }],
    ..NO_EVENTS
};

/// Events, slash commands and interactive messages.
pub(crate) const SLACK: Events = Events {
    mappings: &[Mapping {
        sender: at(&["/event/user", "/user_id", "/user/id"]),
        ..NOTHING
    }],
    ..NO_EVENTS
};

/// An analysis of a pull request is of what may be a fork's, and so is one of a branch of an unknown kind.
pub(crate) const SONARQUBE: Events = Events {
    mappings: &[
        Mapping {
            given: Some(("/branch/type", "BRANCH")),
            ..SONARQUBE_BRANCH
        },
        Mapping {
            // Before 8.1, a branch that stays. Short-lived ones stood for pull requests.
            given: Some(("/branch/type", "LONG")),
            ..SONARQUBE_BRANCH
        },
        Mapping {
            given: Some(("/branch/type", "PULL_REQUEST")),
            pull_request: Some(PullRequestAt {
                number: &["/branch/name"],
                url: &["/branch/url"],
                revision: &["/revision"],
                ..NO_PULL_REQUEST
            }),
            ..NOTHING
        },
        Mapping {
            revision: &["/revision"],
            pull_request: Some(PullRequestAt {
                // Without branches there are no pull requests, either.
                present: Present::At("/branch"),
                source_branch: &["/branch/name"],
                revision: &["/revision"],
                ..NO_PULL_REQUEST
            }),
            ..NOTHING
        },
    ],
    ..NO_EVENTS
};

const SONARQUBE_BRANCH: Mapping = Mapping {
    r#ref: RefAt::Branch(&["/branch/name"]),
    revision: &["/revision"],
    ..NOTHING
};
