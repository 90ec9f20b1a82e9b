//! Storing an event exactly once. The create of the Delivery is the commit point: its name follows from the Hook and the
//! event's identity, so that the second copy finds the first one's, on any replica and at any time.
//!
//! ```text
//!   decide ──> create Delivery ── exists ── another event's ─────────────> 503
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
//! done, and a redelivery after the age of takeover, or the sweep, does it. A 202 leaves only when the Delivery and its
//! payload are in the cluster. What goes beyond that within the sender's time is a service, not a promise.

use std::{sync::PoisonError, time::Duration};

use cluster::{Cluster, Fault, Kind, Part};
use futures_util::future::try_join_all;
use hooks::{Delivery, Ids, Outcome, Seen, delivery::RuleRecord};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    carry::{Means, Written, carry_out, copies_of},
    error::Error,
    known::Known,
    payload::{self, Kept},
    record::{self, Arrival},
    registry::Slot,
    resource::{self, DELIVERIES},
    service::Service,
};

/// How often an existing Delivery is looked at before the sender is told to come again: each look follows a change that
/// another process made.
const LOOKS: usize = 4;

/// How often duplicates of one Hook are counted at most.
const COUNTING: Duration = Duration::from_secs(1);

/// What is on record of an event.
pub(crate) struct Taken {
    /// Its Delivery.
    pub(crate) delivery: Delivery,
    /// Whether it was there before this request.
    pub(crate) duplicate: bool,
}

impl Service {
    /// Stores a verified event, and carries out what is decided about it; or finds it stored.
    ///
    /// # Errors
    /// An [`Error`]; the event is not stored then, or nobody knows.
    pub(crate) async fn take(
        &self,
        cluster: &Cluster,
        slot: &Slot,
        known: &Known,
        arrival: &Arrival,
    ) -> Result<Taken, Error> {
        let hook = &known.hook.metadata;
        let name = hooks::delivery_name(&hook.name, &hook.uid, &arrival.facts.key);
        let namespace = slot.place.namespace.as_str();
        let store = self.payloads.as_deref();
        let (bytes, media_type) = (&arrival.bytes, &arrival.content_type);
        let packed = payload::pack(store, namespace, &name, bytes, media_type).await?;
        let mut rules = decided(known, arrival, &name);
        let mut kept = self
            .resolve(slot, known, arrival, &name, &packed, &mut rules)
            .await;
        kept.extend(packed.secret.clone());
        let waits = self.over_quota(slot, known, &rules);
        let fresh = arrival.delivery(name, known, packed.stored.clone(), rules, waits.clone());
        let fresh = flagged(slot, fresh);
        for _ in 0..LOOKS {
            let created = cluster
                .create(DELIVERIES, Some(namespace), &json(&fresh))
                .await;
            let existing = match created {
                Ok(Written { metadata }) => {
                    let delivery = Delivery { metadata, ..fresh };
                    let delivery = self
                        .begin(cluster, delivery, &kept, arrival, waits.is_some())
                        .await?;
                    return Ok(taken(delivery, false));
                }
                Err(fault) if fault.kind == Kind::Conflict => {
                    let found: Option<Delivery> = cluster
                        .find(DELIVERIES, namespace, &fresh.metadata.name)
                        .await
                        .map_err(Error::Cluster)?;
                    match found {
                        Some(found) if found.metadata.deletion_timestamp.is_none() => found,
                        // Deleted in this moment.
                        _ => continue,
                    }
                }
                Err(fault) => return Err(Error::Cluster(fault)),
            };
            let same = |one: &Delivery| (one.record.hook.uid.clone(), one.record.key.clone());
            if same(&existing) != same(&fresh) {
                return Err(Error::Taken(existing.metadata.name));
            }
            if request(&existing) == Some(&arrival.request) {
                // Ours: the API server's answer was lost.
                let delivery = self
                    .begin(cluster, existing, &kept, arrival, waits.is_some())
                    .await?;
                return Ok(taken(delivery, false));
            }
            match existing.record.outcome {
                Outcome::Created => {
                    self.count(cluster, slot, &existing).await;
                    return Ok(taken(existing, true));
                }
                Outcome::Received if whole(cluster, &existing, &kept).await? => {
                    if self.is_young(&existing, arrival.received) {
                        return Ok(taken(existing, true));
                    }
                    let bytes = (existing.record.payload.digest == packed.stored.digest)
                        .then_some(&arrival.bytes);
                    let delivery = carry_out(cluster, &self.means(), existing, bytes).await;
                    return Ok(taken(delivery, true));
                }
                // Stored without its payload, and so never acknowledged; or of no effect the first time.
                Outcome::Received | Outcome::Filtered | Outcome::Failed => {
                    let anew = replacement(
                        &fresh,
                        &existing,
                        arrival.problem.as_deref(),
                        waits.as_deref(),
                    );
                    let replaced = cluster
                        .replace_object(DELIVERIES, namespace, &json(&anew))
                        .await;
                    match replaced {
                        Ok(Written { metadata }) => {
                            let delivery = Delivery { metadata, ..anew };
                            let delivery = self
                                .begin(cluster, delivery, &kept, arrival, waits.is_some())
                                .await?;
                            return Ok(taken(delivery, true));
                        }
                        Err(Fault {
                            kind: Kind::Conflict | Kind::NotFound,
                            ..
                        }) => {}
                        Err(fault) => return Err(Error::Cluster(fault)),
                    }
                }
            }
        }
        Err(Error::Busy)
    }

    /// What comes after the commit point, for whoever wrote it.
    async fn begin(
        &self,
        cluster: &Cluster,
        delivery: Delivery,
        kept: &[Kept],
        arrival: &Arrival,
        waits: bool,
    ) -> Result<Delivery, Error> {
        keep_all(cluster, &delivery, kept).await?;
        if waits || delivery.record.outcome != Outcome::Received {
            return Ok(delivery);
        }
        Ok(carry_out(cluster, &self.means(), delivery, Some(&arrival.bytes)).await)
    }

    /// What carrying out needs.
    pub(crate) fn means(&self) -> Means<'_> {
        Means {
            rights: &self.rights,
            payloads: self.payloads.as_deref(),
        }
    }

    /// Whether somebody is probably still at work on a Delivery.
    pub(crate) fn is_young(&self, delivery: &Delivery, now: Timestamp) -> bool {
        is_younger(&delivery.record.received_time, now, self.takeover)
    }

    /// Why the runs of this event wait for the sweep, if they do.
    fn over_quota(&self, slot: &Slot, known: &Known, rules: &[RuleRecord]) -> Option<String> {
        let starts = rules.iter().any(|rule| rule.outcome == Outcome::Received);
        let per_minute = known.hook.spec.quota.per_minute;
        let mut bucket = slot.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        if !starts || bucket.take(per_minute, Instant::now()) {
            return None;
        }
        Some(format!(
            "over the quota of {per_minute} events per minute (spec.quota.perMinute); the sweep starts it"
        ))
    }

    /// Counts a duplicate, at best effort.
    async fn count(&self, cluster: &Cluster, slot: &Slot, delivery: &Delivery) {
        let due = {
            let mut notes = slot.notes.lock().unwrap_or_else(PoisonError::into_inner);
            let due = notes.counted.is_none_or(|at| at.elapsed() >= COUNTING);
            if due {
                notes.counted = Some(Instant::now());
            }
            due
        };
        if !due {
            return;
        }
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

/// Whether a time is less than an age ago. What has no legal time counts as old.
pub(crate) fn is_younger(received: &str, now: Timestamp, age: Duration) -> bool {
    received.parse::<Timestamp>().is_ok_and(|received| {
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        now.as_millisecond()
            .saturating_sub(received.as_millisecond())
            < age
    })
}

fn taken(delivery: Delivery, duplicate: bool) -> Taken {
    Taken {
        delivery,
        duplicate,
    }
}

fn json(delivery: &Delivery) -> Value {
    // Only maps whose keys are no texts cannot be written, and there are none.
    serde_json::to_value(delivery).unwrap_or_default()
}

fn request(delivery: &Delivery) -> Option<&String> {
    delivery.metadata.annotations.get(resource::REQUEST)
}

/// What each rule says to the event.
fn decided(known: &Known, arrival: &Arrival, delivery: &str) -> Vec<RuleRecord> {
    let failed = |reason: &str| {
        let rules = known.hook.spec.rules.iter().map(|rule| RuleRecord {
            name: rule.name.clone(),
            outcome: Outcome::Failed,
            reason: reason.to_owned(),
            ..RuleRecord::default()
        });
        rules.collect()
    };
    let checked = match (known.checked.as_ref(), &arrival.problem) {
        (Ok(checked), None) => checked,
        (_, problem) => return failed(problem.as_deref().unwrap_or("the Hook is not ready")),
    };
    let event = serde_json::to_value(&arrival.event).unwrap_or_default();
    let seen = Seen {
        body: arrival.json.as_ref().unwrap_or(&Value::Null),
        headers: &arrival.headers,
        query: &arrival.parameters(),
        event: &event,
        payload_bytes: arrival.bytes.len() as u64,
    };
    let key = &arrival.facts.key;
    let mut rules = hooks::decide(checked, &seen, &Ids { key, delivery });
    if let Some(traceparent) = &arrival.traceparent {
        let context = json!({"traceparent": traceparent}).to_string();
        for run in rules
            .iter_mut()
            .filter_map(|rule| rule.pipeline_run.as_mut())
        {
            run["metadata"]["annotations"][flows::label::SPAN_CONTEXT] =
                Value::from(context.as_str());
        }
    }
    rules
}

/// Marks a Delivery whose bytes came a moment ago under another identity.
fn flagged(slot: &Slot, mut delivery: Delivery) -> Delivery {
    let mut notes = slot.notes.lock().unwrap_or_else(PoisonError::into_inner);
    let digest = &delivery.record.payload.digest;
    delivery.record.same_payload_as = notes.seen_before(digest, &delivery.metadata.name);
    delivery
}

/// Creates what a Delivery owns, side by side.
async fn keep_all<'a>(
    cluster: &Cluster,
    delivery: &Delivery,
    kept: impl IntoIterator<Item = &'a Kept>,
) -> Result<(), Error> {
    let kept = kept.into_iter();
    try_join_all(kept.map(|kept| payload::keep(cluster, delivery, kept)))
        .await
        .map(drop)
        .map_err(Error::Cluster)
}

/// Whether a Delivery has all that it owns; created again from ours where that is the same.
async fn whole(cluster: &Cluster, existing: &Delivery, kept: &[Kept]) -> Result<bool, Error> {
    let names = owned(existing);
    let (ours, others): (Vec<_>, Vec<_>) = names
        .into_iter()
        .map(|name| kept.iter().find(|kept| kept.name == name).ok_or(name))
        .partition(Result::is_ok);
    keep_all(cluster, existing, ours.into_iter().filter_map(Result::ok)).await?;
    for name in others.into_iter().filter_map(Result::err) {
        let namespace = &existing.metadata.namespace;
        let found: Option<serde::de::IgnoredAny> = cluster
            .find(cluster::SECRETS, namespace, name)
            .await
            .map_err(Error::Cluster)?;
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
    fresh: &Delivery,
    existing: &Delivery,
    problem: Option<&str>,
    waits: Option<&str>,
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
    anew.record.attempts = existing.record.attempts;
    anew.record.duplicates = existing.record.duplicates.saturating_add(1);
    record::conclude(&mut anew, problem);
    if let Some(waits) = waits.filter(|_| anew.record.outcome == Outcome::Received) {
        waits.clone_into(&mut anew.record.reason);
    }
    anew
}
