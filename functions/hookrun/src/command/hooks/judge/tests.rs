//! Which step says no to what.

use std::path::Path;

use providers::sign::Outgoing;
use serde_json::json;

use super::{super::capture::Written, *};

const SECRET: &[u8] = b"the secret of the tests";

fn source(spec: &Value, with_secret: bool) -> Source {
    let mut hook = json!({
        "apiVersion": hooks::API_VERSION, "kind": "Hook", "metadata": {"name": "shop", "namespace": "team"},
        "spec": {
            "provider": "github",
            "verification": {"secretRefs": [{"name": "s"}]},
            "rules": [{"name": "build", "events": ["push", "pull_request.*"], "filter": "!has(event.action) || event.action != 'closed'",
                "pipelineRef": {"name": "p"}, "params": [{"name": "title", "expression": "body.title"}]}],
        },
    });
    for (field, value) in spec.as_object().into_iter().flatten() {
        hook["spec"][field] = value.clone();
    }
    Source {
        hook: serde_json::from_value(hook).expect("a Hook"),
        secrets: if with_secret {
            vec![("s/secret".to_owned(), SECRET.to_vec())]
        } else {
            Vec::new()
        },
    }
}

/// A request of GitHub.
fn request(event_type: &str, body: &Value) -> Request {
    let written = json!({"headers": {"X-GitHub-Event": event_type}, "body": body});
    let written: Written = serde_json::from_value(written).expect("a request");
    written.request(Path::new("")).expect("a request")
}

fn signed(event_type: &str, body: &Value) -> Captured {
    let mut request = request(event_type, body);
    let outgoing = Outgoing {
        event_type,
        id: "1",
        body: &request.body,
    };
    let github = providers::provider("github").expect("a provider");
    let sent = providers::sign::sign(github, &Settings::default(), SECRET, &outgoing, 0);
    request.headers = sent.expect("signed").headers;
    Captured::Request(request)
}

/// The outcome, and the steps that say no.
fn verdict(spec: &Value, captured: &Captured) -> (&'static str, Vec<&'static str>) {
    let judgement = judge(&source(spec, true), captured);
    let steps = judgement.rules.iter().flat_map(|rule| &rule.steps);
    let no = steps
        .chain(&judgement.steps)
        .filter(|step| step.says == Says::No)
        .map(|step| step.step)
        .collect();
    assert!(!judgement.reason().is_empty(), "{judgement:?}");
    (judgement.outcome, no)
}

#[test]
fn the_step_that_says_no_is_named() {
    let push = |title: &str| signed("push", &json!({"ref": "refs/heads/main", "title": title}));
    let nothing = json!({});
    for (spec, captured, expected) in [
        (&nothing, push("a"), ("Created", vec![])),
        (
            &nothing,
            signed("star", &json!({"title": "a"})),
            ("Filtered", vec!["events"]),
        ),
        (
            &nothing,
            signed("pull_request", &json!({"action": "closed", "title": "a"})),
            ("Filtered", vec!["filter"]),
        ),
        (
            &nothing,
            signed("ping", &json!({"zen": "a"})),
            ("Handshake", vec!["handshake"]),
        ),
        (&nothing, push("$(x)"), ("Failed", vec!["params"])),
        (
            &json!({"suspend": true}),
            push("a"),
            ("Filtered", vec!["suspend"]),
        ),
        (
            &json!({"provider": "gitlab"}),
            push("a"),
            ("Refused", vec!["verification"]),
        ),
        (
            &json!({"provider": "hubgit"}),
            push("a"),
            ("Invalid", vec!["hook"]),
        ),
        (
            &nothing,
            Captured::Request(request("push", &json!({"title": "a"}))),
            ("Refused", vec!["verification"]),
        ),
    ] {
        assert_eq!(verdict(spec, &captured), expected, "{spec}");
    }
}

#[test]
fn pull_requests_of_forks_end_where_it_is_decided_who_may() {
    let from = |repository: &str| {
        let side = |name: &str| json!({"ref": "x", "sha": "a1", "repo": {"full_name": name}});
        signed(
            "pull_request",
            &json!({
                "action": "opened", "title": "a", "number": 1,
                "pull_request": {"number": 1, "user": {"login": "eve"}, "head": side(repository), "base": side("acme/app")},
            }),
        )
    };
    let nothing = json!({});
    assert_eq!(
        verdict(&nothing, &from("eve/app")),
        ("Filtered", vec!["allow"])
    );
    let allowed = json!({"allow": {"authors": ["eve"]}});
    assert_eq!(verdict(&allowed, &from("eve/app")), ("Created", vec![]));
}

#[test]
fn without_a_secret_the_rest_is_explained_all_the_same() {
    let captured = Captured::Request(request("push", &json!({"title": "a"})));
    let judgement = judge(&source(&json!({}), false), &captured);
    let verification = judgement
        .steps
        .iter()
        .find(|step| step.step == "verification");
    assert_eq!(verification.map(|step| step.says), Some(Says::NoSecret));
    let rule = judgement.rules.first().expect("a rule");
    assert_eq!((judgement.outcome, rule.outcome), ("Created", "Created"));
    assert_eq!(
        rule.params,
        BTreeMap::from([("title".to_owned(), json!("a"))])
    );
    let filter = rule
        .steps
        .iter()
        .find(|step| step.step == "filter")
        .expect("a filter");
    assert_eq!(
        filter.expression.as_deref(),
        Some("!has(event.action) || event.action != 'closed'")
    );
}

#[test]
fn what_the_function_turns_away_is_refused_here_too() {
    let refused = |spec: &Value, change: &dyn Fn(&mut Request)| {
        let Captured::Request(mut request) = signed("push", &json!({"title": "a"})) else {
            unreachable!("signed gives a request");
        };
        change(&mut request);
        let judgement = judge(&source(spec, true), &Captured::Request(request));
        (judgement.outcome, judgement.reason())
    };
    let github = json!({});
    let (outcome, reason) = refused(&github, &|request| {
        let gzip = http::HeaderValue::from_static("gzip");
        request.headers.insert("content-encoding", gzip);
    });
    assert_eq!(outcome, "Refused");
    assert!(reason.starts_with("encoded: "), "{reason}");
    let bearer = json!({"provider": "cloudevents"});
    let (outcome, reason) = refused(&bearer, &|request| {
        let secret = http::HeaderValue::from_static("Bearer the secret of the tests");
        request.headers.insert("authorization", secret);
        let batch = http::HeaderValue::from_static("application/cloudevents-batch+json");
        request.headers.insert("content-type", batch);
    });
    assert_eq!(outcome, "Refused");
    assert!(reason.starts_with("format: "), "{reason}");
    let hub = json!({"provider": "docker-hub"});
    let secrets = vec![("s/secret".to_owned(), b"0123456789abcdef".to_vec())];
    let large = Request {
        token: Some("0123456789abcdef".to_owned()),
        body: vec![b' '; (1 << 20) + 1],
        ..Request::default()
    };
    let hook = source(&hub, false).hook;
    let judgement = judge(&Source { hook, secrets }, &Captured::Request(large));
    assert_eq!(judgement.outcome, "Refused");
    let reason = judgement.reason();
    assert!(reason.starts_with("too-large: "), "{reason}");
}

#[test]
fn expressions_see_as_much_as_the_function_keeps() {
    let rule = json!([{"name": "build", "pipelineRef": {"name": "p"}, "params": [
        {"name": "agent", "expression": "headers['user-agent'].size()"},
        {"name": "query", "expression": "query.a.size()"},
    ]}]);
    let Captured::Request(mut request) = signed("push", &json!({})) else {
        unreachable!("signed gives a request");
    };
    let long = http::HeaderValue::try_from("a".repeat(3000)).expect("a value");
    request.headers.insert("user-agent", long);
    request.query = format!("a={}", "b".repeat(3000));
    let judgement = judge(
        &source(&json!({"rules": rule}), true),
        &Captured::Request(request),
    );
    let rule = judgement.rules.first().expect("a rule");
    let seen = [&rule.params["agent"], &rule.params["query"]];
    assert_eq!(seen, ["1024", "2046"]);
}

#[test]
fn a_secret_that_counts_for_nothing_is_named_where_a_request_is_refused() {
    let hook = source(&json!({"provider": "gitlab"}), false).hook;
    let secrets = vec![
        ("s/plain".to_owned(), b"a plain token".to_vec()),
        (
            "s/signing".to_owned(),
            b"whsec_dGhlIHNlY3JldCBvZiB0aGUgdGVzdHMsIHdob2xl".to_vec(),
        ),
    ];
    let mut request = request("push", &json!({}));
    let token = http::HeaderValue::from_static("a plain token");
    request.headers.insert("x-gitlab-token", token);
    let judgement = judge(&Source { hook, secrets }, &Captured::Request(request));
    assert_eq!(judgement.outcome, "Refused");
    let reason = judgement.reason();
    assert!(
        reason.contains("secret s/plain: ") && reason.contains("legacy"),
        "{reason}"
    );
}
