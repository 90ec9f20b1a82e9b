//! Ways to a function, from outside and from Eventing: whoever is named is there, and lets the sender in.

use std::{collections::BTreeSet, fs};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::{
    build::{builds, documents, render},
    objects::{all, find, pod, settings},
};
use crate::{
    case::{Case, case},
    function::repository,
    support::objects::name,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "manifests::only_the_flow_and_the_hook_function_are_reached_from_outside",
            async |cluster| {
                let visibility = |service: &Value| {
                    service["metadata"]["labels"]["networking.knative.dev/visibility"].clone()
                };
                for folder in ["knative/minimal", "knative/full"] {
                    for service in all(&render(&cluster, folder)?, "Service") {
                        let outside = ["hookrun-flow", "hookrun-hook"].contains(&name(service));
                        let local = visibility(service) == "cluster-local";
                        ensure!(outside != local, "{folder}: {service:#}");
                    }
                }
                // Where they have names of their own, those may be the only way.
                for service in all(&render(&cluster, "examples/install/functions")?, "Service") {
                    ensure!(visibility(service) == "cluster-local", "{service:#}");
                }
                Ok(())
            },
        ),
        case(
            "manifests::events_go_to_services_that_are_there_and_take_them",
            async |cluster| {
                let objects = render(&cluster, "knative/full")?;
                let sinks = [
                    &find(&objects, "Broker", "default")?["spec"]["delivery"]["deadLetterSink"],
                    &find(&objects, "PingSource", "hookrun-sweep")?["spec"]["sink"],
                    &find(&objects, "Trigger", "hookrun-flow")?["spec"]["subscriber"],
                ];
                for sink in sinks {
                    let reference = &sink["ref"];
                    ensure!(
                        reference["apiVersion"] == "serving.knative.dev/v1",
                        "{sink:#}"
                    );
                    let service = reference["name"].as_str().unwrap_or_default();
                    let service = find(&objects, "Service", service)?;
                    let settings =
                        settings(&objects, &pod(service).context("a pod")?["containers"][0])?;
                    ensure!(
                        settings
                            .iter()
                            .any(|(name, _)| name == "HOOKRUN_CLUSTER_LOCAL"
                                || name == "HOOKRUN_OIDC_AUDIENCE"),
                        "nobody may send events to {}",
                        name(service)
                    );
                }
                Ok(())
            },
        ),
        case(
            "manifests::triggers_are_let_in_by_the_service_that_they_name",
            async |cluster| {
                let objects = render(&cluster, "knative/full")?;
                let example = fs::read_to_string(repository().join("examples/trigger.yaml"))?;
                let [ours, other] = [
                    find(&objects, "Trigger", "hookrun-flow")?.clone(),
                    documents(&example)?.remove(0),
                ];
                let service = find(&objects, "Service", "hookrun-flow-events")?;
                let settings =
                    settings(&objects, &pod(service).context("a pod")?["containers"][0])?;
                let value = |name: &str| {
                    let setting = settings.iter().find(|(setting, _)| setting == name);
                    setting
                        .map(|(_, value)| value.as_str())
                        .context("a setting")
                };
                // Eventing's name for the account of a Trigger.
                let account = |trigger: &Value| {
                    let namespace = trigger["metadata"]["namespace"]
                        .as_str()
                        .unwrap_or_default();
                    let name = name(trigger);
                    format!(
                        "system:serviceaccount:{namespace}:{name}-oidc-eventing.knative.dev-trigger"
                    )
                };
                for trigger in [&ours, &other] {
                    let subscriber = &trigger["spec"]["subscriber"];
                    ensure!(
                        subscriber["ref"]["name"] == service["metadata"]["name"],
                        "{trigger:#}"
                    );
                    ensure!(
                        subscriber["audience"] == value("HOOKRUN_OIDC_AUDIENCE")?,
                        "{trigger:#}"
                    );
                    // Settings of its own would be without the dead letter sink.
                    ensure!(trigger["spec"]["delivery"].is_null(), "{trigger:#}");
                }
                ensure!(value("HOOKRUN_OIDC_SUBJECTS")? == account(&ours));
                // Whoever applies the example is told what to add.
                ensure!(example.contains(&account(&other)), "{example}");
                Ok(())
            },
        ),
        case(
            "manifests::manifests_of_a_name_agree_and_point_at_the_service",
            async |cluster| {
                let functions = render(&cluster, "knative/minimal")?;
                let mut names = BTreeSet::new();
                for (folder, objects) in builds(&cluster)? {
                    for mapping in all(&objects, "DomainMapping") {
                        names.insert(name(mapping).to_owned());
                        // Without the claim Knative does not let the namespace have the name.
                        let claim = find(&objects, "ClusterDomainClaim", name(mapping))?;
                        ensure!(
                            claim["spec"]["namespace"] == mapping["metadata"]["namespace"]
                                && claim["metadata"]["namespace"].is_null(),
                            "{folder}: {claim:#}"
                        );
                        let service = mapping["spec"]["ref"]["name"].as_str().unwrap_or_default();
                        let service = find(&functions, "Service", service)?;
                        ensure!(
                            service["metadata"]["namespace"] == mapping["metadata"]["namespace"],
                            "{folder}: {mapping:#}"
                        );
                        // A redirect to where there is no certificate would be an end.
                        let redirected = mapping["metadata"]["annotations"]["networking.knative.dev/http-protocol"]
                            == "redirected";
                        let tls = &mapping["spec"]["tls"]["secretName"];
                        ensure!(redirected == tls.is_string(), "{folder}: {mapping:#}");
                        for certificate in all(&objects, "Certificate") {
                            let spec = &certificate["spec"];
                            ensure!(
                                spec["secretName"] == *tls
                                    && spec["dnsNames"] == json!([name(mapping)]),
                                "{folder}: {certificate:#}"
                            );
                        }
                    }
                }
                let expected = [
                    "blue.hookrun.example.com",
                    "flows.example.com",
                    "green.hookrun.example.com",
                    "hookrun.example.com",
                    "hooks.example.com",
                ];
                ensure!(names.iter().eq(expected), "{names:?}");
                Ok(())
            },
        ),
    ]
}
