//! What a step becomes in its pod: container, environment, folders.

use serde::Serialize;

use crate::name::Label;

/// One container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Unique in its task.
    pub name: Label,
    /// Image reference.
    pub image: String,
    /// Replaces the image's start command.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Its arguments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Environment.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// A script to run instead of a command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script: Option<&'static str>,
    /// Where it starts.
    pub working_dir: &'static str,
    /// As whom, where it is not the pod's user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_context: Option<SecurityContext>,
    /// The folders that it sees.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volume_mounts: Vec<VolumeMount>,
    /// How long it may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
}

/// One environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvVar {
    /// Its name.
    pub name: String,
    /// A literal value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// A value that is kept elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_from: Option<EnvVarSource>,
}

/// Where an environment variable's value is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvVarSource {
    /// An entry of a Secret.
    pub secret_key_ref: SecretKeyRef,
}

/// An entry of a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// The Secret.
    pub name: String,
    /// The entry.
    pub key: String,
}

/// As whom a container runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecurityContext {
    /// Full access to the node.
    pub privileged: bool,
    /// Whether root is refused.
    pub run_as_non_root: bool,
    /// The user.
    pub run_as_user: i64,
}

/// A folder in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeMount {
    /// The volume.
    pub name: String,
    /// Where it appears.
    pub mount_path: String,
}

/// A folder of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// What is in it.
    #[serde(flatten)]
    pub source: VolumeSource,
}

/// What a folder of a pod holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum VolumeSource {
    /// The entries of a Secret.
    Secret {
        /// The Secret.
        #[serde(rename = "secretName")]
        secret_name: String,
    },
    /// The entries of several.
    Projected {
        /// Later ones do not hide earlier ones: entry names must differ.
        sources: Vec<Projection>,
    },
    /// Nothing at first.
    EmptyDir {},
}

/// A part of a projected folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Projection {
    /// Whose entries appear.
    pub secret: SecretProjection,
}

/// A Secret in a projected folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretProjection {
    /// The Secret.
    pub name: String,
}
