//! Secrets that travel as they are: in a header, or at the end of the path.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::Refusal;
use super::signature::malformed;
use crate::Request;
use crate::header::{Seen, seen};
use crate::provider::{Key, Scheme, Value};

/// Checks a header that holds the secret itself.
pub(super) fn check(
    value: &Value<'_>,
    secrets: &[Vec<u8>],
    request: &Request<'_>,
) -> Result<usize, Refusal> {
    let name = value.header;
    let sent = match seen(request.headers, name) {
        Seen::Never => return Err(Refusal::Missing(name.to_owned())),
        Seen::Repeated => return Err(Refusal::Repeated(name.to_owned())),
        Seen::Once([]) => return Err(malformed(name, "it is empty")),
        Seen::Once(sent) => sent,
    };
    match value.scheme {
        Scheme::Plain => find(sent, value.key, secrets),
        Scheme::Bearer => find(after_word(name, sent, b"bearer")?, value.key, secrets),
        Scheme::Basic => {
            let text = STANDARD.decode(after_word(name, sent, b"basic")?);
            let text = text.map_err(|_| malformed(name, "it is not base64"))?;
            let text =
                std::str::from_utf8(&text).map_err(|_| malformed(name, "it is not UTF-8"))?;
            if !text.contains(':') {
                return Err(malformed(name, "it has no colon"));
            }
            find(text.as_bytes(), value.key, secrets)
        }
    }
}

/// Checks the last segment of the path.
pub(super) fn check_path(secrets: &[Vec<u8>], request: &Request<'_>) -> Result<usize, Refusal> {
    find(
        request.token.unwrap_or_default().as_bytes(),
        Key::Text,
        secrets,
    )
}

/// What follows the word of an authentication scheme and one space.
pub(super) fn after_word<'a>(name: &str, sent: &'a [u8], word: &[u8]) -> Result<&'a [u8], Refusal> {
    let space = sent.iter().position(|byte| *byte == b' ');
    let (scheme, rest) = space
        .and_then(|at| sent.split_at_checked(at))
        .unwrap_or((sent, b""));
    if !scheme.eq_ignore_ascii_case(word) {
        return Err(Refusal::NotAllowed(format!("the scheme in {name}")));
    }
    match rest.strip_prefix(b" ") {
        Some(value) if !value.is_empty() => Ok(value),
        _ => Err(malformed(name, "nothing follows the scheme")),
    }
}

/// The secret that this is. Digests are compared, so that not even the length of a secret can be measured.
fn find(sent: &[u8], key: Key, secrets: &[Vec<u8>]) -> Result<usize, Refusal> {
    let sent = Sha256::digest(sent);
    let same = |secret: &Vec<u8>| {
        let key = key.bytes(secret);
        key.is_some_and(|key| bool::from(Sha256::digest(key).ct_eq(&sent)))
    };
    secrets.iter().position(same).ok_or(Refusal::Mismatch)
}
