//! The part of Kubernetes' object metadata that is read or written here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Kubernetes `ObjectMeta`, as far as we need it. Never part of a generated schema: the API server has its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// Unique per kind and namespace.
    pub name: String,
    /// Where it lives.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Unique for ever; empty before the API server has seen it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Changes with every write.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    /// Changes with every write to the spec; 0 before the API server has seen it.
    #[serde(skip_serializing_if = "is_zero")]
    pub generation: i64,
    /// RFC 3339; empty before the API server has seen it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub creation_timestamp: String,
    /// RFC 3339, where it is about to vanish.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<String>,
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

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// An object with which another one vanishes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnerReference {
    /// Group and version of the owner.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}
