//! The event inside a verified body: JSON, the field of a form, or what an envelope is wrapped around.
//!
//! Only read after verification. Size, depth and number of values are bounded before anything is parsed, so that a body
//! of brackets cannot fill the memory.

mod bounds;
mod envelope;

use std::borrow::Cow;
use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::Request;
use crate::header::{Seen, is_form, media_type, seen, text};
use crate::provider::{Envelope, Form, Provider};

/// The event that a body holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Content<'a> {
    /// The event, if it is JSON.
    pub json: Option<Value>,
    /// The event's bytes, to be stored and handed on: without envelope, form encoding, and secrets.
    pub bytes: Cow<'a, [u8]>,
    /// What the envelope says: the attributes of CloudEvents; of Pub/Sub, those of the message with `messageId`,
    /// `publishTime` and `subscription`.
    pub attributes: BTreeMap<String, String>,
}

/// Most bytes of memory that a body takes while it is parsed.
pub const MOST_MEMORY: usize = bounds::MOST_MEMORY;

/// Why a verified body is not an event. The sender may be told.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ContentError {
    /// It is compressed.
    #[error("`Content-Encoding: {0}` is not supported; send the body as it is")]
    Encoded(String),
    /// It is of a media type that is not read, and that its sender can change.
    #[error("{0}")]
    Format(&'static str),
    /// It is larger than the provider's events are.
    #[error("the body has more than {limit} bytes")]
    TooLarge {
        /// Most bytes that it may have.
        limit: usize,
    },
    /// It has too many values, or they are nested too deeply.
    #[error("the body has {0}")]
    TooComplex(String),
    /// It is not JSON.
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    /// It is a form without an event in it.
    #[error("the form holds no event: {0}")]
    NotForm(&'static str),
    /// It is a form, which this provider does not send.
    #[error("a form-encoded body is not what `{0}` sends; send JSON")]
    NoForms(&'static str),
    /// Its envelope is not as it should be.
    #[error("the envelope of the event is wrong: {0}")]
    Envelope(String),
}

impl ContentError {
    /// One word for counters.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Encoded(_) => "encoded",
            Self::Format(_) => "format",
            Self::TooLarge { .. } => "too-large",
            Self::TooComplex(_) => "too-complex",
            Self::NotJson(_) => "not-json",
            Self::NotForm(_) => "not-form",
            Self::NoForms(_) => "no-forms",
            Self::Envelope(_) => "envelope",
        }
    }

    /// The status with which the request is turned away, and nothing stored: where its sender can send it in another
    /// way. None for what is recorded as it came, since whoever sent it will not send anything better.
    #[must_use]
    pub const fn turned_away(&self) -> Option<StatusCode> {
        match self {
            Self::Encoded(_) | Self::Format(_) => Some(StatusCode::UNSUPPORTED_MEDIA_TYPE),
            Self::TooLarge { .. } => Some(StatusCode::PAYLOAD_TOO_LARGE),
            _ => None,
        }
    }
}

/// Bytes of memory that a body takes at most while it is parsed, found out without parsing it: whoever reads many
/// bodies at once bounds what they take together. [`content()`] refuses what takes more than [`MOST_MEMORY`], which is
/// as much as this says.
#[must_use]
pub fn memory(provider: &Provider, request: &Request<'_>) -> usize {
    let is_event = media_type(request.headers).starts_with("application/cloudevents");
    let bytes = if is_read_as_form(provider, request) {
        match payload_field(request.body) {
            Ok(payload) => payload.len() + bounds::memory(payload.as_bytes()),
            // Its fields are the values, and they may be short ones.
            Err(_) => request.body.len().saturating_mul(bounds::WORST),
        }
    } else if is_event || provider.envelope == Envelope::PubSub {
        bounds::memory_with_hidden(request.body)
    } else {
        bounds::memory(request.body)
    };
    bytes.min(MOST_MEMORY)
}

/// Takes the event out of a verified body.
///
/// # Errors
///
/// Why there is none.
pub fn content<'a>(
    provider: &Provider,
    request: &Request<'a>,
) -> Result<Content<'a>, ContentError> {
    if let Some(encoding) = encoding(request) {
        return Err(ContentError::Encoded(encoding));
    }
    if request.body.len() > provider.body_bytes {
        let limit = provider.body_bytes;
        return Err(ContentError::TooLarge { limit });
    }
    let content = if is_read_as_form(provider, request) {
        form(provider, request.body)?
    } else {
        match provider.envelope {
            Envelope::Json => json(Cow::Borrowed(request.body))?,
            Envelope::Any => any(Cow::Borrowed(request.body))?,
            Envelope::CloudEvents => envelope::cloud_events(request)?,
            Envelope::PubSub => envelope::pub_sub(request.body)?,
        }
    };
    Ok(without_secrets(provider, content))
}

fn is_read_as_form(provider: &Provider, request: &Request<'_>) -> bool {
    is_form(request) && provider.envelope == Envelope::Json
}

/// The encoding of the body, if it has one.
fn encoding(request: &Request<'_>) -> Option<String> {
    let name = "content-encoding";
    let value = match seen(request.headers, name) {
        Seen::Never => return None,
        Seen::Once(_) => text(request.headers, name).unwrap_or("?"),
        Seen::Repeated => "several",
    };
    (!value.eq_ignore_ascii_case("identity")).then(|| value.chars().take(32).collect())
}

/// A body that has to be JSON.
fn json(bytes: Cow<'_, [u8]>) -> Result<Content<'_>, ContentError> {
    Ok(Content {
        json: Some(parse(&bytes)?),
        bytes,
        attributes: BTreeMap::new(),
    })
}

/// A body that may be anything, and is JSON if it can be read as that.
fn any(bytes: Cow<'_, [u8]>) -> Result<Content<'_>, ContentError> {
    let json = match parse(&bytes) {
        Ok(value) => Some(value),
        Err(ContentError::NotJson(_)) => None,
        Err(error) => return Err(error),
    };
    Ok(Content {
        json,
        bytes,
        attributes: BTreeMap::new(),
    })
}

fn parse(bytes: &[u8]) -> Result<Value, ContentError> {
    bounds::check(bytes).map_err(ContentError::TooComplex)?;
    serde_json::from_slice(bytes).map_err(|error| ContentError::NotJson(error.to_string()))
}

fn form<'a>(provider: &Provider, body: &[u8]) -> Result<Content<'a>, ContentError> {
    match (provider.form, payload_field(body)) {
        (Form::No, _) => Err(ContentError::NoForms(provider.name)),
        (_, Ok(payload)) => json(Cow::Owned(payload.into_bytes())),
        (Form::PayloadOrFields, Err(NO_PAYLOAD)) => fields(body),
        (_, Err(why)) => Err(ContentError::NotForm(why)),
    }
}

/// A form whose fields are the event: a JSON object of texts.
fn fields<'a>(body: &[u8]) -> Result<Content<'a>, ContentError> {
    let mut object = Map::new();
    for (name, value) in form_urlencoded::parse(body) {
        if object.len() >= bounds::MOST_VALUES {
            return Err(ContentError::TooComplex("too many fields".to_owned()));
        }
        if object
            .insert(name.into_owned(), Value::String(value.into_owned()))
            .is_some()
        {
            return Err(ContentError::NotForm("a field comes twice"));
        }
    }
    if object.is_empty() {
        return Err(ContentError::NotForm("it has no fields"));
    }
    let json = Value::Object(object);
    let bytes = Cow::Owned(json.to_string().into_bytes());
    Ok(Content {
        json: Some(json),
        bytes,
        attributes: BTreeMap::new(),
    })
}

const NO_PAYLOAD: &str = "it has no field `payload`";

/// The decoded value of the only field `payload` of a form.
pub(crate) fn payload_field(body: &[u8]) -> Result<String, &'static str> {
    let mut values = form_urlencoded::parse(body).filter(|(name, _)| name == "payload");
    match (values.next(), values.next()) {
        (Some((_, value)), None) => Ok(value.into_owned()),
        (Some(_), Some(_)) => Err("the field `payload` comes twice"),
        (None, _) => Err(NO_PAYLOAD),
    }
}

/// Secrets in the body are neither stored nor handed on. Taking one out writes the JSON anew.
fn without_secrets<'a>(provider: &Provider, mut content: Content<'a>) -> Content<'a> {
    let Some(Value::Object(object)) = &mut content.json else {
        return content;
    };
    let mut dropped = false;
    for field in provider.drop {
        dropped |= object.remove(*field).is_some();
    }
    if dropped {
        let bytes = content
            .json
            .as_ref()
            .map(Value::to_string)
            .unwrap_or_default();
        content.bytes = Cow::Owned(bytes.into_bytes());
    }
    content
}
