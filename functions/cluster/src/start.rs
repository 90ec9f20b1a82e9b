//! Starting a run exactly once.
//!
//! A run that needs nothing beside it is one create: its derived name is the duplicate check. A run that reads copies
//! (secrets, files, the payload) must own them, so they need its UID, and Tekton fails a run whose Secret is missing.
//! Hence three steps: create the run with `spec.status: PipelineRunPending`, create what it owns, clear the status.
//! Killed between any two of them, the run waits and nothing of it runs; whoever brings the event again finishes it.
//!
//! ```text
//!            create ──────────── exists already? ── another event's ──> Conflict
//!              │                        │
//!              │                 same event's run ── started ─────────> AlreadyExists
//!              ▼                        ▼
//!           pending <────────── pending, same snapshot
//!              │                        └ pending, other snapshot: deleted, made anew
//!        create copies
//!              │
//!     test pending, clear ──────> Created
//! ```
//!
//! The last step is a JSON patch that first tests UID and status: it can start only the run that it was made for, and
//! only once, and never undoes a cancellation.

use flows::{label, tekton::Secret};
use futures_util::future::join_all;
use kube::core::{
    Request,
    params::{DeleteParams, GetParams, PostParams, Preconditions},
};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;

use crate::{
    api::Cluster,
    apply::{FIELD_MANAGER, GROUP, path},
    fault::{Fault, Kind},
    planned::Planned,
};

/// How often the state of an existing run is looked at before the sender is told to come again: each look follows a
/// change that another process made, so more than a few mean a fight.
const LOOKS: usize = 4;

/// The status of a run that waits to be started (Tekton: PipelineRun, "Pending PipelineRuns").
pub(crate) const PENDING: &str = "PipelineRunPending";

/// What became of a run that was to be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This call created it.
    Created,
    /// The same event started it before; nothing was changed.
    AlreadyExists,
}

/// What is read of a PipelineRun or of one of its Secrets.
#[derive(Debug, Deserialize)]
pub(crate) struct Existing {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    uid: String,
    resource_version: String,
    deletion_timestamp: Option<String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    owner_references: Vec<Owner>,
}

#[derive(Debug, Deserialize)]
struct Owner {
    uid: String,
}

#[derive(Debug, Default, Deserialize)]
struct Spec {
    status: Option<String>,
}

impl Existing {
    fn is_pending(&self) -> bool {
        self.spec.status.as_deref() == Some(PENDING)
    }

    /// What must still be true of the object when it is deleted.
    fn as_read(&self) -> Preconditions {
        Preconditions {
            uid: Some(self.metadata.uid.clone()),
            resource_version: Some(self.metadata.resource_version.clone()),
        }
    }

    fn annotation(&self, name: &str) -> &str {
        self.metadata
            .annotations
            .get(name)
            .map_or("", String::as_str)
    }
}

/// What a step found out.
enum Step<T> {
    Done(T),
    /// Another process changed the run meanwhile: look again.
    LookAgain,
}

impl Cluster {
    /// Whether this event's run exists and has been started, so that nothing is left to do for it.
    ///
    /// Saves a redelivered event from writing a flow's older content over its latest.
    ///
    /// # Errors
    /// A [`Fault`]; of kind [`Kind::Conflict`] where the name is taken by another event.
    pub async fn is_started(
        &self,
        namespace: &str,
        name: &str,
        event: &str,
    ) -> Result<bool, Fault> {
        match self.run(namespace, name).await? {
            None => Ok(false),
            Some(existing) => {
                same_event(&existing, name, event)?;
                Ok(!existing.is_pending())
            }
        }
    }

    /// Starts the run, or finds it started by the same event.
    ///
    /// # Errors
    /// A [`Fault`]. A refused run leaves nothing behind; after any other fault the run either does not exist or is
    /// pending, and the same call finishes it.
    pub async fn start(&self, run: impl Into<Planned<'_>>) -> Result<Outcome, Fault> {
        let run = &run.into();
        let mut replaced = false;
        let mut outcome = Outcome::Created;
        for _ in 0..LOOKS {
            let uid = match self.create_run(run).await {
                Ok(uid) => uid,
                // Quotas are counted, and webhooks asked, before the API server looks whether the name is taken: a
                // refusal, too, may be about a run that exists.
                Err(fault) if fault.kind != Kind::Unavailable => {
                    let Some(existing) = self.existing(run).await? else {
                        if fault.kind == Kind::Conflict {
                            continue;
                        }
                        return Err(fault);
                    };
                    if !existing.is_pending() {
                        return Ok(Outcome::AlreadyExists);
                    }
                    if existing.annotation(label::SNAPSHOT) != run.snapshot {
                        // The flow was edited between two deliveries, and the first was never acknowledged.
                        // Whoever finds its own run replaced leaves the field, or two would replace each other.
                        if replaced || outcome == Outcome::AlreadyExists {
                            return Err(busy(
                                run,
                                "another delivery of the same event is starting it",
                            ));
                        }
                        // Tekton writes to a pending run, too: one that changed in this moment is looked at again.
                        replaced = self.delete_run(run, &existing).await?;
                        continue;
                    }
                    existing.metadata.uid
                }
                Err(fault) => return Err(fault),
            };
            if run.copies.is_empty() {
                return Ok(Outcome::Created);
            }
            match self.finish(run, &uid).await? {
                Step::Done(()) => return Ok(Outcome::Created),
                Step::LookAgain => outcome = Outcome::AlreadyExists,
            }
        }
        Err(busy(
            run,
            "other deliveries of the same event are changing it",
        ))
    }

    /// Creates the run; its UID.
    async fn create_run(&self, run: &Planned<'_>) -> Result<String, Fault> {
        let doing = format!("creating PipelineRun {}", run.name);
        let request = runs(run.namespace.as_ref());
        let created: Existing = self
            .send(&doing, || request.create(&as_manager(), run.object.clone()))
            .await?;
        Ok(created.metadata.uid)
    }

    /// The run of this name, if it exists: this event's, and not about to vanish.
    async fn existing(&self, run: &Planned<'_>) -> Result<Option<Existing>, Fault> {
        let existing = self.run(run.namespace.as_ref(), run.name.as_ref()).await?;
        if let Some(existing) = &existing {
            same_event(existing, run.name.as_ref(), &run.event)?;
            if existing.metadata.deletion_timestamp.is_some() {
                return Err(busy(run, "it is being deleted"));
            }
        }
        Ok(existing)
    }

    async fn run(&self, namespace: &str, name: &str) -> Result<Option<Existing>, Fault> {
        let doing = format!("reading PipelineRun {name}");
        let request = runs(namespace);
        found(
            self.send(&doing, || request.get(name, &GetParams::default()))
                .await,
        )
    }

    /// Gives the pending run what it owns and lets it go. A run that is refused its copies is deleted.
    async fn finish(&self, run: &Planned<'_>, uid: &str) -> Result<Step<()>, Fault> {
        // Side by side, and all of them to their end: after a refusal none may come into being behind our back.
        let copies = run
            .copies
            .iter()
            .map(|copy| self.create_copy(run, uid, copy));
        for created in join_all(copies).await {
            match created {
                Ok(Step::Done(())) => {}
                Ok(Step::LookAgain) => return Ok(Step::LookAgain),
                Err(fault) if fault.kind == Kind::Unavailable => return Err(fault),
                Err(fault) => return self.withdraw(run, uid, fault).await,
            }
        }
        let doing = format!("starting PipelineRun {}", run.name);
        let patch = json!([
            {"op": "test", "path": "/metadata/uid", "value": uid},
            {"op": "test", "path": "/spec/status", "value": PENDING},
            {"op": "remove", "path": "/spec/status"},
        ])
        .to_string()
        .into_bytes();
        let uri = format!(
            "{}/{}?fieldManager={FIELD_MANAGER}",
            path(GROUP, "pipelineruns", run.namespace.as_ref()),
            run.name
        );
        let started: Result<serde::de::IgnoredAny, Fault> = self
            .send(&doing, || {
                http::Request::patch(&uri)
                    .header(http::header::CONTENT_TYPE, "application/json-patch+json")
                    .body(patch.clone())
                    .map_err(kube::core::request::Error::BuildRequest)
            })
            .await;
        match started {
            Ok(_) => Ok(Step::Done(())),
            Err(fault) if matches!(fault.kind, Kind::NotFound | Kind::Conflict) => {
                Ok(Step::LookAgain)
            }
            Err(fault) if fault.kind == Kind::Unavailable => Err(fault),
            // A failed test is 422 and says nothing more; it may also be a refusal of the change itself.
            Err(fault) => self.withdraw(run, uid, fault).await,
        }
    }

    /// Creates one Secret that the run owns.
    async fn create_copy(
        &self,
        run: &Planned<'_>,
        uid: &str,
        copy: &Secret,
    ) -> Result<Step<()>, Fault> {
        let name = &copy.metadata.name;
        let doing = format!("creating Secret {name}");
        let bytes = copy.clone().owned_by(&run.name, uid).to_json();
        let request = Request::new(path("", "secrets", run.namespace.as_ref()));
        for _ in 0..LOOKS {
            let created: Result<serde::de::IgnoredAny, Fault> = self
                .send(&doing, || request.create(&as_manager(), bytes.clone()))
                .await;
            let refusal = match created {
                Ok(_) => return Ok(Step::Done(())),
                Err(fault) if fault.kind == Kind::Unavailable => return Err(fault),
                Err(fault) => fault,
            };
            // As with the run, a refusal may be about a copy that exists.
            let existing: Option<Existing> = found(
                self.send(&doing, || request.get(name, &GetParams::default()))
                    .await,
            )?;
            let Some(existing) = existing else {
                if refusal.kind == Kind::Conflict {
                    continue;
                }
                return Err(refusal);
            };
            if existing
                .metadata
                .owner_references
                .iter()
                .any(|owner| owner.uid == uid)
            {
                return Ok(Step::Done(()));
            }
            // It belongs to an earlier run of this name, or to whoever replaced ours.
            match self.run(run.namespace.as_ref(), run.name.as_ref()).await? {
                Some(current) if current.metadata.uid == uid => {
                    self.delete(&request, name, &doing, existing.as_read())
                        .await?;
                }
                _ => return Ok(Step::LookAgain),
            }
        }
        Err(busy(
            run,
            "its Secrets are being changed by another delivery",
        ))
    }

    /// Deletes a run that waits to be started and is given up, so that it neither waits for ever nor starts one day;
    /// whether it was started instead. A run of another event is left alone.
    ///
    /// # Errors
    /// A [`Fault`]; nobody knows then what became of the run.
    pub async fn take_back(&self, run: impl Into<Planned<'_>>) -> Result<bool, Fault> {
        let run = &run.into();
        for _ in 0..LOOKS {
            let found = self.run(run.namespace.as_ref(), run.name.as_ref()).await?;
            let ours = found.filter(|found| found.annotation(label::EVENT) == run.event);
            match ours {
                None => return Ok(false),
                Some(ours) if !ours.is_pending() => return Ok(true),
                Some(ours) if ours.metadata.deletion_timestamp.is_some() => return Ok(false),
                Some(ours) if self.delete_run(run, &ours).await? => return Ok(false),
                // It changed in this moment.
                Some(_) => {}
            }
        }
        Err(busy(run, "others are changing it"))
    }

    /// Deletes a pending run that will not be started; what it owns goes with it.
    async fn delete_run(&self, run: &Planned<'_>, existing: &Existing) -> Result<bool, Fault> {
        let doing = format!("deleting PipelineRun {}", run.name);
        self.delete(
            &runs(run.namespace.as_ref()),
            run.name.as_ref(),
            &doing,
            existing.as_read(),
        )
        .await
    }

    /// Deletes exactly the object that was read; whether it did. That it is gone or has changed meanwhile is no error.
    pub(crate) async fn delete(
        &self,
        request: &Request,
        name: &str,
        doing: &str,
        as_read: Preconditions,
    ) -> Result<bool, Fault> {
        let parameters = DeleteParams {
            preconditions: Some(as_read),
            ..DeleteParams::background()
        };
        let deleted: Result<serde::de::IgnoredAny, Fault> =
            self.send(doing, || request.delete(name, &parameters)).await;
        match deleted {
            Ok(_) => Ok(true),
            Err(fault) if matches!(fault.kind, Kind::NotFound | Kind::Conflict) => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// Takes back a run that was refused something, unless another delivery has started or replaced it meanwhile. Where
    /// it cannot be deleted it stays pending and never runs; the fault that matters is the refusal.
    async fn withdraw(
        &self,
        run: &Planned<'_>,
        uid: &str,
        refusal: Fault,
    ) -> Result<Step<()>, Fault> {
        let existing = self.run(run.namespace.as_ref(), run.name.as_ref()).await?;
        let is_ours = |run: &Existing| run.metadata.uid == uid && run.is_pending();
        let Some(ours) = existing.filter(is_ours) else {
            return Ok(Step::LookAgain);
        };
        if let Err(fault) = self.delete_run(run, &ours).await {
            tracing::warn!(run = %run.name, error = %fault, "a run that was refused could not be deleted; it stays pending");
            return Err(refusal);
        }
        // Deleted only as it was read: a run that another delivery started in this moment is still there.
        let left = self.run(run.namespace.as_ref(), run.name.as_ref()).await?;
        let is_started =
            |run: &Existing| !run.is_pending() && run.metadata.deletion_timestamp.is_none();
        if left.is_some_and(|left| is_started(&left)) {
            return Ok(Step::LookAgain);
        }
        Err(refusal)
    }
}

fn runs(namespace: &str) -> Request {
    Request::new(path(GROUP, "pipelineruns", namespace))
}

fn as_manager() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

/// "Not found" is an answer.
pub(crate) fn found<T>(result: Result<T, Fault>) -> Result<Option<T>, Fault> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(fault) if fault.kind == Kind::NotFound => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// A run of the same name that another event made is never ours.
fn same_event(existing: &Existing, name: &str, event: &str) -> Result<(), Fault> {
    if existing.annotation(label::EVENT) == event {
        return Ok(());
    }
    Err(Fault::new(
        Kind::Conflict,
        &format!("creating PipelineRun {name}"),
        "a PipelineRun of that name exists and belongs to another event",
    ))
}

fn busy(run: &Planned<'_>, why: &str) -> Fault {
    Fault::new(
        Kind::Unavailable,
        &format!("creating PipelineRun {}", run.name),
        format!("{why}; try again"),
    )
}
