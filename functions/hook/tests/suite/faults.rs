//! What a connection that is cut, a process that is killed or an API server that is silent leaves behind.

use std::time::Duration;

use hook::SweepOptions;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::{Fault, Settings, World, build};

/// Two rules, one of which gives its run the payload: the event takes every kind of step.
fn rules() -> Value {
    let mut scan = build();
    scan["name"] = "scan".into();
    scan["payload"] = json!({"workspace": "event"});
    json!([build(), scan])
}

pub(crate) fn sweeping() -> SweepOptions {
    SweepOptions {
        sweep_finish: 500,
        sweep_delete: 5000,
        sweep_give_up: Duration::from_secs(86_400),
        sweep_time: Duration::from_secs(50),
    }
}

/// The requests that one event makes in a new process.
async fn requests() -> usize {
    let world = Settings::default().start();
    world.hook("shop", rules()).await;
    world.fail(None);
    let (_, told) = world.push("shop", "1").await;
    assert_eq!(told["outcome"], "Created", "{told}");
    world.seen().len()
}

async fn is_done(world: &World, what: &str) {
    let deliveries = world.deliveries().await;
    assert_eq!(deliveries.len(), 1, "{what}");
    assert_eq!(
        deliveries[0]["outcome"], "Created",
        "{what}: {}",
        deliveries[0]
    );
    let runs = world.runs().await;
    assert_eq!(runs.len(), 2, "{what}");
    let waits = runs.iter().any(|run| run["spec"].get("status").is_some());
    assert!(!waits, "{what}: a run was not let go");
}

#[tokio::test]
async fn a_connection_that_is_cut_once_anywhere_changes_nothing() {
    for at in 0..requests().await {
        for fault in [Fault::Before(at), Fault::After(at)] {
            let world = Settings::default().start();
            world.hook("shop", rules()).await;
            world.fail(Some(fault));
            let mut told = (StatusCode::SERVICE_UNAVAILABLE, Value::Null);
            while told.0 != StatusCode::ACCEPTED {
                told = world.push("shop", "1").await;
            }
            is_done(&world, &format!("{fault:?} {}", told.1)).await;
        }
    }
}

#[tokio::test]
async fn a_process_that_is_killed_anywhere_loses_nothing_and_doubles_nothing() {
    for at in 0..requests().await {
        let world = Settings {
            deadline: Duration::from_millis(300),
            ..Settings::default()
        }
        .start();
        world.hook("shop", rules()).await;
        world.fail(Some(Fault::DeadFrom(at)));
        let (first, _) = world.push("shop", "1").await;
        let stored = world.deliveries().await.len();
        if first == StatusCode::ACCEPTED {
            assert_eq!(stored, 1, "{at}: acknowledged and not stored");
        } else {
            assert_eq!(first, StatusCode::SERVICE_UNAVAILABLE, "{at}");
        }
        // The sender repeats what was not acknowledged; what is in progress is left to the sweep.
        let next = world.again(Settings::default());
        let (again, told) = next.push("shop", "1").await;
        assert_eq!(again, StatusCode::ACCEPTED, "{at}: {told}");
        let later = Timestamp::now() + SignedDuration::from_secs(61);
        let swept = next.service.sweep(&sweeping(), later).await.unwrap();
        assert_eq!(swept.failed, None, "{at}");
        is_done(&world, &format!("killed at {at}: {told}")).await;
    }
}

#[tokio::test]
async fn a_redelivery_takes_over_what_a_crash_left() {
    let settings = || Settings {
        takeover: Duration::from_millis(400),
        deadline: Duration::from_millis(300),
        ..Settings::default()
    };
    let world = settings().start();
    world.hook("shop", rules()).await;
    // Hook, Secret, Delivery; then the process is gone.
    world.fail(Some(Fault::DeadFrom(3)));
    let (status, told) = world.push("shop", "1").await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_eq!(told["outcome"], "Received", "{told}");
    let next = world.again(settings());
    let (_, told) = next.push("shop", "1").await;
    assert_eq!(
        (&told["outcome"], &told["duplicate"]),
        (&json!("Received"), &json!(true))
    );
    assert_eq!(world.runs().await.len(), 0);
    // What was decided counts, not what the Hook says now.
    world.edit("shop", json!({"rules": []})).await;
    let next = world.again(settings());
    let (_, told) = next.push("shop", "1").await;
    assert_eq!(told["outcome"], "Created", "{told}");
    is_done(&world, "taken over").await;
}

#[tokio::test]
async fn a_silent_api_server_is_503_before_the_event_is_stored_and_202_after() {
    for (at, expected) in [
        (0, StatusCode::SERVICE_UNAVAILABLE),
        (2, StatusCode::SERVICE_UNAVAILABLE),
        (3, StatusCode::ACCEPTED),
        (5, StatusCode::ACCEPTED),
    ] {
        let world = Settings {
            deadline: Duration::from_millis(200),
            ..Settings::default()
        }
        .start();
        world.hook("shop", rules()).await;
        world.fail(Some(Fault::MuteFrom(at)));
        let (status, told) = world.push("shop", "1").await;
        assert_eq!(status, expected, "{at}: {told}");
    }
}
