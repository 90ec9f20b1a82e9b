//! Tables: what `kubectl get` prints is made by the server, which knows the columns of each kind.
//!
//! Tekton's columns, and our own, are those of the CustomResourceDefinitions.

mod age;

use crate::object;
use jiff::Timestamp;
use serde_json::{Value, json};

/// One column: what it is called and how a cell is made.
#[derive(Clone, Copy)]
pub(crate) struct Column {
    name: &'static str,
    kind: &'static str,
    /// 0 is always shown, 1 with `-o wide`.
    priority: u8,
    cell: fn(&Value, Timestamp) -> Value,
}

/// How much of each object a table carries beside its cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Include {
    None,
    Metadata,
    Object,
}

const NAME: Column = text("Name", |o, _| o["metadata"]["name"].clone());
const AGE_COLUMN: Column = text("Age", |o, now| {
    since(&o["metadata"]["creationTimestamp"], now)
});

/// The age as definitions of resources ask for it.
const AGE_DATE: Column = Column {
    kind: "date",
    ..AGE_COLUMN
};

/// A kind of which only name and age are shown.
pub(crate) const AGE: &[Column] = &[NAME, AGE_COLUMN];

pub(crate) const CONFIG_MAP: &[Column] = &[
    NAME,
    text("Data", |o, _| {
        (count(&o["data"]) + count(&o["binaryData"])).into()
    }),
    AGE_COLUMN,
];

pub(crate) const SECRET: &[Column] = &[
    NAME,
    text("Type", |o, _| o["type"].clone()),
    text("Data", |o, _| count(&o["data"]).into()),
    AGE_COLUMN,
];

pub(crate) const NAMESPACE: &[Column] = &[
    NAME,
    text("Status", |o, _| o["status"]["phase"].clone()),
    AGE_COLUMN,
];

pub(crate) const RUN: &[Column] = &[
    NAME,
    text("Succeeded", |o, _| condition(o, "Succeeded", "status")),
    text("Reason", |o, _| condition(o, "Succeeded", "reason")),
    date("StartTime", |o, now| since(&o["status"]["startTime"], now)),
    date("CompletionTime", |o, now| {
        since(&o["status"]["completionTime"], now)
    }),
];

pub(crate) const HOOK: &[Column] = &[
    NAME,
    text("Provider", |o, _| o["spec"]["provider"].clone()),
    text("Ready", |o, _| condition(o, "Ready", "status")),
    text("Why", |o, _| condition(o, "Ready", "reason")),
    date("Last Event", |o, now| {
        since(&o["status"]["lastEventTime"], now)
    }),
    AGE_DATE,
    wide("Message", |o, _| condition(o, "Ready", "message")),
    wide("URL", |o, _| o["status"]["url"].clone()),
    wide("Path", |o, _| o["status"]["path"].clone()),
    number("Rejected", |o, _| o["status"]["rejected"].clone()),
];

pub(crate) const DELIVERY: &[Column] = &[
    NAME,
    text("Hook", |o, _| o["hook"]["name"].clone()),
    text("Event", |o, _| o["eventType"].clone()),
    text("Outcome", |o, _| o["outcome"].clone()),
    text("Run", |o, _| {
        let mut runs = object::list(&o["rules"]).filter_map(|rule| rule.get("run"));
        runs.next().cloned().unwrap_or_default()
    }),
    AGE_DATE,
    text("Reason", |o, _| o["reason"].clone()),
    wide("Provider", |o, _| o["provider"].clone()),
    wide("Id", |o, _| o["deliveryId"].clone()),
    number("Duplicates", |o, _| o["duplicates"].clone()),
];

pub(crate) const EVENT: &[Column] = &[
    text("Last Seen", |o, now| {
        since(
            first(o, &["/lastTimestamp", "/firstTimestamp", "/eventTime"]),
            now,
        )
    }),
    text("Type", |o, _| o["type"].clone()),
    text("Reason", |o, _| o["reason"].clone()),
    text("Object", |o, _| {
        let involved = &o["involvedObject"];
        let kind = involved["kind"].as_str().unwrap_or_default().to_lowercase();
        format!("{kind}/{}", involved["name"].as_str().unwrap_or_default()).into()
    }),
    wide("Subobject", |o, _| o["involvedObject"]["fieldPath"].clone()),
    wide("Source", |o, _| {
        first(o, &["/source/component", "/reportingComponent"]).clone()
    }),
    text("Message", |o, _| {
        o["message"].as_str().unwrap_or_default().trim().into()
    }),
    wide("First Seen", |o, now| {
        since(first(o, &["/firstTimestamp", "/eventTime"]), now)
    }),
    wide("Count", |o, _| o["count"].as_i64().unwrap_or(1).into()),
    wide("Name", |o, _| o["metadata"]["name"].clone()),
];

const fn text(name: &'static str, cell: fn(&Value, Timestamp) -> Value) -> Column {
    Column {
        name,
        kind: "string",
        priority: 0,
        cell,
    }
}

const fn wide(name: &'static str, cell: fn(&Value, Timestamp) -> Value) -> Column {
    Column {
        priority: 1,
        ..text(name, cell)
    }
}

/// A whole number, with `-o wide`.
const fn number(name: &'static str, cell: fn(&Value, Timestamp) -> Value) -> Column {
    Column {
        kind: "integer",
        ..wide(name, cell)
    }
}

const fn date(name: &'static str, cell: fn(&Value, Timestamp) -> Value) -> Column {
    Column {
        kind: "date",
        ..text(name, cell)
    }
}

/// The definitions of the columns.
pub(crate) fn definitions(columns: &[Column]) -> Value {
    columns
        .iter()
        .map(|c| {
            let format = if c.name == "Name" { "name" } else { "" };
            json!({"name": c.name, "type": c.kind, "format": format, "description": "", "priority": c.priority})
        })
        .collect()
}

/// The row of one object.
pub(crate) fn row(columns: &[Column], object: &Value, include: Include, now: Timestamp) -> Value {
    let cells: Vec<Value> = columns.iter().map(|c| (c.cell)(object, now)).collect();
    let object = match include {
        Include::None => Value::Null,
        Include::Metadata => partial(object),
        Include::Object => object.clone(),
    };
    json!({"cells": cells, "object": object})
}

/// An object without anything but its metadata.
pub(crate) fn partial(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

fn count(map: &Value) -> usize {
    map.as_object().map_or(0, serde_json::Map::len)
}

fn condition(object: &Value, kind: &str, field: &str) -> Value {
    object::list(&object["status"]["conditions"])
        .find(|c| c["type"] == kind)
        .map_or(Value::Null, |c| c[field].clone())
}

fn first<'a>(object: &'a Value, pointers: &[&str]) -> &'a Value {
    const NOTHING: &Value = &Value::Null;
    let filled = |v: &&Value| v.as_str().is_some_and(|t| !t.is_empty());
    pointers
        .iter()
        .filter_map(|p| object.pointer(p))
        .find(filled)
        .unwrap_or(NOTHING)
}

fn since(time: &Value, now: Timestamp) -> Value {
    match time.as_str().map(str::parse::<Timestamp>) {
        None => Value::Null,
        Some(Ok(time)) => age::between(time, now).into(),
        Some(Err(_)) => "<invalid>".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_shows_its_verdict() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().expect("a time");
        let run = json!({"metadata": {"name": "r"}, "status": {
            "startTime": "2026-01-01T00:00:00Z",
            "conditions": [{"type": "Succeeded", "status": "Unknown", "reason": "Running"}],
        }});
        let cells = &row(RUN, &run, Include::None, now)["cells"];
        assert_eq!(*cells, json!(["r", "Unknown", "Running", "60s", null]));
    }

    #[test]
    fn an_event_tells_of_its_object() {
        let now: Timestamp = "2026-01-01T00:05:00Z".parse().expect("a time");
        let event = json!({
            "metadata": {"name": "e"}, "type": "Normal", "reason": "R", "message": " m\n", "count": 2,
            "involvedObject": {"kind": "PipelineRun", "name": "r"}, "source": {"component": "c"},
            "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:04:00Z",
        });
        let cells = &row(EVENT, &event, Include::None, now)["cells"];
        assert_eq!(
            *cells,
            json!([
                "60s",
                "Normal",
                "R",
                "pipelinerun/r",
                null,
                "c",
                "m",
                "5m",
                2,
                "e"
            ])
        );
    }
}
