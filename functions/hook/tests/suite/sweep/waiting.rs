//! What the sweep does with Deliveries that cannot be started, in which order, and what it notices about payloads.

use std::time::Duration;

use http::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::{
    faults::sweeping,
    nameless::nothing,
    support::{FLOW, Fault, NAMESPACE, PUSH, SECRET, Settings, Store, World, build, headers},
};

/// One sweep so many seconds from now; how often it tried to create a run.
async fn tries(world: &World, seconds: i64) -> usize {
    world.fail(Some(Fault::Full));
    let later = Timestamp::now() + SignedDuration::from_secs(seconds);
    world.service.sweep(&sweeping(), later).await.unwrap();
    let seen = world.seen();
    let created = |seen: &&String| seen.starts_with("POST") && seen.ends_with("/pipelineruns");
    seen.iter().filter(created).count()
}

#[tokio::test]
async fn what_cannot_be_started_is_tried_ever_more_rarely_and_given_up_after_a_day() {
    let world = Settings::default().start();
    world.hook("shop", json!([build()])).await;
    world.fail(Some(Fault::Full));
    let (status, told) = world.push("shop", "1").await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_eq!(told["outcome"], "Received", "{told}");
    let mut tried = Vec::new();
    for second in [30, 61, 65, 118, 121, 181, 238, 241] {
        tried.push(tries(&world, second).await);
    }
    assert_eq!(tried, [0, 1, 0, 0, 1, 0, 0, 1]);
    let delivery = world.deliveries().await.remove(0);
    assert_eq!(
        (&delivery["outcome"], &delivery["attempts"]),
        (&json!("Received"), &json!(4))
    );
    // The fifth try, of a Delivery that is old enough.
    assert_eq!(tries(&world, 86_401).await, 1);
    let delivery = world.deliveries().await.remove(0);
    assert_eq!(delivery["outcome"], "Failed", "{delivery}");
    assert_eq!(
        delivery["metadata"]["labels"]["hookrun.dev/outcome"],
        "Failed"
    );
    let received = delivery["receivedTime"].as_str().unwrap();
    let reason = delivery["reason"].as_str().unwrap();
    let expected = format!("rule build: given up after 5 tries since {received}");
    assert!(reason.starts_with(&expected), "{reason}");
    assert!(
        reason.contains("exceeded quota") && !reason.contains("tried again"),
        "{reason}"
    );
    assert_eq!(tries(&world, 86_500).await, 0);
    // Its sender may send it again: that is another beginning.
    let (_, told) = world.push("shop", "1").await;
    assert_eq!(told["outcome"], "Received", "{told}");
    assert_eq!(world.deliveries().await[0]["attempts"], 1);
    world.fail(None);
    let later = Timestamp::now() + SignedDuration::from_secs(61);
    let swept = world.service.sweep(&sweeping(), later).await.unwrap();
    assert_eq!((swept.finished, world.runs().await.len()), (1, 1));
}

#[tokio::test]
async fn nothing_is_given_up_that_nobody_has_tried() {
    let world = Settings::default().start();
    world.hook("shop", json!([build()])).await;
    world.edit("shop", json!({"quota": {"perMinute": 0}})).await;
    world.push("shop", "1").await;
    // The sweep was away for two days, and finds the cluster busy.
    for second in 0..4 {
        assert_eq!(tries(&world, 172_800 + second).await, 1);
    }
    assert_eq!(world.deliveries().await[0]["outcome"], "Received");
    assert_eq!(tries(&world, 172_810).await, 1);
    assert_eq!(world.deliveries().await[0]["outcome"], "Failed");
}

#[tokio::test]
async fn a_try_that_takes_all_its_time_is_on_record_and_given_up_one_day() {
    let world = Settings::default().start();
    let mut with_payload = build();
    with_payload["name"] = "scan".into();
    with_payload["payload"] = json!({"workspace": "event"});
    world.hook("shop", json!([with_payload, build()])).await;
    world.edit("shop", json!({"quota": {"perMinute": 0}})).await;
    world.push("shop", "1").await;
    let next = world.again(Settings {
        deadline: Duration::from_millis(300),
        ..Settings::default()
    });
    // The run is made, and waits for what it is to own.
    next.fail(Some(Fault::Silent("/secrets")));
    let sweep = async |tries: u32| {
        let later = Timestamp::now() + SignedDuration::from_secs(172_800 + i64::from(tries));
        let swept = next.service.sweep(&sweeping(), later).await.unwrap();
        assert_eq!(swept.failed, None);
        let delivery = world.deliveries().await.remove(0);
        let told = &delivery["metadata"]["annotations"]["hookrun.dev/attempts"];
        assert_eq!(
            (&delivery["attempts"], told),
            (&json!(tries), &json!(tries.to_string()))
        );
        // What was started in the same time is not forgotten.
        assert_eq!(delivery["rules"][1]["outcome"], "Created", "{delivery}");
        ((swept.waiting, swept.finished), delivery)
    };
    for tries in 1..5 {
        let (done, delivery) = sweep(tries).await;
        assert_eq!((done, &delivery["outcome"]), ((1, 0), &json!("Received")));
        let reason = delivery["reason"].as_str().unwrap();
        assert!(
            reason.contains("creating Secret") && reason.contains("in time"),
            "{reason}"
        );
    }
    assert_eq!(world.runs().await.len(), 2);
    let (done, delivery) = sweep(5).await;
    assert_eq!((done, &delivery["outcome"]), ((0, 1), &json!("Failed")));
    let reason = delivery["reason"].as_str().unwrap();
    assert!(
        reason.contains("given up after 5 tries") && reason.contains("creating Secret"),
        "{reason}"
    );
    // What waited is taken back.
    assert_eq!(world.runs().await.len(), 1);
}

#[tokio::test]
async fn a_try_whose_reason_has_no_room_counts_and_is_given_up_one_day() {
    let world = Settings::default().start();
    world.hook("shop", json!([build()])).await;
    world.edit("shop", json!({"quota": {"perMinute": 0}})).await;
    world.push("shop", "1").await;
    world.fail(Some(Fault::Brimful));
    let sweep = async |second: i64| {
        let later = Timestamp::now() + SignedDuration::from_secs(second);
        let swept = world.service.sweep(&sweeping(), later).await.unwrap();
        let delivery = world.deliveries().await.remove(0);
        (swept.failed.map(|(_, why)| why), delivery)
    };
    let mut before = 0;
    for (second, tries) in [
        (61, 1),
        (65, 2),
        (66, 2),
        (118, 2),
        (121, 3),
        (181, 3),
        (241, 4),
    ] {
        let (failed, delivery) = sweep(second).await;
        assert_eq!(failed.is_some(), tries > before, "{second}: {failed:?}");
        before = tries;
        let told = &delivery["metadata"]["annotations"]["hookrun.dev/attempts"];
        assert_eq!(
            (&delivery["attempts"], told, &delivery["outcome"]),
            (&json!(tries), &json!(tries.to_string()), &json!("Received")),
            "{second}"
        );
    }
    let (failed, delivery) = sweep(86_401).await;
    assert_eq!((failed, &delivery["outcome"]), (None, &json!("Failed")));
    let reason = delivery["reason"].as_str().unwrap();
    assert!(reason.contains("given up after 5 tries"), "{reason}");
}

#[tokio::test]
async fn what_is_started_at_last_does_not_say_why_it_was_not() {
    let world = Settings::default().start();
    world.hook("shop", json!([build()])).await;
    world.fail(Some(Fault::Full));
    let (_, told) = world.push("shop", "1").await;
    assert!(told["reason"].as_str().unwrap().contains("tried again"));
    world.fail(None);
    let later = Timestamp::now() + SignedDuration::from_secs(61);
    let swept = world.service.sweep(&sweeping(), later).await.unwrap();
    assert_eq!(swept.finished, 1);
    let rule = &world.deliveries().await[0]["rules"][0];
    assert_eq!(
        (&rule["outcome"], &rule["reason"]),
        (&json!("Created"), &json!("matches"))
    );
}

#[tokio::test]
async fn what_is_left_is_finished_before_anything_else_is_looked_at() {
    let world = Settings {
        namespaces: vec!["another".to_owned(), NAMESPACE.to_owned()],
        ..Settings::default()
    }
    .start();
    world.hook("shop", json!([build()])).await;
    world.edit("shop", json!({"quota": {"perMinute": 0}})).await;
    world.push("shop", "1").await;
    world.fail(None);
    let later = Timestamp::now() + SignedDuration::from_secs(61);
    let swept = world.service.sweep(&sweeping(), later).await.unwrap();
    assert_eq!((swept.finished, swept.examined), (1, 1));
    let seen = world.seen();
    let at = |what: &str| seen.iter().position(|request| request.ends_with(what));
    let (created, hooks) = (at("/pipelineruns"), at("/hooks"));
    assert!(created.is_some() && created < hooks, "{seen:#?}");
}

#[tokio::test]
async fn what_came_first_is_started_first() {
    let world = Settings::default().start();
    world.hook("shop", json!([build()])).await;
    world.edit("shop", json!({"quota": {"perMinute": 0}})).await;
    let mut names = Vec::new();
    for id in 0..20 {
        let (_, told) = world.push("shop", &id.to_string()).await;
        names.push(told["delivery"].as_str().unwrap().to_owned());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let mut options = sweeping();
    options.sweep_finish = 1;
    let later = Timestamp::now() + SignedDuration::from_secs(61);
    let swept = world.service.sweep(&options, later).await.unwrap();
    assert!(!swept.complete && swept.finished < 20);
    let mut left: Vec<_> = world.deliveries().await;
    left.retain(|delivery| delivery["outcome"] == "Received");
    let mut left: Vec<_> = left
        .iter()
        .map(|one| one["metadata"]["name"].as_str().unwrap().to_owned())
        .collect();
    let mut expected = names.split_off(swept.finished);
    left.sort();
    expected.sort();
    assert_eq!(left, expected);
}

#[tokio::test]
async fn the_same_payload_is_flagged_over_processes() {
    let world = Settings::default().start();
    world.hook("shop", json!([build()])).await;
    world.hook("other", json!([build()])).await;
    let (_, first) = world.push("shop", "1").await;
    tokio::time::sleep(Duration::from_millis(2)).await;
    let next = world.again(Settings::default());
    let (_, second) = next.push("shop", "2").await;
    // Another Hook, and another payload.
    next.push("other", "3").await;
    let body = PUSH.replace("main", "mine");
    next.send("shop", &headers("4", &body, SECRET), &body).await;
    let flags = async || {
        let all = world.deliveries().await;
        let flagged = all.into_iter().filter_map(|delivery| {
            let other = delivery["samePayloadAs"].as_str()?.to_owned();
            let annotation = "hookrun.dev/same-payload-as";
            assert_eq!(delivery["metadata"]["annotations"][annotation], *other);
            Some((delivery["metadata"]["name"].clone(), other.into()))
        });
        flagged.collect::<Vec<_>>()
    };
    assert_eq!(flags().await, []);
    // Twice at once, and once more.
    let now = Timestamp::now();
    let options = sweeping();
    let swept = tokio::join!(
        world.service.sweep(&options, now),
        next.service.sweep(&options, now)
    );
    let (one, other) = (swept.0.unwrap(), swept.1.unwrap());
    assert!(one.flagged + other.flagged >= 1, "{one:?} {other:?}");
    assert_eq!((one.failed, other.failed), (None, None));
    let expected = [(second["delivery"].clone(), first["delivery"].clone())];
    assert_eq!(flags().await, expected);
    let again = world.service.sweep(&sweeping(), now).await.unwrap();
    assert_eq!(again.flagged, 0);
    // What a process notices itself is not written again.
    next.push("shop", "5").await;
    let again = world.service.sweep(&sweeping(), now).await.unwrap();
    assert_eq!((again.flagged, flags().await.len()), (0, 2));
}

#[tokio::test]
async fn what_is_due_is_tried_once_in_a_sweep_although_its_list_breaks_off() {
    // One more than is on a page.
    const DELIVERIES: usize = 501;
    let world = Settings {
        flow_store: Store::Down,
        ..Settings::default()
    }
    .start();
    let path = format!("/apis/hookrun.dev/v1alpha1/namespaces/{NAMESPACE}/deliveries");
    for number in 0..DELIVERIES {
        // The first one is due, and stays so.
        let age = if number == 0 { 48 } else { 0 };
        let received = (Timestamp::now() - SignedDuration::from_hours(age)).to_string();
        let delivery = json!({
            "apiVersion": "hookrun.dev/v1alpha1", "kind": "Delivery",
            "metadata": {
                "name": format!("scan-{number:03}"), "labels": {"hookrun.dev/outcome": "Received"},
                "annotations": {"hookrun.dev/received-time": received},
            },
            "provider": "artisan", "key": "1", "deliveryId": "1", "receivedTime": received,
            "payload": nothing(), "outcome": "Received",
            "rules": [{"name": "scan", "outcome": "Received", "flow": {"key": FLOW}}],
        });
        let (status, told) = world.call(Method::POST, &path, &delivery).await;
        assert_eq!(status, StatusCode::CREATED, "{told}");
    }
    world.fail(Some(Fault::LaterPages));
    let swept = world.service.sweep(&sweeping(), Timestamp::now()).await;
    let swept = swept.unwrap();
    assert_eq!(
        (swept.examined, swept.waiting),
        (DELIVERIES, 1),
        "{swept:?}"
    );
    assert_eq!(world.deliveries().await[0]["attempts"], 1);
}
