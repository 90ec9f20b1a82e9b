//! POST, PUT, PATCH: creating and changing objects. Each is one transaction under the store's lock.

use crate::{
    apply::{self, Force},
    body::{self, Decoded},
    failure::{Failure, Invalid, Result},
    gc, kinds,
    managers::{self, Operation, Writer},
    object, patch,
    query::{FieldValidation, Mode, Query},
    resource::{Origin, Resource, Scope},
    route::Part,
    store::{self, Key, State, Store},
    validate,
};
use serde_json::Value;
use std::sync::Arc;

/// What a write leads to.
pub(crate) struct Written {
    pub(crate) object: Arc<Value>,
    pub(crate) created: bool,
    pub(crate) warnings: Vec<String>,
}

/// Who sends a request, and in which form.
pub(crate) struct Sender<'a> {
    /// Without parameters such as `charset`.
    pub(crate) media_type: &'a str,
    /// The name of the program, which owns what it writes unless the request names a manager.
    pub(crate) agent: &'a str,
}

/// POST to a collection.
pub(crate) fn create(
    store: &Store,
    resource: &'static Resource,
    namespace: &str,
    query: &Query,
    sender: &Sender<'_>,
    bytes: &[u8],
) -> Result<Written> {
    let mode = query.mode("CreateOptions")?;
    let validation = query.field_validation("CreateOptions")?;
    let given = body::object(resource, sender.media_type, bytes)?;
    let Decoded {
        mut object,
        warnings,
    } = body::checked(resource, given, validation)?;
    body::place(&mut object, namespace, None)?;
    if !object::meta(&object, "resourceVersion").is_empty() {
        return Err(Failure::internal(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    let writer = writer(query, sender, Operation::Update, Part::Whole);
    let mut state = store.lock();
    let generated =
        object::name(&object).is_empty() && !object::meta(&object, "generateName").is_empty();
    if generated {
        let prefix = object::meta(&object, "generateName").to_owned();
        let name = free_name(&state, resource, namespace, &prefix)?;
        object::set_meta(&mut object, "name", name);
    }
    let object = insert(&mut state, resource, object, Some(&writer), mode)?;
    Ok(Written {
        object,
        created: true,
        warnings,
    })
}

/// POST of an object that is a question: it is answered, and not kept.
pub(crate) fn review(
    resource: &'static Resource,
    fill_in: fn(&mut Value),
    query: &Query,
    sender: &Sender<'_>,
    bytes: &[u8],
) -> Result<Written> {
    query.mode("CreateOptions")?;
    let validation = query.field_validation("CreateOptions")?;
    let given = body::object(resource, sender.media_type, bytes)?;
    let Decoded {
        mut object,
        warnings,
    } = body::checked(resource, given, validation)?;
    let mut problems = vec![];
    (resource.rules.validate)(&object, None, &mut problems);
    if !problems.is_empty() {
        return Err(Failure::invalid(resource, object::name(&object), &problems));
    }
    fill_in(&mut object);
    Ok(Written {
        object: Arc::new(object),
        created: true,
        warnings,
    })
}

/// PUT of an object.
pub(crate) fn update(
    store: &Store,
    key: &Key,
    part: Part,
    query: &Query,
    sender: &Sender<'_>,
    bytes: &[u8],
) -> Result<Written> {
    let mode = query.mode("UpdateOptions")?;
    let validation = query.field_validation("UpdateOptions")?;
    let given = body::object(key.resource, sender.media_type, bytes)?;
    let Decoded {
        mut object,
        warnings,
    } = body::checked(key.resource, given, validation)?;
    body::place(&mut object, &key.namespace, Some(&key.name))?;
    let writer = writer(query, sender, Operation::Update, part);
    let mut state = store.lock();
    let old = state.get(key)?;
    if object::meta(&object, "resourceVersion").is_empty() && key.resource.origin == Origin::Custom
    {
        return Err(Failure::version_required(key.resource, &key.name));
    }
    let (uid, own) = (object::meta(&object, "uid"), object::meta(&old, "uid"));
    if !uid.is_empty() && uid != own {
        let why =
            format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {own}");
        return Err(Failure::conflict(key.resource, &key.name, &why));
    }
    // What the server sets may be left out.
    for field in ["uid", "creationTimestamp"] {
        if object::meta(&object, field).is_empty() {
            object::set_meta(&mut object, field, object::meta(&old, field));
        }
    }
    let object = replace(&mut state, key, part, &old, object, Some(&writer), mode)?;
    Ok(Written {
        object,
        created: false,
        warnings,
    })
}

/// PATCH of an object; server-side apply also creates it.
pub(crate) fn patch(
    store: &Store,
    key: &Key,
    part: Part,
    query: &Query,
    sender: &Sender<'_>,
    bytes: &[u8],
) -> Result<Written> {
    let kind = patch::Kind::of(key.resource, sender.media_type)?;
    let mode = query.mode("PatchOptions")?;
    let validation = query.field_validation("PatchOptions")?;
    if kind == patch::Kind::Apply {
        return server_side_apply(store, key, part, query, sender, bytes, validation, mode);
    }
    let writer = writer(query, sender, Operation::Update, part);
    let mut state = store.lock();
    let old = state.get(key)?;
    let mut object = (*old).clone();
    match kind {
        patch::Kind::Json => patch::json(&mut object, bytes)?,
        patch::Kind::Merge => patch::merge(&mut object, bytes)?,
        patch::Kind::Strategic | patch::Kind::Apply => patch::strategic(&mut object, bytes)?,
    }
    body::set_type(key.resource, &mut object);
    let Decoded {
        mut object,
        warnings,
    } = body::checked(key.resource, object, validation)
        .map_err(|refused| patched_into_nonsense(key, &refused))?;
    body::place(&mut object, &key.namespace, Some(&key.name))?;
    let object = replace(&mut state, key, part, &old, object, Some(&writer), mode)?;
    Ok(Written {
        object,
        created: false,
        warnings,
    })
}

/// A patch that leads to no object of the kind is unprocessable, where such an object itself is a bad request.
fn patched_into_nonsense(key: &Key, refused: &Failure) -> Failure {
    let problem = Invalid::value("patch", "the patched object", &refused.to_string());
    Failure::invalid(key.resource, &key.name, &[problem])
}

#[expect(clippy::too_many_arguments, reason = "one request, taken apart")]
fn server_side_apply(
    store: &Store,
    key: &Key,
    part: Part,
    query: &Query,
    sender: &Sender<'_>,
    bytes: &[u8],
    validation: FieldValidation,
    mode: Mode,
) -> Result<Written> {
    if query.field_manager.is_empty() {
        let problem = Invalid::required("fieldManager", "is required for apply patch");
        return Err(Failure::invalid_options("PatchOptions", &[problem]));
    }
    let given = body::applied(key.resource, bytes)?;
    if !given["metadata"]["managedFields"].is_null() {
        return Err(Failure::bad_request("metadata.managedFields must be nil"));
    }
    // Read for its checks only: what is applied is what was sent, with its nulls and empty maps.
    let Decoded { warnings, .. } = body::checked(key.resource, given.clone(), validation)?;
    let mut config = given;
    if object::name(&config).is_empty() {
        object::set_meta(&mut config, "name", &*key.name);
    }
    body::place(&mut config, &key.namespace, Some(&key.name))?;
    if part == Part::Whole
        && key.resource.status
        && let Some(config) = config.as_object_mut()
    {
        config.remove("status");
    }
    let writer = writer(query, sender, Operation::Apply, part);
    let force = if query.force { Force::Yes } else { Force::No };
    let now = object::now();

    let mut state = store.lock();
    let Some(old) = state.find(key)? else {
        if part == Part::Status {
            return Err(Failure::not_found(key.resource, &key.name));
        }
        let applied = apply::apply(key.resource, None, &config, &writer, force, &now)?;
        let Decoded { object, .. } = body::checked(key.resource, applied, FieldValidation::Ignore)?;
        let object = insert(&mut state, key.resource, object, None, mode)?;
        return Ok(Written {
            object,
            created: true,
            warnings,
        });
    };
    let applied = apply::apply(key.resource, Some(&old), &config, &writer, force, &now)?;
    let Decoded { object, .. } = body::checked(key.resource, applied, FieldValidation::Ignore)?;
    let object = replace(&mut state, key, part, &old, object, None, mode)?;
    Ok(Written {
        object,
        created: false,
        warnings,
    })
}

/// Stores a new object. `writer` becomes the owner of its fields; server-side apply has settled that before.
fn insert(
    state: &mut State,
    resource: &'static Resource,
    mut object: Value,
    writer: Option<&Writer>,
    mode: Mode,
) -> Result<Arc<Value>> {
    for field in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
    ] {
        object::unset_meta(&mut object, field);
    }
    if resource.origin == Origin::Custom {
        object::set_meta(&mut object, "generation", 1);
    }
    if resource.status
        && let Some(object) = object.as_object_mut()
    {
        object.remove("status");
    }
    store::complete(resource, &mut object);
    if let Some(writer) = writer {
        managers::track_update(resource, None, &mut object, writer, &object::now());
    }
    let key = Key::of(resource, &object);
    admit_namespace(state, &key)?;
    let mut problems = vec![];
    validate::metadata(resource, &object, None, &mut problems);
    (resource.rules.validate)(&object, None, &mut problems);
    if !problems.is_empty() {
        return Err(Failure::invalid(resource, &key.name, &problems));
    }
    if let Some(there) = state.find(&key)? {
        let deleting = object::is_deleting(&there);
        return Err(Failure::already_exists(resource, &key.name, deleting));
    }
    match mode {
        Mode::Real => state.put(&key, object),
        Mode::DryRun => Ok(Arc::new(object)),
    }
}

/// Stores a changed object; one that only waited for its last finalizer goes.
fn replace(
    state: &mut State,
    key: &Key,
    part: Part,
    old: &Arc<Value>,
    mut object: Value,
    writer: Option<&Writer>,
    mode: Mode,
) -> Result<Arc<Value>> {
    let resource = key.resource;
    body::keep_other_part(resource, part, &mut object, old);
    let version = object::meta(&object, "resourceVersion");
    if !version.is_empty() && version != object::meta(old, "resourceVersion") {
        return Err(Failure::modified(resource, &key.name));
    }
    // These are the server's; whatever was sent is passed over.
    for field in [
        "resourceVersion",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
    ] {
        match old["metadata"].get(field) {
            Some(value) => object::set_meta(&mut object, field, value.clone()),
            None => object::unset_meta(&mut object, field),
        }
    }
    let kinds::Rules {
        default, validate, ..
    } = resource.rules;
    default(&mut object);
    let mut problems = vec![];
    validate::metadata(resource, &object, Some(old), &mut problems);
    validate(&object, Some(old), &mut problems);
    if !problems.is_empty() {
        return Err(Failure::invalid(resource, &key.name, &problems));
    }
    if let Some(writer) = writer {
        managers::track_update(resource, Some(old), &mut object, writer, &object::now());
    }
    if resource.origin == Origin::Custom && differs_beyond_metadata(&object, old) {
        let generation = old["metadata"]["generation"].as_i64().unwrap_or(1);
        object::set_meta(&mut object, "generation", generation + 1);
    }
    if managers::same_but_for_times(old, &object) {
        return Ok(Arc::clone(old));
    }
    if mode == Mode::DryRun {
        return Ok(Arc::new(object));
    }
    if object::is_deleting(&object) && !gc::is_held(&object) {
        state.remove(key)?;
        return Ok(Arc::new(object));
    }
    state.put(key, object)
}

/// What the generation counts: everything but metadata and status.
fn differs_beyond_metadata(new: &Value, old: &Value) -> bool {
    let spec = |object: &Value| {
        let mut object = object.clone();
        if let Some(object) = object.as_object_mut() {
            object.remove("metadata");
            object.remove("status");
        }
        object
    };
    spec(new) != spec(old)
}

fn admit_namespace(state: &State, key: &Key) -> Result<()> {
    if key.resource.scope == Scope::Cluster {
        return Ok(());
    }
    let namespace = state.get(&Key::namespace_object(&key.namespace))?;
    if object::is_deleting(&namespace) {
        return Err(Failure::terminating(
            key.resource,
            &key.name,
            &key.namespace,
        ));
    }
    Ok(())
}

/// A name that begins with the prefix and is free.
fn free_name(
    state: &State,
    resource: &'static Resource,
    namespace: &str,
    prefix: &str,
) -> Result<String> {
    // Without vowels and look-alikes, so that no words come out.
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    const SUFFIX: usize = 5;
    let prefix = &prefix[..prefix.floor_char_boundary(63 - SUFFIX)];
    for _ in 0..8 {
        let random = uuid::Uuid::new_v4();
        let suffix = random.as_bytes()[..SUFFIX]
            .iter()
            .map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]));
        let key = Key {
            resource,
            namespace: namespace.to_owned(),
            name: prefix.chars().chain(suffix).collect(),
        };
        if state.find(&key)?.is_none() {
            return Ok(key.name);
        }
    }
    Err(Failure::already_exists(resource, prefix, false))
}

fn writer(query: &Query, sender: &Sender<'_>, operation: Operation, part: Part) -> Writer {
    let manager = match &*query.field_manager {
        "" => sender.agent,
        manager => manager,
    };
    let subresource = match part {
        Part::Whole => "",
        Part::Status => "status",
    };
    Writer {
        operation,
        manager: manager.chars().take(128).collect(),
        subresource: subresource.to_owned(),
    }
}
