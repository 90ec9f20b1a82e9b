//! What holds for every payload, pattern and path.

use std::time::{Duration, Instant};

use proptest::{collection::vec, prelude::*, sample::select};
use providers::{PROVIDERS, event, glob::Glob, matches_glob};
use serde_json::{Map, Value, json};

/// Names that payloads have, so that generated ones reach far into the mappings.
const NAMES: &[&str] = &[
    "action",
    "actor",
    "added",
    "after",
    "base",
    "before",
    "branch",
    "changes",
    "commits",
    "component",
    "content",
    "created",
    "deleted",
    "digest",
    "event_data",
    "forced",
    "format",
    "full_name",
    "head",
    "html_url",
    "id",
    "iid",
    "links",
    "merge_request",
    "modified",
    "name",
    "new",
    "number",
    "object_attributes",
    "old",
    "package",
    "project",
    "pull_request",
    "pullRequest",
    "pullrequest",
    "push",
    "ref",
    "refUpdates",
    "ref_type",
    "refs",
    "removed",
    "repo",
    "repository",
    "resource",
    "resources",
    "sender",
    "sha",
    "subject",
    "tag",
    "target",
    "total_commits",
    "type",
    "updated_tags",
    "user",
    "uuid",
];

/// Types of events that some provider has.
const TYPES: &[&str] = &[
    "push",
    "pull_request",
    "issue_comment",
    "release",
    "create",
    "delete",
    "workflow_run",
    "package",
    "Push Hook",
    "Merge Request Hook",
    "Note Hook",
    "Pipeline Hook",
    "repo:push",
    "pullrequest:created",
    "repo:refs_changed",
    "pr:opened",
    "git.push",
    "git.pullrequest.created",
    "PUSH_ARTIFACT",
    "harbor.artifact.pushed",
    "dev.cdevents.artifact.published.0.2.0",
    "dev.cdevents.change.created.0.3.0",
    "INSERT",
    "",
];

fn value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        ".{0,8}",
        "0{1,40}",
        "refs/(heads|tags)/[a-z]{0,3}",
        "pkg:oci/[a-z@?=&%:]{0,12}",
        "[a-z./:@]{0,16}",
        "(branch|TAG|container|docker)",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(|number| json!(number)),
        any::<f64>().prop_map(|number| json!(number)),
        text.prop_map(Value::String),
    ];
    leaf.prop_recursive(5, 96, 8, |inner| {
        let entry = (select(NAMES), inner.clone());
        let object = vec(entry, 0..8).prop_map(|entries| {
            let entries = entries
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value));
            Value::Object(entries.collect::<Map<_, _>>())
        });
        prop_oneof![1 => vec(inner, 0..4).prop_map(Value::Array), 3 => object]
    })
}

/// Patterns of what has a meaning, and a little that has none.
fn pattern(pieces: usize) -> impl Strategy<Value = String> {
    let piece = select(vec![
        "a",
        "b",
        "/",
        "*",
        "**",
        "**/",
        "/**",
        "?",
        "[ab]",
        "[!a]",
        "[a-c]",
        "[",
        "]",
        "\\",
        "\\*",
        "!",
        "#",
        " ",
        "é",
        "[[:alpha:]]",
        "[[:none:]]",
        ".",
    ]);
    vec(piece, 0..=pieces).prop_map(|pieces| pieces.concat())
}

fn path() -> impl Strategy<Value = String> {
    let part = select(vec!["a", "b", "ab", "ba", "c", ".a", "é", "*", "a b"]);
    vec(part, 1..5).prop_map(|parts| parts.join("/"))
}

proptest! {
    #[test]
    fn any_payload_becomes_an_event(
        at in 0..PROVIDERS.len(),
        event_type in prop_oneof![select(TYPES).prop_map(str::to_owned), ".{0,8}"],
        body in value(),
    ) {
        let event = event::of(PROVIDERS[at].name, &event_type, Some(&body));
        prop_assert_eq!(&event.r#type, &event_type);
        // A branch or tag is always the end of the ref, and one excludes the other.
        prop_assert!(event.branch.is_none() || event.tag.is_none());
        if let Some(branch) = &event.branch {
            let full = "refs/heads/".to_owned() + branch;
            prop_assert_eq!(event.r#ref.as_deref(), Some(full.as_str()));
        }
        prop_assert_eq!(event.refs.first(), event.r#ref.as_ref());
        // Nothing is empty: what is not told is absent.
        let empty = json!("");
        let record = event.to_record();
        for (name, value) in record.as_object().unwrap() {
            prop_assert!(name == "type" || *value != empty, "{}", record);
        }
        let back: providers::Event = serde_json::from_value(serde_json::to_value(&event).unwrap()).unwrap();
        prop_assert_eq!(back, event);
    }

    #[test]
    fn any_text_may_be_a_pattern(pattern in ".{0,40}", path in ".{0,40}") {
        let _ = matches_glob(&pattern, &path);
    }

    #[test]
    fn what_matches_a_folder_matches_what_is_in_it(pattern in pattern(3), path in path(), below in path()) {
        let deeper = [&*path, &*below].join("/");
        let kept = !matches_glob(&pattern, &path) || matches_glob(&pattern, &deeper);
        prop_assert!(kept || pattern.starts_with('!'), "{} {}", pattern, deeper);
    }

    #[test]
    fn an_exclamation_mark_turns_the_answer_around(pattern in pattern(12), path in path()) {
        prop_assume!(!pattern.starts_with('!') && Glob::new(&pattern).is_ok());
        let other = "!".to_owned() + &pattern;
        prop_assert_ne!(matches_glob(&pattern, &path), matches_glob(&other, &path));
    }

    #[test]
    fn an_escaped_path_matches_itself_alone(path in path(), other in path()) {
        let escaped: String = path.chars().flat_map(|c| ['\\', c]).collect();
        let pattern = "/".to_owned() + &escaped;
        prop_assert!(matches_glob(&pattern, &path));
        let inside = other == path || other.starts_with(&(path + "/"));
        prop_assert_eq!(matches_glob(&pattern, &other), inside);
    }
}

/// Patterns that make a matcher try again and again, on paths that look like them until the end.
#[test]
fn hostile_patterns_end_soon() {
    let path = format!("{}/{}", "a/".repeat(2000), "a".repeat(2000));
    let stars = "*a".repeat(250);
    let folders = "**/a/".repeat(100);
    let sets = "[a-z]*".repeat(80);
    let questions = "?*".repeat(250);
    let start = Instant::now();
    for pattern in [&*stars, &folders, &sets, &questions] {
        for end in ["", "b", "/b"] {
            let glob = Glob::new(&format!("{pattern}{end}")).unwrap();
            let _ = glob.matches(&path);
        }
    }
    // A matcher that tries again would need longer than the world has existed.
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "{:?}",
        start.elapsed()
    );
    assert!(Glob::new(&"*a".repeat(300)).is_err(), "there is a limit");
}
