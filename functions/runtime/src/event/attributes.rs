//! Context attributes: read by the SDK, then held to our limits.

use std::collections::BTreeMap;

use bytes::Bytes;
use cloudevents::binding::http::deserializer::Deserializer;
use cloudevents::message::MessageDeserializer as _;
use cloudevents::{AttributesReader as _, Event as SdkEvent};
use http::header::{self, HeaderMap};

use super::{ATTRIBUTES, Attributes, Event, ID_LENGTH, Identity, SOURCE_LENGTH};
use crate::Rejection;

/// Binary mode: attributes in headers, the data is the body.
pub(super) fn binary(headers: &HeaderMap, data: Bytes) -> Result<Event, Rejection> {
    let ours = || {
        headers
            .keys()
            .filter(|name| name.as_str().starts_with("ce-"))
    };
    if ours().count() > ATTRIBUTES {
        return Err(invalid(format!("it has more than {ATTRIBUTES} attributes")));
    }
    // Of a header that is there twice, the SDK takes the last and others the first; nobody shall have to guess.
    for name in ours().chain([&header::CONTENT_TYPE]) {
        if headers.get_all(name).iter().count() > 1 {
            return Err(invalid(format!(
                "the header {name} is there more than once"
            )));
        }
    }
    // Without a body the SDK reads nothing but attributes.
    let event = Deserializer::new(headers, Vec::new())
        .into_event()
        .map_err(|e| invalid(e.to_string()))?;
    checked(&event, data)
}

/// An event whose data is known, once its attributes hold.
pub(super) fn checked(event: &SdkEvent, data: Bytes) -> Result<Event, Rejection> {
    let extensions: BTreeMap<String, String> = event
        .iter_extensions()
        .map(|(name, value)| (name.to_owned(), value.to_string()))
        .collect();
    let attributes = Attributes {
        source: event.source().clone(),
        id: event.id().to_owned(),
        ty: event.ty().to_owned(),
        subject: event.subject().map(str::to_owned),
        time: event.time().map(|time| time.to_rfc3339()),
        schema: event.dataschema().map(ToString::to_string),
        extensions,
    };
    text("source", &attributes.source, SOURCE_LENGTH)?;
    text("id", &attributes.id, ID_LENGTH)?;
    text("type", &attributes.ty, ID_LENGTH)?;
    if attributes.source.contains(char::is_whitespace) {
        return Err(invalid(
            "the attribute source has a space, which no URI reference has",
        ));
    }
    let identity = Identity::CloudEvent {
        source: attributes.source.clone(),
        id: attributes.id.clone(),
    };
    let content_type = event.datacontenttype().map(str::to_owned);
    Ok(Event {
        identity,
        content_type,
        data,
        cloud_event: Some(attributes),
    })
}

fn text(name: &str, value: &str, limit: usize) -> Result<(), Rejection> {
    if value.is_empty() {
        return Err(invalid(format!("the attribute {name} is empty")));
    }
    if value.len() > limit {
        return Err(invalid(format!(
            "the attribute {name} is longer than {limit} bytes"
        )));
    }
    if value.chars().any(char::is_control) {
        return Err(invalid(format!(
            "the attribute {name} has a control character"
        )));
    }
    Ok(())
}

/// The SDK's own words quote what was sent; a log line and an answer take only so much of it.
pub(super) fn invalid(reason: impl Into<String>) -> Rejection {
    const LENGTH: usize = 300;
    let mut reason = reason.into();
    if reason.len() > LENGTH {
        reason.truncate(reason.floor_char_boundary(LENGTH));
        reason.push('…');
    }
    Rejection::CloudEvent(format!("this is not a valid CloudEvent: {reason}"))
}
