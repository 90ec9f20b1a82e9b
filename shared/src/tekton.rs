//! The part of the Tekton v1 API, and of Kubernetes' Secrets, that we write: typed, with fields in a fixed order.
//!
//! Serialized from here and never read back, so that what we cannot express we cannot send. Nothing here decides
//! anything: [`crate::emit()`] fills these in.

mod pod;

pub use pod::{
    EnvVar, EnvVarSource, Projection, SecretKeyRef, SecretProjection, SecurityContext, Step,
    Volume, VolumeMount, VolumeSource,
};

use std::collections::BTreeMap;

use serde::Serialize;

use crate::name::Label;

/// API version of everything of Tekton's that we write.
pub const TEKTON_V1: &str = "tekton.dev/v1";

/// An object that holds a flow's latest content, or what such an object needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Object {
    /// Steps.
    Task(Task),
    /// Data.
    Secret(Secret),
    /// Tasks in their order.
    Pipeline(Pipeline),
}

impl Object {
    /// `Task`, `Secret` or `Pipeline`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Task(object) => object.kind,
            Self::Secret(object) => object.kind,
            Self::Pipeline(object) => object.kind,
        }
    }

    /// Group and version.
    pub fn api_version(&self) -> &'static str {
        match self {
            Self::Task(object) => object.api_version,
            Self::Secret(object) => object.api_version,
            Self::Pipeline(object) => object.api_version,
        }
    }

    /// The group; empty for Secrets.
    pub fn group(&self) -> &'static str {
        match self {
            Self::Task(_) | Self::Pipeline(_) => "tekton.dev",
            Self::Secret(_) => "",
        }
    }

    /// The kind as it is written in URLs.
    pub fn plural(&self) -> &'static str {
        match self {
            Self::Task(_) => "tasks",
            Self::Secret(_) => "secrets",
            Self::Pipeline(_) => "pipelines",
        }
    }

    /// Name, namespace, labels.
    pub fn metadata(&self) -> &Metadata {
        match self {
            Self::Task(object) => &object.metadata,
            Self::Secret(object) => &object.metadata,
            Self::Pipeline(object) => &object.metadata,
        }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.metadata().name
    }

    /// The namespace.
    pub fn namespace(&self) -> &Label {
        &self.metadata().namespace
    }

    /// The object as JSON; the same object gives the same bytes.
    pub fn to_json(&self) -> Vec<u8> {
        json(self)
    }
}

/// These types hold only texts, numbers and maps with text keys, so serialization has no way to fail.
fn json(object: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(object).unwrap_or_default()
}

/// What every object has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// Unique per kind and namespace. A text and not a [`Label`], as a copy's name may be longer than a label.
    pub name: String,
    /// Where it lives.
    pub namespace: Label,
    /// What it is found by.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What is known about it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// With whom it vanishes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub owner_references: Vec<OwnerReference>,
}

/// An object with which another one vanishes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnerReference {
    /// Group and version.
    pub api_version: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// Name.
    pub name: String,
    /// What tells it from another one of the same name, earlier or later.
    pub uid: String,
    /// Whether it manages the object.
    pub controller: bool,
    /// Whether its deletion in the foreground waits for the object. Would need rights on the run's finalizers.
    pub block_owner_deletion: bool,
}

/// A Kubernetes Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Secret {
    api_version: &'static str,
    kind: &'static str,
    /// Name, namespace, labels.
    pub metadata: Metadata,
    /// Whether the API server refuses to change it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub immutable: Option<bool>,
    r#type: &'static str,
    /// Contents in base64 by entry name; written even where empty, so that applying removes what was there.
    pub data: BTreeMap<String, String>,
}

impl Secret {
    /// A Secret with contents in base64.
    pub fn new(metadata: Metadata, data: BTreeMap<String, String>) -> Self {
        Self {
            api_version: "v1",
            kind: "Secret",
            metadata,
            immutable: None,
            r#type: "Opaque",
            data,
        }
    }

    /// The same Secret, which the API server refuses to change from then on.
    pub fn sealed(mut self) -> Self {
        self.immutable = Some(true);
        self
    }

    /// The same Secret, vanishing with a run.
    ///
    /// The run is its controller, which says whose it is, but need not wait for it on deletion: that would take
    /// rights on the run's finalizers.
    pub fn owned_by(mut self, run: &Label, uid: &str) -> Self {
        self.metadata.owner_references = vec![OwnerReference {
            api_version: TEKTON_V1,
            kind: "PipelineRun",
            name: run.to_string(),
            uid: uid.to_owned(),
            controller: true,
            block_owner_deletion: false,
        }];
        self
    }

    /// The object as JSON; the same object gives the same bytes.
    pub fn to_json(&self) -> Vec<u8> {
        json(self)
    }
}

/// Steps that share a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    api_version: &'static str,
    kind: &'static str,
    /// Name, namespace, labels.
    pub metadata: Metadata,
    /// The steps.
    pub spec: TaskSpec,
}

impl Task {
    /// A Task.
    pub fn new(metadata: Metadata, spec: TaskSpec) -> Self {
        Self {
            api_version: TEKTON_V1,
            kind: "Task",
            metadata,
            spec,
        }
    }
}

/// What a Task does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskSpec {
    /// Values that it must be given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<ParamSpec>,
    /// Values that it hands on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<TaskResult>,
    /// One after the other.
    pub steps: Vec<Step>,
    /// Folders that steps may mount.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
}

/// A value that a Task hands on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskResult {
    /// Its name.
    pub name: String,
    /// What it is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// Tasks in their order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pipeline {
    api_version: &'static str,
    kind: &'static str,
    /// Name, namespace, labels.
    pub metadata: Metadata,
    /// The tasks.
    pub spec: PipelineSpec,
}

impl Pipeline {
    /// A Pipeline.
    pub fn new(metadata: Metadata, spec: PipelineSpec) -> Self {
        Self {
            api_version: TEKTON_V1,
            kind: "Pipeline",
            metadata,
            spec,
        }
    }
}

/// What a Pipeline does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PipelineSpec {
    /// What it is for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Values that a run gives.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<ParamSpec>,
    /// The tasks.
    pub tasks: Vec<PipelineTask>,
    /// Tasks that run after all others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub r#finally: Vec<PipelineTask>,
}

/// A value that is declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParamSpec {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub r#type: ParamType,
    /// What it is for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The keys of a map, which Tekton wants to know.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, PropertySpec>,
    /// The value where none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<ParamValue>,
}

/// The shape of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ParamType {
    /// One text.
    String,
    /// A list of texts.
    Array,
    /// Texts by key.
    Object,
}

/// A key of a map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PropertySpec {
    /// Always a text.
    pub r#type: ParamType,
}

/// A value that is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Param {
    /// Of which parameter.
    pub name: String,
    /// The value.
    pub value: ParamValue,
}

/// A parameter's value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ParamValue {
    /// One text.
    String(String),
    /// A list of texts.
    Array(Vec<String>),
    /// Texts by key.
    Object(BTreeMap<String, String>),
}

/// A task of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PipelineTask {
    /// Unique in its pipeline.
    pub name: Label,
    /// What people call it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub display_name: String,
    /// Its steps, by name or embedded.
    #[serde(flatten)]
    pub task: TaskSource,
    /// Values that it is given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<Param>,
    /// Tasks that must have ended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub run_after: Vec<Label>,
    /// Checks that must hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<WhenExpression>,
    /// How often it is tried again.
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: u32,
    /// How long one try may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// `continue` where a failure stops nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_error: Option<&'static str>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Where a pipeline's task has its steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TaskSource {
    /// In a Task of its own.
    TaskRef {
        /// The Task's name.
        name: String,
    },
    /// Here.
    TaskSpec(TaskSpec),
}

/// A check before a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WhenExpression {
    /// What is looked at.
    pub input: String,
    /// `in` or `notin`.
    pub operator: &'static str,
    /// What it is compared with.
    pub values: Vec<String>,
}

/// One run of a pipeline.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PipelineRun {
    api_version: &'static str,
    kind: &'static str,
    /// Name, namespace, labels.
    pub metadata: Metadata,
    /// What runs, and as whom.
    pub spec: PipelineRunSpec,
}

impl PipelineRun {
    /// A PipelineRun.
    pub fn new(metadata: Metadata, spec: PipelineRunSpec) -> Self {
        Self {
            api_version: TEKTON_V1,
            kind: "PipelineRun",
            metadata,
            spec,
        }
    }

    /// The object as JSON; the same object gives the same bytes.
    pub fn to_json(&self) -> Vec<u8> {
        json(self)
    }
}

/// What a run executes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PipelineRunSpec {
    /// `PipelineRunPending` while what the run mounts is not there yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<&'static str>,
    /// Values that it gives.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<Param>,
    /// The tasks, embedded: a run does not change with its flow.
    pub pipeline_spec: EmbeddedPipeline,
    /// Limits in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
    /// As whom.
    pub task_run_template: TaskRunTemplate,
}

/// The tasks of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum EmbeddedPipeline {
    /// Made from a flow.
    Made(PipelineSpec),
    /// Taken from the cluster, which may hold more than we write.
    Stored(serde_json::Value),
}

/// How long a run may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Timeouts {
    /// Altogether.
    pub pipeline: String,
}

/// As whom a run's pods run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskRunTemplate {
    /// The ServiceAccount.
    pub service_account_name: String,
    /// The pods.
    pub pod_template: PodTemplate,
}

/// What a run's pods have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodTemplate {
    /// The user.
    pub security_context: PodSecurityContext,
}

/// As whom a pod runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSecurityContext {
    /// Whether root is refused.
    pub run_as_non_root: bool,
    /// The user.
    pub run_as_user: i64,
    /// The group that owns its folders.
    pub fs_group: i64,
}
