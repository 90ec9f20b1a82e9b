//! The document as it is written: fields and their types, nothing about their meaning.
//!
//! The API description is generated from these types, so their comments are read by users. Field names match
//! whatever their case and unknown fields are ignored, which JSON Schema cannot say.

use std::collections::BTreeMap;

use schemars::JsonSchema;

/// A flow: steps that run one after the other in one folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[schemars(rename = "Flow")]
pub struct Document {
    /// The flow's name; the names of its objects are made from it.
    pub name: String,
    /// What the flow is for.
    #[schemars(default)]
    pub description: String,
    /// `namespace` says where the flow runs; other labels are ignored.
    #[schemars(default)]
    pub labels: Option<BTreeMap<String, String>>,
    /// The Git repository that steps with only a function are read from.
    #[schemars(default)]
    pub git_uri: String,
    /// The Git repository, with branch and login.
    #[schemars(default)]
    pub git: Option<Git>,
    /// Not used.
    #[schemars(default)]
    pub app_icon: String,
    /// What to do, in this order.
    #[schemars(required)]
    pub steps: Option<Vec<Step>>,
    /// Only `secret` is used: its entries join the flow's credentials.
    #[schemars(default)]
    pub input: Option<Input>,
    /// Not used.
    #[schemars(default)]
    pub use_runtimes: Option<bool>,
}

/// A Git repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct Git {
    /// Its URL.
    #[schemars(default)]
    pub git_uri: String,
    /// Branch, tag or commit; the repository's default branch where left out.
    #[schemars(default)]
    pub git_branch: String,
    /// User name for http and https.
    #[schemars(default)]
    pub git_login: String,
    /// Password or token for http and https.
    #[schemars(default)]
    pub git_password: String,
}

/// One container.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct Step {
    /// The container's name, unique in the flow.
    pub name: String,
    /// What the step is for.
    #[schemars(default)]
    pub description: String,
    /// The container's image.
    pub runtime: String,
    /// Not used.
    #[schemars(default)]
    pub runtime_manifest: String,
    /// The function to run.
    #[schemars(default)]
    pub function: String,
    /// The package to take the function from: `[domain/][group/]name[:tag]`.
    #[schemars(default)]
    pub package: String,
    /// What to do with the package: `create`, `merge` or `read`; left out, the package is used and forgotten.
    #[schemars(default)]
    pub source: String,
    /// What the step is given.
    #[schemars(default)]
    pub input: Option<Input>,
    /// Whether the step runs as privileged root, where that is allowed.
    #[schemars(default)]
    pub privileged: bool,
}

/// What a step is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct Input {
    /// Environment variables.
    #[schemars(default)]
    pub var: Option<Vec<Var>>,
    /// Environment variables that are kept in a Secret.
    #[schemars(default)]
    pub secret: Option<Vec<Secret>>,
    /// PGP keys, mounted as files at `/keys`.
    #[schemars(default)]
    pub key: Option<Vec<Key>>,
    /// Files, mounted at `/files`.
    #[schemars(default)]
    pub file: Option<Vec<File>>,
}

/// An environment variable.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct Var {
    /// Its name.
    pub name: String,
    /// What it is for.
    #[schemars(default)]
    pub description: String,
    /// Not used.
    #[schemars(default)]
    pub required: bool,
    /// Not used.
    #[schemars(default)]
    pub r#type: String,
    /// Its value.
    #[schemars(default)]
    pub value: String,
    /// Not used.
    #[schemars(default)]
    pub default: String,
}

/// An environment variable that is kept in a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct Secret {
    /// Its name.
    pub name: String,
    /// What it is for.
    #[schemars(default)]
    pub description: String,
    /// Not used.
    #[schemars(default)]
    pub required: bool,
    /// Its value.
    #[schemars(default)]
    pub value: String,
}

/// A PGP key.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct Key {
    /// The environment variable that holds `path`.
    pub name: String,
    /// What it is for.
    #[schemars(default)]
    pub description: String,
    /// Whether it is a private key.
    #[schemars(default)]
    pub private: bool,
    /// The group of packages that it is for.
    #[schemars(default)]
    pub package_group: String,
    /// The package that it is for.
    #[schemars(default)]
    pub package_name: String,
    /// Not used.
    #[schemars(default)]
    pub aggregate: bool,
    /// The key, armoured.
    #[schemars(default)]
    pub value: String,
    /// Where the runtime looks for it: `/`, `/group` or `/group/name`.
    #[schemars(default)]
    pub path: String,
}

/// A file.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct File {
    /// What it is called in the flow.
    #[schemars(default)]
    pub name: String,
    /// What it is for.
    #[schemars(default)]
    pub description: String,
    /// Its name below `/files`.
    pub path: String,
    /// What is in it.
    #[schemars(default)]
    pub content: String,
}
