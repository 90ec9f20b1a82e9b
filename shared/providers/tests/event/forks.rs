//! Nothing from a fork starts by itself: an event that may be about what a fork brings says so, also where its payload does
//! not.

use providers::event;
use serde_json::{Value, json};

/// Types that may be about a pull request, some of them made up: what a provider adds is none of the others.
const ELSEWHERE: &[(&str, &[&str])] = &[
    (
        "github",
        &[
            "check_run",
            "check_suite",
            "code_scanning_alert",
            "commit_comment",
            "deployment",
            "deployment_status",
            "merge_group",
            "status",
            "workflow_job",
            "workflow_run",
            "pull_request",
            "pull_request_review_comment",
            "added_next_year",
            "",
        ],
    ),
    (
        "gitlab",
        &[
            "Job Hook",
            "Deployment Hook",
            "Merge Request Hook",
            "System Hook",
            "",
        ],
    ),
    (
        "azure-devops",
        &[
            "build.complete",
            "git.pullrequest.created",
            "ms.vss-code.git-pullrequest-comment-event",
            "ms.vss-pipelines.run-state-changed-event",
            "ms.vss-release.deployment-completed-event",
        ],
    ),
    (
        "gitea",
        &[
            "pull_request",
            "pull_request_comment",
            "status",
            "workflow_job",
            "workflow_run",
        ],
    ),
    (
        "forgejo",
        &["action_run_failure", "pull_request", "workflow_run"],
    ),
    ("gogs", &["pull_request", "status"]),
    (
        "bitbucket-cloud",
        &[
            "pullrequest:created",
            "repo:commit_comment_created",
            "repo:commit_status_created",
            "repo:added_next_year",
            "",
        ],
    ),
    (
        "bitbucket-dc",
        &["pr:opened", "repo:comment:added", "added_next_year", ""],
    ),
];

/// Types that are about the repository itself.
const OWN: &[(&str, &[&str])] = &[
    (
        "github",
        &[
            "push",
            "create",
            "delete",
            "release",
            "package",
            "registry_package",
            "issues",
            "issue_comment",
            "star",
            "repository_dispatch",
            "workflow_dispatch",
        ],
    ),
    (
        "gitlab",
        &[
            "Push Hook",
            "Tag Push Hook",
            "Release Hook",
            "Issue Hook",
            "Note Hook",
            "Emoji Hook",
            "Pipeline Hook",
        ],
    ),
    (
        "azure-devops",
        &["git.push", "git.repo.created", "workitem.created"],
    ),
    ("gitea", &["push", "create", "delete", "release", "package"]),
    (
        "forgejo",
        &["push", "create", "delete", "release", "package"],
    ),
    ("gogs", &["push", "create", "delete", "release"]),
    (
        "bitbucket-cloud",
        &["repo:push", "repo:fork", "repo:updated", "issue:created"],
    ),
    (
        "bitbucket-dc",
        &[
            "repo:refs_changed",
            "repo:forked",
            "repo:modified",
            "mirror:repo_synchronized",
        ],
    ),
];

/// All of them, each with its provider.
pub(crate) const TYPES: [&[(&str, &[&str])]; 2] = [ELSEWHERE, OWN];

fn told(provider: &str, event_type: &str, body: &Value) -> Option<Option<bool>> {
    let event = event::of(provider, event_type, Some(body));
    event.pull_request.map(|pull_request| pull_request.fork)
}

#[test]
fn what_may_be_of_a_fork_says_so() {
    for (provider, types) in ELSEWHERE {
        for event_type in *types {
            let told = told(provider, event_type, &json!({}));
            assert_eq!(told, Some(None), "{provider}: {event_type}");
        }
    }
}

#[test]
fn what_is_of_the_repository_itself_is_about_no_pull_request() {
    for (provider, types) in OWN {
        for event_type in *types {
            let told = told(provider, event_type, &json!({}));
            assert_eq!(told, None, "{provider}: {event_type}");
        }
    }
}

#[test]
fn a_branch_that_may_be_of_a_fork_is_never_the_events_own() {
    let cases = [
        (
            "github",
            "check_suite",
            json!({"check_suite": {"head_branch": "main", "head_sha": "2e1d"}}),
        ),
        (
            "github",
            "check_run",
            json!({"check_run": {"head_sha": "2e1d", "check_suite": {"head_branch": "main"}}}),
        ),
        (
            "github",
            "workflow_job",
            json!({"workflow_job": {"head_branch": "main", "head_sha": "2e1d"}}),
        ),
        (
            "github",
            "deployment_status",
            json!({"deployment": {"ref": "main", "sha": "2e1d"}}),
        ),
        (
            "gitea",
            "workflow_run",
            json!({"workflow_run": {"head_branch": "main", "head_sha": "2e1d"}}),
        ),
        (
            "azure-devops",
            "build.complete",
            json!({"resource": {"sourceBranch": "refs/heads/main", "sourceVersion": "2e1d"}}),
        ),
        (
            "bitbucket-cloud",
            "repo:commit_status_created",
            json!({"commit_status": {"refname": "main", "commit": {"hash": "2e1d"}}}),
        ),
        (
            "sonarqube",
            "",
            json!({"revision": "2e1d", "branch": {"name": "main", "type": "SHORT"}}),
        ),
        ("gitlab", "Job Hook", json!({"ref": "main", "sha": "2e1d"})),
        (
            "gitlab",
            "Deployment Hook",
            json!({"ref": "main", "commit_sha": "2e1d"}),
        ),
    ];
    for (provider, event_type, body) in cases {
        let event = event::of(provider, event_type, Some(&body));
        assert_eq!((event.branch, event.r#ref), (None, None), "{event_type}");
        assert_eq!(event.revision.as_deref(), Some("2e1d"), "{event_type}");
        let branch = event.pull_request.unwrap().source_branch;
        assert_eq!(branch.as_deref(), Some("main"), "{event_type}");
    }
}

#[test]
fn what_is_pushed_for_a_branch_may_come_from_anybody() {
    let with = |label: Value| {
        let head = json!({"label": label, "ref": "refs/pull/7/head", "repo_id": 31});
        let body = json!({"pull_request": {"head": head, "base": {"repo_id": 31}}});
        told("gitea", "pull_request", &body)
    };
    assert_eq!(with(json!("feature")), Some(Some(false)));
    for label in [json!(""), json!(null), json!(["feature"])] {
        assert_eq!(with(label), Some(None));
    }
}

#[test]
fn a_captured_payload_is_not_the_repositorys_own_under_another_type() {
    let event = |event_type, body| event::of("github", event_type, Some(&body));
    let push = json!({"ref": "refs/heads/main", "after": "2e1d"});
    assert!(event("push", push.clone()).pull_request.is_none());
    let mut fork = push;
    fork["pull_request"] = json!({"head": {"ref": "main"}});
    for event_type in ["push", "star", "issue_comment"] {
        let event = event(event_type, fork.clone());
        assert_eq!(event.r#type, event_type);
        assert_eq!((event.r#ref, event.branch), (None, None), "{event_type}");
        assert_eq!(event.pull_request.unwrap().fork, None, "{event_type}");
    }
}
