//! The Task `hookrun-fetch`, and the Pipeline of `docs/hooks.md` that uses it: what real admission says to them, and
//! that one Hook starts it for small events and for large ones.

use std::{fs, sync::Arc};

use anyhow::{Context, Result, ensure};
use control_plane::Cluster;
use serde_json::{Value, json};
use store::Reference;

use super::scene::{SECRET, Scene, accepted, push};
use crate::{
    case::Case,
    cases,
    function::repository,
    manifests::build::{documents, render},
    s3::{BUCKET, S3},
    support::objects::{Objects, entries, name, named},
};

pub(super) fn cases() -> Vec<Case> {
    cases![
        a_restricted_namespace_takes_the_step_and_the_image_is_that_of_the_functions,
        the_pipeline_of_the_documents_takes_small_and_large_events,
    ]
}

/// The Task, as a folder of manifests makes it.
fn task(cluster: &Cluster, folder: &str) -> Result<Value> {
    let objects = render(cluster, folder)?;
    let task = objects.into_iter().find(|object| object["kind"] == "Task");
    task.with_context(|| format!("no Task in {folder}"))
}

async fn a_restricted_namespace_takes_the_step_and_the_image_is_that_of_the_functions(
    cluster: Arc<Cluster>,
) -> Result<()> {
    for (folder, image) in [
        ("knative/tasks", "hookrun:0.1.0"),
        (
            "examples/install/namespace",
            "registry.example.com/hookrun:0.1.0",
        ),
    ] {
        let task = task(&cluster, folder)?;
        let step = &task["spec"]["steps"][0];
        ensure!(step["image"] == image, "{folder}: {step:#}");
    }
    let task = task(&cluster, "knative/tasks")?;
    let namespace = cluster.namespace("restricted").await?;
    let level =
        json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
    let request = http::Request::patch(format!("/api/v1/namespaces/{namespace}"))
        .header("content-type", "application/merge-patch+json")
        .body(level.to_string().into_bytes())?;
    cluster.admin().request::<Value>(request).await?;

    let objects = Objects::of(cluster.admin(), &namespace);
    let step = &task["spec"]["steps"][0];
    let pod = |security: &Value| {
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "fetch"},
            "spec": {"serviceAccountName": "pipeline", "containers": [{
                "name": step["name"], "image": step["image"], "command": step["command"], "args": step["args"],
                "resources": step["computeResources"], "securityContext": security,
            }]},
        })
    };
    objects.admit(&pod(&step["securityContext"])).await?;
    // The level is in force: without what the step says, it is refused.
    let refused = objects.admit(&pod(&json!({}))).await;
    ensure!(refused.is_err(), "{refused:?}");
    Ok(())
}

/// The Pipeline and the Hook of the documents.
fn documented() -> Result<[Value; 2]> {
    let page = fs::read_to_string(repository().join("docs/hooks.md"))?;
    let mut blocks = page.split("```yaml\n").skip(1);
    let block = blocks.find(|block| block.contains("name: hookrun-fetch"));
    let (block, _) = block
        .and_then(|block| block.split_once("```"))
        .context("no Pipeline in docs/hooks.md")?;
    let found = documents(block)?;
    <[Value; 2]>::try_from(found).map_err(|found| anyhow::anyhow!("{} documents", found.len()))
}

async fn the_pipeline_of_the_documents_takes_small_and_large_events(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let s3 = S3::start(&cluster).await?;
    let scene = Scene::new(&cluster).await?;
    let [pipeline, mut hook] = documented()?;
    scene
        .objects
        .create(&task(&cluster, "knative/tasks")?)
        .await?;
    scene.objects.create(&pipeline).await?;
    // Nobody executes it: there is no node, and no volume.
    hook["spec"]["rules"][0]["pipelineRun"]["spec"]["managedBy"] =
        "tests.hookrun.dev/nobody".into();
    scene.secret("large-webhook", SECRET).await?;
    scene.objects.create(&hook).await?;

    let setup = scene
        .setup()
        .env("HOOKRUN_PAYLOAD_STORE", &format!("s3://{BUCKET}/pay"));
    let environment = s3.environment().into_iter();
    let function = environment
        .fold(setup, |setup, (name, value)| setup.env(&name, &value))
        .start()
        .await?;
    let sender = scene.sender(name(&hook), SECRET);
    let mut large: Value = serde_json::from_slice(&push("large")?)?;
    large["padding"] = "x".repeat(2 << 20).into();
    for (id, body, expected) in [
        ("small", push("small")?, &["push.json"][..]),
        (
            "large",
            large.to_string().into_bytes(),
            &["digest", "file", "size", "url"],
        ),
    ] {
        let told = accepted(&sender.send(&function, "push", id, &body).await?)?;
        ensure!(told["outcome"] == "Created", "{id}: {told:#}");
        let run = told["runs"][0]["run"].as_str().context("no run")?;
        let run = scene.objects.get("PipelineRun", run).await?;
        let workspaces = &run["spec"]["workspaces"];
        ensure!(
            named(workspaces, "work")["volumeClaimTemplate"].is_object(),
            "{id}: {workspaces:#}"
        );
        let secret = named(workspaces, "event")["secret"]["secretName"]
            .as_str()
            .context("no Secret")?;
        let secret = entries(&scene.objects.get("Secret", secret).await?);
        let found: Vec<&str> = secret.keys().map(String::as_str).collect();
        ensure!(found == expected, "{id}: {found:?}");
        if let Some(file) = secret.get(Reference::FILE) {
            ensure!(file == b"push.json", "{file:?}");
        }
    }
    Ok(())
}
