//! The kinds of patch that are not server-side apply: JSON patch, merge patch, and strategic merge patch for the
//! built-in kinds.

use crate::{
    failure::{Failure, Result},
    resource::{Origin, Resource},
};
use serde_json::{Map, Value, json};
use std::fmt;

/// What a request may send to PATCH, by media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Json,
    Merge,
    Strategic,
    Apply,
}

impl Kind {
    /// The kind of a `Content-Type`; the kind of object decides what it takes.
    pub(crate) fn of(resource: &Resource, media_type: &str) -> Result<Self> {
        match (media_type, resource.origin) {
            ("application/json-patch+json", _) => Ok(Self::Json),
            ("application/merge-patch+json", _) => Ok(Self::Merge),
            ("application/strategic-merge-patch+json", Origin::BuiltIn) => Ok(Self::Strategic),
            ("application/apply-patch+yaml", _) => Ok(Self::Apply),
            (_, Origin::BuiltIn) => Err(Failure::unsupported_media_type(
                "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml",
            )),
            (_, Origin::Custom) => Err(Failure::unsupported_media_type(
                "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
            )),
        }
    }
}

/// RFC 6902. A `test` that does not hold, or a path that is not there, is 422.
pub(crate) fn json(object: &mut Value, patch: &[u8]) -> Result<()> {
    let patch: Value = serde_json::from_slice(patch).map_err(undecodable)?;
    let Value::Array(operations) = &patch else {
        return Err(undecodable("a JSON patch is a list of operations"));
    };
    if operations.len() > 10_000 {
        let limit = "The allowed maximum operations in a JSON patch is 10000";
        return Err(Failure::bad_request(limit));
    }
    let patch: json_patch::Patch =
        serde_json::from_value(patch).map_err(|_| Failure::patch_refused())?;
    json_patch::patch(object, &patch).map_err(|_| Failure::patch_refused())
}

/// RFC 7396.
pub(crate) fn merge(object: &mut Value, patch: &[u8]) -> Result<()> {
    let patch: Value = serde_json::from_slice(patch).map_err(undecodable)?;
    if !patch.is_object() {
        return Err(undecodable("a merge patch of an object is an object"));
    }
    json_patch::merge(object, &patch);
    Ok(())
}

/// Merge patch with Kubernetes' directives. Lists are replaced, but for those that every object or ServiceAccounts
/// have ([`merge_key`]); a directive that is not known is 501, for it would mean something else than what we do.
pub(crate) fn strategic(object: &mut Value, patch: &[u8]) -> Result<()> {
    match serde_json::from_slice(patch).map_err(undecodable)? {
        Value::Object(patch) => merge_map(object, patch, ""),
        _ => Err(undecodable(
            "a strategic merge patch of an object is an object",
        )),
    }
}

fn undecodable(why: impl fmt::Display) -> Failure {
    Failure::bad_request(format!("error decoding patch: {why}"))
}

/// How a list is merged: by a key of its elements, or (`""`) as a set of scalars.
fn merge_key(path: &str) -> Option<&'static str> {
    match path {
        ".metadata.ownerReferences" => Some("uid"),
        ".metadata.finalizers" => Some(""),
        ".secrets" | ".imagePullSecrets" => Some("name"),
        _ => None,
    }
}

fn merge_map(target: &mut Value, mut patch: Map<String, Value>, path: &str) -> Result<()> {
    match patch.remove("$patch") {
        None => {}
        Some(directive) if directive == "merge" => {}
        Some(directive) if directive == "replace" => {
            *target = Value::Object(patch);
            return Ok(());
        }
        Some(directive) => return Err(unknown("$patch", &directive, path)),
    }
    if !target.is_object() {
        *target = json!({});
    }
    if let Some(keys) = patch.remove("$retainKeys")
        && let (Some(keys), Some(target)) = (keys.as_array(), target.as_object_mut())
    {
        target.retain(|name, _| keys.iter().any(|k| k == name));
    }
    let mut orders = vec![];
    for (name, wanted) in patch {
        if let Some(list) = name.strip_prefix("$deleteFromPrimitiveList/") {
            if let Some(there) = target[list].as_array_mut() {
                there.retain(|e| !wanted.as_array().is_some_and(|gone| gone.contains(e)));
            }
            continue;
        }
        if let Some(list) = name.strip_prefix("$setElementOrder/") {
            orders.push((list.to_owned(), wanted));
            continue;
        }
        if name.starts_with('$') {
            return Err(unknown(&name, &wanted, path));
        }
        let at = format!("{path}.{name}");
        match (wanted, merge_key(&at)) {
            (Value::Null, _) => {
                target.as_object_mut().map(|t| t.remove(&name));
            }
            (Value::Object(wanted), _) if wanted.get("$patch") == Some(&json!("delete")) => {
                target.as_object_mut().map(|t| t.remove(&name));
            }
            (Value::Object(wanted), _) => merge_map(&mut target[&name], wanted, &at)?,
            (Value::Array(wanted), Some(key)) => merge_list(&mut target[&name], wanted, key, &at)?,
            (wanted, _) => target[&name] = wanted,
        }
    }
    for (list, order) in orders {
        reorder(
            &mut target[&list],
            &order,
            merge_key(&format!("{path}.{list}")),
        );
    }
    Ok(())
}

fn merge_list(target: &mut Value, wanted: Vec<Value>, key: &str, path: &str) -> Result<()> {
    if !target.is_array() {
        *target = json!([]);
    }
    let Some(list) = target.as_array_mut() else {
        return Ok(());
    };
    if wanted.iter().any(|w| w["$patch"] == "replace") {
        *list = wanted
            .into_iter()
            .filter(|w| w.get("$patch").is_none())
            .collect();
        return Ok(());
    }
    for element in wanted {
        match element {
            Value::Object(mut element) if !key.is_empty() => {
                let directive = element.remove("$patch");
                let id = element.get(key).cloned().unwrap_or_default();
                let place = list.iter().position(|e| e[key] == id);
                match (directive, place) {
                    (Some(d), Some(place)) if d == "delete" => {
                        list.remove(place);
                    }
                    (Some(d), None) if d == "delete" => {}
                    (Some(directive), _) => return Err(unknown("$patch", &directive, path)),
                    (None, Some(place)) => merge_map(&mut list[place], element, path)?,
                    (None, None) => list.push(Value::Object(element)),
                }
            }
            element if !list.contains(&element) => list.push(element),
            _ => {}
        }
    }
    Ok(())
}

/// Elements that the order names come in that order, the others stay behind them.
fn reorder(list: &mut Value, order: &Value, key: Option<&str>) {
    if let (Some(list), Some(order)) = (list.as_array_mut(), order.as_array()) {
        list.sort_by_key(|element| {
            let same = |o: &Value| match key {
                Some(key) if !key.is_empty() => o[key] == element[key],
                _ => o == element,
            };
            order.iter().position(same).unwrap_or(usize::MAX)
        });
    }
}

fn unknown(directive: &str, value: &Value, path: &str) -> Failure {
    let place = if path.is_empty() { "the top" } else { path };
    Failure::not_implemented(&format!(
        "the strategic merge patch directive {directive}={value} at {place}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strategically(mut object: Value, patch: Value) -> Value {
        strategic(&mut object, patch.to_string().as_bytes()).expect("it is a patch");
        object
    }

    #[test]
    fn a_test_that_does_not_hold_changes_nothing() {
        let mut object = json!({"a": 1});
        let patch = json!([{"op": "replace", "path": "/a", "value": 2}, {"op": "test", "path": "/a", "value": 1}]);
        let refused = json(&mut object, patch.to_string().as_bytes());
        assert_eq!(refused.map_err(|e| e.code().as_u16()), Err(422));
        assert_eq!(object, json!({"a": 1}));
    }

    #[test]
    fn what_is_no_patch_is_refused() {
        for (bad, code) in [("{", 400), ("{}", 400), ("[{\"op\":\"nope\"}]", 422)] {
            let refused = json(&mut json!({}), bad.as_bytes());
            assert_eq!(refused.map_err(|e| e.code().as_u16()), Err(code), "{bad}");
        }
    }

    #[test]
    fn maps_are_merged_and_null_removes() {
        let object = json!({"data": {"a": "1", "b": "2"}, "list": [1, 2]});
        let patch = json!({"data": {"a": null, "c": "3"}, "list": [3]});
        let expected = json!({"data": {"b": "2", "c": "3"}, "list": [3]});
        assert_eq!(strategically(object, patch), expected);
    }

    #[test]
    fn owners_and_finalizers_are_merged() {
        let object = json!({"metadata": {"ownerReferences": [{"uid": "1", "name": "a"}], "finalizers": ["x/1", "x/2"]}});
        let patch = json!({"metadata": {
            "ownerReferences": [{"uid": "2", "name": "b"}, {"uid": "1", "$patch": "delete"}],
            "finalizers": ["x/3"], "$deleteFromPrimitiveList/finalizers": ["x/1"],
            "$setElementOrder/finalizers": ["x/3", "x/2"],
        }});
        let expected = json!({"metadata": {"ownerReferences": [{"uid": "2", "name": "b"}], "finalizers": ["x/3", "x/2"]}});
        assert_eq!(strategically(object, patch), expected);
    }

    #[test]
    fn directives_replace_and_delete() {
        let object = json!({"data": {"a": "1"}, "labels": {"x": "y"}});
        let patch =
            json!({"data": {"$patch": "replace", "b": "2"}, "labels": {"$patch": "delete"}});
        assert_eq!(strategically(object, patch), json!({"data": {"b": "2"}}));
    }
}
