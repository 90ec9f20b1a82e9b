//! What differs between two objects, and what an object consists of, as sets of paths.

use crate::{
    fields::{Fields, Step},
    resource::Resource,
    shape::{self, Shape},
};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// The differences from one object to another.
#[derive(Debug, Default)]
pub(crate) struct Differences {
    /// Paths that are new or have another value.
    pub(crate) changed: Fields,
    /// Paths that are no longer there.
    pub(crate) removed: Fields,
}

/// Everything that makes up an object, for the one who applies it.
pub(crate) fn fields_of(resource: &Resource, object: &Value) -> Fields {
    let mut walk = Walk::new(resource);
    walk.collect("", object);
    walk.changed
}

/// The differences between two objects; `None` is no object.
pub(crate) fn differences(
    resource: &Resource,
    old: Option<&Value>,
    new: Option<&Value>,
) -> Differences {
    let mut walk = Walk::new(resource);
    walk.compare("", old, new);
    let Walk {
        mut changed,
        mut removed,
        ..
    } = walk;
    strip(&mut changed);
    strip(&mut removed);
    Differences { changed, removed }
}

/// Takes away what nobody owns: what the server sets itself, and what identifies the object.
pub(crate) fn strip(fields: &mut Fields) {
    for name in ["apiVersion", "kind"] {
        fields.remove_below(&[name]);
    }
    for name in [
        "name",
        "namespace",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "uid",
        "generation",
        "managedFields",
        "resourceVersion",
    ] {
        fields.remove_below(&["metadata", name]);
    }
    fields.remove("metadata");
}

/// The step to an element of a list that is merged by key or by value.
pub(crate) fn step_of(shape: Shape, element: &Value) -> Step {
    match shape {
        Shape::Keyed(keys) => {
            let key: Map<String, Value> = keys
                .iter()
                .map(|k| ((*k).to_owned(), element[*k].clone()))
                .collect();
            Step::Key(Value::Object(key).to_string())
        }
        _ => Step::Value(element.to_string()),
    }
}

struct Walk<'r> {
    resource: &'r Resource,
    at: Vec<Step>,
    changed: Fields,
    removed: Fields,
}

impl<'r> Walk<'r> {
    fn new(resource: &'r Resource) -> Self {
        Self {
            resource,
            at: vec![],
            changed: Fields::default(),
            removed: Fields::default(),
        }
    }

    fn below(&mut self, step: Step, visit: impl FnOnce(&mut Self)) {
        self.at.push(step);
        visit(self);
        self.at.pop();
    }

    fn collect(&mut self, path: &str, value: &Value) {
        match (shape::at(self.resource, path), value) {
            (Shape::Plain, Value::Object(map)) if !map.is_empty() => {
                for (name, value) in map {
                    let path = shape::field(path, name);
                    self.below(Step::Field(name.clone()), |walk| walk.collect(&path, value));
                }
            }
            (shape @ (Shape::Keyed(_) | Shape::Set), Value::Array(list)) if !list.is_empty() => {
                let path = shape::element(path);
                for element in list {
                    self.below(step_of(shape, element), |walk| {
                        walk.collect(&path, element);
                        walk.changed.insert(&walk.at);
                    });
                }
            }
            _ => self.changed.insert(&self.at),
        }
    }

    fn compare(&mut self, path: &str, old: Option<&Value>, new: Option<&Value>) {
        if old == new {
            return;
        }
        match (shape::at(self.resource, path), old, new) {
            // An empty map is a value of its own; so is null.
            (Shape::Plain, old, new) if is_map(old) || is_map(new) => {
                let old_map = old.and_then(Value::as_object);
                let new_map = new.and_then(Value::as_object);
                let names: BTreeSet<&String> = [old_map, new_map]
                    .into_iter()
                    .flatten()
                    .flat_map(Map::keys)
                    .collect();
                for name in names {
                    let path = shape::field(path, name);
                    let old = old_map.and_then(|m| m.get(name));
                    let new = new_map.and_then(|m| m.get(name));
                    self.below(Step::Field(name.clone()), |walk| {
                        walk.compare(&path, old, new);
                    });
                }
                self.container(old, new);
            }
            (shape @ (Shape::Keyed(_) | Shape::Set), old, new) if is_list(old) || is_list(new) => {
                let element = shape::element(path);
                let elements = |value: Option<&Value>| -> Vec<(Step, Value)> {
                    let list = value.and_then(Value::as_array).into_iter().flatten();
                    list.map(|e| (step_of(shape, e), e.clone())).collect()
                };
                let (old_list, new_list) = (elements(old), elements(new));
                let find = |list: &[(Step, Value)], step: &Step| {
                    list.iter().find(|(s, _)| s == step).map(|(_, v)| v.clone())
                };
                let steps: BTreeSet<&Step> =
                    old_list.iter().chain(&new_list).map(|(s, _)| s).collect();
                for step in steps {
                    let (old, new) = (find(&old_list, step), find(&new_list, step));
                    self.below(step.clone(), |walk| {
                        walk.compare(&element, old.as_ref(), new.as_ref());
                        walk.container(old.as_ref(), new.as_ref());
                    });
                }
                self.container(old, new);
            }
            (_, _, None) => self.removed.insert(&self.at),
            (_, _, Some(_)) => self.changed.insert(&self.at),
        }
    }

    /// A map or list that appeared or vanished as a whole is a path too.
    fn container(&mut self, old: Option<&Value>, new: Option<&Value>) {
        match (old, new) {
            _ if self.at.is_empty() => {}
            (None, Some(_)) => self.changed.insert(&self.at),
            (Some(_), None) => self.removed.insert(&self.at),
            (Some(old), Some(new)) if !same_kind(old, new) => self.changed.insert(&self.at),
            _ => {}
        }
    }
}

fn is_map(value: Option<&Value>) -> bool {
    matches!(value, Some(Value::Object(map)) if !map.is_empty())
}

fn is_list(value: Option<&Value>) -> bool {
    matches!(value, Some(Value::Array(list)) if !list.is_empty())
}

fn same_kind(old: &Value, new: &Value) -> bool {
    std::mem::discriminant(old) == std::mem::discriminant(new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource;
    use serde_json::json;

    #[test]
    fn lists_are_one_value_and_owner_references_are_not() {
        let resource = resource::by_kind("tekton.dev/v1", "Task").expect("a kind we keep");
        let fields = fields_of(
            resource,
            &json!({
                "metadata": {"ownerReferences": [{"uid": "1", "name": "a"}], "labels": {}},
                "spec": {"steps": [{"name": "a"}], "description": null},
            }),
        );
        let expected = json!({
            "f:metadata": {"f:ownerReferences": {"k:{\"uid\":\"1\"}": {}}, "f:labels": {}},
            "f:spec": {"f:steps": {}, "f:description": {}},
        });
        assert_eq!(fields.to_json(), expected);
    }

    #[test]
    fn a_map_that_appears_is_a_path_too() {
        let resource = resource::by_kind("v1", "ConfigMap").expect("a kind we keep");
        let old = json!({"metadata": {"name": "a"}});
        let new = json!({"metadata": {"name": "a", "labels": {"x": "y"}}, "data": {"k": "v"}});
        let found = differences(resource, Some(&old), Some(&new));
        let expected = json!({
            "f:data": {".": {}, "f:k": {}},
            "f:metadata": {"f:labels": {".": {}, "f:x": {}}},
        });
        assert_eq!(found.changed.to_json(), expected);
        let back = differences(resource, Some(&new), Some(&old));
        assert_eq!(back.removed.to_json(), expected);
        assert!(back.changed.is_empty());
    }
}
