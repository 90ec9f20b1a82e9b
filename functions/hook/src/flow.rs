//! Rules that start a flow: the flow is looked up when the event is decided on, and becomes a PipelineRun there and then.
//!
//! What is stored is the run, as with any other rule, so that whoever carries it out needs neither the flow store nor what
//! it holds by then. What the run is to own (credentials, files, the payload) is kept in Secrets of the Delivery.

use std::{collections::BTreeMap, sync::Arc};

use cluster::RunOptions;
use flows::{
    Format, Label, Lowering, Payload, Request, Scope, Settings,
    flow::{Flow, Value as FlowValue},
};
use hooks::{
    Outcome,
    delivery::RuleRecord,
    hook::{FlowSource, Rule},
    run::{DELIVERY, HOOK, RULE, event_identity},
};
use serde_json::Value;
use store::{FlowStore, Reference};

use crate::{
    known::Known,
    payload::{self, Kept, Packed},
    record::Arrival,
    registry::Slot,
    resource,
    service::Service,
};

/// Longest reason of a flow that cannot be used, in bytes: a document may have many problems.
const REASON_BYTES: usize = 2048;

/// What flows need.
pub(crate) struct Flows {
    store: Arc<dyn FlowStore>,
    lowering: Lowering,
    settings: Settings,
}

/// One event, as a flow gets to know it.
struct Cause<'a> {
    known: &'a Known,
    arrival: &'a Arrival,
    namespace: &'a Label,
    /// Name of the Delivery.
    delivery: &'a str,
    /// Where a payload lies that no Secret holds.
    elsewhere: Option<&'a Reference>,
}

impl Flows {
    pub(crate) fn new(store: Arc<dyn FlowStore>, options: &RunOptions) -> Self {
        Self {
            store,
            lowering: options.lowering(),
            settings: options.settings(),
        }
    }

    /// The flow of a rule, checked, with the parameters that were decided on.
    async fn read(
        &self,
        source: &FlowSource,
        namespace: &Label,
        params: Option<&Value>,
    ) -> Result<Flow, String> {
        let document = match (&source.key, &source.inline) {
            (Some(key), _) => {
                let document = self.store.get(key).await;
                document.map_err(|error| format!("cannot look up flow {key:?}: {error}"))?
            }
            (None, Some(inline)) => inline.to_string().into(),
            (None, None) => return Err("the rule names no flow".to_owned()),
        };
        let lowering = Lowering {
            namespace: Some(namespace.clone()),
            ..self.lowering.clone()
        };
        let mut flow = flows::parse(Format::Artisan, &document, &lowering)
            .map_err(|problems| format!("the flow cannot be used: {problems}"))?;
        for (name, value) in params.and_then(Value::as_object).into_iter().flatten() {
            let declared = flow.parameters.iter_mut().find(|known| known.name == *name);
            let declared =
                declared.ok_or_else(|| format!("the flow declares no parameter {name:?}"))?;
            declared.value = Some(as_parameter(value));
        }
        Ok(flow)
    }
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

impl Service {
    /// Puts the run into the record of each rule that starts a flow; what these runs are to own. A flow that cannot be had
    /// or used ends its rule `Failed`, and a redelivery tries again.
    pub(crate) async fn resolve(
        &self,
        slot: &Slot,
        known: &Known,
        arrival: &Arrival,
        delivery: &str,
        packed: &Packed,
        records: &mut [RuleRecord],
    ) -> Vec<Kept> {
        let mut kept = Vec::new();
        let flows = known.hook.spec.rules.iter();
        let flows: BTreeMap<&str, &Rule> = flows
            .filter(|rule| rule.flow.is_some())
            .map(|rule| (rule.name.as_str(), rule))
            .collect();
        let matched = records
            .iter_mut()
            .filter(|record| record.outcome == Outcome::Received);
        for record in matched {
            let rule = flows.get(record.name.as_str());
            let Some(source) = rule.and_then(|rule| rule.flow.as_ref()) else {
                continue;
            };
            let elsewhere = self.elsewhere(slot, packed).await;
            let cause = Cause {
                known,
                arrival,
                namespace: &slot.place.namespace,
                delivery,
                elsewhere: elsewhere.as_ref().ok().and_then(Option::as_ref),
            };
            let made = match elsewhere {
                Ok(_) => self.run_of(source, &cause, record).await,
                Err(ref reason) => Err(reason.clone()),
            };
            match made {
                Ok(copies) => kept.extend(copies),
                Err(mut reason) => {
                    reason.truncate(reason.floor_char_boundary(REASON_BYTES));
                    record.outcome = Outcome::Failed;
                    record.reason = reason;
                    record.run = None;
                }
            }
            record.params = None;
            record.payload = None;
        }
        kept
    }

    /// Where a payload lies that no Secret holds.
    async fn elsewhere(&self, slot: &Slot, packed: &Packed) -> Result<Option<Reference>, String> {
        let stored = &packed.stored;
        let (Some(object), Some(store)) = (&stored.object, &self.payloads) else {
            return Ok(None);
        };
        let namespace = slot.place.namespace.as_str();
        let signed = store
            .sign(namespace, object, &stored.digest, stored.size)
            .await;
        signed
            .map(Some)
            .map_err(|error| format!("cannot sign the payload's URL: {error}"))
    }

    /// Writes the run of a flow into the record; what it is to own.
    async fn run_of(
        &self,
        source: &FlowSource,
        cause: &Cause<'_>,
        record: &mut RuleRecord,
    ) -> Result<Vec<Kept>, String> {
        let namespace = cause.namespace;
        let flows = self.flows.as_ref();
        let flows = flows.ok_or("flows are not looked up here")?;
        let flow = flows
            .read(source, namespace, record.params.as_ref())
            .await?;
        let privileged = flow.privileged().map(|step| step.name.as_ref());
        self.policy
            .check_privileged(namespace, privileged)
            .map_err(|denied| denied.to_string())?;
        let hook = &cause.known.hook;
        let made = record
            .payload
            .as_ref()
            .and_then(|payload| payload.text.as_ref());
        let payload = match (made, cause.elsewhere) {
            (Some(text), _) => Payload::Inline(text.as_bytes()),
            (None, Some(Reference { url, digest, size })) => Payload::Remote {
                url,
                digest,
                size: *size,
            },
            (None, None) => Payload::Inline(&cause.arrival.bytes),
        };
        let event = event_identity(&hook.metadata.uid, &record.name, &cause.arrival.facts.key);
        let request = Request {
            scope: source.key.as_deref().map_or(Scope::Document, Scope::Key),
            event: &event,
            traceparent: cause.arrival.traceparent.as_deref(),
            payload: Some(payload),
        };
        let settings = Settings {
            service_account: hook.spec.service_account_name.clone(),
            ..flows.settings.clone()
        };
        let run = ::flows::emit(&flow, namespace, &request, &settings).run;
        let kept: Vec<Kept> = run.copies.iter().map(kept).collect();
        let mut object: Value = serde_json::from_slice(&run.object.to_json())
            .map_err(|error| format!("the run cannot be written: {error}"))?;
        let metadata = &mut object["metadata"];
        metadata["labels"][HOOK] = hook.metadata.name.as_str().into();
        metadata["labels"][DELIVERY] = cause.delivery.into();
        metadata["annotations"][RULE] = record.name.as_str().into();
        if !kept.is_empty() {
            let names: Vec<&str> = kept.iter().map(|kept| kept.name.as_str()).collect();
            metadata["annotations"][resource::COPIES] = names.join(",").into();
        }
        record.run = Some(run.name.to_string());
        record.pipeline_run = Some(object);
        Ok(kept)
    }
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
