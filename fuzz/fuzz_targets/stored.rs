//! Any JSON as what the cluster holds of a flow: a pipeline, the task that all its tasks refer to, the flow's Secrets.

#![no_main]

use std::collections::BTreeMap;

use flows::{
    Request, Scope, Settings,
    name::object_name,
    stored::{Stored, secret_names, snapshot, task_names},
};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let Ok((pipeline, task)) = serde_json::from_slice::<(Value, Value)>(bytes) else {
        return;
    };
    let tasks: BTreeMap<_, _> = task_names(&pipeline)
        .into_iter()
        .map(|name| (name, task.clone()))
        .collect();
    let flow = object_name("shop");
    let secrets = secret_names(&flow, &tasks, &pipeline);
    let secrets = secrets
        .into_iter()
        .map(|name| (name, BTreeMap::new()))
        .collect();
    let stored = Stored {
        pipeline,
        tasks,
        secrets,
    };
    let request = Request {
        scope: Scope::Name("shop"),
        event: "e",
        traceparent: None,
        payload: None,
    };
    if let Ok(run) = snapshot(
        "shop",
        stored,
        &object_name("blue"),
        &request,
        &Settings::default(),
    ) {
        assert_eq!(run.object.spec.status.is_some(), !run.copies.is_empty());
        // Nothing of the flow's own is shared with the run any more.
        let text = String::from_utf8_lossy(&run.object.to_json()).into_owned();
        let run: Value = serde_json::from_str(&text).expect("a run is JSON");
        let tasks = BTreeMap::from([("run".to_owned(), run)]);
        assert!(
            secret_names(&flow, &tasks, &Value::Null).is_empty(),
            "{text}"
        );
    }
});
