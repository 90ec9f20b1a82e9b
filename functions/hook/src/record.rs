//! The Delivery of one event: from what came in and what was decided to the object that is stored.
//!
//! Pure: names, times and identities are arguments, so that the same event gives the same record.

use std::collections::BTreeMap;

use bytes::Bytes;
use hooks::{
    Delivery, Hook, Outcome,
    delivery::{HookRef, Record, RuleRecord, StoredPayload},
    object::Metadata,
    run::{HOOK, MANAGED_BY},
};
use jiff::Timestamp;
use providers::{Event, Facts};
use serde_json::Value;

use crate::{known::Known, resource};

/// Longest value of a header that is kept, in bytes.
const HEADER_BYTES: usize = 1024;

/// Longest query that is kept, in bytes.
const QUERY_BYTES: usize = 2048;

/// A verified event.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    /// The request that brought it, and no other.
    pub(crate) request: String,
    /// When it came.
    pub(crate) received: Timestamp,
    /// What it is; its key is not empty.
    pub(crate) facts: Facts,
    /// What its payload says.
    pub(crate) event: Event,
    /// Headers that are kept.
    pub(crate) headers: BTreeMap<String, String>,
    /// Query of the URL.
    pub(crate) query: String,
    /// Which secret matched, as `name/key`.
    pub(crate) secret: Option<String>,
    /// As the sender says.
    pub(crate) content_type: String,
    /// The payload, if it is JSON.
    pub(crate) json: Option<Value>,
    /// The payload's bytes.
    pub(crate) bytes: Bytes,
    /// Why nothing can be made of the payload.
    pub(crate) problem: Option<String>,
    /// W3C trace context that the runs continue.
    pub(crate) traceparent: Option<String>,
}

/// Headers that a Delivery keeps: each once, shortened.
pub(crate) fn kept_headers(names: &[&str], headers: &http::HeaderMap) -> BTreeMap<String, String> {
    let kept = names.iter().filter_map(|name| {
        let value = headers.get(*name)?.to_str().ok()?;
        Some(((*name).to_owned(), cut(value, HEADER_BYTES)))
    });
    kept.collect()
}

/// Bytes that a payload takes where it is kept, as far as the Delivery itself tells.
fn kept_bytes(payload: &StoredPayload) -> u64 {
    let inline = payload.gzip.as_ref().map(|text| text.len() as u64);
    inline.unwrap_or(payload.size)
}

/// The query that a Delivery keeps.
pub(crate) fn kept_query(query: &str) -> String {
    cut(query, QUERY_BYTES)
}

fn cut(text: &str, most: usize) -> String {
    text.get(..text.floor_char_boundary(most))
        .unwrap_or_default()
        .to_owned()
}

impl Arrival {
    /// The parameters of the query by name; of one that comes twice, the last.
    pub(crate) fn parameters(&self) -> BTreeMap<String, String> {
        form_urlencoded::parse(self.query.as_bytes())
            .into_owned()
            .collect()
    }

    /// The Delivery to be stored.
    pub(crate) fn delivery(
        &self,
        name: String,
        known: &Known,
        payload: StoredPayload,
        rules: Vec<RuleRecord>,
        waits: Option<String>,
    ) -> Delivery {
        let Hook { metadata, spec, .. } = &known.hook;
        let received_time = rfc3339(self.received);
        let labels = [
            (MANAGED_BY, flows::label::HOOKRUN.to_owned()),
            (HOOK, resource::label_value(&metadata.name)),
            (
                resource::EVENT_TYPE,
                resource::label_value(&self.facts.event_type),
            ),
        ];
        let annotations = [
            (resource::REQUEST, self.request.clone()),
            (resource::RECEIVED_TIME, received_time.clone()),
            (resource::PAYLOAD_BYTES, kept_bytes(&payload).to_string()),
            (resource::PAYLOAD_DIGEST, payload.digest.clone()),
            (resource::SERVICE_ACCOUNT, spec.service_account_name.clone()),
        ];
        let owned = |pairs: Vec<(&str, String)>| {
            let pairs = pairs.into_iter().filter(|(_, value)| !value.is_empty());
            pairs.map(|(key, value)| (key.to_owned(), value)).collect()
        };
        let mut delivery = Delivery {
            api_version: hooks::API_VERSION.to_owned(),
            kind: "Delivery".to_owned(),
            metadata: Metadata {
                name,
                namespace: metadata.namespace.clone(),
                labels: owned(labels.into()),
                annotations: owned(annotations.into()),
                ..Metadata::default()
            },
            record: Record {
                hook: HookRef {
                    name: metadata.name.clone(),
                    uid: metadata.uid.clone(),
                    generation: metadata.generation,
                },
                provider: spec.provider.clone(),
                event_type: self.facts.event_type.clone(),
                delivery_id: self.facts.delivery_id.clone(),
                key: self.facts.key.clone(),
                received_time,
                headers: self.headers.clone(),
                query: self.query.clone(),
                secret: self.secret.clone(),
                payload,
                event: Some(self.event.to_record()),
                rules,
                ..Record::default()
            },
        };
        conclude(&mut delivery, self.problem.as_deref());
        if let Some(waits) = waits.filter(|_| delivery.record.outcome == Outcome::Received) {
            delivery.record.reason = waits;
        }
        delivery
    }
}

/// What became of the event as a whole, from what became of its rules; `problem` is about all of them.
///
/// What is still to be done comes first, then what went wrong, so that neither is overlooked beside a run that was started.
pub(crate) fn conclude(delivery: &mut Delivery, problem: Option<&str>) {
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

fn told(rule: &RuleRecord) -> String {
    match (rule.outcome, &rule.run) {
        (Outcome::Created, Some(run)) => format!("rule {}: run {run}", rule.name),
        (_, _) if rule.reason.is_empty() => format!("rule {}", rule.name),
        _ => format!("rule {}: {}", rule.name, rule.reason),
    }
}

/// The outcome, as objects say it.
pub(crate) fn outcome_text(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Received => "Received",
        Outcome::Created => "Created",
        Outcome::Filtered => "Filtered",
        Outcome::Failed => "Failed",
    }
}

/// A time as objects have it, with milliseconds.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    format!("{time:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn concluded(outcomes: &[Outcome]) -> Outcome {
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
        let label = &delivery.metadata.labels[resource::OUTCOME];
        assert_eq!(label, outcome_text(delivery.record.outcome));
        delivery.record.outcome
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
    fn times_are_written_with_milliseconds() {
        let time: Timestamp = "2026-11-21T10:00:00.5Z".parse().unwrap();
        assert_eq!(rfc3339(time), "2026-11-21T10:00:00.500Z");
    }
}
