//! A run is a snapshot: it embeds its steps, owns copies of its data, and takes them along when it goes.

use std::{collections::BTreeSet, process::Command, time::Duration};

use anyhow::ensure;
use control_plane::until;
use futures_util::future::try_join_all;
use serde_json::{Value, json};

use crate::{
    case::{Case, case},
    onix::Onix,
    support::{
        Scene, ask,
        objects::{name, named, steps},
    },
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "runs::run_of_each_of_several_events_at_once_has_its_own_payload_and_secrets",
            async |cluster| {
                let onix = Onix::start().await?;
                let scene = Scene::with(&cluster, |setup, _| setup.onix(&onix)).await?;
                let scene = &scene;
                onix.put("ART_FLOW_x", scene.secret_flow("x", "stored"));
                // Payloads by key, and secrets in posted flows of one name, all at the same time.
                let payloads = (0..8).map(async |n: i32| {
                    let request = scene
                        .function
                        .post(&scene.key("ART_FLOW_x"))
                        .body(format!("payload {n}"));
                    Ok::<_, anyhow::Error>((
                        ask(request).await?.run()?.to_owned(),
                        "context",
                        format!("payload {n}"),
                    ))
                });
                let secrets = (0..8).map(async |n: i32| {
                    let answer = scene
                        .post(&scene.secret_flow("y", &format!("secret {n}")))
                        .await?;
                    Ok::<_, anyhow::Error>((
                        answer.run()?.to_owned(),
                        "creds",
                        format!("secret {n}"),
                    ))
                });
                let (payloads, secrets) =
                    tokio::try_join!(try_join_all(payloads), try_join_all(secrets))?;
                let names: BTreeSet<_> = payloads
                    .iter()
                    .chain(&secrets)
                    .map(|(run, ..)| run)
                    .collect();
                ensure!(names.len() == 16);
                for (run, set, expected) in payloads.iter().chain(&secrets) {
                    let copy = scene.objects.secret(&format!("{run}-{set}-secret")).await?;
                    let entry = if *set == "context" {
                        "context"
                    } else {
                        "TOKEN"
                    };
                    ensure!(copy[entry] == *expected, "{run}: {copy:?}");
                    let object = scene.objects.get("PipelineRun", run).await?;
                    ensure!(
                        foreign_secrets(&object).is_empty(),
                        "{run} mounts {:?}",
                        foreign_secrets(&object)
                    );
                    ensure!(object["spec"]["status"].is_null(), "{object:#}");
                }
                Ok(())
            },
        ),
        case(
            "runs::run_takes_its_secrets_along_when_it_is_deleted",
            async |cluster| {
                let onix = Onix::start().await?;
                let scene = Scene::with(&cluster, |setup, _| setup.onix(&onix)).await?;
                onix.put("ART_FLOW_x", scene.secret_flow("x", "hunter2"));
                let gone = ask(scene.function.post(&scene.key("ART_FLOW_x")).body("one"))
                    .await?
                    .run()?
                    .to_owned();
                let stays = ask(scene.function.post(&scene.key("ART_FLOW_x")).body("two"))
                    .await?
                    .run()?
                    .to_owned();

                let run = scene.objects.get("PipelineRun", &gone).await?;
                for set in ["creds", "context"] {
                    let copy = scene
                        .objects
                        .get("Secret", &format!("{gone}-{set}-secret"))
                        .await?;
                    let owner = json!([{
                        "apiVersion": "tekton.dev/v1",
                        "kind": "PipelineRun",
                        "name": gone,
                        "uid": run["metadata"]["uid"],
                        "controller": true,
                        "blockOwnerDeletion": false,
                    }]);
                    ensure!(
                        copy["metadata"]["ownerReferences"] == owner && copy["immutable"] == true,
                        "{copy:#}"
                    );
                }
                scene.objects.delete("PipelineRun", &gone).await?;
                let expected = [
                    format!("{stays}-context-secret"),
                    format!("{stays}-creds-secret"),
                    "x-creds-secret".to_owned(),
                ];
                until(
                    "only the other run's copies are left",
                    Duration::from_secs(60),
                    async || {
                        let left = scene.objects.of_flows("Secret").await?;
                        let left: BTreeSet<_> = left.iter().map(name).collect();
                        Ok(left == expected.iter().map(String::as_str).collect())
                    },
                )
                .await
            },
        ),
        case(
            "runs::run_by_name_embeds_what_the_cluster_holds_and_owns_copies_of_it",
            async |cluster| {
                let scene = Scene::new(&cluster).await?;
                let mut flow = scene.secret_flow("shop-ci", "first");
                flow["steps"][0]["input"]["file"] = json!([{"path": "list.txt", "content": "one"}]);
                scene.post_as("1", &flow).await?.run()?;
                let run = ask(scene.function.post(&scene.name("shop-ci")))
                    .await?
                    .run()?
                    .to_owned();

                // Edited afterwards, in the cluster and by a post: the run does not change.
                scene
                    .post_as("2", &scene.secret_flow("shop-ci", "second"))
                    .await?
                    .run()?;
                let object = scene.objects.get("PipelineRun", &run).await?;
                ensure!(
                    foreign_secrets(&object).is_empty(),
                    "mounts {:?}",
                    foreign_secrets(&object)
                );
                ensure!(
                    object["spec"]["pipelineRef"].is_null() && steps(&object)[0]["name"] == "scan",
                    "{object:#}"
                );
                ensure!(object["spec"]["status"].is_null(), "{object:#}");
                for (set, entry, value) in
                    [("creds", "TOKEN", "first"), ("files", "list.txt", "one")]
                {
                    let copy = scene
                        .objects
                        .get("Secret", &format!("{run}-{set}-secret"))
                        .await?;
                    ensure!(
                        copy["metadata"]["ownerReferences"][0]["uid"] == object["metadata"]["uid"],
                        "{copy:#}"
                    );
                    ensure!(scene.objects.secret(name(&copy)).await?[entry] == value);
                }
                Ok(())
            },
        ),
        case(
            "runs::run_by_name_of_a_pipeline_that_people_wrote_keeps_what_we_do_not_know",
            async |cluster| {
                let scene = Scene::new(&cluster).await?;
                scene.objects.create(&json!({
                "apiVersion": "tekton.dev/v1", "kind": "Task", "metadata": {"name": "lint"},
                "spec": {
                    "params": [{"name": "level", "default": "strict"}],
                    "results": [{"name": "count", "description": "findings"}],
                    "steps": [{"name": "lint", "image": "images.example.org/lint:1", "script": "lint --level $(params.level) > $(results.count.path)"}],
                    "sidecars": [{"name": "db", "image": "images.example.org/db:1"}],
                },
            })).await?;
                scene.objects.create(&json!({
                "apiVersion": "tekton.dev/v1", "kind": "Pipeline", "metadata": {"name": "shop-pl"},
                "spec": {"tasks": [
                    {"name": "one", "taskRef": {"name": "lint"}},
                    {"name": "two", "taskRef": {"name": "lint"}, "runAfter": ["one"], "params": [{"name": "level", "value": "$(tasks.one.results.count)"}]},
                ]},
            })).await?;
                let run = ask(scene.function.post(&scene.name("shop")))
                    .await?
                    .run()?
                    .to_owned();
                let run = scene.objects.get("PipelineRun", &run).await?;
                let tasks = &run["spec"]["pipelineSpec"]["tasks"];
                let spec = &named(tasks, "two")["taskSpec"];
                ensure!(
                    spec["sidecars"][0]["name"] == "db" && spec["results"][0]["name"] == "count",
                    "{run:#}"
                );
                ensure!(named(tasks, "two")["runAfter"] == json!(["one"]), "{run:#}");
                ensure!(
                    named(tasks, "two")["params"][0]["value"] == "$(tasks.one.results.count)",
                    "{run:#}"
                );
                Ok(())
            },
        ),
        case(
            "runs::run_and_everything_of_its_flow_are_found_by_one_label",
            async |cluster| {
                let onix = Onix::start().await?;
                let scene = Scene::with(&cluster, |setup, _| setup.onix(&onix)).await?;
                onix.put(
                    "ART_FLOW_scan",
                    scene.secret_flow("Nightly Scan", "hunter2"),
                );
                let by_key = ask(scene.function.post(&scene.key("ART_FLOW_scan")).body("in"))
                    .await?
                    .run()?
                    .to_owned();
                let posted = scene
                    .post(&scene.secret_flow("Nightly Scan", "hunter2"))
                    .await?
                    .run()?
                    .to_owned();
                let by_name = ask(scene.function.post(&scene.name("Nightly%20Scan")))
                    .await?
                    .run()?
                    .to_owned();
                scene.post(&scene.plain_flow("another")).await?.run()?;

                let output = Command::new(cluster.programs().path("kubectl"))
                    .arg("--kubeconfig")
                    .arg(cluster.folder().join("admin.kubeconfig"))
                    .args([
                        "--namespace",
                        &scene.namespace,
                        "--selector",
                        "hookrun.dev/flow=nightly-scan",
                        "--output",
                        "name",
                    ])
                    .args(["get", "pipelineruns,tasks,pipelines,secrets"])
                    .output()?;
                ensure!(
                    output.status.success(),
                    "{}",
                    String::from_utf8_lossy(&output.stderr)
                );
                let found: BTreeSet<String> = String::from_utf8(output.stdout)?
                    .lines()
                    .map(str::to_owned)
                    .collect();
                let mut expected = BTreeSet::from([
                    "task.tekton.dev/nightly-scan-build-task".to_owned(),
                    "pipeline.tekton.dev/nightly-scan-pl".to_owned(),
                    "secret/nightly-scan-creds-secret".to_owned(),
                    format!("secret/{by_key}-context-secret"),
                ]);
                for run in [&by_key, &posted, &by_name] {
                    expected.insert(format!("pipelinerun.tekton.dev/{run}"));
                    expected.insert(format!("secret/{run}-creds-secret"));
                }
                ensure!(found == expected, "{found:#?}");
                Ok(())
            },
        ),
        case(
            "runs::run_continues_the_trace_of_its_event",
            async |cluster| {
                let scene = Scene::new(&cluster).await?;
                let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
                let request = scene
                    .function
                    .post("/flow")
                    .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
                let run = ask(request.body(scene.plain_flow("scan").to_string()))
                    .await?
                    .run()?
                    .to_owned();
                let run = scene.objects.get("PipelineRun", &run).await?;
                let annotation =
                    run["metadata"]["annotations"]["tekton.dev/pipelinerunSpanContext"]
                        .as_str()
                        .unwrap_or("{}");
                let carried: Value = serde_json::from_str(annotation)?;
                let parent = carried["traceparent"].as_str().unwrap_or_default();
                ensure!(
                    parent.starts_with(&format!("00-{trace}-")) && parent.len() == 55,
                    "{run:#}"
                );
                Ok(())
            },
        ),
    ]
}

/// The Secrets that a run refers to and does not own.
fn foreign_secrets(run: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect(&run["spec"], &mut found);
    found.retain(|secret| !secret.starts_with(name(run)));
    found
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let secret = match field.as_str() {
                    "secretName" => value.as_str(),
                    "secret" | "secretKeyRef" | "secretRef" => value["name"].as_str(),
                    _ => None,
                };
                found.extend(secret.map(str::to_owned));
                collect(value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
