//! Hostile expressions and payloads end soon, on a small stack, with little memory.

use std::time::{Duration, Instant};

use hooks::{
    Hook, check,
    expression::{Budget, Bytes, Expression, Fault, Input, MAX_LENGTH},
};
use serde_json::{Value, json};

/// What all of it may take. It takes a tenth of that; the rest is for machines that are busy, and for builds without
/// optimisation.
const SOON: Duration = Duration::from_secs(20);

/// Evaluates on a thread with half the stack that a thread gets by default.
fn evaluate(text: &str, body: Value) -> Result<String, String> {
    let text = text.to_owned();
    let started = Instant::now();
    let thread = std::thread::Builder::new()
        .stack_size(1 << 20)
        .spawn(move || {
            let expression = Expression::parse(&text).map_err(|problems| problems.join("; "))?;
            let none = json!({});
            let input = Input {
                body: &body,
                headers: &none,
                query: &none,
                event: &none,
                hook: &none,
            };
            let file = expression.file(&input, &Budget::default(), &Bytes::new(1 << 20));
            file.map_err(|fault| fault.to_string())
        });
    let result = thread.unwrap().join().unwrap();
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    result
}

fn exhausts(text: &str, body: Value) {
    let told = evaluate(text, body).unwrap_err();
    assert_eq!(told, Fault::Exhausted.to_string(), "{text}");
}

#[test]
fn loops_over_large_payloads_are_cut_off() {
    let numbers = json!((0..1_000_000).collect::<Vec<_>>());
    exhausts("body.all(x, body.all(y, x + y >= 0))", numbers.clone());
    exhausts("body.map(x, body.map(y, x))", numbers.clone());
    exhausts("body.filter(x, body.exists(y, y < 0))", numbers.clone());
    exhausts("body.exists_one(x, body.all(y, y >= 0))", numbers.clone());
    // A fault inside of `exists` does not let it go on for free.
    exhausts(
        "body.exists(x, body.exists(y, y.nope)) || body.exists(x, x.nope)",
        numbers.clone(),
    );
    exhausts("body.all(x, x in body)", numbers);
}

#[test]
fn copies_and_comparisons_of_large_payloads_are_paid_for() {
    let wide = json!({"list": (0..200_000).collect::<Vec<_>>(), "text": "a".repeat(10 << 20)});
    exhausts(
        &vec!["body.list == body.list"; 64].join(" && "),
        wide.clone(),
    );
    exhausts(&vec!["body == body"; 64].join(" && "), wide.clone());
    exhausts(&vec!["body.text"; 32].join(" + "), wide.clone());
    exhausts("body.list.map(x, body.text + 'b')", wide.clone());
    exhausts("body.list.map(x, body.list + [x])", wide.clone());
    exhausts("body.list.all(x, json(body) != '')", wide.clone());
    exhausts(
        "body.list.all(x, body.text.replace('a', 'aaaaaaaa') != '')",
        wide.clone(),
    );
    exhausts("body.text.split('')", wide.clone());
    exhausts("body.list.all(x, size(body.text) > 0)", wide.clone());
    exhausts("body.text.matches('a')", wide);
}

#[test]
fn what_is_made_from_little_cannot_grow() {
    let ten = format!("[{}]", ["1"; 10].join(","));
    let text = format!("{ten}.map(a, {ten}.map(b, json({ten}.size()) + 'x')).size() == 10");
    assert_eq!(evaluate(&text, Value::Null), Ok("true".to_owned()));
    let powers = "'0123456789abcdef'.replace('', '0123456789abcdef').replace('', '0123456789abcdef')\
        .replace('', '0123456789abcdef').replace('', '0123456789abcdef').replace('', '0123456789abcdef')\
        .replace('', '0123456789abcdef').replace('', '0123456789abcdef').replace('', '0123456789abcdef')";
    exhausts(powers, Value::Null);
}

#[test]
fn regular_expressions_cannot_blow_up() {
    let hostile = [
        "(a+)+$",
        "(a|aa)+$",
        "(a|a?)+$",
        "(.*a){20}",
        "((a*)*)*$",
        "(x+x+)+y",
        "[a-z]*[a-z]*[a-z]*[a-z]*[a-z]*1",
        "(a?){40}a{40}",
        "(.|[^x])*(.|[^y])*(.|[^z])*q",
    ];
    for pattern in hostile {
        let text = format!("body.matches('{pattern}')");
        let body = json!(format!("{}!", "a".repeat(1_000_000)));
        let outcome = evaluate(&text, body);
        let exhausted = Fault::Exhausted.to_string();
        assert!(
            outcome.as_ref().err().is_none_or(|told| *told == exhausted),
            "{outcome:?}"
        );
        // As much of a text as the steps are enough for.
        let body = json!(format!("{}!", "a".repeat(30_000)));
        assert!(evaluate(&text, body).is_ok(), "{pattern}");
    }
    for pattern in [
        "(a{1000}){1000}",
        "\\\\pL{500}",
        "((((a{50}){50}){50}){50})",
        &"(".repeat(200),
        &"a".repeat(300),
    ] {
        assert!(
            Expression::parse(&format!("body.matches('{pattern}')")).is_err(),
            "{pattern}"
        );
    }
}

#[test]
fn no_expression_overflows_the_stack() {
    let ends = |open: &str, middle: &str, close: &str| {
        let times = (MAX_LENGTH - middle.len()) / (open.len() + close.len());
        format!("{}{middle}{}", open.repeat(times), close.repeat(times))
    };
    let deep = [
        ("(", "1", ")"),
        ("[", "1", "]"),
        ("{'a':", "1", "}"),
        ("body[", "0", "]"),
        ("size(", "1", ")"),
        ("", "body", "[0]"),
        ("", "body", ".a"),
        ("", "body", ".trim()"),
        ("", "1", "+1"),
        ("", "1", "<1"),
        ("", "true", "&&true"),
        ("", "true", "||true"),
        ("!", "true", ""),
        ("-", "1", ""),
        ("- -", "1", ""),
        ("true?1:", "1", ""),
        ("true?", "1", ":1"),
        ("body.all(x,", "true", ")"),
        ("[1].map(x,", "x", ")"),
        ("(", "", ""),
        ("[", "", ""),
        ("body.a(", "", ""),
        ("has(", "body.a", ")"),
        ("a{b:", "1", "}"),
        ("'", "", ""),
        ("\u{1F600}", "", ""),
        ("\0", "", ""),
        ("//", "", ""),
        ("\\", "", ""),
        ("`", "", ""),
        ("0x", "", ""),
        ("1.", "", ""),
    ];
    for (open, middle, close) in deep {
        let text = ends(open, middle, close);
        let outcome = evaluate(&text, json!([[1]]));
        // Long but flat ones may be fine; what matters is that there is an answer.
        assert!(
            outcome.is_ok() || outcome.is_err_and(|told| !told.is_empty()),
            "{open}{middle}{close}"
        );
    }
}

#[test]
fn a_long_expression_is_refused_before_it_is_parsed() {
    let problems = Expression::parse(&"1+".repeat(1 << 20)).unwrap_err();
    assert_eq!(problems, ["it is 2097152 bytes long, and may have 4096"]);
}

#[test]
fn a_payload_that_is_nested_as_deep_as_json_can_be_is_read() {
    let mut body = json!(1);
    for _ in 0..120 {
        body = json!([body]);
    }
    assert_eq!(
        evaluate("body == body && json(body) != ''", body),
        Ok("true".to_owned())
    );
}

#[test]
fn large_payloads_cost_nothing_where_little_of_them_is_read() {
    let body = json!({"ref": "main", "rest": (0..1_000_000).collect::<Vec<_>>(), "text": "a".repeat(10 << 20)});
    assert_eq!(
        evaluate("body.ref == 'main' && body.rest[999999] == 999999", body),
        Ok("true".to_owned())
    );
}

/// A Hook with one rule for each of these filters.
fn filtered(filters: impl Iterator<Item = String>) -> Hook {
    let rules: Vec<Value> = filters
        .enumerate()
        .map(|(at, filter)| {
            json!({"name": format!("r{at}"), "filter": filter, "pipelineRef": {"name": "build"}})
        })
        .collect();
    let hook = json!({
        "apiVersion": "hookrun.dev/v1alpha1",
        "kind": "Hook",
        "metadata": {"name": "app", "namespace": "team-blue"},
        "spec": {"provider": "github", "verification": {"secretRefs": [{"name": "s"}]}, "rules": rules},
    });
    serde_json::from_value(hook).unwrap()
}

/// A Hook is checked when its URL is called, before anybody knows by whom.
#[test]
fn the_patterns_of_a_hook_are_bounded_together() {
    let matches = |pattern: &str| format!("event.branch.matches('{pattern}')");
    let alone = |at: usize| matches(&format!("^release-{at}$"));
    assert!(check(&filtered((0..64).map(alone))).is_ok());
    let hundreds = |at: usize| {
        let all: Vec<_> = (0..40).map(|part| alone(100 * at + part)).collect();
        all.join(" || ")
    };
    let large = |at: usize| {
        let all: Vec<_> = (0..40)
            .map(|part| matches(&format!("[a-z]{{{}}}", 900 - 40 * (at % 2) - part)))
            .collect();
        all.join(" || ")
    };
    let hostile = [
        filtered((0..64).map(hundreds)),
        filtered((0..64).map(large)),
        filtered((0..2).map(hundreds)),
        filtered((0..1).map(large)),
    ];
    for hook in hostile {
        let started = Instant::now();
        let problems = check(&hook).unwrap_err();
        assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
        let told = problems.iter().any(|problem| {
            problem.place.ends_with(".filter") && problem.message.contains("is one too many")
        });
        assert!(told, "{problems:?}");
    }
    // One pattern counts once, wherever it stands.
    let same = |_| vec![matches("^release-[0-9]+$"); 40].join(" || ");
    assert!(check(&filtered((0..64).map(same))).is_ok());
}

/// Their classes have hundreds of ranges, all of which are compiled.
#[test]
fn letters_of_all_scripts_are_large_and_the_message_says_what_is_small() {
    let matches = |class: &str| format!("event.branch.matches('^{class}{{20}}$')");
    let problems = Expression::parse(&matches("\\\\w")).unwrap_err();
    let told = problems.join("; ");
    assert!(told.contains("`[A-Za-z0-9_]` for `\\w`"), "{told}");
    for small in ["[A-Za-z0-9_]", "[0-9]"] {
        assert!(Expression::parse(&matches(small)).is_ok(), "{small}");
    }
}

#[test]
fn changed_files_are_paid_for_by_pattern_and_path() {
    let none = json!({});
    let holds = |pattern: &str, files: usize, path: &str| {
        let event = json!({"changed": vec![path; files]});
        let input = Input {
            body: &none,
            headers: &none,
            query: &none,
            event: &event,
            hook: &none,
        };
        let expression = Expression::parse(&format!("event.changed('{pattern}')")).unwrap();
        expression.holds(&input, &Budget::default())
    };
    let (pattern, path) = ("*a".repeat(250), "a".repeat(1_000) + "b");
    assert_eq!(holds(&pattern, 200, &path), Err(Fault::Exhausted));
    assert_eq!(holds(&pattern, 10, &path[..200]), Ok(false));
    // A large push, and an ordinary pattern.
    let path = "services/web/src/pages/account/settings.rs";
    assert_eq!(holds("services/api/**", 20_000, path), Ok(false));
    // What is told by how a path begins costs the same, however long the path is.
    let long = format!("services/web/{}", "folder/".repeat(500));
    assert_eq!(holds("services/api/**", 20_000, &long), Ok(false));
    let set = "[".to_owned() + &"a-b".repeat(160) + "]";
    assert_eq!(holds(&set, 1_000, &long), Err(Fault::Exhausted));
}

#[test]
fn a_map_that_becomes_a_parameter_is_paid_for_before_it_is_sorted() {
    let none = json!({});
    let keys = (0..600_000).map(|at| (at.to_string(), Value::Null));
    let body = Value::Object(keys.collect());
    let input = Input {
        body: &body,
        headers: &none,
        query: &none,
        event: &none,
        hook: &none,
    };
    let expression = Expression::parse("body").unwrap();
    let made = expression.parameter(&input, &Budget::default(), &Bytes::new(0));
    assert_eq!(made, Err(Fault::Exhausted));
}
