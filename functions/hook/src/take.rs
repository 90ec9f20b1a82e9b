//! From an event that is decided on to its Delivery: the payload gets a place, the quota says whether runs start now.
//!
//! The first copy of an event is not asked whether it is one: that the Delivery exists is found out by creating it.
//! Where asking costs less than what it saves it is asked first, with one read: for a name that was stored a moment
//! ago, since who sends a copy often sends many, and for a payload that would go to the object store.

use std::{sync::PoisonError, time::Duration};

use cluster::Cluster;
use deliveries::{
    Fresh, Stored,
    payload::{self, Nature, Parcel},
    resource,
};
use hooks::{Delivery, Outcome, delivery::StoredPayload, object::Metadata};
use serde::de::IgnoredAny;
use tokio::time::Instant;

use crate::{
    arrival::Arrival, decide::Decided, error::Error, known::Known, registry::Slot, service::Service,
};

/// How often duplicates of one Hook are counted at most.
const COUNTING: Duration = Duration::from_secs(1);

impl Service {
    /// Stores an event, and carries out what is decided about it; or finds it stored.
    ///
    /// # Errors
    /// An [`Error`]; the event is not stored then, or nobody knows.
    pub(crate) async fn take(
        &self,
        cluster: &Cluster,
        slot: &Slot,
        known: &Known,
        decided: Decided,
    ) -> Result<Stored, Error> {
        let Decided {
            mut arrival,
            mut rules,
            earlier,
        } = decided;
        if let (Some(key), Some(earlier)) =
            (self.repeated(cluster, known, &arrival).await?, earlier)
        {
            (arrival.facts.key, rules) = (key, earlier);
        }
        let hook = &known.hook.metadata;
        let name = hooks::delivery_name(&hook.name, &hook.uid, &arrival.facts.key);
        if let Some(stored) = self.stored(cluster, slot, known, &arrival, &name).await? {
            self.count(cluster, slot, &stored.delivery).await;
            return Ok(stored);
        }
        let bytes = &arrival.bytes;
        let parcel = Parcel {
            namespace: slot.place.namespace.as_str(),
            delivery: &name,
            bytes,
            content_type: &arrival.content_type,
            nature: Nature::Payload,
        };
        let packed = self.deliveries.pack(cluster, parcel).await?;
        let mut delivery = arrival.delivery(&name, known, packed.stored, rules);
        let traceparent = arrival.traceparent.as_deref();
        let resolved =
            self.deliveries
                .resolve(cluster, &mut delivery, Some(Ok(bytes)), traceparent);
        let mut kept = resolved.await;
        kept.extend(packed.secret);
        let starts = delivery.record.outcome == Outcome::Received;
        let waits = starts.then(|| over_quota(slot, known)).flatten();
        if let Some(waits) = &waits {
            delivery.record.reason.clone_from(waits);
        }
        flag(slot, &mut delivery);
        let fresh = Fresh {
            delivery,
            kept,
            bytes,
            received: arrival.received,
            problem: arrival.problem.as_deref(),
            waits: waits.as_deref(),
        };
        let digest = fresh.delivery.record.payload.digest.clone();
        let stored = self.deliveries.store(cluster, fresh).await;
        let ours = stored.as_ref().is_ok_and(|stored| {
            let annotations = &stored.delivery.metadata.annotations;
            annotations.get(resource::REQUEST) == Some(&arrival.request)
        });
        if starts && waits.is_none() && !ours {
            // The token was taken before the create, because the Delivery says what the quota did; a copy starts
            // nothing.
            let mut bucket = slot.bucket.lock().unwrap_or_else(PoisonError::into_inner);
            bucket.give_back();
        }
        let stored = stored?;
        slot.notes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remember(digest, name);
        if stored.duplicate && stored.delivery.record.outcome == Outcome::Created {
            self.count(cluster, slot, &stored.delivery).await;
        }
        Ok(stored)
    }

    /// The key of the event of the window before, if that is on record and this is the same one: where identical bodies
    /// are one event for a while alone.
    async fn repeated(
        &self,
        cluster: &Cluster,
        known: &Known,
        arrival: &Arrival,
    ) -> Result<Option<String>, Error> {
        let Some(earlier) = &arrival.facts.earlier else {
            return Ok(None);
        };
        let Metadata {
            name,
            namespace,
            uid,
            ..
        } = &known.hook.metadata;
        let name = hooks::delivery_name(name, uid, earlier);
        let found = cluster.find::<IgnoredAny>(resource::DELIVERIES, namespace, &name);
        let found = found.await.map_err(deliveries::Error::from)?;
        Ok(found.map(|_| earlier.clone()))
    }

    /// The Delivery of an event that is done with, where it is worth to ask.
    async fn stored(
        &self,
        cluster: &Cluster,
        slot: &Slot,
        known: &Known,
        arrival: &Arrival,
        name: &str,
    ) -> Result<Option<Stored>, Error> {
        let seen = || {
            let notes = slot.notes.lock().unwrap_or_else(PoisonError::into_inner);
            notes.remembers(name)
        };
        if arrival.bytes.len() <= payload::IN_CLUSTER && !seen() {
            return Ok(None);
        }
        let event = arrival.delivery(name, known, StoredPayload::default(), Vec::new());
        let found = self.deliveries.find(cluster, &event).await?;
        let done = found.filter(|found| found.record.outcome == Outcome::Created);
        Ok(done.map(|delivery| Stored {
            delivery,
            duplicate: true,
            fault: None,
        }))
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
        if due {
            self.deliveries.count(cluster, delivery).await;
        }
    }
}

/// Why the runs of this event wait for the sweep, if they do.
fn over_quota(slot: &Slot, known: &Known) -> Option<String> {
    let per_minute = known.hook.spec.quota.per_minute;
    let mut bucket = slot.bucket.lock().unwrap_or_else(PoisonError::into_inner);
    if bucket.take(per_minute, Instant::now()) {
        return None;
    }
    Some(format!(
        "over the quota of {per_minute} events per minute and pod (spec.quota.perMinute); the sweep starts it"
    ))
}

/// Marks a Delivery whose bytes came a moment ago under another identity. Events without any are not alike for that.
fn flag(slot: &Slot, delivery: &mut Delivery) {
    if delivery.record.payload.size == 0 {
        return;
    }
    let notes = slot.notes.lock().unwrap_or_else(PoisonError::into_inner);
    let digest = &delivery.record.payload.digest;
    let Some(other) = notes.same_payload(digest, &delivery.metadata.name) else {
        return;
    };
    // So that the sweep, which sees no more than metadata, does not write it again.
    let annotation = resource::SAME_PAYLOAD_AS.to_owned();
    delivery
        .metadata
        .annotations
        .insert(annotation, other.clone());
    delivery.record.same_payload_as = Some(other);
}
