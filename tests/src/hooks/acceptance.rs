//! What becomes of a verified event, and what its Delivery and its sender are told.

use std::{io::Read, sync::Arc};

use anyhow::{Context, Result, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use control_plane::{Cluster, until};
use flate2::read::GzDecoder;
use serde_json::{Value, json};

use super::scene::{PATIENCE, Scene, accepted, condition, payload, push, rule, rule_with_payload};
use crate::{
    case::Case,
    cases,
    support::objects::{entries, name, named},
};

pub(super) fn cases() -> Vec<Case> {
    cases![
        a_push_becomes_a_run_with_typed_parameters_and_its_payload,
        every_rule_that_matches_starts_one_run_and_the_others_say_why_not,
        a_filter_that_says_no_is_on_record_with_the_values_that_it_saw,
        a_parameter_that_tekton_would_expand_fails_and_names_itself,
        a_suspended_hook_records_and_starts_nothing,
        a_pull_request_from_a_fork_starts_nothing_unless_that_is_allowed,
        the_status_of_a_hook_tells_its_path_its_events_and_what_is_wrong,
    ]
}

/// A Pipeline that declares parameters of each type, and a workspace.
fn pipeline() -> Value {
    json!({
        "apiVersion": "tekton.dev/v1", "kind": "Pipeline", "metadata": {"name": "build"},
        "spec": {
            "params": [
                {"name": "revision", "type": "string"},
                {"name": "number", "type": "string"},
                {"name": "commits", "type": "array"},
                {"name": "source", "type": "object", "properties": {"branch": {"type": "string"}, "author": {"type": "string"}}},
            ],
            "workspaces": [{"name": "event"}],
            "tasks": [{"name": "only", "taskSpec": {
                "params": [{"name": "commits", "type": "array"}],
                "steps": [{"name": "only", "image": "images.example.org/only:1", "args": ["$(params.commits[*])"]}],
            }, "params": [{"name": "commits", "value": ["$(params.commits[*])"]}]}],
        },
    })
}

async fn a_push_becomes_a_run_with_typed_parameters_and_its_payload(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    scene.objects.create(&pipeline()).await?;
    let function = scene.function().await?;
    let rule = json!({
        "name": "build",
        "events": ["push"],
        "filter": "event.branch == \"main\" && hook.name == \"shop\"",
        "pipelineRef": {"name": "build"},
        "params": [
            {"name": "revision", "expression": "event.revision"},
            {"name": "number", "expression": "body.commits.size()"},
            {"name": "commits", "expression": "body.commits.map(commit, commit.id)"},
            {"name": "source", "expression": "{\"branch\": event.branch, \"author\": event.sender}"},
        ],
        "payload": {"workspace": "event", "file": "event.json"},
    });
    let sender = scene.github("shop", json!([rule]), json!({})).await?;
    let body = push("1")?;
    let told = accepted(&sender.send(&function, "push", "1", &body).await?)?;
    let delivery = scene.delivery("shop").await?;
    ensure!(
        told["delivery"] == delivery["metadata"]["name"]
            && told["outcome"] == "Created"
            && told["duplicate"] == false,
        "told {told:#}, and on record is {delivery:#}"
    );
    is_whole(&delivery, &body)?;

    let run = scene.objects.run().await?;
    let name = name(&run);
    ensure!(
        told["runs"][0]["run"] == name,
        "told {told:#}, the run is {name}"
    );
    let sent: Value = serde_json::from_slice(&body)?;
    let ids: Vec<&Value> = sent["commits"]
        .as_array()
        .context("the sample has no commits")?
        .iter()
        .map(|commit| &commit["id"])
        .collect();
    let expected = [
        ("revision", sent["after"].clone()),
        ("number", ids.len().to_string().into()),
        ("commits", json!(ids)),
        (
            "source",
            json!({"branch": "main", "author": sent["sender"]["login"]}),
        ),
    ];
    for (parameter, value) in expected {
        let got = &named(&run["spec"]["params"], parameter)["value"];
        ensure!(*got == value, "{parameter} is {got}, not {value}");
    }
    ensure!(
        run["spec"]["status"].is_null(),
        "the run waits: {}",
        run["spec"]["status"]
    );
    ensure!(
        run["spec"]["taskRunTemplate"]["serviceAccountName"] == "hookrun",
        "the run acts as {}",
        run["spec"]["taskRunTemplate"]
    );
    let workspace = &named(&run["spec"]["workspaces"], "event")["secret"]["secretName"];
    let secret = workspace.as_str().context("the workspace is no Secret")?;
    let secret = scene.objects.get("Secret", secret).await?;
    let owner = &secret["metadata"]["ownerReferences"][0];
    ensure!(
        owner["uid"] == run["metadata"]["uid"] && owner["kind"] == "PipelineRun",
        "the payload belongs to {owner}, not to the run"
    );
    ensure!(
        entries(&secret)["event.json"] == body,
        "the workspace holds other bytes than were sent"
    );
    scene.objects.delete("PipelineRun", name).await?;
    let secret = crate::support::objects::name(&secret);
    until("the payload vanishes with its run", PATIENCE, async || {
        Ok(scene.objects.find("Secret", secret).await?.is_none())
    })
    .await?;
    crate::aftermath::discreet(&function)
}

/// The Delivery holds the event's bytes and says what it is, and no proof is in it.
fn is_whole(delivery: &Value, body: &[u8]) -> Result<()> {
    for (field, value) in [
        ("outcome", "Created"),
        ("provider", "github"),
        ("eventType", "push"),
        ("deliveryId", "1"),
        ("secret", "shop/secret"),
    ] {
        ensure!(
            delivery[field] == value,
            "{field} is {}, not {value}",
            delivery[field]
        );
    }
    let labels = &delivery["metadata"]["labels"];
    ensure!(
        labels["hookrun.dev/outcome"] == "Created" && labels["hookrun.dev/event-type"] == "push",
        "labels: {labels}"
    );
    ensure!(
        delivery["attempts"] == 1 && delivery["durationMilliseconds"].is_u64(),
        "attempts {}, duration {}",
        delivery["attempts"],
        delivery["durationMilliseconds"]
    );
    let text = delivery.to_string().to_lowercase();
    for secret in ["sha256=", "x-hub-signature", "canary"] {
        ensure!(!text.contains(secret), "the Delivery holds {secret:?}");
    }
    let gzip = delivery["payload"]["gzip"].as_str().context("no payload")?;
    let mut bytes = Vec::new();
    GzDecoder::new(BASE64_STANDARD.decode(gzip)?.as_slice()).read_to_end(&mut bytes)?;
    ensure!(
        bytes == body,
        "the Delivery holds other bytes than were sent"
    );
    ensure!(
        delivery["payload"]["size"] == body.len(),
        "size {}",
        delivery["payload"]["size"]
    );
    Ok(())
}

async fn every_rule_that_matches_starts_one_run_and_the_others_say_why_not(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    let function = scene.function().await?;
    let mut tags = rule("tags");
    tags["events"] = json!(["create"]);
    let mut docs = rule("docs");
    docs["filter"] = "event.changed(\"no/such/folder/**\")".into();
    let rules = json!([rule("api"), tags, docs, rule_with_payload("web")]);
    let sender = scene.github("shop", rules, json!({})).await?;
    let told = sender.push(&function, "1").await?;
    let outcomes: Vec<&Value> = told["runs"]
        .as_array()
        .context("no rules")?
        .iter()
        .map(|rule| &rule["outcome"])
        .collect();
    ensure!(
        outcomes == ["Created", "Filtered", "Filtered", "Created"],
        "{told:#}"
    );
    let mut rules: Vec<String> = scene
        .runs("shop")
        .await?
        .iter()
        .map(|run| run["metadata"]["annotations"]["hookrun.dev/rule"].to_string())
        .collect();
    rules.sort();
    ensure!(
        rules == ["\"api\"", "\"web\""],
        "runs of the rules {rules:?}"
    );
    let delivery = scene.delivery("shop").await?;
    let reason = delivery["rules"][1]["reason"].as_str().unwrap_or_default();
    ensure!(reason.contains("push"), "tags: {reason}");
    Ok(())
}

async fn a_filter_that_says_no_is_on_record_with_the_values_that_it_saw(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    let function = scene.function().await?;
    let filter = "event.branch == \"release\" || body.forced == true";
    let mut rule = rule("release");
    rule["filter"] = filter.into();
    let sender = scene.github("shop", json!([rule]), json!({})).await?;
    let told = sender.push(&function, "1").await?;
    let delivery = scene.delivery("shop").await?;
    let record = &delivery["rules"][0];
    ensure!(
        told["outcome"] == "Filtered" && delivery["outcome"] == "Filtered",
        "{told:#}"
    );
    ensure!(
        record["expression"] == filter,
        "expression: {}",
        record["expression"]
    );
    ensure!(
        record["values"] == json!({"event.branch": "\"main\"", "body.forced": "false"}),
        "values: {}",
        record["values"]
    );
    ensure!(
        record["reason"]
            .as_str()
            .is_some_and(|reason| !reason.is_empty()),
        "no reason"
    );
    ensure!(scene.runs("shop").await?.is_empty(), "there is a run");
    Ok(())
}

async fn a_parameter_that_tekton_would_expand_fails_and_names_itself(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    let function = scene.function().await?;
    let mut rule = rule_with_payload("build");
    rule["params"] = json!([
        {"name": "branch", "expression": "event.branch"},
        {"name": "title", "expression": "body.head_commit.message"},
    ]);
    let sender = scene.github("shop", json!([rule]), json!({})).await?;
    let mut body = payload("push.json")?;
    body["head_commit"]["message"] = "mend $(params.branch)".into();
    let body = body.to_string();
    let told = accepted(&sender.send(&function, "push", "1", body.as_bytes()).await?)?;
    let reason = told["reason"].as_str().unwrap_or_default();
    ensure!(
        told["outcome"] == "Failed" && reason.contains("`title`") && reason.contains("$("),
        "{told:#}"
    );
    ensure!(!reason.contains("`branch`"), "{reason}");
    ensure!(scene.runs("shop").await?.is_empty(), "there is a run");
    Ok(())
}

async fn a_suspended_hook_records_and_starts_nothing(cluster: Arc<Cluster>) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    let function = scene.function().await?;
    let sender = scene
        .github("shop", json!([rule("build")]), json!({"suspend": true}))
        .await?;
    let told = sender.push(&function, "1").await?;
    let reason = told["reason"].as_str().unwrap_or_default();
    ensure!(
        told["outcome"] == "Filtered" && reason.contains("suspended"),
        "{told:#}"
    );
    ensure!(scene.runs("shop").await?.is_empty(), "there is a run");
    // The sender's "send again" is what starts it when the Hook is awake.
    let awake = json!({"spec": {"suspend": false}});
    scene.objects.merge("Hook", "shop", awake).await?;
    until("the same event starts a run", PATIENCE, async || {
        Ok(sender.push(&function, "1").await?["outcome"] == "Created")
    })
    .await?;
    let (runs, deliveries) = (scene.runs("shop").await?, scene.deliveries("shop").await?);
    ensure!(
        runs.len() == 1 && deliveries.len() == 1,
        "{} runs, {} Deliveries",
        runs.len(),
        deliveries.len()
    );
    Ok(())
}

async fn a_pull_request_from_a_fork_starts_nothing_unless_that_is_allowed(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    let function = scene.function().await?;
    let body = payload("pull-request-fork.json")?;
    let author = &body["pull_request"]["user"]["login"];
    ensure!(author.is_string(), "the sample has no author");
    let body = body.to_string();
    for (name, allow, outcome) in [
        ("nobody", json!({}), "Filtered"),
        (
            "stranger",
            json!({"authors": ["somebody-else"]}),
            "Filtered",
        ),
        ("forks", json!({"forks": true}), "Created"),
        ("author", json!({"authors": [author]}), "Created"),
    ] {
        let more = json!({"allow": allow});
        let sender = scene.github(name, json!([rule("check")]), more).await?;
        let answer = sender
            .send(&function, "pull_request", "1", body.as_bytes())
            .await?;
        let told = accepted(&answer)?;
        ensure!(told["outcome"] == outcome, "{name}: {told:#}");
        let reason = told["reason"].as_str().unwrap_or_default();
        ensure!(
            outcome == "Created" || reason.contains("fork"),
            "{name}: {reason}"
        );
        let runs = scene.runs(name).await?.len();
        ensure!(
            runs == usize::from(outcome == "Created"),
            "{name}: {runs} runs"
        );
    }
    Ok(())
}

async fn the_status_of_a_hook_tells_its_path_its_events_and_what_is_wrong(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    let function = scene.function().await?;
    let sender = scene.shop().await?;
    sender.push(&function, "1").await?;
    let hook = scene.objects.get("Hook", "shop").await?;
    let status = &hook["status"];
    ensure!(
        status["path"] == format!("/hooks/{}/shop", scene.namespace),
        "path: {}",
        status["path"]
    );
    // Nobody has looked at the cluster around it.
    let ready = condition(&hook, "Ready");
    ensure!(
        ready["status"] == "Unknown" && ready["reason"] == "NotChecked",
        "{ready}"
    );
    ensure!(
        status["lastEventTime"].is_string() && status["secrets"][0]["name"] == "shop",
        "status: {status:#}"
    );
    let broken = json!({"spec": {"rules": [{
        "name": "build", "filter": "event.branch = \"main\" && nobody(1)", "pipelineRef": {"name": "p"},
    }]}});
    scene.objects.merge("Hook", "shop", broken).await?;
    let mut number = 1;
    let place = "spec.rules[0].filter";
    until("an event fails for the filter", PATIENCE, async || {
        number += 1;
        let told = sender.push(&function, &number.to_string()).await?;
        let reason = told["reason"].as_str().unwrap_or_default();
        ensure!(
            told["outcome"] == "Created" || reason.contains(place),
            "{told:#}"
        );
        Ok(told["outcome"] == "Failed")
    })
    .await?;
    until("the status says what is wrong", PATIENCE, async || {
        number += 1;
        sender.push(&function, &number.to_string()).await?;
        let hook = scene.objects.get("Hook", "shop").await?;
        let ready = condition(&hook, "Ready");
        let message = ready["message"].as_str().unwrap_or_default();
        Ok(ready["status"] == "False" && message.contains(place))
    })
    .await
}
