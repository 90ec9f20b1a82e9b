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
    flow::Value as FlowValue, format::artisan,
};
use futures_util::{FutureExt as _, future::join_all};
use hooks::{
    Delivery, Outcome,
    delivery::{FlowRef, RuleRecord, RunPayload},
    run::{DELIVERY, HOOK, RULE, event_identity},
};
use serde_json::Value;
use store::FlowStore;
use tokio::time::timeout_at;

use crate::{
    Deliveries,
    carry::{AGAIN, is_unresolved, settle},
    payload::{self, Kept},
    privileged::privileged_steps,
    record, resource,
    stores::stores_until,
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
    /// Looking it up would leave no time for what has to come after it.
    #[error("the flow store did not answer in the time that the sender leaves for it")]
    Late,
    /// The flow is that of another tenant.
    #[error(
        "the flow is of namespace {named:?} (labels.namespace), and the event of \"{namespace}\": start it there, or store \
         one without a namespace, which may be started everywhere"
    )]
    Foreign {
        /// The namespace that the document names.
        named: String,
        /// That of the event.
        namespace: Label,
    },
    /// What is to be started, or passed to it, cannot be read now.
    #[error("the payload cannot be read now: {0}")]
    Payload(String),
    /// What is to be started, or passed to it, is not there any more.
    #[error("{0}")]
    Lost(String),
}

impl Error {
    /// Whether another try may succeed although nobody changes anything about the flow.
    fn passes(&self) -> bool {
        match self {
            // The sweep may have the store that is missing here.
            Self::Store(store::Error::Undefined(_)) => true,
            Self::Store(error) => matches!(
                error.class(),
                store::Class::Upstream | store::Class::Timeout | store::Class::Unavailable
            ),
            Self::Cluster(fault) => matches!(
                fault.kind,
                Kind::Unavailable | Kind::Blocked | Kind::Forbidden | Kind::Unauthorized
            ),
            Self::Nowhere | Self::Late | Self::Payload(_) => true,
            Self::Document(_)
            | Self::Stored(_)
            | Self::Unknown(_)
            | Self::Denied(_)
            | Self::Foreign { .. }
            | Self::Lost(_)
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

    /// Reads a document that many tenants share, for an event in `namespace`. One that names its namespace may hold
    /// credentials of whoever is there, and a run would hand them to whoever may write Hooks or Deliveries elsewhere;
    /// one that names none is for all. Whoever posts a flow says where it runs, and does not come through here.
    fn of_tenant(&self, document: &[u8], namespace: &Label) -> Result<Flow, Error> {
        let read = artisan::read(document).map_err(Error::Document)?;
        let labels = read.labels.unwrap_or_default();
        let named = labels.get("namespace").map_or("", |named| named.trim());
        if named.is_empty() || named == namespace.as_str() {
            return self.parse(document, Some(namespace));
        }
        Err(Error::Foreign {
            named: named.to_owned(),
            namespace: namespace.clone(),
        })
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
        let namespace: Label = metadata
            .namespace
            .parse()
            .map_err(|_| Error::Lost("the Delivery's namespace is no legal name".to_owned()))?;
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
            (None, None) => (given.bytes()?.clone(), false),
        };
        let mut flow = match source.key {
            Some(_) => self.of_tenant(&document, &namespace)?,
            None => self.parse(&document, Some(&namespace))?,
        };
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
    /// The payload's bytes, where they were needed.
    bytes: Option<Result<&'a Bytes, &'a payload::Error>>,
    /// W3C trace context that the run continues.
    traceparent: Option<&'a str>,
}

impl<'a> Given<'a> {
    fn bytes(&self) -> Result<&'a Bytes, Error> {
        match self.bytes {
            Some(Ok(bytes)) => Ok(bytes),
            Some(Err(error)) if error.is_final() => Err(Error::Lost(error.to_string())),
            Some(Err(error)) => Err(Error::Payload(error.to_string())),
            None => Err(Error::Payload("it is not at hand".to_owned())),
        }
    }
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
    let bytes = given.bytes()?;
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
    /// cannot be used ends its rule `Failed`; one that cannot be looked up now leaves it as it is, with the reason. Flows
    /// are looked up side by side, and a store that does not answer leaves time for what comes after it.
    pub async fn resolve(
        &self,
        cluster: &Cluster,
        delivery: &mut Delivery,
        bytes: Option<Result<&Bytes, &payload::Error>>,
        traceparent: Option<&str>,
    ) -> Vec<Kept> {
        let until = stores_until(cluster);
        let given = Given { bytes, traceparent };
        let rules = delivery.record.rules.iter().enumerate();
        let unresolved = rules.filter(|(_, rule)| is_unresolved(rule));
        let unresolved: Vec<(usize, RuleRecord)> =
            unresolved.map(|(at, rule)| (at, rule.clone())).collect();
        let resolving = unresolved.iter().map(|(_, rule)| {
            let run = self.run_of(cluster, delivery, rule, given);
            // Boxed, since the compiler does not see otherwise that it may go from thread to thread.
            timeout_at(until, run.boxed())
        });
        let resolved = join_all(resolving).await;
        let mut kept = Vec::new();
        for ((at, mut rule), run) in unresolved.into_iter().zip(resolved) {
            let run = run.unwrap_or(Err(Error::Late));
            match run {
                Ok(run) => kept.extend(write(delivery, &mut rule, &run)),
                Err(error) => unresolvable(&mut rule, &error),
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

    async fn run_of(
        &self,
        cluster: &Cluster,
        delivery: &Delivery,
        rule: &RuleRecord,
        given: Given<'_>,
    ) -> Result<Run, Error> {
        let flows = self.flows.as_ref().ok_or(Error::Nowhere)?;
        let source = rule.flow.clone().unwrap_or_default();
        flows.run_of(cluster, delivery, rule, &source, &given).await
    }

    /// The payload, where a flow cannot be looked up without it.
    pub(crate) async fn bytes_for_flows(
        &self,
        cluster: &Cluster,
        delivery: &Delivery,
    ) -> Option<Result<Bytes, payload::Error>> {
        let stored = &delivery.record.payload;
        let posted = |flow: &FlowRef| *flow == FlowRef::default();
        let unresolved = delivery
            .record
            .rules
            .iter()
            .filter(|rule| is_unresolved(rule));
        let is_needed = unresolved
            .filter_map(|rule| rule.flow.as_ref())
            .any(|flow| posted(flow) || stored.object.is_none());
        if !is_needed {
            return None;
        }
        Some(self.unpack(cluster, delivery).await)
    }
}

/// What a rule says whose flow gives no run.
fn unresolvable(rule: &mut RuleRecord, error: &Error) {
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
    settle(rule);
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
