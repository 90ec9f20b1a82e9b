//! Conversations with a scripted API server: which requests are made, in which order, and what each answer leads to.
//!
//! The real API server says the same in package `system-tests`; here every branch is reached, and no time passes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests end loudly, too"
)]

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use cluster::{Cluster, Kind, Listing, Outcome, Page, Patience, SECRETS};
use flows::{Emitted, Format, Lowering, Request, Run, Scope, Settings, label};
use http::Response;
use kube::client::Body;
use serde_json::{Value, json};

const EVENT: &str = "idempotency-key one";

/// A flow with one secret, so that its run owns one copy.
const FLOW: &[u8] = br#"{
  "name": "scan", "labels": {"namespace": "blue"},
  "steps": [{"name": "s", "runtime": "example.org/i:1", "package": "p", "function": "f",
             "input": {"secret": [{"name": "TOKEN", "value": "t"}]}}]
}"#;

/// One exchange: the request that must come, and the answer that it gets; `None` never answers.
type Exchange = (&'static str, Option<(u16, Value)>);

/// An API server that expects exactly these requests, written `METHOD last-two-segments`.
fn api_server(
    script: impl IntoIterator<Item = Exchange>,
) -> (Cluster, Arc<Mutex<VecDeque<Exchange>>>) {
    let script: Arc<Mutex<VecDeque<Exchange>>> = Arc::new(Mutex::new(script.into_iter().collect()));
    let left = Arc::clone(&script);
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let segments: Vec<&str> = request.uri().path().rsplitn(3, '/').collect();
        let seen = format!("{} {}/{}", request.method(), segments[1], segments[0]);
        let (expected, answer) = script
            .lock()
            .unwrap()
            .pop_front()
            .unwrap_or_else(|| panic!("unexpected request {seen}"));
        assert_eq!(seen, expected);
        async move {
            let Some((status, body)) = answer else {
                return std::future::pending().await;
            };
            let response = Response::builder()
                .status(status)
                .body(Body::from(body.to_string().into_bytes()));
            Ok::<_, Infallible>(response.unwrap())
        }
    });
    let patience = Patience {
        attempt: Duration::from_secs(5),
        event: Duration::from_secs(20),
    };
    (
        Cluster::new(kube::Client::new(service, "default"), patience),
        left,
    )
}

fn emitted(document: &[u8]) -> Emitted {
    let flow = flows::parse(Format::Artisan, document, &Lowering::default()).unwrap();
    let request = Request {
        scope: Scope::Document,
        event: EVENT,
        traceparent: None,
        payload: None,
    };
    flows::emit(
        &flow,
        &"blue".parse().unwrap(),
        &request,
        &Settings::default(),
    )
}

fn run() -> Run {
    emitted(FLOW).run
}

fn object(uid: &str, event: &str, snapshot: &str, status: Value) -> Value {
    json!({
        "metadata": {
            "name": "x", "uid": uid, "resourceVersion": "1",
            "annotations": {label::EVENT: event, label::SNAPSHOT: snapshot},
        },
        "spec": {"status": status},
    })
}

fn pending(uid: &str) -> Value {
    let run = run();
    object(
        uid,
        EVENT,
        &run.object.metadata.annotations[label::SNAPSHOT],
        json!("PipelineRunPending"),
    )
}

fn started(uid: &str) -> Value {
    object(uid, EVENT, "", Value::Null)
}

fn refusal(code: u16, message: &str) -> Option<(u16, Value)> {
    Some((
        code,
        json!({"kind": "Status", "code": code, "message": message}),
    ))
}

fn ok(body: Value) -> Option<(u16, Value)> {
    Some((200, body))
}

const CREATE_RUN: &str = "POST blue/pipelineruns";
const CREATE_COPY: &str = "POST blue/secrets";

fn one(verb: &str) -> &'static str {
    let run = run();
    Box::leak(format!("{verb} pipelineruns/{}", run.name).into_boxed_str())
}

fn copy(verb: &str) -> &'static str {
    let run = run();
    Box::leak(format!("{verb} secrets/{}", run.copies[0].metadata.name).into_boxed_str())
}

async fn start(script: impl IntoIterator<Item = Exchange>) -> Result<Outcome, cluster::Fault> {
    let (cluster, left) = api_server(script);
    let outcome = cluster.start(&run()).await;
    assert!(
        left.lock().unwrap().is_empty(),
        "requests that never came: {:?}",
        left.lock().unwrap()
    );
    outcome
}

#[tokio::test(start_paused = true)]
async fn a_run_is_created_pending_given_its_copies_and_let_go() {
    assert_eq!(run().object.spec.status, Some("PipelineRunPending"));
    let outcome = start([
        (CREATE_RUN, ok(pending("u1"))),
        (CREATE_COPY, ok(json!({}))),
        (one("PATCH"), ok(json!({}))),
    ]);
    assert_eq!(outcome.await.unwrap(), Outcome::Created);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_owns_nothing_is_one_create() {
    let document = br#"{"name": "scan", "labels": {"namespace": "blue"},
        "steps": [{"name": "s", "runtime": "example.org/i:1", "package": "p", "function": "f"}]}"#;
    let run = emitted(document).run;
    assert!(run.copies.is_empty());
    let (cluster, _) = api_server([(CREATE_RUN, ok(started("u1")))]);
    assert_eq!(cluster.start(&run).await.unwrap(), Outcome::Created);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_event_finds_its_run_started() {
    let outcome = start([
        (CREATE_RUN, refusal(409, "exists")),
        (one("GET"), ok(started("u1"))),
    ]);
    assert_eq!(outcome.await.unwrap(), Outcome::AlreadyExists);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_event_finishes_a_run_that_a_crash_left_pending() {
    let outcome = start([
        (CREATE_RUN, refusal(409, "exists")),
        (one("GET"), ok(pending("u1"))),
        (CREATE_COPY, refusal(409, "exists")),
        (
            copy("GET"),
            ok(
                json!({"metadata": {"uid": "s", "resourceVersion": "1", "ownerReferences": [{"uid": "u1"}]}}),
            ),
        ),
        (one("PATCH"), ok(json!({}))),
    ]);
    assert_eq!(outcome.await.unwrap(), Outcome::Created);
}

#[tokio::test(start_paused = true)]
async fn another_event_s_run_of_that_name_is_a_conflict() {
    let outcome = start([
        (CREATE_RUN, refusal(409, "exists")),
        (
            one("GET"),
            ok(object("u1", "idempotency-key two", "", Value::Null)),
        ),
    ]);
    assert_eq!(outcome.await.unwrap_err().kind, Kind::Conflict);
}

#[tokio::test(start_paused = true)]
async fn a_pending_run_of_an_edited_flow_is_made_anew() {
    let outcome = start([
        (CREATE_RUN, refusal(409, "exists")),
        (
            one("GET"),
            ok(object(
                "u1",
                EVENT,
                "sha256:older",
                json!("PipelineRunPending"),
            )),
        ),
        (one("DELETE"), ok(json!({}))),
        (CREATE_RUN, ok(pending("u2"))),
        (CREATE_COPY, ok(json!({}))),
        (one("PATCH"), ok(json!({}))),
    ]);
    assert_eq!(outcome.await.unwrap(), Outcome::Created);
}

#[tokio::test(start_paused = true)]
async fn a_pending_run_that_changes_while_it_is_replaced_is_looked_at_again() {
    let older = || {
        ok(object(
            "u1",
            EVENT,
            "sha256:older",
            json!("PipelineRunPending"),
        ))
    };
    let outcome = start([
        (CREATE_RUN, refusal(409, "exists")),
        (one("GET"), older()),
        (one("DELETE"), refusal(409, "the object has been modified")),
        (CREATE_RUN, refusal(409, "exists")),
        (one("GET"), older()),
        (one("DELETE"), ok(json!({}))),
        (CREATE_RUN, ok(pending("u2"))),
        (CREATE_COPY, ok(json!({}))),
        (one("PATCH"), ok(json!({}))),
    ]);
    assert_eq!(outcome.await.unwrap(), Outcome::Created);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_overtaken_leaves_the_run_to_the_other() {
    let outcome = start([
        (CREATE_RUN, ok(pending("u1"))),
        (CREATE_COPY, ok(json!({}))),
        (
            one("PATCH"),
            refusal(
                422,
                "the server rejected our request due to an error in our request",
            ),
        ),
        (one("GET"), ok(started("u2"))),
        (CREATE_RUN, refusal(409, "exists")),
        (one("GET"), ok(started("u2"))),
    ]);
    assert_eq!(outcome.await.unwrap(), Outcome::AlreadyExists);
}

#[tokio::test(start_paused = true)]
async fn two_that_would_replace_each_other_do_not() {
    let outcome = start([
        (CREATE_RUN, ok(pending("u1"))),
        (CREATE_COPY, ok(json!({}))),
        (one("PATCH"), refusal(404, "not found")),
        (CREATE_RUN, refusal(409, "exists")),
        (
            one("GET"),
            ok(object(
                "u2",
                EVENT,
                "sha256:other",
                json!("PipelineRunPending"),
            )),
        ),
    ]);
    assert_eq!(outcome.await.unwrap_err().kind, Kind::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_an_earlier_run_of_that_name_gives_way() {
    let outcome = start([
        (CREATE_RUN, ok(pending("u2"))),
        (CREATE_COPY, refusal(409, "exists")),
        (
            copy("GET"),
            ok(
                json!({"metadata": {"uid": "s", "resourceVersion": "1", "ownerReferences": [{"uid": "u1"}]}}),
            ),
        ),
        (one("GET"), ok(pending("u2"))),
        (copy("DELETE"), ok(json!({}))),
        (CREATE_COPY, ok(json!({}))),
        (one("PATCH"), ok(json!({}))),
    ]);
    assert_eq!(outcome.await.unwrap(), Outcome::Created);
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_copy_is_refused_is_taken_back() {
    let outcome = start([
        (CREATE_RUN, ok(pending("u1"))),
        (CREATE_COPY, refusal(403, "secrets is forbidden")),
        (copy("GET"), refusal(404, "not found")),
        (one("GET"), ok(pending("u1"))),
        (one("DELETE"), ok(json!({}))),
        (one("GET"), refusal(404, "not found")),
    ]);
    assert_eq!(outcome.await.unwrap_err().kind, Kind::Forbidden);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_another_delivery_has_started_is_never_taken_back() {
    let outcome = start([
        (CREATE_RUN, refusal(409, "exists")),
        (one("GET"), ok(pending("u1"))),
        (CREATE_COPY, refusal(403, "exceeded quota: secrets")),
        (copy("GET"), refusal(404, "not found")),
        (one("GET"), ok(started("u1"))),
        (CREATE_RUN, refusal(409, "exists")),
        (one("GET"), ok(started("u1"))),
    ]);
    assert_eq!(outcome.await.unwrap(), Outcome::AlreadyExists);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_given_up_neither_waits_nor_is_taken_from_another() {
    let (read, delete) = (one("GET"), one("DELETE"));
    let other = object("u1", "another event", "", json!("PipelineRunPending"));
    for (script, is_started) in [
        (vec![(read, refusal(404, "not found"))], false),
        (vec![(read, ok(started("u1")))], true),
        (vec![(read, ok(other))], false),
        (
            vec![(read, ok(pending("u1"))), (delete, ok(json!({})))],
            false,
        ),
        // Somebody starts it in this moment.
        (
            vec![
                (read, ok(pending("u1"))),
                (delete, refusal(409, "the object has been modified")),
                (read, ok(started("u1"))),
            ],
            true,
        ),
    ] {
        let (cluster, left) = api_server(script);
        assert_eq!(cluster.take_back(&run()).await.unwrap(), is_started);
        assert_eq!(left.lock().unwrap().len(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_quota_that_the_run_itself_uses_up_does_not_stop_its_second_delivery() {
    let outcome = start([
        (
            CREATE_RUN,
            refusal(403, "exceeded quota: count/pipelineruns"),
        ),
        (one("GET"), ok(pending("u1"))),
        (CREATE_COPY, refusal(403, "exceeded quota: secrets")),
        (
            copy("GET"),
            ok(
                json!({"metadata": {"uid": "s", "resourceVersion": "1", "ownerReferences": [{"uid": "u1"}]}}),
            ),
        ),
        (one("PATCH"), ok(json!({}))),
    ]);
    assert_eq!(outcome.await.unwrap(), Outcome::Created);
}

#[tokio::test(start_paused = true)]
async fn a_full_quota_is_worth_another_try_later() {
    let fault = start([
        (
            CREATE_RUN,
            refusal(403, "exceeded quota: count/pipelineruns"),
        ),
        (one("GET"), refusal(404, "not found")),
    ]);
    assert_eq!(fault.await.unwrap_err().kind, Kind::Blocked);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_refused_leaves_no_run_and_says_why() {
    let denied = "admission webhook \"policy.example.org\" denied the request: no updates today";
    let fault = start([
        (CREATE_RUN, ok(pending("u1"))),
        (CREATE_COPY, ok(json!({}))),
        (one("PATCH"), refusal(403, denied)),
        (one("GET"), ok(pending("u1"))),
        (one("DELETE"), ok(json!({}))),
        (one("GET"), refusal(404, "not found")),
    ]);
    let fault = fault.await.unwrap_err();
    assert_eq!(
        (fault.kind, fault.message.as_str()),
        (Kind::Refused, denied)
    );
}

#[tokio::test(start_paused = true)]
async fn a_busy_api_server_is_asked_again_as_it_wishes() {
    let wish = json!({"kind": "Status", "code": 429, "message": "busy", "details": {"retryAfterSeconds": 3}});
    let before = tokio::time::Instant::now();
    let outcome = start([
        (CREATE_RUN, Some((429, wish))),
        (CREATE_RUN, refusal(500, "etcdserver: leader changed")),
        (CREATE_RUN, None),
        (CREATE_RUN, ok(pending("u1"))),
        (CREATE_COPY, ok(json!({}))),
        (one("PATCH"), ok(json!({}))),
    ]);
    assert_eq!(outcome.await.unwrap(), Outcome::Created);
    assert!(
        before.elapsed() >= Duration::from_secs(8),
        "the wish, and the time of the one that hung"
    );
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_stays_away_ends_within_the_deadline() {
    let before = tokio::time::Instant::now();
    let fault = start([
        (CREATE_RUN, None),
        (CREATE_RUN, None),
        (CREATE_RUN, None),
        (CREATE_RUN, None),
    ])
    .await
    .unwrap_err();
    assert_eq!(fault.kind, Kind::Unavailable);
    assert!(
        before.elapsed() <= Duration::from_secs(21),
        "{:?}",
        before.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn what_an_admission_webhook_refuses_is_final() {
    let message =
        "admission webhook \"validation.webhook.pipeline.tekton.dev\" denied the request: bad";
    for code in [400, 403] {
        let fault = start([
            (CREATE_RUN, refusal(code, message)),
            (one("GET"), refusal(404, "not found")),
        ])
        .await
        .unwrap_err();
        assert_eq!(
            (fault.kind, fault.message.as_str()),
            (Kind::Refused, message)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_original_left_is_replaced_once() {
    let applied = json!({
        "metadata": {"resourceVersion": "7", "managedFields": [{"manager": "artisan-runner"}, {"manager": "hookrun"}]},
    });
    let (cluster, left) = api_server([
        ("PATCH secrets/scan-creds-secret", ok(applied)),
        (
            "PUT secrets/scan-creds-secret",
            ok(json!({"metadata": {"resourceVersion": "8"}})),
        ),
    ]);
    let emitted = emitted(FLOW);
    let secret = emitted
        .latest
        .iter()
        .find(|object| object.kind() == "Secret")
        .unwrap();
    cluster.apply(secret).await.unwrap();
    assert!(left.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_conflict_of_an_apply_is_another_writer_and_leads_to_another_try() {
    let applied = json!({"metadata": {"resourceVersion": "7"}, "data": {"TOKEN": "dA=="}});
    let (cluster, left) = api_server([
        (
            "PATCH secrets/scan-creds-secret",
            refusal(409, "the object has been modified"),
        ),
        ("PATCH secrets/scan-creds-secret", ok(applied)),
    ]);
    let emitted = emitted(FLOW);
    let secret = emitted
        .latest
        .iter()
        .find(|object| object.kind() == "Secret")
        .unwrap();
    cluster.apply(secret).await.unwrap();
    assert!(left.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_flow_that_lost_its_keys_loses_their_secret() {
    let emitted = emitted(FLOW);
    let absent = [
        "scan-keys-secret".to_owned(),
        "scan-files-secret".to_owned(),
    ];
    let applied = |generation: u64| {
        ok(json!({"metadata": {"resourceVersion": "1", "generation": generation}}))
    };
    let never_changed: [Exchange; 3] = [
        ("PATCH tasks/scan-build-task", applied(1)),
        ("PATCH pipelines/scan-pl", applied(1)),
        ("PATCH secrets/scan-creds-secret", applied(0)),
    ];
    let (cluster, left) = api_server(never_changed);
    cluster.apply_all(&emitted.latest, &absent).await.unwrap();
    assert!(left.lock().unwrap().is_empty());

    let managed = |manager: &str| {
        ok(
            json!({"metadata": {"uid": "u", "resourceVersion": "5", "managedFields": [{"manager": manager}]}}),
        )
    };
    let (cluster, left) = api_server([
        ("PATCH tasks/scan-build-task", applied(2)),
        ("PATCH pipelines/scan-pl", applied(1)),
        ("PATCH secrets/scan-creds-secret", applied(0)),
        ("GET secrets/scan-keys-secret", managed("hookrun")),
        ("DELETE secrets/scan-keys-secret", ok(json!({}))),
        // Somebody else's of that name stays.
        ("GET secrets/scan-files-secret", managed("kubectl")),
    ]);
    cluster.apply_all(&emitted.latest, &absent).await.unwrap();
    assert!(left.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_list_of_nothing_may_have_null_for_its_items() {
    for items in [json!({"items": null}), json!({}), json!({"items": []})] {
        let (cluster, left) = api_server([("GET blue/secrets", ok(items))]);
        let listing = Listing {
            namespace: Some("blue"),
            limit: 10,
            metadata_only: true,
            ..Listing::default()
        };
        let page: Page<Value> = cluster.list(SECRETS, &listing).await.unwrap();
        assert!(page.items.is_empty() && page.next.is_none());
        assert!(left.lock().unwrap().is_empty());
    }
}
