//! Where flows come from: Onix in all its moods, objects of the cluster, a folder.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    case::{Case, case},
    function::repository,
    onix::{Mode, Onix},
    support::{Scene, ask, objects::steps},
};

const BEGINNING: &str = "cannot retrieve Artisan Flow specification from Onix: ";

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "runs::onix_in_every_mood_gets_a_status_and_a_text_that_says_what_to_do",
            async |cluster| {
                let onix = Onix::start().await?;
                let scene = Scene::with(&cluster, |setup, _| {
                    setup.onix(&onix).env("HOOKRUN_FLOW_STORE_TIMEOUT", "1s")
                })
                .await?;
                onix.put("ART_FLOW_x", scene.plain_flow("x"));
                let bytes = |text: &'static str| Mode::Bytes(text.into());
                for (mode, status, words) in [
                    (Mode::Status(StatusCode::NOT_FOUND), 404, "404"),
                    (Mode::Status(StatusCode::UNAUTHORIZED), 502, "OX_WAPI_PWD"),
                    (Mode::Status(StatusCode::FORBIDDEN), 502, "OX_WAPI_PWD"),
                    (Mode::Status(StatusCode::INTERNAL_SERVER_ERROR), 502, "500"),
                    (Mode::Status(StatusCode::NO_CONTENT), 502, "204"),
                    (
                        Mode::Redirect("http://127.0.0.1:9/item/x".to_owned()),
                        502,
                        "redirect",
                    ),
                    (Mode::Close, 502, "cannot be reached"),
                    (Mode::Hang, 504, "within"),
                    (bytes("<html>maintenance</html>"), 502, "not JSON"),
                    (bytes(""), 502, "too early"),
                    (bytes("[]"), 502, ""),
                    (bytes(r#"{"meta":"x"}"#), 502, "meta"),
                ] {
                    onix.behave(mode.clone());
                    let before = Instant::now();
                    let answer = ask(scene.function.post(&scene.key("ART_FLOW_x"))).await?;
                    ensure!(answer.status == status, "{mode:?}: {answer:?}");
                    answer.refused(status, BEGINNING)?;
                    ensure!(answer.text.contains(words), "{mode:?}: {answer:?}");
                    ensure!(
                        before.elapsed() < Duration::from_secs(20),
                        "{mode:?} took {:?}",
                        before.elapsed()
                    );
                    let told = answer.text.clone() + &scene.function.log();
                    ensure!(
                        !told.contains(crate::onix::PASSWORD) && !told.contains("maintenance"),
                        "{told}"
                    );
                }
                // An item without a flow in it is there, and is no flow.
                onix.behave(bytes("{}"));
                ask(scene.function.post(&scene.key("ART_FLOW_x")))
                    .await?
                    .refused(400, "cannot create Artisan flow: ")?;
                scene.objects.ensure_none().await?;

                onix.behave(Mode::Normal);
                ask(scene.function.post(&scene.key("ART_FLOW_x")))
                    .await?
                    .run()?;
                Ok(())
            },
        ),
        case(
            "runs::onix_is_asked_once_with_its_credentials_and_an_escaped_key",
            async |cluster| {
                let onix = Onix::start().await?;
                let scene = Scene::with(&cluster, |setup, _| setup.onix(&onix)).await?;
                onix.put("a%3Fb%23c", scene.plain_flow("x"));
                ask(scene.function.post(&scene.key("a%3Fb%23c")))
                    .await?
                    .run()?;
                let calls = onix.calls();
                ensure!(
                    calls.len() == 1 && calls[0].target == "/item/a%3Fb%23c",
                    "{calls:?}"
                );
                ensure!(
                    calls[0].headers["content-type"] == "application/json",
                    "{calls:?}"
                );
                // What our sender proves to us is none of Onix's business.
                ensure!(
                    !calls[0].headers.contains_key("idempotency-key"),
                    "{calls:?}"
                );
                Ok(())
            },
        ),
        case(
            "runs::onix_behind_tls_needs_its_authority_configured",
            async |cluster| {
                let onix = Onix::start_tls(&cluster).await?;
                let ca = cluster.folder().join("pki/ca.crt").display().to_string();
                let trusting = Scene::with(&cluster, |setup, _| {
                    setup.onix(&onix).env("HOOKRUN_FLOW_STORE_CA", &ca)
                })
                .await?;
                onix.put("ART_FLOW_x", trusting.plain_flow("x"));
                ask(trusting.function.post(&trusting.key("ART_FLOW_x")))
                    .await?
                    .run()?;

                let strange = Scene::with(&cluster, |setup, _| setup.onix(&onix)).await?;
                let answer = ask(strange.function.post(&strange.key("ART_FLOW_x"))).await?;
                answer.refused(502, BEGINNING)?;
                ensure!(
                    answer.text.to_lowercase().contains("certificate"),
                    "{answer:?}"
                );
                ensure!(onix.calls().len() == 1);
                strange.objects.ensure_none().await
            },
        ),
        case("runs::flows_in_a_folder_run_by_key", async |cluster| {
            let folder = cluster.folder().join("flows");
            fs::create_dir_all(&folder)?;
            let scene = Scene::with(&cluster, |setup, _| {
                setup.env(
                    "HOOKRUN_FLOW_STORE",
                    &format!("file://{}", folder.display()),
                )
            })
            .await?;
            fs::write(folder.join("ART_FLOW_x.json"), flow("one").to_string())?;
            run_has_image(&scene, "one").await?;
            // No restart, no cache.
            fs::write(folder.join("ART_FLOW_x.json"), flow("two").to_string())?;
            run_has_image(&scene, "two").await?;

            let unknown = ask(scene.function.post(&scene.key("ART_FLOW_y"))).await?;
            unknown.refused(404, "cannot retrieve Artisan Flow specification")?;
            fs::write(
                cluster.folder().join("outside.json"),
                flow("three").to_string(),
            )?;
            for key in ["..%2Foutside", "%2e%2e%2foutside"] {
                let outside = ask(scene.function.post(&scene.key(key))).await?;
                ensure!([400, 404].contains(&outside.status), "{key}: {outside:?}");
            }
            ensure!(scene.objects.names("PipelineRun").await?.len() == 2);
            Ok(())
        }),
        case(
            "runs::flows_in_config_maps_and_secrets_of_the_cluster_run_by_key",
            async |cluster| {
                let store = cluster.namespace("store").await?;
                let account = cluster.account("hookrun-flow").await?;
                let namespace = cluster.namespace("flows").await?;
                for (manifest, namespace) in [
                    ("knative/namespace/role.yaml", &namespace),
                    ("knative/flows/role.yaml", &store),
                ] {
                    cluster
                        .grant(&repository().join(manifest), namespace, &account)
                        .await?;
                }
                let function = crate::function::Function::on(&cluster)
                    .run_in(&namespace)
                    .account(&account)
                    .env("HOOKRUN_FLOW_STORE", "kubernetes")
                    .env("HOOKRUN_FLOW_STORE_NAMESPACE", &store)
                    .start()
                    .await?;
                let objects = crate::support::objects::Objects::of(cluster.admin(), &namespace);
                let scene = Scene {
                    namespace,
                    objects,
                    function,
                };

                let stored = crate::support::objects::Objects::of(cluster.admin(), &store);
                let labels = json!({"hookrun.dev/flow-key": "ART_FLOW_x"});
                stored.create(&json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "any-name", "labels": labels},
                "data": {"flow.json": flow("one").to_string()},
            })).await?;
                run_has_image(&scene, "one").await?;
                stored.delete("ConfigMap", "any-name").await?;
                stored.create(&json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "art-flow-x", "labels": labels},
                "stringData": {"flow.json": flow("two").to_string()},
            })).await?;
                run_has_image(&scene, "two").await?;
                let unknown = ask(scene.function.post(&scene.key("ART_FLOW_y"))).await?;
                unknown.refused(404, "cannot retrieve Artisan Flow specification")?;
                Ok(())
            },
        ),
    ]
}

/// A stored flow whose only step has this image.
fn flow(image: &str) -> Value {
    json!({"name": "x", "steps": [{"name": "s", "runtime": image, "package": "p/x", "function": "f"}]})
}

async fn run_has_image(scene: &Scene, image: &str) -> Result<()> {
    let run = ask(scene.function.post(&scene.key("ART_FLOW_x")))
        .await?
        .run()?
        .to_owned();
    let run = scene.objects.get("PipelineRun", &run).await?;
    ensure!(steps(&run)[0]["image"] == image, "{run:#}");
    Ok(())
}
