//! Where the interpreter of the crate `cel` knows the same, ours agrees with it.

use std::sync::Arc;

use cel::{Context, Env, extensions};
use serde_json::Value;

use crate::expressions::{body, holds};

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
