//! From the bytes of a request to an object of its kind.

use crate::{
    failure::{Failure, Result},
    folder::first_line,
    kinds, object, protobuf,
    query::FieldValidation,
    resource::{Origin, Resource},
    route::Part,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::{Value, json};

/// The largest body that is read, as in the real server.
pub(crate) const LIMIT: usize = 3 * 1024 * 1024;

/// What some commands of kubectl send.
pub(crate) const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// An object read from a body, and what about it deserves a warning.
pub(crate) struct Decoded {
    pub(crate) object: Value,
    pub(crate) warnings: Vec<String>,
}

/// The object of a create or update.
pub(crate) fn object(resource: &Resource, media_type: &str, body: &[u8]) -> Result<Value> {
    let unrecognized = |why: &str| {
        Failure::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): couldn't get version/kind; {why}",
            resource.kind
        ))
    };
    let mut object: Value = match media_type {
        "" | "application/json" => serde_json::from_slice(body)
            .map_err(|e| unrecognized(&format!("json parse error: {e}")))?,
        "application/yaml" => yaml(body)?,
        PROTOBUF => protobuf::decode(body)
            .map_err(|why| Failure::bad_request(format!("the protobuf cannot be read: {why}")))?,
        _ => {
            return Err(Failure::unsupported_media_type(
                "application/json, application/yaml, application/vnd.kubernetes.protobuf",
            ));
        }
    };
    if !object.is_object() {
        return Err(unrecognized("it is not an object"));
    }
    let (api_version, kind) = type_of(&object);
    if kind.is_empty() || api_version.is_empty() {
        // Built-in kinds may leave out what the URL says already.
        if resource.origin == Origin::Custom {
            return Err(unrecognized("Object 'Kind' is missing"));
        }
    } else if api_version != resource.api_version() {
        return Err(Failure::bad_request(format!(
            "the API version in the data ({api_version}) does not match the expected API version ({})",
            resource.api_version()
        )));
    } else if kind != resource.kind {
        let why = format!("it is a {kind}");
        return Err(kinds::not_of_kind(resource.version, resource.kind, why));
    }
    set_type(resource, &mut object);
    Ok(object)
}

/// The object of a server-side apply: YAML, of which JSON is a part.
pub(crate) fn applied(resource: &Resource, body: &[u8]) -> Result<Value> {
    let object = yaml(body)?;
    let (api_version, kind) = type_of(&object);
    if api_version != resource.api_version() || kind != resource.kind {
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        return Err(Failure::bad_request(format!(
            "invalid object type: {group}/{version}, Kind={kind}"
        )));
    }
    Ok(object)
}

fn yaml(body: &[u8]) -> Result<Value> {
    let refused =
        |why: &dyn std::fmt::Display| Failure::bad_request(format!("error decoding YAML: {why}"));
    let text = std::str::from_utf8(body).map_err(|e| refused(&e))?;
    // kubectl sends JSON here; reading that as JSON is quicker and reports better.
    if text.trim_start().starts_with('{')
        && let Ok(value) = serde_json::from_str(text)
    {
        return Ok(value);
    }
    serde_saphyr::from_str(text).map_err(|e| refused(&first_line(&e)))
}

fn type_of(object: &Value) -> (String, String) {
    let text = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
    (text("apiVersion"), text("kind"))
}

pub(crate) fn set_type(resource: &Resource, object: &mut Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert("apiVersion".to_owned(), resource.api_version().into());
        object.insert("kind".to_owned(), resource.kind.into());
    }
}

/// The object with known fields only, where its kind says which those are: everything of the built-in kinds, and the
/// metadata of all. Unknown ones are refused, told, or dropped in silence, as the request asks.
pub(crate) fn checked(
    resource: &Resource,
    object: Value,
    validation: FieldValidation,
) -> Result<Decoded> {
    let refused = |why: String| kinds::not_of_kind(resource.version, resource.kind, why);
    let mut unknown = vec![];
    let metadata = match &object["metadata"] {
        Value::Null => json!({}),
        metadata => {
            let mut typed = ObjectMeta::deserialize(metadata)
                .and_then(serde_json::to_value)
                .map_err(|e| refused(format!("metadata: {e}")))?;
            missing(metadata, &typed, "metadata", &mut unknown);
            // An empty list of managers means something: it clears them.
            drop_empty(&mut typed, &["managedFields"]);
            typed
        }
    };
    let mut known = match (resource.rules.typed)(&object).map_err(|e| refused(e.to_string()))? {
        Some(mut typed) => {
            missing(&object, &typed, "", &mut unknown);
            drop_empty(&mut typed, &["metadata", "spec", "status"]);
            typed
        }
        None => object,
    };
    known["metadata"] = metadata;
    set_type(resource, &mut known);
    // The metadata were looked at twice.
    unknown.sort_by_key(|path| (!path.starts_with("metadata."), path.clone()));
    unknown.dedup();
    let unknown: Vec<String> = unknown
        .iter()
        .map(|path| format!("unknown field {path:?}"))
        .collect();
    match validation {
        FieldValidation::Strict if !unknown.is_empty() => Err(refused(format!(
            "strict decoding error: {}",
            unknown.join(", ")
        ))),
        FieldValidation::Warn => Ok(Decoded {
            object: known,
            warnings: unknown,
        }),
        FieldValidation::Ignore | FieldValidation::Strict => Ok(Decoded {
            object: known,
            warnings: vec![],
        }),
    }
}

/// Paths that were given and are not known.
fn missing(given: &Value, known: &Value, path: &str, unknown: &mut Vec<String>) {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => {
            for (name, value) in given {
                let path = match path {
                    "" => name.clone(),
                    path => format!("{path}.{name}"),
                };
                match known.get(name) {
                    Some(known) => missing(value, known, &path, unknown),
                    None if is_nothing(value) => {}
                    None => unknown.push(path),
                }
            }
        }
        (Value::Array(given), Value::Array(known)) => {
            for (at, (given, known)) in given.iter().zip(known).enumerate() {
                missing(given, known, &format!("{path}[{at}]"), unknown);
            }
        }
        _ => {}
    }
}

/// The real server leaves out empty lists and maps of what it has types for.
fn drop_empty(value: &mut Value, keep: &[&str]) {
    if let Some(map) = value.as_object_mut() {
        map.retain(|name, value| {
            keep.contains(&&**name)
                || !(value.as_array().is_some_and(Vec::is_empty)
                    || value.as_object().is_some_and(serde_json::Map::is_empty))
        });
    }
}

/// What a type may leave out when it is written again.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// What the URL says about name and namespace is put into the object, or must agree with it.
pub(crate) fn place(object: &mut Value, namespace: &str, name: Option<&str>) -> Result<()> {
    let own = object::meta(object, "namespace");
    if own.is_empty() {
        if !namespace.is_empty() {
            object::set_meta(object, "namespace", namespace);
        }
    } else if own != namespace {
        return Err(Failure::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    if let Some(name) = name
        && object::name(object) != name
    {
        return Err(Failure::bad_request(format!(
            "the name of the object ({}) does not match the name on the URL ({name})",
            object::name(object)
        )));
    }
    Ok(())
}

/// Keeps the part that a request does not write as it is stored: `status` has a subresource of its own.
pub(crate) fn keep_other_part(resource: &Resource, part: Part, new: &mut Value, old: &Value) {
    match part {
        Part::Whole if resource.status => object::copy_field(new, old, "status"),
        Part::Whole => {}
        Part::Status => {
            let mut kept = old.clone();
            object::copy_field(&mut kept, new, "status");
            for field in [
                "resourceVersion",
                "uid",
                "name",
                "namespace",
                "managedFields",
            ] {
                match new["metadata"].get(field) {
                    Some(value) => object::set_meta(&mut kept, field, value.clone()),
                    None => object::unset_meta(&mut kept, field),
                }
            }
            *new = kept;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource;

    fn secret() -> &'static Resource {
        resource::by_kind("v1", "Secret").expect("a kind we keep")
    }

    #[test]
    fn unknown_fields_are_told_by_their_path() {
        let object =
            json!({"metadata": {"name": "a", "bar": 1, "creationTimestamp": null}, "foo": 2});
        let strict = checked(secret(), object.clone(), FieldValidation::Strict);
        assert_eq!(
            strict.map(|d| d.object).map_err(|e| e.to_string()),
            Err("Secret in version \"v1\" cannot be handled as a Secret: strict decoding error: unknown field \"metadata.bar\", unknown field \"foo\"".to_owned())
        );
        let warned = checked(secret(), object, FieldValidation::Warn).expect("it is accepted");
        assert_eq!(warned.warnings.len(), 2);
        assert_eq!(warned.object["metadata"], json!({"name": "a"}));
    }

    #[test]
    fn wrong_types_are_refused() {
        for object in [
            json!({"metadata": {"name": 1}}),
            json!({"metadata": {"labels": {"a": 1}}}),
            json!({"metadata": [], "data": {}}),
            json!({"metadata": {}, "data": {"a": "***"}}),
            json!({"metadata": {}, "data": "x"}),
        ] {
            let refused = checked(secret(), object.clone(), FieldValidation::Ignore);
            let code = refused.map(|d| d.object).map_err(|e| e.code().as_u16());
            assert_eq!(code, Err(400), "{object}");
        }
    }

    #[test]
    fn what_is_no_object_of_the_kind_is_refused() {
        let task = resource::by_kind("tekton.dev/v1", "Task").expect("a kind we keep");
        for (body, media_type) in [
            ("{", "application/json"),
            ("[]", "application/json"),
            ("{}", "application/json"),
            ("a: [", "application/yaml"),
            (
                "{\"apiVersion\":\"tekton.dev/v1\",\"kind\":\"Pipeline\"}",
                "",
            ),
            ("{\"apiVersion\":\"v1\",\"kind\":\"Task\"}", ""),
        ] {
            let refused = object(task, media_type, body.as_bytes());
            assert_eq!(refused.map_err(|e| e.code().as_u16()), Err(400), "{body}");
        }
        let refused = object(task, "text/plain", b"{}");
        assert_eq!(refused.map_err(|e| e.code().as_u16()), Err(415));
    }
}
