//! One run and what it owns.

use std::collections::{BTreeMap, HashSet};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};

use super::{
    CONTEXT, Identity, Payload, PayloadCopy, Place, Request, Run, Scope, Secrets, Settings,
    data::Data, pipeline, task,
};
use crate::{
    flow::{self, Flow},
    label,
    name::{Label, object_name, run_name},
    tekton::{
        EmbeddedPipeline, Param, PipelineRun, PipelineRunSpec, PodSecurityContext, PodTemplate,
        Secret, TaskRunTemplate, TaskSource, Timeouts,
    },
};

/// Entries of the Secret that says where a payload lies.
pub(super) const URL: &str = "url";
pub(super) const DIGEST: &str = "digest";
pub(super) const SIZE: &str = "size";

/// What stored flows' keys begin with by convention; a run's name does without.
const KEY_PREFIX: &str = "ART_FLOW_";

/// A run of a flow.
pub(super) fn emit(
    flow: &Flow,
    data: &Data<'_>,
    identity: &Identity<'_>,
    request: &Request<'_>,
    settings: &Settings,
) -> Run {
    let name = request.run_name(identity.flow);
    let payload = request.payload.filter(|_| flow.payload.is_some());
    let place = Place {
        data,
        secrets: Secrets::Run(&name),
        payload,
        settings,
    };
    let mut used = HashSet::new();
    let tasks = flow.tasks.iter().chain(&flow.finally);
    let written = tasks.map(|task| task::write(task, flow, identity.flow, &place, &mut used));
    let embedded = written
        .map(|task::Written { spec, params }| (TaskSource::TaskSpec(spec), params))
        .collect();
    let spec = pipeline::spec(flow, identity.flow, embedded);

    let file = flow.payload.as_ref().filter(|_| payload.is_some());
    let mut copies: Vec<_> = data
        .used(&used)
        .map(|set| {
            let gives_way = file
                .filter(|file| file.set.as_str() == set.name)
                .map(|file| file.entry.as_str());
            (place.secrets.name(set.name), set.encoded(gives_way))
        })
        .collect();
    if let (Some(payload), Some(file)) = (payload, file) {
        copies.push((place.secrets.name(CONTEXT), context(payload, &file.entry)));
    }
    let payload = file.map(|file| PayloadCopy {
        secret: place.secrets.name(CONTEXT),
        entry: file.entry.to_string(),
    });
    let run = assemble(Parts {
        identity,
        name,
        request,
        settings,
        params: pipeline::values(flow),
        pipeline: EmbeddedPipeline::Made(spec),
        timeouts: pipeline::timeouts(flow),
        acts_as: &flow.identity,
        copies,
    });
    Run { payload, ..run }
}

/// What the run's own Secret for the payload holds.
fn context(payload: Payload<'_>, entry: &str) -> BTreeMap<String, String> {
    let encoded = |key: &str, value: &[u8]| (key.to_owned(), BASE64_STANDARD.encode(value));
    match payload {
        Payload::Inline(bytes) => BTreeMap::from([encoded(entry, bytes)]),
        Payload::Remote { url, digest, size } => BTreeMap::from([
            encoded(URL, url.as_bytes()),
            encoded(DIGEST, digest.as_bytes()),
            encoded(SIZE, size.to_string().as_bytes()),
        ]),
    }
}

impl Request<'_> {
    /// The run's name: from the addressee and the event, never from content that may change in between.
    pub fn run_name(&self, flow: &Label) -> Label {
        match self.scope {
            Scope::Document => run_name(flow, "document", self.event),
            Scope::Key(key) => {
                let prefix = key
                    .get(..KEY_PREFIX.len())
                    .filter(|start| start.eq_ignore_ascii_case(KEY_PREFIX));
                let base = prefix
                    .and_then(|_| key.get(KEY_PREFIX.len()..))
                    .filter(|rest| !rest.is_empty());
                run_name(
                    &object_name(base.unwrap_or(key)),
                    &format!("key {key}"),
                    self.event,
                )
            }
            Scope::Name(name) => run_name(&object_name(name), &format!("name {name}"), self.event),
        }
    }
}

/// What a run is put together from, wherever its pipeline came from.
pub(crate) struct Parts<'a> {
    /// Whose run it is.
    pub(crate) identity: &'a Identity<'a>,
    /// Its name.
    pub(crate) name: Label,
    /// What asked for it.
    pub(crate) request: &'a Request<'a>,
    /// As whom it runs otherwise.
    pub(crate) settings: &'a Settings,
    /// The values that it gives.
    pub(crate) params: Vec<Param>,
    /// What it executes.
    pub(crate) pipeline: EmbeddedPipeline,
    /// Its limits.
    pub(crate) timeouts: Option<Timeouts>,
    /// As whom, where the flow says so.
    pub(crate) acts_as: &'a flow::Identity,
    /// The Secrets that it owns: names and contents in base64.
    pub(crate) copies: Vec<(String, BTreeMap<String, String>)>,
}

/// Puts a run together.
pub(crate) fn assemble(parts: Parts<'_>) -> Run {
    let Parts {
        identity,
        name,
        request,
        settings,
        params,
        pipeline,
        timeouts,
        acts_as,
        copies,
    } = parts;
    let flow::Identity {
        service_account,
        user,
        group,
    } = acts_as;
    let mut spec = PipelineRunSpec {
        status: None,
        params,
        pipeline_spec: pipeline,
        timeouts,
        task_run_template: TaskRunTemplate {
            service_account_name: service_account
                .as_ref()
                .unwrap_or(&settings.service_account)
                .clone(),
            pod_template: PodTemplate {
                security_context: PodSecurityContext {
                    run_as_non_root: true,
                    run_as_user: user.unwrap_or(settings.user),
                    fs_group: group.unwrap_or(settings.user),
                },
            },
        },
    };
    let snapshot = digest(&spec, &copies);
    // Tekton fails a run whose Secrets are missing, and they need its UID: it waits until they are there.
    spec.status = (!copies.is_empty()).then_some("PipelineRunPending");

    let labelled = |name_of_object: String| {
        let mut metadata = identity.metadata(name_of_object);
        metadata
            .labels
            .insert(label::RUN.to_owned(), name.to_string());
        metadata
    };
    let mut metadata = labelled(name.to_string());
    let annotations = [
        (label::EVENT, Some(request.event.to_owned())),
        (label::SNAPSHOT, Some(snapshot)),
        (
            label::KEY,
            if let Scope::Key(key) = request.scope {
                Some(key.to_owned())
            } else {
                None
            },
        ),
        (
            label::SPAN_CONTEXT,
            request
                .traceparent
                .map(|text| serde_json::json!({ "traceparent": text }).to_string()),
        ),
    ];
    let annotations = annotations
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)));
    metadata.annotations.extend(annotations);
    let copies = copies
        .into_iter()
        .map(|(name, data)| Secret::new(labelled(name), data).sealed());
    Run {
        copies: copies.collect(),
        namespace: identity.namespace.clone(),
        event: request.event.to_owned(),
        object: PipelineRun::new(metadata, spec),
        payload: None,
        name,
    }
}

/// Digest of what a run executes and reads, which tells whether a pending run is the one that would be made now.
///
/// Where a payload can be fetched is left out: such a URL is signed anew each time, the payload's digest is not.
fn digest(spec: &PipelineRunSpec, copies: &[(String, BTreeMap<String, String>)]) -> String {
    let mut hash = Sha256::new();
    // Serialization of these types cannot fail; an empty text would only make digests equal that are compared
    // together with the run's name.
    hash.update(serde_json::to_vec(spec).unwrap_or_default());
    for (name, data) in copies {
        // Only there: a secret of the flow may well be called `url`.
        let is_payload = name.ends_with(&format!("-{CONTEXT}-secret"));
        let is_place = |key: &str| {
            is_payload && key == URL && data.contains_key(DIGEST) && data.contains_key(SIZE)
        };
        for text in std::iter::once(name).chain(
            data.iter()
                .filter(|(key, _)| !is_place(key))
                .flat_map(|(key, value)| [key, value]),
        ) {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
    }
    let hex: String = hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}")
}
