//! Watches: a stream of changes to what a list would show.
//!
//! A watch holds a revision, not a queue: it reads the store's recent changes when it is told that there are some.
//! A slow reader costs nothing, and one that falls too far behind gets the same 410 as in the real server.

use crate::{
    failure::Failure,
    form::{Form, Header},
    resource::Resource,
    selector::Selector,
    store::{Change, Signal, Store},
};
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use serde_json::{Value, json};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

const BOOKMARKS_EVERY: Duration = Duration::from_secs(60);
/// The real server ends watches after half an hour to an hour.
const LONGEST: Duration = Duration::from_secs(45 * 60);

/// What a watch shows, and how.
pub(crate) struct Watch {
    pub(crate) resource: &'static Resource,
    pub(crate) namespace: Option<String>,
    pub(crate) selector: Selector,
    pub(crate) form: Form,
    pub(crate) bookmarks: bool,
    /// The changes after this revision.
    pub(crate) after: u64,
    /// What was there at that revision, where the watch begins with it.
    pub(crate) initial: Vec<Arc<Value>>,
    /// A bookmark says that the initial objects were all.
    pub(crate) mark_end_of_initial: bool,
    pub(crate) timeout: Option<Duration>,
}

struct Running {
    watch: Watch,
    store: Arc<Store>,
    signal: watch::Receiver<Signal>,
    ready: VecDeque<Bytes>,
    header: Header,
    end: Instant,
    next_bookmark: Instant,
    over: bool,
}

/// The lines of a watch.
pub(crate) fn stream(
    store: Arc<Store>,
    mut watch: Watch,
) -> impl Stream<Item = Bytes> + Send + Sync {
    let initial = std::mem::take(&mut watch.initial);
    let now = Instant::now();
    let mut running = Running {
        signal: store.subscribe(),
        store,
        ready: VecDeque::new(),
        header: Header::Shown,
        end: now + watch.timeout.unwrap_or(LONGEST).min(LONGEST),
        next_bookmark: now + BOOKMARKS_EVERY,
        over: false,
        watch,
    };
    for object in initial {
        running.push("ADDED", &object);
    }
    if running.watch.mark_end_of_initial {
        running.push_bookmark(&json!({"k8s.io/initial-events-end": "true"}));
    }
    stream::unfold(running, |mut running| async {
        running.next().await.map(|line| (line, running))
    })
}

impl Running {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(line);
            }
            if self.over {
                return None;
            }
            self.signal.mark_unchanged();
            self.read_changes();
            self.over |= self.signal.borrow().closed;
            if !self.ready.is_empty() || self.over {
                continue;
            }
            let wake = self.end.min(self.next_bookmark);
            tokio::select! {
                changed = self.signal.changed() => self.over = changed.is_err(),
                () = sleep_until(wake) => self.tick(),
            }
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        self.over = now >= self.end;
        if self.watch.bookmarks {
            self.push_bookmark(&Value::Null);
        }
        self.next_bookmark = now + BOOKMARKS_EVERY;
    }

    fn read_changes(&mut self) {
        let store = Arc::clone(&self.store);
        let state = store.lock();
        let changes: Vec<Change> = match state.changes_after(self.watch.after, self.watch.resource)
        {
            // A bounded step: the rest is read when these lines are sent.
            Ok(changes) => changes.take(64).cloned().collect(),
            Err(failure) => return self.fail(&failure),
        };
        self.watch.after = match changes.len() {
            64 => changes.last().map_or(self.watch.after, |c| c.revision),
            _ => state.revision().max(self.watch.after),
        };
        drop(state);
        for change in changes {
            self.show(&change);
        }
    }

    /// A change as this watch sees it: what comes to be selected is added, what no longer is, is deleted.
    fn show(&mut self, change: &Change) {
        let namespace = &self.watch.namespace;
        if namespace
            .as_ref()
            .is_some_and(|n| *n != change.key.namespace)
        {
            return;
        }
        let selected = |object: &Option<Arc<Value>>| {
            object
                .as_ref()
                .is_some_and(|o| self.watch.selector.matches(o))
        };
        let (before, after) = (selected(&change.old), selected(&change.new));
        let newest = change.new.as_ref().or(change.old.as_ref());
        let Some(object) = newest else { return };
        match (before, after) {
            (false, true) => self.push("ADDED", object),
            (true, true) => self.push("MODIFIED", object),
            (true, false) => self.push("DELETED", object),
            (false, false) => {}
        }
    }

    fn push(&mut self, kind: &str, object: &Value) {
        let object = self
            .watch
            .form
            .event(self.watch.resource, object, self.header);
        self.header = Header::Left;
        self.push_line(&json!({"type": kind, "object": object}));
    }

    fn push_bookmark(&mut self, annotations: &Value) {
        let mut metadata = json!({"resourceVersion": self.watch.after.to_string()});
        if !annotations.is_null() {
            metadata["annotations"] = annotations.clone();
        }
        let object = json!({
            "kind": self.watch.resource.kind, "apiVersion": self.watch.resource.api_version(),
            "metadata": metadata,
        });
        // In a table a bookmark has no cells to show, only its row's object to tell the version.
        self.push("BOOKMARK", &object);
    }

    fn fail(&mut self, failure: &Failure) {
        self.over = true;
        self.push_line(&json!({"type": "ERROR", "object": failure.to_json()}));
    }

    fn push_line(&mut self, event: &Value) {
        let mut line = event.to_string().into_bytes();
        line.push(b'\n');
        self.ready.push_back(line.into());
    }
}
