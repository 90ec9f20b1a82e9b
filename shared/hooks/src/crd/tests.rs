use super::*;
use crate::{Delivery, Hook, hook::Retention};

fn root(crd: &Value) -> &Value {
    crd.pointer("/spec/versions/0/schema/openAPIV3Schema")
        .unwrap()
}

/// Every schema below, with its place.
fn walk(schema: &Value, place: &str, see: &mut dyn FnMut(&str, &Value)) {
    see(place, schema);
    for field in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get(field) {
            walk(inner, &format!("{place}.{field}"), see);
        }
    }
    for (name, inner) in schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        walk(inner, &format!("{place}.{name}"), see);
    }
}

#[test]
fn schemas_are_structural_and_every_field_is_described() {
    const KNOWN: [&str; 16] = [
        "type",
        "description",
        "required",
        "properties",
        "items",
        "additionalProperties",
        "default",
        "enum",
        "format",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "x-kubernetes-validations",
    ];
    for crd in crds() {
        walk(root(&crd), "", &mut |place, schema| {
            let keys = schema
                .as_object()
                .unwrap_or_else(|| panic!("{place}: {schema}"));
            for key in keys.keys() {
                assert!(
                    KNOWN.contains(&key.as_str()) || key.starts_with("x-kubernetes-"),
                    "{place}: {key}"
                );
            }
            let kind = schema.get("type").and_then(Value::as_str);
            let kinds = ["object", "array", "string", "integer", "boolean"];
            assert!(
                kind.is_some_and(|kind| kinds.contains(&kind)),
                "{place}: {schema}"
            );
            assert!(
                kind != Some("integer")
                    || matches!(schema["format"].as_str(), Some("int32" | "int64")),
                "{place}"
            );
            assert!(
                kind != Some("array") || schema.get("items").is_some(),
                "{place}"
            );
            let holds = [
                "properties",
                "additionalProperties",
                "x-kubernetes-preserve-unknown-fields",
            ];
            let given = holds
                .iter()
                .filter(|field| schema.get(**field).is_some())
                .count();
            assert!(
                kind != Some("object") || given == 1 || place == ".metadata",
                "{place}: {schema}"
            );
            let described = schema
                .get("description")
                .and_then(Value::as_str)
                .is_some_and(|text| !text.contains("[`"));
            let element = place.ends_with(".items") || place.ends_with(".additionalProperties");
            assert!(
                described || element || matches!(place, ".metadata"),
                "{place}: {schema}"
            );
        });
    }
}

#[test]
fn defaults_are_in_the_schema_where_reading_has_them() {
    let hooks = &crds()[0];
    let spec = &root(hooks)["properties"]["spec"]["properties"];
    assert_eq!(spec["serviceAccountName"]["default"], "hookrun");
    assert_eq!(spec["retention"]["properties"]["count"]["default"], 100);
    assert_eq!(
        spec["rules"]["items"]["properties"]["payload"]["properties"]["file"]["default"],
        "payload"
    );
    assert_eq!(spec["suspend"]["default"], false);
    // The defaults of the outer field must themselves be a value of its schema.
    let written: Retention = serde_json::from_value(spec["retention"]["default"].clone()).unwrap();
    assert_eq!(written, Retention::default());
}
#[test]
fn the_schema_knows_exactly_the_fields_that_are_written() {
    let hook: Hook = serde_json::from_value(json!({
        "apiVersion": crate::API_VERSION, "kind": "Hook", "metadata": {"name": "a"},
        "spec": {
            "provider": "github",
            "verification": {"secretRefs": [{"name": "s"}], "hmac": {}, "token": {"audience": "a", "account": "b"}},
            "rules": [{"name": "r", "pipelineRun": {"spec": {}}, "params": [{"name": "p", "expression": "1"}],
                "payload": {"workspace": "w"}, "flow": {"key": "k"}}],
        },
        "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "r", "lastTransitionTime": "t"}]},
    }))
    .unwrap();
    let delivery = Delivery {
        api_version: crate::API_VERSION.to_owned(),
        kind: "Delivery".to_owned(),
        metadata: crate::object::Metadata::default(),
        record: crate::delivery::Record {
            rules: vec![crate::delivery::RuleRecord::default()],
            event: Some(json!({"type": "push"})),
            ..Default::default()
        },
    };
    let written = [
        serde_json::to_value(hook).unwrap(),
        serde_json::to_value(delivery).unwrap(),
    ];
    for (crd, object) in crds().iter().zip(&written) {
        known(root(crd), object, "");
    }
}

/// Fails where an object has a field that its schema lacks, or lacks one that is required.
fn known(schema: &Value, value: &Value, place: &str) {
    if schema.get("x-kubernetes-preserve-unknown-fields").is_some() || place == ".metadata" {
        return;
    }
    match value {
        Value::Object(fields) => {
            for required in schema["required"].as_array().into_iter().flatten() {
                assert!(
                    fields.contains_key(required.as_str().unwrap()),
                    "{place} lacks {required}"
                );
            }
            for (name, field) in fields {
                let inner = schema["properties"]
                    .get(name)
                    .or(schema.get("additionalProperties"));
                known(
                    inner.unwrap_or_else(|| panic!("{place}.{name} is unknown")),
                    field,
                    &format!("{place}.{name}"),
                );
            }
        }
        Value::Array(elements) => elements
            .iter()
            .for_each(|element| known(&schema["items"], element, place)),
        Value::String(_) => assert_eq!(schema["type"], "string", "{place}"),
        Value::Number(_) => assert_eq!(schema["type"], "integer", "{place}"),
        Value::Bool(_) => assert_eq!(schema["type"], "boolean", "{place}"),
        Value::Null => panic!("{place} is null"),
    }
}

#[test]
fn rules_and_selectable_fields_name_what_exists() {
    let crds = crds();
    let rules = &root(&crds[0])["properties"]["spec"]["properties"]["rules"]["items"];
    assert!(
        rules["x-kubernetes-validations"][0]["rule"]
            .as_str()
            .unwrap()
            .contains("has(self.flow)")
    );
    let flow = &rules["properties"]["flow"]["x-kubernetes-validations"][0]["rule"];
    assert_eq!(flow, "has(self.key) != has(self.inline)");
    for field in crds[1]["spec"]["versions"][0]["selectableFields"]
        .as_array()
        .unwrap()
    {
        let path = field["jsonPath"]
            .as_str()
            .unwrap()
            .replace('.', "/properties/");
        let kind = root(&crds[1])
            .pointer(&path)
            .unwrap_or_else(|| panic!("{path}"));
        assert_eq!(kind["type"], "string", "{path}");
    }
}

#[test]
fn what_a_hook_sets_for_itself_is_bounded_by_its_schema() {
    let hooks = hooks();
    let maximum = |place: &str| {
        let schema = root(&hooks).pointer(&format!("/properties/spec/properties/{place}/maximum"));
        schema.and_then(Value::as_u64)
    };
    let retention = |field: &str| maximum(&format!("retention/properties/{field}"));
    assert_eq!(retention("count"), Some(10_000));
    assert_eq!(retention("minHours"), Some(8_784));
    assert_eq!(retention("days"), Some(366));
    assert_eq!(retention("bytes"), Some(1 << 30));
    assert_eq!(maximum("quota/properties/perMinute"), Some(60_000));
    // What has no bound of its own has that of its type.
    assert_eq!(
        maximum("verification/properties/allowedRate"),
        Some(u32::MAX.into())
    );
}
