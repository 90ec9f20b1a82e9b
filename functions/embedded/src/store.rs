//! The objects in memory, in step with the folder: every change goes to the file first, then becomes visible.
//!
//! One lock around everything makes each request one transaction, which is how optimistic locking stays simple.
//! Watchers read a bounded list of recent changes; whoever falls behind it is told so (410) and lists again.

use crate::{
    failure::{Failure, Result},
    folder::{Contents, Folder, Unreadable},
    gc, kinds, object,
    resource::{self, NAMESPACES, Resource, Scope},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// Which object: its kind and where it is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) resource: &'static Resource,
    /// Empty for kinds without namespace.
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn of(resource: &'static Resource, object: &Value) -> Self {
        Self {
            resource,
            namespace: object::meta(object, "namespace").to_owned(),
            name: object::name(object).to_owned(),
        }
    }

    pub(crate) fn namespace_object(name: &str) -> Self {
        Self {
            resource: &NAMESPACES,
            namespace: String::new(),
            name: name.to_owned(),
        }
    }
}

/// One change, as watchers need it.
#[derive(Clone)]
pub(crate) struct Change {
    pub(crate) revision: u64,
    pub(crate) key: Key,
    pub(crate) old: Option<Arc<Value>>,
    /// `None`: the object is gone.
    pub(crate) new: Option<Arc<Value>>,
    size: usize,
}

/// What watchers wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Signal {
    pub(crate) revision: u64,
    pub(crate) closed: bool,
}

/// The store: shared by all requests.
pub(crate) struct Store {
    state: Mutex<State>,
    signal: watch::Sender<Signal>,
}

/// What the lock protects.
pub(crate) struct State {
    folder: Folder,
    objects: BTreeMap<Key, Arc<Value>>,
    /// uid -> object.
    uids: HashMap<String, Key>,
    /// uid of the owner -> what it owns.
    owned: HashMap<String, BTreeSet<Key>>,
    unreadable: Vec<(Option<Key>, Unreadable)>,
    revision: u64,
    /// Revisions below this one are ours to give out without writing to the disk again.
    reserved: u64,
    changes: VecDeque<Change>,
    changes_size: usize,
    /// Changes up to this revision are no longer known.
    forgotten: u64,
    /// What the garbage collector has to look at.
    pub(crate) suspects: VecDeque<Key>,
}

/// Revisions reserved by one write; as many are skipped at a start.
const RESERVE: u64 = 1_000;
const CHANGES: usize = 1_024;
const CHANGES_SIZE: usize = 32 * 1024 * 1024;

impl Store {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let folder = Folder::open(path)?;
        let Contents {
            objects,
            unreadable,
        } = folder.load()?;
        let stored = objects.iter().map(|(_, o)| object::revision(o)).max();
        let revision = folder.read_revision().max(stored.unwrap_or(0));
        let mut state = State {
            folder,
            objects: BTreeMap::new(),
            uids: HashMap::new(),
            owned: HashMap::new(),
            unreadable,
            revision,
            reserved: revision,
            changes: VecDeque::new(),
            changes_size: 0,
            forgotten: 0,
            suspects: VecDeque::new(),
        };
        state.adopt(objects)?;
        state.forgotten = state.revision;
        gc::collect(&mut state);
        let (signal, _) = watch::channel(Signal {
            revision: state.revision,
            closed: false,
        });
        Ok(Self {
            state: Mutex::new(state),
            signal,
        })
    }

    /// Everything a request does happens under this lock. A request that panicked left nothing half-done: what it
    /// wrote is whole, object by object.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells watchers what has changed since the last time, and whether there is garbage to collect.
    pub(crate) fn settle(&self) -> bool {
        let (revision, garbage) = {
            let state = self.lock();
            (state.revision, !state.suspects.is_empty())
        };
        self.signal.send_if_modified(|signal| {
            let newer = signal.revision < revision;
            signal.revision = signal.revision.max(revision);
            newer
        });
        garbage
    }

    /// Deletes what has lost its owners, and finishes deletions that waited for others.
    pub(crate) fn collect_garbage(&self) {
        gc::collect(&mut self.lock());
        self.settle();
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Signal> {
        self.signal.subscribe()
    }

    /// Ends all watches, now and later.
    pub(crate) fn close(&self) {
        self.signal.send_modify(|signal| signal.closed = true);
    }
}

impl State {
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    pub(crate) fn unreadable(&self) -> Vec<Unreadable> {
        self.unreadable.iter().map(|(_, u)| u.clone()).collect()
    }

    /// The object, 404 where there is none, 500 where its file cannot be read.
    pub(crate) fn get(&self, key: &Key) -> Result<Arc<Value>> {
        match self.find(key)? {
            Some(object) => Ok(object),
            None => Err(Failure::not_found(key.resource, &key.name)),
        }
    }

    pub(crate) fn find(&self, key: &Key) -> Result<Option<Arc<Value>>> {
        if let Some((_, broken)) = self
            .unreadable
            .iter()
            .find(|(k, _)| k.as_ref() == Some(key))
        {
            return Err(Failure::internal(format!(
                "{} cannot be read: {}; mend or remove the file and start again",
                broken.path.display(),
                broken.reason
            )));
        }
        Ok(self.objects.get(key).cloned())
    }

    /// All objects of a kind, in one namespace or (`None`) in all, in order.
    pub(crate) fn list(
        &self,
        resource: &'static Resource,
        namespace: Option<&str>,
    ) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        let from = Key {
            resource,
            namespace: namespace.unwrap_or_default().to_owned(),
            name: String::new(),
        };
        self.objects.range(from..).take_while(move |(key, _)| {
            key.resource == resource && namespace.is_none_or(|n| n == key.namespace)
        })
    }

    /// Everything in a namespace, of whatever kind.
    pub(crate) fn contents(&self, namespace: &str) -> Vec<Key> {
        resource::RESOURCES
            .iter()
            .filter(|r| r.scope == Scope::Namespaced)
            .flat_map(|r| self.list(r, Some(namespace)))
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// The object with this uid.
    pub(crate) fn by_uid(&self, uid: &str) -> Option<&Key> {
        self.uids.get(uid)
    }

    /// What refers to this uid as its owner.
    pub(crate) fn owned_by(&self, uid: &str) -> Vec<Key> {
        self.owned.get(uid).into_iter().flatten().cloned().collect()
    }

    /// Stores an object and gives it the next resource version; what is stored already is left as it is.
    pub(crate) fn put(&mut self, key: &Key, mut object: Value) -> Result<Arc<Value>> {
        let old = self.objects.get(key).cloned();
        if let Some(old) = &old {
            object::set_meta(
                &mut object,
                "resourceVersion",
                object::meta(old, "resourceVersion"),
            );
            if **old == object {
                return Ok(Arc::clone(old));
            }
        }
        let revision = self.next_revision().map_err(|e| Failure::storage(&e))?;
        object::set_meta(&mut object, "resourceVersion", revision.to_string());
        let size = self
            .folder
            .write(key, &object)
            .map_err(|e| Failure::storage(&e))?;
        self.revision = revision;
        let new = Arc::new(object);
        self.index(key, old.as_deref(), Some(&new));
        self.objects.insert(key.clone(), Arc::clone(&new));
        self.remember(Change {
            revision,
            key: key.clone(),
            old,
            new: Some(Arc::clone(&new)),
            size,
        });
        Ok(new)
    }

    /// Removes an object for good.
    pub(crate) fn remove(&mut self, key: &Key) -> Result<()> {
        let Some(old) = self.objects.get(key).cloned() else {
            return Ok(());
        };
        let revision = self.next_revision().map_err(|e| Failure::storage(&e))?;
        match self.folder.remove(key) {
            // Somebody was quicker, by hand.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result.map_err(|e| Failure::storage(&e))?,
        }
        self.revision = revision;
        self.objects.remove(key);
        self.index(key, Some(&old), None);
        // Watchers see the object's last state, at the revision of its end.
        let mut last = (*old).clone();
        object::set_meta(&mut last, "resourceVersion", revision.to_string());
        self.remember(Change {
            revision,
            key: key.clone(),
            old: Some(Arc::new(last)),
            new: None,
            size: 1_024,
        });
        Ok(())
    }

    /// The changes after a revision that concern a kind, oldest first; 410 where they are no longer known.
    pub(crate) fn changes_after(
        &self,
        revision: u64,
        resource: &'static Resource,
    ) -> Result<impl Iterator<Item = &Change>> {
        if revision < self.forgotten {
            return Err(Failure::expired(format!(
                "too old resource version: {revision} ({})",
                self.forgotten
            )));
        }
        let from = self.changes.partition_point(|c| c.revision <= revision);
        Ok(self
            .changes
            .range(from..)
            .filter(move |c| c.key.resource == resource))
    }

    /// Puts an object on the garbage collector's list.
    pub(crate) fn suspect(&mut self, key: Key) {
        self.suspects.push_back(key);
    }

    fn next_revision(&mut self) -> io::Result<u64> {
        let next = self.revision + 1;
        if next >= self.reserved {
            self.folder.write_revision(next + RESERVE)?;
            self.reserved = next + RESERVE;
        }
        Ok(next)
    }

    fn remember(&mut self, change: Change) {
        self.changes_size += change.size;
        self.changes.push_back(change);
        while self.changes.len() > CHANGES || self.changes_size > CHANGES_SIZE {
            let Some(oldest) = self.changes.pop_front() else {
                break;
            };
            self.changes_size -= oldest.size;
            self.forgotten = oldest.revision;
        }
    }

    fn index(&mut self, key: &Key, old: Option<&Value>, new: Option<&Value>) {
        let owners = |object: Option<&Value>| -> BTreeSet<String> {
            let owners = object.into_iter().flat_map(object::owners);
            owners
                .filter_map(|o| o["uid"].as_str().map(str::to_owned))
                .collect()
        };
        let (before, after) = (owners(old), owners(new));
        for uid in before.difference(&after) {
            if let Some(set) = self.owned.get_mut(uid) {
                set.remove(key);
                if set.is_empty() {
                    self.owned.remove(uid);
                }
            }
            // An owner may wait for this one to go.
            if let Some(owner) = self.uids.get(uid).cloned() {
                self.suspect(owner);
            }
        }
        for uid in after.difference(&before) {
            self.owned
                .entry(uid.clone())
                .or_default()
                .insert(key.clone());
        }
        match (old, new) {
            (None, Some(new)) => {
                self.uids
                    .insert(object::meta(new, "uid").to_owned(), key.clone());
            }
            (Some(old), None) => {
                let uid = object::meta(old, "uid");
                self.uids.remove(uid);
                for orphan in self.owned_by(uid) {
                    self.suspect(orphan);
                }
                let namespace = Key::namespace_object(&key.namespace);
                if self
                    .objects
                    .get(&namespace)
                    .is_some_and(|n| object::is_deleting(n))
                {
                    self.suspect(namespace);
                }
            }
            _ => {}
        }
        if new.is_some_and(object::is_deleting) || !after.is_empty() {
            self.suspect(key.clone());
        }
    }

    /// Takes over what lay in the folder. What a person put there gets what the server would have given it.
    fn adopt(&mut self, objects: Vec<(Key, Value)>) -> io::Result<()> {
        let failed = |failure: Failure| io::Error::other(failure.to_string());
        let mut by_hand = vec![];
        for (key, object) in objects {
            let known = self.uids.contains_key(object::meta(&object, "uid"));
            let whole = object::revision(&object) > 0 && !object::meta(&object, "uid").is_empty();
            if whole && !known {
                self.index(&key, None, Some(&object));
                self.objects.insert(key, Arc::new(object));
            } else {
                by_hand.push((key, object, known));
            }
        }
        for (key, mut object, copied) in by_hand {
            if copied {
                object::unset_meta(&mut object, "uid");
            }
            complete(key.resource, &mut object);
            self.put(&key, object).map_err(failed)?;
        }
        let mut namespaces: BTreeSet<String> =
            self.objects.keys().map(|k| k.namespace.clone()).collect();
        namespaces.remove("");
        namespaces.insert("default".to_owned());
        for name in namespaces {
            let key = Key::namespace_object(&name);
            if !self.objects.contains_key(&key) {
                let mut namespace =
                    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
                complete(&NAMESPACES, &mut namespace);
                self.put(&key, namespace).map_err(failed)?;
            }
        }
        Ok(())
    }
}

/// Gives an object what every stored object has.
pub(crate) fn complete(resource: &Resource, object: &mut Value) {
    let metadata = object::metadata(object);
    metadata
        .entry("uid")
        .or_insert_with(|| uuid::Uuid::new_v4().to_string().into());
    metadata
        .entry("creationTimestamp")
        .or_insert_with(|| object::now().into());
    if resource.origin == resource::Origin::Custom {
        metadata.entry("generation").or_insert_with(|| 1.into());
    }
    let kinds::Rules { default, .. } = resource.rules;
    default(object);
}
