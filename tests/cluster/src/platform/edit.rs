//! What is changed in the objects of the systems: images, sizes for a small node, and the few settings that are ours.

use std::net::IpAddr;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{
    image,
    programs::{Origin, PROGRAMS},
};

/// Kinds for clusters with more than one node.
const LEFT_OUT: [&str; 2] = ["HorizontalPodAutoscaler", "PodDisruptionBudget"];

/// Beginnings of references to images, and the program that takes their place; without their version.
const IMAGES: [(&str, &str); 1] = [("docker.io/envoyproxy/envoy:", "envoy")];

/// The domain of all Services of the cluster.
const DOMAIN: &str = "hookrun.example";

/// ConfigMap, key and value; Serving's, the others stay as they come.
const SETTINGS: [(&str, &str, &str); 2] = [
    (
        "config-network",
        "ingress-class",
        "kourier.ingress.networking.knative.dev",
    ),
    ("config-domain", DOMAIN, ""),
];

/// The objects to create, from those of the modules.
pub(super) fn all(objects: Vec<Value>, gateway: IpAddr) -> Result<Vec<Value>> {
    objects
        .into_iter()
        .filter(|object| !LEFT_OUT.iter().any(|kind| object["kind"] == *kind))
        .map(|object| edit(object, gateway))
        .collect()
}

fn edit(mut object: Value, gateway: IpAddr) -> Result<Value> {
    let name = object["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    let namespace = &object["metadata"]["namespace"];
    match (kind.as_str(), name.as_str()) {
        ("Deployment", _) => {
            let containers = object.pointer_mut("/spec/template/spec/containers");
            let containers = containers.and_then(Value::as_array_mut);
            containers.into_iter().flatten().for_each(shrink);
        }
        ("ConfigMap", _) if namespace == "knative-serving" => {
            for (_, key, value) in SETTINGS.iter().filter(|(map, ..)| *map == name) {
                object["data"][*key] = json!(value);
            }
        }
        ("Service", "kourier") => {
            object["spec"]["externalIPs"] = json!([gateway]);
            // The gateway sees who calls, and not the node.
            object["spec"]["externalTrafficPolicy"] = json!("Local");
        }
        _ => {}
    }
    localize(&mut object).with_context(|| format!("{kind} {name}"))?;
    Ok(object)
}

/// Leaves out how much processor time a container asks for, since all of them together ask for more than two cores, and how
/// much it may have, which takes the place of a request that is missing. Until it has started it is asked every second
/// whether it is ready, later as seldom as before.
fn shrink(container: &mut Value) {
    for amounts in ["/resources/requests", "/resources/limits"] {
        if let Some(Value::Object(amounts)) = container.pointer_mut(amounts) {
            amounts.remove("cpu");
        }
    }
    let Some(Value::Object(ready)) = container.get_mut("readinessProbe") else {
        return;
    };
    ready.remove("initialDelaySeconds");
    let mut started = ready.clone();
    started.insert("periodSeconds".to_owned(), json!(1));
    started.insert("failureThreshold".to_owned(), json!(300));
    container["startupProbe"] = Value::Object(started);
}

/// Puts our own images in the place of those that a value names.
fn localize(value: &mut Value) -> Result<()> {
    match value {
        Value::String(text) => {
            if let Some(package) = text.strip_prefix("ko://") {
                *text = image::name(of_package(package)?);
            } else if let Some((_, program)) =
                IMAGES.iter().find(|(image, _)| text.starts_with(image))
            {
                *text = image::name(program);
            }
            Ok(())
        }
        Value::Array(items) => items.iter_mut().try_for_each(localize),
        Value::Object(fields) => fields.values_mut().try_for_each(localize),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

/// The name of the program that is built from a Go package.
fn of_package(package: &str) -> Result<&'static str> {
    PROGRAMS
        .iter()
        .find(|program| matches!(program.origin, Origin::Go(built) if built == package))
        .map(|program| program.name)
        .with_context(|| {
            format!("names an image of the Go package {package}, which no program in the table is built from")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn edited(object: Value) -> Value {
        edit(object, GATEWAY).unwrap()
    }

    #[test]
    fn a_container_asks_for_no_processor_time_and_runs_our_image() {
        let edited = edited(json!({
            "kind": "Deployment",
            "metadata": {"name": "activator", "namespace": "knative-serving"},
            "spec": {"template": {"spec": {"containers": [{
                "image": "ko://knative.dev/serving/cmd/activator",
                "resources": {
                    "requests": {"cpu": "300m", "memory": "60Mi"},
                    "limits": {"cpu": "1000m", "memory": "600Mi"},
                },
                "readinessProbe": {"httpGet": {"port": 8012}, "initialDelaySeconds": 20, "periodSeconds": 10},
                "env": [{"name": "AUTH_PROXY_IMAGE", "value": "ko://knative.dev/eventing/cmd/auth_proxy"}],
            }]}}},
        }));
        assert_eq!(
            edited["spec"]["template"]["spec"]["containers"],
            json!([{
                "image": "dev.local/serving-activator:1",
                "resources": {"requests": {"memory": "60Mi"}, "limits": {"memory": "600Mi"}},
                "readinessProbe": {"httpGet": {"port": 8012}, "periodSeconds": 10},
                "startupProbe": {"httpGet": {"port": 8012}, "periodSeconds": 1, "failureThreshold": 300},
                "env": [{"name": "AUTH_PROXY_IMAGE", "value": "dev.local/eventing-auth-proxy:1"}],
            }])
        );
    }

    #[test]
    fn an_image_of_an_unknown_package_is_an_error() {
        let object = json!({
            "kind": "Deployment",
            "metadata": {"name": "job-sink"},
            "spec": {"image": "ko://knative.dev/eventing/cmd/jobsink"},
        });
        let error = format!("{:#}", edit(object, GATEWAY).unwrap_err());
        assert!(error.starts_with("Deployment job-sink: names an image of the Go package knative.dev/eventing/cmd/jobsink"), "{error}");
    }

    #[test]
    fn any_version_of_the_gateway_is_ours() {
        let mut image = json!("docker.io/envoyproxy/envoy:v1.36-latest");
        localize(&mut image).unwrap();
        assert_eq!(image, "dev.local/envoy:1");
    }

    #[test]
    fn settings_are_added_to_servings_own_maps_alone() {
        let map = |namespace: &str| {
            json!({
                "kind": "ConfigMap",
                "metadata": {"name": "config-domain", "namespace": namespace},
                "data": {"_example": "text"},
            })
        };
        let expected = json!({"_example": "text", "hookrun.example": ""});
        assert_eq!(edited(map("knative-serving"))["data"], expected);
        assert_eq!(edited(map("knative-eventing")), map("knative-eventing"));
    }

    #[test]
    fn the_gateway_has_an_address_for_the_outside() {
        let service =
            |name: &str| edited(json!({"kind": "Service", "metadata": {"name": name}, "spec": {}}));
        assert_eq!(
            service("kourier")["spec"],
            json!({"externalIPs": ["192.0.2.1"], "externalTrafficPolicy": "Local"})
        );
        assert_eq!(service("kourier-internal")["spec"], json!({}));
    }

    #[test]
    fn what_needs_several_nodes_is_left_out() {
        let objects = vec![
            json!({"kind": "PodDisruptionBudget", "metadata": {"name": "a"}}),
            json!({"kind": "Secret", "metadata": {"name": "b"}}),
        ];
        let kept = all(objects, GATEWAY).unwrap();
        assert_eq!(kept, [json!({"kind": "Secret", "metadata": {"name": "b"}})]);
    }
}
