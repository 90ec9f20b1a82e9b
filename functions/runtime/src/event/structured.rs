//! Structured and batch mode: the event is a JSON document, read so that its data keeps its bytes.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use cloudevents::AttributesReader as _;
use serde::de::{Deserializer as _, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::attributes::{checked, invalid};
use super::{ATTRIBUTES, BATCH, Event};
use crate::Rejection;

/// One event, the whole body.
pub(super) fn event(body: &Bytes) -> Result<Event, Rejection> {
    one(body, body)
}

/// An array of events.
pub(super) fn batch(body: &Bytes) -> Result<Vec<Event>, Rejection> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let elements = reader
        .deserialize_seq(Elements)
        .and_then(|elements| reader.end().map(|()| elements));
    let elements = elements.map_err(|e| invalid(format!("the batch is not a JSON array: {e}")))?;
    if elements.len() > BATCH {
        return Err(Rejection::LongBatch { limit: BATCH });
    }
    elements
        .into_iter()
        .map(|element| one(body, element.get().as_bytes()))
        .collect()
}

fn one(body: &Bytes, text: &[u8]) -> Result<Event, Rejection> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let members = reader
        .deserialize_map(Members)
        .and_then(|members| reader.end().map(|()| members));
    let Envelope {
        attributes,
        data,
        base64,
    } = members.map_err(|e| invalid(format!("it is not the JSON object of an event: {e}")))?;
    let member = |name| attributes.get(name).and_then(Value::as_str);
    let encoded = member("specversion") == Some("0.3")
        && member("datacontentencoding")
            .is_some_and(|encoding| encoding.eq_ignore_ascii_case("base64"));
    // Without data the SDK reads nothing but attributes.
    let event: cloudevents::Event =
        serde_json::from_value(Value::Object(attributes)).map_err(|e| invalid(e.to_string()))?;
    let data = match (data, base64) {
        (None, None) => Bytes::new(),
        (Some(_), Some(_)) => return Err(invalid("it has both data and data_base64")),
        (None, Some(raw)) => decoded(raw)?,
        (Some(raw), None) if encoded => decoded(raw)?,
        (Some(raw), None) if event.datacontenttype().is_none_or(is_json) => {
            body.slice_ref(raw.get().as_bytes())
        }
        (Some(raw), None) => string(raw)
            .ok_or_else(|| {
                invalid("its data is not a string, though its datacontenttype is not JSON")
            })?
            .into(),
    };
    checked(&event, data)
}

fn decoded(raw: &RawValue) -> Result<Bytes, Rejection> {
    let text = string(raw).ok_or_else(|| invalid("its base64 data is not a string"))?;
    let bytes = BASE64_STANDARD
        .decode(text)
        .map_err(|e| invalid(format!("its base64 data cannot be decoded: {e}")))?;
    Ok(bytes.into())
}

fn string(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

/// Whether data of this type stands in the document as JSON.
fn is_json(content_type: &str) -> bool {
    let media_type = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    matches!(media_type.as_str(), "" | "application/json" | "text/json")
        || media_type.ends_with("+json")
}

struct Envelope<'a> {
    attributes: Map<String, Value>,
    data: Option<&'a RawValue>,
    base64: Option<&'a RawValue>,
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Envelope<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Envelope<'de>, A::Error> {
        let mut attributes = Map::new();
        let (mut data, mut base64) = (None, None);
        while let Some(name) = map.next_key::<String>()? {
            let known = match name.as_str() {
                "data" => data.replace(map.next_value::<&'de RawValue>()?).is_some(),
                "data_base64" => base64.replace(map.next_value::<&'de RawValue>()?).is_some(),
                _ if attributes.len() == ATTRIBUTES => {
                    return Err(A::Error::custom(format_args!(
                        "it has more than {ATTRIBUTES} attributes"
                    )));
                }
                _ => attributes.insert(name.clone(), map.next_value()?).is_some(),
            };
            if known {
                return Err(A::Error::custom(format_args!(
                    "the member {name} is there twice"
                )));
            }
        }
        // `null` is how JSON says that a member is not set.
        let set = |raw: &&RawValue| raw.get() != "null";
        Ok(Envelope {
            attributes,
            data: data.filter(set),
            base64: base64.filter(set),
        })
    }
}

struct Elements;

impl<'de> Visitor<'de> for Elements {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = seq.next_element::<&'de RawValue>()? {
            // One more than allowed is enough to know; the rest is only skipped.
            if elements.len() <= BATCH {
                elements.push(element);
            }
        }
        Ok(elements)
    }
}
