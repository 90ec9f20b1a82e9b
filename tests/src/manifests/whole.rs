//! All manifests at once: each is part of something that can be built, and the API server admits it.

use std::{collections::BTreeSet, fs};

use anyhow::{Context, ensure};
use serde_json::Value;

use super::{
    build::{documents, everything, files},
    objects::identity,
};
use crate::{
    case::{Case, case},
    support::objects::name,
};

/// Kinds that are in no namespace.
const OF_THE_CLUSTER: [&str; 3] = [
    "ClusterRole",
    "CustomResourceDefinition",
    "ValidatingWebhookConfiguration",
];

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "manifests::manifests_are_all_named_by_a_kustomization_and_render",
            async |cluster| {
                let rendered: BTreeSet<String> = everything(&cluster)?
                    .iter()
                    .map(|(_, object)| identity(object))
                    .collect();
                for file in files()? {
                    for object in documents(&fs::read_to_string(&file)?)
                        .with_context(|| file.display().to_string())?
                    {
                        // Kustomizations, and the patches and settings that they name.
                        let Some(api_version) = object["apiVersion"].as_str() else {
                            continue;
                        };
                        ensure!(
                            api_version.starts_with("kustomize.config.k8s.io/")
                                || rendered.contains(&identity(&object)),
                            "no kustomization has {}",
                            identity(&object)
                        );
                    }
                }
                Ok(())
            },
        ),
        case(
            "manifests::manifests_that_a_cluster_without_knative_knows_are_admitted",
            async |cluster| {
                let namespace = cluster.namespace("manifests").await?;
                for (folder, mut object) in everything(&cluster)? {
                    let (group, plural) = match object["kind"].as_str().unwrap_or_default() {
                        "ClusterRole" => ("apis/rbac.authorization.k8s.io/v1", "clusterroles"),
                        "Role" => ("apis/rbac.authorization.k8s.io/v1", "roles"),
                        "RoleBinding" => ("apis/rbac.authorization.k8s.io/v1", "rolebindings"),
                        "ServiceAccount" => ("api/v1", "serviceaccounts"),
                        "ConfigMap" => ("api/v1", "configmaps"),
                        "CronJob" => ("apis/batch/v1", "cronjobs"),
                        "Deployment" => ("apis/apps/v1", "deployments"),
                        "Service" if object["apiVersion"] == "v1" => ("api/v1", "services"),
                        "NetworkPolicy" => ("apis/networking.k8s.io/v1", "networkpolicies"),
                        "Task" => ("apis/tekton.dev/v1", "tasks"),
                        "CustomResourceDefinition" => {
                            ("apis/apiextensions.k8s.io/v1", "customresourcedefinitions")
                        }
                        "ValidatingWebhookConfiguration" => (
                            "apis/admissionregistration.k8s.io/v1",
                            "validatingwebhookconfigurations",
                        ),
                        _ => continue,
                    };
                    let place = if OF_THE_CLUSTER.iter().any(|kind| object["kind"] == *kind) {
                        String::new()
                    } else {
                        object["metadata"]["namespace"] = namespace.clone().into();
                        format!("/namespaces/{namespace}")
                    };
                    // Strict: a misspelt field is an error, not a warning. One account is there already.
                    let request = http::Request::patch(format!(
                        "/{group}{place}/{plural}/{}?dryRun=All&fieldValidation=Strict&fieldManager=test&force=true",
                        name(&object)
                    ))
                    .header("content-type", "application/apply-patch+yaml")
                    .body(object.to_string().into_bytes())?;
                    cluster
                        .admin()
                        .request::<Value>(request)
                        .await
                        .with_context(|| format!("{folder}: {object:#}"))?;
                }
                Ok(())
            },
        ),
    ]
}
