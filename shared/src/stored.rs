//! A run of what the cluster holds: the flow's Pipeline, Tasks and Secrets, as they are now, become a snapshot.
//!
//! Pure: the edge reads the objects, in the order that the functions here ask for, and writes the run. The objects
//! may be anybody's: what we do not know is taken along as it is, what Tekton would refuse is a problem.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    emit::{Request, Run, Settings},
    name::Label,
    problem::Problems,
};

/// What the cluster holds of a flow.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// The Pipeline, whole.
    pub pipeline: Value,
    /// The Tasks that it uses, whole, by name; see [`task_names`].
    pub tasks: BTreeMap<String, Value>,
    /// Contents in base64 of the flow's own Secrets, by name; see [`secret_names`].
    pub secrets: BTreeMap<String, BTreeMap<String, String>>,
}

/// The name of the Pipeline that a flow's name stands for.
pub fn pipeline_name(name: &str) -> Label {
    crate::name::object_name(name).join("pl")
}

/// The Tasks of its own namespace that a Pipeline uses.
pub fn task_names(pipeline: &Value) -> Vec<String> {
    let _ = pipeline;
    todo!()
}

/// The flow's own Secrets that its Pipeline and Tasks use; those of others stay references.
pub fn secret_names(
    flow: &Label,
    tasks: &BTreeMap<String, Value>,
    pipeline: &Value,
) -> Vec<String> {
    let _ = (flow, tasks, pipeline);
    todo!()
}

/// One run of it.
///
/// # Errors
///
/// What is missing, or cannot be run by name.
pub fn snapshot(
    name: &str,
    stored: Stored,
    namespace: &Label,
    request: &Request<'_>,
    settings: &Settings,
) -> Result<Run, Problems> {
    let _ = (name, stored, namespace, request, settings);
    todo!()
}
