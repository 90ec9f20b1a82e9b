//! The custom resource Delivery: one event, what was decided about it, and what became of it.
//!
//! A record, not a wish: there is no spec and no status. It is created before the answer, under a name that follows
//! from the event's identity, so that a redelivery finds it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::object::Metadata;

/// The record of one event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// [`crate::API_VERSION`].
    pub api_version: String,
    /// `Delivery`.
    pub kind: String,
    /// Name, namespace, labels.
    pub metadata: Metadata,
    /// What it says.
    #[serde(flatten)]
    pub record: Record,
}

/// What a Delivery says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The Hook, as it was; none where a flow was posted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<HookRef>,
    /// Who sent it.
    pub provider: String,
    /// Type of the event, as the provider calls it.
    #[serde(default)]
    pub event_type: String,
    /// The provider's name for this delivery; empty if it gives none.
    #[serde(default)]
    pub delivery_id: String,
    /// The event's identity inside its Hook, or among those that were posted: the same event has the same text, however often
    /// it arrives.
    pub key: String,
    /// When it came, RFC 3339 with milliseconds.
    pub received_time: String,
    /// Headers that matter, without secrets and signatures.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Query of the URL.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub query: String,
    /// Which of the Hook's secrets matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// What was sent.
    pub payload: StoredPayload,
    /// What the provider's payload says, in words that are the same for all providers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<BTreeMap<String, Value>>", extend("x-kubernetes-preserve-unknown-fields" = true))]
    pub event: Option<Value>,
    /// What each rule says to it.
    #[serde(default)]
    pub rules: Vec<RuleRecord>,
    /// What became of it.
    pub outcome: Outcome,
    /// Why, in a sentence.
    #[serde(default)]
    pub reason: String,
    /// How often it was tried to carry out what was decided.
    #[serde(default)]
    pub attempts: u32,
    /// How often the same event came again, counted at best effort.
    #[serde(default)]
    pub duplicates: u32,
    /// Milliseconds from the request's head to the outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_milliseconds: Option<u64>,
    /// The Delivery of which this is a replay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay_of: Option<String>,
    /// Another Delivery with the same bytes under another identity: a wish to run again, or a forgery of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_payload_as: Option<String>,
}

/// The Hook that an event came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HookRef {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The generation that decided.
    pub generation: i64,
}

/// What was sent, or where it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoredPayload {
    /// Bytes of the event: without a form or an envelope around it, and without secrets that old senders put into it.
    pub size: u64,
    /// `sha256:` and hex, of these bytes.
    pub digest: String,
    /// As the sender says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub content_type: String,
    /// The bytes: compressed by gzip, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gzip: Option<String>,
    /// The Secret that holds them, compressed by gzip, as entry `payload`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// The object in the payload store that holds them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
}

/// What became of an event, or of one rule's part of it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Outcome {
    /// Stored and decided; what was decided is still to be carried out.
    #[default]
    Received,
    /// The run exists, or existed.
    Created,
    /// Nothing was to be started.
    Filtered,
    /// It could not be started, for a reason that time does not mend.
    Failed,
}

/// What one rule says to an event.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuleRecord {
    /// Name of the rule.
    pub name: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Why, in a sentence.
    #[serde(default)]
    pub reason: String,
    /// The expression that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expression: Option<String>,
    /// The values that it saw: the path in the expression, and the value as JSON, shortened.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, String>,
    /// The run's name, where the rule matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The PipelineRun that was decided on, complete; what carries it out looks at nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<BTreeMap<String, Value>>", extend("x-kubernetes-preserve-unknown-fields" = true))]
    pub pipeline_run: Option<Value>,
    /// The flow that is to be started: until its run is written down, and where it was posted, for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<FlowRef>,
    /// Parameters that were decided on for a flow, by name; a PipelineRun holds its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<BTreeMap<String, Value>>", extend("x-kubernetes-preserve-unknown-fields" = true))]
    pub params: Option<Value>,
    /// How the run gets the payload, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<RunPayload>,
}

/// Where a flow is. Without any of these, the payload is the flow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FlowRef {
    /// Key in the flow store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Name under which the cluster stores it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The flow itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<BTreeMap<String, Value>>", extend("x-kubernetes-preserve-unknown-fields" = true))]
    pub inline: Option<Value>,
}

/// How a run gets the payload: a Secret that it owns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunPayload {
    /// Name of the Secret.
    pub secret_name: String,
    /// Entry of it, which is the file's name.
    pub file: String,
    /// What the entry holds, where that is not the payload as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}
