//! What is wrapped around an event: CloudEvents, and pushes of Pub/Sub.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode;
use serde_json::{Map, Value};

use super::{Content, ContentError, any, json, parse};
use crate::Request;
use crate::header::{media_type, text};

/// Attributes that every CloudEvent has.
const REQUIRED: &[&str] = &["specversion", "id", "source", "type"];

/// An event in the binary or the structured mode of the HTTP binding of CloudEvents 1.0; a request in neither of them
/// is an event without attributes.
pub(super) fn cloud_events<'a>(request: &Request<'a>) -> Result<Content<'a>, ContentError> {
    let media_type = media_type(request.headers);
    if media_type.starts_with("application/cloudevents-batch") {
        return Err(ContentError::Format(
            "batches of events are not supported; send one event per request",
        ));
    }
    if media_type.starts_with("application/cloudevents") {
        if media_type != "application/cloudevents+json" {
            return Err(ContentError::Format(
                "the only structured format that is supported is `application/cloudevents+json`",
            ));
        }
        return structured(request.body);
    }
    let mut content = any(Cow::Borrowed(request.body))?;
    if request.headers.contains_key("ce-specversion") {
        content.attributes = binary(request)?;
    }
    Ok(content)
}

/// The attributes of the binary mode. Their values are percent-encoded.
fn binary(request: &Request<'_>) -> Result<BTreeMap<String, String>, ContentError> {
    let mut attributes = BTreeMap::new();
    for name in request.headers.keys() {
        let Some(attribute) = name.as_str().strip_prefix("ce-") else {
            continue;
        };
        let value = text(request.headers, name.as_str());
        let value = value
            .ok_or_else(|| wrong(&format!("the header `{name}` comes twice or is not text")))?;
        let value = percent_decode(value.as_bytes()).decode_utf8();
        let value = value.map_err(|_| wrong(&format!("the header `{name}` is not UTF-8")))?;
        attributes.insert(attribute.to_owned(), value.into_owned());
    }
    complete(attributes)
}

fn structured<'a>(body: &[u8]) -> Result<Content<'a>, ContentError> {
    let Value::Object(mut event) = parse(body)? else {
        return Err(wrong("it is not a JSON object"));
    };
    let data = event.remove("data");
    let encoded = event.remove("data_base64");
    let attributes = complete(texts(&event))?;
    let mut content = match (data, encoded) {
        (Some(_), Some(_)) => return Err(wrong("`data` and `data_base64` exclude each other")),
        (Some(data), None) => Content {
            bytes: Cow::Owned(data.to_string().into_bytes()),
            json: Some(data),
            attributes: BTreeMap::new(),
        },
        (None, Some(Value::String(text))) => any(Cow::Owned(decode("data_base64", &text)?))?,
        (None, Some(_)) => return Err(wrong("`data_base64` is not text")),
        (None, None) => Content::default(),
    };
    content.attributes = attributes;
    Ok(content)
}

/// Attributes that make a CloudEvent of version 1.
fn complete(
    attributes: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, ContentError> {
    for name in REQUIRED {
        if attributes.get(*name).is_none_or(String::is_empty) {
            return Err(wrong(&format!("the attribute `{name}` is missing")));
        }
    }
    if attributes
        .get("specversion")
        .is_some_and(|version| !version.starts_with("1."))
    {
        return Err(wrong("the only version of CloudEvents is 1"));
    }
    Ok(attributes)
}

/// A push of Pub/Sub.
pub(super) fn pub_sub<'a>(body: &[u8]) -> Result<Content<'a>, ContentError> {
    let push = parse(body)?;
    let Some(Value::Object(message)) = push.get("message") else {
        return Err(wrong("`message` is missing"));
    };
    let mut attributes = BTreeMap::new();
    if let Some(Value::Object(named)) = message.get("attributes") {
        attributes.extend(texts(named));
    }
    // After the sender's own, so that these cannot be replaced.
    for name in ["messageId", "publishTime"] {
        attributes.remove(name);
    }
    attributes.remove("subscription");
    attributes.extend(
        texts(message)
            .into_iter()
            .filter(|(name, _)| name == "messageId" || name == "publishTime"),
    );
    if let Some(subscription) = push.get("subscription").and_then(Value::as_str) {
        attributes.insert("subscription".to_owned(), subscription.to_owned());
    }
    let data = message
        .get("data")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let mut content = json(Cow::Owned(decode("message.data", data)?))?;
    content.attributes = attributes;
    Ok(content)
}

/// The fields that are text, numbers or truth values, as text.
fn texts(object: &Map<String, Value>) -> BTreeMap<String, String> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    };
    object
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), text(value)?)))
        .collect()
}

fn decode(place: &str, text: &str) -> Result<Vec<u8>, ContentError> {
    STANDARD
        .decode(text)
        .map_err(|_| wrong(&format!("`{place}` is not base64")))
}

fn wrong(why: &str) -> ContentError {
    ContentError::Envelope(why.to_owned())
}
