//! The PipelineRun that a rule starts: a value, put together from values. No text of an event is ever read as anything
//! but a text, so that it can change no field but its own.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::{
    Hook,
    delivery::RunPayload,
    hook::{PayloadTarget, Rule},
};

/// Label of everything that we write; its value is `hookrun`.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Label: the Hook, by name.
pub const HOOK: &str = "hookrun.dev/hook";
/// Label: the Delivery, by name.
pub const DELIVERY: &str = "hookrun.dev/delivery";
/// Annotation: the identity of the event, by which a repeated one finds its run.
pub const EVENT: &str = "hookrun.dev/event";
/// Annotation: the rule that started the run.
pub const RULE: &str = "hookrun.dev/rule";

/// The status of a run that waits until the Secret which it owns is there (Tekton: "Pending PipelineRuns").
const PENDING: &str = "PipelineRunPending";
/// Bytes of a key that is written out in an annotation.
const SHOWN_KEY: usize = 256;

/// What a run is made for.
pub(crate) struct Purpose<'a> {
    pub(crate) hook: &'a Hook,
    pub(crate) rule: &'a Rule,
    /// The run's name.
    pub(crate) name: &'a str,
    /// The Delivery's name.
    pub(crate) delivery: &'a str,
    /// The event's identity inside its Hook.
    pub(crate) key: &'a str,
    pub(crate) params: &'a Map<String, Value>,
    pub(crate) payload: Option<&'a RunPayload>,
}

/// The identity of what one rule does for one event, in one line of at most 400 bytes.
pub fn event_identity(hook_uid: &str, rule: &str, key: &str) -> String {
    let plain = key.len() <= SHOWN_KEY
        && key
            .bytes()
            .all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if plain {
        return format!("hook {hook_uid} rule {rule} key {key}");
    }
    let digest: String = Sha256::digest(key)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("hook {hook_uid} rule {rule} sha256 {digest}")
}

/// The PipelineRun of a rule; none where the rule starts a flow.
pub(crate) fn pipeline_run(purpose: &Purpose<'_>) -> Option<Value> {
    let rule = purpose.rule;
    let (metadata, mut spec) = match (&rule.pipeline_ref, &rule.pipeline_run) {
        (Some(pipeline), _) => {
            let spec = json!({ "pipelineRef": { "name": pipeline.name } });
            (Map::new(), spec.as_object().cloned().unwrap_or_default())
        }
        (None, Some(template)) => (map(template, "metadata"), map(template, "spec")),
        (None, None) => return None,
    };
    for (name, value) in purpose.params {
        set(&mut spec, "params", json!({ "name": name, "value": value }));
    }
    if let (Some(target), Some(payload)) = (&rule.payload, purpose.payload) {
        set(&mut spec, "workspaces", workspace(target, payload));
        spec.insert("status".to_owned(), PENDING.into());
    }
    account(&mut spec, &purpose.hook.spec.service_account_name);
    Some(json!({
        "apiVersion": "tekton.dev/v1",
        "kind": "PipelineRun",
        "metadata": {
            "name": purpose.name,
            "namespace": purpose.hook.metadata.namespace,
            "labels": with(map_of(&metadata, "labels"), &[
                (MANAGED_BY, "hookrun"),
                (HOOK, &purpose.hook.metadata.name),
                (DELIVERY, purpose.delivery),
            ]),
            "annotations": with(map_of(&metadata, "annotations"), &[
                (EVENT, &event_identity(&purpose.hook.metadata.uid, &rule.name, purpose.key)),
                (RULE, &rule.name),
            ]),
        },
        "spec": spec,
    }))
}

fn workspace(target: &PayloadTarget, payload: &RunPayload) -> Value {
    json!({ "name": target.workspace, "secret": { "secretName": payload.secret_name } })
}

/// Puts an entry into a list, in place of the one with the same name.
fn set(spec: &mut Map<String, Value>, list: &str, entry: Value) {
    let entries = spec.entry(list).or_insert_with(|| Value::Array(Vec::new()));
    if let Value::Array(entries) = entries {
        let name = entry.get("name").cloned();
        match entries
            .iter_mut()
            .find(|known| known.get("name") == name.as_ref())
        {
            Some(known) => *known = entry,
            None => entries.push(entry),
        }
    }
}

/// Lets the run act as the Hook's ServiceAccount; [`crate::check()`] lets a template name no other one.
fn account(spec: &mut Map<String, Value>, name: &str) {
    let template = spec.entry("taskRunTemplate").or_insert_with(|| json!({}));
    if let Value::Object(template) = template {
        template.insert("serviceAccountName".to_owned(), name.into());
    }
}

fn map(of: &Value, field: &str) -> Map<String, Value> {
    of.as_object()
        .map(|of| map_of(of, field))
        .unwrap_or_default()
}

fn map_of(of: &Map<String, Value>, field: &str) -> Map<String, Value> {
    of.get(field)
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default()
}

fn with(mut map: Map<String, Value>, ours: &[(&str, &str)]) -> Map<String, Value> {
    for (key, value) in ours {
        map.insert((*key).to_owned(), (*value).into());
    }
    map
}
