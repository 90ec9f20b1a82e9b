//! The runs of a namespace, as the API server tells of them: each with the moment at which we heard of it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use control_plane::eventually;
use futures_util::TryStreamExt;
use kube::{
    Api, Client,
    api::{ListParams, WatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind, PartialObjectMeta, WatchEvent},
};
use tokio::task::JoinHandle;

/// Told by the API server until this is dropped.
pub(super) struct Runs {
    seen: Arc<Mutex<Seen>>,
    watch: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    runs: HashMap<String, Instant>,
    last: Option<Instant>,
    /// Why no more is told.
    error: Option<String>,
}

impl Drop for Runs {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

impl Runs {
    /// Watches the runs that come from now on. They are known by a label, or else by their names.
    pub(super) async fn watch(
        client: &Client,
        namespace: &str,
        label: Option<&'static str>,
    ) -> Result<Self> {
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("tekton.dev", "v1", "PipelineRun"));
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind);
        let list = api.list_metadata(&ListParams::default().limit(1)).await?;
        let version = list.metadata.resource_version.unwrap_or_default();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = Arc::clone(&seen);
        let watch = tokio::spawn(async move {
            if let Err(error) = follow(&api, version, label, &shared).await {
                lock(&shared).error = Some(format!("{error:#}"));
            }
        });
        Ok(Self { seen, watch })
    }

    fn seen(&self) -> Result<MutexGuard<'_, Seen>> {
        let seen = lock(&self.seen);
        match &seen.error {
            Some(error) => bail!("the API server tells no more of runs: {error}"),
            None => Ok(seen),
        }
    }

    /// How many there have been.
    pub(super) fn count(&self) -> Result<usize> {
        Ok(self.seen()?.runs.len())
    }

    /// When the last one came.
    pub(super) fn last(&self) -> Result<Option<Instant>> {
        Ok(self.seen()?.last)
    }

    /// How many of these there have been.
    pub(super) fn among(&self, names: &[String]) -> Result<usize> {
        let seen = self.seen()?;
        Ok(names
            .iter()
            .filter(|name| seen.runs.contains_key(*name))
            .count())
    }

    /// Waits until there have been more than so many; the moment at which the last one came.
    pub(super) async fn more_than(&self, count: usize, limit: Duration) -> Result<Instant> {
        eventually("the run exists", limit, async || {
            let seen = self.seen()?;
            Ok(seen.last.filter(|_| seen.runs.len() > count))
        })
        .await
    }
}

/// Nobody panics while holding it.
fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn follow(
    api: &Api<DynamicObject>,
    mut version: String,
    label: Option<&str>,
    seen: &Mutex<Seen>,
) -> Result<()> {
    let parameters = WatchParams::default().timeout(290);
    loop {
        let events = api.watch_metadata(&parameters, &version).await?;
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.try_next().await? {
            let run: PartialObjectMeta<DynamicObject> = match event {
                WatchEvent::Added(run) => {
                    let known_by = match label {
                        Some(label) => run.metadata.labels.as_ref().and_then(|l| l.get(label)),
                        None => run.metadata.name.as_ref(),
                    };
                    let now = Instant::now();
                    let mut seen = lock(seen);
                    if let Some(name) = known_by {
                        seen.runs.insert(name.clone(), now);
                        seen.last = Some(now);
                    }
                    run
                }
                WatchEvent::Modified(run) | WatchEvent::Deleted(run) => run,
                WatchEvent::Bookmark(mark) => {
                    version = mark.metadata.resource_version;
                    continue;
                }
                WatchEvent::Error(error) => bail!("{error}"),
            };
            version = run.metadata.resource_version.unwrap_or(version);
        }
    }
}
