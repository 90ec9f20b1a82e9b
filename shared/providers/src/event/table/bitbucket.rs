//! Bitbucket: Cloud, and Data Center (formerly Server), which have little in common but the name.
//!
//! Neither lists changed files. Cloud has no login names: nicknames are neither unique nor lasting, so accounts are
//! told by their UUID.

use crate::event::mapping::{
    Deleted, Events, Fork, Mapping, NO_PULL_REQUEST, NO_REPOSITORY, NOTHING, PullRequestAt, RefAt,
    RepositoryAt, Text, at, elsewhere,
};

pub(crate) const CLOUD: Events = Events {
    mappings: CLOUD_MAPPINGS,
    proposals: &["/pullrequest", "/commit_status", "/commit"],
};

const CLOUD_MAPPINGS: &[Mapping] = &[
    Mapping {
        types: &["repo:push"],
        refs: Some("/push/changes"),
        r#ref: RefAt::Named {
            name: &["/new/name", "/old/name"],
            kind: &["/new/type", "/old/type"],
        },
        revision: &["/push/changes/0/new/target/hash"],
        before: &["/push/changes/0/old/target/hash"],
        deleted: Deleted::True("/push/changes/0/closed"),
        ..CLOUD_ANY
    },
    Mapping {
        types: &["pullrequest:*"],
        action: Text::Rest,
        author: at(&["/pullrequest/author/uuid"]),
        pull_request: Some(PullRequestAt {
            number: &["/pullrequest/id"],
            title: &["/pullrequest/title"],
            url: &["/pullrequest/links/html/href"],
            source_branch: &["/pullrequest/source/branch/name"],
            target_branch: &["/pullrequest/destination/branch/name"],
            revision: &["/pullrequest/source/commit/hash"],
            fork: Fork::Differ(
                "/pullrequest/source/repository/uuid",
                "/pullrequest/destination/repository/uuid",
            ),
            ..NO_PULL_REQUEST
        }),
        ..CLOUD_ANY
    },
    elsewhere(
        CLOUD_ANY,
        &["repo:commit_status_*"],
        &["/commit_status/refname"],
        &["/commit_status/commit/hash"],
    ),
    Mapping {
        types: CLOUD_OWN,
        ..CLOUD_ANY
    },
    elsewhere(CLOUD_ANY, &["*"], &[], &[]),
];

/// Types that are about the repository itself, or about no code. What Bitbucket adds is not among them, and so taken for
/// a pull request's.
const CLOUD_OWN: &[&str] = &[
    "issue:*",
    "project:*",
    "repo:created",
    "repo:deleted",
    "repo:fork",
    "repo:imported",
    "repo:transfer",
    "repo:updated",
];

const CLOUD_ANY: Mapping = Mapping {
    repository: RepositoryAt {
        full_name: at(&["/repository/full_name"]),
        url: at(&["/repository/links/html/href"]),
        ..NO_REPOSITORY
    },
    sender: at(&["/actor/uuid"]),
    ..NOTHING
};

pub(crate) const DATA_CENTER: Events = Events {
    mappings: DATA_CENTER_MAPPINGS,
    proposals: &["/pullRequest", "/commit"],
};

const DATA_CENTER_MAPPINGS: &[Mapping] = &[
    Mapping {
        types: &["repo:refs_changed"],
        refs: Some("/changes"),
        r#ref: RefAt::Full(&["/refId", "/ref/id"]),
        revision: &["/changes/0/toHash"],
        before: &["/changes/0/fromHash"],
        deleted: Deleted::Is("/changes/0/type", "DELETE"),
        ..DATA_CENTER_ANY
    },
    Mapping {
        types: &["pr:*"],
        action: Text::Rest,
        repository: RepositoryAt {
            full_name: Text::Joined(&[
                "/pullRequest/toRef/repository/project/key",
                "/pullRequest/toRef/repository/slug",
            ]),
            url: at(&["/pullRequest/toRef/repository/links/self/0/href"]),
            clone_url: Text::Of {
                list: "/pullRequest/toRef/repository/links/clone",
                key: "/name",
                value: "http",
                at: "/href",
            },
            ..NO_REPOSITORY
        },
        author: at(&["/pullRequest/author/user/name"]),
        pull_request: Some(PullRequestAt {
            number: &["/pullRequest/id"],
            title: &["/pullRequest/title"],
            url: &["/pullRequest/links/self/0/href"],
            source_branch: &["/pullRequest/fromRef/id"],
            target_branch: &["/pullRequest/toRef/id"],
            revision: &["/pullRequest/fromRef/latestCommit"],
            fork: Fork::Differ(
                "/pullRequest/fromRef/repository/id",
                "/pullRequest/toRef/repository/id",
            ),
            ..NO_PULL_REQUEST
        }),
        ..DATA_CENTER_ANY
    },
    Mapping {
        types: DATA_CENTER_OWN,
        ..DATA_CENTER_ANY
    },
    elsewhere(DATA_CENTER_ANY, &["*"], &[], &[]),
];

/// As [`CLOUD_OWN`].
const DATA_CENTER_OWN: &[&str] = &[
    "diagnostics:ping",
    "mirror:repo_synchronized",
    "project:*",
    "repo:forked",
    "repo:modified",
    "repo:secret_detected",
];

const DATA_CENTER_ANY: Mapping = Mapping {
    repository: RepositoryAt {
        full_name: Text::Joined(&["/repository/project/key", "/repository/slug"]),
        url: at(&["/repository/links/self/0/href"]),
        clone_url: Text::Of {
            list: "/repository/links/clone",
            key: "/name",
            value: "http",
            at: "/href",
        },
        ..NO_REPOSITORY
    },
    sender: at(&["/actor/name"]),
    ..NOTHING
};
