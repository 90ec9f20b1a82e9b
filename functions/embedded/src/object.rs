//! Reading and changing the metadata of an object that is plain JSON.
//!
//! Objects stay `serde_json::Value`s all the way: the API stores kinds that it has no types for, and must give back
//! every field that it was given.

use serde_json::{Map, Value};

/// `metadata.<field>` as text, empty where it is missing.
pub(crate) fn meta<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// The name of an object.
pub(crate) fn name(object: &Value) -> &str {
    meta(object, "name")
}

/// The resource version of an object as the number that it is, 0 where there is none.
pub(crate) fn revision(object: &Value) -> u64 {
    meta(object, "resourceVersion").parse().unwrap_or(0)
}

/// Whether the object waits for its finalizers to be removed.
pub(crate) fn is_deleting(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

/// Finalizers, empty where there are none.
pub(crate) fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    list(&object["metadata"]["finalizers"]).filter_map(Value::as_str)
}

/// Owner references as they are written.
pub(crate) fn owners(object: &Value) -> impl Iterator<Item = &Value> {
    list(&object["metadata"]["ownerReferences"])
}

/// The elements of a list, none where it is no list.
pub(crate) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The entries of a map, none where it is no map.
pub(crate) fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// Sets `metadata.<field>`.
pub(crate) fn set_meta(object: &mut Value, field: &str, value: impl Into<Value>) {
    metadata(object).insert(field.to_owned(), value.into());
}

/// Removes `metadata.<field>`.
pub(crate) fn unset_meta(object: &mut Value, field: &str) {
    metadata(object).remove(field);
}

/// Keeps those elements of `metadata.<field>` that pass; an empty list vanishes.
pub(crate) fn retain(object: &mut Value, field: &str, keep: impl FnMut(&Value) -> bool) {
    let metadata = metadata(object);
    if let Some(Value::Array(list)) = metadata.get_mut(field) {
        list.retain(keep);
        if list.is_empty() {
            metadata.remove(field);
        }
    }
}

/// The metadata, made an empty map where it is none.
pub(crate) fn metadata(object: &mut Value) -> &mut Map<String, Value> {
    child(object, "metadata")
}

/// The map `<field>` of an object, made an empty one where it is none.
pub(crate) fn child<'a>(object: &'a mut Value, field: &str) -> &'a mut Map<String, Value> {
    as_map(as_map(object).entry(field).or_insert(Value::Null))
}

fn as_map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("it was made an object above"),
    }
}

/// The top-level field, moved from one object to another; where the source has none, the target has none either.
pub(crate) fn copy_field(target: &mut Value, source: &Value, field: &str) {
    match source.get(field) {
        Some(value) => target[field] = value.clone(),
        None => {
            if let Some(target) = target.as_object_mut() {
                target.remove(field);
            }
        }
    }
}

/// The time as Kubernetes writes it: to the second, UTC.
pub(crate) fn now() -> String {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}
