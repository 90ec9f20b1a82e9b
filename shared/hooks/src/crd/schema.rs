//! Structural schemas: what Kubernetes takes of JSON Schema (apiextensions.k8s.io, "Specifying a structural schema").

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

/// The structural schema of a type.
pub(super) fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value();
    mend(&mut schema);
    schema
}

/// The schema of an object with these properties, and with those that every object has.
pub(super) fn object(description: &str, required: &[&str], properties: Value) -> Value {
    let mut schema = json!({
        "type": "object",
        "description": description,
        "required": required,
        "properties": properties,
    });
    add_metadata(&mut schema);
    schema
}

/// Adds the properties that every object has.
pub(super) fn add_metadata(schema: &mut Value) {
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        let text = |description: &str| json!({ "type": "string", "description": description });
        properties.insert(
            "apiVersion".to_owned(),
            text("Group and version of this form of the object."),
        );
        properties.insert("kind".to_owned(), text("What the object is."));
        properties.insert("metadata".to_owned(), json!({ "type": "object" }));
    }
}

/// Adds a rule (CEL) that the API server checks at a place.
pub(super) fn rule(schema: &mut Value, place: &str, rule: &str, message: &str) {
    if let Some(Value::Object(schema)) = schema.pointer_mut(place) {
        let rules = schema
            .entry("x-kubernetes-validations")
            .or_insert_with(|| json!([]));
        if let Value::Array(rules) = rules {
            rules.push(json!({ "rule": rule, "message": message }));
        }
    }
}

/// Makes a schema structural, from the outside in.
fn mend(schema: &mut Value) {
    let Value::Object(schema) = schema else {
        return;
    };
    schema.remove("title");
    schema.remove("$schema");
    one_type(schema);
    alternatives(schema);
    numbers(schema);
    if let Some(Value::String(description)) = schema.get_mut("description") {
        *description = paragraphs(description);
    }
    // A null says only that there is no default.
    if schema.get("default").is_some_and(Value::is_null) {
        schema.remove("default");
    }
    // Beside `properties` it is not allowed; the API server drops unknown fields, and tells of them, in any case.
    if schema.contains_key("properties")
        || schema.contains_key("x-kubernetes-preserve-unknown-fields")
    {
        schema.remove("additionalProperties");
    }
    for field in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get_mut(field) {
            mend(inner);
        }
    }
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.values_mut().for_each(mend);
    }
}

/// What can be left out is not for that reason null: `["string", "null"]` is `string`.
fn one_type(schema: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = schema.get("type") {
        let named = types.iter().find(|name| *name != "null").cloned();
        schema.insert("type".to_owned(), named.unwrap_or(Value::Null));
    }
    // The same for what has a schema of its own, whose description gives way to the field's.
    if let Some(Value::Array(alternatives)) = schema.remove("anyOf") {
        let is_null = |alternative: &Value| alternative.get("type") == Some(&"null".into());
        let inner = alternatives.into_iter().find(|inner| !is_null(inner));
        for (key, value) in inner
            .as_ref()
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            schema.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
}

/// An enum whose variants are described one by one is a string with values; the descriptions join its own.
fn alternatives(schema: &mut Map<String, Value>) {
    let Some(Value::Array(variants)) = schema.remove("oneOf") else {
        return;
    };
    let text = |variant: &Value, field: &str| {
        variant
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let names: Vec<_> = variants
        .iter()
        .map(|variant| text(variant, "const"))
        .collect();
    let told: Vec<_> = variants
        .iter()
        .map(|variant| {
            format!(
                "`{}`: {}",
                text(variant, "const"),
                text(variant, "description")
            )
        })
        .collect();
    let own = schema
        .get("description")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let description = format!("{own} {}", told.join(" "));
    schema.insert("type".to_owned(), "string".into());
    schema.insert("enum".to_owned(), names.into());
    schema.insert("description".to_owned(), description.trim().into());
}

/// Kubernetes knows integers of 32 and 64 bits with a sign.
fn numbers(schema: &mut Map<String, Value>) {
    let format = match schema.get("format").and_then(Value::as_str) {
        Some("uint32") => {
            schema.entry("maximum").or_insert_with(|| u32::MAX.into());
            "int64"
        }
        Some("uint64") => "int64",
        _ => return,
    };
    schema.insert("format".to_owned(), format.into());
    schema.insert("minimum".to_owned(), 0.into());
}

/// A doc comment as text: lines of a paragraph are one line.
fn paragraphs(comment: &str) -> String {
    let paragraphs = comment.split("\n\n");
    let joined =
        paragraphs.map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
    joined.collect::<Vec<_>>().join("\n\n")
}
