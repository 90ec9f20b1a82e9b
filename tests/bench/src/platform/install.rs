//! What is installed on the cluster: the manifests with a few patches, as users would have them in a folder of their own, and
//! the bare server in the same Knative Service as the flow function.

use std::fs;

use anyhow::Result;
use serde_json::{Value, json};
use system_tests::function::repository;

use super::{
    images::Images,
    site::{BARE, BROKER_PORT, EVENTS, FLOW, HOOK, LABEL, LOGIN, NAMESPACE, RUNS, Site, TRIGGERS},
};

impl Site {
    /// A Service for the outside, in front of pods elsewhere.
    pub(super) fn way_in(&self, namespace: &str, name: &str, port: u16, selector: Value) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"namespace": namespace, "name": name, "labels": {LABEL: "true"}},
            "spec": {
                "selector": selector,
                "ports": [{"port": port, "targetPort": 8080}],
                "externalIPs": [self.address],
            },
        })
    }

    /// Installs everything but what it is compared with, and waits until it is ready.
    pub(super) async fn install(&self, images: &Images) -> Result<()> {
        let mut objects: Vec<_> = [NAMESPACE, RUNS, TRIGGERS]
            .map(|name| {
                json!({
                    "apiVersion": "v1",
                    "kind": "Namespace",
                    "metadata": {"name": name, "labels": {LABEL: "true"}},
                })
            })
            .into();
        objects.extend(unhurried());
        let ingress = json!({"eventing.knative.dev/brokerRole": "ingress"});
        objects.push(self.way_in(
            "knative-eventing",
            "hookrun-bench-broker",
            BROKER_PORT,
            ingress,
        ));
        self.apply(&objects)?;

        let subject =
            json!([{"op": "replace", "path": "/subjects/0/namespace", "value": NAMESPACE}]);
        self.overlay(
            "runs",
            json!({
                "namespace": RUNS,
                "resources": ["../../../knative/namespace"],
                "patches": [{"target": {"kind": "RoleBinding"}, "patch": subject.to_string()}],
            }),
        )?;
        // The account that Hooks act as is in the namespace of the runs; the functions are elsewhere.
        let functions = json!({"kind": "RoleBinding", "name": "hookrun-(hook|sweep)"});
        self.overlay(
            "hooks",
            json!({
                "namespace": RUNS,
                "resources": ["../../../knative/hooks"],
                "patches": [{"target": functions, "patch": subject.to_string()}],
            }),
        )?;
        self.overlay("crds", json!({"resources": ["../../../knative/crds"]}))?;
        for what in ["hooks", "deliveries"] {
            let what = format!("customresourcedefinitions/{what}.hookrun.dev");
            self.is(&what, "Established")?;
        }
        let allowed = json!([{"op": "add", "path": "/data/HOOKRUN_NAMESPACES", "value": RUNS}]);
        // The cluster's Eventing sends no tokens.
        let untold =
            json!([{"op": "replace", "path": "/data", "value": {"HOOKRUN_CLUSTER_LOCAL": "true"}}]);
        let [user, password] = LOGIN;
        let (name, tag) = images.hookrun_name().rsplit_once(':').unwrap_or_default();
        let components = ["flow", "hook", "broker", "events", "common"]
            .map(|part| format!("../../../knative/{part}"));
        self.overlay(
            "hookrun",
            json!({
                "namespace": NAMESPACE,
                "resources": ["../../../knative/base"],
                "components": components,
                "images": [{"name": "hookrun", "newName": name, "newTag": tag}],
                "patches": [
                    {"target": {"kind": "ConfigMap", "name": FLOW}, "patch": allowed.to_string()},
                    {"target": {"kind": "ConfigMap", "name": HOOK}, "patch": allowed.to_string()},
                    {"target": {"kind": "ConfigMap", "name": EVENTS}, "patch": untold.to_string()},
                ],
                "secretGenerator": [{
                    "name": "hookrun-flow-credentials",
                    "type": "kubernetes.io/basic-auth",
                    "literals": [format!("username={user}"), format!("password={password}")],
                }],
                "generatorOptions": {"disableNameSuffixHash": true},
            }),
        )?;
        // The flow function's own Service, with another program in it and nothing else changed.
        let container = "/spec/template/spec/containers/0";
        let other = json!([
            {"op": "replace", "path": "/metadata/name", "value": BARE},
            {"op": "replace", "path": format!("{container}/image"), "value": images.bare_name()},
            {"op": "replace", "path": format!("{container}/args"), "value": ["8080"]},
            {"op": "remove", "path": format!("{container}/env")},
            {"op": "remove", "path": format!("{container}/envFrom")},
        ]);
        self.overlay(
            "bare",
            json!({
                "namespace": NAMESPACE,
                "components": ["../../../knative/flow", "../../../knative/common"],
                "patches": [{
                    "target": {"kind": "Service", "name": FLOW},
                    "options": {"allowNameChange": true},
                    "patch": other.to_string(),
                }],
            }),
        )?;
        for what in [FLOW, HOOK, EVENTS, BARE] {
            self.ready(NAMESPACE, &format!("services.serving.knative.dev/{what}"))?;
        }
        self.ready(NAMESPACE, "triggers.eventing.knative.dev/hookrun-flow")
    }

    /// Applies manifests with changes.
    fn overlay(&self, name: &str, mut content: Value) -> Result<()> {
        // Two levels below `target`, so that the manifests are three above.
        let path = format!("target/bench/{name}");
        let folder = repository().join(&path);
        fs::create_dir_all(&folder)?;
        content["apiVersion"] = json!("kustomize.config.k8s.io/v1beta1");
        content["kind"] = json!("Kustomization");
        content["labels"] = json!([{"pairs": {LABEL: "true"}}]);
        fs::write(folder.join("kustomization.yaml"), content.to_string())?;
        self.kubectl(&format!("apply --kustomize {path}"), "")
            .map(drop)
    }
}

/// The policy by which Tekton's controller leaves the runs alone.
fn unhurried() -> [Value; 2] {
    let api_version = "admissionregistration.k8s.io/v1";
    let metadata = json!({"name": "hookrun-bench", "labels": {LABEL: "true"}});
    let given_away =
        r#"[JSONPatch{op: "add", path: "/spec/managedBy", value: "hookrun.dev/bench"}]"#;
    [
        json!({
            "apiVersion": api_version,
            "kind": "MutatingAdmissionPolicy",
            "metadata": metadata,
            "spec": {
                "reinvocationPolicy": "Never",
                "failurePolicy": "Fail",
                "matchConstraints": {
                    "namespaceSelector": {"matchLabels": {LABEL: "true"}},
                    "resourceRules": [{
                        "apiGroups": ["tekton.dev"],
                        "apiVersions": ["*"],
                        "operations": ["CREATE"],
                        "resources": ["pipelineruns"],
                    }],
                },
                "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": given_away}}],
            },
        }),
        json!({
            "apiVersion": api_version,
            "kind": "MutatingAdmissionPolicyBinding",
            "metadata": metadata,
            "spec": {"policyName": "hookrun-bench"},
        }),
    ]
}
