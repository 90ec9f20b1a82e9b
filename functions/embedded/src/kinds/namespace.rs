//! Namespaces: created by whoever wants one, emptied before they go; `default` stays.

use crate::object;
use serde_json::{Value, json};

/// `status.phase` of a namespace that is being emptied.
pub(crate) const PHASE_TERMINATING: &str = "Terminating";

pub(super) fn default(namespace: &mut Value) {
    let name = object::name(namespace).to_owned();
    object::child(namespace, "metadata")
        .entry("labels")
        .or_insert_with(|| json!({}))["kubernetes.io/metadata.name"] = name.into();
    let deleting = object::is_deleting(namespace);
    object::child(namespace, "spec")
        .entry("finalizers")
        .or_insert_with(|| json!(["kubernetes"]));
    let phase = if deleting {
        PHASE_TERMINATING
    } else {
        "Active"
    };
    object::child(namespace, "status").insert("phase".to_owned(), phase.into());
}

pub(super) fn deletable(name: &str) -> Result<(), &'static str> {
    match name {
        "default" => Err("this namespace may not be deleted"),
        _ => Ok(()),
    }
}
