//! Rules that start a flow.

use std::time::Duration;

use http::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    faults::sweeping,
    support::{
        FLOW, Fault, Meanwhile, NAMESPACE, OF_NAMESPACE, Settings, Store, World, build, flow,
    },
};

/// SHA-256 of nothing.
const NOTHING: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn rule(source: Value) -> Value {
    json!([{"name": "scan", "flow": source}])
}

/// The run is let go, and owns what it mounts.
async fn is_started(world: &World, what: &str) {
    let runs = world.runs().await;
    assert_eq!(runs.len(), 1, "{what}");
    let run = &runs[0];
    assert!(run["spec"].get("status").is_none(), "{what}: {run}");
    assert_eq!(
        run["spec"]["taskRunTemplate"]["serviceAccountName"],
        "hookrun"
    );
    let name = run["metadata"]["name"].as_str().unwrap();
    let secrets = world.secrets().await;
    let owned = secrets.iter().filter(|secret| {
        let owner = &secret["metadata"]["ownerReferences"][0]["uid"];
        owner == &run["metadata"]["uid"]
    });
    let owned: Vec<_> = owned.collect();
    // What is secret, and what came with the event.
    assert_eq!(owned.len(), 2, "{what}");
    let named = |secret: &&&Value| {
        secret["metadata"]["name"]
            .as_str()
            .unwrap()
            .starts_with(name)
    };
    assert_eq!(owned.iter().filter(named).count(), 2);
    let token = owned
        .iter()
        .filter(|secret| secret["data"]["TOKEN"] == "bm90IHRvIGJlIHNlZW4=");
    assert_eq!(token.count(), 1, "{owned:?}");
    let delivery = &world.deliveries().await[0];
    assert_eq!(delivery["outcome"], "Created", "{what}");
    assert!(!delivery.to_string().contains("not to be seen"), "{what}");
    assert!(
        !delivery.to_string().contains("bm90IHRvIGJlIHNlZW4="),
        "{what}"
    );
}

#[tokio::test]
async fn a_flow_is_started_by_its_key_or_written_out() {
    for source in [json!({"key": FLOW}), json!({"inline": flow()})] {
        let world = Settings::default().start();
        world.hook("shop", rule(source.clone())).await;
        let (status, told) = world.push("shop", "1").await;
        assert_eq!(status, StatusCode::ACCEPTED);
        assert_eq!(told["outcome"], "Created", "{told}");
        is_started(&world, &source.to_string()).await;
        let (_, told) = world.push("shop", "1").await;
        assert_eq!(told["duplicate"], true);
        assert_eq!(world.runs().await.len(), 1);
    }
}

#[tokio::test]
async fn a_flow_that_cannot_be_had_or_used_says_why() {
    let unknown = json!({"key": "another"});
    let broken = json!({"inline": {"name": "scan"}});
    for (source, why) in [(unknown, "cannot look up flow"), (broken, "cannot be used")] {
        let world = Settings::default().start();
        world.hook("shop", rule(source)).await;
        let (status, told) = world.push("shop", "1").await;
        assert_eq!(status, StatusCode::ACCEPTED);
        assert_eq!(told["outcome"], "Failed");
        assert!(told["reason"].as_str().unwrap().contains(why), "{told}");
        assert_eq!(world.runs().await.len(), 0);
    }
}

#[tokio::test]
async fn a_flow_store_that_does_not_answer_loses_no_event() {
    let world = Settings {
        flow_store: Store::Down,
        ..Settings::default()
    }
    .start();
    world.hook("shop", rule(json!({"key": FLOW}))).await;
    let (status, told) = world.push("shop", "1").await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_eq!(told["outcome"], "Received", "{told}");
    assert!(
        told["reason"].as_str().unwrap().contains("tried again"),
        "{told}"
    );
    let later = Timestamp::now() + SignedDuration::from_secs(61);
    let swept = world.service.sweep(&sweeping(), later).await.unwrap();
    assert_eq!(swept.finished, 0);
    // A sweep that can look it up, which may be killed anywhere.
    let requests = {
        let counting = world.again(Settings::default());
        counting.fail(Some(Fault::DeadFrom(usize::MAX)));
        let _ = counting.service.sweep(&sweeping(), Timestamp::now()).await;
        counting.seen().len() + 12
    };
    // What was tried in vain is not tried again at once.
    let much_later = later + SignedDuration::from_hours(12);
    for at in 0..requests {
        let next = world.again(Settings {
            deadline: Duration::from_millis(300),
            ..Settings::default()
        });
        next.fail(Some(Fault::DeadFrom(at)));
        let _ = next.service.sweep(&sweeping(), much_later).await;
    }
    let next = world.again(Settings::default());
    let swept = next.service.sweep(&sweeping(), much_later).await.unwrap();
    assert_eq!(swept.failed, None);
    is_started(&world, "looked up by the sweep").await;
}

#[tokio::test]
async fn a_flow_store_that_hangs_leaves_time_to_store_the_event() {
    let world = Settings {
        deadline: Duration::from_secs(2),
        flow_store: Store::Hangs,
        ..Settings::default()
    }
    .start();
    let keyed = |name: &str| json!({"name": name, "flow": {"key": FLOW}});
    let rules = json!([keyed("one"), keyed("two"), keyed("three"), build()]);
    world.hook("shop", rules).await;
    let (status, told) = world.push("shop", "1").await;
    assert_eq!(status, StatusCode::ACCEPTED, "{told}");
    let delivery = world.deliveries().await.remove(0);
    let outcomes = delivery["rules"].as_array().unwrap().iter();
    let outcomes: Vec<_> = outcomes.map(|rule| rule["outcome"].clone()).collect();
    assert_eq!(outcomes, ["Received", "Received", "Received", "Created"]);
    let reason = delivery["rules"][0]["reason"].as_str().unwrap();
    assert!(
        reason.contains("did not answer") && reason.ends_with("it is tried again"),
        "{reason}"
    );
    let next = world.again(Settings::default());
    let later = Timestamp::now() + SignedDuration::from_secs(61);
    let swept = next.service.sweep(&sweeping(), later).await.unwrap();
    assert_eq!((swept.finished, swept.failed), (1, None));
    assert_eq!(world.runs().await.len(), 4);
}

#[tokio::test]
async fn a_store_that_is_missing_in_the_function_may_be_there_in_the_sweep() {
    let world = Settings {
        flow_store: Store::Undefined,
        ..Settings::default()
    }
    .start();
    world.hook("shop", rule(json!({"key": FLOW}))).await;
    let (status, told) = world.push("shop", "1").await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_eq!(told["outcome"], "Received", "{told}");
    let reason = told["reason"].as_str().unwrap();
    assert!(reason.contains("'OX_WAPI_URI' is undefined"), "{reason}");
    let stored = async || {
        let delivery = world.deliveries().await.remove(0);
        let bytes = &delivery["metadata"]["annotations"]["hookrun.dev/stored-bytes"];
        bytes.as_str().unwrap().parse::<usize>().unwrap()
    };
    let before = stored().await;
    let next = world.again(Settings::default());
    let later = Timestamp::now() + SignedDuration::from_secs(61);
    let swept = next.service.sweep(&sweeping(), later).await.unwrap();
    assert_eq!((swept.finished, swept.failed), (1, None));
    is_started(&world, "by a sweep with a store").await;
    assert!(stored().await > before + 1000, "without its run");
}

#[tokio::test]
async fn a_flow_that_names_the_namespace_of_another_tenant_is_not_started() {
    for (named, outcome) in [(NAMESPACE, "Created"), ("another-tenant", "Failed")] {
        let world = Settings::default().start();
        let key = format!("{OF_NAMESPACE}{named}");
        world.hook("shop", rule(json!({"key": key}))).await;
        let (status, told) = world.push("shop", "1").await;
        assert_eq!(status, StatusCode::ACCEPTED);
        assert_eq!(told["outcome"], outcome, "{told}");
        if outcome == "Created" {
            is_started(&world, named).await;
            continue;
        }
        let reason = told["reason"].as_str().unwrap();
        assert!(
            reason.contains("the flow is of namespace \"another-tenant\""),
            "{reason}"
        );
        // None of its credentials are here, that of the Hook excepted.
        assert_eq!(
            (world.runs().await.len(), world.secrets().await.len()),
            (0, 1)
        );
    }
}

#[tokio::test]
async fn whoever_may_write_deliveries_starts_no_flow_of_another_tenant_either() {
    for (named, outcome) in [(NAMESPACE, "Created"), ("another-tenant", "Failed")] {
        let world = Settings::default().start();
        let received = (Timestamp::now() - SignedDuration::from_mins(5)).to_string();
        let path = format!("/apis/hookrun.dev/v1alpha1/namespaces/{NAMESPACE}/deliveries");
        let delivery = json!({
            "apiVersion": "hookrun.dev/v1alpha1", "kind": "Delivery",
            "metadata": {
                "name": "by-hand", "labels": {"hookrun.dev/outcome": "Received", "hookrun.dev/flow": "scan"},
                "annotations": {"hookrun.dev/received-time": received},
            },
            "provider": "flow", "key": "by-hand", "deliveryId": "1", "receivedTime": received, "outcome": "Received",
            "payload": {"digest": NOTHING, "size": 0, "contentType": "", "gzip": "H4sIAAAAAAACAwMAAAAAAAAAAAA="},
            "rules": [{
                "name": "scan", "outcome": "Received", "run": "by-hand",
                "flow": {"key": format!("{OF_NAMESPACE}{named}")},
            }],
        });
        let (status, told) = world.call(Method::POST, &path, &delivery).await;
        assert_eq!(status, StatusCode::CREATED, "{told}");
        let swept = world.service.sweep(&sweeping(), Timestamp::now()).await;
        assert_eq!(swept.unwrap().finished, 1, "{named}");
        let delivery = world.deliveries().await.remove(0);
        assert_eq!(delivery["outcome"], outcome, "{delivery}");
        let runs = usize::from(outcome == "Created");
        assert_eq!(world.runs().await.len(), runs, "{named}");
    }
}

#[tokio::test]
async fn nothing_is_given_up_that_another_is_at_work_on() {
    let world = Settings {
        flow_store: Store::Down,
        ..Settings::default()
    }
    .start();
    world.hook("shop", rule(json!({"key": FLOW}))).await;
    world.push("shop", "1").await;
    let late = Timestamp::now() + SignedDuration::from_hours(25);
    for _ in 1..4 {
        world.service.sweep(&sweeping(), late).await.unwrap();
    }
    // Four tries so far; another process writes when the fifth has looked the flow up.
    let name = world.deliveries().await[0]["metadata"]["name"].clone();
    let path = format!(
        "/apis/hookrun.dev/v1alpha1/namespaces/{NAMESPACE}/deliveries/{}",
        name.as_str().unwrap()
    );
    let annotations = json!({"hookrun.dev/attempts": "5"});
    let next = world.again(Settings::default());
    next.meanwhile(Meanwhile {
        before: format!("PATCH {path}"),
        path,
        patch: json!({"attempts": 5, "metadata": {"annotations": annotations}}),
    });
    let swept = next.service.sweep(&sweeping(), late).await.unwrap();
    assert_eq!((swept.finished, swept.waiting, swept.failed), (0, 0, None));
    let delivery = world.deliveries().await.remove(0);
    assert_eq!(delivery["outcome"], "Received", "{delivery}");
    let swept = next.service.sweep(&sweeping(), late).await.unwrap();
    assert_eq!((swept.finished, world.runs().await.len()), (1, 1));
}

#[tokio::test]
async fn what_a_flow_that_was_looked_up_needs_and_cannot_get_is_a_try() {
    let world = Settings {
        flow_store: Store::Down,
        ..Settings::default()
    }
    .start();
    world.hook("shop", rule(json!({"key": FLOW}))).await;
    world.push("shop", "1").await;
    let next = world.again(Settings::default());
    next.fail(Some(Fault::NoSecrets));
    let later = |seconds| Timestamp::now() + SignedDuration::from_secs(seconds);
    let mut waiting = Vec::new();
    for second in [61, 65, 118, 121] {
        let swept = next
            .service
            .sweep(&sweeping(), later(second))
            .await
            .unwrap();
        assert_eq!(swept.failed, None);
        waiting.push(swept.waiting);
    }
    assert_eq!(waiting, [1, 0, 0, 1]);
    let delivery = world.deliveries().await.remove(0);
    let reason = delivery["reason"].as_str().unwrap();
    assert!(reason.contains("exceeded quota: secrets"), "{reason}");
    assert_eq!(delivery["attempts"], 3);
    for second in 86_401..86_404 {
        next.service
            .sweep(&sweeping(), later(second))
            .await
            .unwrap();
    }
    let delivery = world.deliveries().await.remove(0);
    assert_eq!(delivery["outcome"], "Failed", "{delivery}");
}

/// Whose flow was not looked up when it came; `rules` are beside the one that starts it.
async fn not_looked_up(rules: &[Value]) -> World {
    let world = Settings {
        flow_store: Store::Down,
        ..Settings::default()
    }
    .start();
    let mut all = rule(json!({"key": FLOW}));
    let all_rules = all.as_array_mut().unwrap();
    all_rules.extend_from_slice(rules);
    world.hook("shop", all).await;
    let (_, told) = world.push("shop", "1").await;
    assert_eq!(told["outcome"], "Received", "{told}");
    world
}

/// Writes of a Delivery among the requests of a sweep, by their numbers.
async fn patches(world: &World, fault: Option<Fault>) -> Vec<usize> {
    world.fail(fault);
    let later = Timestamp::now() + SignedDuration::from_secs(61);
    let swept = world.service.sweep(&sweeping(), later).await.unwrap();
    assert_eq!(swept.failed, None);
    let seen = world.seen();
    let is_patch = |told: &str| told.starts_with("PATCH") && told.contains("/deliveries/");
    let numbered = seen.iter().enumerate();
    numbered
        .filter_map(|(number, told)| is_patch(told).then_some(number))
        .collect()
}

#[tokio::test]
async fn a_flow_that_is_too_large_to_be_written_down_is_no_matter_of_time() {
    let looked_up = async || not_looked_up(&[]).await.again(Settings::default());
    let first = patches(&looked_up().await, None).await[0];
    let world = looked_up().await;
    let weight = async || {
        let delivery = world.deliveries().await.remove(0);
        let bytes = &delivery["metadata"]["annotations"]["hookrun.dev/stored-bytes"];
        bytes.as_str().unwrap().parse::<usize>().unwrap()
    };
    let before = (weight().await, world.secrets().await.len());
    patches(&world, Some(Fault::TooLarge(first))).await;
    // What its run was to own lies there until the Delivery vanishes.
    let after = (weight().await, world.secrets().await.len());
    assert!(after.0 > before.0 && after.1 > before.1, "{after:?}");
    let delivery = world.deliveries().await.remove(0);
    assert_eq!(delivery["outcome"], "Failed", "{delivery}");
    let reason = delivery["rules"][0]["reason"].as_str().unwrap();
    assert!(reason.starts_with("too large to record"), "{reason}");
    assert_eq!(world.runs().await.len(), 0);
}

#[tokio::test]
async fn a_flow_whose_secrets_are_refused_is_failed_unless_that_may_pass() {
    for (fault, outcome, why) in [
        (Fault::Vetoed("/secrets"), "Failed", "house.rules"),
        (Fault::NoSecrets, "Received", "exceeded quota: secrets"),
    ] {
        let world = not_looked_up(&[]).await.again(Settings::default());
        patches(&world, Some(fault)).await;
        let delivery = world.deliveries().await.remove(0);
        assert_eq!(delivery["outcome"], outcome, "{delivery}");
        let rule = &delivery["rules"][0];
        let reason = rule["reason"].as_str().unwrap();
        assert!(reason.contains(why), "{reason}");
        let waits = outcome == "Received";
        assert_eq!(reason.ends_with("it is tried again"), waits, "{reason}");
        // Nothing is started that does not have all that it is to own.
        assert!(rule["pipelineRun"].is_null(), "{rule}");
        assert_eq!(world.runs().await.len(), 0);
        world.fail(None);
        let later = Timestamp::now() + SignedDuration::from_secs(181);
        let swept = world.service.sweep(&sweeping(), later).await.unwrap();
        assert_eq!((swept.finished, swept.failed), (usize::from(waits), None));
    }
}

#[tokio::test]
async fn a_try_that_finds_nothing_new_is_written_down_once() {
    let world = not_looked_up(&[build()]).await;
    assert_eq!(patches(&world, None).await.len(), 1);
    let delivery = world.deliveries().await.remove(0);
    assert_eq!(delivery["rules"][1]["outcome"], "Created", "{delivery}");
    assert_eq!(delivery["attempts"], 2);
}

#[tokio::test]
async fn a_process_that_is_killed_anywhere_loses_and_doubles_no_flow() {
    let world = Settings::default().start();
    world.hook("shop", rule(json!({"key": FLOW}))).await;
    world.fail(None);
    world.push("shop", "1").await;
    let requests = world.seen().len();
    for at in 0..requests {
        let world = Settings {
            deadline: Duration::from_millis(300),
            ..Settings::default()
        }
        .start();
        world.hook("shop", rule(json!({"key": FLOW}))).await;
        world.fail(Some(Fault::DeadFrom(at)));
        world.push("shop", "1").await;
        let next = world.again(Settings::default());
        let (status, told) = next.push("shop", "1").await;
        assert_eq!(status, StatusCode::ACCEPTED, "{at}: {told}");
        let later = Timestamp::now() + SignedDuration::from_secs(61);
        let swept = next.service.sweep(&sweeping(), later).await.unwrap();
        assert_eq!(swept.failed, None, "{at}");
        is_started(&world, &format!("killed at {at}")).await;
    }
}
