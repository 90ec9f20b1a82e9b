//! One event, one run: whatever the mode, however often it comes.

use anyhow::ensure;
use serde_json::json;

use super::{SOURCE, batch, binary, event, structured};
use crate::{
    case::{Case, case},
    onix::Onix,
    support::{
        Scene, ask,
        objects::{entries, name},
    },
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "events::event_in_binary_structured_and_batch_mode_is_one_event",
            async |cluster| {
                let scene = Scene::new(&cluster).await?;
                let flow = scene.plain_flow("scan");
                let post = || scene.function.post("/flow");

                let first = ask(binary(post(), "1", flow.to_string())).await?;
                first.told_to_broker(200)?;
                let run = scene.objects.run().await?;
                let identity = format!("cloudevent {SOURCE} 1");
                ensure!(
                    run["metadata"]["annotations"]["hookrun.dev/event"] == identity,
                    "{run:#}"
                );
                ensure!(
                    first.header("hookrun-run") == format!("{}/{}", scene.namespace, name(&run)),
                    "{first:?}"
                );

                for request in [
                    binary(post(), "1", flow.to_string()),
                    structured(post(), "1", &flow),
                    batch(post(), &[event("1", &flow)]),
                ] {
                    ask(request).await?.told_to_broker(200)?;
                    ensure!(name(&scene.objects.run().await?) == name(&run));
                }
                ask(batch(
                    post(),
                    &[event("1", &flow), event("2", &flow), event("3", &flow)],
                ))
                .await?
                .told_to_broker(200)?;
                ensure!(scene.objects.names("PipelineRun").await?.len() == 3);
                ask(batch(post(), &[])).await?.told_to_broker(200)?;
                ensure!(scene.objects.names("PipelineRun").await?.len() == 3);
                Ok(())
            },
        ),
        case(
            "events::event_with_the_same_id_from_another_source_is_another_event",
            async |cluster| {
                let scene = Scene::new(&cluster).await?;
                let mut other = event("1", &scene.plain_flow("scan"));
                ask(batch(scene.function.post("/flow"), &[other.clone()]))
                    .await?
                    .told_to_broker(200)?;
                other["source"] = json!("/elsewhere");
                ask(batch(scene.function.post("/flow"), &[other]))
                    .await?
                    .told_to_broker(200)?;
                ensure!(scene.objects.names("PipelineRun").await?.len() == 2);
                Ok(())
            },
        ),
        case(
            "events::event_data_reaches_the_run_byte_for_byte_in_every_mode",
            async |cluster| {
                let onix = Onix::start().await?;
                let scene = Scene::with(&cluster, |setup, _| setup.onix(&onix)).await?;
                onix.put("ART_FLOW_x", scene.plain_flow("x"));
                let post = || scene.function.post(&scene.key("ART_FLOW_x"));
                let head = format!(r#""specversion":"1.0","source":"{SOURCE}","type":"t""#);
                // Numbers and white space that a reader which re-writes JSON would change.
                let odd = r#"{"b": 1.10, "a":1e3,"big":12345678901234567890123}"#;
                let bytes: &[u8] = &[0, 159, 146, 150, 255];
                let requests = [
                    (binary(post(), "1", odd), odd.as_bytes()),
                    (binary(post(), "2", bytes.to_vec()), bytes),
                    (
                        post()
                            .header("content-type", "application/cloudevents+json")
                            .body(format!(r#"{{{head},"id":"3","data":{odd}}}"#)),
                        odd.as_bytes(),
                    ),
                    (
                        post()
                            .header("content-type", "application/cloudevents-batch+json")
                            .body(format!(r#"[{{{head},"id":"4","data_base64":"AJ+Slv8="}}]"#)),
                        bytes,
                    ),
                ];
                for (request, expected) in requests {
                    let answer = ask(request).await?;
                    answer.told_to_broker(200)?;
                    let found = entries(&match answer.header("hookrun-run").split_once('/') {
                        Some((_, run)) => {
                            scene
                                .objects
                                .get("Secret", &format!("{run}-context-secret"))
                                .await?
                        }
                        // A batch names no single run.
                        None => latest_payload(&scene).await?,
                    });
                    ensure!(
                        found["context"] == expected,
                        "{:?}",
                        String::from_utf8_lossy(&found["context"])
                    );
                }
                Ok(())
            },
        ),
        case(
            "events::event_with_an_idempotency_key_has_one_run_and_one_answer",
            async |cluster| {
                let scene = Scene::new(&cluster).await?;
                let flow = scene.secret_flow("scan", "hunter2");
                let first = scene.post_as("upload-17", &flow).await?;
                let again = scene.post_as("upload-17", &flow).await?;
                first.run()?;
                ensure!(
                    first.text == again.text
                        && first.headers.get("hookrun-run") == again.headers.get("hookrun-run"),
                    "{again:?}"
                );
                ensure!(scene.objects.names("PipelineRun").await?.len() == 1);

                ensure!(scene.post_as("upload-18", &flow).await?.run()? != first.run()?);
                ensure!(scene.objects.names("PipelineRun").await?.len() == 2);
                for wrong in ["", &"k".repeat(256)] {
                    scene
                        .post_as(wrong, &flow)
                        .await?
                        .refused(400, "cannot read request payload: ")?;
                }
                ensure!(scene.objects.names("PipelineRun").await?.len() == 2);
                Ok(())
            },
        ),
        case(
            "events::event_that_comes_late_again_does_not_bring_old_content_back",
            async |cluster| {
                let scene = Scene::new(&cluster).await?;
                let (old, new) = (
                    scene.secret_flow("scan", "old"),
                    scene.secret_flow("scan", "new"),
                );
                let first = scene.post_as("1", &old).await?;
                scene.post_as("2", &new).await?.run()?;
                ensure!(scene.post_as("1", &old).await?.text == first.text);
                ensure!(scene.objects.secret("scan-creds-secret").await?["TOKEN"] == "new");
                ensure!(scene.objects.names("PipelineRun").await?.len() == 2);
                Ok(())
            },
        ),
        case(
            "events::event_whose_stored_flow_was_edited_meanwhile_still_has_one_run",
            async |cluster| {
                let onix = Onix::start().await?;
                let scene = Scene::with(&cluster, |setup, _| setup.onix(&onix)).await?;
                onix.put("ART_FLOW_x", scene.plain_flow("x"));
                let post = async || {
                    ask(scene
                        .function
                        .post(&scene.key("ART_FLOW_x"))
                        .header("idempotency-key", "1")
                        .body("in"))
                    .await
                };
                let first = post().await?;
                onix.put("ART_FLOW_x", scene.plain_flow("renamed"));
                ensure!(post().await?.text == first.text);
                ensure!(scene.objects.names("PipelineRun").await?.len() == 1);
                Ok(())
            },
        ),
        case(
            "events::event_with_one_identity_for_two_addressees_has_two_runs",
            async |cluster| {
                let scene = Scene::new(&cluster).await?;
                let posted = scene
                    .post_as("1", &scene.plain_flow("scan"))
                    .await?
                    .run()?
                    .to_owned();
                let request = scene
                    .function
                    .post(&scene.name("scan"))
                    .header("idempotency-key", "1");
                let named = ask(request).await?.run()?.to_owned();
                ensure!(posted != named && scene.objects.names("PipelineRun").await?.len() == 2);
                Ok(())
            },
        ),
    ]
}

/// The payload of the youngest run, by the order in which their events were numbered.
async fn latest_payload(scene: &Scene) -> anyhow::Result<serde_json::Value> {
    let runs = scene.objects.all("PipelineRun").await?;
    let newest = runs.iter().max_by_key(|run| {
        run["metadata"]["annotations"]["hookrun.dev/event"]
            .as_str()
            .map(str::to_owned)
    });
    let run = newest.map(name).unwrap_or_default();
    scene
        .objects
        .get("Secret", &format!("{run}-context-secret"))
        .await
}
