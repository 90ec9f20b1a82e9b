//! Knative Serving behind Kourier, and Knative Eventing, as pods on a node that runs; Tekton Triggers too, where it is wanted.
//!
//! Objects come from the YAML of their modules, and images are made of programs built from the same modules. What a small
//! node without a way out needs changed is in [`edit`], and nowhere else.
//!
//! Never here: an image that is pulled.

mod admission;
mod edit;
mod explain;
mod images;

use std::{
    net::IpAddr,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use futures_util::{StreamExt, TryStreamExt, stream};
use http::StatusCode;
use k8s_openapi::{
    api::apps::v1::Deployment,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind, TypeMeta},
};
use serde_json::Value;
use tokio::{runtime::Handle, task::block_in_place};

use crate::{Programs, Tier, eventually, until};

/// The programs with the objects of a system, and the smallest cluster that has it.
const SYSTEMS: [(Tier, &str); 4] = [
    (Tier::Platform, "serving-controller"),
    (Tier::Platform, "kourier-controller"),
    (Tier::Platform, "eventing-controller"),
    (Tier::Comparison, "triggers-controller"),
];

/// Where their Deployments are.
const NAMESPACES: [&str; 4] = [
    "knative-serving",
    "kourier-system",
    "knative-eventing",
    "tekton-pipelines",
];

/// How long everything may take to be ready; a busy machine is slow.
const PATIENCE: Duration = Duration::from_secs(240);

/// Requests to the API server at a time.
const AT_ONCE: usize = 16;

/// Installs the systems of a tier and waits until they are ready, telling on standard error how far it is.
///
/// `gateway` is the address of the node at which requests from outside arrive, and `import` gives the image in an archive to
/// the node's containerd.
///
/// # Errors
/// An object names an image that is not in the table of programs, or is refused, or does not get ready; in this case the text
/// tells which and why.
pub(crate) async fn install(
    client: &Client,
    programs: &Programs,
    tier: Tier,
    gateway: IpAddr,
    import: &(dyn Fn(&Path) -> Result<()> + Sync),
) -> Result<()> {
    eprintln!("cluster: platform: images and objects");
    let mut objects = Vec::new();
    for (_, system) in SYSTEMS.iter().filter(|(least, _)| *least <= tier) {
        objects.extend(programs.objects(system)?);
    }
    let [types, rest, running] = waves(edit::all(objects, gateway)?);

    // Pods come last: without its image, one would wait for seconds before it tries again.
    let runtime = Handle::current();
    block_in_place(|| {
        thread::scope(|scope| {
            let images = scope.spawn(|| images::load(programs, tier, import));
            runtime.block_on(async {
                apply(client, types).await?;
                apply(client, rest).await
            })?;
            images
                .join()
                .map_err(|_| anyhow!("a thread has panicked"))?
        })
    })?;
    apply(client, running).await?;

    available(client).await?;
    admission::answers(client, tier, PATIENCE).await
}

/// Objects in the order in which they are created: what others need to exist; what nobody acts upon yet; what runs, and what
/// calls it.
fn waves(objects: Vec<Value>) -> [Vec<Value>; 3] {
    let mut waves = [const { Vec::new() }; 3];
    for object in objects {
        let wave = match object["kind"].as_str() {
            Some("Namespace" | "CustomResourceDefinition") => 0,
            // Nothing is admitted before the webhook behind it runs.
            Some(
                "Deployment" | "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration",
            ) => 2,
            _ => 1,
        };
        waves[wave].push(object);
    }
    waves
}

/// Creates objects, or changes them to what they should be; types are served afterwards.
async fn apply(client: &Client, objects: Vec<Value>) -> Result<()> {
    stream::iter(objects)
        .map(async |object| {
            let kind = TypeMeta {
                api_version: text(&object, "/apiVersion").to_owned(),
                kind: text(&object, "/kind").to_owned(),
            };
            let name = text(&object, "/metadata/name");
            apply_one(client, &kind, name, &object)
                .await
                .with_context(|| format!("{} {name}", kind.kind))
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

async fn apply_one(client: &Client, kind: &TypeMeta, name: &str, object: &Value) -> Result<()> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(kind)?);
    let api: Api<DynamicObject> = match text(object, "/metadata/namespace") {
        "" => Api::all_with(client.clone(), &resource),
        namespace => Api::namespaced_with(client.clone(), namespace, &resource),
    };
    let whose = PatchParams::apply("hookrun-cluster").force();
    eventually("it is accepted", PATIENCE, async || {
        match api.patch(name, &whose, &Patch::Apply(object)).await {
            Ok(_) => Ok(Some(())),
            // Its type is established, and the API server needs a moment until it serves it.
            Err(kube::Error::Api(status)) if status.code == StatusCode::NOT_FOUND => Ok(None),
            Err(error) => Err(error.into()),
        }
    })
    .await?;
    if kind.kind == "CustomResourceDefinition" {
        let types: Api<CustomResourceDefinition> = Api::all(client.clone());
        until("the type is established", PATIENCE, async || {
            let conditions = types.get(name).await?.status.and_then(|s| s.conditions);
            Ok(conditions
                .iter()
                .flatten()
                .any(|condition| condition.type_ == "Established" && condition.status == "True"))
        })
        .await?;
    }
    Ok(())
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Waits until all Deployments are available.
async fn available(client: &Client) -> Result<()> {
    let began = Instant::now();
    let mut told = 0;
    loop {
        let mut deployments = Vec::new();
        for namespace in NAMESPACES {
            let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
            deployments.extend(api.list(&Default::default()).await?);
        }
        let (ready, waiting): (Vec<_>, Vec<_>) = deployments.iter().partition(|d| is_available(d));
        if ready.len() > told || deployments.is_empty() {
            told = ready.len();
            let all = deployments.len();
            eprintln!("cluster: platform: {told} of {all} Deployments are available");
        }
        if waiting.is_empty() {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            let mut reasons = Vec::new();
            for deployment in waiting {
                reasons.push(explain::unavailable(client, deployment).await?);
            }
            bail!("not available after {PATIENCE:?}:\n{}", reasons.join("\n"));
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Whether the pods of the newest template are there, and ready.
fn is_available(deployment: &Deployment) -> bool {
    let wanted = deployment.spec.replicas.unwrap_or(1);
    deployment.status.as_ref().is_some_and(|status| {
        status.observed_generation == deployment.metadata.generation
            && status.updated_replicas.unwrap_or(0) >= wanted
            && status.available_replicas.unwrap_or(0) >= wanted
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_calls_a_webhook_comes_after_everything_that_it_would_refuse() {
        let kinds = [
            "ValidatingWebhookConfiguration",
            "Certificate",
            "Deployment",
            "CustomResourceDefinition",
            "ConfigMap",
            "Namespace",
        ];
        let waves = waves(kinds.iter().map(|kind| json!({"kind": kind})).collect());
        let kinds: [Vec<String>; 3] =
            waves.map(|wave| wave.iter().map(|o| text(o, "/kind").to_owned()).collect());
        let expected: [Vec<String>; 3] = [
            vec!["CustomResourceDefinition".into(), "Namespace".into()],
            vec!["Certificate".into(), "ConfigMap".into()],
            vec!["ValidatingWebhookConfiguration".into(), "Deployment".into()],
        ];
        assert_eq!(kinds, expected);
    }

    #[test]
    fn a_deployment_is_available_when_all_its_newest_pods_are() {
        let deployment = |spec: Value, status: Value| -> Deployment {
            serde_json::from_value(json!({
                "metadata": {"name": "d", "generation": 2},
                "spec": {"replicas": spec, "selector": {}, "template": {}},
                "status": status,
            }))
            .unwrap()
        };
        let up = json!({"observedGeneration": 2, "updatedReplicas": 1, "availableReplicas": 1});
        let behind = json!({"observedGeneration": 1, "updatedReplicas": 1, "availableReplicas": 1});
        let starting = json!({"observedGeneration": 2, "updatedReplicas": 1});
        assert!(is_available(&deployment(json!(null), up.clone())));
        assert!(!is_available(&deployment(json!(2), up)));
        assert!(!is_available(&deployment(json!(1), behind)));
        assert!(!is_available(&deployment(json!(1), starting.clone())));
        // As the server of PingSources while there is none.
        assert!(is_available(&deployment(json!(0), starting)));
    }
}
