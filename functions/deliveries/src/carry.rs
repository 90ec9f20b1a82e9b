//! Carrying out what a Delivery has stored: start its runs, then write down what became of them.
//!
//! Everybody who finds a Delivery `Received` does the same: the request that created it, a redelivery after its process
//! was killed, and the sweep, which only ends what nobody has a name for (`wait`). Nothing is looked at but the Delivery
//! itself, and every step may be done twice: a run is started once by its name ([`cluster::Cluster::start`]), and the
//! outcome is written only over the edition that was read.

mod copies;

use bytes::Bytes;
use cluster::{Cluster, Fault, Kind, Part, Planned};
use flows::tekton::Secret;
use futures_util::future::join_all;
use hooks::{Delivery, Outcome, delivery::RuleRecord, object::Metadata};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

pub(crate) use copies::copies_of;
use copies::kept_copies;

use crate::{
    Deliveries,
    commit::{TOO_LARGE, keep_all},
    payload::{self, Kept},
    record,
    resource::{self, DELIVERIES},
    rights,
};

/// How often the outcome is written when others write the Delivery at the same time.
const TRIES: usize = 4;

/// What is said behind the reason of what waits.
pub(crate) const AGAIN: &str = "; it is tried again";

/// What is read of an object that was written.
#[derive(Deserialize)]
pub struct Written {
    /// Its metadata.
    pub metadata: hooks::object::Metadata,
}

/// What one rule's run came to.
#[derive(Clone)]
struct Came {
    outcome: Outcome,
    reason: String,
    /// What the API server said.
    fault: Option<Fault>,
}

impl Came {
    fn failed(reason: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Failed,
            reason: reason.into(),
            fault: None,
        }
    }

    /// What waits ends its reason with [`AGAIN`], so that whoever starts it later knows that the reason is over.
    fn waits(reason: impl Into<String>) -> Self {
        let mut reason = reason.into();
        if !reason.ends_with(AGAIN) {
            reason.push_str(AGAIN);
        }
        Self {
            outcome: Outcome::Received,
            reason,
            fault: None,
        }
    }

    fn of(fault: Fault) -> Self {
        let came = match fault.kind {
            // Somebody or something has to change first, or just answer: the sweep tries again.
            Kind::Unavailable | Kind::Blocked | Kind::Forbidden | Kind::Unauthorized => {
                Self::waits(fault.to_string())
            }
            Kind::Refused | Kind::NotFound | Kind::Conflict | Kind::TooLarge => {
                Self::failed(fault.to_string())
            }
        };
        Self {
            fault: Some(fault),
            ..came
        }
    }
}

/// What a Delivery owns, as far as it need not be read.
#[derive(Clone, Copy)]
pub(crate) struct AtHand<'a> {
    /// Its payload.
    pub(crate) bytes: Option<&'a Bytes>,
    /// What its runs are to own.
    pub(crate) kept: &'a [Kept],
}

/// What became of a Delivery that was carried out.
#[derive(Debug)]
pub struct Carried {
    /// What is on record.
    pub delivery: Delivery,
    /// Why a run was not started, where the API server or the object store is the reason.
    pub fault: Option<Fault>,
    /// Whether the try is on record.
    pub noted: Noted,
}

/// Whether a try to carry out a Delivery is on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// It is.
    Written,
    /// It could not be written down: [`Deliveries::note`] is left to do.
    Unwritten,
    /// Nothing was tried, because somebody else is at work on it.
    Elsewhere,
}

impl Deliveries {
    /// Starts what is still to be started of a Delivery, and writes down what became of it: first the flows that were not
    /// looked up yet, then the runs. `bytes` are those of its payload, where they are at hand.
    pub async fn carry_out(
        &self,
        cluster: &Cluster,
        delivery: Delivery,
        bytes: Option<&Bytes>,
    ) -> Carried {
        match self.look_up(cluster, delivery, bytes).await {
            Ok(delivery) => {
                self.start(cluster, delivery, AtHand { bytes, kept: &[] })
                    .await
            }
            Err(delivery) => Carried {
                delivery: *delivery,
                fault: None,
                noted: Noted::Elsewhere,
            },
        }
    }

    /// Writes down what a try came to that could not be written down in its time ([`Noted::Unwritten`]), so that its reason
    /// is on record, and it is tried more rarely from now on and given up one day. What is on record then.
    ///
    /// # Errors
    /// A [`Fault`]; it is not on record then.
    pub async fn note(&self, cluster: &Cluster, mut tried: Delivery) -> Result<Delivery, Fault> {
        record::conclude(&mut tried, None);
        let noted = write_down(cluster, tried).await;
        noted.map_err(|unwritten| unwritten.fault)
    }

    /// Starts the runs that are written down and not started yet.
    pub(crate) async fn start(
        &self,
        cluster: &Cluster,
        mut delivery: Delivery,
        at_hand: AtHand<'_>,
    ) -> Carried {
        let waiting = |rule: &&RuleRecord| rule.outcome == Outcome::Received;
        let Metadata {
            namespace, name, ..
        } = delivery.metadata.clone();
        let came = match self.refused(cluster, &delivery).await {
            Some(refused) => {
                let rules = delivery.record.rules.iter().filter(waiting);
                rules.map(|_| refused.clone()).collect()
            }
            None => {
                let bytes = match at_hand.bytes {
                    Some(bytes) => Some(Ok(bytes.clone())),
                    None => needed(cluster, &delivery).await,
                };
                let rules = delivery.record.rules.iter().filter(waiting);
                let (delivery, bytes) = (&delivery, bytes.as_ref());
                let starts = rules.map(async |rule| {
                    let kept = kept_copies(cluster, delivery, rule, at_hand.kept).await;
                    self.start_rule(cluster, delivery, rule, kept, bytes).await
                });
                join_all(starts).await
            }
        };
        let mut fault = None;
        let rules = delivery.record.rules.iter_mut();
        for (rule, came) in rules
            .filter(|rule| rule.outcome == Outcome::Received)
            .zip(came)
        {
            if came.outcome == Outcome::Created {
                settle(rule);
            } else {
                // The reason is on record: it may quote the payload, and a log is read by more people.
                let fault = came.fault.as_ref().map(|fault| fault.kind.slug());
                tracing::warn!(
                    namespace,
                    delivery = name,
                    rule = rule.name,
                    fault,
                    "no run"
                );
                rule.reason = came.reason;
            }
            rule.outcome = came.outcome;
            fault = fault.or(came.fault);
        }
        delivery.record.attempts = delivery.record.attempts.saturating_add(1);
        record::conclude(&mut delivery, None);
        if delivery.record.outcome != Outcome::Received {
            delivery.record.duration_milliseconds = since(&delivery.record.received_time);
        }
        let (delivery, noted) = match write_down(cluster, delivery).await {
            Ok(delivery) => (delivery, Noted::Written),
            Err(tried) => (unwritten(tried.delivery, &tried.fault), Noted::Unwritten),
        };
        Carried {
            delivery,
            fault,
            noted,
        }
    }

    /// Looks up the flows that were not when the event was stored, and writes down their runs before they are started. Where
    /// that is not possible now they are not looked up, and say why. What is given back as an error is for others to go on
    /// with.
    async fn look_up(
        &self,
        cluster: &Cluster,
        mut delivery: Delivery,
        bytes: Option<&Bytes>,
    ) -> Result<Delivery, Box<Delivery>> {
        if !delivery.record.rules.iter().any(is_unresolved) {
            return Ok(delivery);
        }
        let read = match bytes {
            Some(bytes) => Some(Ok(bytes.clone())),
            None => self.bytes_for_flows(cluster, &delivery).await,
        };
        let before = delivery.clone();
        let read = read.as_ref().map(Result::as_ref);
        let kept = self.resolve(cluster, &mut delivery, read, None).await;
        let mut rules = before.record.rules.iter().zip(&delivery.record.rules);
        if !rules.any(|(before, now)| is_unresolved(before) && now.pipeline_run.is_some()) {
            // There is no run to be written down before it is started.
            return Ok(delivery);
        }
        record::weigh(&mut delivery, &kept);
        let written = match keep_all(cluster, &delivery, &kept).await {
            Ok(()) => write_once(cluster, &mut delivery).await,
            Err(fault) => Err(fault),
        };
        match written {
            Ok(()) => Ok(delivery),
            // Somebody else writes, and so is at work on it; or it was deleted.
            Err(fault) if matches!(fault.kind, Kind::Conflict | Kind::NotFound) => {
                Err(Box::new(unwritten(delivery, &fault)))
            }
            Err(fault) => {
                let mut waits = not_looked_up(before, fault);
                // What was kept for it may be there, and counts for the retention.
                record::weigh(&mut waits, &kept);
                Ok(waits)
            }
        }
    }

    /// Why nothing of the Delivery may be started now.
    async fn refused(&self, cluster: &Cluster, delivery: &Delivery) -> Option<Came> {
        // A flow that was posted acts with the rights of whoever may post it.
        delivery.record.hook.as_ref()?;
        let metadata = &delivery.metadata;
        let Some(account) = metadata.annotations.get(resource::SERVICE_ACCOUNT) else {
            let name = resource::SERVICE_ACCOUNT;
            return Some(Came::failed(format!(
                "the Delivery does not say as which ServiceAccount its runs are started (annotation {name})"
            )));
        };
        let namespace = &metadata.namespace;
        match self.rights.may_start(cluster, namespace, account).await {
            Ok(true) => None,
            Ok(false) => Some(Came::failed(rights::lacking(namespace, account))),
            Err(fault) => Some(Came::waits(format!(
                "cannot ask whether runs may be started: {fault}"
            ))),
        }
    }

    /// Starts the run of one rule, which is to own `copies`.
    async fn start_rule(
        &self,
        cluster: &Cluster,
        delivery: &Delivery,
        rule: &RuleRecord,
        copies: Result<Vec<Secret>, Came>,
        bytes: Option<&Result<Bytes, payload::Error>>,
    ) -> Came {
        if is_unresolved(rule) {
            return Came::waits(rule.reason.as_str());
        }
        let Some(run) = &rule.pipeline_run else {
            return Came::failed("the record does not say what to start");
        };
        if let Some(reason) = foreign(delivery, rule, run) {
            return Came::failed(reason);
        }
        let mut copies = match copies {
            Ok(copies) => copies,
            Err(came) => return came,
        };
        if let Some(target) = &rule.payload {
            match self.copy(cluster, delivery, rule, target, bytes).await {
                Ok(copy) => copies.push(copy),
                Err(came) => return came,
            }
        }
        let started = match Planned::stored(run.clone(), copies) {
            Ok(planned) => cluster.start(planned).await,
            Err(fault) => Err(fault),
        };
        match started {
            Ok(_) => Came {
                outcome: Outcome::Created,
                reason: String::new(),
                fault: None,
            },
            Err(fault) => Came::of(fault),
        }
    }
}

/// Why a run is not that of this Delivery. Whoever may write Deliveries in a namespace can have runs made there, and must not
/// gain anything elsewhere by it.
pub(crate) fn foreign(delivery: &Delivery, rule: &RuleRecord, run: &Value) -> Option<String> {
    let (metadata, namespace) = (&run["metadata"], &delivery.metadata.namespace);
    if metadata["namespace"] != namespace.as_str() {
        return Some(format!(
            "the run that was written down is of another namespace than {namespace:?}"
        ));
    }
    let named = rule
        .run
        .as_deref()
        .is_some_and(|name| metadata["name"] == name);
    (!named)
        .then(|| "the run that was written down has another name than the record says".to_owned())
}

/// Whether a rule starts a flow that is still to be looked up.
pub(crate) fn is_unresolved(rule: &RuleRecord) -> bool {
    rule.outcome == Outcome::Received && rule.pipeline_run.is_none() && rule.flow.is_some()
}

/// The payload, if some run needs it as it came and the cluster holds it.
async fn needed(cluster: &Cluster, delivery: &Delivery) -> Option<Result<Bytes, payload::Error>> {
    let whole = |rule: &RuleRecord| {
        let payload = rule.payload.as_ref();
        rule.outcome == Outcome::Received && payload.is_some_and(|payload| payload.text.is_none())
    };
    let lies_elsewhere = delivery.record.payload.object.is_some();
    if lies_elsewhere || !delivery.record.rules.iter().any(whole) {
        return None;
    }
    Some(payload::unpack(cluster, delivery).await)
}

/// What a rule says whose run is started: why it could not be before is over.
pub(crate) fn settle(rule: &mut RuleRecord) {
    if rule.reason.ends_with(AGAIN) {
        "matches".clone_into(&mut rule.reason);
    }
}

/// A Delivery whose flows were looked up, without what that gave, because it could not be kept. What no other try can
/// keep either is failed.
fn not_looked_up(mut delivery: Delivery, fault: Fault) -> Delivery {
    let came = match fault.kind {
        Kind::TooLarge => Came::failed(TOO_LARGE),
        _ => Came::of(fault),
    };
    let rules = delivery.record.rules.iter_mut();
    for rule in rules.filter(|rule| is_unresolved(rule)) {
        rule.outcome = came.outcome;
        rule.reason.clone_from(&came.reason);
    }
    delivery
}

/// What is not on record, and why.
#[derive(Debug)]
pub(crate) struct Unwritten {
    /// What should be.
    pub(crate) delivery: Delivery,
    /// Why it is not.
    pub(crate) fault: Fault,
}

/// Writes down what became of a Delivery, over the edition that was read; what is on record afterwards.
///
/// # Errors
/// What is not on record, as it was to be written last.
pub(crate) async fn write_down(
    cluster: &Cluster,
    mut delivery: Delivery,
) -> Result<Delivery, Box<Unwritten>> {
    let mut tries = 0;
    loop {
        tries += 1;
        let fault = match write_once(cluster, &mut delivery).await {
            Ok(()) => return Ok(delivery),
            Err(fault) => fault,
        };
        match fault.kind {
            Kind::Conflict if tries < TRIES => {}
            // Deleted meanwhile: what became of it is in the answer.
            Kind::NotFound => return Ok(delivery),
            _ => return Err(Box::new(Unwritten { delivery, fault })),
        }
        // Somebody wrote in between; perhaps we did, and the answer was lost.
        let metadata = &delivery.metadata;
        let current: Result<Option<Delivery>, Fault> = cluster
            .find(DELIVERIES, &metadata.namespace, &metadata.name)
            .await;
        match current {
            Ok(Some(current)) if is_same_event(&current.metadata, &delivery.metadata) => {
                let Some(joined) = record::join(&current, &delivery) else {
                    return Ok(current);
                };
                delivery = joined;
            }
            Ok(Some(current)) => return Ok(current),
            Ok(None) => return Ok(delivery),
            Err(fault) => return Err(Box::new(Unwritten { delivery, fault })),
        }
    }
}

/// Whether two editions are of one evaluation of one event. What failed is evaluated again when it comes again.
pub(crate) fn is_same_event(current: &Metadata, ours: &Metadata) -> bool {
    let request = |metadata: &Metadata| metadata.annotations.get(resource::REQUEST).cloned();
    request(current) == request(ours) && current.uid == ours.uid
}

async fn write_once(cluster: &Cluster, delivery: &mut Delivery) -> Result<(), Fault> {
    let Delivery {
        metadata, record, ..
    } = &*delivery;
    let mut patch = json!({
        "metadata": {
            "resourceVersion": metadata.resource_version,
            "labels": {resource::OUTCOME: record::outcome_text(record.outcome)},
            "annotations": {resource::ATTEMPTS: record.attempts.to_string()},
        },
        "outcome": record::outcome_text(record.outcome),
        "reason": record.reason,
        "attempts": record.attempts,
        "rules": record.rules,
    });
    if let Some(bytes) = metadata.annotations.get(resource::STORED_BYTES) {
        patch["metadata"]["annotations"][resource::STORED_BYTES] = bytes.as_str().into();
    }
    if let Some(duration) = record.duration_milliseconds {
        patch["durationMilliseconds"] = Value::from(duration);
    }
    let (namespace, name) = (&metadata.namespace, &metadata.name);
    let written: Written = cluster
        .merge(DELIVERIES, namespace, name, Part::Whole, &patch)
        .await?;
    delivery.metadata.resource_version = written.metadata.resource_version;
    Ok(())
}

/// A Delivery whose outcome could not be written down: it is still `Received`, and the sweep finds the runs started.
fn unwritten(mut delivery: Delivery, fault: &Fault) -> Delivery {
    let (name, fault) = (&delivery.metadata.name, fault.kind.slug());
    tracing::warn!(delivery = name, fault, "the outcome is not on record yet");
    delivery.record.outcome = Outcome::Received;
    "the outcome is not on record yet".clone_into(&mut delivery.record.reason);
    delivery
}

fn since(received: &str) -> Option<u64> {
    let received: Timestamp = received.parse().ok()?;
    let passed = Timestamp::now().duration_since(received).as_millis();
    u64::try_from(passed).ok()
}
