//! For any payload: an answer, always the same, and within its bounds.

use std::collections::BTreeMap;

use hooks::{Hook, Ids, Outcome, Seen, check, decide, expression::Expression};
use proptest::prelude::*;
use serde_json::{Value, json};

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(json!("$(x)")),
    ];
    leaf.prop_recursive(4, 64, 6, |inner| {
        let key = prop_oneof![
            Just("a".to_owned()),
            Just("b".to_owned()),
            Just("fork".to_owned()),
            ".{0,4}"
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..6).prop_map(|map| json!(map)),
        ]
    })
}

fn hook() -> Hook {
    let expressions = [
        "body.a",
        "body.b[0]",
        "body",
        "json(body)",
        "body.map(x, x)",
        "body.filter(x, x != null)",
        "string(body.a)",
        "body.a + body.b",
        "size(body)",
        "body.a.split(body.b)",
        "body.a.substring(1, body.b)",
        "-body.a",
        "body.a / body.b",
        "body.a % body.b",
        "body.a * body.a",
        "int(body.a)",
        "body.all(x, body.exists(y, x == y))",
        "body.a.replace(body.b, body.a)",
        "body.a < body.b",
        "body.a in body",
        "double(body.a)",
        "event.changed(body.a)",
        "body.a.matches('^(a|b)+$')",
        "[body.a].join(body.b)",
    ];
    let rules: Vec<_> = expressions
        .iter()
        .enumerate()
        .flat_map(|(at, expression)| {
            [
                json!({"name": format!("f{at}"), "pipelineRef": {"name": "p"}, "filter": expression}),
                json!({"name": format!("p{at}"), "flow": {"key": "k"},
                    "params": [{"name": "p", "expression": expression}],
                    "payload": {"workspace": "w", "expression": expression}}),
            ]
        })
        .collect();
    serde_json::from_value(json!({
        "apiVersion": "", "kind": "", "metadata": {"name": "h", "uid": "u"},
        "spec": {"provider": "github", "verification": {"secretRefs": [{"name": "s"}]}, "rules": rules},
    }))
    .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_decision_is_made_and_is_always_the_same(body in any_json(), event in any_json(), key in ".{0,300}") {
        let none = BTreeMap::new();
        let checked = check(&hook()).unwrap();
        let seen = Seen { body: &body, headers: &none, query: &none, event: &event, payload_bytes: 7 };
        let ids = Ids { key: &key, delivery: "d" };
        let records = decide(&checked, &seen, &ids);
        prop_assert_eq!(&records, &decide(&check(&hook()).unwrap(), &seen, &ids));
        prop_assert_eq!(records.len(), checked.hook().spec.rules.len());
        for record in records {
            prop_assert!(record.reason.len() <= 1100 && !record.reason.is_empty());
            prop_assert_eq!(record.outcome == Outcome::Received, record.run.is_some());
            let shown: usize = record.values.values().map(String::len).sum();
            prop_assert!(shown <= 16 * 300);
            if let Some(params) = record.params {
                prop_assert!(!params.to_string().contains("$("));
            }
        }
    }

    #[test]
    fn any_text_is_an_expression_or_is_refused(text in ".{0,200}") {
        if let Err(problems) = Expression::parse(&text) {
            prop_assert!(!problems.is_empty());
        }
    }

    #[test]
    fn any_sequence_of_tokens_is_an_expression_or_is_refused(tokens in prop::collection::vec(prop::sample::select(vec![
        "body", "x", ".a", "[", "]", "(", ")", "{", "}", ",", ":", "?", "&&", "||", "!", "-", "+", "==", "in", "'t'",
        "1", "2.5",
        ".all(x,", ".map(", "has(", "size(", "null", "true", "\"", "\n", "//", "matches(", "0u", "event", ".changed(",
    ]), 0..40)) {
        let text = tokens.concat();
        if let Err(problems) = Expression::parse(&text) {
            prop_assert!(!problems.is_empty(), "{}", text);
        }
    }
}
