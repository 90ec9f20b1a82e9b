//! Which Deliveries are meant.

use std::{collections::BTreeSet, time::Duration};

use ::deliveries::resource::{
    DELIVERIES, EVENT_TYPE, OUTCOME, RECEIVED_TIME, REPLAY_OF, REQUEST, label_value,
};
use futures_util::{Stream, StreamExt, stream};
use hooks::{Delivery, Outcome, run::HOOK};
use jiff::Timestamp;
use kube::{ResourceExt, api::DynamicObject, core::PartialObjectMeta};

use crate::{
    cli::deliveries::{self, Range, Selection},
    command::objects::Objects,
};

/// Deliveries that are read at the same time.
const AT_ONCE: usize = 8;

/// A word for an outcome, as objects have it.
pub(super) fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Received => "Received",
        Outcome::Created => "Created",
        Outcome::Filtered => "Filtered",
        Outcome::Failed => "Failed",
    }
}

impl From<deliveries::Outcome> for Outcome {
    fn from(outcome: deliveries::Outcome) -> Self {
        match outcome {
            deliveries::Outcome::Received => Self::Received,
            deliveries::Outcome::Created => Self::Created,
            deliveries::Outcome::Filtered => Self::Filtered,
            deliveries::Outcome::Failed => Self::Failed,
        }
    }
}

impl Selection {
    /// What of it the API server selects by label.
    pub(super) fn labels(&self, hook: Option<&str>) -> String {
        let hook = hook.map(|hook| format!("{HOOK}={hook}"));
        let outcome = self
            .outcome
            .map(|outcome| format!("{OUTCOME}={}", word(outcome.into())));
        let labels: Vec<String> = hook.into_iter().chain(outcome).collect();
        labels.join(",")
    }

    /// Whether a Delivery is meant. `now` is what its age counts from.
    pub(super) fn means(&self, delivery: &Delivery, now: Timestamp) -> bool {
        let record = &delivery.record;
        let outcome = self
            .outcome
            .is_none_or(|outcome| record.outcome == outcome.into());
        let event = self
            .event
            .as_deref()
            .is_none_or(|pattern| match pattern.strip_suffix('*') {
                Some(start) => record.event_type.starts_with(start),
                None => record.event_type == pattern,
            });
        let young = self
            .since
            .is_none_or(|since| age(&record.received_time, now).is_some_and(|age| age <= since));
        outcome && event && young
    }
}

/// How old something is. A clock that is ahead of ours does not hide what has just come: that has no age at all.
fn age(received: &str, now: Timestamp) -> Option<Duration> {
    let received: Timestamp = received.parse().ok()?;
    let age = now.duration_since(received);
    Some(Duration::try_from(age).unwrap_or_default())
}

impl Range {
    /// Whether a Delivery is meant. `now` is what its age counts from.
    pub(super) fn means(&self, delivery: &Delivery, now: Timestamp) -> bool {
        self.is_old(&delivery.record.received_time, now) && self.selection.means(delivery, now)
    }

    fn is_old(&self, received: &str, now: Timestamp) -> bool {
        self.until
            .is_none_or(|until| age(received, now).is_some_and(|age| age >= until))
    }

    /// Whether a Delivery can be meant, as far as its metadata tell.
    fn may_mean(&self, mark: &Mark, now: Timestamp) -> bool {
        let Selection {
            outcome,
            event,
            since,
        } = &self.selection;
        let outcome = outcome.is_none_or(|outcome| mark.outcome == word(outcome.into()));
        let event = event
            .as_deref()
            .is_none_or(|pattern| match pattern.strip_suffix('*') {
                Some(start) => mark.event.starts_with(&label_value(start)),
                None => mark.event == label_value(pattern),
            });
        let young =
            since.is_none_or(|since| age(&mark.received, now).is_some_and(|age| age <= since));
        outcome && event && young && self.is_old(&mark.received, now)
    }
}

/// A Delivery as a list of metadata shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) namespace: String,
    pub(super) name: String,
    /// When it came.
    received: String,
    outcome: String,
    event: String,
    replay_of: Option<String>,
    /// Of a replay: its identity.
    request: String,
}

impl Mark {
    /// One of which nothing is known but where it is.
    pub(super) fn named(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..Self::default()
        }
    }
}

impl From<PartialObjectMeta<DynamicObject>> for Mark {
    fn from(object: PartialObjectMeta<DynamicObject>) -> Self {
        let label = |name: &str| object.labels().get(name).cloned().unwrap_or_default();
        let annotation = |name: &str| object.annotations().get(name).cloned();
        let created = || object.creation_timestamp().map(|time| time.0.to_string());
        Self {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            received: annotation(RECEIVED_TIME)
                .or_else(created)
                .unwrap_or_default(),
            outcome: label(OUTCOME),
            event: label(EVENT_TYPE),
            replay_of: annotation(REPLAY_OF),
            request: annotation(REQUEST).unwrap_or_default(),
        }
    }
}

/// The Deliveries of a Hook, or of all, in a namespace, or in all: their metadata, the newest first.
pub(super) async fn marks(
    objects: &Objects,
    namespace: Option<&str>,
    labels: &str,
) -> anyhow::Result<Vec<Mark>> {
    let listed = objects.marks(DELIVERIES, namespace, labels).await?;
    let mut marks: Vec<Mark> = listed.into_iter().map(Mark::from).collect();
    // These times are written so that their order as text is theirs.
    marks.sort_by(|one, other| (&other.received, &other.name).cmp(&(&one.received, &one.name)));
    Ok(marks)
}

/// Those that a range can mean.
pub(super) fn within(marks: &[Mark], range: &Range, now: Timestamp) -> Vec<Mark> {
    let meant = marks.iter().filter(|mark| range.may_mean(mark, now));
    meant.cloned().collect()
}

/// Reads Deliveries, one after the other; what was deleted meanwhile is left out.
pub(super) fn read(
    objects: &Objects,
    marks: Vec<Mark>,
) -> impl Stream<Item = anyhow::Result<Delivery>> {
    let found = stream::iter(marks).map(async |mark| {
        objects
            .find(DELIVERIES, &mark.namespace, &mark.name)
            .await
            .transpose()
    });
    found
        .buffered(AT_ONCE)
        .filter_map(async |found: Option<anyhow::Result<Delivery>>| found)
}

/// What a range leaves out because it would start once more what somebody has started again already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// Replays.
    pub(super) replays: usize,
    /// Events of which a replay was started, or is going to be.
    pub(super) replayed: usize,
}

/// Keeps those that are no replays and of which no replay was started; `all` are the Deliveries of the Hook. What was
/// replayed under the identity `id` stays: the same replay starts nothing new, and says what became of it.
pub(super) fn not_replayed(marks: &mut Vec<Mark>, all: &[Mark], id: Option<&str>) -> LeftOut {
    let same = |mark: &&Mark| id.is_some_and(|id| mark.request == id);
    let started = |mark: &&Mark| ["Created", "Received"].contains(&mark.outcome.as_str());
    let origin = |mark: &'_ Mark| mark.replay_of.clone();
    let mine: BTreeSet<String> = all.iter().filter(same).filter_map(origin).collect();
    let again: BTreeSet<String> = all.iter().filter(started).filter_map(origin).collect();
    let mut left_out = LeftOut::default();
    marks.retain(|mark| {
        let (is_replay, is_replayed) = (
            mark.replay_of.is_some(),
            again.contains(&mark.name) && !mine.contains(&mark.name),
        );
        left_out.replays += usize::from(is_replay);
        left_out.replayed += usize::from(!is_replay && is_replayed);
        !is_replay && !is_replayed
    });
    left_out
}

#[cfg(test)]
mod tests {
    use hooks::{delivery::Record, object::Metadata};

    use super::*;

    fn delivery(outcome: Outcome, event_type: &str, received_time: &str) -> Delivery {
        Delivery {
            api_version: String::new(),
            kind: String::new(),
            metadata: Metadata::default(),
            record: Record {
                outcome,
                event_type: event_type.to_owned(),
                received_time: received_time.to_owned(),
                ..Record::default()
            },
        }
    }

    #[test]
    fn every_part_of_a_selection_counts() {
        let now: Timestamp = "2026-01-02T12:00:00Z".parse().expect("a time");
        let one = delivery(Outcome::Failed, "push", "2026-01-02T11:00:00Z");
        let meant = |outcome, event: Option<&str>, minutes: Option<u64>| {
            let selection = Selection {
                outcome,
                event: event.map(str::to_owned),
                since: minutes.map(|minutes| Duration::from_secs(minutes * 60)),
            };
            selection.means(&one, now)
        };
        use super::deliveries::Outcome::{Created, Failed};
        assert!(meant(None, None, None));
        assert!(meant(Some(Failed), Some("push"), Some(60)));
        assert!(meant(Some(Failed), Some("pu*"), Some(61)));
        assert!(!meant(Some(Created), None, None));
        assert!(!meant(None, Some("pus"), None));
        assert!(!meant(None, None, Some(59)));
        // A clock that is ahead of ours does not hide what has just come.
        let ahead = delivery(Outcome::Failed, "push", "2026-01-02T12:05:00Z");
        let minute = Selection {
            since: Some(Duration::from_secs(60)),
            ..Selection::default()
        };
        assert!(minute.means(&ahead, now));
    }

    fn mark(name: &str, outcome: &str, replay_of: Option<&str>) -> Mark {
        Mark {
            name: name.to_owned(),
            outcome: outcome.to_owned(),
            event: "Merge-Request-Hook".to_owned(),
            received: "2026-01-02T11:00:00Z".to_owned(),
            replay_of: replay_of.map(str::to_owned),
            ..Mark::default()
        }
    }

    #[test]
    fn metadata_tell_what_a_range_can_mean() {
        let now: Timestamp = "2026-01-02T12:00:00Z".parse().expect("a time");
        let hour = Some(Duration::from_secs(3600));
        let meant = |event: Option<&str>, since, until| {
            let range = Range {
                selection: Selection {
                    outcome: Some(super::deliveries::Outcome::Failed),
                    event: event.map(str::to_owned),
                    since,
                },
                until,
            };
            within(&[mark("a", "Failed", None)], &range, now).len() == 1
        };
        assert!(meant(None, None, None));
        assert!(meant(Some("Merge Request Hook"), hour, hour));
        assert!(meant(Some("Merge R*"), hour, None));
        assert!(!meant(Some("Merge R"), None, None));
        assert!(!meant(Some("Push Hook"), None, None));
        assert!(!meant(None, Some(Duration::from_secs(3599)), None));
        assert!(!meant(None, None, Some(Duration::from_secs(3601))));
    }

    #[test]
    fn what_was_started_again_already_is_left_out() {
        let all = [
            mark("one", "Failed", None),
            mark("again", "Created", Some("one")),
            mark("two", "Failed", None),
            mark("in-vain", "Failed", Some("two")),
            mark("three", "Filtered", None),
            mark("waits", "Received", Some("three")),
        ];
        let mut kept = all.to_vec();
        let left_out = not_replayed(&mut kept, &all, None);
        assert_eq!(kept, [mark("two", "Failed", None)]);
        let expected = LeftOut {
            replays: 3,
            replayed: 2,
        };
        assert_eq!(left_out, expected);
    }

    #[test]
    fn what_the_same_replay_started_is_not_left_out() {
        let again = |id: &str, of: &str| Mark {
            request: id.to_owned(),
            ..mark(&format!("{id}-{of}"), "Created", Some(of))
        };
        let all = [
            mark("one", "Failed", None),
            again("mine", "one"),
            mark("two", "Failed", None),
            again("other", "two"),
            mark("three", "Failed", None),
        ];
        let mut kept = all.to_vec();
        let left_out = not_replayed(&mut kept, &all, Some("mine"));
        let names: Vec<_> = kept.iter().map(|mark| mark.name.as_str()).collect();
        assert_eq!((names, left_out.replayed), (vec!["one", "three"], 1));
    }

    #[test]
    fn labels_are_those_that_deliveries_have() {
        let selection = Selection {
            outcome: Some(deliveries::Outcome::Created),
            ..Selection::default()
        };
        assert_eq!(
            selection.labels(Some("shop")),
            "hookrun.dev/hook=shop,hookrun.dev/outcome=Created"
        );
        assert_eq!(Selection::default().labels(None), "");
    }
}
