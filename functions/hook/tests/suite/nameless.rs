//! What the sweep does with flows that were posted without an identity, and whose process was killed: whoever sent one got
//! no answer and posts it again, under another name.

use http::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    faults::sweeping,
    support::{Fault, NAMESPACE, Settings, World},
};

/// A payload without bytes, as it is stored.
pub(crate) fn nothing() -> Value {
    let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    json!({"digest": digest, "size": 0, "contentType": "", "gzip": "H4sIAAAAAAACAwMAAAAAAAAAAAA="})
}

fn run() -> Value {
    let event = json!({"hookrun.dev/event": "request 1"});
    json!({
        "apiVersion": "tekton.dev/v1", "kind": "PipelineRun",
        "metadata": {"name": "scan-pr-1", "namespace": NAMESPACE, "annotations": event},
        "spec": {"pipelineRef": {"name": "scan"}},
    })
}

/// Leaves an event as a process does that is killed before it started the run.
async fn left(more: Value) -> World {
    let world = Settings::default().start();
    let received = (Timestamp::now() - SignedDuration::from_mins(5)).to_string();
    let mut delivery = json!({
        "apiVersion": "hookrun.dev/v1alpha1", "kind": "Delivery",
        "metadata": {
            "name": "scan-pr-1", "labels": {"hookrun.dev/outcome": "Received", "hookrun.dev/flow": "scan"},
            "annotations": {"hookrun.dev/received-time": received},
        },
        "provider": "artisan", "key": "request 1", "receivedTime": received, "outcome": "Received",
        "payload": nothing(),
        "rules": [{"name": "scan", "outcome": "Received", "run": "scan-pr-1", "pipelineRun": run()}],
    });
    for (field, value) in more.as_object().into_iter().flatten() {
        delivery[field] = value.clone();
    }
    let path = format!("/apis/hookrun.dev/v1alpha1/namespaces/{NAMESPACE}/deliveries");
    create(&world, &path, &delivery).await;
    world
}

async fn create(world: &World, path: &str, object: &Value) {
    let (status, told) = world.call(Method::POST, path, object).await;
    assert_eq!(status, StatusCode::CREATED, "{told}");
}

async fn create_run(world: &World, run: &Value) {
    let path = format!("/apis/tekton.dev/v1/namespaces/{NAMESPACE}/pipelineruns");
    create(world, &path, run).await;
}

/// What is on record after a sweep that finishes it.
async fn swept(world: &World) -> Value {
    let swept = world.service.sweep(&sweeping(), Timestamp::now()).await;
    let swept = swept.unwrap();
    assert_eq!((swept.finished, swept.failed), (1, None));
    world.deliveries().await.remove(0)
}

#[tokio::test]
async fn what_its_sender_posts_again_is_not_started_beside_that() {
    let world = left(json!({})).await;
    let delivery = swept(&world).await;
    assert_eq!(delivery["outcome"], "Failed", "{delivery}");
    let reason = delivery["reason"].as_str().unwrap();
    assert!(
        reason.contains("posts it again") && reason.contains("hookrun deliveries replay scan-pr-1"),
        "{reason}"
    );
    // It may have been answered, and its run have been deleted since.
    assert!(
        reason.contains("told of a run, that was started"),
        "{reason}"
    );
    assert_eq!(world.runs().await.len(), 0);
}

#[tokio::test]
async fn a_run_that_waits_for_the_rest_of_what_it_needs_is_deleted() {
    let world = left(json!({})).await;
    let mut waits = run();
    waits["spec"]["status"] = "PipelineRunPending".into();
    create_run(&world, &waits).await;
    assert_eq!(swept(&world).await["outcome"], "Failed");
    assert_eq!(world.runs().await.len(), 0);
}

#[tokio::test]
async fn what_cannot_be_ended_is_tried_ever_more_rarely() {
    let world = left(json!({})).await;
    world.fail(Some(Fault::Hidden("/pipelineruns")));
    let mut tried = Vec::new();
    for _ in 0..6 {
        let swept = world.service.sweep(&sweeping(), Timestamp::now()).await;
        tried.push(swept.unwrap().failed.is_some());
    }
    // Five minutes old, it has been due after one, again one, two and four minutes; the next time is after eight.
    assert_eq!(tried, [true, true, true, true, false, false]);
    let delivery = world.deliveries().await.remove(0);
    assert_eq!(
        (&delivery["outcome"], &delivery["attempts"]),
        (&json!("Received"), &json!(4))
    );
    world.fail(None);
    let later = Timestamp::now() + SignedDuration::from_mins(4);
    let swept = world.service.sweep(&sweeping(), later).await.unwrap();
    assert_eq!((swept.finished, swept.failed), (1, None));
}

#[tokio::test]
async fn what_has_no_room_for_its_end_is_ended_without_what_was_to_be_started() {
    let world = left(json!({})).await;
    world.fail(Some(Fault::Brimful));
    let delivery = swept(&world).await;
    assert_eq!(delivery["outcome"], "Failed", "{delivery}");
    assert!(delivery["rules"][0].get("pipelineRun").is_none());
}

#[tokio::test]
async fn a_run_that_was_started_is_on_record() {
    let world = left(json!({})).await;
    create_run(&world, &run()).await;
    assert_eq!(swept(&world).await["outcome"], "Created");
    assert_eq!(world.runs().await.len(), 1);
}

#[tokio::test]
async fn what_has_a_name_or_is_replayed_is_started() {
    for more in [json!({"deliveryId": "1"}), json!({"replayOf": "scan-pr-0"})] {
        let world = left(more.clone()).await;
        assert_eq!(swept(&world).await["outcome"], "Created", "{more}");
        assert_eq!(world.runs().await.len(), 1, "{more}");
    }
}
