//! What the sweep finishes, deletes and tells.

mod waiting;

use std::time::Duration;

use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    faults::sweeping,
    support::{Fault, Meanwhile, NAMESPACE, Settings, World, build},
};

fn after(seconds: i64) -> Timestamp {
    Timestamp::now() + SignedDuration::from_secs(seconds)
}

async fn pipeline(world: &World, workspaces: Value) {
    let path = format!("/apis/tekton.dev/v1/namespaces/{NAMESPACE}/pipelines");
    let object = json!({
        "apiVersion": "tekton.dev/v1", "kind": "Pipeline", "metadata": {"name": "build"},
        "spec": {"workspaces": workspaces, "tasks": []},
    });
    let (status, told) = world.call(Method::POST, &path, &object).await;
    assert!(status.is_success(), "{told}");
}

#[tokio::test]
async fn what_is_still_in_progress_is_left_alone() {
    let world = Settings {
        deadline: Duration::from_millis(300),
        ..Settings::default()
    }
    .start();
    world.hook("shop", json!([build()])).await;
    world.fail(Some(Fault::DeadFrom(3)));
    world.push("shop", "1").await;
    world.fail(None);
    let swept = world.service.sweep(&sweeping(), after(30)).await.unwrap();
    assert_eq!((swept.examined, swept.finished), (1, 0));
    let swept = world.service.sweep(&sweeping(), after(61)).await.unwrap();
    assert_eq!((swept.examined, swept.finished), (1, 1));
    assert_eq!(world.runs().await.len(), 1);
    let swept = world.service.sweep(&sweeping(), after(61)).await.unwrap();
    assert_eq!((swept.finished, swept.complete), (0, true));
}

#[tokio::test]
async fn a_namespace_without_rights_keeps_no_other_from_being_swept() {
    let world = Settings {
        deadline: Duration::from_millis(300),
        namespaces: vec!["a-closed-one".to_owned(), NAMESPACE.to_owned()],
        ..Settings::default()
    }
    .start();
    world.hook("shop", json!([build()])).await;
    world.fail(Some(Fault::DeadFrom(3)));
    world.push("shop", "1").await;
    world.fail(Some(Fault::Closed("a-closed-one")));
    let swept = world.service.sweep(&sweeping(), after(61)).await.unwrap();
    assert_eq!(swept.finished, 1);
    let (count, why) = swept.failed.unwrap();
    assert_eq!(count, 1);
    assert!(why.starts_with("namespace a-closed-one: "), "{why}");
    // Where nothing can be done at all, it says so.
    world.fail(Some(Fault::DeadFrom(0)));
    assert!(world.service.sweep(&sweeping(), after(61)).await.is_err());
}

#[tokio::test]
async fn two_sweeps_at_once_do_no_harm() {
    let world = Settings {
        deadline: Duration::from_millis(300),
        ..Settings::default()
    }
    .start();
    world.hook("shop", json!([build()])).await;
    world.fail(Some(Fault::DeadFrom(3)));
    world.push("shop", "1").await;
    let others = [(); 2].map(|()| world.again(Settings::default()));
    let options = sweeping();
    let sweeps = others
        .iter()
        .map(|other| other.service.sweep(&options, after(61)));
    for swept in futures_util::future::join_all(sweeps).await {
        assert_eq!(swept.unwrap().failed, None);
    }
    assert_eq!(world.runs().await.len(), 1);
    assert_eq!(world.deliveries().await[0]["outcome"], "Created");
}

#[tokio::test]
async fn what_exceeds_retention_goes_the_oldest_first() {
    let world = Settings::default().start();
    world.hook("shop", json!([build()])).await;
    world
        .edit("shop", json!({"retention": {"count": 2, "minHours": 0}}))
        .await;
    let mut names = Vec::new();
    for id in ["1", "2", "3", "4"] {
        let (_, told) = world.push("shop", id).await;
        names.push(told["delivery"].clone());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut options = sweeping();
    options.sweep_delete = 1;
    let swept = world.service.sweep(&options, after(0)).await.unwrap();
    assert!(
        swept.deleted > 0 && !swept.complete || swept.deleted == 2,
        "{swept:?}"
    );
    let swept = world.service.sweep(&sweeping(), after(0)).await.unwrap();
    assert!(swept.complete, "{swept:?}");
    let mut left: Vec<_> = world.deliveries().await;
    left.sort_by_key(|one| one["receivedTime"].as_str().unwrap().to_owned());
    let left: Vec<_> = left
        .iter()
        .map(|one| one["metadata"]["name"].clone())
        .collect();
    assert_eq!(left, names[2..]);
    // And all of them when their time is over.
    let swept = world
        .service
        .sweep(&sweeping(), after(15 * 86_400))
        .await
        .unwrap();
    assert_eq!(swept.deleted, 2);
    assert_eq!(world.deliveries().await.len(), 0);
}

#[tokio::test]
async fn what_was_revived_since_it_was_listed_is_not_deleted() {
    let world = Settings::default().start();
    world.hook("shop", json!([build()])).await;
    let (_, told) = world.push("shop", "1").await;
    let name = told["delivery"].as_str().unwrap();
    let path = format!("/apis/hookrun.dev/v1alpha1/namespaces/{NAMESPACE}/deliveries/{name}");
    world.meanwhile(Meanwhile {
        before: format!("DELETE {path}"),
        path,
        patch: json!({"outcome": "Received"}),
    });
    let late = after(15 * 86_400);
    let swept = world.service.sweep(&sweeping(), late).await.unwrap();
    assert_eq!((swept.deleted, swept.failed), (0, None));
    assert_eq!(world.deliveries().await.len(), 1);
    let swept = world.service.sweep(&sweeping(), late).await.unwrap();
    assert_eq!(swept.deleted, 1);
}

#[tokio::test]
async fn a_hook_says_what_the_cluster_around_it_lacks() {
    let world = Settings::default().start();
    let mut rule = build();
    rule["payload"] = json!({"workspace": "event"});
    world.hook("shop", json!([rule])).await;
    let message = async || {
        world.service.sweep(&sweeping(), after(0)).await.unwrap();
        let hook = world.read_hook("shop").await;
        let ready = &hook["status"]["conditions"][0];
        format!("{} {}", ready["status"], ready["message"])
    };
    let told = message().await;
    assert!(
        told.starts_with("\"False\"") && told.contains("there is no Pipeline"),
        "{told}"
    );
    // An event looks at the Hook alone, and leaves that on record.
    world.push("shop", "1").await;
    let hook = world.read_hook("shop").await;
    assert_eq!(hook["status"]["conditions"][0]["status"], "False");
    pipeline(&world, json!([])).await;
    let told = message().await;
    assert!(told.contains("does not declare the workspace"), "{told}");
    let path = format!("/apis/tekton.dev/v1/namespaces/{NAMESPACE}/pipelines/build");
    world.call(Method::DELETE, &path, &json!({})).await;
    pipeline(&world, json!([{"name": "event"}])).await;
    let told = message().await;
    assert!(told.starts_with("\"True\""), "{told}");
}

#[tokio::test]
async fn what_a_template_executes_is_looked_at_as_well() {
    let written =
        |workspaces: Value| json!({"pipelineSpec": {"tasks": [], "workspaces": workspaces}});
    for (spec, expected) in [
        (
            json!({"pipelineRef": {"name": "nothing"}}),
            "pipelineRun.spec.pipelineRef: there is no Pipeline \"nothing\"",
        ),
        (written(json!([])), "does not declare the workspace"),
        (written(json!([{"name": "event"}])), ""),
        (
            json!({"pipelineRef": {"resolver": "git", "params": []}}),
            "",
        ),
    ] {
        let world = Settings::default().start();
        let rule = json!({"name": "build", "pipelineRun": {"spec": spec}, "payload": {"workspace": "event"}});
        world.hook("shop", json!([rule])).await;
        world.service.sweep(&sweeping(), after(0)).await.unwrap();
        let hook = world.read_hook("shop").await;
        let ready = &hook["status"]["conditions"][0];
        assert_eq!(ready["status"] == "True", expected.is_empty(), "{ready}");
        let told = ready["message"].as_str().unwrap_or_default();
        assert!(told.contains(expected), "{told}");
    }
}

#[tokio::test]
async fn large_objects_of_one_tenant_do_not_hide_the_others() {
    let world = Settings {
        deadline: Duration::from_millis(300),
        ..Settings::default()
    }
    .start();
    world.hook("shop", json!([build()])).await;
    world.fail(Some(Fault::DeadFrom(3)));
    world.push("shop", "1").await;
    // Twelve megabytes, more than an answer may have, and before it in the order of names.
    let path = format!("/apis/hookrun.dev/v1alpha1/namespaces/{NAMESPACE}/deliveries");
    for number in 0..48 {
        let object = json!({
            "apiVersion": "hookrun.dev/v1alpha1", "kind": "Delivery",
            "metadata": {
                "name": format!("a-{number}"), "annotations": {"note": "x".repeat(250 << 10)},
                "labels": {"hookrun.dev/outcome": "Filtered"},
            },
        });
        let (status, told) = world.call(Method::POST, &path, &object).await;
        assert!(status.is_success(), "{told}");
    }
    let next = world.again(Settings::default());
    let swept = next.service.sweep(&sweeping(), after(61)).await.unwrap();
    assert_eq!(
        (swept.examined, swept.finished, swept.failed),
        (49, 1, None)
    );
}
