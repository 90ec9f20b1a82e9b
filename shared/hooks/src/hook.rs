//! The custom resource Hook: a webhook URL, who may call it, and what its events start.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::object::Metadata;

pub use crate::retention::Retention;

/// A webhook URL, `/hooks/<namespace>/<name>`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hook {
    /// [`crate::API_VERSION`].
    pub api_version: String,
    /// `Hook`.
    pub kind: String,
    /// Name, namespace, labels.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: HookSpec,
    /// What has been found out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<HookStatus>,
}

/// What is wanted of a webhook URL.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HookSpec {
    /// Who sends: a name from docs/providers, such as `github`. It decides where the proof is, what is signed, what the
    /// identity of an event is, and what is answered.
    pub provider: String,
    /// How senders prove who they are.
    #[serde(default)]
    pub verification: Verification,
    /// ServiceAccount of this namespace as which the Hook acts: it needs the right to create PipelineRuns, and its runs
    /// use it and no other one.
    #[serde(default = "default_service_account")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: String,
    /// What events start. Every rule that matches starts exactly one run.
    #[serde(default)]
    #[schemars(
        length(max = 64),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub rules: Vec<Rule>,
    /// Whose pull requests may start something by themselves; by default nothing that comes from a fork does.
    #[serde(default)]
    pub allow: Allow,
    /// How long Deliveries are kept.
    #[serde(default)]
    pub retention: Retention,
    /// How much is done at once; what exceeds it is stored and done later by the sweep.
    #[serde(default)]
    pub quota: Quota,
    /// Accept and record events, but start nothing.
    #[serde(default)]
    pub suspend: bool,
}

fn default_service_account() -> String {
    "hookrun".to_owned()
}

/// How senders prove who they are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Verification {
    /// Secrets that are accepted, the current one first: with two of them a secret is replaced without a failed event.
    /// For providers without any proof they hold the token at the end of the path; for `basic`, `user:password`.
    #[serde(default)]
    #[schemars(length(max = 4))]
    pub secret_refs: Vec<SecretRef>,
    /// Header that carries a literal value, where the sender lets its administrator choose one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// Settings of the provider `generic-hmac`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hmac: Option<HmacSettings>,
    /// Settings of providers that send a signed token (JWT).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenSettings>,
    /// Also accept the provider's older and weaker proof: SHA-1 signatures of GitHub, the plain token of GitLab beside
    /// its signature. Without it, a secret that only fits a weaker proof than another one counts for nothing, and the Hook
    /// is not Ready.
    #[serde(default)]
    pub legacy: bool,
    /// Origins that may register by a CloudEvents `OPTIONS` request.
    #[serde(default)]
    pub allowed_origins: Vec<String>,
    /// Events per minute that such an origin is allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_rate: Option<u32>,
}

/// One entry of a Secret in the Hook's namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Entry of it.
    #[serde(default = "default_key")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

fn default_key() -> String {
    "secret".to_owned()
}

/// An HMAC scheme that no entry of the provider table describes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HmacSettings {
    /// Header with the signature.
    #[serde(default = "default_signature_header")]
    pub header: String,
    /// Accepted algorithms: `sha1`, `sha256`, `sha512`.
    #[serde(default = "default_algorithms")]
    pub algorithms: Vec<String>,
    /// What stands before the signature; `{algorithm}` is the algorithm's name. May be empty, then exactly one
    /// algorithm is accepted.
    #[serde(default = "default_prefix")]
    pub prefix: String,
    /// `hex` or `base64`.
    #[serde(default = "default_encoding")]
    pub encoding: String,
    /// What is signed: `{body}`, `{timestamp}.{body}`, `{id}.{timestamp}.{body}`, or other text around these.
    #[serde(default = "default_signed")]
    pub signed: String,
    /// Header with the time in seconds since 1970, where one is signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp_header: Option<String>,
    /// Seconds that the time may differ from ours.
    #[serde(default = "default_tolerance")]
    pub tolerance_seconds: u32,
    /// Header with the identity of the delivery; without one every request is an event of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_header: Option<String>,
    /// Seconds, at most a day, for which an identical body is the same event where no header names it. For senders that
    /// repeat what was not answered, and never mean identical bodies. Twice as long at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicate_seconds: Option<u32>,
    /// Header with the type of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_header: Option<String>,
    /// JSON pointer to the type of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_pointer: Option<String>,
}

fn default_signature_header() -> String {
    "X-Signature".to_owned()
}
fn default_algorithms() -> Vec<String> {
    vec!["sha256".to_owned(), "sha512".to_owned()]
}
fn default_prefix() -> String {
    "{algorithm}=".to_owned()
}
fn default_encoding() -> String {
    "hex".to_owned()
}
fn default_signed() -> String {
    "{body}".to_owned()
}
fn default_tolerance() -> u32 {
    300
}

impl Default for HmacSettings {
    fn default() -> Self {
        Self {
            header: default_signature_header(),
            algorithms: default_algorithms(),
            prefix: default_prefix(),
            encoding: default_encoding(),
            signed: default_signed(),
            timestamp_header: None,
            tolerance_seconds: default_tolerance(),
            id_header: None,
            duplicate_seconds: None,
            event_header: None,
            event_pointer: None,
        }
    }
}

/// What a signed token has to say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenSettings {
    /// The audience that the sender was configured with.
    pub audience: String,
    /// The account (`email`, verified) of a Pub/Sub subscription, or the `sub` of any other issuer. Without it any
    /// account of the issuer would be let in, so it is required.
    pub account: String,
    /// Issuer, where the provider leaves it open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
}

/// Whose pull requests may start something by themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Allow {
    /// Pull requests from forks.
    #[serde(default)]
    pub forks: bool,
    /// Authors (login names) whose pull requests may, also from forks.
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub authors: Vec<String>,
}

/// How much is done at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Quota {
    /// Events per minute, on average, whose runs are started at once: for each pod of the function.
    #[serde(default = "default_per_minute")]
    #[schemars(range(max = MAX_PER_MINUTE))]
    pub per_minute: u32,
}

/// Most that [`Quota::per_minute`] may be: as much as a pod does for all Hooks together.
pub(crate) const MAX_PER_MINUTE: u32 = 60_000;

fn default_per_minute() -> u32 {
    600
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            per_minute: default_per_minute(),
        }
    }
}

/// Which events start what.
///
/// Exactly one of `pipelineRef`, `pipelineRun` and `flow` says what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// Unique in the Hook; part of the run's name.
    #[schemars(length(min = 1, max = 40))]
    pub name: String,
    /// Types of events, such as `push` or `pull_request.opened`; a `*` at the end stands for anything. Empty: all.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub events: Vec<String>,
    /// CEL expression over `body`, `headers`, `query`, `event` and `hook` that says whether the rule matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub filter: Option<String>,
    /// A Pipeline of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline_ref: Option<PipelineRef>,
    /// `metadata` (labels, annotations) and `spec` of the PipelineRun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<BTreeMap<String, Value>>", extend("x-kubernetes-preserve-unknown-fields" = true))]
    pub pipeline_run: Option<Value>,
    /// A flow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<FlowSource>,
    /// Values of the run's parameters.
    #[serde(default)]
    #[schemars(
        length(max = 128),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub params: Vec<Param>,
    /// How the run gets the payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<PayloadTarget>,
}

/// A Pipeline of the Hook's namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PipelineRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// A flow, stored or written out. Exactly one of the two.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FlowSource {
    /// Key in the flow store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The flow itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<BTreeMap<String, Value>>", extend("x-kubernetes-preserve-unknown-fields" = true))]
    pub inline: Option<Value>,
}

/// The value of one parameter of the run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Param {
    /// Name of the parameter, as the Pipeline declares it.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// CEL expression over `body`, `headers`, `query`, `event` and `hook`. A string stays a string, a list of strings
    /// becomes an array and a map of strings an object; numbers, booleans and null become strings as JSON writes them.
    /// Anything deeper needs `json(…)` around it. A value that comes from the event must not hold `$(`.
    #[schemars(length(min = 1, max = 4096))]
    pub expression: String,
}

/// How a run gets the payload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PayloadTarget {
    /// Workspace that receives it; the Pipeline has to declare it.
    #[schemars(length(min = 1, max = 63))]
    pub workspace: String,
    /// File in it.
    #[serde(default = "default_file")]
    #[schemars(length(min = 1, max = 63))]
    pub file: String,
    /// CEL expression for what of it; without one, the bytes as they came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub expression: Option<String>,
    /// Most bytes; an event with more ends `Failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
}

fn default_file() -> String {
    "payload".to_owned()
}

/// What has been found out about a Hook.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HookStatus {
    /// Of the spec that the conditions are about.
    #[serde(default)]
    pub observed_generation: i64,
    /// Path of the URL, without the token that some providers need behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The URL, without that token; where the function knows its own (HOOKRUN_HOOK_URL).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// `Ready`, and why not. `Unknown` with the reason `NotChecked` after an edit, until the sweep has looked whether the
    /// cluster has what the Hook names; events are accepted meanwhile.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Which secrets senders use, and when they last did.
    #[serde(default)]
    pub secrets: Vec<SecretUse>,
    /// When the last verified event came, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_event_time: Option<String>,
    /// Requests that were not verified, counted at best effort.
    #[serde(default)]
    pub rejected: u64,
    /// Why the last one was not, and when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_rejection: Option<Rejection>,
}

/// A condition, as Kubernetes' own kinds have them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `Ready`.
    pub r#type: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One word.
    pub reason: String,
    /// A sentence: place, culprit, what to do.
    #[serde(default)]
    pub message: String,
    /// When `status` changed last, RFC 3339.
    pub last_transition_time: String,
    /// Of the spec that it is about.
    #[serde(default)]
    pub observed_generation: i64,
}

/// When a secret was last used by a sender.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretUse {
    /// Name of the Secret.
    pub name: String,
    /// Entry of it.
    pub key: String,
    /// When it last matched, RFC 3339; to the hour or better.
    pub last_used_time: String,
}

/// A request that was not verified.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rejection {
    /// One word.
    pub reason: String,
    /// RFC 3339.
    pub time: String,
}
