//! GitHub, in the cloud and Enterprise Server.

use crate::event::mapping::{
    Deleted, Events, Files, Fork, ImageAt, Mapping, NO_IMAGE, NO_PULL_REQUEST, NO_REPOSITORY,
    NOTHING, Present, PullRequestAt, RefAt, RepositoryAt, at, elsewhere,
};

pub(crate) const GITHUB: Events = Events {
    mappings: MAPPINGS,
    proposals: &[
        "/pull_request",
        "/issue/pull_request",
        "/workflow_run",
        "/workflow_job",
        "/check_run",
        "/check_suite",
        "/deployment",
        "/merge_group",
        "/comment/commit_id",
        // A status, and an alert of code scanning.
        "/sha",
        "/commit_oid",
    ],
};

const MAPPINGS: &[Mapping] = &[
    Mapping {
        types: &["push"],
        r#ref: RefAt::Full(&["/ref"]),
        // `after` of an annotated tag is the tag's own object.
        revision: &["/head_commit/id", "/after"],
        before: &["/before"],
        deleted: Deleted::True("/deleted"),
        files: Some(Files {
            commits: "/commits",
            most_commits: 2048,
            total: None,
            most_files: 3000,
            unless: &["/created", "/deleted", "/forced"],
        }),
        ..ANY
    },
    Mapping {
        types: &["pull_request", "pull_request_review*"],
        author: at(&["/pull_request/user/login"]),
        pull_request: Some(PullRequestAt {
            number: &["/pull_request/number", "/number"],
            title: &["/pull_request/title"],
            url: &["/pull_request/html_url"],
            source_branch: &["/pull_request/head/ref"],
            target_branch: &["/pull_request/base/ref"],
            revision: &["/pull_request/head/sha"],
            // The repository of the head is missing once a fork is gone.
            fork: Fork::Differ("/pull_request/head/repo/id", "/pull_request/base/repo/id"),
            ..NO_PULL_REQUEST
        }),
        ..ANY
    },
    Mapping {
        types: &["issue_comment", "issues"],
        author: at(&["/issue/user/login"]),
        pull_request: Some(PullRequestAt {
            present: Present::At("/issue/pull_request"),
            number: &["/issue/number"],
            title: &["/issue/title"],
            url: &["/issue/pull_request/html_url"],
            ..NO_PULL_REQUEST
        }),
        ..ANY
    },
    Mapping {
        types: &["release"],
        r#ref: RefAt::Tag(&["/release/tag_name"]),
        ..ANY
    },
    Mapping {
        types: &["create"],
        r#ref: REF_AND_TYPE,
        ..ANY
    },
    Mapping {
        types: &["delete"],
        r#ref: REF_AND_TYPE,
        deleted: Deleted::Always,
        ..ANY
    },
    Mapping {
        types: &["workflow_run"],
        r#ref: RefAt::Branch(&["/workflow_run/head_branch"]),
        revision: &["/workflow_run/head_sha"],
        pull_request: Some(PullRequestAt {
            // Empty for pull requests from forks. Those show by the repository of the head, which is missing once
            // the fork is gone.
            present: Present::AtOrElsewhere("/workflow_run/pull_requests/0"),
            number: &["/workflow_run/pull_requests/0/number"],
            source_branch: &["/workflow_run/head_branch"],
            target_branch: &["/workflow_run/pull_requests/0/base/ref"],
            revision: &["/workflow_run/head_sha"],
            fork: Fork::Differ("/workflow_run/head_repository/id", "/repository/id"),
            ..NO_PULL_REQUEST
        }),
        ..ANY
    },
    Mapping {
        types: &["package"],
        given: Some(("/package/package_type", "container")),
        image: Some(ImageAt {
            references: &["/package/package_version/package_url"],
            tag: at(&["/package/package_version/container_metadata/tag/name"]),
            digest: at(&["/package/package_version/container_metadata/tag/digest"]),
            ..NO_IMAGE
        }),
        ..ANY
    },
    Mapping {
        types: &["registry_package"],
        given: Some(("/registry_package/package_type", "container")),
        image: Some(ImageAt {
            references: &["/registry_package/package_version/package_url"],
            tag: at(&["/registry_package/package_version/container_metadata/tag/name"]),
            digest: at(&["/registry_package/package_version/container_metadata/tag/digest"]),
            ..NO_IMAGE
        }),
        ..ANY
    },
    elsewhere(
        ANY,
        &["check_run"],
        &["/check_run/check_suite/head_branch"],
        &["/check_run/head_sha"],
    ),
    elsewhere(
        ANY,
        &["check_suite"],
        &["/check_suite/head_branch"],
        &["/check_suite/head_sha"],
    ),
    elsewhere(
        ANY,
        &["workflow_job"],
        &["/workflow_job/head_branch"],
        &["/workflow_job/head_sha"],
    ),
    elsewhere(
        ANY,
        &["deployment*"],
        &["/deployment/ref"],
        &["/deployment/sha"],
    ),
    elsewhere(ANY, &["status"], &[], &["/sha"]),
    Mapping { types: OWN, ..ANY },
    elsewhere(ANY, &["*"], &[], &[]),
];

/// Types that are about the repository itself, or about no code. What GitHub adds is not among them, and so taken for a
/// pull request's.
const OWN: &[&str] = &[
    "branch_protection*",
    "custom_property*",
    "dependabot_alert",
    "deploy_key",
    "discussion*",
    "fork",
    "github_app_authorization",
    "gollum",
    "installation*",
    "issue_dependencies",
    "label",
    "marketplace_purchase",
    "member*",
    "meta",
    "milestone",
    "org*",
    "package",
    "page_build",
    "ping",
    "project*",
    "public",
    "registry_package",
    "repository*",
    "secret_scanning*",
    "security_*",
    "sponsorship",
    "star",
    "sub_issues",
    "team*",
    "watch",
    "workflow_dispatch",
];

/// What all events have in common.
const ANY: Mapping = Mapping {
    action: at(&["/action"]),
    repository: RepositoryAt {
        full_name: at(&["/repository/full_name"]),
        url: at(&["/repository/html_url"]),
        clone_url: at(&["/repository/clone_url"]),
        ..NO_REPOSITORY
    },
    sender: at(&["/sender/login"]),
    ..NOTHING
};

const REF_AND_TYPE: RefAt = RefAt::Named {
    name: &["/ref"],
    kind: &["/ref_type"],
};
