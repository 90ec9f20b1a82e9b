//! A run that is to be started: what the protocol of `start.rs` has to know of it, wherever the run was made.
//!
//! A flow gives a [`flows::Run`] at once; a Delivery holds its run as JSON, written down when it was decided on, and
//! started perhaps later and by another process. Both are the same to the API server.

use std::borrow::Cow;

use flows::{Label, Run, label, tekton::Secret};
use serde_json::Value;

use crate::{
    fault::{Fault, Kind},
    start::PENDING,
};

/// A run that is to be started.
#[derive(Clone, Debug)]
pub struct Planned<'a> {
    /// Its name.
    pub(crate) name: Label,
    /// Where it runs.
    pub(crate) namespace: Label,
    /// The identity of its event, as annotated.
    pub(crate) event: Cow<'a, str>,
    /// Digest of what it executes and owns, as annotated; empty where the run cannot change between two deliveries.
    pub(crate) snapshot: Cow<'a, str>,
    /// The PipelineRun as JSON; pending where it owns something.
    pub(crate) object: Vec<u8>,
    /// What it mounts, and owns once it has a UID.
    pub(crate) copies: Cow<'a, [Secret]>,
}

impl<'a> From<&'a Run> for Planned<'a> {
    fn from(run: &'a Run) -> Self {
        let snapshot = run.object.metadata.annotations.get(label::SNAPSHOT);
        Self {
            name: run.name.clone(),
            namespace: run.namespace.clone(),
            event: Cow::Borrowed(&run.event),
            snapshot: Cow::Borrowed(snapshot.map_or("", String::as_str)),
            object: run.object.to_json(),
            copies: Cow::Borrowed(&run.copies),
        }
    }
}

impl Planned<'_> {
    /// A run that was written down whole. It is made pending where it has copies, which must be there before it starts.
    ///
    /// # Errors
    /// A [`Fault`] of kind [`Kind::Refused`], where the object lacks what it is recognised by: a name and a namespace that
    /// are DNS labels, and the annotation [`label::EVENT`].
    pub fn stored(mut object: Value, copies: Vec<Secret>) -> Result<Self, Fault> {
        let metadata = &object["metadata"];
        let annotation = |name| metadata["annotations"][name].as_str().unwrap_or_default();
        let wrong = |what: &str| {
            let message = format!("the run that was written down has no {what}");
            Fault::new(Kind::Refused, "starting a stored PipelineRun", message)
        };
        let label = |field: &str| {
            let text = metadata[field].as_str().unwrap_or_default();
            text.parse::<Label>()
                .map_err(|_| wrong(&format!("legal metadata.{field}")))
        };
        let (name, namespace) = (label("name")?, label("namespace")?);
        let (event, snapshot) = (
            annotation(label::EVENT).to_owned(),
            annotation(label::SNAPSHOT).to_owned(),
        );
        if event.is_empty() {
            return Err(wrong(&format!("annotation {}", label::EVENT)));
        }
        if !object["spec"].is_object() {
            return Err(wrong("spec"));
        }
        if !copies.is_empty() {
            object["spec"]["status"] = Value::from(PENDING);
        }
        Ok(Self {
            name,
            namespace,
            event: Cow::Owned(event),
            snapshot: Cow::Owned(snapshot),
            object: object.to_string().into_bytes(),
            copies: Cow::Owned(copies),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_stored_run_needs_what_it_is_recognised_by() {
        let whole = json!({"metadata": {
            "name": "push-1", "namespace": "blue", "annotations": {label::EVENT: "hook 1 a"},
        }, "spec": {}});
        let planned = Planned::stored(whole.clone(), Vec::new()).unwrap();
        assert_eq!(planned.name.as_str(), "push-1");
        assert!(!String::from_utf8(planned.object).unwrap().contains(PENDING));
        for pointer in [
            "/metadata/name",
            "/metadata/namespace",
            "/metadata/annotations",
            "/spec",
        ] {
            let mut lacking = whole.clone();
            *lacking.pointer_mut(pointer).unwrap() = Value::Null;
            let fault = Planned::stored(lacking, Vec::new()).unwrap_err();
            assert_eq!(fault.kind, Kind::Refused, "{pointer}: {fault}");
        }
    }
}
