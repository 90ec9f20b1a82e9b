//! Storing an event exactly once. The create of the Delivery is the commit point: its name follows from the Hook and the
//! event's identity, so that the second copy finds the first one's, on any replica and at any time.
//!
//! ```text
//!   decided ─> create Delivery ── exists ── another event's ─────────────> 503
//!                    │               │ ours (the answer was lost) ──┐
//!                    │               │ Created ──────────────────────────> 202, the first outcome
//!                    │               │ Received, young: in progress ─────> 202
//!                    │               │ Received, old: a crash left it ──┐
//!                    │               └ Filtered, Failed: decided anew, replaced
//!                    ▼                                  │                │
//!             keep payload  <───────────────────────────┴────────────────┘
//!                    ▼
//!         carry out what is stored: runs, side by side
//!                    ▼
//!      outcome, over the edition read ──> 202
//! ```
//!
//! Killed before the create, nothing exists and the sender repeats. Killed after it, the Delivery says all that is to be
//! done, and a redelivery after the age of takeover, or the sweep, does it; an event without identity is only ended, since
//! its sender repeats it under another name. A 202 leaves only when the Delivery and its payload are in the cluster. What
//! goes beyond that within the sender's time is a service, not a promise.

use std::time::Duration;

use bytes::Bytes;
use cluster::{Cluster, Fault, Kind, Part};
use futures_util::future::try_join_all;
use hooks::{Delivery, Outcome};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    Deliveries,
    carry::{AtHand, Carried, Written, copies_of},
    payload::{self, Kept},
    record,
    resource::{self, DELIVERIES},
};

/// How often an existing Delivery is looked at before the sender is told to come again: each look follows a change that
/// another process made.
const LOOKS: usize = 4;

/// What a rule says of a run that cannot be written down.
pub(crate) const TOO_LARGE: &str = "too large to record: what is to be started, with its parameters, is more than one \
                                    object of the cluster holds (about 1.5 MB); pass less of the payload as parameters, \
                                    and the rest as a file (payload)";

/// An event, decided on, that is to be stored.
#[derive(Debug)]
pub struct Fresh<'a> {
    /// Its record, whole. Its name follows from the event's identity, and its annotation [`resource::REQUEST`] from the
    /// request that brought it.
    pub delivery: Delivery,
    /// What the Delivery owns beside itself.
    pub kept: Vec<Kept>,
    /// The payload's bytes.
    pub bytes: &'a Bytes,
    /// When it came.
    pub received: Timestamp,
    /// Why nothing can be made of it, whatever its rules say.
    pub problem: Option<&'a str>,
    /// Why its runs are left to the sweep.
    pub waits: Option<&'a str>,
}

/// What is on record of an event.
#[derive(Debug)]
pub struct Stored {
    /// Its Delivery.
    pub delivery: Delivery,
    /// Whether it was there before this request.
    pub duplicate: bool,
    /// Why a run was not started just now, where the API server is the reason.
    pub fault: Option<Fault>,
}

/// Why an event was not stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Other copies of the event are writing its Delivery.
    #[error("other deliveries of the same event are being handled; send it again")]
    Busy,
    /// The name of the Delivery is that of another event.
    #[error(
        "Delivery {0:?} exists and belongs to another event; delete it, and send this one again"
    )]
    Taken(String),
    /// The API server refused something, or could not be asked.
    #[error(transparent)]
    Cluster(#[from] Fault),
}

impl Deliveries {
    /// Stores an event, and carries out what was decided about it; or finds it stored. Where what was decided is more than
    /// one object holds, the event is stored without it, and failed.
    ///
    /// # Errors
    /// An [`Error`]; the event is not stored then, or nobody knows.
    pub async fn store(&self, cluster: &Cluster, mut fresh: Fresh<'_>) -> Result<Stored, Error> {
        record::weigh(&mut fresh.delivery, &fresh.kept);
        let fault = match self.commit(cluster, &fresh).await {
            Err(Error::Cluster(fault)) if fault.kind == Kind::TooLarge => fault,
            stored => return stored,
        };
        let delivery = &mut fresh.delivery;
        record::shorten(delivery, fresh.problem, TOO_LARGE);
        let payload = delivery.record.payload.secret_name.as_ref();
        fresh.kept.retain(|kept| payload == Some(&kept.name));
        record::weigh(delivery, &fresh.kept);
        let stored = self.commit(cluster, &fresh).await?;
        Ok(Stored {
            fault: Some(fault),
            ..stored
        })
    }

    async fn commit(&self, cluster: &Cluster, fresh: &Fresh<'_>) -> Result<Stored, Error> {
        let namespace = fresh.delivery.metadata.namespace.as_str();
        for _ in 0..LOOKS {
            let created = cluster
                .create(DELIVERIES, Some(namespace), &json(&fresh.delivery))
                .await;
            let existing = match created {
                Ok(Written { metadata }) => {
                    let delivery = Delivery {
                        metadata,
                        ..fresh.delivery.clone()
                    };
                    return self.begin(cluster, delivery, fresh, false).await;
                }
                Err(fault) if fault.kind == Kind::Conflict => {
                    match self.find(cluster, &fresh.delivery).await? {
                        Some(found) => found,
                        // Deleted in this moment.
                        None => continue,
                    }
                }
                Err(fault) => return Err(fault.into()),
            };
            if request(&existing) == request(&fresh.delivery) {
                // Ours: the API server's answer was lost.
                return self.begin(cluster, existing, fresh, false).await;
            }
            match existing.record.outcome {
                Outcome::Created => return Ok(found(existing)),
                Outcome::Received if whole(cluster, &existing, &fresh.kept).await? => {
                    if self.is_young(&existing, fresh.received) {
                        return Ok(found(existing));
                    }
                    let same =
                        existing.record.payload.digest == fresh.delivery.record.payload.digest;
                    let bytes = same.then_some(fresh.bytes);
                    return Ok(carried(
                        self.carry_out(cluster, existing, bytes).await,
                        true,
                    ));
                }
                // Stored without its payload, and so never acknowledged; or of no effect the first time.
                Outcome::Received | Outcome::Filtered | Outcome::Failed => {
                    let anew = replacement(fresh, &existing);
                    let replaced = cluster
                        .replace_object(DELIVERIES, namespace, &json(&anew))
                        .await;
                    match replaced {
                        Ok(Written { metadata }) => {
                            let delivery = Delivery { metadata, ..anew };
                            return self.begin(cluster, delivery, fresh, true).await;
                        }
                        Err(Fault {
                            kind: Kind::Conflict | Kind::NotFound,
                            ..
                        }) => {}
                        Err(fault) => return Err(fault.into()),
                    }
                }
            }
        }
        Err(Error::Busy)
    }

    /// The Delivery of an event, if it is stored already: one of this name, that is not about to vanish.
    ///
    /// # Errors
    /// [`Error::Taken`] where it is another event's.
    pub async fn find(
        &self,
        cluster: &Cluster,
        event: &Delivery,
    ) -> Result<Option<Delivery>, Error> {
        let metadata = &event.metadata;
        let found: Option<Delivery> = cluster
            .find(DELIVERIES, &metadata.namespace, &metadata.name)
            .await?;
        let Some(found) = found.filter(|found| found.metadata.deletion_timestamp.is_none()) else {
            return Ok(None);
        };
        let uid = |one: &Delivery| one.record.hook.as_ref().map(|hook| hook.uid.clone());
        if uid(&found) != uid(event) || found.record.key != event.record.key {
            return Err(Error::Taken(found.metadata.name));
        }
        Ok(Some(found))
    }

    /// What comes after the commit point, for whoever wrote it.
    async fn begin(
        &self,
        cluster: &Cluster,
        delivery: Delivery,
        fresh: &Fresh<'_>,
        duplicate: bool,
    ) -> Result<Stored, Error> {
        keep_all(cluster, &delivery, &fresh.kept).await?;
        if fresh.waits.is_some() || delivery.record.outcome != Outcome::Received {
            return Ok(Stored {
                delivery,
                duplicate,
                fault: None,
            });
        }
        let at_hand = AtHand {
            bytes: Some(fresh.bytes),
            kept: &fresh.kept,
        };
        let begun = self.start(cluster, delivery, at_hand).await;
        Ok(carried(begun, duplicate))
    }

    /// Whether somebody is probably still at work on a Delivery.
    pub fn is_young(&self, delivery: &Delivery, now: Timestamp) -> bool {
        is_younger(&delivery.record.received_time, now, self.takeover)
    }

    /// Counts a duplicate, at best effort.
    pub async fn count(&self, cluster: &Cluster, delivery: &Delivery) {
        let count = delivery.record.duplicates.saturating_add(1);
        let (namespace, name) = (&delivery.metadata.namespace, &delivery.metadata.name);
        let patch = json!({"duplicates": count});
        let counted: Result<serde::de::IgnoredAny, Fault> = cluster
            .merge(DELIVERIES, namespace, name, Part::Whole, &patch)
            .await;
        if let Err(fault) = counted {
            tracing::debug!(error = %fault, "a duplicate was not counted");
        }
    }
}

/// Whether a time is less than an age ago. What has no legal time counts as old; what came in this moment, or a little later
/// than we think that it is, is younger than any age but none at all.
pub fn is_younger(received: &str, now: Timestamp, age: Duration) -> bool {
    received.parse::<Timestamp>().is_ok_and(|received| {
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        let passed = now
            .as_millisecond()
            .saturating_sub(received.as_millisecond());
        passed.max(0) < age
    })
}

fn found(delivery: Delivery) -> Stored {
    Stored {
        delivery,
        duplicate: true,
        fault: None,
    }
}

fn carried(
    Carried {
        delivery, fault, ..
    }: Carried,
    duplicate: bool,
) -> Stored {
    Stored {
        delivery,
        duplicate,
        fault,
    }
}

fn json(delivery: &Delivery) -> Value {
    // Only maps whose keys are no texts cannot be written, and there are none.
    serde_json::to_value(delivery).unwrap_or_default()
}

fn request(delivery: &Delivery) -> Option<&String> {
    delivery.metadata.annotations.get(resource::REQUEST)
}

/// Creates what a Delivery owns, side by side.
pub(crate) async fn keep_all<'a>(
    cluster: &Cluster,
    delivery: &Delivery,
    kept: impl IntoIterator<Item = &'a Kept>,
) -> Result<(), Fault> {
    let kept = kept.into_iter();
    try_join_all(kept.map(|kept| payload::keep(cluster, delivery, kept)))
        .await
        .map(drop)
}

/// Whether a Delivery has all that it owns; created again from ours where that is the same.
async fn whole(cluster: &Cluster, existing: &Delivery, kept: &[Kept]) -> Result<bool, Fault> {
    let names = owned(existing);
    let (ours, others): (Vec<_>, Vec<_>) = names
        .into_iter()
        .map(|name| kept.iter().find(|kept| kept.name == name).ok_or(name))
        .partition(Result::is_ok);
    keep_all(cluster, existing, ours.into_iter().filter_map(Result::ok)).await?;
    for name in others.into_iter().filter_map(Result::err) {
        let namespace = &existing.metadata.namespace;
        let found: Option<serde::de::IgnoredAny> =
            cluster.find(cluster::SECRETS, namespace, name).await?;
        if found.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Names of the Secrets that a Delivery owns.
fn owned(delivery: &Delivery) -> Vec<&str> {
    let runs = delivery
        .record
        .rules
        .iter()
        .filter_map(|rule| rule.pipeline_run.as_ref());
    let payload = delivery.record.payload.secret_name.as_deref();
    payload
        .into_iter()
        .chain(runs.flat_map(copies_of))
        .collect()
}

/// The Delivery of an event that is evaluated again: today's decision, except where a run was started already.
fn replacement(
    Fresh {
        delivery: fresh,
        problem,
        waits,
        ..
    }: &Fresh<'_>,
    existing: &Delivery,
) -> Delivery {
    let mut anew = fresh.clone();
    let started = |name: &str| {
        let mut rules = existing.record.rules.iter();
        rules.find(|rule| rule.name == name && rule.outcome == Outcome::Created)
    };
    for rule in &mut anew.record.rules {
        if let Some(started) = started(&rule.name) {
            rule.clone_from(started);
        }
    }
    // A run that was started stays on record, also where its rule is gone.
    let gone = existing.record.rules.iter().filter(|rule| {
        let mut rules = fresh.record.rules.iter();
        rule.outcome == Outcome::Created && !rules.any(|fresh| fresh.name == rule.name)
    });
    anew.record.rules.extend(gone.cloned());
    anew.metadata.uid.clone_from(&existing.metadata.uid);
    anew.metadata
        .resource_version
        .clone_from(&existing.metadata.resource_version);
    anew.record.duplicates = existing.record.duplicates.saturating_add(1);
    record::conclude(&mut anew, *problem);
    if let Some(waits) = waits.filter(|_| anew.record.outcome == Outcome::Received) {
        waits.clone_into(&mut anew.record.reason);
    }
    anew
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_young_where_nobody_is_waited_for() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let younger =
            |received: &str, seconds| is_younger(received, now, Duration::from_secs(seconds));
        for (received, waits, at_once) in [
            ("2026-01-02T03:04:04Z", true, false),
            ("2026-01-02T03:04:05Z", true, false),
            // Another process has another clock.
            ("2026-01-02T03:04:06Z", true, false),
            ("2026-01-02T03:03:05Z", false, false),
            ("no time", false, false),
        ] {
            assert_eq!(
                (younger(received, 60), younger(received, 0)),
                (waits, at_once),
                "{received}"
            );
        }
    }
}
