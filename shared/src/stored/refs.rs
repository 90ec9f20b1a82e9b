//! Where objects of Tekton refer to Secrets: variables, volumes, projections.

use serde_json::{Map, Value};

/// A reference to a Secret.
pub(super) struct Reference<'a> {
    /// The Secret's name.
    pub(super) name: &'a str,
    /// Whether a pod starts without it.
    pub(super) optional: bool,
}

/// In which field below a given one a Secret's name stands.
fn name_field(field: &str, inner: &Map<String, Value>) -> Option<&'static str> {
    match field {
        "secretKeyRef" | "secretRef" => Some("name"),
        // A volume's Secret, or a projection's.
        "secret" if inner.contains_key("secretName") => Some("secretName"),
        "secret" => Some("name"),
        _ => None,
    }
}

/// Visits every reference.
pub(super) fn each(value: &Value, visit: &mut impl FnMut(Reference<'_>)) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                if let Some(inner) = value.as_object()
                    && let Some(name) =
                        name_field(field, inner).and_then(|field| inner.get(field)?.as_str())
                {
                    visit(Reference {
                        name,
                        optional: inner.get("optional") == Some(&Value::Bool(true)),
                    });
                }
                each(value, visit);
            }
        }
        Value::Array(elements) => elements.iter().for_each(|element| each(element, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Makes every reference to one Secret a reference to another.
pub(super) fn rename(value: &mut Value, from: &str, to: &str) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                if let Some(inner) = value.as_object_mut()
                    && let Some(name) =
                        name_field(field, inner).and_then(|field| inner.get_mut(field))
                    && name.as_str() == Some(from)
                {
                    *name = Value::String(to.to_owned());
                }
                rename(value, from, to);
            }
        }
        Value::Array(elements) => elements
            .iter_mut()
            .for_each(|element| rename(element, from, to)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
