//! What a Broker is told: an empty body, final errors as codes that Eventing does not repeat, the others as 503.

use std::time::Duration;

use anyhow::ensure;
use control_plane::until;
use http::{Method, StatusCode};
use serde_json::json;

use super::{batch, binary, event, structured};
use crate::{
    case::{Case, case},
    faults::{Action, Faults, Rule},
    onix::{Mode, Onix},
    support::{Scene, ask},
};

/// How long the garbage collector may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "events::broker_is_told_422_where_a_repeat_is_of_no_use",
            async |cluster| {
                let onix = Onix::start().await?;
                let scene = Scene::with(&cluster, |setup, _| setup.onix(&onix)).await?;
                let elsewhere =
                    crate::support::flow("scan", "kube-system", json!([crate::support::step("s")]));
                let (key, name) = (scene.key("ART_FLOW_unknown"), scene.name("unknown"));
                // Path, data, what a plain sender is told, what a Broker is told.
                for (path, data, plain, broker) in [
                    (key.as_str(), json!({}), 404, 422),
                    (name.as_str(), json!({}), 404, 422),
                    ("/nothing", json!({}), 404, 422),
                    ("/flow", json!({"name": "x"}), 400, 400),
                    ("/flow", elsewhere, 403, 403),
                ] {
                    let post = || scene.function.post(path);
                    let answer = ask(post().body(data.to_string())).await?;
                    ensure!(
                        answer.status == plain && !answer.text.is_empty(),
                        "{path}: {answer:?}"
                    );
                    for request in [
                        binary(post(), "1", data.to_string()),
                        structured(post(), "1", &data),
                        batch(post(), &[event("1", &data)]),
                    ] {
                        let answer = ask(request).await?;
                        answer.told_to_broker(broker)?;
                        ensure!(answer.text.is_empty(), "{path}: {answer:?}");
                    }
                }
                scene.objects.ensure_none().await
            },
        ),
        case(
            "events::broker_is_told_503_where_a_repeat_may_help",
            async |cluster| {
                let onix = Onix::start().await?;
                let faults = Faults::start(&cluster).await?;
                let scene = Scene::with(&cluster, |setup, _| {
                    setup
                        .onix(&onix)
                        .through(&faults)
                        .env("HOOKRUN_FLOW_STORE_TIMEOUT", "2s")
                })
                .await?;
                onix.put("ART_FLOW_x", scene.plain_flow("x"));
                let post = || binary(scene.function.post(&scene.key("ART_FLOW_x")), "1", "{}");
                for mode in [
                    Mode::Close,
                    Mode::Hang,
                    Mode::Status(StatusCode::SERVICE_UNAVAILABLE),
                    Mode::Status(StatusCode::INTERNAL_SERVER_ERROR),
                ] {
                    onix.behave(mode.clone());
                    let answer = ask(post()).await?;
                    ensure!(
                        answer.status == 503
                            && answer.text.is_empty()
                            && !answer.header("retry-after").is_empty(),
                        "{mode:?}: {answer:?}"
                    );
                }
                onix.behave(Mode::Normal);
                faults.add(Rule::of(
                    "/pipelineruns",
                    Action::Answer(StatusCode::TOO_MANY_REQUESTS, Some(60)),
                ));
                let answer = ask(post()).await?;
                ensure!(
                    answer.status == 503 && answer.header("retry-after") == "60",
                    "{answer:?}"
                );
                faults.heal();
                ask(post()).await?.told_to_broker(200)?;
                ensure!(scene.objects.names("PipelineRun").await?.len() == 1);
                Ok(())
            },
        ),
        case(
            "events::broker_s_batch_is_repeated_while_one_event_may_still_succeed",
            async |cluster| {
                let faults = Faults::start(&cluster).await?;
                let scene = Scene::with(&cluster, |setup, _| setup.through(&faults)).await?;
                let events = [
                    event("1", &scene.plain_flow("one")),
                    event("2", &json!({"name": "no flow"})),
                    event("3", &scene.plain_flow("three")),
                ];
                let post = || batch(scene.function.post("/flow"), &events);
                faults.add(Rule::of(
                    "/tasks/one-build-task",
                    Action::Answer(StatusCode::INTERNAL_SERVER_ERROR, Some(60)),
                ));
                ask(post()).await?.told_to_broker(503)?;
                faults.heal();
                // What is left is final, and the others have run.
                ask(post()).await?.told_to_broker(400)?;
                ensure!(scene.objects.names("PipelineRun").await?.len() == 2);
                Ok(())
            },
        ),
        case(
            "events::broker_is_told_422_and_a_plain_sender_409_where_a_foreign_run_has_the_name",
            async |cluster| {
                let scene = Scene::new(&cluster).await?;
                let flow = scene.secret_flow("scan", "hunter2");
                let run = scene.post_as("1", &flow).await?.run()?.to_owned();
                let event = binary(scene.function.post("/flow"), "1", flow.to_string());
                let other = ask(event)
                    .await?
                    .header("hookrun-run")
                    .split('/')
                    .next_back()
                    .unwrap_or_default()
                    .to_owned();
                for run in [&run, &other] {
                    let foreign = json!({"metadata": {"annotations": {"hookrun.dev/event": "somebody else's"}}});
                    scene.objects.merge("PipelineRun", run, foreign).await?;
                    // What is on record answers for itself; without it the run is in the way.
                    scene.objects.delete("Delivery", run).await?;
                }
                until("what it owned is gone", PATIENCE, async || {
                    let kept = scene.objects.selected("Secret", "hookrun.dev/delivery");
                    Ok(kept.await?.is_empty())
                })
                .await?;
                let answer = scene.post_as("1", &flow).await?;
                answer.refused(409, "cannot apply kubernetes resources: ")?;
                ensure!(answer.text.contains(&run), "{answer:?}");
                ask(binary(scene.function.post("/flow"), "1", flow.to_string()))
                    .await?
                    .told_to_broker(422)?;
                ensure!(scene.objects.names("PipelineRun").await?.len() == 2);
                Ok(())
            },
        ),
        case(
            "events::broker_s_event_that_is_none_is_refused_for_good",
            async |cluster| {
                let scene = Scene::new(&cluster).await?;
                let flow = scene.plain_flow("scan");
                let post = || scene.function.post("/flow");
                let mut without_id = event("1", &flow);
                without_id.as_object_mut().map(|event| event.remove("id"));
                let mut old = event("1", &flow);
                old["specversion"] = json!("0.2");
                for request in [
                    post()
                        .header("ce-specversion", "1.0")
                        .body(flow.to_string()),
                    post()
                        .header("content-type", "application/cloudevents+json")
                        .body("{"),
                    post()
                        .header("content-type", "application/cloudevents+json")
                        .body("[]"),
                    post()
                        .header("content-type", "application/cloudevents+json")
                        .body(without_id.to_string()),
                    post()
                        .header("content-type", "application/cloudevents+json")
                        .body(old.to_string()),
                    batch(post(), &[event("1", &flow), without_id]),
                    post()
                        .header("content-type", "application/cloudevents-batch+json")
                        .body(event("1", &flow).to_string()),
                ] {
                    let answer = ask(request).await?;
                    answer.told_to_broker(400)?;
                }
                scene.objects.ensure_none().await?;
                ensure!(ask(scene.function.request(Method::GET, "/")).await?.status == 200);
                Ok(())
            },
        ),
    ]
}
