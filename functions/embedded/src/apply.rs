//! Server-side apply: merging what a manager wants into what is there, with the real server's rules about who owns what.
//!
//! A manager owns the fields that it applied last. Fields that it no longer applies are removed unless somebody else
//! owns them too; fields that somebody else owns with another value are a conflict, or taken over by force.

use crate::{
    compare::{self, Differences, step_of},
    failure::{Failure, Result},
    fields::{Fields, Step},
    managers::{self, Entry, Operation, Writer},
    object,
    resource::Resource,
    shape::{self, Shape},
};
use serde_json::{Map, Value};

/// What becomes of fields that somebody else owns with another value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Force {
    /// They are a conflict.
    No,
    /// They change their owner.
    Yes,
}

/// The object after `config` was applied to `live`, with its owners.
pub(crate) fn apply(
    resource: &Resource,
    live: Option<&Value>,
    config: &Value,
    writer: &Writer,
    force: Force,
    now: &str,
) -> Result<Value> {
    let mut own = compare::fields_of(resource, config);
    let mut others = live.map_or_else(Vec::new, |live| owners(resource, live));
    let previous = others
        .iter()
        .position(|e| e.writer == *writer)
        .map(|at| others.swap_remove(at));

    let mut merged = match live {
        Some(live) => merge(resource, "", live, config),
        None => config.clone(),
    };
    if let Some(previous) = &previous {
        // With its name, which nobody owns: the metadata never go as a whole.
        let mut kept = own.clone();
        for other in &others {
            kept.union(&other.fields);
        }
        prune(resource, "", &mut merged, &previous.fields, &kept);
    }

    compare::strip(&mut own);
    let Differences { changed, removed } = compare::differences(resource, live, Some(&merged));
    let conflicts = conflicts(&others, &changed);
    if force == Force::No && !conflicts.is_empty() {
        return Err(Failure::apply_conflicts(&conflicts));
    }
    for other in &mut others {
        other.fields.subtract(&changed);
        other.fields.subtract(&removed);
    }

    others.push(Entry {
        writer: writer.clone(),
        api_version: resource.api_version(),
        time: now.to_owned(),
        fields: own,
    });
    managers::write(&mut merged, others);
    Ok(merged)
}

/// The owners of a stored object. One that a person wrote by hand has none: it is owned as a whole by whoever was
/// there before the first apply, as in the real server.
fn owners(resource: &Resource, live: &Value) -> Vec<Entry> {
    let entries = managers::read(live).unwrap_or_default();
    if !entries.is_empty() {
        return entries;
    }
    let mut fields = compare::fields_of(resource, live);
    compare::strip(&mut fields);
    vec![Entry {
        writer: Writer {
            operation: Operation::Update,
            manager: "before-first-apply".to_owned(),
            subresource: String::new(),
        },
        api_version: resource.api_version(),
        time: object::meta(live, "creationTimestamp").to_owned(),
        fields,
    }]
}

fn conflicts(others: &[Entry], changed: &Fields) -> Vec<(String, String)> {
    let mut conflicts = vec![];
    let mut others: Vec<&Entry> = others.iter().collect();
    others.sort_by_key(|e| &e.writer);
    for other in others {
        let who = other.writer.describe(&other.api_version);
        for path in other.fields.intersection(changed).paths() {
            conflicts.push((who.clone(), path));
        }
    }
    conflicts
}

/// What is there, overlaid with what is wanted.
fn merge(resource: &Resource, path: &str, live: &Value, config: &Value) -> Value {
    match (shape::at(resource, path), live, config) {
        (Shape::Plain, Value::Object(live), Value::Object(config)) => {
            let mut merged = live.clone();
            for (name, wanted) in config {
                let value = match live.get(name) {
                    Some(there) => merge(resource, &shape::field(path, name), there, wanted),
                    None => wanted.clone(),
                };
                merged.insert(name.clone(), value);
            }
            Value::Object(merged)
        }
        (shape @ (Shape::Keyed(_) | Shape::Set), Value::Array(live), Value::Array(config)) => {
            let element = shape::element(path);
            let same = |a: &Value, b: &Value| step_of(shape, a) == step_of(shape, b);
            let mut merged: Vec<Value> = live
                .iter()
                .map(|there| match config.iter().find(|w| same(there, w)) {
                    Some(wanted) => merge(resource, &element, there, wanted),
                    None => there.clone(),
                })
                .collect();
            merged.extend(
                config
                    .iter()
                    .filter(|w| !live.iter().any(|there| same(there, w)))
                    .cloned(),
            );
            Value::Array(merged)
        }
        // Null says "I own this, and have nothing to say about it".
        (_, there, Value::Null) if !there.is_null() && is_container(there) => there.clone(),
        (_, _, wanted) => wanted.clone(),
    }
}

fn is_container(value: &Value) -> bool {
    value.is_object() || value.is_array()
}

/// Removes what was applied last time and is owned by nobody now.
fn prune(resource: &Resource, path: &str, value: &mut Value, last: &Fields, kept: &Fields) {
    let shape = shape::at(resource, path);
    for (step, last) in last.steps() {
        match (kept.below(step), &mut *value) {
            (Some(kept), Value::Object(map)) => {
                if let Step::Field(name) = step
                    && let Some(value) = map.get_mut(name)
                {
                    prune(resource, &shape::field(path, name), value, last, kept);
                }
            }
            (Some(kept), Value::Array(list)) => {
                if let Some(value) = list.iter_mut().find(|e| step_of(shape, e) == *step) {
                    prune(resource, &shape::element(path), value, last, kept);
                }
            }
            (None, Value::Object(map)) => remove_field(map, step),
            (None, Value::Array(list)) => list.retain(|e| step_of(shape, e) != *step),
            _ => {}
        }
    }
}

fn remove_field(map: &mut Map<String, Value>, step: &Step) {
    if let Step::Field(name) = step {
        map.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource;
    use serde_json::json;

    fn writer(manager: &str, operation: Operation) -> Writer {
        Writer {
            operation,
            manager: manager.to_owned(),
            subresource: String::new(),
        }
    }

    fn config_map() -> &'static Resource {
        resource::by_kind("v1", "ConfigMap").expect("a kind we keep")
    }

    fn by(manager: &str, live: Option<&Value>, data: Value, force: Force) -> Result<Value> {
        let config = json!({"metadata": {"name": "a"}, "data": data});
        let writer = writer(manager, Operation::Apply);
        apply(config_map(), live, &config, &writer, force, "now")
    }

    #[test]
    fn fields_that_are_no_longer_applied_vanish_unless_somebody_else_owns_them() -> Result<()> {
        let one = by("m1", None, json!({"a": "1", "b": "2"}), Force::No)?;
        let two = by("m2", Some(&one), json!({"a": "1", "c": "3"}), Force::No)?;
        let three = by("m1", Some(&two), json!({}), Force::No)?;
        assert_eq!(three["data"], json!({"a": "1", "c": "3"}));
        let four = by("m2", Some(&three), json!({"c": "3"}), Force::No)?;
        assert_eq!(four["data"], json!({"c": "3"}));
        Ok(())
    }

    #[test]
    fn other_values_are_a_conflict_and_force_takes_them_over() -> Result<()> {
        let mut object = by("m1", None, json!({"a": "1"}), Force::No)?;
        let before = object.clone();
        object["data"]["b"] = "2".into();
        let editor = writer("edit", Operation::Update);
        managers::track_update(config_map(), Some(&before), &mut object, &editor, "later");

        let refused = by("m2", Some(&object), json!({"a": "x", "b": "y"}), Force::No);
        assert_eq!(
            refused.map_err(|e| e.to_string()),
            Err("Apply failed with 2 conflicts: conflicts with \"m1\":\n- .data.a\nconflicts with \"edit\" using v1:\n- .data.b".to_owned())
        );
        let taken = by("m2", Some(&object), json!({"a": "x", "b": "y"}), Force::Yes)?;
        assert_eq!(taken["data"], json!({"a": "x", "b": "y"}));
        let owners = managers::read(&taken).expect("it was just written");
        assert_eq!(owners.len(), 1, "{owners:?}");
        Ok(())
    }

    #[test]
    fn applying_the_same_again_changes_nothing() -> Result<()> {
        let one = by("m1", None, json!({"a": "1"}), Force::No)?;
        let config = json!({"metadata": {"name": "a"}, "data": {"a": "1"}});
        let writer = writer("m1", Operation::Apply);
        let again = apply(
            config_map(),
            Some(&one),
            &config,
            &writer,
            Force::No,
            "later",
        )?;
        assert!(managers::same_but_for_times(&one, &again));
        Ok(())
    }

    #[test]
    fn what_was_there_before_the_first_apply_has_an_owner() {
        let live = json!({"metadata": {"name": "a"}, "data": {"a": "1"}});
        let refused = by("m1", Some(&live), json!({"a": "2"}), Force::No);
        assert_eq!(
            refused.map_err(|e| e.to_string()),
            Err("Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.a".to_owned())
        );
    }
}
