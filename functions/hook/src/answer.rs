//! What a sender is told of a stored event.

use deliveries::{Stored, record::outcome_text};
use hooks::{Delivery, delivery::RuleRecord};
use http::StatusCode;
use runtime::{Body, Response, response};
use serde_json::{Map, Value, json};

/// The answer to a stored event: always 202, since what matters to the sender is that it is stored.
pub(crate) fn stored(event: &Stored, from_broker: bool) -> Response {
    if from_broker {
        // A Broker would take a body for an event.
        return response::empty(StatusCode::ACCEPTED);
    }
    response::json(StatusCode::ACCEPTED, &document(event))
}

fn document(
    Stored {
        delivery: Delivery {
            metadata, record, ..
        },
        duplicate,
        ..
    }: &Stored,
) -> Value {
    json!({
        "delivery": metadata.name,
        "namespace": metadata.namespace,
        "outcome": outcome_text(record.outcome),
        "reason": record.reason,
        "runs": record.rules.iter().map(rule).collect::<Vec<_>>(),
        "duplicate": duplicate,
    })
}

fn rule(rule: &RuleRecord) -> Value {
    let mut told = Map::new();
    told.insert("rule".to_owned(), rule.name.as_str().into());
    told.insert("outcome".to_owned(), outcome_text(rule.outcome).into());
    if let Some(run) = &rule.run {
        told.insert("run".to_owned(), run.as_str().into());
    }
    told.insert("reason".to_owned(), rule.reason.as_str().into());
    Value::Object(told)
}

/// The answer to a request that only asks whether somebody is there.
pub(crate) fn reply(reply: providers::Reply) -> Response {
    let mut answer = response::with_status(reply.status, Body::full(reply.body));
    answer.headers_mut().extend(reply.headers);
    answer
}
