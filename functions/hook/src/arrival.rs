//! A verified event, and its record: what came in, with what was decided.
//!
//! Pure: names, times and identities are arguments, so that the same event gives the same record.

use std::collections::BTreeMap;

use bytes::Bytes;
use deliveries::record::{Subject, delivery, rfc3339};
use hooks::{
    Delivery, Hook,
    delivery::{HookRef, Record, RuleRecord, StoredPayload},
};
use jiff::Timestamp;
use providers::{Event, Facts};

use crate::known::Known;

/// A verified event.
#[derive(Debug)]
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
    /// The payload's bytes.
    pub(crate) bytes: Bytes,
    /// Why nothing can be made of the payload.
    pub(crate) problem: Option<String>,
    /// W3C trace context that the runs continue.
    pub(crate) traceparent: Option<String>,
}

impl Arrival {
    /// The parameters of the query by name; of one that comes twice, the last.
    pub(crate) fn parameters(&self) -> BTreeMap<String, String> {
        providers::parameters(&self.query)
    }

    /// The Delivery to be stored, decided on by the rules.
    pub(crate) fn delivery(
        &self,
        name: &str,
        known: &Known,
        payload: StoredPayload,
        rules: Vec<RuleRecord>,
    ) -> Delivery {
        let Hook { metadata, spec, .. } = &known.hook;
        let record = Record {
            hook: Some(HookRef {
                name: metadata.name.clone(),
                uid: metadata.uid.clone(),
                generation: metadata.generation,
            }),
            provider: spec.provider.clone(),
            event_type: self.facts.event_type.clone(),
            delivery_id: self.facts.delivery_id.clone(),
            key: self.facts.key.clone(),
            received_time: rfc3339(self.received),
            headers: self.headers.clone(),
            query: self.query.clone(),
            secret: self.secret.clone(),
            payload,
            event: Some(self.event.to_record()),
            rules,
            ..Record::default()
        };
        let subject = Subject {
            name,
            namespace: &metadata.namespace,
            request: &self.request,
            service_account: Some(&spec.service_account_name),
        };
        delivery(subject, record, self.problem.as_deref())
    }
}
