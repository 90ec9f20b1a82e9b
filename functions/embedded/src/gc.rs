//! Clean-up after owners: what kube-controller-manager's garbage collector and namespace controller do.
//!
//! It looks only at objects that a change put on the list of suspects, so its cost does not grow with the store:
//! what was owned by something that went, what waits for its dependents, and namespaces that are being emptied.

use crate::{
    failure::Result,
    object,
    resource::{self, Scope},
    store::{Key, State},
};
use serde_json::Value;

/// The finalizer of a deletion that waits for what the object owns.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of a deletion that frees what the object owns.
pub(crate) const ORPHAN: &str = "orphan";

/// What becomes of the objects that a deleted object owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Propagation {
    /// They are deleted afterwards.
    Background,
    /// They are deleted first.
    Foreground,
    /// They stay, without this owner.
    Orphan,
}

/// Whether a deletion is done or waits.
pub(crate) enum Deletion {
    /// The object is gone.
    Done,
    /// It has finalizers and is marked.
    Waiting,
}

/// Looks at all suspects, and at those that turn up meanwhile.
pub(crate) fn collect(state: &mut State) {
    while let Some(key) = state.suspects.pop_front() {
        // A disk that refuses to be written leaves the object; the next start looks at it again.
        let _refused = examine(state, &key);
    }
}

/// Deletes an object, or marks it where finalizers hold it.
pub(crate) fn delete(state: &mut State, key: &Key, propagation: Propagation) -> Result<Deletion> {
    let stored = state.get(key)?;
    let marked = marked(&stored, propagation);
    if is_held(&marked) {
        state.put(key, marked)?;
        return Ok(Deletion::Waiting);
    }
    state.remove(key)?;
    Ok(Deletion::Done)
}

/// The object with the marks of its deletion.
pub(crate) fn marked(stored: &Value, propagation: Propagation) -> Value {
    let mut object = stored.clone();
    let policy = match propagation {
        Propagation::Background => None,
        Propagation::Foreground => Some(FOREGROUND),
        Propagation::Orphan => Some(ORPHAN),
    };
    object::retain(&mut object, "finalizers", |f| {
        f != FOREGROUND && f != ORPHAN
    });
    if let Some(policy) = policy {
        let finalizers = object::metadata(&mut object)
            .entry("finalizers")
            .or_insert_with(|| Value::Array(vec![]));
        if let Some(finalizers) = finalizers.as_array_mut() {
            finalizers.push(policy.into());
        }
    }
    if is_held(&object) && !object::is_deleting(stored) {
        object::set_meta(&mut object, "deletionTimestamp", object::now());
        if stored["kind"] == "Namespace" {
            object::child(&mut object, "status")
                .insert("phase".to_owned(), crate::kinds::PHASE_TERMINATING.into());
        } else {
            object::set_meta(&mut object, "deletionGracePeriodSeconds", 0);
        }
        if let Some(generation) = stored["metadata"]["generation"].as_i64() {
            object::set_meta(&mut object, "generation", generation + 1);
        }
    }
    object
}

/// Whether something keeps the object from going at once.
pub(crate) fn is_held(object: &Value) -> bool {
    object::finalizers(object).next().is_some()
        || object::list(&object["spec"]["finalizers"])
            .any(|f| object["kind"] == "Namespace" && f == "kubernetes")
}

fn examine(state: &mut State, key: &Key) -> Result<()> {
    let Some(object) = state.find(key)? else {
        return Ok(());
    };
    if !object::is_deleting(&object) {
        return examine_owners(state, key, &object);
    }
    if object::finalizers(&object).any(|f| f == ORPHAN) {
        let uid = object::meta(&object, "uid");
        for dependent in state.owned_by(uid) {
            drop_owners(state, &dependent, |owner| owner == uid)?;
        }
        return unhold(state, key, ORPHAN);
    }
    if object::finalizers(&object).any(|f| f == FOREGROUND) {
        return delete_dependents_first(state, key, object::meta(&object, "uid"));
    }
    if key.resource == &resource::NAMESPACES {
        return empty_namespace(state, key, &object);
    }
    Ok(())
}

/// An object lives as long as one of its owners does.
fn examine_owners(state: &mut State, key: &Key, object: &Value) -> Result<()> {
    let (mut alive, mut waiting, mut gone) = (0, 0, vec![]);
    for owner in object::owners(object) {
        let text = |field: &str| owner[field].as_str().unwrap_or_default();
        let uid = text("uid");
        match state.by_uid(uid).filter(|o| may_own(o, key)).cloned() {
            Some(owner) if waits_for_dependents(state, &owner)? => waiting += 1,
            Some(_) => alive += 1,
            // Of kinds that are not kept here nobody knows whether they are gone.
            None if resource::by_kind(text("apiVersion"), text("kind")).is_none() => alive += 1,
            None => gone.push(uid.to_owned()),
        }
    }
    if alive > 0 {
        if !gone.is_empty() {
            drop_owners(state, key, |uid| gone.iter().any(|g| g == uid))?;
        }
    } else if waiting > 0 {
        let has_dependents = !state.owned_by(object::meta(object, "uid")).is_empty();
        let propagation = if has_dependents {
            Propagation::Foreground
        } else {
            Propagation::Background
        };
        delete(state, key, propagation)?;
    } else if !gone.is_empty() {
        delete(state, key, Propagation::Background)?;
    }
    Ok(())
}

/// Owners are in the same namespace, or in none.
fn may_own(owner: &Key, dependent: &Key) -> bool {
    owner.resource.scope == Scope::Cluster || owner.namespace == dependent.namespace
}

fn waits_for_dependents(state: &State, owner: &Key) -> Result<bool> {
    Ok(state.find(owner)?.is_some_and(|o| {
        object::is_deleting(&o) && object::finalizers(&o).any(|f| f == FOREGROUND)
    }))
}

fn delete_dependents_first(state: &mut State, key: &Key, uid: &str) -> Result<()> {
    for dependent in state.owned_by(uid) {
        if let Some(object) = state.find(&dependent)?
            && !object::is_deleting(&object)
        {
            examine_owners(state, &dependent, &object)?;
        }
    }
    for dependent in state.owned_by(uid) {
        let blocks = |object: &Value| {
            object::owners(object).any(|o| o["uid"] == uid && o["blockOwnerDeletion"] == true)
        };
        if state.find(&dependent)?.is_some_and(|o| blocks(&o)) {
            // Its removal makes the owner a suspect again.
            return Ok(());
        }
    }
    unhold(state, key, FOREGROUND)
}

fn empty_namespace(state: &mut State, key: &Key, namespace: &Value) -> Result<()> {
    for content in state.contents(&key.name) {
        if let Some(object) = state.find(&content)?
            && !object::is_deleting(&object)
        {
            delete(state, &content, Propagation::Background)?;
        }
    }
    if !state.contents(&key.name).is_empty() || object::finalizers(namespace).next().is_some() {
        return Ok(());
    }
    state.remove(key)
}

/// Removes references to owners.
fn drop_owners(state: &mut State, key: &Key, gone: impl Fn(&str) -> bool) -> Result<()> {
    if let Some(object) = state.find(key)? {
        let mut object = (*object).clone();
        object::retain(&mut object, "ownerReferences", |owner| {
            !owner["uid"].as_str().is_some_and(&gone)
        });
        state.put(key, object)?;
    }
    Ok(())
}

/// Removes a finalizer, and the object with the last one.
fn unhold(state: &mut State, key: &Key, finalizer: &str) -> Result<()> {
    let Some(object) = state.find(key)? else {
        return Ok(());
    };
    let mut object = (*object).clone();
    object::retain(&mut object, "finalizers", |f| f != finalizer);
    if is_held(&object) {
        state.put(key, object)?;
        return Ok(());
    }
    state.remove(key)
}
