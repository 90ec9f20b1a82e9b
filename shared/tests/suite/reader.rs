//! The reader against whatever can come in.

use flows::{Format, Lowering, Problems, format::artisan, parse};

fn problems(text: &[u8]) -> Problems {
    parse(Format::Artisan, text, &Lowering::default()).unwrap_err()
}

fn slugs(text: &[u8]) -> Vec<&'static str> {
    problems(text)
        .iter()
        .map(|problem| problem.kind.slug())
        .collect()
}

#[test]
fn depth_is_read_without_a_stack() {
    let deep = |inner: &str| [&"[".repeat(100_000), inner, &"]".repeat(100_000)].concat();
    assert_eq!(slugs(deep("").as_bytes())[..1], ["wrong-type"]);
    let unknown = format!(
        r#"{{"name":"a","zzz":{},"labels":{{"namespace":"b"}}}}"#,
        deep("1")
    );
    assert_eq!(slugs(unknown.as_bytes()), ["missing-steps"]);
    let open = "[".repeat(100_000);
    assert_eq!(slugs(open.as_bytes()), ["json-syntax"]);
}

#[test]
fn null_is_an_empty_flow() {
    assert_eq!(
        slugs(b"null"),
        ["missing-name", "missing-namespace", "missing-steps"]
    );
    let empty = artisan::read(b"null").unwrap();
    assert_eq!(
        empty.redacted().to_string().to_lowercase(),
        r#"{"description":"","name":"","labels":null,"steps":null}"#
    );
}

#[test]
fn a_mark_in_front_is_passed_over() {
    let text = "\u{feff}{\"name\": \"a\",\n\"steps\": 7}";
    let problems = problems(text.as_bytes());
    let problem = problems.iter().next().unwrap();
    assert_eq!(problem.kind.slug(), "wrong-type");
    assert_eq!(problem.position(text).unwrap().to_string(), "2:10");
}

#[test]
fn thousands_of_problems_are_counted() {
    let steps = vec!["null"; 5000].join(",");
    let slugs = slugs(
        format!(r#"{{"name":"a","labels":{{"namespace":"b"}},"steps":[{steps}]}}"#).as_bytes(),
    );
    assert_eq!(slugs.len(), 101);
    assert_eq!(slugs.last(), Some(&"more-problems"));
}

#[test]
fn a_report_never_repeats_a_secret() {
    let text = br#"{
        "name": "a", "labels": {"namespace": "b"},
        "git_uri": "ftp://me:hunter2@git.example.org/x",
        "git": {"git_password": 421421},
        "steps": [
            {"name": "s", "runtime": "i", "function": "f", "input": {
                "secret": [{"name": "A", "value": 421421}, {"name": "B B", "value": "hunter2"}],
                "key": [{"name": "K", "value": ["hunter2"]}],
                "file": [{"path": "x/y", "content": 421421}]}}
        ]}"#;
    let report = problems(text).to_string();
    assert!(
        !report.contains("hunter2") && !report.contains("421421"),
        "{report}"
    );
}

#[test]
fn secrets_too_large_for_a_secret_are_refused_before_anything_is_written() {
    let document = |value: &str| {
        format!(
            r#"{{"name":"a","labels":{{"namespace":"b"}},"steps":[{{"name":"s","runtime":"i",
            "input":{{"file":[{{"path":"p","content":"{value}"}}],"var":[{{"name":"V","value":"{}"}}]}}}}]}}"#,
            value.get(..200_000).unwrap_or_default()
        )
    };
    assert_eq!(
        slugs(document(&"x".repeat(1024 * 1024 + 1)).as_bytes()),
        ["value-too-long", "data-too-large"]
    );
    assert!(
        parse(
            Format::Artisan,
            document(&"x".repeat(100_000)).as_bytes(),
            &Lowering::default()
        )
        .is_ok()
    );
}

#[test]
fn what_people_read_holds_known_fields_and_no_secrets() {
    let text = br#"{"NAME": "a", "zzz": 1, "labels": {"namespace": "b"}, "use_runtimes": true,
        "git": {"git_uri": "https://me:hunter2@h/x", "git_password": "hunter2"},
        "steps": [{"Name": "s", "runtime": "i", "input": {
            "secret": [{"name": "A", "value": "hunter2"}, {"name": "B"}],
            "key": [{"Name": "K", "Private": true, "value": "hunter2", "path": "/"}],
            "file": [{"Path": "p", "Content": "shown"}], "var": []}}]}"#;
    let redacted = artisan::read(text).unwrap().redacted();
    assert!(
        !redacted.to_string().contains("hunter2") && !redacted.to_string().contains("zzz"),
        "{redacted}"
    );
    for (pointer, expected) in [
        ("/Name", "a"),
        ("/git/git_uri", "https://*****@h/x"),
        ("/git/git_password", artisan::REDACTED),
        ("/steps/0/input/secret/0/value", artisan::REDACTED),
        ("/steps/0/input/secret/1/value", ""),
        ("/steps/0/input/key/0/value", artisan::REDACTED),
        ("/steps/0/input/key/0/Name", "K"),
        ("/steps/0/input/file/0/Content", "shown"),
    ] {
        assert_eq!(
            redacted.pointer(pointer).and_then(|value| value.as_str()),
            Some(expected),
            "{pointer}"
        );
    }
    // It can be read again, and says the same.
    let again = artisan::read(redacted.to_string().as_bytes()).unwrap();
    assert_eq!(again.redacted(), redacted);
}
