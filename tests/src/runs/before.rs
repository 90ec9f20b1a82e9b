//! What was there before: objects that the Artisan runner left, and what people changed by hand.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::{
    case::{Case, case},
    support::{
        Scene,
        objects::{Objects, named, names},
        step,
    },
};

/// The field manager of the original.
const ORIGINAL: &str = "artisan-runner";

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "runs::leftovers_of_the_artisan_runner_are_taken_over_and_removed_entries_are_gone",
            async |cluster| {
                let scene = Scene::new(&cluster).await?;
                leave_behind(&scene.objects).await?;
                let mut flow = scene.secret_flow("scan", "new");
                flow["steps"][0]["input"]["file"] = json!([{"path": "a.txt", "content": "new"}]);
                scene.post(&flow).await?.run()?;
                scene.post(&flow).await?.run()?;

                let creds = scene.objects.secret("scan-creds-secret").await?;
                ensure!(
                    creds
                        .iter()
                        .map(|(k, v)| (k.as_str(), v.as_str()))
                        .eq([("TOKEN", "new")]),
                    "{creds:?}"
                );
                let files = scene.objects.secret("scan-files-secret").await?;
                ensure!(
                    files
                        .iter()
                        .map(|(k, v)| (k.as_str(), v.as_str()))
                        .eq([("a.txt", "new")]),
                    "{files:?}"
                );
                let task = scene.objects.get("Task", "scan-build-task").await?;
                ensure!(names(&task["spec"]["steps"]) == ["scan"], "{task:#}");
                ensure!(
                    task["spec"]["params"].is_null() && task["spec"]["sidecars"].is_null(),
                    "{task:#}"
                );
                ensure!(
                    named(&task["spec"]["steps"], "scan")["script"].is_null(),
                    "{task:#}"
                );
                let pipeline = scene.objects.get("Pipeline", "scan-pl").await?;
                ensure!(
                    names(&pipeline["spec"]["tasks"]) == ["scan-build-task"],
                    "{pipeline:#}"
                );
                for object in [
                    task,
                    pipeline,
                    scene.objects.get("Secret", "scan-creds-secret").await?,
                ] {
                    ensure!(
                        managers(&object) == ["hookrun"],
                        "{:?}",
                        object["metadata"]["managedFields"]
                    );
                }

                // What leaves the flow later leaves the objects, too: nobody else owns it.
                scene.post(&scene.plain_flow("scan")).await?.run()?;
                let task = scene.objects.get("Task", "scan-build-task").await?;
                ensure!(task["spec"]["volumes"].is_null(), "{task:#}");
                ensure!(
                    task["spec"]["steps"][0]["volumeMounts"].is_null(),
                    "{task:#}"
                );
                Ok(())
            },
        ),
        case(
            "runs::leftovers_may_be_of_the_older_tekton_version",
            async |cluster| {
                let scene = Scene::new(&cluster).await?;
                let task = json!({
                    "apiVersion": "tekton.dev/v1beta1", "kind": "Task", "metadata": {"name": "scan-build-task", "namespace": scene.namespace},
                    "spec": {"steps": [{"name": "old", "image": "images.example.org/old:1", "workingDir": "/workspace/source"}]},
                });
                let uri = format!(
                    "/apis/tekton.dev/v1beta1/namespaces/{}/tasks/scan-build-task?fieldManager={ORIGINAL}",
                    scene.namespace
                );
                let request = http::Request::patch(uri)
                    .header("content-type", "application/apply-patch+yaml")
                    .body(task.to_string().into_bytes())?;
                cluster.admin().request::<Value>(request).await?;
                scene.post(&scene.plain_flow("scan")).await?.run()?;
                let task = scene.objects.get("Task", "scan-build-task").await?;
                ensure!(
                    names(&task["spec"]["steps"]) == ["scan"] && managers(&task) == ["hookrun"],
                    "{task:#}"
                );
                Ok(())
            },
        ),
        case(
            "runs::what_people_changed_by_hand_in_a_flow_s_objects_is_overwritten_by_the_next_post",
            async |cluster| {
                let scene = Scene::new(&cluster).await?;
                let flow = scene.flow("scan", json!([step("scan")]));
                scene.post(&flow).await?.run()?;
                let mut task = scene.objects.get("Task", "scan-build-task").await?;
                task["spec"]["steps"][0]["image"] = json!("images.example.org/other:1");
                task["metadata"]["labels"]["team"] = json!("blue");
                let patch = json!({"spec": task["spec"], "metadata": {"labels": task["metadata"]["labels"]}});
                scene
                    .objects
                    .merge("Task", "scan-build-task", patch)
                    .await?;
                scene.post(&flow).await?.run()?;
                let task = scene.objects.get("Task", "scan-build-task").await?;
                ensure!(
                    task["spec"]["steps"][0]["image"] == "images.example.org/scan:1",
                    "{task:#}"
                );
                // A label of their own is theirs.
                ensure!(task["metadata"]["labels"]["team"] == "blue", "{task:#}");
                Ok(())
            },
        ),
    ]
}

/// Applies a flow's objects as the original did, with more in them than the flow has now.
async fn leave_behind(objects: &Objects) -> Result<()> {
    let secret = |name: &str, data: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": "Opaque", "stringData": data});
    for object in [
        json!({
            "apiVersion": "tekton.dev/v1", "kind": "Task", "metadata": {"name": "scan-build-task"},
            "spec": {
                "params": [{"name": "level", "default": "strict"}],
                "sidecars": [{"name": "db", "image": "images.example.org/db:1"}],
                "steps": [
                    {"name": "scan", "image": "images.example.org/old:1", "script": "old"},
                    {"name": "report", "image": "images.example.org/old:1"},
                ],
            },
        }),
        secret(
            "scan-creds-secret",
            json!({"TOKEN": "old", "REMOVED": "old"}),
        ),
        secret(
            "scan-files-secret",
            json!({"a.txt": "old", "removed.txt": "old"}),
        ),
        json!({
            "apiVersion": "tekton.dev/v1", "kind": "Pipeline", "metadata": {"name": "scan-pl"},
            "spec": {
                "params": [{"name": "deployment-name", "type": "string"}, {"name": "more", "default": "x"}],
                "tasks": [{"name": "old", "taskRef": {"name": "scan-build-task"}}],
            },
        }),
    ] {
        objects.apply_as(ORIGINAL, &object).await?;
    }
    Ok(())
}

fn managers(object: &Value) -> Vec<&str> {
    let entries = object["metadata"]["managedFields"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    entries
        .iter()
        .filter_map(|entry| entry["manager"].as_str())
        .collect()
}
