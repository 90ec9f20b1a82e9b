//! Signatures over the bytes that arrived.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::Signature as Ed25519Signature;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq;

use super::Refusal;
use crate::Request;
use crate::content::payload_field;
use crate::header::{Seen, is_form, seen};
use crate::key::public_key;
use crate::provider::{Algorithm, Covers, Encoding, Item, Part, Signature, Time};

/// Most items of a list in a header. Senders that rotate a key send two or three.
const MOST_ITEMS: usize = 16;

/// One signature from the header.
struct Sent<'a> {
    item: &'a Item<'a>,
    bytes: Vec<u8>,
}

/// Checks a signature and says which secret it was made with.
pub(super) fn check(
    scheme: &Signature<'_>,
    secrets: &[Vec<u8>],
    request: &Request<'_>,
    now: i64,
) -> Result<usize, Refusal> {
    let header = once(request, scheme.header)?;
    let (sent, item_time) = split(scheme, header)?;
    let time = match scheme.time {
        None => "",
        Some(Time::Header(name)) => once(request, name)?,
        Some(Time::Item(_)) => {
            item_time.ok_or_else(|| malformed(scheme.header, "it has no time"))?
        }
    };
    if scheme.time.is_some() {
        fresh(scheme, time, now)?;
    }
    let id = match scheme.id_header {
        Some(name) if scheme.signed.contains(&Part::Id) => once(request, name)?,
        _ => "",
    };
    let decoded;
    let body = match scheme.covers {
        Covers::Payload if is_form(request) => {
            decoded = payload_field(request.body).map_err(|why| malformed("the form", why))?;
            decoded.as_bytes()
        }
        Covers::Payload | Covers::Body => request.body,
    };
    let parts = scheme.signed.iter().map(|part| match part {
        Part::Text(text) => text.as_bytes(),
        Part::Id => id.as_bytes(),
        Part::Time => time.as_bytes(),
        Part::Body => body,
    });
    let message: Vec<&[u8]> = parts.collect();
    let matching = |secret: &Vec<u8>| {
        scheme
            .items
            .iter()
            .any(|item| any(item, secret, &sent, &message))
    };
    secrets.iter().position(matching).ok_or(Refusal::Mismatch)
}

/// Whether any of the signatures of this form was made with this secret. The message is read once.
fn any(item: &Item<'_>, secret: &[u8], sent: &[Sent<'_>], message: &[&[u8]]) -> bool {
    let mut same = sent
        .iter()
        .filter(|sent| std::ptr::eq(sent.item, item))
        .peekable();
    let key = item.key.bytes(secret).filter(|_| same.peek().is_some());
    let Some(key) = key else {
        return false;
    };
    if item.algorithm == Algorithm::Ed25519 {
        return same.any(|sent| signed_by(&key, &sent.bytes, message));
    }
    let expected = mac(item.algorithm, &key, message.iter().copied());
    same.fold(false, |found, sent| {
        found | bool::from(expected.ct_eq(&sent.bytes))
    })
}

/// Strict verification: no other signature of the same message and key is valid, either.
fn signed_by(key: &[u8], signature: &[u8], message: &[&[u8]]) -> bool {
    let (Some(key), Ok(signature)) = (public_key(key), Ed25519Signature::from_slice(signature))
    else {
        return false;
    };
    key.verify_strict(&message.concat(), &signature).is_ok()
}

/// The MAC of a message. An HMAC takes keys of every length; were that not so, the result would be empty and match
/// nothing.
pub(crate) fn mac<'a>(
    algorithm: Algorithm,
    key: &[u8],
    message: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<u8> {
    match algorithm {
        Algorithm::Sha1 => digest::<Hmac<Sha1>>(key, message),
        Algorithm::Sha256 => digest::<Hmac<Sha256>>(key, message),
        Algorithm::Sha512 => digest::<Hmac<Sha512>>(key, message),
        Algorithm::Ed25519 => Vec::new(),
    }
}

fn digest<'a, M: Mac + KeyInit>(
    key: &[u8],
    message: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<u8> {
    let Ok(mut mac) = <M as KeyInit>::new_from_slice(key) else {
        return Vec::new();
    };
    for part in message {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

/// The signatures of a header, and its time, if that is among them.
fn split<'a>(
    scheme: &'a Signature<'a>,
    header: &'a str,
) -> Result<(Vec<Sent<'a>>, Option<&'a str>), Refusal> {
    let pieces: Vec<&str> = match scheme.separator {
        Some(separator) => header.split(separator).take(MOST_ITEMS + 1).collect(),
        None => vec![header],
    };
    if pieces.len() > MOST_ITEMS {
        return Err(malformed(scheme.header, "it has too many items"));
    }
    let mut sent = Vec::new();
    let mut time = None;
    for (index, piece) in pieces.into_iter().enumerate() {
        // HTTP lets a space follow the comma of a list; everywhere else it would be part of the signature.
        let piece = match scheme.separator {
            Some(',') if index > 0 => piece.trim_start_matches(' '),
            _ => piece,
        };
        if piece.is_empty() {
            return Err(malformed(scheme.header, "it is empty, or an item of it is"));
        }
        match scheme.time {
            Some(Time::Item(prefix)) if piece.starts_with(prefix) => {
                if time
                    .replace(piece.get(prefix.len()..).unwrap_or_default())
                    .is_some()
                {
                    return Err(Refusal::Repeated(format!("the time in {}", scheme.header)));
                }
            }
            _ => sent.extend(read(scheme, piece)?),
        }
    }
    if sent.is_empty() {
        return Err(Refusal::NotAllowed(format!(
            "the signature in {}",
            scheme.header
        )));
    }
    Ok((sent, time))
}

/// One signature; none if it is of a form that does not count here.
fn read<'a>(scheme: &'a Signature<'a>, piece: &str) -> Result<Option<Sent<'a>>, Refusal> {
    let with_prefix = |item: &&Item<'_>| piece.starts_with(item.prefix);
    let Some(item) = scheme.items.iter().find(with_prefix) else {
        return Ok(None);
    };
    let text = piece.get(item.prefix.len()..).unwrap_or_default();
    let bytes = match item.encoding {
        Encoding::Hex => unhex(text),
        Encoding::Base64 => STANDARD.decode(text).ok(),
    };
    let bytes =
        bytes.ok_or_else(|| malformed(scheme.header, "it is not encoded as it should be"))?;
    if bytes.len() != item.algorithm.bytes() {
        return Err(malformed(scheme.header, "it has the wrong length"));
    }
    Ok(Some(Sent { item, bytes }))
}

/// Hexadecimal digits as bytes.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs
        .iter()
        .map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?))
        .collect()
}

fn fresh(scheme: &Signature<'_>, time: &str, now: i64) -> Result<(), Refusal> {
    let digits = !time.is_empty() && time.bytes().all(|byte| byte.is_ascii_digit());
    let place = match scheme.time {
        Some(Time::Header(name)) => name,
        _ => scheme.header,
    };
    let time: Option<i64> = time.parse().ok().filter(|_| digits);
    let time = time.ok_or_else(|| malformed(place, "the time is not a number of seconds"))?;
    let seconds = now.abs_diff(time);
    if seconds > u64::from(scheme.tolerance) {
        return Err(Refusal::Stale { seconds });
    }
    Ok(())
}

/// A header that has to come once, and hold visible text.
pub(super) fn once<'a>(request: &Request<'a>, name: &str) -> Result<&'a str, Refusal> {
    match seen(request.headers, name) {
        Seen::Never => Err(Refusal::Missing(name.to_owned())),
        Seen::Repeated => Err(Refusal::Repeated(name.to_owned())),
        Seen::Once([]) => Err(malformed(name, "it is empty")),
        Seen::Once(value) => {
            std::str::from_utf8(value).map_err(|_| malformed(name, "it is not text"))
        }
    }
}

pub(super) fn malformed(place: &str, why: &'static str) -> Refusal {
    Refusal::Malformed {
        place: place.to_owned(),
        why,
    }
}
