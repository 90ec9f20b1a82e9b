//! Events of the flow function on record: stored once, found again after their run is gone, finished and replayed by the
//! sweep.

use std::{process::Command, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use control_plane::{Account, Cluster, until};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    case::Case,
    cases,
    faults::{Action, Faults, Rule},
    function::{executable, repository},
    hooks,
    onix::Onix,
    support::{
        Scene, ask,
        objects::{entries, name},
    },
};

/// How long something may take that needs no more than a few requests, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The Role of the sweep where flows are posted.
const ROLE: &str = "knative/namespace/sweep-role.yaml";

/// What no record may show.
const CANARY: &str = "canary-77 not to be seen";

/// The cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    cases![
        a_posted_flow_is_on_record_and_its_credentials_are_not,
        an_event_is_known_after_its_run_was_deleted,
        a_payload_for_a_stored_flow_is_kept_and_replayed,
        the_sweep_finishes_what_a_death_left,
        the_sweep_makes_exactly_the_requests_for_flows_that_its_role_grants,
    ]
}

async fn a_posted_flow_is_on_record_and_its_credentials_are_not(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    let flow = scene.secret_flow("scan", CANARY);
    let run = scene.post_as("1", &flow).await?.run()?.to_owned();
    let delivery = scene.objects.get("Delivery", &run).await?;
    for (pointer, expected) in [
        ("/outcome", "Created"),
        ("/provider", "artisan"),
        ("/deliveryId", "1"),
        ("/key", "idempotency-key 1"),
        ("/rules/0/name", "scan"),
        ("/rules/0/run", &run),
        ("/rules/0/pipelineRun/metadata/name", &run),
        ("/metadata/labels/hookrun.dev~1flow", "scan"),
    ] {
        let found = delivery.pointer(pointer).and_then(Value::as_str);
        ensure!(found == Some(expected), "{pointer}: {delivery:#}");
    }
    ensure!(delivery["hook"].is_null(), "{delivery:#}");
    ensure!(delivery["payload"]["gzip"].is_null(), "{delivery:#}");
    ensure!(!delivery.to_string().contains("canary"), "{delivery:#}");
    let place = delivery["payload"]["secretName"]
        .as_str()
        .context("no Secret")?;
    let place = scene.objects.get("Secret", place).await?;
    ensure!(entries(&place).contains_key("payload"), "{place:#}");

    let shown = hookrun(
        &cluster,
        &scene.namespace,
        &["deliveries", "show", &run, "--payload"],
    )
    .await?;
    ensure!(serde_json::from_str::<Value>(&shown)? == flow, "{shown}");
    let listed = hookrun(&cluster, &scene.namespace, &["deliveries", "list"]).await?;
    ensure!(listed.contains("flow scan"), "{listed}");
    Ok(())
}

async fn an_event_is_known_after_its_run_was_deleted(cluster: Arc<Cluster>) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    let flow = scene.plain_flow("scan");
    let run = scene.post_as("1", &flow).await?.run()?.to_owned();
    scene.objects.delete("PipelineRun", &run).await?;
    let edited = scene.secret_flow("scan", "another");
    let again = scene.post_as("1", &edited).await?;
    ensure!(again.run()? == run, "{again:?}");
    let left = scene.objects.names("PipelineRun").await?;
    ensure!(left.is_empty(), "{left:?}");
    // The late copy changes nothing of the flow, either.
    ensure!(scene.objects.of_flows("Secret").await?.is_empty());
    let delivery = scene.objects.get("Delivery", &run).await?;
    ensure!(delivery["duplicates"] == 1, "{delivery:#}");
    Ok(())
}

async fn a_payload_for_a_stored_flow_is_kept_and_replayed(cluster: Arc<Cluster>) -> Result<()> {
    let onix = Onix::start().await?;
    let scene = Scene::with(&cluster, |setup, _| setup.onix(&onix)).await?;
    let stored = json!({"name": "x", "steps": [crate::support::step("first")]});
    onix.put("ART_FLOW_x", stored);
    let request = scene.function.post(&scene.key("ART_FLOW_x"));
    let body = r#"{"bucket":"in"}"#;
    let run = ask(request.body(body)).await?.run()?.to_owned();
    let shown = hookrun(
        &cluster,
        &scene.namespace,
        &["deliveries", "show", &run, "--payload"],
    )
    .await?;
    ensure!(shown == body, "{shown}");

    let replayed = hookrun(
        &cluster,
        &scene.namespace,
        &["deliveries", "replay", &run, "--id", "again", "-o", "json"],
    )
    .await?;
    let replayed: Value = serde_json::from_str(&replayed)?;
    let replayed = name(&replayed[0]).to_owned();
    let sweeper = sweeper(&cluster, &scene.namespace).await?;
    let url = cluster.url().to_owned();
    until("the sweep starts the replay", PATIENCE, async || {
        sweep(&cluster, &scene.namespace, &url, &sweeper, Some(&onix)).await?;
        let delivery = scene.objects.get("Delivery", &replayed).await?;
        ensure!(delivery["outcome"] != "Failed", "{delivery:#}");
        Ok(delivery["outcome"] == "Created")
    })
    .await?;
    let runs = scene.objects.all("PipelineRun").await?;
    ensure!(runs.len() == 2, "{} runs", runs.len());
    for run in runs {
        ensure!(run["spec"]["status"].is_null(), "{run:#}");
        let copy = format!("{}-context-secret", name(&run));
        let copy = scene.objects.secret(&copy).await?;
        ensure!(copy.values().eq([body]), "{copy:?}");
    }
    Ok(())
}

async fn the_sweep_finishes_what_a_death_left(cluster: Arc<Cluster>) -> Result<()> {
    let faults = Faults::start(&cluster).await?;
    let scene = Scene::with(&cluster, |setup, _| setup.through(&faults)).await?;
    let action = Action::Answer(StatusCode::INTERNAL_SERVER_ERROR, Some(60));
    faults.add(Rule::of("/pipelineruns", action).method(Method::POST));
    let answer = scene.post_as("1", &scene.secret_flow("scan", "a")).await?;
    ensure!(answer.status == 503, "{answer:?}");
    let all = scene.objects.all("Delivery").await?;
    ensure!(
        all.len() == 1 && all[0]["outcome"] == "Received",
        "{all:#?}"
    );

    let sweeper = sweeper(&cluster, &scene.namespace).await?;
    let url = cluster.url().to_owned();
    until("the sweep starts the run", PATIENCE, async || {
        sweep(&cluster, &scene.namespace, &url, &sweeper, None).await?;
        Ok(scene.objects.get("Delivery", name(&all[0])).await?["outcome"] == "Created")
    })
    .await?;
    let run = scene.objects.run().await?;
    ensure!(name(&run) == name(&all[0]), "{run:#}");
    ensure!(run["spec"]["status"].is_null(), "{run:#}");
    // The sender that comes again after all finds it started.
    faults.heal();
    let again = scene.post_as("1", &scene.secret_flow("scan", "b")).await?;
    ensure!(again.run()? == name(&run), "{again:?}");
    let copy = format!("{}-creds-secret", name(&run));
    ensure!(scene.objects.secret(&copy).await?["TOKEN"] == "a");
    Ok(())
}

async fn the_sweep_makes_exactly_the_requests_for_flows_that_its_role_grants(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let function_faults = Faults::start(&cluster).await?;
    let scene = Scene::with(&cluster, |setup, _| setup.through(&function_faults)).await?;
    let faults = Faults::start(&cluster).await?;
    let sweeper = sweeper(&cluster, &scene.namespace).await?;
    let finish = async |delivery: &str, outcome: &str| {
        until("a sweep finishes it", PATIENCE, async || {
            sweep(&cluster, &scene.namespace, &faults.url(), &sweeper, None).await?;
            let delivery = scene.objects.get("Delivery", delivery).await?;
            Ok(delivery["outcome"] == outcome)
        })
        .await
    };
    // By name, of what the first flow leaves in the cluster.
    let flow = scene.secret_flow("scan", "a");
    scene.post_as("0", &flow).await?.run()?;
    let named = scene.function.post(&scene.name("scan"));
    let named = ask(named).await?.run()?.to_owned();
    let id = [
        "deliveries",
        "replay",
        &named,
        "--id",
        "again",
        "-o",
        "json",
    ];
    let replayed = hookrun(&cluster, &scene.namespace, &id).await?;
    let replayed: Value = serde_json::from_str(&replayed)?;
    finish(name(&replayed[0]), "Created").await?;

    // Left by an interruption. The first run is refused what it owns and taken back; something is in the way of the next.
    let action = Action::Answer(StatusCode::INTERNAL_SERVER_ERROR, Some(60));
    function_faults.add(Rule::of("/pipelineruns", action).method(Method::POST));
    for (event, outcome) in [("1", "Failed"), ("2", "Created")] {
        let before = scene.objects.names("Delivery").await?;
        scene.post_as(event, &flow).await?.refused(503, "")?;
        let mut left = scene.objects.names("Delivery").await?;
        left.retain(|name| !before.contains(name));
        ensure!(left.len() == 1, "{left:?}");
        if outcome == "Failed" {
            let refused = Action::Answer(StatusCode::UNPROCESSABLE_ENTITY, None);
            faults.add(Rule::of("/secrets", refused).method(Method::POST).times(1));
        } else {
            let secret = format!("{}-creds-secret", left[0]);
            let secret =
                json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret}});
            scene.objects.create(&secret).await?;
        }
        finish(&left[0], outcome).await?;
    }
    // One that is past its time.
    let mut old = scene.objects.get("Delivery", &named).await?;
    old["metadata"] = json!({
        "name": "old", "labels": old["metadata"]["labels"],
        "annotations": {"hookrun.dev/received-time": "2020-01-01T00:00:00.000Z"},
    });
    scene.objects.create(&old).await?;
    until("the old one is deleted", PATIENCE, async || {
        sweep(&cluster, &scene.namespace, &faults.url(), &sweeper, None).await?;
        Ok(scene.objects.find("Delivery", "old").await?.is_none())
    })
    .await?;
    hooks::uses_all(&faults, ROLE)
}

/// An account with the rights of the sweep where flows are posted.
async fn sweeper(cluster: &Cluster, namespace: &str) -> Result<Account> {
    let account = cluster.account("hookrun-sweep").await?;
    cluster
        .grant(&repository().join(ROLE), namespace, &account)
        .await?;
    Ok(account)
}

/// One sweep, as the CronJob makes it.
async fn sweep(
    cluster: &Cluster,
    namespace: &str,
    url: &str,
    account: &Account,
    onix: Option<&Onix>,
) -> Result<()> {
    let mut command = Command::new(executable());
    command
        .env_clear()
        .env("KUBECONFIG", cluster.kubeconfig(url, &account.token)?)
        .env("HOOKRUN_NAMESPACES", namespace)
        .args([
            "sweep",
            "--deliveries",
            "--hook-takeover=6s",
            "--api-deadline=5s",
        ]);
    if let Some(onix) = onix {
        command.envs(onix.variables());
    }
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{errors}");
    Ok(())
}

/// What a command for people prints that must succeed.
async fn hookrun(cluster: &Cluster, namespace: &str, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(executable());
    command
        .env_clear()
        .env("KUBECONFIG", cluster.folder().join("admin.kubeconfig"))
        .env("HOOKRUN_NAMESPACE", namespace)
        .args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{arguments:?}: {errors}");
    Ok(String::from_utf8(output.stdout)?)
}
