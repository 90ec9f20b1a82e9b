//! Why a Deployment is not available: what its pods say, so that nobody need ask them one by one.

use anyhow::Result;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ContainerState, ContainerStatus, Pod},
};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, LogParams},
    core::Selector,
};

/// Lines of a log that are told.
const LINES: i64 = 5;

/// A few lines about a Deployment that is not available.
pub(super) async fn unavailable(client: &Client, deployment: &Deployment) -> Result<String> {
    let namespace = deployment.namespace().unwrap_or_default();
    let mut lines = vec![format!("{namespace}/{}", deployment.name_any())];
    for condition in deployment
        .status
        .iter()
        .filter_map(|s| s.conditions.as_ref())
        .flatten()
    {
        if condition.type_.as_deref() == Some("ReplicaFailure") {
            lines.push(format!(
                "  {}",
                condition.message.as_deref().unwrap_or_default()
            ));
        }
    }
    let selector: Selector = deployment.spec.selector.clone().try_into()?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let which = ListParams::default().labels_from(&selector);
    for pod in pods.list(&which).await? {
        lines.push(format!("  pod {}{}", pod.name_any(), unscheduled(&pod)));
        let containers = pod
            .status
            .iter()
            .filter_map(|s| s.container_statuses.as_ref());
        for container in containers.flatten().filter(|container| !container.ready) {
            lines.push(format!(
                "    container {}: {}",
                container.name,
                state(container)
            ));
            let parameters = LogParams {
                container: Some(container.name.clone()),
                // Of the attempt that failed, not of the one that has just begun.
                previous: container.restart_count > 0,
                tail_lines: Some(LINES),
                ..Default::default()
            };
            // A container that has not started has none.
            let log = pods.logs(&pod.name_any(), &parameters).await;
            lines.extend(
                log.iter()
                    .flat_map(|log| log.lines())
                    .map(|line| format!("      {line}")),
            );
        }
    }
    Ok(lines.join("\n"))
}

/// Why a pod is on no node, if so.
fn unscheduled(pod: &Pod) -> String {
    let conditions = pod.status.iter().filter_map(|s| s.conditions.as_ref());
    conditions
        .flatten()
        .filter(|condition| condition.type_ == "PodScheduled" && condition.status == "False")
        .filter_map(|condition| condition.message.as_ref())
        .map(|message| format!(": {message}"))
        .collect()
}

/// What a container that is not ready does instead, with the reason of its last end.
fn state(container: &ContainerStatus) -> String {
    let now = container.state.as_ref().map(of).unwrap_or_default();
    let before = container.last_state.as_ref().map(of).unwrap_or_default();
    if before.is_empty() {
        now
    } else {
        format!(
            "{now}; restarted {} times, before: {before}",
            container.restart_count
        )
    }
}

fn of(state: &ContainerState) -> String {
    let words = |reason: &Option<String>, message: &Option<String>| {
        let given = [reason, message].into_iter().flatten();
        given.map(String::as_str).collect::<Vec<_>>().join(": ")
    };
    if let Some(waiting) = &state.waiting {
        return format!("waits: {}", words(&waiting.reason, &waiting.message));
    }
    if let Some(ended) = &state.terminated {
        return format!(
            "ended with {}: {}",
            ended.exit_code,
            words(&ended.reason, &ended.message)
        );
    }
    match &state.running {
        Some(_) => "runs, and is not ready".to_owned(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn container(value: serde_json::Value) -> ContainerStatus {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_missing_image_is_told_with_the_words_of_the_runtime() {
        let container = container(json!({
            "name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}},
        }));
        assert_eq!(state(&container), "waits: ImagePullBackOff: no such image");
    }

    #[test]
    fn a_container_that_ends_again_and_again_is_told_with_its_last_end() {
        let container = container(json!({
            "name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 3,
            "state": {"running": {}},
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}},
        }));
        assert_eq!(
            state(&container),
            "runs, and is not ready; restarted 3 times, before: ended with 1: Error"
        );
    }

    #[test]
    fn a_pod_without_a_node_tells_why() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p"},
            "status": {"conditions": [
                {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"},
            ]},
        }))
        .unwrap();
        assert_eq!(unscheduled(&pod), ": 0/1 nodes are available");
    }
}
