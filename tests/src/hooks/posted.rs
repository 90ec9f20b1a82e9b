//! Flows that are posted, where something is in the way: what a sender without a name for its event was told is what
//! holds, and a flow that lies in the object store is run again from there.

use std::{process::Command, sync::Arc};

use anyhow::{Context, Result, ensure};
use control_plane::{Cluster, until};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::scene::PATIENCE;
use crate::{
    case::Case,
    cases,
    faults::{Action, Faults, Rule},
    function::{Function, executable},
    s3::{BUCKET, S3},
    support::{Scene, ask, objects::name, step},
};

pub(super) fn cases() -> Vec<Case> {
    cases![
        what_a_sender_without_identity_was_told_is_not_started_is_not_started_later,
        what_a_killed_process_left_of_a_flow_without_identity_is_for_its_sender_to_repeat,
        a_run_that_is_started_is_told_although_nobody_can_write_that_down,
        a_large_posted_flow_is_run_again_from_the_object_store,
    ]
}

async fn what_a_sender_without_identity_was_told_is_not_started_is_not_started_later(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let faults = Faults::start(&cluster).await?;
    let scene = Scene::with(&cluster, |setup, _| {
        setup.through(&faults).env("HOOKRUN_API_DEADLINE", "3s")
    })
    .await?;
    let down = Action::Answer(StatusCode::INTERNAL_SERVER_ERROR, None);
    let runs = || Rule::of("/pipelineruns", down.clone()).method(Method::POST);
    // Before the run, and between the run and the rest of what it needs; its Delivery owns two Secrets.
    let copies = Rule::of("/secrets", down.clone()).method(Method::POST);
    for (rule, what) in [(runs(), "no run"), (copies.skip(2), "a run that waits")] {
        faults.add(rule);
        let flow = scene.secret_flow("scan", "a");
        let request = scene.function.post("/flow").body(flow.to_string());
        let answer = ask(request).await?;
        ensure!(answer.status == 503, "{what}: {answer:?}");
        faults.heal();
        let left = scene.objects.all("PipelineRun").await?;
        let left = left
            .iter()
            .filter(|run| run["metadata"]["deletionTimestamp"].is_null());
        ensure!(left.count() == 0, "{what}: a run");
        for delivery in scene.objects.all("Delivery").await? {
            let reason = delivery["reason"].as_str().unwrap_or_default();
            ensure!(
                delivery["outcome"] == "Failed"
                    && reason.contains("not started, and its sender was told so"),
                "{what}: {delivery:#}"
            );
        }
    }
    // Whoever has a name for it brings it again.
    faults.add(runs());
    let flow = scene.secret_flow("scan", "a");
    let answer = scene.post_as("1", &flow).await?;
    ensure!(answer.status == 503, "{answer:?}");
    faults.heal();
    let received = scene.objects.all("Delivery").await?;
    let received = received
        .iter()
        .filter(|delivery| delivery["outcome"] == "Received");
    ensure!(received.count() == 1, "it was given up");
    let run = scene.post_as("1", &flow).await?.run()?.to_owned();
    let runs = scene.objects.names("PipelineRun").await?;
    ensure!(runs.iter().eq([&run]), "{runs:?}");
    Ok(())
}

/// Sweeps until no Delivery is left `Received`.
async fn swept(cluster: &Cluster, scene: &Scene) -> Result<()> {
    let sweep = [
        "sweep",
        "--deliveries",
        "--hook-takeover=3s",
        "--api-deadline=2s",
    ];
    until("every Delivery has an outcome", PATIENCE, async || {
        hookrun(cluster, scene, &[], &sweep).await?;
        let all = scene.objects.all("Delivery").await?;
        Ok(all.iter().all(|delivery| delivery["outcome"] != "Received"))
    })
    .await
}

async fn what_a_killed_process_left_of_a_flow_without_identity_is_for_its_sender_to_repeat(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let faults = Faults::start(&cluster).await?;
    let scene = Scene::new(&cluster).await?;
    // Its Delivery owns two Secrets, and its run one.
    let flow = scene.secret_flow("scan", "a");
    for (method, part, skip, started) in [
        (Method::POST, "/pipelineruns", 0, 0),
        (Method::POST, "/secrets", 2, 0),
        (Method::PATCH, "/deliveries/", 0, 1),
    ] {
        let what = format!("killed at {method} {part}");
        let before = scene.objects.names("PipelineRun").await?.len();
        let setup = Function::on(&cluster).account(scene.function.account());
        let setup = setup.run_in(&scene.namespace).through(&faults);
        let mut dies = setup.start().await?;
        let death = Rule::of(part, Action::Kill(dies.killer()));
        faults.add(death.method(method).skip(skip));
        let told = ask(dies.post("/flow").body(flow.to_string())).await;
        ensure!(told.is_err(), "{what}: {told:?}");
        until("the process is dead", PATIENCE, async || {
            Ok(dies.ended()?.is_some())
        })
        .await?;
        faults.heal();
        let left = scene.objects.all("Delivery").await?;
        let left = left.iter().find(|one| one["outcome"] == "Received");
        let left = name(left.with_context(|| format!("{what}: nothing is left"))?).to_owned();
        // Its sender got no answer.
        scene.post(&flow).await?.run()?;
        swept(&cluster, &scene).await?;
        let runs = scene.objects.names("PipelineRun").await?.len();
        ensure!(runs == before + 1 + started, "{what}: {runs} runs");
        let ended = scene.objects.get("Delivery", &left).await?;
        if started > 0 {
            ensure!(ended["outcome"] == "Created", "{what}: {ended:#}");
            continue;
        }
        let reason = ended["reason"].as_str().unwrap_or_default();
        let replay = format!("hookrun deliveries replay {left}");
        ensure!(
            ended["outcome"] == "Failed" && reason.contains(&replay),
            "{what}: {ended:#}"
        );
        // It is possible, as it says.
        hookrun(&cluster, &scene, &[], &["deliveries", "replay", &left]).await?;
        swept(&cluster, &scene).await?;
        let runs = scene.objects.names("PipelineRun").await?.len();
        ensure!(runs == before + 2, "{what}, replayed: {runs} runs");
    }
    Ok(())
}

async fn a_run_that_is_started_is_told_although_nobody_can_write_that_down(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let faults = Faults::start(&cluster).await?;
    let scene = Scene::with(&cluster, |setup, _| {
        setup.through(&faults).env("HOOKRUN_API_DEADLINE", "3s")
    })
    .await?;
    // The run is made, and the function learns neither that nor can it say so.
    let run = Rule::of("/pipelineruns", Action::Hang).method(Method::POST);
    faults.add(run.after());
    let down = Action::Answer(StatusCode::INTERNAL_SERVER_ERROR, None);
    faults.add(Rule::of("/deliveries/", down).method(Method::PATCH));
    let run = scene.post(&scene.plain_flow("scan")).await?;
    let run = run.run()?.to_owned();
    faults.heal();
    let delivery = scene.objects.get("Delivery", &run).await?;
    ensure!(delivery["outcome"] == "Received", "{delivery:#}");
    swept(&cluster, &scene).await?;
    let delivery = scene.objects.get("Delivery", &run).await?;
    ensure!(delivery["outcome"] == "Created", "{delivery:#}");
    let runs = scene.objects.names("PipelineRun").await?;
    ensure!(runs.iter().eq([&run]), "{runs:?}");
    Ok(())
}

/// What a command of an administrator says who knows the bucket.
async fn hookrun(
    cluster: &Cluster,
    scene: &Scene,
    environment: &[(String, String)],
    arguments: &[&str],
) -> Result<String> {
    let mut command = Command::new(executable());
    command
        .env_clear()
        .env("KUBECONFIG", cluster.folder().join("admin.kubeconfig"))
        .env("HOOKRUN_NAMESPACE", &scene.namespace)
        .env("HOOKRUN_NAMESPACES", &scene.namespace)
        .envs(environment.iter().cloned())
        .args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{errors}");
    Ok(String::from_utf8(output.stdout)?)
}

/// Text that does not become shorter by being compressed, beyond the four characters that it has for three bytes.
fn noise(seed: u64, bytes: usize) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut state = seed;
    let digits = (0..bytes).map(|_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        char::from(DIGITS[usize::try_from(state >> 58).unwrap_or_default()])
    });
    digits.collect()
}

async fn a_large_posted_flow_is_run_again_from_the_object_store(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let s3 = S3::start(&cluster).await?;
    let mut environment = s3.environment();
    let store = format!("s3://{BUCKET}/pay");
    environment.push(("HOOKRUN_PAYLOAD_STORE".to_owned(), store));
    let scene = Scene::with(&cluster, |setup, _| {
        let environment = environment.iter();
        environment.fold(setup, |setup, (name, value)| setup.env(name, value))
    })
    .await?;
    let steps = (1..=3).map(|number| {
        let mut step = step(&format!("step-{number}"));
        let content = noise(number, 600 << 10);
        step["input"] = json!({"file": [{"name": "noise", "path": "noise", "content": content}]});
        step
    });
    let flow = scene.flow("scan", steps.collect());
    let run = scene.post_as("1", &flow).await?.run()?.to_owned();
    let delivery = scene.objects.get("Delivery", &run).await?;
    ensure!(delivery["payload"]["object"] == *run, "{delivery:.300}");
    let replay = ["deliveries", "replay", &run, "--id", "again", "-o", "json"];
    let replayed = hookrun(&cluster, &scene, &environment, &replay).await?;
    let replayed: Value = serde_json::from_str(&replayed)?;
    let replayed = name(&replayed[0]).to_owned();
    let sweep = [
        "sweep",
        "--deliveries",
        "--hook-takeover=6s",
        "--api-deadline=5s",
    ];
    until("the sweep starts the replay", PATIENCE, async || {
        hookrun(&cluster, &scene, &environment, &sweep).await?;
        let delivery = scene.objects.get("Delivery", &replayed).await?;
        ensure!(delivery["outcome"] != "Failed", "{}", delivery["reason"]);
        Ok(delivery["outcome"] == "Created")
    })
    .await?;
    let runs = scene.objects.names("PipelineRun").await?;
    ensure!(runs.len() == 2, "{runs:?}");

    // A flow that is gone does not come back.
    let again = ["deliveries", "replay", &run, "--id", "gone", "-o", "json"];
    let gone = hookrun(&cluster, &scene, &environment, &again).await?;
    let gone: Value = serde_json::from_str(&gone)?;
    let gone = name(&gone[0]).to_owned();
    let objects = s3.objects()?;
    let object = objects.iter().find(|object| object.contains(&gone));
    std::fs::remove_file(s3.bucket().join(object.context("no object")?))?;
    until("the sweep ends the replay", PATIENCE, async || {
        hookrun(&cluster, &scene, &environment, &sweep).await?;
        let delivery = scene.objects.get("Delivery", &gone).await?;
        let reason = delivery["reason"].as_str().unwrap_or_default();
        Ok(delivery["outcome"] == "Failed" && reason.contains("not there any more"))
    })
    .await
}
