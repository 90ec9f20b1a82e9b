//! Flows that Onix keeps: run by key with a payload, and shown.

use anyhow::{Result, ensure};
use control_plane::Cluster;
use serde_json::{Value, json};

use super::documents::{catalogue, is_run_of, mount_paths};
use crate::{
    case::{Case, case},
    onix::Onix,
    support::{
        Scene, ask,
        objects::{entries, named, names, steps},
        step,
    },
};

const BUCKET: &str = r#"{"bucket":"in"}"#;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "acceptance_08_a_stored_flow_runs_in_the_namespace_of_the_path_with_the_body_as_a_file",
            async |cluster| {
                let (scene, onix) = scene(&cluster).await?;
                onix.put("ART_FLOW_x", two_steps());
                let request = scene
                    .function
                    .post(&scene.key("ART_FLOW_x"))
                    .header("idempotency-key", "upload 17");
                let run = ask(request.body(BUCKET)).await?.run()?.to_owned();
                ensure!(is_run_of("x", &run), "{run}");
                scene.objects.expect("acceptance_08").await?;

                ensure!(
                    scene
                        .objects
                        .secret(&format!("{run}-context-secret"))
                        .await?["context"]
                        == BUCKET
                );
                ensure!(
                    scene.objects.secret(&format!("{run}-files-secret")).await?["list.txt"]
                        == "a\nb\n"
                );
                let run = scene.objects.get("PipelineRun", &run).await?;
                for step in ["first", "second"] {
                    ensure!(
                        mount_paths(named(steps(&run), step)) == ["/files"],
                        "{run:#}"
                    );
                }
                ensure!(onix.calls().len() == 1);
                Ok(())
            },
        ),
        case(
            "acceptance_08_a_body_of_any_bytes_arrives_as_it_was_sent",
            async |cluster| {
                let (scene, onix) = scene(&cluster).await?;
                onix.put("ART_FLOW_x", two_steps());
                let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
                let run = ask(scene
                    .function
                    .post(&scene.key("ART_FLOW_x"))
                    .body(bytes.clone()))
                .await?
                .run()?
                .to_owned();
                let secret = scene
                    .objects
                    .get("Secret", &format!("{run}-context-secret"))
                    .await?;
                ensure!(entries(&secret)["context"] == bytes);
                Ok(())
            },
        ),
        case(
            "acceptance_08_the_body_goes_before_a_file_of_the_same_name",
            async |cluster| {
                let (scene, onix) = scene(&cluster).await?;
                let mut flow = two_steps();
                flow["steps"][0]["input"]["file"][0]["path"] = json!("context");
                onix.put("ART_FLOW_x", flow);
                let run = ask(scene.function.post(&scene.key("ART_FLOW_x")).body(BUCKET))
                    .await?
                    .run()?
                    .to_owned();
                ensure!(
                    scene
                        .objects
                        .secret(&format!("{run}-context-secret"))
                        .await?["context"]
                        == BUCKET
                );
                let run = scene.objects.get("PipelineRun", &run).await?;
                let volumes = &run["spec"]["pipelineSpec"]["tasks"][0]["taskSpec"]["volumes"];
                for source in volumes[0]["projected"]["sources"]
                    .as_array()
                    .into_iter()
                    .flatten()
                {
                    let secret = scene
                        .objects
                        .secret(source["secret"]["name"].as_str().unwrap_or_default())
                        .await?;
                    ensure!(
                        secret.get("context").is_none_or(|text| text == BUCKET),
                        "two files of one name: {volumes:#}"
                    );
                }
                Ok(())
            },
        ),
        case(
            "acceptance_09_without_a_body_there_is_no_file",
            async |cluster| {
                let (scene, onix) = scene(&cluster).await?;
                onix.put("ART_FLOW_x", two_steps());
                let request = scene
                    .function
                    .post(&scene.key("ART_FLOW_x"))
                    .header("idempotency-key", "empty");
                let run = ask(request).await?.run()?.to_owned();
                scene.objects.expect("acceptance_09").await?;

                ensure!(
                    scene
                        .objects
                        .find("Secret", &format!("{run}-context-secret"))
                        .await?
                        .is_none()
                );
                let run = scene.objects.get("PipelineRun", &run).await?;
                ensure!(
                    mount_paths(named(steps(&run), "first")) == ["/files"],
                    "{run:#}"
                );
                ensure!(
                    mount_paths(named(steps(&run), "second")).is_empty(),
                    "{run:#}"
                );
                Ok(())
            },
        ),
        case(
            "acceptance_10_a_stored_flow_needs_no_labels",
            async |cluster| {
                let (scene, onix) = scene(&cluster).await?;
                for labels in [None, Some(json!(null)), Some(json!({}))] {
                    let mut flow = two_steps();
                    match labels {
                        Some(labels) => flow["labels"] = labels,
                        None => drop(flow.as_object_mut().and_then(|flow| flow.remove("labels"))),
                    }
                    onix.put("ART_FLOW_x", flow);
                    ask(scene.function.post(&scene.key("ART_FLOW_x")).body(BUCKET))
                        .await?
                        .run()?;
                }
                ensure!(scene.objects.names("PipelineRun").await?.len() == 3);
                Ok(())
            },
        ),
        case(
            "acceptance_11_an_unknown_key_is_not_found_and_nothing_is_applied",
            async |cluster| {
                let (scene, onix) = scene(&cluster).await?;
                let answer =
                    ask(scene.function.post(&scene.key("ART_FLOW_x")).body(BUCKET)).await?;
                answer.refused(
                    404,
                    "cannot retrieve Artisan Flow specification from Onix: ",
                )?;
                let answer = ask(scene.function.get("/flow/key/ART_FLOW_x")).await?;
                answer.refused(
                    404,
                    "cannot retrieve Artisan Flow specification from Onix: ",
                )?;
                ensure!(onix.calls().len() == 2);
                scene.objects.ensure_none().await
            },
        ),
        case(
            "acceptance_12_without_onix_only_runs_by_key_fail_and_say_what_is_missing",
            async |cluster| {
                let scene = Scene::new(&cluster).await?;
                let answer =
                    ask(scene.function.post(&scene.key("ART_FLOW_x")).body(BUCKET)).await?;
                answer.refused(
                    500,
                    "cannot retrieve Artisan Flow specification from Onix: ",
                )?;
                ensure!(
                    answer
                        .text
                        .contains("configuration variable 'OX_WAPI_URI' is undefined"),
                    "{answer:?}"
                );
                scene.objects.ensure_none().await?;
                scene.post(&scene.plain_flow("works")).await?.run()?;
                Ok(())
            },
        ),
        case(
            "acceptance_24_a_stored_flow_is_shown_without_its_secrets_and_unknown_fields",
            async |cluster| {
                let (scene, onix) = scene(&cluster).await?;
                let mut stored = catalogue("team-red");
                stored["steps"][0]["zzz"] = json!("unknown");
                onix.put("ART_FLOW_x", stored);

                let answer = ask(scene.function.get("/flow/key/ART_FLOW_x")).await?;
                ensure!(
                    answer.status == 200 && answer.header("content-type") == "application/json",
                    "{answer:?}"
                );
                for hidden in ["robot", "s3cret", "t0ken", "BEGIN PGP", "zzz"] {
                    ensure!(!answer.text.contains(hidden), "{hidden}: {answer:?}");
                }
                let shown: Value = serde_json::from_str(&answer.text)?;
                ensure!(
                    shown["Name"] == "parts-catalogue-setup" && shown["labels"]["tier"] == "lab",
                    "{shown:#}"
                );
                ensure!(
                    names(&shown["steps"]) == ["fetch-scaffold", "overlay-config", "build-image"],
                    "{shown:#}"
                );
                let input = &shown["steps"][0]["input"];
                ensure!(input["var"][0]["value"] == "parts", "{input:#}");
                ensure!(
                    input["secret"][0]["name"]
                        == "PARTS_CATALOGUE_SETUP_FETCH_SCAFFOLD_OXART_REG_USER",
                    "{input:#}"
                );
                ensure!(
                    shown["steps"][2]["input"]["file"][0]["Content"] == "layers=false\n",
                    "{shown:#}"
                );
                scene.objects.ensure_none().await?;

                // Credentials that are wrong, or none, disclose nothing.
                let path = "/flow/key/ART_FLOW_x";
                for request in [
                    scene.function.anonymous(http::Method::GET, path),
                    scene
                        .function
                        .anonymous(http::Method::GET, path)
                        .basic_auth("admin", Some("adm1n")),
                ] {
                    let answer = ask(request).await?;
                    ensure!(
                        answer.status == 401 && !answer.text.contains("catalogue"),
                        "{answer:?}"
                    );
                }
                ensure!(onix.calls().len() == 1);
                Ok(())
            },
        ),
    ]
}

/// A function that finds its flows in an Onix of its own.
async fn scene(cluster: &Cluster) -> Result<(Scene, Onix)> {
    let onix = Onix::start().await?;
    let scene = Scene::with(cluster, |setup, _| setup.onix(&onix)).await?;
    Ok((scene, onix))
}

/// A stored flow for another namespace, one of whose steps has a file.
fn two_steps() -> Value {
    let mut first = step("first");
    first["input"] = json!({"file": [{"name": "LIST", "path": "list.txt", "content": "a\nb\n"}]});
    json!({"name": "x", "labels": {"namespace": "team-red"}, "steps": [first, step("second")]})
}
