use http::Request;
use runtime::{Body, Limits, Shell};
use serde_json::{Value, json};

use super::*;

/// A question about a Hook with this spec.
fn question(operation: &str, spec: Value) -> Value {
    let hook = |spec: &Value| {
        json!({
            "apiVersion": "hookrun.dev/v1alpha1", "kind": "Hook",
            "metadata": {"name": "shop", "namespace": "blue"}, "spec": spec,
        })
    };
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "hookrun.dev", "version": "v1alpha1", "kind": "Hook"},
            "resource": {"group": "hookrun.dev", "version": "v1alpha1", "resource": "hooks"},
            "name": "shop", "namespace": "blue", "operation": operation,
            "userInfo": {"username": "kim"}, "dryRun": false,
            "object": hook(&spec),
            "oldObject": null,
        },
    })
}

fn right() -> Value {
    let rule = json!({"name": "build", "filter": "event.branch == 'main'", "pipelineRef": {"name": "build"}});
    json!({"provider": "github", "verification": {"secretRefs": [{"name": "shop"}]}, "rules": [rule]})
}

/// Three mistakes in three places.
fn wrong() -> Value {
    let mut spec = right();
    spec["provider"] = "githup".into();
    spec["rules"][0]["filter"] = "event.branches(1) == nobody".into();
    spec["rules"][0]["params"] = json!([{"name": "p", "expression": "size()"}]);
    spec
}

async fn post(metrics: &Arc<Metrics>, body: String) -> (StatusCode, Value) {
    let shell = Shell::new(router(Arc::clone(metrics)), Limits::default()).unwrap();
    let request = Request::post(PATH).body(Body::full(body)).unwrap();
    let answer = shell.answer(request).await;
    let (parts, body) = answer.into_parts();
    let body = http_body_util::BodyExt::collect(body).await.unwrap();
    (
        parts.status,
        serde_json::from_slice(&body.to_bytes()).unwrap(),
    )
}

fn decision(question: &Value) -> Decision {
    let question = question.to_string();
    review::review(question.as_bytes()).unwrap().decision
}

#[tokio::test]
async fn a_right_hook_is_allowed_and_a_wrong_one_denied_with_everything_that_is_wrong() {
    let metrics = Arc::new(Metrics::new().unwrap());
    let (status, answer) = post(&metrics, question("CREATE", right()).to_string()).await;
    assert_eq!(status, StatusCode::OK);
    let uid = "705ab4f5-6393-11e8-b7cc-42010a800002";
    let expected = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "response": {"uid": uid, "allowed": true},
    });
    assert_eq!(answer, expected);

    let (status, answer) = post(&metrics, question("CREATE", wrong()).to_string()).await;
    assert_eq!(
        status,
        StatusCode::OK,
        "denied is no failure of the webhook"
    );
    let response = &answer["response"];
    assert_eq!(
        (&response["uid"], &response["allowed"]),
        (&uid.into(), &false.into())
    );
    let status = &response["status"];
    assert_eq!(
        (&status["code"], &status["reason"]),
        (&422.into(), &"Invalid".into())
    );
    let details = &status["details"];
    assert_eq!(
        (&details["kind"], &details["name"]),
        (&"Hook".into(), &"shop".into())
    );
    for place in [
        "spec.provider",
        "spec.rules[0].filter",
        "spec.rules[0].params[0].expression",
    ] {
        let causes = details["causes"].as_array().unwrap();
        let cause = causes.iter().find(|cause| cause["field"] == place);
        let told = cause.unwrap_or_else(|| panic!("{place}: {causes:#?}"))["message"]
            .as_str()
            .unwrap();
        let message = status["message"].as_str().unwrap();
        assert!(message.contains(&format!("{place}: {told}")), "{message}");
    }
    let text = metrics.text();
    for outcome in ["allowed", "denied"] {
        let line = format!(r#"hookrun_events_total{{format="admission",outcome="{outcome}"}} 1"#);
        assert!(text.contains(&line), "{text}");
    }
}

#[test]
fn only_a_change_of_what_is_wanted_is_judged() {
    let denied = |question: &Value| matches!(decision(question), Decision::Denied(_));
    let mut update = question("UPDATE", wrong());
    update["request"]["oldObject"] = question("", right())["request"]["object"].clone();
    assert!(denied(&update), "a right one becomes wrong");

    let mut labelled = question("UPDATE", wrong());
    labelled["request"]["oldObject"] = labelled["request"]["object"].clone();
    labelled["request"]["object"]["metadata"]["labels"] = json!({"team": "blue"});
    assert!(!denied(&labelled), "a wrong one that is there already");

    update["request"]["object"]["metadata"]["deletionTimestamp"] = "2026-11-21T10:00:00Z".into();
    assert!(!denied(&update), "it is about to vanish");

    let mut status = question("UPDATE", wrong());
    status["request"]["subResource"] = "status".into();
    assert!(!denied(&status), "its status alone is written");

    let mut deleted = question("DELETE", right());
    deleted["request"]["oldObject"] = question("", wrong())["request"]["object"].clone();
    deleted["request"]["object"] = Value::Null;
    assert!(!denied(&deleted));
    assert!(!denied(&question("CONNECT", wrong())));
}

#[test]
fn a_hook_that_cannot_be_read_is_denied() {
    let mut question = question("CREATE", right());
    question["request"]["object"]["spec"]["rules"] = "build".into();
    let Decision::Denied(causes) = decision(&question) else {
        panic!("allowed")
    };
    assert_eq!(causes[0].place, "spec");
    assert!(causes[0].message.contains("cannot be read"), "{causes:?}");

    question["request"]["object"]["spec"]["rules"] = json!([{"name": "x", "pipelineRun": "deep"}]);
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let question = question.to_string().replace("\"deep\"", &nested);
    let Decision::Denied(causes) = review::review(question.as_bytes()).unwrap().decision else {
        panic!("allowed")
    };
    assert!(causes[0].message.contains("recursion limit"), "{causes:?}");
}

#[test]
fn more_problems_than_anybody_reads_are_counted() {
    let mut spec = right();
    let params: Vec<Value> = (0..128)
        .map(|at| json!({"name": format!("p{at}"), "expression": "nobody"}))
        .collect();
    spec["rules"][0]["params"] = params.into();
    let question = question("CREATE", spec).to_string();
    let answer = review::review(question.as_bytes()).unwrap().answer();
    let status = &answer["response"]["status"];
    assert_eq!(status["details"]["causes"].as_array().unwrap().len(), 100);
    let message = status["message"].as_str().unwrap();
    assert!(message.ends_with("; and 28 more"), "{message}");
}

#[tokio::test]
async fn what_is_no_question_about_a_hook_is_refused_with_what_to_do() {
    let mut old = question("CREATE", right());
    old["apiVersion"] = "admission.k8s.io/v1beta1".into();
    let mut other = question("CREATE", right());
    other["request"]["kind"]["kind"] = "Delivery".into();
    let mut later = question("CREATE", right());
    later["request"]["kind"]["version"] = "v2".into();
    let mut partial = question("CREATE", right());
    partial["request"].as_object_mut().unwrap().remove("uid");
    for (body, expected) in [
        (String::new(), "the body is no AdmissionReview: EOF"),
        ("[1".to_owned(), "the body is no AdmissionReview"),
        ("[]".to_owned(), "the body is of kind \"\""),
        (
            "{}".to_owned(),
            "the body is of kind \"\" and version \"\"; send AdmissionReview of admission.k8s.io/v1",
        ),
        (old.to_string(), "v1beta1"),
        (
            other.to_string(),
            "it is asked about \"Delivery\" of \"hookrun.dev/v1alpha1\", and only Hook",
        ),
        (later.to_string(), "\"hookrun.dev/v2\""),
        (
            partial.to_string(),
            "`request` of the AdmissionReview: missing field `uid`",
        ),
    ] {
        let metrics = Arc::new(Metrics::new().unwrap());
        let (status, problem) = post(&metrics, body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(
            problem["type"].as_str().unwrap().ends_with(NO_REVIEW.slug),
            "{problem}"
        );
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.starts_with(expected) || detail.contains(expected),
            "{detail}"
        );
    }
}

#[tokio::test]
async fn a_body_has_a_limit() {
    let metrics = Arc::new(Metrics::new().unwrap());
    let (status, _) = post(&metrics, " ".repeat((10 << 20) + 1)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[test]
fn the_document_explains_exactly_the_kinds_that_exist() {
    let text = include_str!("../../../docs/problems/admission.md");
    let explained: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .collect();
    let known: Vec<_> = KINDS
        .iter()
        .map(|kind| format!("{} ({})", kind.slug, kind.status.as_u16()))
        .collect();
    assert_eq!(explained, known);
}
