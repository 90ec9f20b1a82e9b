//! Reading what was built: pods, containers, settings.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::support::objects::name;

/// What a container is told by variables: its own, and those of the ConfigMaps that are generated beside it.
pub(super) fn settings(objects: &[Value], container: &Value) -> Result<Vec<(String, String)>> {
    let mut settings = Vec::new();
    for source in container["envFrom"].as_array().into_iter().flatten() {
        let Some(map) = source["configMapRef"]["name"].as_str() else {
            continue;
        };
        let map = find(objects, "ConfigMap", map)?;
        for (name, value) in map["data"].as_object().context("data")? {
            settings.push((name.clone(), value.as_str().context("text")?.to_owned()));
        }
    }
    for variable in container["env"].as_array().into_iter().flatten() {
        let text = |field: &str| variable[field].as_str().context("text").map(str::to_owned);
        settings.push((text("name")?, text("value")?));
    }
    Ok(settings)
}

/// The pod that an object starts, if it starts one.
pub(super) fn pod(object: &Value) -> Option<&Value> {
    let template = match object["kind"].as_str()? {
        // Kubernetes' own kind of that name starts nothing.
        "Service" if object["apiVersion"] != "v1" => &object["spec"]["template"],
        "Deployment" => &object["spec"]["template"],
        "CronJob" => &object["spec"]["jobTemplate"]["spec"]["template"],
        _ => return None,
    };
    Some(&template["spec"])
}

/// All containers, with the objects that start them.
pub(super) fn containers(objects: &[Value]) -> Result<Vec<(&Value, &Value)>> {
    let mut found = Vec::new();
    for object in objects {
        let Some(pod) = pod(object) else { continue };
        let containers = pod["containers"].as_array().context("containers")?;
        found.extend(containers.iter().map(|container| (object, container)));
    }
    Ok(found)
}

pub(super) fn all<'a>(objects: &'a [Value], kind: &str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |object| object["kind"] == kind)
}

pub(super) fn find<'a>(objects: &'a [Value], kind: &str, wanted: &str) -> Result<&'a Value> {
    all(objects, kind)
        .find(|object| name(object) == wanted)
        .with_context(|| format!("no {kind} {wanted}"))
}

/// Kind and name.
pub(super) fn identity(object: &Value) -> String {
    let kind = object["kind"].as_str().unwrap_or_default();
    format!("{kind} {}", name(object))
}
