//! The admission webhook: its parts name each other, by the names that the API server and cert-manager go by.

use anyhow::{Context, Result, ensure};
use control_plane::Cluster;
use http::Request;
use serde_json::{Value, json};

use super::{
    build::{render_own, render_together},
    containers::with_image,
    limits::{number, seconds, variable},
    objects::{all, find, pod},
};
use crate::case::{Case, case};

/// Everything of it is called so.
const NAME: &str = "hookrun-admission";

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "manifests::admission_is_asked_by_the_name_that_its_certificate_is_for",
            async |cluster| {
                let objects = certified(&cluster)?;
                let webhook = webhook(&objects)?;
                let asked = &webhook["clientConfig"]["service"];
                let service = find(&objects, "Service", NAME)?;
                let deployment = find(&objects, "Deployment", NAME)?;
                let namespace = &service["metadata"]["namespace"];
                ensure!(
                    asked["name"] == NAME && asked["namespace"] == *namespace,
                    "{asked:#}"
                );
                let port = &service["spec"]["ports"][0];
                ensure!(asked["port"] == port["port"], "{asked:#} {port:#}");
                let labels = &deployment["spec"]["template"]["metadata"]["labels"];
                let policy = find(&objects, "NetworkPolicy", NAME)?;
                for selector in [
                    &service["spec"]["selector"],
                    &deployment["spec"]["selector"]["matchLabels"],
                    &policy["spec"]["podSelector"]["matchLabels"],
                ] {
                    let chosen = selector.as_object().context("a selector")?;
                    ensure!(
                        !chosen.is_empty()
                            && chosen.iter().all(|(label, value)| labels[label] == *value),
                        "{selector:#}"
                    );
                }
                let pod = pod(deployment).context("a pod")?;
                let listens = &pod["containers"][0]["ports"][0]["name"];
                let let_in = &policy["spec"]["ingress"][0]["ports"][0]["port"];
                ensure!(port["targetPort"] == *listens && let_in == listens);

                let certificate = find(&objects, "Certificate", NAME)?;
                let name = format!("{NAME}.{}.svc", namespace.as_str().unwrap_or_default());
                ensure!(certificate["spec"]["dnsNames"] == json!([name]));
                let secret = &pod["volumes"][0]["secret"]["secretName"];
                ensure!(certificate["spec"]["secretName"] == *secret);
                // Where cert-manager takes the authority from.
                let configuration = find(&objects, "ValidatingWebhookConfiguration", NAME)?;
                let from =
                    &configuration["metadata"]["annotations"]["cert-manager.io/inject-ca-from"];
                let place = format!("{}/{NAME}", namespace.as_str().unwrap_or_default());
                ensure!(*from == place, "{from}");
                // Each certificate is made by an issuer that is there, the last of them by itself.
                for certificate in all(&objects, "Certificate") {
                    let issuer = &certificate["spec"]["issuerRef"]["name"];
                    let issuer = find(&objects, "Issuer", issuer.as_str().context("a name")?)?;
                    let by = &issuer["spec"]["ca"]["secretName"];
                    ensure!(
                        issuer["spec"]["selfSigned"].is_object()
                            || all(&objects, "Certificate").any(|other| {
                                other["spec"]["isCA"] == true && other["spec"]["secretName"] == *by
                            }),
                        "{issuer:#}"
                    );
                }
                Ok(())
            },
        ),
        case(
            "manifests::admission_keeps_nobody_from_writing_hooks_when_it_does_not_answer",
            async |cluster| {
                let objects = certified(&cluster)?;
                let webhook = webhook(&objects)?;
                ensure!(webhook["failurePolicy"] == "Ignore");
                ensure!(webhook["sideEffects"] == "None");
                ensure!(webhook["matchPolicy"] == "Equivalent");
                ensure!(webhook["rules"][0]["operations"] == json!(["CREATE", "UPDATE"]));
                ensure!(webhook["rules"][0]["resources"] == json!(["hooks"]));
                let patience = webhook["timeoutSeconds"].as_u64().context("a time")?;
                let deployment = find(&objects, "Deployment", NAME)?;
                let work = seconds(deployment, "HOOKRUN_REQUEST_TIME")?;
                ensure!(patience <= 5 && patience < work, "{patience} s of {work} s");
                ensure!(work < seconds(deployment, "HOOKRUN_DRAIN_TIME")?);
                // In MiB: the bodies, each twice more as what was read of it, heads and buffers, the process.
                let bodies = number(variable(deployment, "HOOKRUN_MEMORY_BYTES")?, "MiB")?;
                let connections = number(variable(deployment, "HOOKRUN_CONNECTIONS")?, "")?;
                let pod = pod(deployment).context("a pod")?;
                let limit = pod["containers"][0]["resources"]["limits"]["memory"].as_str();
                let limit = number(limit.context("a limit")?, "Mi")?;
                ensure!(3 * bodies + connections / 16 + 64 <= limit, "{limit} MiB");
                Ok(())
            },
        ),
        case(
            "manifests::admission_runs_under_the_strictest_rules_and_with_no_right",
            async |cluster| {
                let objects = certified(&cluster)?;
                let deployment = find(&objects, "Deployment", NAME)?;
                let spec = pod(deployment).context("a pod")?;
                ensure!(spec["automountServiceAccountToken"] == false);
                for kind in ["RoleBinding", "ClusterRoleBinding"] {
                    ensure!(all(&objects, kind).next().is_none());
                }
                let enforced =
                    find(&objects, "Namespace", "hookrun")?["metadata"]["labels"].clone();
                admit_pod(&cluster, &enforced, spec).await
            },
        ),
        case(
            "manifests::admission_has_the_image_of_the_folder_that_lists_it",
            async |cluster| {
                let objects = render_own(&cluster, |at| {
                    json!({
                        "resources": [at("knative/minimal")],
                        "components": [at("knative/admission")],
                        "images": [{"name": "hookrun", "newName": "registry.example.com/other", "newTag": "9"}],
                    })
                })?;
                let (images, _) = with_image(&objects, "registry.example.com/other:9")?;
                ensure!(images == 4, "{images}");
                Ok(())
            },
        ),
    ]
}

/// The webhook with certificates by cert-manager.
fn certified(cluster: &Cluster) -> Result<Vec<Value>> {
    let components = ["knative/admission", "knative/admission/cert-manager"];
    render_together(cluster, "knative/base", &components)
}

fn webhook(objects: &[Value]) -> Result<&Value> {
    let configuration = find(objects, "ValidatingWebhookConfiguration", NAME)?;
    let webhooks = configuration["webhooks"].as_array().context("webhooks")?;
    ensure!(webhooks.len() == 1, "{webhooks:#?}");
    Ok(&webhooks[0])
}

/// Fails unless a namespace with these labels takes this pod.
async fn admit_pod(cluster: &Cluster, labels: &Value, spec: &Value) -> Result<()> {
    let client = cluster.admin();
    let namespace = cluster.namespace("restricted").await?;
    let path = format!("/api/v1/namespaces/{namespace}");
    let request = Request::patch(&path)
        .header("content-type", "application/merge-patch+json")
        .body(
            json!({"metadata": {"labels": labels}})
                .to_string()
                .into_bytes(),
        )?;
    client.request::<Value>(request).await?;
    let admitted = async |spec: Value| {
        let pod =
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": spec});
        let request = Request::post(format!("{path}/pods?dryRun=All"))
            .header("content-type", "application/json")
            .body(pod.to_string().into_bytes())?;
        client
            .request::<Value>(request)
            .await
            .map_err(anyhow::Error::from)
    };
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": spec["serviceAccountName"]},
    });
    let request = Request::post(format!("{path}/serviceaccounts"))
        .header("content-type", "application/json")
        .body(account.to_string().into_bytes())?;
    client.request::<Value>(request).await?;
    admitted(spec.clone()).await?;
    // So that the rules are known to be in force.
    let mut privileged = spec.clone();
    privileged["containers"][0]["securityContext"] = json!({"privileged": true});
    let refusal = admitted(privileged)
        .await
        .err()
        .context("it was admitted")?;
    ensure!(
        format!("{refusal:#}").contains("PodSecurity"),
        "{refusal:#}"
    );
    Ok(())
}
