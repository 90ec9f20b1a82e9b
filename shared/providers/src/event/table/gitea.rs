//! Gitea, Forgejo and Gogs: payloads after GitHub's model, with differences.
//!
//! A push lists a few commits only (`ui.FEED_MAX_COMMIT_NUM`, 5), and Gitea and Forgejo tell how many there were. A
//! forced push does not look like one. Gogs does not tell the number, so that its files are never known.

use crate::event::mapping::{
    Deleted, Events, Files, Fork, ImageAt, Mapping, NO_IMAGE, NO_PULL_REQUEST, NO_REPOSITORY,
    NOTHING, Present, PullRequestAt, RefAt, RepositoryAt, Text, at, elsewhere,
};

pub(crate) const GITEA: Events = Events {
    mappings: GITEA_MAPPINGS,
    proposals: &[
        "/pull_request",
        "/issue/pull_request",
        "/workflow_run",
        "/workflow_job",
        // The end of an action at Forgejo, and a status.
        "/run",
        "/context",
    ],
};

const GITEA_MAPPINGS: &[Mapping] = &[
    Mapping {
        files: Some(Files {
            commits: "/commits",
            most_commits: 5,
            total: Some("/total_commits"),
            most_files: usize::MAX,
            unless: &[],
        }),
        ..PUSH
    },
    PULL_REQUEST,
    ISSUE,
    RELEASE,
    CREATE,
    DELETE,
    elsewhere(
        ANY,
        &["workflow_run"],
        &["/workflow_run/head_branch"],
        &["/workflow_run/head_sha"],
    ),
    elsewhere(
        ANY,
        &["workflow_job"],
        &["/workflow_job/head_branch"],
        &["/workflow_job/head_sha"],
    ),
    Mapping {
        types: &["package"],
        given: Some(("/package/type", "container")),
        image: Some(ImageAt {
            repository: Text::Joined(&["/package/owner/login", "/package/name"]),
            tag: at(&["/package/version"]),
            ..NO_IMAGE
        }),
        ..ANY
    },
    Mapping { types: OWN, ..ANY },
    elsewhere(ANY, &["*"], &[], &[]),
];

pub(crate) const GOGS: Events = Events {
    mappings: GOGS_MAPPINGS,
    proposals: &["/pull_request", "/issue/pull_request"],
};

const GOGS_MAPPINGS: &[Mapping] = &[
    PUSH,
    Mapping {
        pull_request: Some(PullRequestAt {
            present: Present::Always,
            number: &["/pull_request/number", "/index"],
            title: &["/pull_request/title"],
            url: &["/pull_request/html_url"],
            source_branch: &["/pull_request/head_branch"],
            target_branch: &["/pull_request/base_branch"],
            revision: &[],
            fork: Fork::Differ("/pull_request/head_repo/id", "/pull_request/base_repo/id"),
        }),
        ..PULL_REQUEST
    },
    ISSUE,
    RELEASE,
    CREATE,
    DELETE,
    Mapping { types: OWN, ..ANY },
    elsewhere(ANY, &["*"], &[], &[]),
];

/// Types that are about the repository itself, or about no code. What these servers add, such as the end of an action, is
/// not among them, and so taken for a pull request's.
const OWN: &[&str] = &["fork", "package", "repository", "wiki"];

const ANY: Mapping = Mapping {
    action: at(&["/action"]),
    repository: RepositoryAt {
        full_name: at(&["/repository/full_name"]),
        url: at(&["/repository/html_url"]),
        clone_url: at(&["/repository/clone_url"]),
        ..NO_REPOSITORY
    },
    sender: at(&["/sender/login", "/sender/username"]),
    ..NOTHING
};

const PUSH: Mapping = Mapping {
    types: &["push"],
    r#ref: RefAt::Full(&["/ref"]),
    revision: &["/after"],
    before: &["/before"],
    deleted: Deleted::Zero("/after"),
    ..ANY
};

const PULL_REQUEST: Mapping = Mapping {
    types: &["pull_request", "pull_request_*"],
    author: at(&["/pull_request/user/login", "/pull_request/user/username"]),
    pull_request: Some(PullRequestAt {
        // A comment of some versions does not bring it along.
        present: Present::Always,
        number: &["/pull_request/number", "/number", "/issue/number"],
        title: &["/pull_request/title"],
        url: &["/pull_request/html_url"],
        source_branch: &["/pull_request/head/ref"],
        target_branch: &["/pull_request/base/ref"],
        revision: &["/pull_request/head/sha"],
        // What is pushed to `refs/for/main` (AGit) comes from anybody who may read, and has the target's repository
        // for its source; no branch is behind it, so that the label is empty.
        fork: Fork::DifferOrNamed(
            ["/pull_request/head/repo_id", "/pull_request/base/repo_id"],
            "/pull_request/head/label",
        ),
    }),
    ..ANY
};

const ISSUE: Mapping = Mapping {
    types: &["issue_comment", "issues"],
    author: at(&["/issue/user/login", "/issue/user/username"]),
    pull_request: Some(PullRequestAt {
        present: Present::At("/issue/pull_request"),
        number: &["/issue/number"],
        title: &["/issue/title"],
        url: &["/issue/html_url"],
        ..NO_PULL_REQUEST
    }),
    ..ANY
};

const RELEASE: Mapping = Mapping {
    types: &["release"],
    r#ref: RefAt::Tag(&["/release/tag_name"]),
    ..ANY
};

const CREATE: Mapping = Mapping {
    types: &["create"],
    r#ref: REF_AND_TYPE,
    revision: &["/sha"],
    ..ANY
};

const DELETE: Mapping = Mapping {
    types: &["delete"],
    r#ref: REF_AND_TYPE,
    deleted: Deleted::Always,
    ..ANY
};

const REF_AND_TYPE: RefAt = RefAt::Named {
    name: &["/ref"],
    kind: &["/ref_type"],
};
