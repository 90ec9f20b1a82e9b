//! Who owns which field: the entries of `metadata.managedFields`, and how ordinary writes change them.

use crate::{
    compare::{self, Differences},
    fields::Fields,
    object,
    resource::Resource,
};
use serde_json::{Value, json};

/// Whether fields are owned by server-side apply or by any other write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operation {
    Apply,
    Update,
}

/// Who writes: one entry of `managedFields` belongs to one of these.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Writer {
    pub(crate) operation: Operation,
    pub(crate) manager: String,
    pub(crate) subresource: String,
}

/// An owner and what it owns.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) writer: Writer,
    pub(crate) api_version: String,
    pub(crate) time: String,
    pub(crate) fields: Fields,
}

impl Writer {
    /// As messages name it: who applies by name only, other writers with the version that they wrote.
    pub(crate) fn describe(&self, api_version: &str) -> String {
        let mut text = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            text += &format!(" with subresource {:?}", self.subresource);
        }
        if self.operation == Operation::Update {
            text += &format!(" using {api_version}");
        }
        text
    }
}

/// The entries of an object. `None` where the field is there and not in the form.
pub(crate) fn read(object: &Value) -> Option<Vec<Entry>> {
    match object["metadata"].get("managedFields") {
        None | Some(Value::Null) => Some(vec![]),
        Some(Value::Array(list)) => list.iter().map(read_entry).collect(),
        Some(_) => None,
    }
}

fn read_entry(entry: &Value) -> Option<Entry> {
    let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    let operation = match entry["operation"].as_str()? {
        "Apply" => Operation::Apply,
        "Update" => Operation::Update,
        _ => return None,
    };
    Some(Entry {
        writer: Writer {
            operation,
            manager: text("manager"),
            subresource: text("subresource"),
        },
        api_version: text("apiVersion"),
        time: text("time"),
        fields: Fields::from_json(&entry["fieldsV1"])?,
    })
}

/// Puts the entries into an object: those of apply first, then by time.
pub(crate) fn write(object: &mut Value, mut entries: Vec<Entry>) {
    entries.retain(|e| !e.fields.is_empty());
    entries.sort_by(|a, b| {
        let order = |e: &Entry| (e.writer.operation, e.time.clone(), e.writer.manager.clone());
        order(a).cmp(&order(b))
    });
    if entries.is_empty() {
        object::unset_meta(object, "managedFields");
        return;
    }
    let list: Vec<Value> = entries
        .into_iter()
        .map(|entry| {
            let Entry {
                writer:
                    Writer {
                        operation,
                        manager,
                        subresource,
                    },
                api_version,
                time,
                fields,
            } = entry;
            let operation = match operation {
                Operation::Apply => "Apply",
                Operation::Update => "Update",
            };
            let mut json = json!({
                "manager": manager, "operation": operation, "apiVersion": api_version,
                "fieldsType": "FieldsV1", "fieldsV1": fields.to_json(),
            });
            // Absent in entries that a client wrote without them.
            for (name, value) in [("time", time), ("subresource", subresource)] {
                if !value.is_empty() {
                    json[name] = value.into();
                }
            }
            json
        })
        .collect();
    object::set_meta(object, "managedFields", list);
}

/// Whether two objects differ in nothing but the times of their entries: then there is nothing to store.
pub(crate) fn same_but_for_times(one: &Value, other: &Value) -> bool {
    let timeless = |object: &Value| {
        let mut object = object.clone();
        if let Some(entries) = object["metadata"]["managedFields"].as_array_mut() {
            for entry in entries.iter_mut().filter_map(Value::as_object_mut) {
                entry.remove("time");
            }
            // They are in the order of their times.
            entries.sort_by_key(Value::to_string);
        }
        object
    };
    timeless(one) == timeless(other)
}

/// What a create, update or patch other than apply does to ownership: the writer gets what it changed, and everybody
/// else loses that and what is gone.
pub(crate) fn track_update(
    resource: &Resource,
    old: Option<&Value>,
    new: &mut Value,
    writer: &Writer,
    now: &str,
) {
    let mut entries = entries_for_update(old, new);
    let Differences { changed, removed } = compare::differences(resource, old, Some(new));
    for entry in &mut entries {
        entry.fields.subtract(&changed);
        entry.fields.subtract(&removed);
    }
    if !changed.is_empty() {
        match entries.iter_mut().find(|e| e.writer == *writer) {
            Some(own) => {
                own.fields.union(&changed);
                now.clone_into(&mut own.time);
            }
            None => entries.push(Entry {
                writer: writer.clone(),
                api_version: resource.api_version(),
                time: now.to_owned(),
                fields: changed,
            }),
        }
    }
    write(new, entries);
}

/// A writer may set `managedFields` (kubectl does when it moves an object to server-side apply) or clear them by an
/// empty list; what cannot be read, and nothing at all, leaves them as they are.
fn entries_for_update(old: Option<&Value>, new: &Value) -> Vec<Entry> {
    let stored = || old.and_then(read).unwrap_or_default();
    match new["metadata"].get("managedFields") {
        Some(Value::Array(list)) if list.is_empty() || list == &[json!({})] => vec![],
        Some(Value::Array(_)) => read(new).unwrap_or_else(stored),
        _ => stored(),
    }
}
