//! GET: one object, a list of objects page by page, or the beginning of a watch.

use crate::{
    failure::{Failure, Invalid, Result},
    form::Form,
    object,
    query::Query,
    resource::Resource,
    selector::Selector,
    store::{Key, Store},
    watch::Watch,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

/// Where the next page begins. Pages show what is there when they are read: unlike in the real server, changes
/// between two pages are seen by the second.
#[derive(Serialize, Deserialize)]
struct Continue {
    v: u8,
    /// Namespace and name of the last object of the page before.
    after: (String, String),
}

/// One object.
pub(crate) fn get(store: &Store, key: &Key, form: Form) -> Result<Value> {
    let object = store.lock().get(key)?;
    Ok(form.object(key.resource, &object))
}

/// A list of objects.
pub(crate) fn list(
    store: &Store,
    resource: &'static Resource,
    namespace: Option<&str>,
    query: &Query,
    form: Form,
) -> Result<Value> {
    let selector = Selector::parse(resource, &query.label_selector, &query.field_selector)?;
    let asked = query.revision()?;
    let after = match &*query.continue_token {
        "" => None,
        token => Some(read_token(token)?.after),
    };
    let state = store.lock();
    let current = state.revision();
    match (&*query.resource_version_match, asked) {
        ("", _) | ("NotOlderThan", Some(_)) => {}
        ("Exact", Some(revision)) if revision == current => {}
        ("Exact", Some(revision)) => {
            let message = format!("The provided resource version is no longer kept: {revision}");
            return Err(Failure::expired(message));
        }
        (_, None) => {
            let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            return Err(forbidden_option("resourceVersionMatch", why));
        }
        (other, _) => {
            let value = format!("{other:?}");
            let known = ["Exact", "NotOlderThan", ""];
            let problem = Invalid::unsupported("resourceVersionMatch", value, &known);
            return Err(Failure::invalid_options("ListOptions", &[problem]));
        }
    }
    if let Some(asked) = asked.filter(|asked| *asked > current) {
        return Err(Failure::too_new(asked, current));
    }

    let mut rest = state
        .list(resource, namespace)
        .filter(|(key, _)| {
            after
                .as_ref()
                .is_none_or(|(namespace, name)| (&key.namespace, &key.name) > (namespace, name))
        })
        .filter(|(_, object)| selector.matches(object));
    let limit = match query.limit {
        0 => usize::MAX,
        limit => limit,
    };
    let page: Vec<(&Key, &Arc<Value>)> = rest.by_ref().take(limit).collect();
    let remaining = rest.count();

    let mut metadata = json!({"resourceVersion": current.to_string()});
    if let (Some((last, _)), 1..) = (page.last(), remaining) {
        metadata["continue"] = token(last)?.into();
        if selector.is_empty() {
            metadata["remainingItemCount"] = remaining.into();
        }
    }
    let objects = page.iter().map(|(_, object)| &***object);
    Ok(form.list(resource, objects, &metadata))
}

/// What a watch begins with.
pub(crate) fn watch(
    store: &Store,
    resource: &'static Resource,
    namespace: Option<String>,
    query: &Query,
    form: Form,
) -> Result<Watch> {
    let selector = Selector::parse(resource, &query.label_selector, &query.field_selector)?;
    let asked = query.revision()?;
    if query.send_initial_events && query.resource_version_match != "NotOlderThan" {
        let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        return Err(forbidden_option("resourceVersionMatch", why));
    }
    let state = store.lock();
    let from_now = query.send_initial_events || matches!(asked, None | Some(0));
    let initial = if from_now {
        let all = state.list(resource, namespace.as_deref());
        all.filter(|(_, o)| selector.matches(o))
            .map(|(_, o)| Arc::clone(o))
            .collect()
    } else {
        vec![]
    };
    let after = match asked {
        Some(revision) if !from_now => revision,
        _ => state.revision(),
    };
    Ok(Watch {
        resource,
        namespace,
        selector,
        form,
        bookmarks: query.allow_watch_bookmarks,
        after,
        initial,
        mark_end_of_initial: query.send_initial_events && query.allow_watch_bookmarks,
        timeout: query.timeout_seconds.map(Duration::from_secs),
    })
}

/// A watch of one object by its name.
pub(crate) fn watch_one(store: &Store, key: &Key, query: &Query, form: Form) -> Result<Watch> {
    let namespace = (!key.namespace.is_empty()).then(|| key.namespace.clone());
    let mut watch = watch(store, key.resource, namespace, query, form)?;
    watch.initial.retain(|o| object::name(o) == key.name);
    watch.selector = watch.selector.and_name(&key.name);
    Ok(watch)
}

fn forbidden_option(option: &str, why: &str) -> Failure {
    Failure::invalid_options("ListOptions", &[Invalid::forbidden(option, why)])
}

fn token(last: &Key) -> Result<String> {
    let token = Continue {
        v: 1,
        after: (last.namespace.clone(), last.name.clone()),
    };
    let json = serde_json::to_vec(&token).map_err(|e| Failure::internal(e.to_string()))?;
    Ok(STANDARD.encode(json))
}

fn read_token(token: &str) -> Result<Continue> {
    let invalid = |why: &str| {
        Failure::bad_request(format!(
            "invalid continue token: continue key is not valid: {why}"
        ))
    };
    let json = STANDARD
        .decode(token)
        .map_err(|e| invalid(&e.to_string()))?;
    let token: Continue = serde_json::from_slice(&json).map_err(|e| invalid(&e.to_string()))?;
    match token.v {
        1 => Ok(token),
        _ => Err(invalid("it is of another version")),
    }
}
