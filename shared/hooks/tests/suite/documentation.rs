//! `docs/expressions.md` is true: its lines are evaluated, its names and bounds are those of the interpreter, its fields
//! are those of events, and which kind of event has which is what the payloads of all providers give.

use std::{collections::BTreeMap, fs, path::Path};

use hooks::expression::{
    Budget, Bytes, Expression, Fault, Input, MAX_DEPTH, MAX_LENGTH, MAX_LOOPS, MAX_NODES, MAX_STEPS,
};
use providers::event::{Event, FIELDS, Image, PullRequest, Repository};
use serde_json::{Value, json};

/// Kinds of events, as the page has them, and how the files of their payloads begin.
const KINDS: [(&str, &[&str]); 7] = [
    ("push", &["push", "repo-push", "refs-changed", "tag-push"]),
    (
        "pull request",
        &["pull-request", "pullrequest", "pr-", "merge-request"],
    ),
    ("comment", &["issue-comment", "note"]),
    ("release", &["release"]),
    ("ref made or deleted", &["create", "delete"]),
    ("pipeline", &["pipeline", "job", "workflow-run"]),
    (
        "image",
        &[
            "package",
            "registry-package",
            "push",
            "insert",
            "component",
            "cloud-event",
            "artifact",
            "service",
        ],
    ),
];

/// Providers of images; the files of all others that begin with `push` are pushes of code.
const REGISTRIES: [&str; 7] = [
    "acr",
    "cdevents",
    "docker-hub",
    "gar-pubsub",
    "harbor",
    "nexus",
    "quay",
];

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn page() -> String {
    fs::read_to_string(repository().join("docs/expressions.md")).unwrap()
}

/// The lines of the page's blocks of one kind, each with what stands behind it.
fn lines<'p>(page: &'p str, kind: &str) -> Vec<(&'p str, &'p str)> {
    let start = format!("```{kind}\n");
    let blocks = page.split(start.as_str()).skip(1);
    let lines = blocks.flat_map(|rest| rest.split("```").next().unwrap().lines());
    lines
        .map(|line| {
            let (expression, value) = line.rsplit_once(" // ").unwrap_or_else(|| panic!("{line}"));
            (expression.trim_end(), value)
        })
        .collect()
}

fn input(page: &str) -> Value {
    let (_, rest) = page.split_once("<!-- input -->\n```json\n").unwrap();
    serde_json::from_str(rest.split("```").next().unwrap()).unwrap()
}

/// What becomes of an expression: its value, or why it has none.
fn outcome(
    text: &str,
    input: &Value,
    evaluate: impl FnOnce(&Expression, &Input<'_>) -> Result<Value, Fault>,
) -> String {
    let input = Input {
        body: &input["body"],
        headers: &input["headers"],
        query: &input["query"],
        event: &input["event"],
        hook: &input["hook"],
    };
    match Expression::parse(text).map(|expression| evaluate(&expression, &input)) {
        Ok(Ok(value)) => value.to_string(),
        Ok(Err(Fault::Unknown)) => "unknown".to_owned(),
        Ok(Err(Fault::Absent(place))) => format!("absent: `{place}`"),
        Ok(Err(fault)) => format!("error: {fault}"),
        Err(problems) => format!("error: {}", problems.join("; ")),
    }
}

fn parameter(expression: &Expression, input: &Input<'_>) -> Result<Value, Fault> {
    let rendered = expression.parameter(input, &Budget::default(), &Bytes::new(1 << 20))?;
    Ok(rendered.into_json())
}

/// The value itself: as JSON, which is a text.
fn value(expression: &Expression, input: &Input<'_>) -> Result<Value, Fault> {
    let json = Expression::parse(&format!("json({})", expression.text())).unwrap();
    let text = parameter(&json, input)?;
    Ok(serde_json::from_str(text.as_str().unwrap()).unwrap())
}

fn holds(expression: &Expression, input: &Input<'_>) -> Result<Value, Fault> {
    expression.holds(input, &Budget::default()).map(Value::from)
}

#[test]
fn every_line_has_the_value_that_stands_behind_it() {
    let page = page();
    let listed = input(&page);
    let mut unlisted = listed.clone();
    unlisted["event"]
        .as_object_mut()
        .unwrap()
        .remove("changed")
        .unwrap();
    type Evaluate = fn(&Expression, &Input<'_>) -> Result<Value, Fault>;
    let kinds: [(&str, &Value, Evaluate); 4] = [
        ("cel", &listed, value),
        ("cel unlisted", &unlisted, holds),
        ("cel parameter", &listed, parameter),
        ("cel filter", &listed, holds),
    ];
    let mut wrong = Vec::new();
    for (kind, input, evaluate) in kinds {
        let lines = lines(&page, kind);
        assert!(lines.len() > 3, "{kind}: {lines:?}");
        for (expression, expected) in lines {
            let is = outcome(expression, input, evaluate);
            // Of an error the page tells what matters.
            let same = match expected.strip_prefix("error: ") {
                Some(part) => is.starts_with("error: ") && is.contains(part),
                None => is == expected,
            };
            if !same {
                wrong.push(format!("{expression} // {is}, the page says {expected}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_function_and_operator_is_shown() {
    let page = page();
    let problems = Expression::parse("nobody_has_this(1)").unwrap_err();
    let (_, names) = problems[0].split_once("there are ").unwrap();
    let names: Vec<&str> = names.split(", ").collect();
    assert!(names.len() > 15, "{names:?}");
    let shown: Vec<&str> = lines(&page, "cel")
        .into_iter()
        .map(|(expression, _)| expression)
        .collect();
    let (_, table) = page.split_once("\n## Functions\n").unwrap();
    for name in names {
        assert!(
            table.contains(&format!("`{name}`")),
            "the table of functions lacks {name}"
        );
        assert!(
            shown.iter().any(|line| line.contains(&format!("{name}("))),
            "no line shows {name}"
        );
    }
    let operators = [
        " && ",
        " || ",
        "!body",
        " ? ",
        " == ",
        " != ",
        " < ",
        " <= ",
        " > ",
        " >= ",
        " in ",
        " + ",
        " - ",
        " * ",
        " / ",
        " % ",
        "-body",
        "[0]",
        "has(",
        ".all(",
        ".exists(",
        ".exists_one(",
        ".filter(",
        ".map(",
    ];
    for operator in operators {
        assert!(
            shown.iter().any(|line| line.contains(operator)),
            "no line shows `{operator}`"
        );
    }
}

#[test]
fn bounds_are_those_of_the_interpreter() {
    let page = page();
    let rows = [
        format!(
            "| one expression | {MAX_LENGTH} bytes, {MAX_NODES} parts, nested {MAX_DEPTH} deep |"
        ),
        format!("in each other | {MAX_LOOPS} |"),
        format!("| steps of all expressions of a Hook, for one event | {MAX_STEPS} |"),
        format!("| {} KiB |", hooks::decide::MAX_RENDERED >> 10),
    ];
    for row in rows {
        assert!(page.contains(&row), "{row}");
    }
    // Bounds without a name: the largest that is allowed, and one more.
    let brackets = |count: usize| format!("{}1{}", "[".repeat(count), "]".repeat(count));
    let questions = |count: usize| format!("{}1", "true ? 1 : ".repeat(count));
    let pattern = |count: usize| format!("body.matches('{}')", "a".repeat(count));
    assert!(
        page.contains("| question marks | 64 |")
            && page.contains("| a pattern of `matches` | 256 bytes |")
    );
    assert!(page.contains("| brackets in each other | 32 |"));
    for (text, more) in [
        (questions(60), questions(65)),
        (pattern(256), pattern(257)),
        (brackets(30), brackets(33)),
    ] {
        assert!(
            Expression::parse(&text).is_ok(),
            "{text}: {:?}",
            Expression::parse(&text)
        );
        assert!(Expression::parse(&more).is_err(), "{more}");
    }
}

/// Every field that an event can have.
fn whole() -> Event {
    let text = || Some("a".to_owned());
    Event {
        r#type: "a".to_owned(),
        action: text(),
        repository: Some(Repository {
            name: text(),
            full_name: text(),
            url: text(),
            clone_url: text(),
        }),
        r#ref: text(),
        refs: vec!["a".to_owned()],
        branch: text(),
        tag: text(),
        revision: text(),
        before: text(),
        changed: Some(vec!["a".to_owned()]),
        deleted: true,
        author: text(),
        sender: text(),
        pull_request: Some(PullRequest {
            number: Some(1),
            title: text(),
            url: text(),
            source_branch: text(),
            target_branch: text(),
            revision: text(),
            author: text(),
            fork: Some(true),
        }),
        image: Some(Image {
            registry: text(),
            repository: "a".to_owned(),
            tag: text(),
            tags: vec!["a".to_owned()],
            digest: text(),
            reference: text(),
        }),
    }
}

/// The paths of all fields, and the type of each as the page calls it.
fn fields(event: &Value, path: &str, found: &mut Vec<(String, &'static str)>) {
    for (name, value) in event.as_object().unwrap() {
        let path = format!("{path}.{name}");
        let kind = match value {
            Value::Object(_) => {
                fields(value, &path, found);
                continue;
            }
            Value::Array(_) => "list of texts",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "integer",
            _ => "text",
        };
        found.push((path, kind));
    }
}

#[test]
fn every_field_of_an_event_is_there_with_its_type() {
    let page = page();
    let mut found = Vec::new();
    fields(&json!(whole()), "event", &mut found);
    let paths: Vec<_> = found
        .iter()
        .map(|(path, _)| &path["event.".len()..])
        .collect();
    assert_eq!(paths.len(), FIELDS.len());
    assert!(
        FIELDS.iter().all(|field| paths.contains(field)),
        "{paths:?}"
    );
    for (path, kind) in &found {
        assert!(
            page.contains(&format!("\n| `{path}` | {kind} | ")),
            "{path} is a {kind}"
        );
    }
    let rows = page.matches("\n| `event.").count();
    assert_eq!(
        rows,
        found.len() * 2,
        "a field on the page is none, or lacks its row of kinds"
    );
}

/// The events that the payloads of all providers are, by kind.
fn events() -> BTreeMap<&'static str, Vec<Value>> {
    let mut events: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for folder in fs::read_dir(repository().join("shared/providers/tests/payloads")).unwrap() {
        let folder = folder.unwrap();
        let is_registry = REGISTRIES.contains(&folder.file_name().to_str().unwrap());
        for file in fs::read_dir(folder.path()).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let Some(name) = name.strip_suffix(".event.json") else {
                continue;
            };
            let event: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            let mut kinds = KINDS
                .iter()
                .filter(|(kind, _)| !is_registry || *kind == "image");
            let kind = kinds.find(|(_, starts)| starts.iter().any(|start| name.starts_with(start)));
            if let Some((kind, _)) =
                kind.filter(|(kind, _)| *kind != "image" || event.get("image").is_some())
            {
                events.entry(kind).or_default().push(event);
            }
        }
    }
    events
}

#[test]
fn kinds_of_events_have_the_fields_that_payloads_give() {
    let page = page();
    let events = events();
    assert_eq!(events.len(), KINDS.len(), "a kind without a payload");
    let mut paths = Vec::new();
    fields(&json!(whole()), "event", &mut paths);
    let (_, table) = page.split_once("<!-- kinds -->\n").unwrap();
    let mut lacks = Vec::new();
    let heads: Vec<&str> = KINDS.iter().map(|(kind, _)| *kind).collect();
    assert!(
        table.starts_with(&format!("| field | {} |\n", heads.join(" | "))),
        "{table}"
    );
    for (path, _) in paths {
        let pointer = path.trim_start_matches("event").replace('.', "/");
        let cells = heads.iter().map(|kind| {
            let all = &events[kind];
            match all
                .iter()
                .filter(|event| event.pointer(&pointer).is_some())
                .count()
            {
                0 => "–",
                some if some == all.len() => "yes",
                _ => "some",
            }
        });
        let row = format!("| `{path}` | {} |", cells.collect::<Vec<_>>().join(" | "));
        if !table.contains(&row) {
            lacks.push(row);
        }
    }
    assert!(lacks.is_empty(), "the table lacks\n{}", lacks.join("\n"));
}
