//! What becomes of verified events.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{Fault, NAMESPACE, SECRET, Settings, build, headers};

fn annotation<'a>(run: &'a Value, name: &str) -> &'a str {
    run["metadata"]["annotations"][name]
        .as_str()
        .unwrap_or_default()
}

#[tokio::test]
async fn a_push_is_stored_and_starts_its_run_with_three_writes() {
    let world = Settings::default().start();
    let hook = world.hook("shop", json!([build()])).await;
    world.fail(None);
    let (status, told) = world.push("shop", "1").await;
    assert_eq!(status, StatusCode::ACCEPTED, "{told}");
    assert_eq!(told["outcome"], "Created", "{told}");
    assert_eq!(told["duplicate"], false);
    let runs = world.runs().await;
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0]["metadata"]["name"], told["runs"][0]["run"]);
    assert_eq!(runs[0]["spec"]["pipelineRef"]["name"], "build");
    assert_eq!(
        runs[0]["spec"]["params"][0]["value"],
        "0123456789012345678901234567890123456789"
    );
    let uid = hook["metadata"]["uid"].as_str().unwrap();
    assert!(annotation(&runs[0], "hookrun.dev/event").contains(uid));
    let deliveries = world.deliveries().await;
    assert_eq!(deliveries.len(), 1);
    let delivery = &deliveries[0];
    assert_eq!(delivery["metadata"]["name"], told["delivery"]);
    assert_eq!(delivery["outcome"], "Created");
    assert_eq!(delivery["eventType"], "push");
    assert_eq!(delivery["secret"], "shop/secret");
    assert_eq!(delivery["attempts"], 1);
    assert_eq!(
        delivery["metadata"]["labels"]["hookrun.dev/outcome"],
        "Created"
    );
    assert_eq!(delivery["headers"]["x-github-delivery"], "1");
    assert!(delivery["headers"].get("x-hub-signature-256").is_none());
    let writes = world.writes();
    assert_eq!(writes.len(), 3, "{writes:?}");
    let status = &world.read_hook("shop").await["status"];
    assert_eq!(status["path"], format!("/hooks/{NAMESPACE}/shop"));
    // Nobody has looked at the cluster around it.
    let ready = &status["conditions"][0];
    assert_eq!(
        (&ready["status"], &ready["reason"]),
        (&json!("Unknown"), &json!("NotChecked")),
        "{status}"
    );
    assert_eq!(status["secrets"][0]["name"], "shop");
}

#[tokio::test]
async fn every_rule_that_matches_starts_one_run() {
    let world = Settings::default().start();
    let mut other = build();
    other["name"] = "scan".into();
    let mut never = build();
    never["name"] = "never".into();
    never["filter"] = "event.branch == \"release\"".into();
    world.hook("shop", json!([build(), other, never])).await;
    let (_, told) = world.push("shop", "1").await;
    assert_eq!(told["outcome"], "Created", "{told}");
    let outcomes = [0, 1, 2].map(|at| told["runs"][at]["outcome"].as_str().unwrap().to_owned());
    assert_eq!(outcomes, ["Created", "Created", "Filtered"]);
    assert_eq!(world.runs().await.len(), 2);
    assert_eq!(world.deliveries().await.len(), 1);
}

#[tokio::test]
async fn a_redelivery_gets_the_first_outcome_and_starts_nothing() {
    let world = Settings::default().start();
    world.hook("shop", json!([build()])).await;
    let (_, first) = world.push("shop", "1").await;
    // Also after the run is gone, the Hook edited, and the process another one.
    let run = first["runs"][0]["run"].as_str().unwrap();
    let path = format!("/apis/tekton.dev/v1/namespaces/{NAMESPACE}/pipelineruns/{run}");
    world.call(http::Method::DELETE, &path, &json!({})).await;
    world.edit("shop", json!({"rules": []})).await;
    let later = world.again(Settings::default());
    let (status, again) = later.push("shop", "1").await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_eq!(again["duplicate"], true);
    assert_eq!(again["outcome"], "Created");
    assert_eq!(again["runs"], first["runs"]);
    assert_eq!(world.runs().await.len(), 0);
    assert_eq!(world.deliveries().await[0]["duplicates"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn simultaneous_copies_start_one_run() {
    let world = Settings::default().start();
    world.hook("shop", json!([build()])).await;
    // Three processes.
    let others = [
        world.again(Settings::default()),
        world.again(Settings::default()),
    ];
    let worlds: Vec<_> = std::iter::once(&world).chain(&others).collect();
    let copies = (0..20).map(|copy| worlds[copy % 3].push("shop", "1"));
    let answers = futures_util::future::join_all(copies).await;
    for (status, told) in &answers {
        assert_eq!(*status, StatusCode::ACCEPTED, "{told}");
    }
    let first = answers
        .iter()
        .filter(|(_, told)| told["duplicate"] == false);
    assert_eq!(first.count(), 1);
    assert_eq!(world.runs().await.len(), 1);
    let deliveries = world.deliveries().await;
    assert_eq!(deliveries.len(), 1);
    assert_eq!(deliveries[0]["outcome"], "Created");
}

#[tokio::test]
async fn what_no_rule_takes_is_one_write_and_says_why() {
    let world = Settings::default().start();
    let mut rule = build();
    rule["filter"] = "event.branch == \"release\"".into();
    world.hook("shop", json!([rule])).await;
    world.fail(None);
    let (status, told) = world.push("shop", "1").await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_eq!(told["outcome"], "Filtered");
    assert!(
        told["reason"]
            .as_str()
            .unwrap()
            .contains("the filter is false"),
        "{told}"
    );
    assert_eq!(world.writes().len(), 1);
    let delivery = &world.deliveries().await[0];
    assert_eq!(
        delivery["rules"][0]["expression"],
        "event.branch == \"release\""
    );
    assert_eq!(delivery["rules"][0]["values"]["event.branch"], "\"main\"");
    assert_eq!(world.runs().await.len(), 0);
}

#[tokio::test]
async fn a_redelivery_of_what_had_no_effect_is_decided_anew() {
    let world = Settings::default().start();
    let mut failing = build();
    failing["params"][0]["expression"] = "body.missing".into();
    let mut other = build();
    other["name"] = "scan".into();
    world.hook("shop", json!([failing, other])).await;
    let (status, told) = world.push("shop", "1").await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_eq!(told["outcome"], "Failed", "{told}");
    let scan = told["runs"][1]["run"].clone();
    assert_eq!(told["runs"][1]["outcome"], "Created");
    // The run that was started stays started, also where it is gone.
    let path = format!(
        "/apis/tekton.dev/v1/namespaces/{NAMESPACE}/pipelineruns/{}",
        scan.as_str().unwrap()
    );
    world.call(http::Method::DELETE, &path, &json!({})).await;
    let mut rule = build();
    rule["name"] = "scan".into();
    world.edit("shop", json!({"rules": [build(), rule]})).await;
    let (_, told) = world.push("shop", "1").await;
    assert_eq!(told["outcome"], "Created", "{told}");
    assert_eq!(told["duplicate"], true);
    let runs = world.runs().await;
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0]["metadata"]["name"], told["runs"][0]["run"]);
    assert_eq!(told["runs"][1]["run"], scan);
    let deliveries = world.deliveries().await;
    assert_eq!(deliveries.len(), 1);
    assert_eq!(deliveries[0]["outcome"], "Created");
}

#[tokio::test]
async fn a_hook_that_is_not_ready_records_why() {
    let world = Settings::default().start();
    let mut rule = build();
    rule["filter"] = "event.branch = 1 &&".into();
    world.hook("shop", json!([rule])).await;
    let (status, told) = world.push("shop", "1").await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_eq!(told["outcome"], "Failed");
    let reason = told["reason"].as_str().unwrap();
    assert!(reason.contains("spec.rules[0].filter"), "{reason}");
    let hook = world.read_hook("shop").await;
    let ready = &hook["status"]["conditions"][0];
    assert_eq!(ready["status"], "False");
    assert_eq!(ready["reason"], "Invalid");
    world.edit("shop", json!({"rules": [build()]})).await;
    let (_, told) = world.push("shop", "1").await;
    assert_eq!(told["outcome"], "Created", "{told}");
}

#[tokio::test]
async fn a_suspended_hook_records_and_starts_nothing() {
    let world = Settings::default().start();
    world.hook("shop", json!([build()])).await;
    world.edit("shop", json!({"suspend": true})).await;
    let (_, told) = world.push("shop", "1").await;
    assert_eq!(told["outcome"], "Filtered");
    assert_eq!(world.runs().await.len(), 0);
}

#[tokio::test]
async fn the_same_bytes_under_another_identity_run_again_and_are_flagged() {
    let world = Settings::default().start();
    world.hook("shop", json!([build()])).await;
    let (_, first) = world.push("shop", "1").await;
    let (_, second) = world.push("shop", "2").await;
    assert_eq!(second["outcome"], "Created");
    assert_eq!(world.runs().await.len(), 2);
    let deliveries = world.deliveries().await;
    let flagged = deliveries
        .iter()
        .find(|one| one["metadata"]["name"] == second["delivery"]);
    assert_eq!(flagged.unwrap()["samePayloadAs"], first["delivery"]);
}

#[tokio::test]
async fn what_was_not_stored_is_nothing_to_be_the_same_as() {
    let world = Settings {
        deadline: Duration::from_secs(1),
        ..Settings::default()
    }
    .start();
    world.hook("shop", json!([build()])).await;
    // Hook and Secret are read, and nothing is written.
    world.fail(Some(Fault::DeadFrom(2)));
    let (status, told) = world.push("shop", "1").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{told}");
    world.fail(None);
    let (status, told) = world.push("shop", "2").await;
    assert_eq!(status, StatusCode::ACCEPTED, "{told}");
    let delivery = &world.deliveries().await[0];
    assert_eq!(delivery["samePayloadAs"], Value::Null, "{delivery}");
}

#[tokio::test]
async fn events_without_any_payload_are_not_alike_for_that() {
    let world = Settings::default().start();
    world.secret("events", "a token of some length").await;
    let spec = json!({
        "provider": "cloudevents",
        "verification": {"secretRefs": [{"name": "events"}]},
        "rules": [{"name": "scan", "pipelineRef": {"name": "scan"}}],
    });
    world.hook_of("events", spec).await;
    for id in ["1", "2", "3"] {
        let mut headers = http::HeaderMap::new();
        for (name, value) in [
            ("ce-specversion", "1.0"),
            ("ce-type", "dev.example.tick"),
            ("ce-source", "/test/clock"),
            ("ce-id", id),
            ("authorization", "Bearer a token of some length"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        let (status, told) = world.send("events", &headers, "").await;
        assert_eq!(status, StatusCode::ACCEPTED, "{told}");
    }
    let deliveries = world.deliveries().await;
    assert_eq!(deliveries.len(), 3);
    for delivery in deliveries {
        assert_eq!(delivery["samePayloadAs"], Value::Null, "{delivery}");
    }
}

#[tokio::test]
async fn a_ping_is_answered_and_leaves_nothing() {
    let world = Settings::default().start();
    world.hook("shop", json!([build()])).await;
    let body = r#"{"zen": "Keep it logically awesome."}"#;
    let mut ping = headers("1", body, SECRET);
    ping.insert("x-github-event", "ping".parse().unwrap());
    world.fail(None);
    let (status, told) = world.send("shop", &ping, body).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(told["outcome"], "Handshake");
    assert_eq!(world.writes().len(), 0);
}

#[tokio::test]
async fn what_is_no_json_is_on_record() {
    let world = Settings::default().start();
    world.hook("shop", json!([build()])).await;
    let body = "{\"ref\": ";
    let (status, told) = world.send("shop", &headers("1", body, SECRET), body).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_eq!(told["outcome"], "Failed");
    assert!(
        told["reason"].as_str().unwrap().contains("not JSON"),
        "{told}"
    );
}

#[tokio::test]
async fn a_run_that_takes_the_payload_owns_it() {
    let world = Settings::default().start();
    let mut rule = build();
    rule["payload"] = json!({"workspace": "event", "file": "push.json"});
    world.hook("shop", json!([rule])).await;
    let (_, told) = world.push("shop", "1").await;
    assert_eq!(told["outcome"], "Created", "{told}");
    let run = &world.runs().await[0];
    assert!(run["spec"].get("status").is_none(), "{run}");
    let secret = run["spec"]["workspaces"][0]["secret"]["secretName"].clone();
    let secrets = world.secrets().await;
    let secret = secrets.iter().find(|one| one["metadata"]["name"] == secret);
    let secret = secret.unwrap();
    assert_eq!(
        secret["metadata"]["ownerReferences"][0]["uid"],
        run["metadata"]["uid"]
    );
    let text = secret["data"]["push.json"].as_str().unwrap();
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    let text = BASE64_STANDARD.decode(text).unwrap();
    assert_eq!(text, crate::support::PUSH.as_bytes());
}

#[tokio::test]
async fn a_cloud_event_is_told_by_source_and_id_and_answered_as_a_broker_wants() {
    let world = Settings::default().start();
    world.secret("events", "a token of some length").await;
    let spec = json!({
        "provider": "cdevents",
        "verification": {"secretRefs": [{"name": "events"}]},
        "rules": [{"name": "scan", "events": ["dev.cdevents.*"], "pipelineRef": {"name": "scan"}}],
    });
    world.hook_of("events", spec).await;
    let mut headers = http::HeaderMap::new();
    for (name, value) in [
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-type", "dev.cdevents.artifact.published.0.2.0"),
        ("ce-source", "/test/ci"),
        ("ce-id", "7"),
        ("authorization", "Bearer a token of some length"),
    ] {
        headers.insert(name, value.parse().unwrap());
    }
    // A Broker takes a body for another event.
    for body in [r#"{"a": 1}"#, r#"{"a": 2}"#] {
        let (status, told) = world.send("events", &headers, body).await;
        assert_eq!((status, told), (StatusCode::ACCEPTED, Value::Null));
    }
    assert_eq!(world.deliveries().await.len(), 1);
    assert_eq!(world.runs().await.len(), 1);
    headers.insert("authorization", "Bearer another".parse().unwrap());
    let (status, told) = world.send("events", &headers, "{}").await;
    assert_eq!((status, told), (StatusCode::UNAUTHORIZED, Value::Null));
}

#[tokio::test]
async fn a_repeated_push_to_quay_starts_one_run_and_a_second_push_another() {
    // Windows of a minute begin at 1,699,999,980 and 1,700,000,040.
    let at = |clock: fn() -> jiff::Timestamp| Settings {
        clock,
        ..Settings::default()
    };
    fn time(seconds: i64) -> jiff::Timestamp {
        jiff::Timestamp::from_second(seconds).unwrap()
    }
    let world = at(|| time(1_700_000_035)).start();
    world.secret("quay", "0123456789abcdef").await;
    let spec = json!({
        "provider": "quay",
        "verification": {"secretRefs": [{"name": "quay"}]},
        "rules": [{"name": "scan", "pipelineRef": {"name": "scan"}}],
    });
    world.hook_of("quay", spec).await;
    let body = r#"{"repository": "acme/app", "docker_url": "quay.example.invalid/acme/app", "updated_tags": ["latest"]}"#;
    let push = async |world: &crate::support::World| {
        let (status, told) = world
            .send("quay/0123456789abcdef", &http::HeaderMap::new(), body)
            .await;
        assert_eq!(status, StatusCode::ACCEPTED, "{told}");
        told["duplicate"] == true
    };
    assert!(!push(&world).await);
    assert!(push(&world).await, "at once");
    // Not answered in time: it comes again after 30 s, in the next window, and perhaps to another process.
    assert!(push(&world.again(at(|| time(1_700_000_065)))).await);
    assert_eq!(world.runs().await.len(), 1);
    assert!(!push(&world.again(at(|| time(1_700_000_200)))).await);
    assert_eq!(world.runs().await.len(), 2);
    assert_eq!(world.deliveries().await.len(), 2);
}

#[tokio::test]
async fn a_template_that_names_another_account_starts_nothing() {
    let world = Settings::default().start();
    let mut other = build();
    other["pipelineRun"] = json!({"spec": {
        "pipelineRef": {"name": "build"},
        "taskRunSpecs": [{"pipelineTaskName": "push", "serviceAccountName": "admin"}],
    }});
    world.hook("shop", json!([other])).await;
    let (_, told) = world.push("shop", "1").await;
    assert_eq!(told["outcome"], "Failed", "{told}");
    let reason = told["reason"].as_str().unwrap();
    assert!(
        reason.contains("taskRunSpecs[0].serviceAccountName"),
        "{told}"
    );
    assert_eq!(world.runs().await.len(), 0);
}
