//! What a request is: its type, its name at the sender, and what makes it the same event as another one.

use std::fmt::Write as _;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::header::text;
use crate::provider::{Field, Otherwise, Proof, Provider};
use crate::settings::Settings;
use crate::{Content, Request};

/// Longest key that is told in full, in bytes; a longer one is told by its digest.
const LONGEST_KEY: usize = 512;

/// Longest type and name of a delivery, in bytes; the rest is cut off.
const LONGEST_TEXT: usize = 256;

/// What a request is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Type of the event, as the provider calls it, without the action; empty if it does not say. At most 256 bytes.
    pub event_type: String,
    /// The provider's name for this delivery; empty if it gives none. At most 256 bytes.
    pub delivery_id: String,
    /// The event's identity inside its Hook: two requests with the same key are the same event. Empty if nothing tells
    /// them apart from legitimate repetitions; then whoever records the event makes one up.
    pub key: String,
    /// Where the key comes from.
    pub identity: Identity,
}

/// Where the key of an event comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Identity {
    /// The provider names the event: the same name is the same event.
    Named,
    /// The digest of the body as it came: the same body is the same event.
    Digest,
    /// There is none: every request is an event of its own.
    #[default]
    None,
}

/// Reads what a verified request is.
#[must_use]
pub fn facts(
    provider: &Provider,
    settings: &Settings,
    request: &Request<'_>,
    content: &Content<'_>,
) -> Facts {
    let find = |field: &Field<'_>| value(*field, request, content);
    let first = |fields: &[Field<'_>]| fields.iter().find_map(find).unwrap_or_default();
    let described = described(provider, settings);
    let (types, ids) = match &described {
        Some((types, ids)) => (types.as_slice(), ids.as_slice()),
        None => (provider.event_type, provider.delivery_id),
    };
    let own = described
        .as_ref()
        .map(|(_, ids)| ids.as_slice())
        .filter(|ids| !ids.is_empty());
    let named = own
        .into_iter()
        .chain(provider.identity.iter().copied())
        .find_map(|fields| {
            let values: Option<Vec<String>> = fields.iter().map(find).collect();
            Some(key(fields, &values?))
        });
    let (key, identity) = match (named, provider.otherwise) {
        (Some(key), _) => (key, Identity::Named),
        (None, Otherwise::Digest) => (digest(request.body), Identity::Digest),
        (None, Otherwise::Nothing) => (String::new(), Identity::None),
    };
    Facts {
        event_type: cut(first(types)),
        delivery_id: cut(first(ids)),
        key,
        identity,
    }
}

/// Where type and identity are, if the Hook says it.
fn described<'a>(
    provider: &Provider,
    settings: &'a Settings,
) -> Option<(Vec<Field<'a>>, Vec<Field<'a>>)> {
    let configured = provider
        .proofs
        .iter()
        .any(|proof| matches!(proof, Proof::Configured));
    let options = settings.hmac.as_ref().filter(|_| configured)?.options();
    let header = options.event_header.as_deref().map(Field::Header);
    let pointer = options.event_pointer.as_deref().map(Field::Body);
    let id = options.id_header.as_deref().map(Field::Header);
    Some((
        header.into_iter().chain(pointer).collect(),
        id.into_iter().collect(),
    ))
}

/// The value of a field, unless it is empty.
pub(crate) fn value(
    field: Field<'_>,
    request: &Request<'_>,
    content: &Content<'_>,
) -> Option<String> {
    let value = match field {
        Field::Header(name) => text(request.headers, name)?.to_owned(),
        Field::Body(pointer) => match content.json.as_ref()?.pointer(pointer)? {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        },
        Field::Attribute(name) => content.attributes.get(name)?.clone(),
        Field::Fixed(value) => value.to_owned(),
    };
    (!value.is_empty()).then_some(value)
}

/// Names and values in form encoding: readable, and no two lists of them give the same text.
fn key(fields: &[Field<'_>], values: &[String]) -> String {
    let mut key = form_urlencoded::Serializer::new(String::new());
    for (field, value) in fields.iter().zip(values) {
        let name = match field {
            Field::Header(name) | Field::Attribute(name) | Field::Fixed(name) => name,
            Field::Body(pointer) => pointer.trim_start_matches('/'),
        };
        key.append_pair(name, value);
    }
    let key = key.finish();
    if key.len() > LONGEST_KEY {
        return format!("key-{}", digest(key.as_bytes()));
    }
    key
}

/// `sha256:` and the digest in hexadecimal digits.
fn digest(bytes: &[u8]) -> String {
    let mut text = "sha256:".to_owned();
    for byte in Sha256::digest(bytes) {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(LONGEST_TEXT));
    text
}
