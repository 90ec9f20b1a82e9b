//! Which steps of a stored flow are privileged; where they may run says [`cluster::Policy`].

use flows::stored::Stored;
use serde_json::Value;

/// Names of everything in a stored flow that would run privileged: steps, sidecars, templates, wherever they stand.
/// What has no name is called by the field that it stands in.
pub(crate) fn privileged_steps(stored: &Stored) -> Vec<&str> {
    let mut found = Vec::new();
    for object in std::iter::once(&stored.pipeline).chain(stored.tasks.values()) {
        collect_privileged(&object["spec"], "spec", &mut found);
    }
    found
}

fn collect_privileged<'a>(value: &'a Value, field: &'a str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            if is_privileged(&value["securityContext"])
                || HIDING.iter().any(|field| members.contains_key(*field))
            {
                found.push(value["name"].as_str().unwrap_or(field));
            }
            for (name, member) in members {
                collect_privileged(member, name, found);
            }
        }
        Value::Array(items) => items
            .iter()
            .for_each(|item| collect_privileged(item, field, found)),
        _ => {}
    }
}

/// Fields behind which a step could be that is not in what was read: a Task, Pipeline or StepAction from elsewhere. And
/// the volume that is the node itself.
const HIDING: [&str; 5] = ["resolver", "ref", "pipelineRef", "pipelineSpec", "hostPath"];

/// Whether a security context asks for more than the plain user of the pod has.
fn is_privileged(context: &Value) -> bool {
    context["privileged"] == Value::Bool(true)
        || context["allowPrivilegeEscalation"] == Value::Bool(true)
        || context["runAsUser"] == 0
        || context["capabilities"]["add"]
            .as_array()
            .is_some_and(|added| !added.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn privileged_steps_are_found_wherever_they_stand() {
        let privileged = json!({"privileged": true});
        let stored = Stored {
            pipeline: json!({"spec": {"tasks": [{"name": "t", "taskSpec": {
                "steps": [{"name": "inline", "securityContext": privileged}, {"name": "plain"}],
            }}]}}),
            tasks: [(
                "task".to_owned(),
                json!({"spec": {
                    "stepTemplate": {"securityContext": privileged},
                    "sidecars": [{"name": "docker", "securityContext": privileged}],
                    "steps": [
                    {"name": "plain", "securityContext": {"privileged": false, "runAsUser": 1000}},
                    {"name": "root", "securityContext": {"runAsUser": 0}},
                    {"name": "able", "securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}},
                ],
                }}),
            )]
            .into(),
            secrets: Default::default(),
        };
        assert_eq!(
            privileged_steps(&stored),
            ["inline", "docker", "stepTemplate", "root", "able"]
        );
    }

    #[test]
    fn what_cannot_be_seen_counts_as_privileged() {
        for spec in [
            json!({"tasks": [{"name": "t", "taskRef": {"resolver": "git"}}]}),
            json!({"tasks": [{"name": "t", "pipelineRef": {"name": "other"}}]}),
            json!({"tasks": [{"name": "t", "taskSpec": {"steps": [{"name": "s", "ref": {"name": "action"}}]}}]}),
            json!({"tasks": [{"name": "t", "taskSpec": {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}}]}),
        ] {
            let stored = Stored {
                pipeline: json!({"spec": spec}),
                tasks: Default::default(),
                secrets: Default::default(),
            };
            assert_eq!(privileged_steps(&stored).len(), 1, "{stored:?}");
        }
    }
}
