//! Flows: looked up when the event is decided on, and written as a PipelineRun there and then.
//!
//! What is stored is the run, as with any other rule, so that whoever carries it out needs neither the flow store nor what
//! it holds by then. What the run is to own (credentials, files) is kept in Secrets of the Delivery; the payload is where
//! the Delivery has it. A flow that cannot be looked up now leaves its rule `Received`, and who goes on with the Delivery
//! looks it up.

use std::sync::Arc;

use bytes::Bytes;
use cluster::{Cluster, Denied, Fault, Kind, Policy, RunOptions};
use flows::{
    Emitted, Flow, Format, Label, Lowering, Payload, Problems, Request, Run, Scope, Settings,
    flow::Value as FlowValue,
};
use hooks::{
    Delivery, Outcome,
    delivery::{FlowRef, RuleRecord, RunPayload},
    run::{DELIVERY, HOOK, RULE, event_identity},
};
use serde_json::Value;
use store::FlowStore;

use crate::{
    Deliveries,
    carry::{AGAIN, is_unresolved},
    payload::{self, Kept},
    privileged::privileged_steps,
    record, resource,
};

/// Longest reason of a flow that cannot be used, in bytes: a document may have many problems.
const REASON_BYTES: usize = 2048;

/// What flows are looked up with, and how their runs are made.
pub struct Flows {
    store: Arc<dyn FlowStore>,
    policy: Policy,
    lowering: Lowering,
    settings: Settings,
}

/// Why a flow gives no run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The flow document cannot be used.
    #[error("the flow cannot be used: {0}")]
    Document(Problems),
    /// What the cluster stores of a flow is not complete, or cannot be run by name.
    #[error("the stored flow cannot be used: {0}")]
    Stored(Problems),
    /// The cluster stores no such flow.
    #[error("there is no such flow: {0}")]
    Unknown(Fault),
    /// Configuration does not allow it.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The flow declares no parameter of this name.
    #[error("the flow declares no parameter {0:?}")]
    Parameter(String),
    /// The flow store did not give the flow.
    #[error("cannot look up flow: {0}")]
    Store(store::Error),
    /// The API server refused something, or could not be asked.
    #[error(transparent)]
    Cluster(Fault),
    /// It is not looked up in this process.
    #[error("no flow is looked up here")]
    Nowhere,
    /// What is to be started, or passed to it, cannot be read.
    #[error("the payload cannot be read")]
    Payload,
}

impl Error {
    /// Whether another try may succeed although nobody changes anything about the flow.
    fn passes(&self) -> bool {
        match self {
            Self::Store(error) => matches!(
                error.class(),
                store::Class::Upstream | store::Class::Timeout | store::Class::Unavailable
            ),
            Self::Cluster(fault) => matches!(
                fault.kind,
                Kind::Unavailable | Kind::Blocked | Kind::Forbidden | Kind::Unauthorized
            ),
            Self::Nowhere | Self::Payload => true,
            Self::Document(_)
            | Self::Stored(_)
            | Self::Unknown(_)
            | Self::Denied(_)
            | Self::Parameter(_) => false,
        }
    }
}

impl Flows {
    /// Flows of this store, whose runs are made as the options say, where the policy allows it.
    pub fn new(store: Arc<dyn FlowStore>, options: &RunOptions, policy: Policy) -> Self {
        Self {
            store,
            policy,
            lowering: options.lowering(),
            settings: options.settings(),
        }
    }

    /// The document that the store has under a key.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn document(&self, key: &str) -> Result<Bytes, Error> {
        self.store.get(key).await.map_err(Error::Store)
    }

    /// Reads a document; `namespace` is where its run is to be, whatever the document says.
    ///
    /// # Errors
    /// [`Error::Document`], with all that is wrong.
    pub fn parse(&self, document: &[u8], namespace: Option<&Label>) -> Result<Flow, Error> {
        let lowering = Lowering {
            namespace: namespace.cloned(),
            ..self.lowering.clone()
        };
        flows::parse(Format::Artisan, document, &lowering).map_err(Error::Document)
    }

    /// Writes a flow as Tekton objects. Its run acts as `account`, or as the options say.
    ///
    /// # Errors
    /// [`Error::Denied`].
    pub fn emit(
        &self,
        flow: &Flow,
        namespace: &Label,
        request: &Request<'_>,
        account: Option<&str>,
    ) -> Result<Emitted, Error> {
        let privileged = flow.privileged().map(|step| step.name.as_ref());
        self.policy.check_privileged(namespace, privileged)?;
        Ok(flows::emit(
            flow,
            namespace,
            request,
            &self.settings(account),
        ))
    }

    /// A run of what the cluster stores of a flow, as it is now.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Stored`], [`Error::Denied`] or [`Error::Cluster`].
    pub async fn snapshot(
        &self,
        cluster: &Cluster,
        namespace: &Label,
        name: &str,
        request: &Request<'_>,
    ) -> Result<Run, Error> {
        let stored = cluster.stored(namespace.as_ref(), name).await;
        let stored = stored.map_err(|fault| match fault.kind {
            Kind::NotFound => Error::Unknown(fault),
            _ => Error::Cluster(fault),
        })?;
        self.policy
            .check_privileged(namespace, privileged_steps(&stored))?;
        flows::stored::snapshot(name, stored, namespace, request, &self.settings(None))
            .map_err(Error::Stored)
    }

    fn settings(&self, account: Option<&str>) -> Settings {
        let mut settings = self.settings.clone();
        if let Some(account) = account {
            account.clone_into(&mut settings.service_account);
        }
        settings
    }

    /// The run of one rule of a Delivery.
    async fn run_of(
        &self,
        cluster: &Cluster,
        delivery: &Delivery,
        rule: &RuleRecord,
        source: &FlowRef,
        given: &Given<'_>,
    ) -> Result<Run, Error> {
        let metadata = &delivery.metadata;
        let namespace: Label = metadata.namespace.parse().map_err(|_| Error::Payload)?;
        let key = &delivery.record.key;
        let hook = delivery.record.hook.as_ref();
        let event = hook.map_or_else(
            || key.clone(),
            |hook| event_identity(&hook.uid, &rule.name, key),
        );
        let request = Request {
            scope: scope(source),
            event: &event,
            traceparent: given.traceparent,
            payload: None,
        };
        if let Some(name) = &source.name {
            return self.snapshot(cluster, &namespace, name, &request).await;
        }
        let (document, takes_payload) = match (&source.key, &source.inline) {
            (Some(key), _) => (self.document(key).await?, true),
            (None, Some(inline)) => (inline.to_string().into(), true),
            (None, None) => (given.bytes.cloned().ok_or(Error::Payload)?, false),
        };
        let mut flow = self.parse(&document, Some(&namespace))?;
        for (name, value) in rule.params.iter().filter_map(Value::as_object).flatten() {
            let declared = flow.parameters.iter_mut().find(|known| known.name == *name);
            let declared = declared.ok_or_else(|| Error::Parameter(name.clone()))?;
            declared.value = Some(as_parameter(value));
        }
        let request = Request {
            payload: match takes_payload {
                true => payload_of(delivery, rule, given)?,
                false => None,
            },
            ..request
        };
        let account = metadata.annotations.get(resource::SERVICE_ACCOUNT);
        let account = account.filter(|_| hook.is_some()).map(String::as_str);
        Ok(self.emit(&flow, &namespace, &request, account)?.run)
    }
}

/// What is at hand of an event beside its record.
#[derive(Clone, Copy)]
struct Given<'a> {
    /// The payload's bytes.
    bytes: Option<&'a Bytes>,
    /// W3C trace context that the run continues.
    traceparent: Option<&'a str>,
}

/// What a flow is named by decides on the names of its runs.
fn scope(source: &FlowRef) -> Scope<'_> {
    match (&source.key, &source.name) {
        (Some(key), _) => Scope::Key(key),
        (None, Some(name)) => Scope::Name(name),
        (None, None) => Scope::Document,
    }
}

/// What the run gets to know of the payload. Where it can be fetched is signed when the run is started.
fn payload_of<'a>(
    delivery: &'a Delivery,
    rule: &'a RuleRecord,
    given: &Given<'a>,
) -> Result<Option<Payload<'a>>, Error> {
    let made = rule.payload.as_ref();
    if let Some(text) = made.and_then(|payload| payload.text.as_ref()) {
        return Ok(Some(Payload::Inline(text.as_bytes())));
    }
    let stored = &delivery.record.payload;
    if stored.object.is_some() {
        return Ok(Some(Payload::Remote {
            url: "",
            digest: &stored.digest,
            size: stored.size,
        }));
    }
    let bytes = given.bytes.ok_or(Error::Payload)?;
    // Nothing came with an event that was posted without a body; what a provider sends is never nothing.
    let nothing = bytes.is_empty() && delivery.record.hook.is_none();
    Ok((!nothing).then_some(Payload::Inline(bytes)))
}

/// A value as package `hooks` renders it: a text, a list of texts, or a map of texts.
fn as_parameter(value: &Value) -> FlowValue {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match value {
        Value::Array(items) => FlowValue::List(items.iter().map(text).collect()),
        Value::Object(members) => {
            let members = members.iter();
            FlowValue::Map(
                members
                    .map(|(key, value)| (key.clone(), text(value)))
                    .collect(),
            )
        }
        value => FlowValue::Text(text(value)),
    }
}

impl Deliveries {
    /// Puts the run into the record of each rule that starts a flow, and says what these runs are to own. A flow that
    /// cannot be used ends its rule `Failed`; one that cannot be looked up now leaves it as it is, with the reason.
    pub async fn resolve(
        &self,
        cluster: &Cluster,
        delivery: &mut Delivery,
        bytes: Option<&Bytes>,
        traceparent: Option<&str>,
    ) -> Vec<Kept> {
        let mut kept = Vec::new();
        let given = Given { bytes, traceparent };
        for at in 0..delivery.record.rules.len() {
            let Some(rule) = delivery
                .record
                .rules
                .get(at)
                .filter(|rule| is_unresolved(rule))
            else {
                continue;
            };
            let mut rule = rule.clone();
            let source = rule.flow.clone().unwrap_or_default();
            let made = match &self.flows {
                Some(flows) => {
                    flows
                        .run_of(cluster, delivery, &rule, &source, &given)
                        .await
                }
                None => Err(Error::Nowhere),
            };
            match made {
                Ok(run) => kept.extend(write(delivery, &mut rule, &run)),
                Err(error) => {
                    let mut reason = error.to_string();
                    reason.truncate(reason.floor_char_boundary(REASON_BYTES));
                    if error.passes() {
                        reason.push_str(AGAIN);
                    } else {
                        rule.outcome = Outcome::Failed;
                        rule.run = None;
                    }
                    rule.reason = reason;
                }
            }
            if let Some(place) = delivery.record.rules.get_mut(at) {
                *place = rule;
            }
        }
        if !kept.is_empty() || delivery.record.rules.iter().any(|rule| rule.flow.is_some()) {
            record::conclude(delivery, None);
        }
        kept
    }
}

/// Writes the run of a flow into the record of the rule that starts it; what the run is to own, its payload excepted.
pub fn write(delivery: &Delivery, rule: &mut RuleRecord, run: &Run) -> Vec<Kept> {
    let payload = run.payload.as_ref();
    let is_payload = |copy: &&flows::tekton::Secret| {
        payload.is_some_and(|payload| payload.secret == copy.metadata.name)
    };
    let kept: Vec<Kept> = run
        .copies
        .iter()
        .filter(|copy| !is_payload(copy))
        .map(kept)
        .collect();
    let text = rule.payload.take().and_then(|payload| payload.text);
    rule.payload = payload.map(|payload| RunPayload {
        secret_name: payload.secret.clone(),
        file: payload.entry.clone(),
        text,
    });
    // Written by our own types, so that it can be read.
    let mut object: Value = serde_json::from_slice(&run.object.to_json()).unwrap_or_default();
    let metadata = &mut object["metadata"];
    metadata["labels"][DELIVERY] = delivery.metadata.name.as_str().into();
    if let Some(hook) = &delivery.record.hook {
        metadata["labels"][HOOK] = hook.name.as_str().into();
        metadata["annotations"][RULE] = rule.name.as_str().into();
        // What was decided is written out from here on.
        rule.flow = None;
    }
    if !kept.is_empty() {
        let names: Vec<&str> = kept.iter().map(|kept| kept.name.as_str()).collect();
        metadata["annotations"][resource::COPIES] = names.join(",").into();
    }
    rule.params = None;
    if rule.reason.ends_with(AGAIN) {
        "matches".clone_into(&mut rule.reason);
    }
    rule.run = Some(run.name.to_string());
    rule.pipeline_run = Some(object);
    kept
}

/// Where a Delivery keeps what a run is to own.
fn kept(copy: &flows::tekton::Secret) -> Kept {
    let content: String = copy
        .data
        .iter()
        .map(|(key, value)| format!("{key}={value}\n"))
        .collect();
    Kept {
        name: payload::name_with(&copy.metadata.name, &payload::digest(content.as_bytes())),
        data: copy.data.clone(),
    }
}
