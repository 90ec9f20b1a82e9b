//! Runs that were begun and not finished: the next delivery of the event finishes or replaces them.

use anyhow::{Result, ensure};
use control_plane::Cluster;
use http::{Method, StatusCode};
use serde_json::Value;

use crate::{
    case::{Case, case},
    faults::{Action, Faults, Rule},
    onix::Onix,
    support::{
        Scene, ask,
        objects::{name, steps},
    },
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "runs::run_that_could_not_be_started_is_pending_and_a_repeat_finishes_it",
            async |cluster| {
                let (scene, faults) = scene(&cluster).await?;
                let flow = scene.secret_flow("scan", "hunter2");
                // Nothing after the creation of the run, then nothing after that of its copies.
                for (event, rule) in [
                    (
                        "1",
                        // Those of the Delivery come first: the document, and what is secret in it.
                        Rule::of("/secrets", failure()).method(Method::POST).skip(2),
                    ),
                    (
                        "2",
                        Rule::of("/pipelineruns/", failure()).method(Method::PATCH),
                    ),
                ] {
                    faults.add(rule);
                    let answer = scene.post_as(event, &flow).await?;
                    answer.refused(503, "cannot apply kubernetes resources: ")?;
                    ensure!(!answer.header("retry-after").is_empty(), "{answer:?}");
                    let unfinished = pending(&scene).await?;
                    faults.heal();

                    let run = scene.post_as(event, &flow).await?.run()?.to_owned();
                    ensure!(run == name(&unfinished));
                    let finished = scene.objects.get("PipelineRun", &run).await?;
                    ensure!(finished["spec"]["status"].is_null(), "{finished:#}");
                    ensure!(
                        finished["metadata"]["uid"] == unfinished["metadata"]["uid"],
                        "it was made anew"
                    );
                    ensure!(
                        scene.objects.secret(&format!("{run}-creds-secret")).await?["TOKEN"]
                            == "hunter2"
                    );
                    // And again changes nothing.
                    faults.forget();
                    ensure!(scene.post_as(event, &flow).await?.run()? == run);
                    let mut writes = faults.writes();
                    writes.retain(|write| !write.target.contains("/deliveries/"));
                    ensure!(writes.is_empty(), "{writes:?}");
                }
                Ok(())
            },
        ),
        case(
            "runs::run_whose_start_was_not_acknowledged_is_started_once",
            async |cluster| {
                let (scene, faults) = scene(&cluster).await?;
                let flow = scene.secret_flow("scan", "hunter2");
                for (event, rule) in [
                    (
                        "1",
                        Rule::of("/pipelineruns", Action::Close)
                            .method(Method::POST)
                            .times(1)
                            .after(),
                    ),
                    (
                        "2",
                        Rule::of("/secrets", Action::Close)
                            .method(Method::POST)
                            .times(1)
                            .after(),
                    ),
                    (
                        "3",
                        Rule::of("/pipelineruns/", Action::Close)
                            .method(Method::PATCH)
                            .times(1)
                            .after(),
                    ),
                ] {
                    faults.add(rule);
                    let run = scene.post_as(event, &flow).await?.run()?.to_owned();
                    faults.heal();
                    let run = scene.objects.get("PipelineRun", &run).await?;
                    ensure!(run["spec"]["status"].is_null(), "{run:#}");
                }
                ensure!(scene.objects.names("PipelineRun").await?.len() == 3);
                Ok(())
            },
        ),
        case(
            "runs::run_that_is_pending_is_started_as_it_was_stored_whatever_the_flow_says_now",
            async |cluster| {
                let (scene, faults) = scene(&cluster).await?;
                faults.add(Rule::of("/pipelineruns/", failure()).method(Method::PATCH));
                let mut flow = scene.secret_flow("scan", "old");
                flow["steps"][0]["runtime"] = "images.example.org/scan:1".into();
                scene.post_as("1", &flow).await?.refused(503, "")?;
                let unfinished = pending(&scene).await?;
                faults.heal();

                let mut flow = scene.secret_flow("scan", "new");
                flow["steps"][0]["runtime"] = "images.example.org/scan:2".into();
                let run = scene.post_as("1", &flow).await?.run()?.to_owned();
                ensure!(run == name(&unfinished));
                let run = scene.objects.get("PipelineRun", &run).await?;
                ensure!(
                    run["metadata"]["uid"] == unfinished["metadata"]["uid"]
                        && run["spec"]["status"].is_null(),
                    "{run:#}"
                );
                ensure!(
                    steps(&run)[0]["image"] == "images.example.org/scan:1",
                    "{run:#}"
                );
                let copy = format!("{}-creds-secret", name(&run));
                ensure!(scene.objects.secret(&copy).await?["TOKEN"] == "old");
                Ok(())
            },
        ),
        case(
            "runs::run_whose_copies_are_refused_is_taken_back",
            async |cluster| {
                let onix = Onix::start().await?;
                let faults = Faults::start(&cluster).await?;
                let scene =
                    Scene::with(&cluster, |setup, _| setup.through(&faults).onix(&onix)).await?;
                onix.put("ART_FLOW_x", scene.plain_flow("x"));
                let refused = Action::Answer(StatusCode::UNPROCESSABLE_ENTITY, None);
                faults.add(Rule::of("/secrets", refused).method(Method::POST));
                let request = scene
                    .function
                    .post(&scene.key("ART_FLOW_x"))
                    .header("idempotency-key", "1");
                ask(request.body("in"))
                    .await?
                    .refused(422, "cannot apply K8S resources: ")?;
                ensure!(scene.objects.names("PipelineRun").await?.is_empty());
                ensure!(scene.objects.of_flows("Secret").await?.is_empty());
                Ok(())
            },
        ),
        case(
            "runs::run_that_somebody_cancelled_while_it_was_pending_stays_cancelled",
            async |cluster| {
                let (scene, faults) = scene(&cluster).await?;
                let flow = scene.secret_flow("scan", "hunter2");
                faults.add(Rule::of("/pipelineruns/", failure()).method(Method::PATCH));
                scene.post_as("1", &flow).await?.refused(503, "")?;
                faults.heal();
                let run = name(&pending(&scene).await?).to_owned();
                let cancelled = serde_json::json!({"spec": {"status": "Cancelled"}});
                scene.objects.merge("PipelineRun", &run, cancelled).await?;
                ensure!(scene.post_as("1", &flow).await?.run()? == run);
                let run = scene.objects.run().await?;
                ensure!(run["spec"]["status"] == "Cancelled", "{run:#}");
                Ok(())
            },
        ),
    ]
}

/// A function behind a proxy.
async fn scene(cluster: &Cluster) -> Result<(Scene, Faults)> {
    let faults = Faults::start(cluster).await?;
    let scene = Scene::with(cluster, |setup, _| setup.through(&faults)).await?;
    Ok((scene, faults))
}

/// What ends an event at once: the API server asks for more time than an event has.
fn failure() -> Action {
    Action::Answer(StatusCode::INTERNAL_SERVER_ERROR, Some(60))
}

/// The one run that is pending.
async fn pending(scene: &Scene) -> Result<Value> {
    let mut runs = scene.objects.all("PipelineRun").await?;
    runs.retain(|run| run["spec"]["status"] == "PipelineRunPending");
    ensure!(runs.len() == 1, "{} pending runs", runs.len());
    Ok(runs.remove(0))
}
