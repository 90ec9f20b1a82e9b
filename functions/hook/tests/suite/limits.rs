//! Quotas, shares and sizes.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use runtime::Limits;
use serde_json::{Value, json};

use crate::{
    faults::sweeping,
    support::{Fault, SECRET, Settings, World, build, headers},
};

#[tokio::test]
async fn a_decision_that_is_too_large_is_on_record_without_its_run() {
    let world = Settings::default().start();
    world.hook("shop", json!([build()])).await;
    world.push("shop", "0").await;
    world.fail(None);
    world.push("shop", "1").await;
    let seen = world.seen();
    let create = |told: &String| told.starts_with("POST") && told.ends_with("/deliveries");
    let create = seen.iter().position(create).unwrap();
    world.fail(Some(Fault::TooLarge(create)));
    let (status, told) = world.push("shop", "2").await;
    assert_eq!(status, StatusCode::ACCEPTED, "{told}");
    assert_eq!(told["outcome"], "Failed", "{told}");
    let deliveries = world.deliveries().await;
    let failed = deliveries.iter().find(|one| one["outcome"] == "Failed");
    let rule = &failed.unwrap()["rules"][0];
    let reason = rule["reason"].as_str().unwrap();
    assert!(reason.starts_with("too large to record"), "{reason}");
    assert!(rule["pipelineRun"].is_null(), "{rule}");
    assert_eq!(world.runs().await.len(), 2);
}

#[tokio::test]
async fn what_exceeds_the_quota_is_stored_and_started_by_the_sweep() {
    let world = Settings::default().start();
    world.hook("shop", json!([build()])).await;
    world.edit("shop", json!({"quota": {"perMinute": 2}})).await;
    let mut outcomes = Vec::new();
    for id in ["1", "2", "3"] {
        let (status, told) = world.push("shop", id).await;
        assert_eq!(status, StatusCode::ACCEPTED);
        outcomes.push(told["outcome"].as_str().unwrap().to_owned());
        if told["outcome"] == "Received" {
            assert!(
                told["reason"]
                    .as_str()
                    .unwrap()
                    .contains("per minute and pod"),
                "{told}"
            );
        }
    }
    assert_eq!(outcomes, ["Created", "Created", "Received"]);
    let later = Timestamp::now() + SignedDuration::from_secs(61);
    let swept = world.service.sweep(&sweeping(), later).await.unwrap();
    assert_eq!(swept.finished, 1);
    assert_eq!(world.runs().await.len(), 3);
}

/// Room for eight requests, two of them of one Hook.
fn eight() -> Settings {
    let limits = Limits {
        requests: 8,
        ..Limits::default()
    };
    Settings {
        limits,
        ..Settings::default()
    }
}

async fn burst(world: &World, count: usize) -> Vec<(StatusCode, Value)> {
    let ids: Vec<_> = (0..count).map(|id| id.to_string()).collect();
    let sent = ids.iter().map(|id| world.push("shop", id));
    futures_util::future::join_all(sent).await
}

#[tokio::test]
async fn a_burst_waits_for_its_turn_and_none_of_it_is_lost() {
    let world = eight().start();
    world.hook("shop", json!([build()])).await;
    for (status, told) in burst(&world, 6).await {
        assert_eq!(status, StatusCode::ACCEPTED, "{told}");
    }
    assert_eq!(world.runs().await.len(), 6);
}

#[tokio::test]
async fn who_waits_in_vain_is_told_to_come_again_within_its_time() {
    let deadline = Duration::from_millis(300);
    let world = Settings {
        deadline,
        ..eight()
    }
    .start();
    world.hook("shop", json!([build()])).await;
    let (status, told) = world.push("shop", "first").await;
    assert_eq!(status, StatusCode::ACCEPTED, "{told}");
    world.fail(Some(Fault::MuteFrom(0)));
    let began = Instant::now();
    let answers = burst(&world, 8).await;
    assert!(began.elapsed() < 4 * deadline, "{:?}", began.elapsed());
    let busy = answers.iter().filter(|(status, told)| {
        assert_eq!(*status, StatusCode::SERVICE_UNAVAILABLE, "{told}");
        told["type"].as_str().unwrap().ends_with("hook-busy")
    });
    // Two have the places of the Hook, and four may wait for them.
    assert!(busy.count() >= 2, "{answers:?}");
}

/// One thread serves everybody, as in the executable: what it is kept from for as long as one decision takes are all
/// other Hooks, probes, and everybody's clocks.
#[tokio::test]
async fn a_costly_filter_keeps_nobody_else_from_an_answer() {
    const EVENTS: usize = 8;
    let world = Settings::default().start();
    world.hook("costly", json!([costly()])).await;
    world.hook("shop", json!([build()])).await;
    world.push("shop", "before").await;
    let body = items(3_000);
    let send = async |id: usize| {
        let signed = headers(&id.to_string(), &body, SECRET);
        world.send("costly", &signed, &body).await
    };
    let began = Instant::now();
    let (_, told) = send(EVENTS).await;
    let alone = began.elapsed();
    let reason = told["reason"].as_str().unwrap();
    assert!(reason.contains("take more than"), "{reason}");
    let left = AtomicUsize::new(EVENTS);
    let flood = (0..EVENTS).map(async |id| {
        let (status, told) = send(id).await;
        // They wait for one another, and maybe for longer than their sender does.
        let known = [StatusCode::ACCEPTED, StatusCode::SERVICE_UNAVAILABLE];
        assert!(known.contains(&status), "{told}");
        left.fetch_sub(1, Ordering::SeqCst);
    });
    let others = async {
        let mut longest = Duration::ZERO;
        let mut answered = 0;
        while left.load(Ordering::SeqCst) > 0 {
            let began = Instant::now();
            tokio::task::yield_now().await;
            longest = longest.max(began.elapsed());
            let (status, told) = world.push("shop", &answered.to_string()).await;
            assert_eq!(status, StatusCode::ACCEPTED, "{told}");
            answered += 1;
        }
        (longest, answered)
    };
    let (_, (longest, answered)) = tokio::join!(futures_util::future::join_all(flood), others);
    assert!(longest < alone / 2, "{longest:?} of {alone:?}");
    assert!(answered > 1, "only {answered} events of another Hook");
}

/// A push over whose payload [`costly`] takes long.
fn items(number: usize) -> String {
    let mut push: Value = serde_json::from_str(crate::support::PUSH).unwrap();
    push["items"] = (0..number).collect();
    push.to_string()
}

/// A rule that takes as much time as an event may cost, over a payload of a few kilobytes.
fn costly() -> Value {
    let mut costly = build();
    costly["filter"] = "body.items.all(a, body.items.all(b, a <= b || b <= a))".into();
    costly
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_costly_flood_is_stored_what_is_decided_on_and_the_rest_is_told_in_time() {
    const EVENTS: usize = 12;
    const WARM: usize = 3;
    let body = items(3_000);
    let send = async |world: &World, id: usize| {
        let signed = headers(&id.to_string(), &body, SECRET);
        world.send("costly", &signed, &body).await
    };
    let world = Settings::default().start();
    world.hook("costly", json!([costly()])).await;
    world.hook("shop", json!([build()])).await;
    // The longest of a few: what one alone takes depends on what else the machine does.
    let mut longest = Duration::ZERO;
    for id in EVENTS..EVENTS + WARM {
        let began = Instant::now();
        send(&world, id).await;
        longest = longest.max(began.elapsed());
    }
    // Time for a few of them.
    let deadline = longest * 6;
    let world = world.again(Settings {
        deadline,
        ..Settings::default()
    });
    let flood = futures_util::future::join_all((0..EVENTS).map(|id| send(&world, id)));
    let others = async {
        for id in 0..4 {
            let (status, told) = world.push("shop", &id.to_string()).await;
            assert_eq!(status, StatusCode::ACCEPTED, "{told}");
        }
    };
    let (answers, ()) = tokio::join!(flood, others);
    let (stored, refused): (Vec<_>, Vec<_>) = answers
        .into_iter()
        .partition(|(status, _)| *status == StatusCode::ACCEPTED);
    assert!(!stored.is_empty() && !refused.is_empty(), "{refused:?}");
    // None was decided on in vain.
    for (_, told) in refused {
        assert!(
            told["type"].as_str().unwrap().ends_with("hook-busy"),
            "{told}"
        );
    }
    let deliveries = world.deliveries().await;
    let deliveries = deliveries
        .iter()
        .filter(|one| one["hook"]["name"] == "costly");
    assert_eq!(deliveries.count(), stored.len() + WARM);
}

#[tokio::test]
async fn copies_use_up_no_quota() {
    let world = Settings::default().start();
    world.hook("shop", json!([build()])).await;
    world.edit("shop", json!({"quota": {"perMinute": 2}})).await;
    let (_, told) = world.push("shop", "1").await;
    assert_eq!(told["outcome"], "Created", "{told}");
    // Another process, which learns from the API server that these are copies.
    let other = world.again(Settings::default());
    for _ in 0..5 {
        let (_, told) = other.push("shop", "1").await;
        assert_eq!(
            (&told["outcome"], &told["duplicate"]),
            (&json!("Created"), &json!(true))
        );
    }
    for id in ["2", "3"] {
        let (_, told) = other.push("shop", id).await;
        assert_eq!(told["outcome"], "Created", "{told}");
    }
    let (_, told) = other.push("shop", "4").await;
    assert_eq!(told["outcome"], "Received", "{told}");
}

#[tokio::test]
async fn a_copy_is_one_read() {
    let world = Settings::default().start();
    world.hook("shop", json!([build()])).await;
    world.push("shop", "1").await;
    world.push("shop", "1").await;
    world.fail(None);
    let (status, told) = world.push("shop", "1").await;
    assert_eq!(
        (status, &told["duplicate"]),
        (StatusCode::ACCEPTED, &json!(true))
    );
    let mut seen = world.seen();
    // Hook and Secret, if the second is over; duplicates are counted once a second.
    seen.retain(|one| one.contains("/deliveries") && !one.starts_with("PATCH"));
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(seen[0].starts_with("GET "), "{seen:?}");
}

#[tokio::test]
async fn a_large_copy_of_what_is_done_needs_no_store() {
    let world = Settings::default().start();
    world.hook("shop", json!([build()])).await;
    let (_, first) = world.push("shop", "1").await;
    let other = world.again(Settings::default());
    let body = noise(1 << 20);
    let (status, told) = other
        .send("shop", &headers("1", &body, SECRET), &body)
        .await;
    assert_eq!(status, StatusCode::ACCEPTED, "{told}");
    assert_eq!(told["delivery"], first["delivery"]);
    assert_eq!(told["duplicate"], true);
}

#[tokio::test]
async fn a_large_payload_lies_in_a_secret_that_the_delivery_owns() {
    let world = Settings::default().start();
    let mut rule = build();
    rule["payload"] = json!({"workspace": "event"});
    world.hook("shop", json!([rule])).await;
    let body = noise(600 << 10);
    let (status, told) = world
        .send("shop", &headers("1", &body, SECRET), &body)
        .await;
    assert_eq!(status, StatusCode::ACCEPTED, "{told}");
    assert_eq!(told["outcome"], "Created", "{told}");
    let delivery = &world.deliveries().await[0];
    assert!(delivery["payload"].get("gzip").is_none());
    let name = &delivery["payload"]["secretName"];
    let secrets = world.secrets().await;
    let secret = secrets.iter().find(|one| &one["metadata"]["name"] == name);
    assert_eq!(
        secret.unwrap()["metadata"]["ownerReferences"][0]["uid"],
        delivery["metadata"]["uid"]
    );
}

#[tokio::test]
async fn an_event_whose_payload_is_not_stored_is_not_acknowledged() {
    let body = noise(600 << 10);
    let signed = headers("1", &body, SECRET);
    // Hook, Secret, Delivery, and then the Secret of the payload.
    for fault in [Fault::DeadFrom(3), Fault::DeadFrom(4)] {
        let world = Settings {
            deadline: Duration::from_secs(2),
            ..Settings::default()
        }
        .start();
        let mut rule = build();
        rule["payload"] = json!({"workspace": "event"});
        world.hook("shop", json!([rule])).await;
        world.fail(Some(fault));
        let (status, told) = world.send("shop", &signed, &body).await;
        let kept = world.secrets().await.len() == 2;
        assert_eq!(status == StatusCode::ACCEPTED, kept, "{fault:?} {told}");
        // Whoever says that it is stored has stored it.
        let next = world.again(Settings::default());
        let (status, told) = next.send("shop", &signed, &body).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{told}");
        assert_eq!(world.secrets().await.len(), 2, "{fault:?}");
        let later = Timestamp::now() + SignedDuration::from_secs(61);
        next.service.sweep(&sweeping(), later).await.unwrap();
        assert_eq!(world.deliveries().await[0]["outcome"], "Created");
        assert_eq!(world.runs().await.len(), 1);
    }
}

#[tokio::test]
async fn what_no_object_holds_needs_a_store() {
    let world = Settings::default().start();
    world.hook("shop", json!([build()])).await;
    let body = noise(1 << 20);
    let (status, told) = world
        .send("shop", &headers("1", &body, SECRET), &body)
        .await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(
        told["detail"]
            .as_str()
            .unwrap()
            .contains("HOOKRUN_PAYLOAD_STORE"),
        "{told}"
    );
    assert_eq!(world.deliveries().await.len(), 0);
}

#[tokio::test]
async fn a_hook_starts_nothing_that_its_account_may_not() {
    let world = Settings::default().start();
    world.hook("shop", json!([build()])).await;
    world.fail(Some(Fault::Denied));
    let (status, told) = world.push("shop", "1").await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_eq!(told["outcome"], "Failed");
    let reason = told["reason"].as_str().unwrap();
    assert!(
        reason.contains("\"hookrun\"") && reason.contains("Role"),
        "{reason}"
    );
    assert_eq!(world.runs().await.len(), 0);
    let swept = world.service.sweep(&sweeping(), Timestamp::now()).await;
    assert_eq!(swept.unwrap().failed, None);
    let ready = &world.read_hook("shop").await["status"]["conditions"][0];
    assert_eq!(
        (&ready["status"], &ready["reason"]),
        (&json!("False"), &json!("Cluster"))
    );
    assert!(
        ready["message"].as_str().unwrap().contains("Role"),
        "{ready}"
    );
    // With the right, the same event starts its run.
    world.fail(None);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let (_, told) = world.push("shop", "1").await;
    assert_eq!(told["outcome"], "Created", "{told}");
    assert_eq!(world.runs().await.len(), 1);
}

/// A push with so many bytes of text that cannot be compressed much.
fn noise(bytes: usize) -> String {
    let mut state = 1_u64;
    let letters = (0..bytes).map(|_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        char::from(b' ' + 16 + u8::try_from((state >> 33) % 64).unwrap())
    });
    let text: String = letters
        .map(|letter| if letter == '\\' { '/' } else { letter })
        .collect();
    let mut push: serde_json::Value = serde_json::from_str(crate::support::PUSH).unwrap();
    push["noise"] = text.into();
    push.to_string()
}
