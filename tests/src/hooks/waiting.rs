//! What the sweep does for Deliveries that nobody is at work on: those that cannot be started, and those whose payload
//! another process has seen.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use control_plane::{Cluster, until};
use futures_util::future::try_join;
use http::{Method, Request};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::scene::{PATIENCE, Scene, accepted, push, rule};
use crate::{
    case::Case,
    cases,
    faults::{Action, Faults, Rule},
    onix::{Mode, Onix},
    support::{objects::name, step},
};

/// Age at which a sweep takes over.
const TAKEOVER: Duration = Duration::from_secs(3);

pub(super) fn cases() -> Vec<Case> {
    cases![
        what_a_quota_keeps_from_starting_is_given_up_and_starts_when_it_comes_again,
        a_flow_store_that_never_answers_costs_the_sender_no_event,
        a_run_that_is_started_stays_on_record_although_another_gives_it_up,
        a_flow_whose_run_never_reaches_etcd_is_failed_when_it_is_looked_up,
        the_same_bytes_in_two_processes_are_flagged_by_the_sweep,
    ]
}

/// A ResourceQuota of the namespace that allows no run. It counts as soon as its status says what is used.
async fn full(scene: &Scene) -> Result<String> {
    let path = format!("/api/v1/namespaces/{}/resourcequotas", scene.namespace);
    let client = scene.cluster.admin();
    let hard = json!({"count/pipelineruns.tekton.dev": "0"});
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "runs"}, "spec": {"hard": hard},
    });
    let request = Request::post(&path).header("content-type", "application/json");
    client
        .request::<Value>(request.body(quota.to_string().into_bytes())?)
        .await?;
    let status = json!({"status": {"hard": hard, "used": hard}});
    let request = Request::patch(format!("{path}/runs/status"))
        .header("content-type", "application/merge-patch+json");
    client
        .request::<Value>(request.body(status.to_string().into_bytes())?)
        .await?;
    Ok(format!("{path}/runs"))
}

async fn what_a_quota_keeps_from_starting_is_given_up_and_starts_when_it_comes_again(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    let function = scene.function().await?;
    let sender = scene.shop().await?;
    let quota = full(&scene).await?;
    let mut number = 0;
    until("the quota counts", PATIENCE, async || {
        number += 1;
        let told = sender.push(&function, &number.to_string()).await?;
        let reason = told["reason"].as_str().unwrap_or_default();
        Ok(told["outcome"] == "Received" && reason.contains("exceeded quota"))
    })
    .await?;
    // The reason is on record; a log is read by more people.
    let log = function.log();
    ensure!(
        log.contains("no run") && log.contains("blocked") && !log.contains("exceeded quota"),
        "{log}"
    );
    let id = number.to_string();
    let delivery = async || {
        let all = scene.deliveries("shop").await?;
        let mut all = all.into_iter();
        all.find(|delivery| delivery["deliveryId"] == *id)
            .context("the event is not on record")
    };
    let before = scene.runs("shop").await?.len();
    let give_up = [("HOOKRUN_SWEEP_GIVE_UP".to_owned(), "6s".to_owned())];
    scene.finish_with("shop", TAKEOVER, &give_up).await?;
    let given_up = delivery().await?;
    let reason = given_up["reason"].as_str().unwrap_or_default();
    let received = given_up["receivedTime"].as_str().context("no time")?;
    ensure!(
        given_up["outcome"] == "Failed"
            && given_up["attempts"].as_u64() >= Some(5)
            && reason.contains("given up after")
            && reason.contains(received)
            && reason.contains("exceeded quota"),
        "{given_up:#}"
    );
    let runs = scene.runs("shop").await?.len();
    ensure!(runs == before, "{runs} runs, there were {before}");

    // Somebody makes room. The sender's next try starts it, and it is one run.
    let request = Request::delete(quota).body(Vec::new())?;
    scene.cluster.admin().request::<Value>(request).await?;
    until("the event starts a run", PATIENCE, async || {
        Ok(sender.push(&function, &id).await?["outcome"] == "Created")
    })
    .await?;
    ensure!(delivery().await?["outcome"] == "Created");
    let runs = scene.runs("shop").await?.len();
    ensure!(runs == before + 1, "{runs} runs, there were {before}");
    Ok(())
}

async fn a_flow_store_that_never_answers_costs_the_sender_no_event(
    cluster: Arc<Cluster>,
) -> Result<()> {
    // What Slack leaves a receiver, of which a part goes by on the way.
    const CLOCK: Duration = Duration::from_millis(2400);
    let scene = Scene::new(&cluster).await?;
    let onix = Onix::start().await?;
    let flow = json!({"name": "scan", "steps": [step("scan")]});
    onix.put("ART_FLOW_scan", flow.clone());
    let mut of_another = flow;
    of_another["labels"] = json!({"namespace": "another-tenant"});
    onix.put("ART_FLOW_theirs", of_another);
    onix.behave(Mode::Hang);
    let clock = format!("{}ms", CLOCK.as_millis());
    let setup = scene.setup().onix(&onix);
    let function = setup.env("HOOKRUN_API_DEADLINE", &clock).start().await?;
    let keyed = |name: &str, key: &str| json!({"name": name, "flow": {"key": key}});
    let rules = json!([
        keyed("one", "ART_FLOW_scan"),
        keyed("two", "ART_FLOW_scan"),
        keyed("theirs", "ART_FLOW_theirs"),
        rule("build"),
    ]);
    let sender = scene.github("shop", rules, json!({})).await?;
    let body = push("1")?;
    let sent = sender.send(&function, "push", "1", &body);
    let answer = timeout(CLOCK + CLOCK / 4, sent)
        .await
        .context("too late")??;
    accepted(&answer)?;
    let outcomes = async || {
        let delivery = scene.delivery("shop").await?;
        let rules = delivery["rules"].as_array().context("no rules")?.iter();
        anyhow::Ok(Value::from_iter(rules.map(|rule| rule["outcome"].clone())))
    };
    let before = outcomes().await?;
    ensure!(
        before == json!(["Received", "Received", "Received", "Created"]),
        "{before}"
    );
    onix.behave(Mode::Normal);
    let variables = onix
        .variables()
        .map(|(name, value)| (name.to_owned(), value));
    scene.finish_with("shop", TAKEOVER, &variables).await?;
    let after = outcomes().await?;
    ensure!(
        after == json!(["Created", "Created", "Failed", "Created"]),
        "{after}"
    );
    let reason = scene.delivery("shop").await?["rules"][2]["reason"].clone();
    let reason = reason.as_str().unwrap_or_default();
    ensure!(reason.contains("\"another-tenant\""), "{reason}");
    Ok(())
}

async fn a_run_that_is_started_stays_on_record_although_another_gives_it_up(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    let faults = Faults::start(&cluster).await?;
    let function = scene.setup().through(&faults).start().await?;
    let rules = json!([rule("build")]);
    let sender = scene.github("shop", rules, json!({})).await?;
    // Time for somebody else, between the run and its record.
    let pause = Action::Delay(Duration::from_secs(4));
    let record = Rule::of("/deliveries/", pause).method(Method::PATCH);
    faults.add(record.times(1));
    let given_up = async {
        until("the run is started", PATIENCE, async || {
            Ok(!scene.runs("shop").await?.is_empty())
        })
        .await?;
        let delivery = scene.delivery("shop").await?;
        ensure!(delivery["outcome"] == "Received", "{delivery:#}");
        let mut rules = delivery["rules"].clone();
        rules[0]["outcome"] = "Failed".into();
        let patch = json!({"outcome": "Failed", "reason": "given up", "rules": rules});
        let name = name(&delivery);
        scene.objects.merge("Delivery", name, patch).await?;
        Ok(())
    };
    let (told, ()) = try_join(sender.push(&function, "one"), given_up).await?;
    ensure!(told["outcome"] == "Created", "{told:#}");
    let delivery = scene.delivery("shop").await?;
    ensure!(
        delivery["outcome"] == "Created" && delivery["rules"][0]["outcome"] == "Created",
        "{delivery:#}"
    );
    Ok(())
}

async fn a_flow_whose_run_never_reaches_etcd_is_failed_when_it_is_looked_up(
    cluster: Arc<Cluster>,
) -> Result<()> {
    // Together more than the API server's client sends to etcd (2 MiB), and less than the API server takes (3 MiB).
    const TEXTS: usize = 20;
    const TEXT: usize = 120 << 10;
    let scene = Scene::new(&cluster).await?;
    let onix = Onix::start().await?;
    let mut step = step("scan");
    let text = |number| json!({"name": format!("TEXT_{number}"), "value": "x".repeat(TEXT)});
    step["input"] = json!({"var": (0..TEXTS).map(text).collect::<Vec<_>>()});
    onix.put("ART_FLOW_scan", json!({"name": "scan", "steps": [step]}));
    let rules = json!([{"name": "scan", "flow": {"key": "ART_FLOW_scan"}}]);
    let sender = scene.github("shop", rules, json!({})).await?;
    // Looked up when it comes, and by the sweep.
    onix.behave(Mode::Hang);
    let setup = scene.setup().onix(&onix);
    let function = setup.env("HOOKRUN_API_DEADLINE", "3s").start().await?;
    sender.push(&function, "late").await?;
    onix.behave(Mode::Normal);
    sender.push(&function, "at once").await?;
    let variables = onix
        .variables()
        .map(|(name, value)| (name.to_owned(), value));
    scene.finish_with("shop", TAKEOVER, &variables).await?;
    let all = scene.deliveries("shop").await?;
    ensure!(all.len() == 2, "{} Deliveries", all.len());
    for delivery in all {
        let rule = &delivery["rules"][0];
        let reason = rule["reason"].as_str().unwrap_or_default();
        ensure!(
            rule["outcome"] == "Failed" && reason.starts_with("too large to record"),
            "{rule:.2000}"
        );
    }
    Ok(())
}

async fn the_same_bytes_in_two_processes_are_flagged_by_the_sweep(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    let functions = [scene.function().await?, scene.function().await?];
    let sender = scene.shop().await?;
    let body = push("same")?;
    let mut names = Vec::new();
    for (function, id) in functions.iter().zip(["first", "second"]) {
        let told = accepted(&sender.send(function, "push", id, &body).await?)?;
        ensure!(told["outcome"] == "Created", "{told:#}");
        names.push(told["delivery"].clone());
    }
    sender.push(&functions[0], "other").await?;
    let flagged = async || {
        let all = scene.deliveries("shop").await?;
        let flagged = all.into_iter().filter_map(|delivery| {
            let other = delivery["samePayloadAs"].clone();
            (!other.is_null()).then(|| (delivery["metadata"]["name"].clone(), other))
        });
        anyhow::Ok(flagged.collect::<Vec<_>>())
    };
    ensure!(flagged().await?.is_empty(), "one process knew of the other");
    try_join(scene.sweep(TAKEOVER), scene.sweep(TAKEOVER)).await?;
    let found = flagged().await?;
    ensure!(
        found == [(names[1].clone(), names[0].clone())],
        "{names:?}: {found:?}"
    );
    let told = scene.sweep(TAKEOVER).await?;
    ensure!(told.contains("flagged 0"), "{told}");
    Ok(())
}
