//! One event, one Delivery, one run: however many copies come, at once or later, and whatever happened in between.

use std::{collections::BTreeSet, sync::Arc};

use anyhow::{Context, Result, ensure};
use control_plane::{Cluster, until};
use futures_util::future::{join_all, try_join_all};
use serde_json::{Value, json};

use super::scene::{PATIENCE, Scene, Sender, accepted, push, rule, rule_with_payload};
use crate::{
    case::Case,
    cases,
    faults::{Action, Faults, Rule},
    function::Function,
    support::objects::name,
};

/// Copies of one event at once.
const COPIES: usize = 100;

/// Processes that they come to.
const PROCESSES: usize = 3;

pub(super) fn cases() -> Vec<Case> {
    cases![
        a_hundred_copies_over_three_processes_make_one_run_and_one_delivery,
        copies_of_many_events_at_once_make_one_run_each,
        a_redelivery_after_the_run_is_gone_and_all_processes_are_new_starts_nothing,
        a_redelivery_after_the_hook_was_edited_starts_nothing,
        the_same_bytes_under_another_identity_run_again_and_are_flagged,
        a_lost_answer_of_the_api_server_doubles_nothing,
    ]
}

/// Processes that share a namespace.
async fn processes(scene: &Scene) -> Result<Vec<Function>> {
    try_join_all((0..PROCESSES).map(|_| scene.function())).await
}

/// One Delivery and one run for the Hook, and both belong to this event.
async fn one_of_each(scene: &Scene, hook: &str) -> Result<(Value, Value)> {
    let delivery = scene.delivery(hook).await?;
    let mut runs = scene.runs(hook).await?;
    let names: Vec<&str> = runs.iter().map(name).collect();
    ensure!(
        runs.len() == 1,
        "{} runs of one event: {names:?}",
        runs.len()
    );
    ensure!(
        delivery["rules"][0]["run"] == names[0],
        "the Delivery names {}, the run is {}",
        delivery["rules"][0]["run"],
        names[0]
    );
    Ok((delivery, runs.remove(0)))
}

async fn a_hundred_copies_over_three_processes_make_one_run_and_one_delivery(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    let functions = processes(&scene).await?;
    let sender = scene
        .github("shop", json!([rule_with_payload("build")]), json!({}))
        .await?;
    let body = push("1")?;
    let copies =
        (0..COPIES).map(|number| sender.send(&functions[number % PROCESSES], "push", "1", &body));
    let mut told = BTreeSet::new();
    let mut first = 0;
    for answer in try_join_all(copies).await? {
        let answer = accepted(&answer)?;
        first += usize::from(answer["duplicate"] == false);
        told.insert(answer["delivery"].to_string());
    }
    ensure!(told.len() == 1, "one event became the Deliveries {told:?}");
    ensure!(
        first == 1,
        "{first} of the copies were told to be the first"
    );
    until("the outcome is on record", PATIENCE, async || {
        Ok(scene.delivery("shop").await?["outcome"] == "Created")
    })
    .await?;
    let (_, run) = one_of_each(&scene, "shop").await?;
    let secret = format!("{}-payload", name(&run));
    let secret = scene.objects.get("Secret", &secret).await?;
    ensure!(
        secret["metadata"]["ownerReferences"][0]["uid"] == run["metadata"]["uid"],
        "the payload is not the run's own"
    );
    // Counted at best effort: once a second at most.
    sender.push(&functions[0], "1").await?;
    until("duplicates are counted", PATIENCE, async || {
        sender.push(&functions[0], "1").await?;
        let delivery = scene.delivery("shop").await?;
        Ok(delivery["duplicates"]
            .as_u64()
            .is_some_and(|count| count > 0))
    })
    .await?;
    functions.iter().try_for_each(crate::aftermath::discreet)
}

async fn copies_of_many_events_at_once_make_one_run_each(cluster: Arc<Cluster>) -> Result<()> {
    const EVENTS: usize = 20;
    let scene = Scene::new(&cluster).await?;
    let functions = processes(&scene).await?;
    let sender = scene.shop().await?;
    // Copies of one event never follow each other.
    let requests =
        (0..5 * EVENTS)
            .map(|number| (number, number % EVENTS))
            .map(async |(number, event)| {
                let function = &functions[number % PROCESSES];
                sender.push(function, &event.to_string()).await
            });
    for told in join_all(requests).await {
        told?;
    }
    let deliveries = scene.deliveries("shop").await?;
    let ids: BTreeSet<String> = deliveries
        .iter()
        .map(|delivery| delivery["deliveryId"].to_string())
        .collect();
    let runs = scene.runs("shop").await?;
    ensure!(
        deliveries.len() == EVENTS && ids.len() == EVENTS && runs.len() == EVENTS,
        "{EVENTS} events became {} Deliveries of {} events, and {} runs",
        deliveries.len(),
        ids.len(),
        runs.len()
    );
    Ok(())
}

/// Deletes the run of an event, as pruning does.
async fn prune(scene: &Scene, run: &Value) -> Result<()> {
    scene.objects.delete("PipelineRun", name(run)).await?;
    until("the run is gone", PATIENCE, async || {
        Ok(scene
            .objects
            .find("PipelineRun", name(run))
            .await?
            .is_none())
    })
    .await
}

/// A repetition is told what the first one was told, and starts nothing.
async fn is_a_repetition(
    scene: &Scene,
    function: &Function,
    sender: &Sender,
    first: &Value,
) -> Result<()> {
    let told = sender.push(function, "1").await?;
    for field in ["delivery", "outcome", "runs"] {
        ensure!(
            told[field] == first[field],
            "{field}: first {}, then {}",
            first[field],
            told[field]
        );
    }
    ensure!(told["duplicate"] == true, "{told:#}");
    let runs = scene.runs("shop").await?.len();
    ensure!(runs == 0, "{runs} runs after a repetition");
    Ok(())
}

async fn a_redelivery_after_the_run_is_gone_and_all_processes_are_new_starts_nothing(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    let functions = processes(&scene).await?;
    let sender = scene
        .github("shop", json!([rule_with_payload("build")]), json!({}))
        .await?;
    let first = sender.push(&functions[0], "1").await?;
    let (_, run) = one_of_each(&scene, "shop").await?;
    prune(&scene, &run).await?;
    for function in &functions {
        is_a_repetition(&scene, function, &sender, &first).await?;
    }
    drop(functions);
    let function = scene.function().await?;
    is_a_repetition(&scene, &function, &sender, &first).await
}

async fn a_redelivery_after_the_hook_was_edited_starts_nothing(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    let function = scene.function().await?;
    let sender = scene.shop().await?;
    let first = sender.push(&function, "1").await?;
    let (_, run) = one_of_each(&scene, "shop").await?;
    let edited = json!({"spec": {"rules": [rule("deploy"), rule("build")]}});
    scene.objects.merge("Hook", "shop", edited).await?;
    let mut number = 1;
    until("the edited Hook counts", PATIENCE, async || {
        number += 1;
        let told = sender.push(&function, &number.to_string()).await?;
        Ok(told["runs"].as_array().is_some_and(|runs| runs.len() == 2))
    })
    .await?;
    let others = scene.runs("shop").await?.len();
    prune(&scene, &run).await?;
    let told = sender.push(&function, "1").await?;
    ensure!(
        told["runs"] == first["runs"] && told["duplicate"] == true,
        "first {first:#}, then {told:#}"
    );
    let runs = scene.runs("shop").await?.len();
    ensure!(
        runs == others - 1,
        "{runs} runs, there were {others} with the first"
    );
    Ok(())
}

async fn the_same_bytes_under_another_identity_run_again_and_are_flagged(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    let function = scene.function().await?;
    let sender = scene.shop().await?;
    let body = push("same")?;
    let first = accepted(&sender.send(&function, "push", "1", &body).await?)?;
    let second = accepted(&sender.send(&function, "push", "2", &body).await?)?;
    ensure!(second["outcome"] == "Created", "{second:#}");
    let deliveries = scene.deliveries("shop").await?;
    let again = deliveries
        .iter()
        .find(|delivery| delivery["deliveryId"] == "2")
        .context("the second event is not on record")?;
    ensure!(
        again["samePayloadAs"] == first["delivery"],
        "flagged as {}, the first is {}",
        again["samePayloadAs"],
        first["delivery"]
    );
    Ok(())
}

async fn a_lost_answer_of_the_api_server_doubles_nothing(cluster: Arc<Cluster>) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    let faults = Faults::start(&cluster).await?;
    let function = scene.setup().through(&faults).start().await?;
    let sender = scene
        .github("shop", json!([rule_with_payload("build")]), json!({}))
        .await?;
    sender.push(&function, "warm").await?;
    for (event, part) in [
        ("a", "/deliveries"),
        ("b", "/pipelineruns"),
        ("c", "/secrets"),
    ] {
        faults.heal();
        faults.add(
            Rule::of(part, Action::Close)
                .method(http::Method::POST)
                .times(1)
                .after(),
        );
        let told = sender.push(&function, event).await?;
        ensure!(told["outcome"] == "Created", "{part}: {told:#}");
    }
    faults.heal();
    let (deliveries, runs) = (scene.deliveries("shop").await?, scene.runs("shop").await?);
    ensure!(
        deliveries.len() == 4 && runs.len() == 4,
        "4 events became {} Deliveries and {} runs",
        deliveries.len(),
        runs.len()
    );
    Ok(())
}
