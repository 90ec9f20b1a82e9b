//! What a run is to own: Secrets that hold the payload, say where it lies, or hold what its flow needs.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use cluster::{Cluster, Fault, SECRETS};
use flows::tekton::{Metadata, Secret};
use hooks::{
    Delivery,
    delivery::{RuleRecord, RunPayload},
    run::MANAGED_BY,
};
use serde_json::Value;
use store::{Class, Reference};

use super::Came;
use crate::{
    Deliveries,
    payload::{self, Kept},
    resource, stores,
};

impl Deliveries {
    /// The Secret by which a run gets the payload, or learns where it lies.
    pub(super) async fn copy(
        &self,
        cluster: &Cluster,
        delivery: &Delivery,
        rule: &RuleRecord,
        RunPayload {
            secret_name,
            file,
            text,
        }: &RunPayload,
        bytes: Option<&Result<Bytes, payload::Error>>,
    ) -> Result<Secret, Came> {
        let stored = &delivery.record.payload;
        let entry = |name: &str, value: &[u8]| (name.to_owned(), BASE64_STANDARD.encode(value));
        let data = match (text, &stored.object, bytes) {
            (Some(text), _, _) => BTreeMap::from([entry(file, text.as_bytes())]),
            (None, Some(object), _) => {
                let place = self.place(cluster, delivery, object).await?;
                let entries = place.entries(file);
                entries
                    .map(|(name, text)| entry(name, text.as_bytes()))
                    .into()
            }
            (None, None, Some(Ok(bytes))) => BTreeMap::from([entry(file, bytes)]),
            (None, None, Some(Err(error))) if error.is_final() => {
                return Err(Came::failed(error.to_string()));
            }
            (None, None, Some(Err(error))) => return Err(Came::waits(error.to_string())),
            (None, None, None) => return Err(Came::failed("the payload is nowhere")),
        };
        secret(delivery, rule, secret_name, data)
    }

    /// Where a run can fetch the payload from, from now on.
    async fn place(
        &self,
        cluster: &Cluster,
        delivery: &Delivery,
        object: &str,
    ) -> Result<Reference, Came> {
        let store = self.payloads.as_ref().ok_or_else(|| {
            Came::waits(
                "the payload lies in an object store, and none is configured here (HOOKRUN_PAYLOAD_STORE)",
            )
        })?;
        let signed = stores::sign(store, cluster, delivery, object).await;
        signed.map_err(|error| match error.class() {
            // It does not come back by itself.
            Class::NotFound => Came::failed(error.to_string()),
            _ => Came::waits(format!("cannot sign the payload's URL: {error}")),
        })
    }
}

/// Names of the Secrets that hold what a run is to own.
pub(crate) fn copies_of(run: &Value) -> impl Iterator<Item = &str> {
    let names = run["metadata"]["annotations"][resource::COPIES].as_str();
    names.into_iter().flat_map(|names| names.split(','))
}

/// What the run of a flow is to own, from where its Delivery keeps it, as far as it is not at hand.
pub(super) async fn kept_copies(
    cluster: &Cluster,
    delivery: &Delivery,
    rule: &RuleRecord,
    at_hand: &[Kept],
) -> Result<Vec<Secret>, Came> {
    let mut copies = Vec::new();
    for kept in rule.pipeline_run.iter().flat_map(copies_of) {
        let data = match at_hand.iter().find(|one| one.name == kept) {
            Some(one) => one.data.clone(),
            None => read(cluster, delivery, kept).await?,
        };
        let name = kept.rsplit_once('-').map_or(kept, |(name, _digits)| name);
        copies.push(secret(delivery, rule, name, data)?);
    }
    Ok(copies)
}

/// The content of a Secret of the Delivery.
async fn read(
    cluster: &Cluster,
    delivery: &Delivery,
    name: &str,
) -> Result<BTreeMap<String, String>, Came> {
    let namespace = &delivery.metadata.namespace;
    let found: Result<Option<payload::Data>, Fault> = cluster.find(SECRETS, namespace, name).await;
    let lost = || Came::failed(format!("Secret {name:?}, which the run needs, is lost"));
    Ok(found.map_err(Came::of)?.ok_or_else(lost)?.data)
}

/// A Secret that a run owns.
fn secret(
    delivery: &Delivery,
    rule: &RuleRecord,
    name: &str,
    data: BTreeMap<String, String>,
) -> Result<Secret, Came> {
    let namespace = delivery.metadata.namespace.parse();
    let namespace = namespace.map_err(|_| Came::failed("the namespace is no legal name"))?;
    let mut labels = BTreeMap::from([(MANAGED_BY.to_owned(), flows::label::HOOKRUN.to_owned())]);
    let run = rule.run.clone();
    labels.extend(run.map(|run| (flows::label::RUN.to_owned(), run)));
    let told = |part: &str, name: &str| {
        let text = rule.pipeline_run.as_ref()?["metadata"][part][name].as_str()?;
        Some((name.to_owned(), text.to_owned()))
    };
    labels.extend(told("labels", flows::label::FLOW));
    let metadata = Metadata {
        name: name.to_owned(),
        namespace,
        labels,
        annotations: told("annotations", flows::label::FLOW_NAME)
            .into_iter()
            .collect(),
        owner_references: Vec::new(),
    };
    Ok(Secret::new(metadata, data).sealed())
}
