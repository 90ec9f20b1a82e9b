//! What must hold when the dust has settled, whatever happened before: one run per event, started, with all that it needs;
//! and nothing in the cluster that belongs to nobody.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use control_plane::{Cluster, until};
use flows::label;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Resource, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams},
};
use serde_json::Value;

use crate::{function::Function, samples::CANARY};

/// How long the garbage collector may take; it first has to notice.
const COLLECTION: Duration = Duration::from_secs(60);

/// PipelineRuns of a namespace.
#[must_use]
pub fn runs(cluster: &Cluster, namespace: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("tekton.dev", "v1", "PipelineRun");
    Api::namespaced_with(cluster.admin(), namespace, &ApiResource::from_gvk(&kind))
}

/// Deliveries of a namespace.
#[must_use]
pub fn deliveries(cluster: &Cluster, namespace: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("hookrun.dev", "v1alpha1", "Delivery");
    let kind = ApiResource::from_gvk_with_plural(&kind, "deliveries");
    Api::namespaced_with(cluster.admin(), namespace, &kind)
}

/// Secrets of a namespace.
#[must_use]
pub fn secrets(cluster: &Cluster, namespace: &str) -> Api<Secret> {
    Api::namespaced(cluster.admin(), namespace)
}

/// Everything of a kind that carries our label.
fn ours() -> ListParams {
    ListParams::default().labels(&format!("{}={}", label::MANAGED_BY, label::HOOKRUN))
}

/// The runs of a namespace by the identity of their event, after checking that each has one of its own.
///
/// # Errors
/// An event has two runs.
pub async fn runs_by_event(
    cluster: &Cluster,
    namespace: &str,
) -> Result<BTreeMap<String, DynamicObject>> {
    let mut found = BTreeMap::new();
    for run in runs(cluster, namespace).list(&ours()).await? {
        let event = run
            .annotations()
            .get(label::EVENT)
            .with_context(|| format!("run {} does not tell its event", run.name_any()))?
            .clone();
        let name = run.name_any();
        let other = found.insert(event.clone(), run);
        ensure!(
            other.is_none(),
            "{event:?} has two runs: {name} and {}",
            other.map(|run| run.name_any()).unwrap_or_default()
        );
    }
    Ok(found)
}

/// Checks that exactly these events have a run each, and a Delivery of its name; that no run waits; that whatever a run refers
/// to exists and is the run's own; and that in the end no Secret of ours stays that is neither owned by a living run or
/// Delivery nor a flow's latest.
///
/// # Errors
/// Which of it does not hold.
pub async fn holds(cluster: &Cluster, namespace: &str, events: &[String]) -> Result<()> {
    let found = runs_by_event(cluster, namespace).await?;
    let expected: BTreeSet<String> = events.iter().map(|key| identity(key)).collect();
    let actual: BTreeSet<String> = found.keys().cloned().collect();
    let lost: Vec<_> = expected.difference(&actual).collect();
    let extra: Vec<_> = actual.difference(&expected).collect();
    ensure!(
        lost.is_empty() && extra.is_empty(),
        "events without a run: {lost:?}; runs of nobody's event: {extra:?}"
    );
    for run in found.values() {
        complete(cluster, namespace, run).await?;
    }
    recorded(cluster, namespace, &found).await?;
    until("no Secret belongs to nobody", COLLECTION, async || {
        Ok(orphans(cluster, namespace).await?.is_empty())
    })
    .await
    .context(format!(
        "left over: {:?}",
        orphans(cluster, namespace).await?
    ))
}

/// Checks that every run has a Delivery that says so, and that there are no others. That the run was started may be written
/// down by the next one who looks.
async fn recorded(
    cluster: &Cluster,
    namespace: &str,
    runs: &BTreeMap<String, DynamicObject>,
) -> Result<()> {
    let mut events = BTreeMap::new();
    for delivery in deliveries(cluster, namespace).list(&ours()).await? {
        let record = &delivery.data;
        let outcome = record["outcome"].as_str().unwrap_or_default();
        ensure!(
            ["Created", "Received"].contains(&outcome)
                && record["rules"][0]["run"] == delivery.name_any().as_str(),
            "{record:#}"
        );
        let event = record["key"].as_str().unwrap_or_default().to_owned();
        events.insert(event, delivery.name_any());
    }
    let runs: BTreeMap<_, _> = runs
        .iter()
        .map(|(event, run)| (event.clone(), run.name_any()))
        .collect();
    ensure!(events == runs, "on record: {events:#?}; runs: {runs:#?}");
    Ok(())
}

/// The text under which an `Idempotency-Key` stands in a run's annotation.
#[must_use]
pub fn identity(key: &str) -> String {
    format!("idempotency-key {key}")
}

/// Checks one run: it is not waiting, and every Secret that it refers to exists and is its own.
///
/// # Errors
/// Which of it does not hold.
pub async fn complete(cluster: &Cluster, namespace: &str, run: &DynamicObject) -> Result<()> {
    let name = run.name_any();
    ensure!(
        run.data["spec"]["status"].is_null(),
        "run {name} was left waiting"
    );
    let uid = run.uid().context("a run without uid")?;
    for secret in references(&run.data["spec"]) {
        let found = secrets(cluster, namespace)
            .get_opt(&secret)
            .await?
            .with_context(|| format!("run {name} refers to Secret {secret}, which is missing"))?;
        ensure!(
            found
                .owner_references()
                .iter()
                .any(|owner| owner.uid == uid),
            "run {name} refers to Secret {secret}, which it does not own: {:?}",
            found.meta()
        );
    }
    Ok(())
}

/// Names of all Secrets that a value refers to, wherever they are.
#[must_use]
pub fn references(value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(value, &mut found);
    found
}

fn collect(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(fields) => {
            for (field, value) in fields {
                let name = match field.as_str() {
                    "secretName" => Some(value),
                    // Of `env`, and of a projected volume.
                    "secretKeyRef" | "secret" => value.get("name"),
                    _ => None,
                };
                found.extend(name.and_then(Value::as_str).map(str::to_owned));
                collect(value, found);
            }
        }
        _ => {}
    }
}

/// Secrets of ours that are neither owned by a living run or Delivery nor a flow's latest.
async fn orphans(cluster: &Cluster, namespace: &str) -> Result<Vec<String>> {
    // In this order: whoever owns a Secret of this list was there before it.
    let secrets = secrets(cluster, namespace).list(&ours()).await?;
    let mut living = BTreeSet::new();
    for owners in [runs(cluster, namespace), deliveries(cluster, namespace)] {
        let owners = owners.list(&ours()).await?;
        living.extend(owners.iter().filter_map(ResourceExt::uid));
    }
    Ok(secrets
        .iter()
        .filter(|secret| {
            let owners = secret.owner_references();
            let latest = owners.is_empty()
                && ["creds", "keys", "files"].iter().any(|set| {
                    let flow = &secret.labels()[label::FLOW];
                    secret.name_any() == format!("{flow}-{set}-secret")
                });
            let owned = owners.iter().any(|owner| living.contains(&owner.uid));
            !latest && !owned
        })
        .map(ResourceExt::name_any)
        .collect())
}

/// The entry `context` of a run's own Secret: the payload that it will read.
///
/// # Errors
/// There is none.
pub async fn context(cluster: &Cluster, namespace: &str, run: &str) -> Result<String> {
    let secret = secrets(cluster, namespace)
        .get(&format!("{run}-context-secret"))
        .await?;
    let data = secret.data.unwrap_or_default();
    let bytes = data.get("context").context("no entry `context`")?;
    Ok(String::from_utf8(bytes.0.clone())?)
}

/// The entry of a Secret.
///
/// # Errors
/// There is no such Secret or entry.
pub async fn entry(
    cluster: &Cluster,
    namespace: &str,
    secret: &str,
    entry: &str,
) -> Result<String> {
    let secret = secrets(cluster, namespace).get(secret).await?;
    let data = secret.data.unwrap_or_default();
    let bytes = data
        .get(entry)
        .with_context(|| format!("no entry {entry}"))?;
    Ok(String::from_utf8(bytes.0.clone())?)
}

/// Deletes all runs of a namespace and checks that everything that they owned goes with them. It also frees the control plane
/// of their pods.
///
/// # Errors
/// Something stays.
pub async fn vanishes_with_its_runs(cluster: &Cluster, namespace: &str) -> Result<()> {
    runs(cluster, namespace)
        .delete_collection(&DeleteParams::background(), &ours())
        .await?;
    until("the runs are gone", COLLECTION, async || {
        let left = runs(cluster, namespace).list(&ours().limit(1)).await?;
        Ok(left.items.is_empty())
    })
    .await?;
    until("what they owned is gone", COLLECTION, async || {
        let secrets = secrets(cluster, namespace).list(&ours()).await?;
        let of_run = |secret: &Secret| {
            let mut owners = secret.owner_references().iter();
            owners.any(|owner| owner.kind == "PipelineRun")
        };
        Ok(!secrets.iter().any(of_run))
    })
    .await
}

/// Checks that a log tells neither secrets nor payloads, nor of a panic.
///
/// # Errors
/// The line that does.
pub fn discreet(function: &Function) -> Result<()> {
    discreet_log(&function.log())
}

/// [`discreet`], for the log of a process that has ended.
///
/// # Errors
/// The line that does.
pub fn discreet_log(log: &str) -> Result<()> {
    let encoded = BASE64_STANDARD.encode(CANARY);
    // Whole groups only: what follows the canary shares the last one. Secrets of the samples begin with it.
    let encoded = &encoded[..CANARY.len() / 3 * 4];
    for line in log.lines() {
        ensure!(
            !line.contains(CANARY) && !line.contains(encoded),
            "the log tells a secret: {line}"
        );
        ensure!(!line.contains("panicked"), "a panic: {line}");
    }
    Ok(())
}
