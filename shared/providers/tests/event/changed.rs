//! Changed files are known only where the payload lists all of them.

use providers::{Changed, Event, event};
use serde_json::{Value, json};

fn commit(files: &[&str]) -> Value {
    json!({"id": "c", "added": [], "modified": files, "removed": []})
}

fn push(commits: usize) -> Value {
    let commits = vec![commit(&["a/b.rs"]); commits];
    json!({
        "ref": "refs/heads/main", "before": "1", "after": "2", "created": false, "deleted": false, "forced": false,
        "commits": commits, "total_commits_count": commits.len(), "total_commits": commits.len(),
    })
}

fn read(provider: &str, body: &Value) -> Event {
    let event_type = if provider == "gitlab" {
        "Push Hook"
    } else {
        "push"
    };
    event::of(provider, event_type, Some(body))
}

fn is_known(provider: &str, body: &Value) -> bool {
    read(provider, body).changed.is_some()
}

#[test]
fn a_list_that_may_have_been_cut_is_not_known() {
    for (provider, commits, known) in [
        ("github", 1, true),
        ("github", 2047, true),
        ("github", 2048, false),
        ("gitlab", 1, true),
        ("gitlab", 20, true),
        ("gitea", 5, true),
        ("forgejo", 5, true),
        ("gogs", 1, false),
    ] {
        assert_eq!(
            is_known(provider, &push(commits)),
            known,
            "{provider} {commits}"
        );
    }
}

#[test]
fn the_number_of_all_commits_decides() {
    for (provider, field) in [
        ("gitlab", "total_commits_count"),
        ("gitea", "total_commits"),
        ("forgejo", "total_commits"),
    ] {
        let mut body = push(3);
        for total in [json!(4), json!(0), json!("3"), Value::Null] {
            body[field] = total;
            assert!(!is_known(provider, &body), "{provider} {body}");
        }
        body[field] = json!(3);
        assert!(is_known(provider, &body), "{provider}");
    }
}

#[test]
fn without_a_commit_to_compare_with_nothing_is_known() {
    for provider in ["github", "gitlab", "gitea"] {
        for (field, value) in [
            ("before", json!("0".repeat(40))),
            ("after", json!("0".repeat(40))),
            ("before", Value::Null),
            ("commits", json!([])),
            ("commits", Value::Null),
            ("commits", json!([{"id": "c"}])),
            (
                "commits",
                json!([{"id": "c", "added": [1], "modified": [], "removed": []}]),
            ),
        ] {
            let mut body = push(1);
            body[field] = value;
            assert!(!is_known(provider, &body), "{provider} {body}");
        }
    }
    for field in ["created", "deleted", "forced"] {
        let mut body = push(1);
        body[field] = json!(true);
        assert!(!is_known("github", &body), "{field}");
    }
}

#[test]
fn a_commit_with_as_many_files_as_are_listed_at_most_is_not_known() {
    for (files, known) in [(2999, true), (3000, false)] {
        let mut body = push(1);
        body["commits"] = json!([commit(&vec!["a"; files])]);
        assert_eq!(is_known("github", &body), known, "{files}");
    }
}

#[test]
fn more_paths_than_can_be_compared_in_time_are_not_known() {
    let paths = |count: usize| {
        (0..count)
            .map(|at| format!("{at:0>1024}"))
            .collect::<Vec<_>>()
    };
    for (count, known) in [(256, true), (257, false)] {
        let mut body = push(1);
        let paths = paths(count);
        body["commits"][0]["modified"] = json!(paths);
        assert_eq!(is_known("github", &body), known, "{count}");
    }
}

#[test]
fn each_path_is_told_once_and_in_order() {
    let mut body = push(1);
    body["commits"] =
        json!([commit(&["b", "a"]), {"added": ["c"], "modified": ["b"], "removed": ["a"]}]);
    assert_eq!(read("github", &body).changed.unwrap(), ["a", "b", "c"]);
}

#[test]
fn what_is_not_known_is_not_no() {
    let known = read("github", &push(1));
    assert_eq!(known.changed("a/**"), Changed::Yes);
    assert_eq!(known.changed("docs/"), Changed::No);
    assert_eq!(known.changed("!docs/"), Changed::Yes);
    assert_eq!(known.changed("[a"), Changed::Unknown);
    let unknown = read("github", &push(0));
    assert_eq!(unknown.changed("a/**"), Changed::Unknown);
}

#[test]
fn a_record_has_no_long_lists() {
    let mut event = Event {
        changed: Some(vec!["a".to_owned(); 256]),
        refs: vec!["refs/heads/a".to_owned(); 256],
        ..Event::default()
    };
    assert_eq!(event.to_record(), serde_json::to_value(&event).unwrap());
    event.changed = Some(vec!["a".to_owned(); 257]);
    event.refs = vec!["refs/heads/a".to_owned(); 257];
    assert_eq!(event.to_record(), json!({"type": "", "deleted": false}));
}
