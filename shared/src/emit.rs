//! From a flow to Tekton objects: what is kept as its latest content, and one run.
//!
//! Emission cannot fail: everything that could has been a problem before. It decides nothing by chance or by time,
//! so the same flow and request give the same bytes; a repeated event finds the run that its first delivery made.
//!
//! A run is a snapshot. It embeds its steps and mounts copies that it owns, so that two events at once, or an edit in
//! between, never read each other's data.

mod clone;
mod data;
mod pipeline;
mod run;
mod task;

pub(crate) use run::{Parts, assemble};

use std::collections::{BTreeMap, HashSet};

use crate::{
    flow::Flow,
    label,
    name::{Label, object_name},
    tekton::{self, Metadata, Object, TaskSource},
};
use data::Data;

/// What is joined to a flow's name for its Pipeline.
pub(crate) const PIPELINE: &str = "pl";

/// The name, among a run's copies, of the Secret that holds the payload or says where it lies.
const CONTEXT: &str = "context";

/// What every object of a flow says about whose it is.
pub(crate) struct Identity<'a> {
    /// The flow's name as object names begin.
    pub(crate) flow: &'a Label,
    /// The flow's name as its author wrote it.
    pub(crate) flow_name: &'a str,
    /// Where the objects live.
    pub(crate) namespace: &'a Label,
}

impl Identity<'_> {
    /// The metadata of one of the flow's objects.
    pub(crate) fn metadata(&self, name: String) -> Metadata {
        let text = str::to_owned;
        Metadata {
            name,
            namespace: self.namespace.clone(),
            labels: BTreeMap::from([
                (text(label::MANAGED_BY), text(label::HOOKRUN)),
                (text(label::FLOW), self.flow.to_string()),
            ]),
            annotations: BTreeMap::from([(text(label::FLOW_NAME), text(self.flow_name))]),
            owner_references: Vec::new(),
        }
    }
}

/// How the Secrets of data sets are called: those with the latest content, or a run's copies.
#[derive(Clone, Copy)]
pub(crate) enum Secrets<'a> {
    /// Of the flow with this name.
    Latest(&'a Label),
    /// Of the run with this name.
    Run(&'a Label),
}

impl Secrets<'_> {
    /// Whether these are a flow's, which people read, and not a run's.
    fn are_latest(&self) -> bool {
        matches!(self, Self::Latest(_))
    }

    /// The Secret of a data set. Longer than a label at times, which a Secret's name may be.
    pub(crate) fn name(&self, set: &str) -> String {
        match self {
            Self::Latest(owner) | Self::Run(owner) => format!("{owner}-{set}-secret"),
        }
    }
}

/// Where steps are written for, and what they see there.
struct Place<'a> {
    data: &'a Data<'a>,
    secrets: Secrets<'a>,
    payload: Option<Payload<'a>>,
    settings: &'a Settings,
}

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
            fetch_image: concat!("hookrun:", env!("CARGO_PKG_VERSION")).to_owned(),
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
    /// Which of the copies brings what came with the event.
    pub payload: Option<PayloadCopy>,
}

/// The copy that brings what came with the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadCopy {
    /// Its name.
    pub secret: String,
    /// The file that the steps see.
    pub entry: String,
}

/// Writes a flow as Tekton objects.
pub fn emit(flow: &Flow, namespace: &Label, request: &Request<'_>, settings: &Settings) -> Emitted {
    let base = object_name(&flow.name);
    let identity = Identity {
        flow: &base,
        flow_name: &flow.name,
        namespace,
    };
    let data = Data::gather(flow);
    Emitted {
        latest: latest(flow, &data, &identity, settings),
        run: run::emit(flow, &data, &identity, request, settings),
    }
}

/// The flow's latest content: Tasks, Secrets, Pipeline.
fn latest(
    flow: &Flow,
    data: &Data<'_>,
    identity: &Identity<'_>,
    settings: &Settings,
) -> Vec<Object> {
    let base = identity.flow;
    let place = Place {
        data,
        secrets: Secrets::Latest(base),
        payload: None,
        settings,
    };
    let mut latest = Vec::new();
    let mut written = Vec::new();
    for task in flow.tasks.iter().chain(&flow.finally) {
        let name = pipeline::task_name(base, &task.name);
        let task::Written { spec, params } =
            task::write(task, flow, base, &place, &mut HashSet::new());
        latest.push(Object::Task(tekton::Task::new(
            identity.metadata(name.to_string()),
            spec,
        )));
        written.push((
            TaskSource::TaskRef {
                name: name.to_string(),
            },
            params,
        ));
    }
    latest.extend(data.sets().map(|set| {
        let metadata = identity.metadata(place.secrets.name(set.name));
        Object::Secret(tekton::Secret::new(metadata, set.encoded(None)))
    }));
    let spec = pipeline::spec(flow, base, written);
    let name = base.join(PIPELINE).to_string();
    latest.push(Object::Pipeline(tekton::Pipeline::new(
        identity.metadata(name),
        spec,
    )));
    latest
}
