//! What expressions mean. Where the interpreter of the crate `cel` knows the same, ours has to agree with it.

use std::sync::Arc;

use cel::{Context, Env, extensions};
use hooks::expression::{Budget, Bytes, Expression, Fault, Input, Rendered};
use serde_json::{Value, json};

fn body() -> Value {
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

fn holds(text: &str) -> Result<bool, Fault> {
    with(&json!({}), |input| {
        parse(text).holds(input, &Budget::default())
    })
}

fn parameter(text: &str) -> Result<Rendered, Fault> {
    with(&json!({}), |input| {
        parse(text).parameter(input, &Budget::default(), &Bytes::new(1 << 20))
    })
}

/// JSON as the crate's values; all integers with sign.
fn theirs(json: &Value) -> cel::Value {
    match json {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Number(number) => match number.as_i64() {
            Some(number) => number.into(),
            None => number.as_f64().unwrap().into(),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(list) => list.iter().map(theirs).collect::<Vec<_>>().into(),
        Value::Object(map) => {
            let entries = map.iter().map(|(key, value)| (key.clone(), theirs(value)));
            entries.collect::<std::collections::HashMap<_, _>>().into()
        }
    }
}

/// What the interpreter of the crate says; nothing if it has an error or another value.
fn peer(text: &str) -> Option<bool> {
    let mut env = Env::stdlib();
    env.add_extension(extensions::strings).unwrap();
    let env = Arc::new(env);
    let program = env.compile(text).unwrap();
    let mut context = Context::with_env(env);
    context.add_variable_from_value("body", theirs(&body()));
    match program.execute(&context) {
        Ok(cel::Value::Bool(value)) => Some(value),
        _ => None,
    }
}

/// Both interpreters have the same answer, or neither has one.
const SAME: [&str; 100] = [
    "true",
    "!true",
    "!!false",
    "1 == 1",
    "1 == 2",
    "1 != 2",
    "1 == 1.0",
    "1.5 > 1.0",
    "2 < 10",
    "'2' < '10'",
    "'a' < 'b'",
    "'a' + 'b' == 'ab'",
    "[1] + [2] == [1, 2]",
    "1 + 2 * 3 == 7",
    "(1 + 2) * 3 == 9",
    "7 / 2 == 3",
    "-7 / 2 == -3",
    "7 % 3 == 1",
    "-7 % 3 == -1",
    "7.0 / 2.0 == 3.5",
    "1 / 0 == 1",
    "1 % 0 == 1",
    "-(-3) == 3",
    "9223372036854775807 + 1 > 0",
    "-9223372036854775808 - 1 < 0",
    "9223372036854775807 * 2 > 0",
    "1 == '1'",
    "null == null",
    "body.none == null",
    "body.ref == 'refs/heads/main'",
    "body['ref'] == body.ref",
    "body.nope == 1",
    "has(body.ref)",
    "has(body.nope)",
    "has(body.nested.x)",
    "has(body.nested.nope)",
    "has(body.nope.x)",
    "body.n + 1 == 4",
    "body.neg < body.zero",
    "body.f == 2.5",
    "body.big == 9007199254740993",
    "body.yes",
    "body.yes && body.n == 3",
    "body.n",
    "body.n && true",
    "true && body.n == 3",
    "false && body.nope",
    "body.nope && false",
    "true || body.nope",
    "body.nope || true",
    "body.nope || false",
    "false || body.nope",
    "body.nope && true",
    "body.yes ? body.n == 3 : body.nope",
    "body.nope ? true : false",
    "'x' ? true : false",
    "body.list == [1, 2, 3]",
    "body.list == [1, 2]",
    "body.map == {'a': 2, 'b': 1}",
    "{'a': 1}.a == 1",
    "{'a': 1}['b'] == 1",
    "body.list[0] == 1",
    "body.list[3] == 1",
    "body.list[-1] == 1",
    "body.list['0'] == 1",
    "body.map[0] == 1",
    "2 in body.list",
    "4 in body.list",
    "'a' in body.map",
    "'c' in body.map",
    "'a' in 'abc'",
    "body.nested.x[0].y == 'z'",
    "size(body.list) == 3",
    "body.list.size() == 3",
    "size('Größe') == 5",
    "body.umlaut.size() == 5",
    "size(1) == 1",
    "size(body.map) == 2",
    "body.ref.startsWith('refs/')",
    "body.ref.endsWith('main')",
    "body.ref.contains('heads')",
    "body.n.contains('3')",
    "body.ref.contains(3)",
    "body.list.all(x, x > 0)",
    "body.list.all(x, x > 1)",
    "body.list.exists(x, x == 2)",
    "body.list.exists(x, x == 4)",
    "body.list.exists_one(x, x > 2)",
    "body.list.exists_one(x, x > 1)",
    "body.list.map(x, x * 2) == [2, 4, 6]",
    "body.list.filter(x, x > 1) == [2, 3]",
    "body.list.map(x, x > 1, x * 10) == [20, 30]",
    "body.map.all(k, k in ['a', 'b'])",
    "body.n.all(x, true)",
    "[].all(x, false)",
    "[].exists(x, true)",
    "body.mixed.exists(x, x == 'nope' || x.nope)",
    "body.mixed.exists(x, x == '1')",
    "body.mixed.all(x, x == 2)",
    "body.commits.exists(c, c.modified.exists(m, m.startsWith('src/')))",
];

#[test]
fn the_interpreter_of_the_crate_says_the_same() {
    for text in SAME {
        assert_eq!(holds(text).ok(), peer(text), "{text}: {:?}", holds(text));
    }
}

/// The same for functions on texts.
const TEXTS: [&str; 27] = [
    "'AbC'.lowerAscii() == 'abc'",
    "'ÄbC'.lowerAscii() == 'Äbc'",
    "'abÖ'.upperAscii() == 'ABÖ'",
    "' a '.trim() == 'a'",
    "'a,b,,c'.split(',') == ['a', 'b', '', 'c']",
    "'abc'.split('') == ['a', 'b', 'c']",
    "''.split(',') == ['']",
    "['a', 'b'].join() == 'ab'",
    "['a', 'b'].join('-') == 'a-b'",
    "[].join('-') == ''",
    "[1].join('-') == '1'",
    "'a.b.c'.replace('.', '/') == 'a/b/c'",
    "'abc'.replace('', '-') == '-a-b-c-'",
    "'tacocat'.substring(4) == 'cat'",
    "'tacocat'.substring(0, 4) == 'taco'",
    "'Größe'.substring(2, 4) == 'öß'",
    "'abc'.substring(3) == ''",
    "'abc'.substring(4) == ''",
    "'abc'.substring(2, 1) == ''",
    "'abc'.substring(-1) == ''",
    "'Größe'.indexOf('e') == 4",
    "'abcabc'.lastIndexOf('b') == 4",
    "'abc'.indexOf('x') == -1",
    "string(1) == '1'",
    "string(true) == 'true'",
    "int('12') == 12",
    "int('x') == 1",
];

#[test]
fn functions_on_texts_are_those_of_the_extension_library() {
    for text in TEXTS {
        assert_eq!(holds(text).ok(), peer(text), "{text}: {:?}", holds(text));
    }
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
            "is too large; shorten its repetitions",
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
