//! Which Deliveries are meant.

use ::deliveries::resource::OUTCOME;
use hooks::{Delivery, Outcome, run::HOOK};
use jiff::Timestamp;

use crate::cli::deliveries::{self, Selection};

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
        let young = self.since.is_none_or(|since| {
            let received = record.received_time.parse::<Timestamp>();
            let age = received.map(|received| now.duration_since(received));
            age.is_ok_and(|age| age.unsigned_abs() <= since || age.is_negative())
        });
        outcome && event && young
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
