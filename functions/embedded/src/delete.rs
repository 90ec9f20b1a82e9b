//! DELETE of an object: preconditions, propagation, finalizers.

use crate::{
    body,
    failure::{Failure, Invalid, Result},
    gc::{self, Deletion, Propagation},
    object, protobuf,
    query::{Mode, Query},
    store::{Key, Store},
};
use serde::Deserialize;
use serde_json::{Value, json};

/// What a client may say about a deletion, in the body or (some of it) in the URL.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Options {
    preconditions: Option<Preconditions>,
    propagation_policy: Option<String>,
    orphan_dependents: Option<bool>,
    dry_run: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Preconditions {
    uid: Option<String>,
    resource_version: Option<String>,
}

/// Deletes an object. Answers a Status where it is gone, the object where it waits for its finalizers.
pub(crate) fn delete(
    store: &Store,
    key: &Key,
    query: Query,
    media_type: &str,
    bytes: &[u8],
) -> Result<Value> {
    let options = read(media_type, bytes)?;
    let query = Query {
        propagation_policy: options.propagation_policy.or(query.propagation_policy),
        orphan_dependents: options.orphan_dependents.or(query.orphan_dependents),
        dry_run: options.dry_run.unwrap_or(query.dry_run),
        ..query
    };
    let mode = query.mode("DeleteOptions")?;
    let propagation = propagation(&query)?;
    let preconditions = options.preconditions.unwrap_or_default();

    let mut state = store.lock();
    let stored = state.get(key)?;
    check(key, &stored, &preconditions)?;
    (key.resource.rules.deletable)(&key.name)
        .map_err(|why| Failure::forbidden(key.resource, &key.name, why))?;
    let done = match mode {
        Mode::Real => gc::delete(&mut state, key, propagation)?,
        Mode::DryRun if gc::is_held(&gc::marked(&stored, propagation)) => {
            return Ok(gc::marked(&stored, propagation));
        }
        Mode::DryRun => Deletion::Done,
    };
    match done {
        Deletion::Waiting => Ok((*state.get(key)?).clone()),
        Deletion::Done => {
            let mut details = key.resource.details(&key.name, key.resource.plural);
            details["uid"] = object::meta(&stored, "uid").into();
            Ok(json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
                "details": details,
            }))
        }
    }
}

fn read(media_type: &str, bytes: &[u8]) -> Result<Options> {
    if bytes.is_empty() {
        return Ok(Options::default());
    }
    let unreadable =
        |why: String| Failure::bad_request(format!("the delete options cannot be read: {why}"));
    let options: Value = match media_type {
        body::PROTOBUF => protobuf::decode(bytes).map_err(unreadable)?,
        _ => serde_json::from_slice(bytes).map_err(|e| unreadable(e.to_string()))?,
    };
    Options::deserialize(options).map_err(|e| unreadable(e.to_string()))
}

fn propagation(query: &Query) -> Result<Propagation> {
    let invalid = |problem| Err(Failure::invalid_options("DeleteOptions", &[problem]));
    match (query.propagation_policy.as_deref(), query.orphan_dependents) {
        (Some(policy), Some(_)) => invalid(Invalid::text(
            "propagationPolicy",
            policy,
            "orphanDependents and deletionPropagation cannot be both set",
        )),
        (None, Some(true)) | (Some("Orphan"), None) => Ok(Propagation::Orphan),
        (None, Some(false) | None) | (Some("Background"), None) => Ok(Propagation::Background),
        (Some("Foreground"), None) => Ok(Propagation::Foreground),
        (Some(other), None) => {
            let known = ["Foreground", "Background", "Orphan", "nil"];
            let value = format!("{other:?}");
            invalid(Invalid::unsupported("propagationPolicy", value, &known))
        }
    }
}

fn check(key: &Key, stored: &Value, preconditions: &Preconditions) -> Result<()> {
    let Preconditions {
        uid,
        resource_version,
    } = preconditions;
    let own = object::meta(stored, "uid");
    if let Some(uid) = uid.as_deref().filter(|uid| *uid != own) {
        let why = format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({own}). The object might have been deleted and then recreated"
        );
        return Err(Failure::precondition(key.resource, &key.name, &why));
    }
    let own = object::meta(stored, "resourceVersion");
    if let Some(version) = resource_version.as_deref().filter(|v| *v != own) {
        let why = format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({own}). The object might have been modified"
        );
        return Err(Failure::precondition(key.resource, &key.name, &why));
    }
    Ok(())
}
