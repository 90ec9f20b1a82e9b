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
    /// Seconds for which identical bodies are the same event, where that is not for ever: [`Facts::at`] needs the time then.
    pub window: Option<u32>,
    /// The key that the same body had in the window before. If an event of this key is known, this is that one.
    pub earlier: Option<String>,
    /// Where the key comes from.
    pub identity: Identity,
}

/// Where the key of an event comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Identity {
    /// The provider names the event: the same name is the same event.
    Named,
    /// The digest of the body as it came: the same body is the same event, for ever or for a while.
    Digest,
    /// There is none: every request is an event of its own.
    #[default]
    None,
}

impl Facts {
    /// What the request is, since it came at `now`, in seconds since 1970: where identical bodies are the same event for a
    /// while alone, the window belongs to the key. Two windows count, because a repetition may come right after the end of
    /// the first one.
    #[must_use]
    pub fn at(mut self, now: i64) -> Self {
        if let Some(seconds) = self.window.map(|seconds| i64::from(seconds.max(1))) {
            let start = now.saturating_sub(now.rem_euclid(seconds));
            let key = |start: i64| format!("{} from {start} for {seconds} s", self.key);
            self.earlier = Some(key(start.saturating_sub(seconds)));
            self.key = key(start);
        }
        self
    }
}

/// Reads what a verified request is, as far as it does not depend on when it came: [`Facts::at`].
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
    let (types, ids, otherwise) = match &described {
        Some(described) => (
            described.types.as_slice(),
            described.ids.as_slice(),
            described.otherwise,
        ),
        None => (
            provider.event_type,
            provider.delivery_id,
            provider.otherwise,
        ),
    };
    let own = described
        .as_ref()
        .map(|described| described.ids.as_slice())
        .filter(|ids| !ids.is_empty());
    let named = own
        .into_iter()
        .chain(provider.identity.iter().copied())
        .find_map(|fields| {
            let values: Option<Vec<String>> = fields.iter().map(find).collect();
            Some(key(fields, &values?))
        });
    let (key, window, identity) = match (named, otherwise) {
        (Some(key), _) => (key, None, Identity::Named),
        (None, Otherwise::Digest) => (digest(request.body), None, Identity::Digest),
        (None, Otherwise::DigestWithin(seconds)) => {
            (digest(request.body), Some(seconds), Identity::Digest)
        }
        (None, Otherwise::Nothing) => (String::new(), None, Identity::None),
    };
    Facts {
        event_type: cut(first(types)),
        delivery_id: cut(first(ids)),
        key,
        window,
        earlier: None,
        identity,
    }
}

/// Where type and identity are, if the Hook says it.
struct Described<'a> {
    types: Vec<Field<'a>>,
    ids: Vec<Field<'a>>,
    otherwise: Otherwise,
}

fn described<'a>(provider: &Provider, settings: &'a Settings) -> Option<Described<'a>> {
    let configured = provider
        .proofs
        .iter()
        .any(|proof| matches!(proof, Proof::Configured));
    let options = settings.hmac.as_ref().filter(|_| configured)?.options();
    let header = options.event_header.as_deref().map(Field::Header);
    let pointer = options.event_pointer.as_deref().map(Field::Body);
    let id = options.id_header.as_deref().map(Field::Header);
    let window = options.duplicate_seconds.map(Otherwise::DigestWithin);
    Some(Described {
        types: header.into_iter().chain(pointer).collect(),
        ids: id.into_iter().collect(),
        otherwise: window.unwrap_or(provider.otherwise),
    })
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
