//! Any expression over any payload, a line feed between them: it ends within its budget, with a value or a sentence,
//! and each time in the same way.

#![no_main]

use hooks::expression::{Budget, Bytes, Expression, Input, MAX_LENGTH};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

/// Bytes that what is made may have.
const ROOM: usize = 64 << 10;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let (text, payload) = text.split_once('\n').unwrap_or((text, "{}"));
    let expression = match Expression::parse(text) {
        Ok(expression) => expression,
        Err(problems) => {
            assert!(!problems.is_empty() && problems.iter().all(|problem| !problem.is_empty()));
            return;
        }
    };
    assert!(text.len() <= MAX_LENGTH && expression.text() == text);
    let body: Value = serde_json::from_str(payload).unwrap_or_else(|_| payload.into());
    let none = json!({});
    let event = json!({"branch": "main", "changed": ["a/b.rs"]});
    let hook = json!({"name": "shop", "namespace": "blue"});
    let input = Input {
        body: &body,
        headers: &none,
        query: &none,
        event: &event,
        hook: &hook,
    };
    let holds = || expression.holds(&input, &Budget::default());
    assert_eq!(holds(), holds());
    if let Ok(file) = expression.file(&input, &Budget::default(), &Bytes::new(ROOM)) {
        assert!(file.len() <= ROOM);
    }
    if let Ok(rendered) = expression.parameter(&input, &Budget::default(), &Bytes::new(ROOM)) {
        // What Tekton would expand is always found.
        let found = rendered.contains("$(");
        let written = rendered.into_json();
        assert!(found == written.to_string().contains("$("), "{written}");
    }
});
