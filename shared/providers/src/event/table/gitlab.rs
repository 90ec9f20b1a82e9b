//! GitLab. The names of its events are those of the header, with their spaces.
//!
//! The login name of a merge request's author is told only while they act themselves; otherwise there is only a number.
//! A file that was renamed is listed under its new path alone, and a forced push does not look like one.

use crate::event::mapping::{
    Deleted, Events, Files, Fork, Mapping, NO_PULL_REQUEST, NO_REPOSITORY, NOTHING, Present,
    PullRequestAt, RefAt, RepositoryAt, Text, at, elsewhere,
};

pub(crate) const GITLAB: Events = Events {
    mappings: MAPPINGS,
    proposals: &[
        "/merge_request",
        "/object_attributes/source_branch",
        "/build_id",
        "/deployment_id",
    ],
};

const MAPPINGS: &[Mapping] = &[
    Mapping {
        types: &["Push Hook", "Tag Push Hook"],
        r#ref: RefAt::Full(&["/ref"]),
        // `after` of an annotated tag is the tag's own object.
        revision: &["/checkout_sha", "/after"],
        before: &["/before"],
        deleted: Deleted::Zero("/after"),
        files: Some(Files {
            commits: "/commits",
            most_commits: 20,
            total: Some("/total_commits_count"),
            most_files: usize::MAX,
            unless: &[],
        }),
        sender: at(&["/user_username"]),
        ..ANY
    },
    Mapping {
        types: &["Merge Request Hook"],
        author: Text::IfSame(
            ["/user/id", "/object_attributes/author_id"],
            "/user/username",
        ),
        pull_request: Some(PullRequestAt {
            number: &["/object_attributes/iid"],
            title: &["/object_attributes/title"],
            url: &["/object_attributes/url"],
            source_branch: &["/object_attributes/source_branch"],
            target_branch: &["/object_attributes/target_branch"],
            revision: &["/object_attributes/last_commit/id"],
            fork: Fork::Differ(
                "/object_attributes/source_project_id",
                "/object_attributes/target_project_id",
            ),
            ..NO_PULL_REQUEST
        }),
        ..ANY
    },
    Mapping {
        types: &["Note Hook", "Confidential Note Hook"],
        author: Text::IfSame(["/user/id", "/merge_request/author_id"], "/user/username"),
        pull_request: Some(MERGE_REQUEST),
        ..ANY
    },
    Mapping {
        types: &["Pipeline Hook"],
        r#ref: RefAt::Named {
            name: &["/object_attributes/ref"],
            kind: &["/object_attributes/tag"],
        },
        revision: &["/object_attributes/sha"],
        before: &["/object_attributes/before_sha"],
        pull_request: Some(MERGE_REQUEST),
        ..ANY
    },
    // Names no merge request, also where the job is one's.
    elsewhere(ANY, &["Job Hook"], &["/ref"], &["/sha"]),
    Mapping {
        types: &["Emoji Hook"],
        author: Text::IfSame(["/user/id", "/merge_request/author_id"], "/user/username"),
        pull_request: Some(MERGE_REQUEST),
        ..ANY
    },
    elsewhere(ANY, &["Deployment Hook"], &["/ref"], &["/commit_sha"]),
    Mapping {
        types: &["Release Hook"],
        action: at(&["/action"]),
        r#ref: RefAt::Tag(&["/tag"]),
        revision: &["/commit/id"],
        ..ANY
    },
    Mapping { types: OWN, ..ANY },
    elsewhere(ANY, &["*"], &[], &[]),
];

/// Types that are about the repository itself, or about no code. What GitLab adds is not among them, and so taken for a
/// merge request's.
const OWN: &[&str] = &[
    "Confidential Issue Hook",
    "Feature Flag Hook",
    "Issue Hook",
    "Member Hook",
    "Milestone Hook",
    "Project Hook",
    "Resource Access Token Hook",
    "Subgroup Hook",
    "Wiki Page Hook",
];

/// What all events have in common.
const ANY: Mapping = Mapping {
    action: at(&["/object_attributes/action"]),
    repository: RepositoryAt {
        full_name: at(&["/project/path_with_namespace"]),
        url: at(&["/project/web_url"]),
        clone_url: at(&["/project/git_http_url"]),
        ..NO_REPOSITORY
    },
    sender: at(&["/user/username", "/user_username"]),
    ..NOTHING
};

/// The merge request beside something else.
const MERGE_REQUEST: PullRequestAt = PullRequestAt {
    present: Present::At("/merge_request"),
    number: &["/merge_request/iid"],
    title: &["/merge_request/title"],
    url: &["/merge_request/url"],
    source_branch: &["/merge_request/source_branch"],
    target_branch: &["/merge_request/target_branch"],
    revision: &["/merge_request/last_commit/id"],
    fork: Fork::Differ(
        "/merge_request/source_project_id",
        "/merge_request/target_project_id",
    ),
};
