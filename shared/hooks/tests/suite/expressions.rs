//! What expressions mean.

use hooks::expression::{Budget, Bytes, Expression, Fault, Input, Rendered};
use serde_json::{Value, json};

pub(super) fn body() -> Value {
    json!({
        "ref": "refs/heads/main", "n": 3, "f": 2.5, "big": 9_007_199_254_740_993_i64, "neg": -4, "zero": 0,
        "none": null, "yes": true, "umlaut": "Größe", "empty": "", "list": [1, 2, 3], "words": ["a", "bc", "", "bc"],
        "map": {"b": 1, "a": 2}, "nested": {"x": [{"y": "z"}]}, "mixed": [1, "1", null, [1], {"a": 1}],
        "commits": [{"id": "1", "modified": ["src/a.rs", "docs/b.md"]}, {"id": "2", "modified": []}],
    })
}

fn with<T>(event: &Value, read: impl FnOnce(&Input<'_>) -> T) -> T {
    let (headers, query) = (json!({"x-event": "push"}), json!({"page": "2"}));
    let hook = json!({"name": "shop", "namespace": "blue"});
    read(&Input {
        body: &body(),
        headers: &headers,
        query: &query,
        event,
        hook: &hook,
    })
}

fn parse(text: &str) -> Expression {
    Expression::parse(text).unwrap_or_else(|problems| panic!("{text}: {problems:?}"))
}

pub(super) fn holds(text: &str) -> Result<bool, Fault> {
    with(&json!({}), |input| {
        parse(text).holds(input, &Budget::default())
    })
}

fn parameter(text: &str) -> Result<Rendered, Fault> {
    with(&json!({}), |input| {
        parse(text).parameter(input, &Budget::default(), &Bytes::new(1 << 20))
    })
}

#[test]
fn numbers_of_json_calculate_whatever_their_form() {
    for text in [
        "body.n * 2.0 == 6.0",
        "body.f + 1 == 3.5",
        "body.n < 3.5",
        "int(2.9) == 2",
        "double('1.5') == 1.5",
    ] {
        assert_eq!(holds(text), Ok(true), "{text}");
    }
}

#[test]
fn patterns_are_matched() {
    assert_eq!(
        holds("body.ref.matches('^refs/heads/(main|release-[0-9]+)$')"),
        Ok(true)
    );
    assert_eq!(holds("matches(body.umlaut, '^Gr..e$')"), Ok(true));
    assert_eq!(holds("body.ref.matches('^main$')"), Ok(false));
    assert_eq!(
        holds(r"body.ref.matches(r'^[\w.-]+/[\w.-]+/\w+$')"),
        Ok(true)
    );
    assert_eq!(
        holds(r"'2026-11-21'.matches('^\\d{4}-\\d{2}-\\d{2}$')"),
        Ok(true)
    );
    assert_eq!(
        holds(r"body.umlaut.matches('(?i)^GRÖSSE$|^gröSSe$|^\\p{Lu}\\p{Ll}+$')"),
        Ok(true)
    );
}

#[test]
fn all_variables_can_be_read() {
    let text = "headers['x-event'] == 'push' && query.page == '2' && hook.name == 'shop' && hook.namespace == 'blue'";
    assert_eq!(holds(text), Ok(true));
}

#[test]
fn parameters_have_the_types_of_tekton() {
    let text = |text: &str| Ok(Rendered::Text(text.to_owned()));
    assert_eq!(parameter("body.ref"), text("refs/heads/main"));
    assert_eq!(parameter("body.n"), text("3"));
    assert_eq!(parameter("body.big"), text("9007199254740993"));
    assert_eq!(parameter("body.f"), text("2.5"));
    assert_eq!(parameter("2.0"), text("2.0"));
    assert_eq!(parameter("body.yes"), text("true"));
    assert_eq!(parameter("body.none"), text("null"));
    assert_eq!(parameter("json(body.map)"), text(r#"{"a":2,"b":1}"#));
    assert_eq!(
        parameter("body.words"),
        Ok(Rendered::List(
            ["a", "bc", "", "bc"].map(str::to_owned).into()
        ))
    );
    assert_eq!(
        parameter("{'x': body.n, 'y': body.ref}").map(Rendered::into_json),
        Ok(json!({"x": "3", "y": "refs/heads/main"}))
    );
    let fault = parameter("body.mixed").unwrap_err().to_string();
    assert_eq!(
        fault,
        "element 3 of its value is a list, and Tekton takes texts; write `json(…)` around it"
    );
}

#[test]
fn maps_are_gone_through_by_key() {
    let made = "{'z': 1, 'a': 2, 'm': 3}.map(k, k)";
    assert_eq!(
        parameter(made).map(Rendered::into_json),
        Ok(json!(["a", "m", "z"]))
    );
    assert_eq!(
        parameter("body.map.map(k, k)").map(Rendered::into_json),
        Ok(json!(["a", "b"]))
    );
}

#[test]
fn unknown_changed_files_are_neither_true_nor_false() {
    let unknown = [
        "event.changed('src/**')",
        "!event.changed('src/**')",
        "body.n == 3 && event.changed('src/**')",
        "event.changed('src/**') || body.n == 4",
        "event.changed('a') ? true : false",
        "body.list.all(x, event.changed('a'))",
    ];
    for text in unknown {
        assert_eq!(holds(text), Err(Fault::Unknown), "{text}");
    }
    assert_eq!(holds("event.changed('src/**') && body.n == 4"), Ok(false));
    assert_eq!(holds("body.n == 3 || event.changed('src/**')"), Ok(true));
}

#[test]
fn changed_files_are_matched_by_globs() {
    let event = json!({"changed": ["services/api/main.rs", "README.md"]});
    for (text, expected) in [
        ("event.changed('services/api/**')", true),
        ("event.changed('services/web/**')", false),
        ("event.changed('*.md')", true),
    ] {
        let holds = with(&event, |input| parse(text).holds(input, &Budget::default()));
        assert_eq!(holds, Ok(expected), "{text}");
    }
}

#[test]
fn faults_name_place_and_culprit() {
    for (text, told) in [
        (
            "body.pull_request.merged",
            "`body.pull_request` does not exist",
        ),
        ("body.list[7] == 1", "`body.list[7]` does not exist"),
        ("headers['x-a'] == ''", "`headers[\"x-a\"]` does not exist"),
        (
            "body.ref.name == ''",
            "`body.ref` is a text and has no field `name`",
        ),
        (
            "body.n",
            "its value is an integer, and has to be true or false",
        ),
        (
            "body.n.all(x, true)",
            "`body.n` is an integer and has no elements",
        ),
        ("body.n < 'a'", "an integer and a text cannot be ordered"),
        (
            "body.n.contains('a')",
            "`contains` does not work on an integer and a text",
        ),
    ] {
        assert_eq!(holds(text).unwrap_err().to_string(), told, "{text}");
    }
}

#[test]
fn what_is_read_is_shown_shortened() {
    let text = "body.nested.x[0].y == 'z' && has(body.nope) && headers['x-event'] == 'push' && event.changed('a')";
    let values = with(&json!({"changed": ["a".repeat(400)]}), |input| {
        parse(text).values(input)
    });
    assert_eq!(values["body.nested.x[0].y"], "\"z\"");
    assert_eq!(values["body.nope"], "absent");
    assert_eq!(values["headers[\"x-event\"]"], "\"push\"");
    assert!(
        values["event.changed"].starts_with("[\"aaa") && values["event.changed"].ends_with('…')
    );
    assert!(values["event.changed"].len() < 300);
    assert_eq!(values.len(), 4);
}

#[test]
fn variables_of_loops_are_not_taken_for_the_input() {
    let expression = parse("body.commits.all(commit, commit.id != '')");
    let values = with(&json!({}), |input| expression.values(input));
    assert_eq!(values.keys().collect::<Vec<_>>(), ["body.commits"]);
    assert!(!parse("[1, 2].all(x, x > 0)").reads_input());
}

#[test]
fn what_cannot_be_evaluated_is_refused_at_once() {
    let refused = [
        (
            "bdoy.ref == ''",
            "there is no variable `bdoy`; there are body, headers, query, event, hook",
        ),
        (
            "body.all(x, y)",
            "there is no variable `y`; there are body, headers, query, event, hook",
        ),
        (
            "lower(body.ref)",
            "there is no function `lower`; there are size, matches",
        ),
        (
            "body.ref.startsWith()",
            "`startsWith` takes 1 arguments, not 0",
        ),
        (
            "body.ref.substring(1, 2, 3)",
            "`substring` takes 1 or 2 arguments, not 3",
        ),
        (
            "startsWith(body.ref, 'a')",
            "write `x.startsWith(…)`, behind a dot",
        ),
        (
            "body.string()",
            "write `string(…)`, without a dot before it",
        ),
        (
            "body.changed('a')",
            "`changed` is a method of `event` alone",
        ),
        (
            "body.ref.matches(body.pattern)",
            "the pattern of `matches` has to be a literal text",
        ),
        (
            "body.ref.matches('(')",
            "the pattern \"(\" is no regular expression",
        ),
        (
            "body.ref.matches('((a{1000}){1000}){1000}')",
            "is too large; shorten repetitions",
        ),
        ("b'bytes' == body.ref", "bytes are not supported"),
        (
            "Message{a: 1} == null",
            "messages such as `Message{…}` are not supported",
        ),
        ("body.?a == 1", "unsupported syntax '.?'"),
        (
            "body.all(body, true)",
            "`body` cannot be the name of an element",
        ),
        ("body.ref ==", "line 1, column 12"),
        ("", "line 1, column 1"),
        ("a.all(x, a.all(y, a.all(z, true)))", "may be nested 2 deep"),
    ];
    for (text, told) in refused {
        let problems = Expression::parse(text).unwrap_err();
        assert!(
            problems.iter().any(|problem| problem.contains(told)),
            "{text}: {problems:?}"
        );
    }
    // All of it, not only the first.
    assert_eq!(
        Expression::parse("a == b && c(1) && string()")
            .unwrap_err()
            .len(),
        4
    );
}
