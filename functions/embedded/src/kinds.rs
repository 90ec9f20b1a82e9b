//! What only one kind does when it is written: its types, its defaults, its validation.
//!
//! Built-in kinds are read through k8s-openapi's types, which tells wrong types and unknown fields from right ones.
//! Tekton's are kept as they come: nothing here executes them, and their rules belong to Tekton's own webhook. So are
//! ours, whose rules belong to the functions that read them.

mod config_map;
mod event;
mod namespace;
mod secret;
mod subject_access_review;

use crate::failure::{Failure, Invalid, Result};
use k8s_openapi::api::{authorization, core::v1};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

pub(crate) use namespace::PHASE_TERMINATING;
pub(crate) use subject_access_review::allow;

/// The hooks of one kind.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    /// Reads the object through its type: what comes back has only known fields.
    pub(crate) typed: fn(&Value) -> Result<Option<Value>, serde_json::Error>,
    /// Fills in what the server decides, before the object is validated.
    pub(crate) default: fn(&mut Value),
    /// Problems of an object, and of the change from the stored one.
    pub(crate) validate: fn(&Value, Option<&Value>, &mut Vec<Invalid>),
    /// Whether the object may be deleted at all; the reason otherwise.
    pub(crate) deletable: fn(&str) -> Result<(), &'static str>,
}

/// A kind without rules of its own.
pub(crate) const UNCHECKED: Rules = Rules {
    typed: |_| Ok(None),
    default: |_| {},
    validate: |_, _, _| {},
    deletable: |_| Ok(()),
};

pub(crate) const CONFIG_MAP: Rules = Rules {
    typed: through::<v1::ConfigMap>,
    validate: config_map::validate,
    ..UNCHECKED
};

pub(crate) const EVENT: Rules = Rules {
    typed: through::<v1::Event>,
    validate: event::validate,
    ..UNCHECKED
};

pub(crate) const NAMESPACE: Rules = Rules {
    typed: through::<v1::Namespace>,
    default: namespace::default,
    deletable: namespace::deletable,
    ..UNCHECKED
};

pub(crate) const SECRET: Rules = Rules {
    typed: through::<v1::Secret>,
    default: secret::default,
    validate: secret::validate,
    ..UNCHECKED
};

pub(crate) const SERVICE_ACCOUNT: Rules = Rules {
    typed: through::<v1::ServiceAccount>,
    ..UNCHECKED
};

pub(crate) const LOCAL_SUBJECT_ACCESS_REVIEW: Rules = Rules {
    typed: through::<authorization::v1::LocalSubjectAccessReview>,
    validate: subject_access_review::validate_local,
    ..UNCHECKED
};

pub(crate) const SUBJECT_ACCESS_REVIEW: Rules = Rules {
    typed: through::<authorization::v1::SubjectAccessReview>,
    validate: subject_access_review::validate,
    ..UNCHECKED
};

fn through<T: Serialize + DeserializeOwned>(
    value: &Value,
) -> Result<Option<Value>, serde_json::Error> {
    serde_json::to_value(T::deserialize(value)?).map(Some)
}

/// Keys of `data` in Secrets and ConfigMaps.
fn check_key(field: &str, key: &str, problems: &mut Vec<Invalid>) {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let field = format!("{field}[{key}]");
    if key.is_empty() || !key.chars().all(legal) {
        let why = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
        problems.push(Invalid::text(field, key, why));
    } else if key.len() > 253 {
        problems.push(Invalid::text(
            field,
            key,
            "must be no more than 253 characters",
        ));
    } else if key == "." || key == ".." {
        problems.push(Invalid::text(field, key, &format!("must not be '{key}'")));
    } else if key.starts_with("..") {
        problems.push(Invalid::text(field, key, "must not start with '..'"));
    }
}

/// Objects marked `immutable` keep what they hold, and the mark.
fn check_immutable(new: &Value, old: Option<&Value>, fields: &[&str], problems: &mut Vec<Invalid>) {
    let Some(old) = old.filter(|old| old["immutable"] == true) else {
        return;
    };
    let why = "field is immutable when `immutable` is set";
    if new["immutable"] != true {
        problems.push(Invalid::forbidden("immutable", why));
    }
    for field in fields {
        if new[*field] != old[*field] {
            problems.push(Invalid::forbidden(*field, why));
        }
    }
}

/// The refusal of a body that is not an object of its kind.
pub(crate) fn not_of_kind(version: &str, kind: &str, why: impl std::fmt::Display) -> Failure {
    Failure::bad_request(format!(
        "{kind} in version {version:?} cannot be handled as a {kind}: {why}"
    ))
}
