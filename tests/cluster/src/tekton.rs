//! Tekton's webhook and controller as host processes.
//!
//! The API server calls the webhook through a Service of type `ExternalName` that points at `localhost`, which works without
//! root and without a network for pods: the webhook insists on a Service in its configuration and keeps the port that it finds.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use http::{Request, StatusCode};
use kube::{
    Client,
    core::{ApiResource, DynamicObject, GroupVersionKind, TypeMeta},
};
use serde_json::{Value, json};

use crate::{Programs, daemon::Arguments, eventually, image};

pub(crate) const NAMESPACE: &str = "tekton-pipelines";
const SERVICE: &str = "tekton-pipelines-webhook";

/// Creates everything that Tekton needs before it starts: namespace, CRDs, configuration, the way to its webhook.
pub(crate) async fn install(client: &Client, programs: &Programs, port: u16) -> Result<()> {
    let mut objects = programs.objects("tekton-webhook")?;
    for object in &mut objects {
        point_at(object, port);
        if object["metadata"]["name"] == "config-observability" {
            // Its server for metrics would need a port that nobody asks.
            object["data"] = json!({"metrics-protocol": "none"});
        }
    }
    objects.push(json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": SERVICE, "namespace": NAMESPACE},
        "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]},
    }));
    // The rest lives in the namespace, or does not mind.
    let (namespaces, rest): (Vec<_>, Vec<_>) = objects
        .into_iter()
        .partition(|object| object["kind"] == "Namespace");
    for wave in [namespaces, rest] {
        try_join_all(wave.iter().map(|object| create(client, object))).await?;
    }
    eventually(
        "Tekton's types are served",
        Duration::from_secs(30),
        async || {
            let group = client
                .list_api_group_resources("tekton.dev/v1")
                .await
                .map(|list| list.resources.len())
                .unwrap_or(0);
            // pipelineruns, pipelines, taskruns, tasks, and status of the two runs
            Ok((group >= 6).then_some(()))
        },
    )
    .await
}

/// Sets the port in every `clientConfig.service` of an object.
fn point_at(value: &mut Value, port: u16) {
    match value {
        Value::Object(fields) => {
            if let Some(service) = fields
                .get_mut("clientConfig")
                .and_then(|config| config.get_mut("service"))
                .and_then(Value::as_object_mut)
            {
                service.insert("port".to_owned(), port.into());
            }
            fields.values_mut().for_each(|field| point_at(field, port));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| point_at(item, port)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Creates an object of any kind.
pub(crate) async fn create(client: &Client, object: &Value) -> Result<()> {
    let text = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let kind = TypeMeta {
        api_version: text("/apiVersion").to_owned(),
        kind: text("/kind").to_owned(),
    };
    let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(&kind)?);
    let namespace = object
        .pointer("/metadata/namespace")
        .and_then(Value::as_str);
    let url = <DynamicObject as kube::Resource>::url_path(&resource, namespace);
    let request = Request::post(url)
        .header("content-type", "application/json")
        .body(serde_json::to_vec(object)?)?;
    client
        .request::<Value>(request)
        .await
        .with_context(|| format!("create {} {}", kind.kind, text("/metadata/name")))?;
    Ok(())
}

/// How the webhook is started.
pub(crate) fn webhook(programs: &Programs, kubeconfig: &Path, port: u16) -> Arguments {
    arguments(programs, "tekton-webhook", kubeconfig)
        .env(
            "CONFIG_LEADERELECTION_NAME",
            "config-leader-election-webhook",
        )
        .env("WEBHOOK_SERVICE_NAME", SERVICE)
        .env("WEBHOOK_SECRET_NAME", "webhook-certs")
        .env(
            "WEBHOOK_ADMISSION_CONTROLLER_NAME",
            "webhook.pipeline.tekton.dev",
        )
        .env("WEBHOOK_PORT", port.to_string())
}

/// How the controller is started. Without a node, the pods that it makes stay pending: a test finishes one by writing its
/// status.
pub(crate) fn controller(programs: &Programs, kubeconfig: &Path) -> Arguments {
    let start = arguments(programs, "tekton-controller", kubeconfig).env(
        "CONFIG_LEADERELECTION_NAME",
        "config-leader-election-controller",
    );
    [
        ("-entrypoint-image", "tekton-entrypoint"),
        ("-nop-image", "tekton-nop"),
        ("-workingdirinit-image", "tekton-workingdirinit"),
        ("-shell-image", "busybox"),
        // Asked for, and not used as Tekton is configured.
        ("-sidecarlogresults-image", "tekton-nop"),
        ("-shell-image-win", "busybox"),
    ]
    .into_iter()
    .fold(start, |arguments, (flag, image)| {
        arguments.word(flag).word(image::name(image))
    })
}

fn arguments(programs: &Programs, name: &str, kubeconfig: &Path) -> Arguments {
    Arguments::of(programs.path(name))
        .path("-kubeconfig", kubeconfig)
        // The only ones of their kind, so they need not wait for a lease.
        .word("-disable-ha")
        .env("SYSTEM_NAMESPACE", NAMESPACE)
        .env("CONFIG_DEFAULTS_NAME", "config-defaults")
        .env("CONFIG_LOGGING_NAME", "config-logging")
        .env("CONFIG_OBSERVABILITY_NAME", "config-observability")
        .env("CONFIG_FEATURE_FLAGS_NAME", "feature-flags")
        .env("CONFIG_SPIRE", "config-spire")
        .env("KUBERNETES_MIN_VERSION", "v1.28.0")
        .env("METRICS_DOMAIN", "tekton.dev/pipeline")
        // Any free port: nobody asks there.
        .env("PROBES_PORT", "0")
        .env("PROFILING_PORT", "0")
}

/// Waits until the webhook refuses what is wrong and lets pass what is right.
pub(crate) async fn admits(client: &Client) -> Result<()> {
    let ask = async |name: &str, spec: Value| -> Result<String> {
        let request =
            Request::post("/apis/tekton.dev/v1/namespaces/default/pipelineruns?dryRun=All")
                .header("content-type", "application/json")
                .body(serde_json::to_vec(&json!({
                    "apiVersion": "tekton.dev/v1",
                    "kind": "PipelineRun",
                    "metadata": {"name": name},
                    "spec": spec,
                }))?)?;
        Ok(match client.request::<Value>(request).await {
            Ok(_) => String::new(),
            Err(kube::Error::Api(status)) if status.code != StatusCode::SERVICE_UNAVAILABLE => {
                status.message
            }
            Err(error) => error.to_string(),
        })
    };
    let right = json!({"pipelineRef": {"name": "any"}});
    let wrong = json!({
        "pipelineRef": {"name": "any"},
        "pipelineSpec": {"tasks": [{"name": "t", "taskRef": {"name": "t"}}]},
    });
    eventually(
        "Tekton's webhook admits",
        Duration::from_secs(60),
        async || {
            let refused = ask("wrong", wrong.clone()).await?;
            let admitted = ask("right", right.clone()).await?;
            Ok(
                (refused.contains("expected exactly one, got both") && admitted.is_empty())
                    .then_some(()),
            )
        },
    )
    .await
}
