//! What a person should look at stands in Events on the Hook: written with the rights of the manifests, and shown by kubectl.

use std::{collections::BTreeSet, process::Command, sync::Arc};

use anyhow::{Context, Result, ensure};
use control_plane::{Cluster, until};
use http::Request;
use serde_json::{Value, json};

use super::scene::{PATIENCE, Scene, accepted, push, rule};
use crate::{case::Case, cases};

pub(super) fn cases() -> Vec<Case> {
    cases![what_a_person_should_look_at_is_described_with_the_hook]
}

async fn what_a_person_should_look_at_is_described_with_the_hook(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    let [one, other] = [scene.function().await?, scene.function().await?];
    // Nothing is wrong with this one.
    let good = scene
        .github("good", json!([rule("build")]), json!({}))
        .await?;
    ensure!(good.push(&one, "1").await?["outcome"] == "Created");

    // A value that Tekton would replace: no run, and no word of it in what more people may read.
    let mut told = rule("told");
    told["params"] = json!([{"name": "sample", "expression": "body.sample"}]);
    let bad = scene.github("bad", json!([told]), json!({})).await?;
    for (function, id) in [(&one, "1"), (&one, "2"), (&other, "3")] {
        let body = push(&format!("$(canary-4711) {id}"))?;
        let answer = accepted(&bad.send(function, "push", id, &body).await?)?;
        ensure!(answer["outcome"] == "Failed", "{answer:#}");
    }
    let slow = scene
        .github(
            "slow",
            json!([rule("build")]),
            json!({"quota": {"perMinute": 0}}),
        )
        .await?;
    ensure!(slow.push(&one, "1").await?["outcome"] == "Received");
    // What only the sweep looks at.
    let mut reference = rule("reference");
    reference["pipelineRun"] = Value::Null;
    reference["pipelineRef"] = json!({"name": "nowhere"});
    scene
        .github("missing", json!([reference]), json!({}))
        .await?;
    scene.sweep(PATIENCE).await?;

    // Signed with a secret that is no longer the Hook's.
    let mut events = Vec::new();
    until("all of it is told", PATIENCE, async || {
        let forger = scene.sender("good", "the former secret");
        forger
            .push(&one, "2")
            .await
            .err()
            .context("it was let in")?;
        events = all(&cluster, &scene.namespace).await?;
        Ok(events.len() >= 4)
    })
    .await?;
    // Once an hour each, and the hour may have changed.
    let found: BTreeSet<[&str; 2]> = events
        .iter()
        .map(|event| {
            [&event["involvedObject"]["name"], &event["reason"]]
                .map(|text| text.as_str().unwrap_or_default())
        })
        .collect();
    let expected = [
        ["bad", "NoRun"],
        ["good", "Refused"],
        ["missing", "Cluster"],
        ["slow", "OverQuota"],
    ];
    ensure!(found == expected.into(), "{events:#?}");
    ensure!(events.len() <= 2 * expected.len(), "{events:#?}");
    ensure!(!json!(events).to_string().contains("canary"), "{events:#?}");

    for (hook, reason, words) in [
        ("bad", "NoRun", "no run was started by rule told"),
        ("missing", "Cluster", "there is no Pipeline"),
    ] {
        let output = Command::new(cluster.programs().path("kubectl"))
            .arg("--kubeconfig")
            .arg(cluster.folder().join("admin.kubeconfig"))
            .args(["--namespace", &scene.namespace, "describe", "hook", hook])
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let described = text.split("\nEvents:").nth(1).unwrap_or_default();
        ensure!(
            described.contains("Warning")
                && described.contains(reason)
                && described.contains("hookrun.dev/hook")
                && described.contains(words),
            "{output:?}"
        );
    }
    Ok(())
}

/// All Events of a namespace that are on Hooks.
async fn all(cluster: &Cluster, namespace: &str) -> Result<Vec<Value>> {
    let path = format!("/api/v1/namespaces/{namespace}/events");
    let list: Value = cluster
        .admin()
        .request(Request::get(path).body(Vec::new())?)
        .await?;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    Ok(items
        .into_iter()
        .filter(|event| event["involvedObject"]["kind"] == "Hook")
        .collect())
}
