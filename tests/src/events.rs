//! Events: CloudEvents in all their modes, identities, what a Broker is told, and the tokens of Knative Eventing.

mod broker;
mod identity;
mod token;

use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::case::Case;

/// The cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    [identity::cases(), broker::cases(), token::cases()]
        .into_iter()
        .flatten()
        .collect()
}

const SOURCE: &str = "/tests/events";

/// Makes a request a CloudEvent in binary mode.
fn binary(request: RequestBuilder, id: &str, data: impl Into<reqwest::Body>) -> RequestBuilder {
    request
        .header("ce-specversion", "1.0")
        .header("ce-id", id)
        .header("ce-source", SOURCE)
        .header("ce-type", "dev.hookrun.test")
        .body(data)
}

/// Makes a request a CloudEvent in structured mode.
fn structured(request: RequestBuilder, id: &str, data: &Value) -> RequestBuilder {
    request
        .header(
            "content-type",
            "application/cloudevents+json; charset=utf-8",
        )
        .body(event(id, data).to_string())
}

/// Makes a request a batch of CloudEvents.
fn batch(request: RequestBuilder, events: &[Value]) -> RequestBuilder {
    request
        .header("content-type", "application/cloudevents-batch+json")
        .body(Value::from(events).to_string())
}

/// A CloudEvent in its JSON format.
fn event(id: &str, data: &Value) -> Value {
    json!({"specversion": "1.0", "id": id, "source": SOURCE, "type": "dev.hookrun.test", "datacontenttype": "application/json", "data": data})
}
