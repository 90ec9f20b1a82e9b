//! Kubernetes Events on a Hook: only for what somebody should look at, once, and never in the way of an event.

use std::time::{Duration, Instant};

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    faults::sweeping,
    support::{Fault, PUSH, SECRET, Settings, World, build, headers},
};

/// How many Events were written, or tried to be.
fn told(world: &World) -> usize {
    let seen = world.seen();
    let event = "POST /api/v1/namespaces/default/events";
    seen.iter().filter(|request| *request == event).count()
}

/// A Hook with this quota.
async fn limited(world: &World, name: &str, per_minute: u32) {
    world.secret(name, SECRET).await;
    let spec = json!({
        "provider": "github", "verification": {"secretRefs": [{"name": name}]},
        "rules": [build()], "quota": {"perMinute": per_minute},
    });
    world.hook_of(name, spec).await;
}

#[tokio::test]
async fn an_event_that_nothing_is_wrong_with_writes_none() {
    let world = Settings::default().start();
    let mut never = build();
    never["name"] = "never".into();
    never["filter"] = "false".into();
    world.hook("shop", json!([build()])).await;
    world.hook("none", json!([never])).await;
    for (hook, outcome) in [
        ("shop", "Created"),
        ("shop", "Created"),
        ("none", "Filtered"),
    ] {
        assert_eq!(world.push(hook, "1").await.1["outcome"], outcome);
    }
    assert_eq!(told(&world), 0, "{:?}", world.seen());
}

#[tokio::test]
async fn a_run_that_cannot_be_started_is_told_of_once() {
    let world = Settings::default().start();
    world.hook("shop", json!([build()])).await;
    world.fail(Some(Fault::Denied));
    for id in ["1", "2", "2"] {
        assert_eq!(world.push("shop", id).await.1["outcome"], "Failed");
    }
    assert_eq!(told(&world), 1, "{:?}", world.seen());
    // Another process cannot know; its Event has the same name.
    let other = world.again(Settings::default());
    other.fail(Some(Fault::Denied));
    other.push("shop", "3").await;
    assert_eq!(told(&other), 1);
}

#[tokio::test]
async fn what_is_over_the_quota_is_told_of_once() {
    let world = Settings::default().start();
    limited(&world, "shop", 1).await;
    world.push("shop", "1").await;
    assert_eq!(told(&world), 0);
    for id in ["2", "3"] {
        assert_eq!(world.push("shop", id).await.1["outcome"], "Received");
    }
    assert_eq!(told(&world), 1, "{:?}", world.seen());
}

#[tokio::test]
async fn a_hook_that_becomes_unready_is_told_of_by_its_first_event() {
    let world = Settings::default().start();
    let mut wrong = build();
    wrong["filter"] = "evnt.branch".into();
    world.hook("shop", json!([wrong])).await;
    world.push("shop", "1").await;
    // That it is not ready, and that nothing was started.
    assert_eq!(told(&world), 2, "{:?}", world.seen());
    world.push("shop", "2").await;
    assert_eq!(told(&world), 2);
}

#[tokio::test]
async fn a_hook_that_becomes_unready_is_told_of_by_the_sweep() {
    let world = Settings::default().start();
    let mut of_a_pipeline = build();
    of_a_pipeline["pipelineRun"] = Value::Null;
    of_a_pipeline["pipelineRef"] = json!({"name": "nowhere"});
    world.hook("shop", json!([of_a_pipeline])).await;
    for _ in 0..2 {
        world
            .service
            .sweep(&sweeping(), Timestamp::now())
            .await
            .unwrap();
        assert_eq!(told(&world), 1, "{:?}", world.seen());
    }
}

#[tokio::test]
async fn what_the_sweep_cannot_start_is_told_of() {
    let world = Settings::default().start();
    limited(&world, "shop", 0).await;
    world.push("shop", "1").await;
    world.fail(Some(Fault::Denied));
    let later = Timestamp::now() + SignedDuration::from_secs(61);
    let swept = world.service.sweep(&sweeping(), later).await;
    assert_eq!(swept.unwrap().finished, 1);
    // That the right is missing, and that nothing was started.
    assert_eq!(told(&world), 2, "{:?}", world.seen());
}

#[tokio::test]
async fn refusals_are_told_of_where_senders_were_verified_before() {
    let world = Settings::default().start();
    world.hook("shop", json!([build()])).await;
    world.hook("unused", json!([build()])).await;
    let forged = headers("1", PUSH, "another secret");
    let refused = async |hook: &str| {
        let (status, _) = world.send(hook, &forged, PUSH).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        // The answer does not wait for what is told.
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    refused("unused").await;
    assert_eq!(told(&world), 0, "{:?}", world.seen());
    assert_eq!(world.push("shop", "1").await.1["outcome"], "Created");
    // What was read before counts for a second.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    for _ in 0..2 {
        refused("shop").await;
        assert_eq!(told(&world), 1, "{:?}", world.seen());
    }
}

#[tokio::test]
async fn an_event_waits_a_moment_at_most_for_what_is_told() {
    let world = Settings::default().start();
    limited(&world, "shop", 0).await;
    world.push("shop", "1").await;
    // The next process writes the status only when it is due, which it is not.
    let other = world.again(Settings::default());
    other.fail(None);
    other.push("shop", "2").await;
    let before = other.seen();
    assert!(before.last().unwrap().contains("/events"), "{before:?}");

    let third = world.again(Settings::default());
    third.fail(Some(Fault::MuteFrom(before.len() - 1)));
    let began = Instant::now();
    let (status, answer) = third.push("shop", "3").await;
    assert_eq!(
        (status, &answer["outcome"]),
        (StatusCode::ACCEPTED, &"Received".into())
    );
    assert_eq!(told(&third), 1, "{:?}", third.seen());
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
}
