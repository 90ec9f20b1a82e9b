//! From an HTTP request to events: CloudEvents in binary, structured and batch mode, and plain bodies.
//!
//! The attributes are read by the CloudEvents SDK. The *data* never passes through it: it would come out re-written
//! (numbers rounded, members sorted), and what a run gets must be the bytes that were sent. Whatever a sender can
//! write ends here as an event or as a [`Rejection`] that says what to change; never as a panic.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use http::Method;
use http::header::{self, HeaderMap, HeaderName};
use http::request::Parts;
use uuid::Uuid;

use crate::{Payload, Rejection};

mod attributes;
mod structured;

/// Events in one batch, at most.
pub const BATCH: usize = 100;
/// Length of `Idempotency-Key`, at most.
pub const KEY_LENGTH: usize = 255;
/// Length of the attributes `id` and `type`, at most.
pub const ID_LENGTH: usize = 1024;
/// Length of the attribute `source`, at most.
pub const SOURCE_LENGTH: usize = 2048;
/// Attributes of one event, extensions included, at most.
pub const ATTRIBUTES: usize = 64;

const STRUCTURED: &str = "application/cloudevents+json";
const BATCHED: &str = "application/cloudevents-batch+json";
const VERSION: HeaderName = HeaderName::from_static("ce-specversion");
const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What makes two deliveries one event.
///
/// The text form is what names and annotations are made from; two identities never share it, since a source has no
/// space.
/// ```
/// use runtime::event::Identity;
/// let identity = Identity::CloudEvent { source: "/sensors/7".into(), id: "a b".into() };
/// assert_eq!(identity.to_string(), "cloudevent /sensors/7 a b");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// The attributes `source` and `id`, which together are unique by the specification.
    CloudEvent {
        /// Who says so.
        source: String,
        /// Unique for that source.
        id: String,
    },
    /// The header of that name.
    IdempotencyKey(String),
    /// Nothing in the request tells; every delivery is an event of its own.
    Fresh(Uuid),
}

impl Identity {
    /// Whether a repetition of the request would be another event.
    pub fn is_fresh(&self) -> bool {
        matches!(self, Self::Fresh(_))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CloudEvent { source, id } => write!(f, "cloudevent {source} {id}"),
            Self::IdempotencyKey(key) => write!(f, "idempotency-key {key}"),
            Self::Fresh(id) => write!(f, "request {id}"),
        }
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What makes two deliveries one event.
    pub identity: Identity,
    /// The media type of the data, as the sender wrote it.
    pub content_type: Option<String>,
    /// The data, byte for byte. Shares memory with the payload where it can.
    pub data: Bytes,
    /// The context attributes, if it is a CloudEvent.
    pub cloud_event: Option<Attributes>,
}

/// The context attributes of a CloudEvent, in a fixed order: what a function may know of an event beside its identity
/// and its data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `source`
    pub source: String,
    /// `id`
    pub id: String,
    /// `type`
    pub ty: String,
    /// `subject`
    pub subject: Option<String>,
    /// `time`, in RFC 3339
    pub time: Option<String>,
    /// `dataschema`
    pub schema: Option<String>,
    /// All others, as text.
    pub extensions: BTreeMap<String, String>,
}

/// What a request brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A body that is no CloudEvent.
    Plain(Event),
    /// One CloudEvent; answer it with [`crate::response::for_broker`].
    CloudEvent(Event),
    /// CloudEvents in one request, perhaps none; they succeed or are repeated together.
    Batch(Vec<Event>),
}

enum Mode {
    Plain,
    Binary,
    Structured,
    Batch,
}

/// Whether the request claims to carry CloudEvents, in whichever mode. Known from its head alone.
///
/// Only a `POST` does: a header must not turn the reading of something into an event, which other rules hold for.
pub fn is_cloud_event(parts: &Parts) -> bool {
    !matches!(mode(parts), Mode::Plain)
}

fn mode(parts: &Parts) -> Mode {
    let headers = &parts.headers;
    if parts.method != Method::POST {
        return Mode::Plain;
    }
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .map_or(&b""[..], |value| value.as_bytes());
    let media_type = content_type
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii();
    if media_type.eq_ignore_ascii_case(STRUCTURED.as_bytes()) {
        Mode::Structured
    } else if media_type.eq_ignore_ascii_case(BATCHED.as_bytes()) {
        Mode::Batch
    } else if headers.contains_key(VERSION) {
        Mode::Binary
    } else {
        Mode::Plain
    }
}

/// Reads what a request brought. The events share the payload's memory: keep it for as long as they live.
///
/// # Errors
/// A CloudEvent that is not one (which attribute, and why), too long a batch, or an `Idempotency-Key` that cannot
/// identify anything.
pub fn read_events(parts: &Parts, payload: &Payload) -> Result<Incoming, Rejection> {
    match mode(parts) {
        Mode::Plain => plain(&parts.headers, payload.bytes().clone()).map(Incoming::Plain),
        Mode::Binary => {
            attributes::binary(&parts.headers, payload.bytes().clone()).map(Incoming::CloudEvent)
        }
        Mode::Structured => structured::event(payload.bytes()).map(Incoming::CloudEvent),
        Mode::Batch => structured::batch(payload.bytes()).map(Incoming::Batch),
    }
}

fn plain(headers: &HeaderMap, data: Bytes) -> Result<Event, Rejection> {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    Ok(Event {
        identity: key(headers)?,
        content_type,
        data,
        cloud_event: None,
    })
}

/// The identity of a request that is no CloudEvent, for a function that does not read the body.
///
/// # Errors
/// `Idempotency-Key` is there, but twice, empty, too long or not printable ASCII.
pub fn key(headers: &HeaderMap) -> Result<Identity, Rejection> {
    let mut values = headers.get_all(KEY).iter();
    let Some(value) = values.next() else {
        return Ok(Identity::Fresh(Uuid::new_v4()));
    };
    let wrong = || Rejection::IdempotencyKey { limit: KEY_LENGTH };
    let text = value.to_str().map_err(|_| wrong())?;
    let printable = text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if values.next().is_some() || text.is_empty() || text.len() > KEY_LENGTH || !printable {
        return Err(wrong());
    }
    Ok(Identity::IdempotencyKey(text.to_owned()))
}

#[cfg(test)]
mod tests;
