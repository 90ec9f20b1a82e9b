//! Flows in ConfigMaps and Secrets of the real API server, read with exactly the rights that the manifests give.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use control_plane::Cluster;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, api::PostParams};
use serde_json::{Value, json};
use store::{Class, Credentials, FlowStore, FlowStoreOptions, Source, connected};

use crate::{case::Case, cases};

/// The cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    cases![
        flows_are_found_by_name_and_by_label,
        two_objects_with_one_key_are_a_conflict,
        without_rights_nothing_is_found_out,
    ]
}

/// A namespace with flows, and the store of a process that may read them.
struct Flows {
    cluster: Arc<Cluster>,
    namespace: String,
}

impl Flows {
    async fn new(cluster: Arc<Cluster>) -> Result<Self> {
        let namespace = cluster.namespace("flows").await?;
        Ok(Self { cluster, namespace })
    }

    async fn config(&self, object: Value) -> Result<()> {
        let api: Api<ConfigMap> = Api::namespaced(self.cluster.admin(), &self.namespace);
        api.create(&PostParams::default(), &serde_json::from_value(object)?)
            .await?;
        Ok(())
    }

    async fn secret(&self, object: Value) -> Result<()> {
        let api: Api<Secret> = Api::namespaced(self.cluster.admin(), &self.namespace);
        api.create(&PostParams::default(), &serde_json::from_value(object)?)
            .await?;
        Ok(())
    }

    /// The store as an account with or without the Role of `knative/flows` has it.
    async fn store(&self, may_read: bool) -> Result<Arc<dyn FlowStore>> {
        let account = self.cluster.account("flow-store").await?;
        if may_read {
            let role = Path::new(env!("CARGO_MANIFEST_DIR")).join("../knative/flows/role.yaml");
            self.cluster.grant(&role, &self.namespace, &account).await?;
        }
        let options = FlowStoreOptions {
            flow_store: Source::Kubernetes,
            flow_store_namespace: Some(self.namespace.clone()),
            flow_store_ca: None,
            flow_store_timeout: Duration::from_secs(30),
            flow_store_max_bytes: 1 << 20,
            onix_uri: None,
            onix_user: None,
            onix_password: None,
            onix_user_file: None,
            onix_password_file: None,
        };
        Ok(options.open(
            &Credentials::default(),
            connected(self.cluster.client(&account.token).await?),
        ))
    }
}

fn marked(name: &str, key: &str) -> Value {
    json!({ "name": name, "labels": { "hookrun.dev/flow-key": key } })
}

async fn flows_are_found_by_name_and_by_label(cluster: Arc<Cluster>) -> Result<()> {
    let flows = Flows::new(cluster).await?;
    let file = |text: &str| json!({ "flow.json": text, "README": "not it" });
    flows.config(json!({ "metadata": marked("art-flow-a", "ART_FLOW_a"), "data": file("in a config map") })).await?;
    flows.secret(json!({ "metadata": marked("art-flow-b", "ART_FLOW_b"), "stringData": file("in a secret") })).await?;
    flows
        .config(
            json!({ "metadata": marked("nightly", "ART_FLOW_c"), "data": { "any": "by label" } }),
        )
        .await?;
    let annotated =
        json!({ "name": "team-a.b", "annotations": { "hookrun.dev/flow-key": "Team/A.b" } });
    flows
        .config(json!({ "metadata": annotated, "binaryData": { "flow.json": "YmluYXJ5" } }))
        .await?;
    let store = flows.store(true).await?;
    for (key, flow) in [
        ("ART_FLOW_a", "in a config map"),
        ("ART_FLOW_b", "in a secret"),
        ("ART_FLOW_c", "by label"),
        ("Team/A.b", "binary"),
    ] {
        let found = store.get(key).await?;
        ensure!(found == flow, "{key}: {found:?}");
    }
    // Another key with the same name, a key with the name of an object that is no flow, a key that no name can be.
    for key in ["ART-FLOW-a", "kube-root-ca.crt", "../../x", "__"] {
        let error = store.get(key).await.unwrap_err();
        ensure!(error.class() == Class::NotFound, "{key}: {error}");
    }
    Ok(())
}

async fn two_objects_with_one_key_are_a_conflict(cluster: Arc<Cluster>) -> Result<()> {
    let flows = Flows::new(cluster).await?;
    for name in ["one", "two", "three"] {
        flows
            .config(
                json!({ "metadata": marked(name, "ART_FLOW_x"), "data": { "flow.json": "{}" } }),
            )
            .await?;
    }
    let error = flows
        .store(true)
        .await?
        .get("ART_FLOW_x")
        .await
        .unwrap_err();
    ensure!(error.class() == Class::Conflict, "{error}");
    Ok(())
}

async fn without_rights_nothing_is_found_out(cluster: Arc<Cluster>) -> Result<()> {
    let flows = Flows::new(cluster).await?;
    flows.config(json!({ "metadata": marked("art-flow-x", "ART_FLOW_x"), "data": { "flow.json": "{}" } })).await?;
    let store = flows.store(false).await?;
    for key in ["ART_FLOW_x", "ART_FLOW_y"] {
        let error = store.get(key).await.unwrap_err();
        ensure!(error.slug() == "store-refused", "{key}: {error}");
    }
    Ok(())
}
