//! The object in which an event is recorded: put together from what came in and what was decided.
//!
//! Pure: names, times and identities are arguments, so that the same event gives the same record.

use std::{collections::BTreeMap, io};

use hooks::{
    Delivery, Outcome,
    delivery::{Record, RuleRecord, StoredPayload},
    object::Metadata,
    run::{HOOK, MANAGED_BY},
};
use jiff::Timestamp;

use crate::{payload::Kept, resource};

/// Who and what an event's record is about, beside what it says.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Name of the Delivery.
    pub name: &'a str,
    /// Where it is.
    pub namespace: &'a str,
    /// The request that brought the event, and no other.
    pub request: &'a str,
    /// As whom runs are started, where that is a right of its own.
    pub service_account: Option<&'a str>,
}

/// The Delivery to be stored; `problem` is about the whole event.
pub fn delivery(subject: Subject<'_>, record: Record, problem: Option<&str>) -> Delivery {
    let hook = record.hook.as_ref().map(|hook| hook.name.as_str());
    // What was posted has one rule, which is called as its flow is.
    let flow = record.rules.first().filter(|_| hook.is_none());
    let label = |text: Option<&str>| resource::label_value(text.unwrap_or_default());
    let labels = [
        (MANAGED_BY, flows::label::HOOKRUN.to_owned()),
        (HOOK, label(hook)),
        (
            flows::label::FLOW,
            label(flow.map(|rule| rule.name.as_str())),
        ),
        (resource::EVENT_TYPE, label(Some(&record.event_type))),
    ];
    let annotations = [
        (resource::REQUEST, subject.request.to_owned()),
        (resource::RECEIVED_TIME, record.received_time.clone()),
        (resource::PAYLOAD_DIGEST, record.payload.digest.clone()),
        (
            resource::SERVICE_ACCOUNT,
            subject.service_account.unwrap_or_default().to_owned(),
        ),
        (
            resource::REPLAY_OF,
            record.replay_of.clone().unwrap_or_default(),
        ),
    ];
    let mut delivery = Delivery {
        api_version: hooks::API_VERSION.to_owned(),
        kind: "Delivery".to_owned(),
        metadata: Metadata {
            name: subject.name.to_owned(),
            namespace: subject.namespace.to_owned(),
            labels: told_of(labels),
            annotations: told_of(annotations),
            ..Metadata::default()
        },
        record,
    };
    conclude(&mut delivery, problem);
    delivery
}

/// What a replay takes over from the record of the event that it repeats: what came in, and nothing of what became of it.
pub fn again(old: &Delivery) -> Record {
    Record {
        rules: Vec::new(),
        outcome: Outcome::Received,
        reason: String::new(),
        attempts: 0,
        duplicates: 0,
        duration_milliseconds: None,
        replay_of: Some(old.metadata.name.clone()),
        same_payload_as: None,
        ..old.record.clone()
    }
}

/// The Delivery of a replay, which the sweep starts.
pub fn replay(subject: Subject<'_>, record: Record) -> Delivery {
    let mut new = delivery(subject, record, None);
    if let (Outcome::Received, Some(origin)) = (new.record.outcome, &new.record.replay_of) {
        new.record.reason = format!("replay of {origin}; the sweep starts it");
    }
    weigh(&mut new, &[]);
    new
}

/// The replay of an event that was posted for a flow, under a name that follows from the old one's and from `id`: the flow
/// is looked up anew.
pub fn replay_of_flow(old: &Delivery, id: &str, now: Timestamp) -> Delivery {
    let origin = &old.metadata.name;
    let key = format!("replay {id} of {origin}");
    let rules = old.record.rules.iter().map(|rule| RuleRecord {
        name: rule.name.clone(),
        flow: rule.flow.clone(),
        ..RuleRecord::default()
    });
    let record = Record {
        rules: rules.collect(),
        received_time: rfc3339(now),
        key: key.clone(),
        ..again(old)
    };
    let base = record
        .rules
        .first()
        .map_or(origin.as_str(), |rule| &rule.name);
    let subject = Subject {
        name: &hooks::delivery_name(base, "", &key),
        namespace: &old.metadata.namespace,
        request: id,
        service_account: None,
    };
    replay(subject, record)
}

/// Without what is empty.
fn told_of<const N: usize>(pairs: [(&str, String); N]) -> BTreeMap<String, String> {
    let pairs = pairs.into_iter().filter(|(_, value)| !value.is_empty());
    pairs.map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Writes down how many bytes a Delivery takes in the cluster with what it owns there. What lies in the payload store has
/// a retention of its own.
pub(crate) fn weigh(delivery: &mut Delivery, kept: &[Kept]) {
    let mut own = Weight::default();
    // Only maps whose keys are no texts cannot be written, and there are none.
    let _ = serde_json::to_writer(&mut own, &delivery);
    let data = kept.iter().flat_map(|kept| kept.data.values());
    let data: usize = data.map(String::len).sum();
    let StoredPayload {
        secret_name, size, ..
    } = &delivery.record.payload;
    let is_kept = |name: &String| kept.iter().any(|kept| kept.name == *name);
    // A replay shares the Secret of what it repeats, and may be all that is left of it.
    let shared = secret_name.as_ref().filter(|name| !is_kept(name));
    let bytes = own.0 + data as u64 + shared.map_or(0, |_| *size);
    let annotations = &mut delivery.metadata.annotations;
    annotations.insert(resource::STORED_BYTES.to_owned(), bytes.to_string());
}

/// Counts what is written.
#[derive(Default)]
struct Weight(u64);

impl io::Write for Weight {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes out of a record what the cluster cannot hold: what was to be started. What came in and what was decided stays, so
/// that somebody sees it, and can replay it when less is to be recorded.
pub(crate) fn shorten(delivery: &mut Delivery, problem: Option<&str>, reason: &str) {
    let is_posted = delivery.record.hook.is_none();
    for rule in &mut delivery.record.rules {
        let waits = rule.outcome == Outcome::Received;
        *rule = RuleRecord {
            name: std::mem::take(&mut rule.name),
            outcome: if waits { Outcome::Failed } else { rule.outcome },
            reason: if waits {
                reason.to_owned()
            } else {
                std::mem::take(&mut rule.reason)
            },
            expression: rule.expression.take(),
            // A key or a name: a replay looks it up again.
            flow: rule.flow.take().filter(|_| is_posted),
            ..RuleRecord::default()
        };
    }
    delivery.record.event = None;
    conclude(delivery, problem);
}

/// What became of the event as a whole, from what became of its rules; `problem` is about all of them.
///
/// What is still to be done comes first, then what went wrong, so that neither is overlooked beside a run that was started.
pub fn conclude(delivery: &mut Delivery, problem: Option<&str>) {
    let record = &mut delivery.record;
    let has = |outcome| record.rules.iter().any(|rule| rule.outcome == outcome);
    let outcome = [Outcome::Received, Outcome::Failed, Outcome::Created]
        .into_iter()
        .find(|outcome| has(*outcome))
        .unwrap_or(Outcome::Filtered);
    let reasons = record.rules.iter().filter(|rule| rule.outcome == outcome);
    let reasons: Vec<String> = reasons.map(told).collect();
    (record.outcome, record.reason) = match problem {
        Some(problem) => (Outcome::Failed, problem.to_owned()),
        None if reasons.is_empty() => (outcome, "the Hook has no rules".to_owned()),
        None => (outcome, reasons.join("; ")),
    };
    let labels = &mut delivery.metadata.labels;
    labels.insert(
        resource::OUTCOME.to_owned(),
        outcome_text(record.outcome).to_owned(),
    );
}

/// What two have found out who carried out one event at the same time: of each rule what says more, and of what says the
/// same what `ours` says. A run that was started stays on record, whoever gave it up meanwhile. Nothing where `current`
/// says all that `ours` does.
pub(crate) fn join(current: &Delivery, ours: &Delivery) -> Option<Delivery> {
    let mut joined = current.clone();
    let (mine, theirs) = (&ours.record, &mut joined.record);
    let mut is_more = false;
    for (theirs, mine) in theirs.rules.iter_mut().zip(&mine.rules) {
        if said(mine) >= said(theirs) {
            mine.clone_into(theirs);
            is_more = true;
        }
    }
    theirs.attempts = theirs.attempts.max(mine.attempts);
    theirs.duration_milliseconds = theirs.duration_milliseconds.or(mine.duration_milliseconds);
    conclude(&mut joined, None);
    is_more.then_some(joined)
}

/// How much is known of what became of a rule.
fn said(rule: &RuleRecord) -> u8 {
    match rule.outcome {
        Outcome::Received if rule.pipeline_run.is_none() => 0,
        Outcome::Received => 1,
        Outcome::Filtered | Outcome::Failed => 2,
        Outcome::Created => 3,
    }
}

fn told(rule: &RuleRecord) -> String {
    match (rule.outcome, &rule.run) {
        (Outcome::Created, Some(run)) => format!("rule {}: run {run}", rule.name),
        (_, _) if rule.reason.is_empty() => format!("rule {}", rule.name),
        _ => format!("rule {}: {}", rule.name, rule.reason),
    }
}

/// The outcome, as objects say it.
pub fn outcome_text(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Received => "Received",
        Outcome::Created => "Created",
        Outcome::Filtered => "Filtered",
        Outcome::Failed => "Failed",
    }
}

/// A time as objects have it, with milliseconds.
pub fn rfc3339(time: Timestamp) -> String {
    format!("{time:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Delivery whose rules have come so far.
    fn of(outcomes: &[Outcome]) -> Delivery {
        let rules = outcomes.iter().map(|outcome| RuleRecord {
            outcome: *outcome,
            ..RuleRecord::default()
        });
        let mut delivery = Delivery {
            api_version: String::new(),
            kind: String::new(),
            metadata: Metadata::default(),
            record: Record {
                rules: rules.collect(),
                ..Record::default()
            },
        };
        conclude(&mut delivery, None);
        delivery
    }

    fn concluded(outcomes: &[Outcome]) -> Outcome {
        let delivery = of(outcomes);
        let label = &delivery.metadata.labels[resource::OUTCOME];
        assert_eq!(label, outcome_text(delivery.record.outcome));
        delivery.record.outcome
    }

    #[test]
    fn all_that_lies_in_the_cluster_counts_for_its_retention() {
        let weight = |payload: StoredPayload, kept: &[Kept]| -> usize {
            let mut delivery = of(&[Outcome::Received]);
            delivery.record.payload = payload;
            // A run of a hundred kilobytes, as a template may give one.
            delivery.record.rules[0].pipeline_run = Some("x".repeat(100 << 10).into());
            weigh(&mut delivery, kept);
            delivery.metadata.annotations[resource::STORED_BYTES]
                .parse()
                .unwrap()
        };
        let payload = StoredPayload {
            size: 3 << 20,
            ..StoredPayload::default()
        };
        let run = 100 << 10..101 << 10;
        let elsewhere = StoredPayload {
            object: Some("shop-1".to_owned()),
            ..payload.clone()
        };
        assert!(run.contains(&weight(elsewhere, &[])));
        let kept = [Kept {
            name: "shop-1-0123456789".to_owned(),
            data: BTreeMap::from([("payload".to_owned(), "x".repeat(1 << 20))]),
        }];
        let in_secret = StoredPayload {
            secret_name: Some(kept[0].name.clone()),
            ..payload
        };
        let own = weight(in_secret.clone(), &kept) - (1 << 20);
        let of_another = weight(in_secret, &[]) - (3 << 20);
        assert!(run.contains(&own) && run.contains(&of_another));
    }

    #[test]
    fn what_is_too_large_to_record_is_on_record_without_what_was_to_be_started() {
        let mut delivery = of(&[Outcome::Filtered, Outcome::Received]);
        delivery.record.event = Some("x".into());
        for rule in &mut delivery.record.rules {
            rule.expression = Some("event.branch".to_owned());
            rule.pipeline_run = Some("x".into());
        }
        delivery.record.rules[0].reason = "filtered".to_owned();
        shorten(&mut delivery, None, "too large");
        let Record {
            rules,
            outcome,
            event,
            ..
        } = &delivery.record;
        let told: Vec<_> = rules
            .iter()
            .map(|rule| (rule.outcome, rule.reason.as_str()))
            .collect();
        let expected = [
            (Outcome::Filtered, "filtered"),
            (Outcome::Failed, "too large"),
        ];
        assert_eq!((told, *outcome), (expected.into(), Outcome::Failed));
        assert!(event.is_none() && rules.iter().all(|rule| rule.pipeline_run.is_none()));
        assert_eq!(rules[1].expression.as_deref(), Some("event.branch"));
    }

    #[test]
    fn what_is_left_to_do_and_what_went_wrong_are_not_overlooked() {
        use Outcome::{Created, Failed, Filtered, Received};
        assert_eq!(concluded(&[]), Filtered);
        assert_eq!(concluded(&[Filtered, Created]), Created);
        assert_eq!(concluded(&[Created, Failed, Filtered]), Failed);
        assert_eq!(concluded(&[Created, Failed, Received]), Received);
    }

    #[test]
    fn of_two_who_were_at_work_nobody_s_run_is_forgotten() {
        use Outcome::{Created, Failed, Filtered, Received};
        let rules = |delivery: Delivery| {
            let rules = delivery.record.rules.into_iter();
            rules.map(|rule| rule.outcome).collect::<Vec<_>>()
        };
        let ours = of(&[Created, Received, Filtered, Received]);
        let given_up = of(&[Failed, Created, Filtered, Failed]);
        let joined = join(&given_up, &ours).unwrap();
        assert_eq!(joined.record.outcome, Failed);
        assert_eq!(rules(joined), [Created, Created, Filtered, Failed]);

        let started = of(&[Created]);
        let joined = join(&of(&[Failed]), &started).unwrap();
        assert_eq!(joined.record.outcome, Created);
        assert!(join(&started, &of(&[Failed])).is_none());
        assert!(join(&started, &of(&[Received])).is_none());
    }

    #[test]
    fn what_was_looked_up_is_not_forgotten() {
        let not_yet = of(&[Outcome::Received]);
        let mut looked_up = not_yet.clone();
        looked_up.record.rules[0].pipeline_run = Some(serde_json::json!({}));
        assert!(join(&looked_up, &not_yet).is_none());
        assert!(join(&not_yet, &looked_up).is_some());
    }

    #[test]
    fn times_are_written_with_milliseconds() {
        let time: Timestamp = "2026-11-21T10:00:00.5Z".parse().unwrap();
        assert_eq!(rfc3339(time), "2026-11-21T10:00:00.500Z");
    }
}
