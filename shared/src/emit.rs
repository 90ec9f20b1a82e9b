//! From a flow to Tekton objects: what is kept as its latest content, and one run.
//!
//! Emission cannot fail: everything that could has been a problem before. It decides nothing by chance or by time,
//! so the same flow and request give the same bytes; a repeated event finds the run that its first delivery made.
//!
//! A run is a snapshot. It embeds its steps and mounts copies that it owns, so that two events at once, or an edit in
//! between, never read each other's data.

use crate::{
    flow::Flow,
    name::Label,
    tekton::{self, Object},
};

/// What one event asks for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What the event was addressed to.
    pub scope: Scope<'a>,
    /// The event's identity; the same identity gives the same run.
    pub event: &'a str,
    /// W3C trace context under which the run reports its spans.
    pub traceparent: Option<&'a str>,
    /// What came with the event; `None` where nothing did.
    pub payload: Option<Payload<'a>>,
}

/// What an event was addressed to; equal events with different addressees start different runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// The flow itself came with the event; the run is named after the flow.
    Document,
    /// A stored flow, by key. The run is named after the key, as the stored flow may be edited, and renamed, between
    /// two deliveries of one event.
    Key(&'a str),
    /// A flow of the cluster, by name.
    Name(&'a str),
}

/// What came with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// Travels as a Secret that the run owns.
    Inline(&'a [u8]),
    /// Lies elsewhere; the run fetches and checks it.
    Remote {
        /// Where it can be fetched without further credentials. As secret as the payload.
        url: &'a str,
        /// `sha256:` and 64 hexadecimal digits.
        digest: &'a str,
        /// How many bytes.
        size: u64,
    },
}

/// What emission needs to know of the installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The ServiceAccount that runs act as.
    pub service_account: String,
    /// User and group of a run's pods.
    pub user: i64,
    /// The image that clones repositories; has `sh` and `git`.
    pub clone_image: String,
    /// How many commits of history are cloned where the flow does not say; 0 is all.
    pub clone_depth: u32,
    /// The image that fetches remote payloads: our own.
    pub fetch_image: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            service_account: "pipeline".to_owned(),
            user: 100_000_000,
            clone_image: "docker.io/alpine/git:v2.49.1".to_owned(),
            clone_depth: 1,
            fetch_image: "hookrun:latest".to_owned(),
        }
    }
}

/// Everything that one event writes.
#[derive(Clone, Debug, PartialEq)]
pub struct Emitted {
    /// The flow's latest content, for runs by name and for people, in the order in which it is applied.
    pub latest: Vec<Object>,
    /// The run.
    pub run: Run,
}

/// One run and what it owns.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Its name, derived from addressee and event.
    pub name: Label,
    /// Where it runs.
    pub namespace: Label,
    /// The identity of its event, as annotated.
    pub event: String,
    /// The run; pending where it has copies, which must exist before it starts.
    pub object: tekton::PipelineRun,
    /// What it mounts; to be created with [`tekton::Secret::owned_by`] once the run has a UID.
    pub copies: Vec<tekton::Secret>,
}

/// Writes a flow as Tekton objects.
pub fn emit(flow: &Flow, namespace: &Label, request: &Request<'_>, settings: &Settings) -> Emitted {
    let _ = (flow, namespace, request, settings);
    todo!()
}
