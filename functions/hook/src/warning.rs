//! Kubernetes Events on a Hook: what somebody should look at, as `kubectl describe hook` shows it.
//!
//! Told at best effort beside the Hook's status, and at most once an hour for each Hook and reason over all processes: the
//! Event's name follows from these, so that a second create finds it taken, and nothing is read. An event that nothing is
//! wrong with never comes here.
//!
//! Nothing of a payload and nothing secret is in them: more people may read Events than Deliveries.

use std::{collections::BTreeMap, sync::PoisonError, time::Duration};

use cluster::{Cluster, Fault, Kind, Resource};
use deliveries::Stored;
use futures_util::future::join_all;
use hooks::{API_VERSION, Delivery, HookStatus, Outcome, hook::Condition};
use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    known::{Known, Place},
    registry::Slot,
    service::Service,
    status,
};

/// Events, as every API server has them.
const EVENTS: Resource = Resource {
    group: "",
    version: "v1",
    kind: "Event",
    plural: "events",
};

/// How long an Event may take: nobody waits for it.
const TIME: Duration = Duration::from_secs(1);

/// Longest note that the API server takes, in bytes.
const NOTE_BYTES: usize = 1024;

/// What the reason of a Delivery names that waits for the quota.
const QUOTA: &str = "spec.quota.perMinute";

/// How a request is refused that is signed with another secret ([`providers::Refusal`]).
const MISMATCH: &str = "mismatch";

/// How much of a Hook's name is in that of an Event.
const NAME: usize = 63;

/// What somebody should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Warning {
    /// One word, for programs.
    reason: String,
    /// What was being done: one word.
    action: &'static str,
    /// What is wrong, and where to look.
    note: String,
}

impl Warning {
    /// The Hook is not ready. The reason is that of the condition.
    pub(crate) fn not_ready(ready: &Condition) -> Self {
        Self {
            reason: ready.reason.clone(),
            action: "Check",
            note: ready.message.clone(),
        }
    }

    /// Rules match an event and their runs could not be started. Why is told by the Delivery alone: that may quote values.
    pub(crate) fn no_run(delivery: &Delivery) -> Option<Self> {
        let record = &delivery.record;
        if record.outcome != Outcome::Failed {
            return None;
        }
        let failed = record.rules.iter();
        let failed = failed.filter(|rule| rule.outcome == Outcome::Failed);
        let failed: Vec<&str> = failed.map(|rule| rule.name.as_str()).collect();
        let name = &delivery.metadata.name;
        Some(Self {
            reason: "NoRun".to_owned(),
            action: "Start",
            note: format!(
                "no run was started by {}; Delivery {name} says why: `hookrun deliveries show {name}`",
                match failed.as_slice() {
                    [] => "this event".to_owned(),
                    rules => format!("rule {}", rules.join(", ")),
                }
            ),
        })
    }

    /// Runs wait for the sweep.
    pub(crate) fn over_quota(per_minute: u32) -> Self {
        Self {
            reason: "OverQuota".to_owned(),
            action: "Start",
            note: format!(
                "more than {per_minute} events per minute; the runs of the others wait for the sweep, raise spec.quota.perMinute to have them started at once"
            ),
        }
    }

    /// Somebody signs with another secret, on a Hook whose sender was verified before.
    pub(crate) fn refused() -> Self {
        Self {
            reason: "Refused".to_owned(),
            action: "Verify",
            note: "a request was refused, because none of the Hook's secrets is what it was signed with, although earlier ones were verified; \
                   if the secret was changed on one side, change it on the other (status.rejected counts such requests)"
                .to_owned(),
        }
    }
}

/// What one process has to tell of a Hook, and has told.
#[derive(Debug, Default)]
pub(crate) struct Warnings {
    /// The hour in which each reason was last told of.
    told: BTreeMap<String, i64>,
    waiting: Vec<Warning>,
}

impl Warnings {
    /// Has it told, unless it was within this hour.
    pub(crate) fn add(&mut self, warning: Warning, now: Timestamp) {
        let hour = hour(now);
        let last = self.told.insert(warning.reason.clone(), hour);
        if last != Some(hour) {
            self.waiting.push(warning);
        }
    }

    /// What is to be told now.
    pub(crate) fn take(&mut self) -> Vec<Warning> {
        std::mem::take(&mut self.waiting)
    }
}

/// Has a Hook told of that is not ready.
pub(crate) fn note_status(slot: &Slot, status: &HookStatus, now: Timestamp) {
    for ready in &status.conditions {
        if ready.status == "False" {
            note(slot, Warning::not_ready(ready), now);
        }
    }
}

/// Has told what an event shows that a person should look at.
pub(crate) fn note_event(slot: &Slot, known: &Known, stored: &Stored, now: Timestamp) {
    if !known.all_problems().is_empty() {
        let (status, news) = status::settled(&slot.address, known, None, now);
        if news {
            note_status(slot, &status, now);
        }
    }
    let record = &stored.delivery.record;
    if stored.duplicate {
        return;
    }
    if let Some(warning) = Warning::no_run(&stored.delivery) {
        note(slot, warning, now);
    }
    if record.outcome == Outcome::Received && record.reason.contains(QUOTA) {
        let per_minute = known.hook.spec.quota.per_minute;
        note(slot, Warning::over_quota(per_minute), now);
    }
}

/// Has a request told of that was not verified, where it is worth a look: before a Hook was ever used, and for what is not
/// signed at all, it is not.
pub(crate) fn note_refusal(slot: &Slot, known: &Known, kind: &str, now: Timestamp) {
    let status = known.hook.status.as_ref();
    let used = status.is_some_and(|status| status.last_event_time.is_some());
    if used && kind == MISMATCH {
        note(slot, Warning::refused(), now);
    }
}

fn note(slot: &Slot, warning: Warning, now: Timestamp) {
    let mut notes = slot.notes.lock().unwrap_or_else(PoisonError::into_inner);
    notes.warnings.add(warning, now);
}

/// Tells of a Hook that the sweep has looked at, if it is not ready.
pub(crate) async fn tell_of_hook(
    service: &Service,
    place: Place,
    uid: &str,
    status: &HookStatus,
    now: Timestamp,
) {
    let slot = service.registry.slot(place);
    note_status(&slot, status, now);
    tell(&aside(service), &slot, uid, now).await;
}

/// Tells of a Delivery that the sweep has finished, if it is of a Hook and its runs could not be started.
pub(crate) async fn tell_of_delivery(service: &Service, delivery: &Delivery, now: Timestamp) {
    let namespace = delivery.metadata.namespace.parse();
    if let (Some(hook), Some(warning), Ok(namespace)) =
        (&delivery.record.hook, Warning::no_run(delivery), namespace)
    {
        let name = hook.name.clone();
        let slot = service.registry.slot(Place { namespace, name });
        note(&slot, warning, now);
        tell(&aside(service), &slot, &hook.uid, now).await;
    }
}

fn aside(service: &Service) -> Cluster {
    let (client, attempt) = (service.client.clone(), service.patience.attempt);
    Cluster::until(client, attempt, Instant::now() + TIME)
}

/// Tells what was noted of a Hook with this UID. Whatever goes wrong is no more than logged.
pub(crate) async fn tell(cluster: &Cluster, slot: &Slot, uid: &str, now: Timestamp) {
    let warnings = {
        let mut notes = slot.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.warnings.take()
    };
    let place = &slot.place;
    let namespace = place.namespace.as_str();
    let written = warnings.iter().map(async |warning| {
        let event = event(place, uid, warning, now);
        let created: Result<IgnoredAny, Fault> =
            cluster.create(EVENTS, Some(namespace), &event).await;
        match created {
            // That the name is taken says that somebody has told of it already.
            Err(fault) if fault.kind != Kind::Conflict => {
                tracing::debug!(hook = place.name, error = %fault, "the Event was not written");
            }
            _ => {}
        }
    });
    join_all(written).await;
}

fn event(place: &Place, uid: &str, warning: &Warning, now: Timestamp) -> Value {
    let Warning {
        reason,
        action,
        note,
    } = warning;
    let namespace = place.namespace.as_str();
    let mut note = note.clone();
    note.truncate(note.floor_char_boundary(NOTE_BYTES));
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name(place, uid, reason, now), "namespace": namespace},
        // The API server insists on six digits.
        "eventTime": format!("{now:.6}"),
        "type": "Warning",
        "reason": reason,
        "action": action,
        "message": note,
        "involvedObject": {
            "apiVersion": API_VERSION, "kind": "Hook",
            "namespace": namespace, "name": place.name, "uid": uid,
        },
        "reportingComponent": "hookrun.dev/hook",
        "reportingInstance": "hookrun",
    })
}

/// The same for one Hook, one reason and one hour, whoever writes it. A Hook that was deleted and created again is another.
fn name(place: &Place, uid: &str, reason: &str, now: Timestamp) -> String {
    let hook: String = place.name.chars().take(NAME).collect();
    let hook = hook.trim_end_matches(['-', '.']);
    let (reason, hour) = (reason.to_ascii_lowercase(), hour(now));
    match uid.get(..8) {
        Some(uid) => format!("{hook}.{uid}.{reason}.{hour}"),
        None => format!("{hook}.{reason}.{hour}"),
    }
}

fn hour(now: Timestamp) -> i64 {
    now.as_second().div_euclid(3600)
}

#[cfg(test)]
mod tests {
    use hooks::delivery::{Record, RuleRecord};

    use super::*;

    const UID: &str = "2f1ae9c4-8f0c-4b6c-9d38-3c7a51d8e1aa";

    fn place(name: &str) -> Place {
        Place {
            namespace: "blue".parse().unwrap(),
            name: name.to_owned(),
        }
    }

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    #[test]
    fn one_is_told_once_an_hour() {
        let mut warnings = Warnings::default();
        let (early, late) = (at("2026-11-21T10:00:00Z"), at("2026-11-21T10:59:59Z"));
        warnings.add(Warning::refused(), early);
        warnings.add(Warning::over_quota(600), early);
        warnings.add(Warning::refused(), late);
        let told = [Warning::refused(), Warning::over_quota(600)];
        assert_eq!(warnings.take(), told);
        warnings.add(Warning::refused(), late);
        assert_eq!(warnings.take(), []);
        warnings.add(Warning::refused(), at("2026-11-21T11:00:00Z"));
        assert_eq!(warnings.take(), [Warning::refused()]);
    }

    #[test]
    fn the_name_is_that_of_the_hook_the_reason_and_the_hour() {
        let early = at("2026-11-21T10:00:00Z");
        let name = |place: &Place, reason, time| name(place, UID, reason, time);
        let shop = name(&place("shop"), "OverQuota", early);
        assert_eq!(shop, "shop.2f1ae9c4.overquota.498682");
        assert_eq!(
            shop,
            name(&place("shop"), "OverQuota", at("2026-11-21T10:59:59Z"))
        );
        assert_ne!(
            shop,
            name(&place("shop"), "OverQuota", at("2026-11-21T11:00:00Z"))
        );
        assert_ne!(shop, name(&place("shop"), "NoRun", early));
        let long = name(
            &place(&format!("{}-.{}", "x".repeat(61), "y".repeat(200))),
            "NoRun",
            early,
        );
        assert_eq!(long, format!("{}.2f1ae9c4.norun.498682", "x".repeat(61)));
    }

    #[test]
    fn a_run_that_was_not_started_is_told_of_without_its_reason() {
        let rule = |name: &str, outcome| RuleRecord {
            name: name.to_owned(),
            outcome,
            reason: "parameter p is \"a value\"".to_owned(),
            ..RuleRecord::default()
        };
        let mut delivery = Delivery {
            api_version: String::new(),
            kind: String::new(),
            metadata: hooks::object::Metadata::default(),
            record: Record {
                outcome: Outcome::Failed,
                reason: "rule build: parameter p is \"a value\"".to_owned(),
                rules: vec![
                    rule("build", Outcome::Failed),
                    rule("lint", Outcome::Created),
                ],
                ..Record::default()
            },
        };
        delivery.metadata.name = "shop-57sjnssnpq".to_owned();
        let warning = Warning::no_run(&delivery).unwrap();
        assert!(warning.note.contains("rule build;"), "{warning:?}");
        assert!(warning.note.contains("shop-57sjnssnpq"), "{warning:?}");
        assert!(!warning.note.contains("value"), "{warning:?}");
        for outcome in [Outcome::Received, Outcome::Created, Outcome::Filtered] {
            delivery.record.outcome = outcome;
            assert_eq!(Warning::no_run(&delivery), None);
        }
    }

    #[test]
    fn a_long_note_is_cut_between_characters() {
        let ready = Condition {
            reason: "Invalid".to_owned(),
            message: format!("x{}", "ä".repeat(2000)),
            ..Condition::default()
        };
        let warning = Warning::not_ready(&ready);
        let event = event(&place("shop"), UID, &warning, at("2026-11-21T10:00:00Z"));
        assert_eq!(event["message"].as_str().unwrap().len(), 1023);
        assert_eq!(event["eventTime"], "2026-11-21T10:00:00.000000Z");
        assert_eq!(event["involvedObject"]["uid"], UID);
    }
}
