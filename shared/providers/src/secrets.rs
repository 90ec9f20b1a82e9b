//! Whether configured secrets are of use: each by itself, and beside the others.
//!
//! What is said about a secret never tells it.

use crate::provider::{Key, Proof, Provider, Scheme, Value};
use crate::settings::Settings;
use crate::verify::in_force;

/// Whether a Hook needs a secret: not where a signed token alone is the proof, since an issuer's keys are public.
#[must_use]
pub fn needs_secret(provider: &Provider, settings: &Settings) -> bool {
    let is_jwt = |proof: &Proof<'_>| matches!(proof, Proof::Jwt(_));
    let by_token = settings.token.is_some() && provider.proofs.iter().any(is_jwt);
    !by_token && !provider.proofs.iter().all(is_jwt)
}

/// Shortest token in a path that is taken for hard to guess, in bytes.
const SHORTEST_PATH_TOKEN: usize = 16;

/// Whether a URL carries this as it is: the characters that RFC 3986 calls unreserved. Any other one is written in two
/// ways, or ends the segment.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// What is wrong with a configured secret, in words that do not tell it.
#[must_use]
pub fn check_secret(provider: &Provider, settings: &Settings, secret: &[u8]) -> Option<String> {
    if secret.is_empty() {
        return Some("it is empty: anybody could sign with it".to_owned());
    }
    if secret.ends_with(b"\n") {
        return Some(
            "it ends with a line feed, which the sender does not know of; store it without"
                .to_owned(),
        );
    }
    if settings.header.is_some() && provider.chosen_header {
        return None;
    }
    let mut wanted = Vec::new();
    for proof in provider.proofs {
        match secret_fits(proof, secret) {
            Ok(()) => return None,
            Err(message) => wanted.push(message),
        }
    }
    Some(wanted.join("; or "))
}

/// Those of several configured secrets that count for nothing beside the others, by index, and why. Ask [`check_secret`]
/// about each one before.
#[must_use]
pub fn check_together(
    provider: &Provider,
    settings: &Settings,
    secrets: &[Vec<u8>],
) -> Vec<(usize, String)> {
    let proofs = in_force(provider, settings, secrets);
    let idle = |secret: &Vec<u8>| !proofs.iter().any(|proof| proof.takes(secret));
    let found = secrets
        .iter()
        .enumerate()
        .filter(|(_, secret)| idle(secret));
    let why = "it counts for nothing: a stronger proof is configured beside it, and counts alone. Set \
               `verification.legacy: true` to let it count, too, while senders change over; or take it out";
    found.map(|(at, _)| (at, why.to_owned())).collect()
}

fn secret_fits(proof: &Proof, secret: &[u8]) -> Result<(), String> {
    let fits = |key: Key| key.bytes(secret).is_some();
    match proof {
        Proof::Configured => Ok(()),
        Proof::Jwt(_) => Err("a signed token needs no secret".to_owned()),
        Proof::PathToken => {
            let long = secret.len() >= SHORTEST_PATH_TOKEN;
            let fits = long && secret.iter().copied().all(is_unreserved);
            let want = format!(
                "a token in a path needs at least {SHORTEST_PATH_TOKEN} characters, all of them letters, digits or \
                 `-._~`: a URL carries no other as it is"
            );
            fits.then_some(()).ok_or(want)
        }
        Proof::Value(Value {
            scheme: Scheme::Basic,
            ..
        }) if !secret.contains(&b':') => Err("it has to be `user:password`".to_owned()),
        Proof::Value(value) if fits(value.key) => Ok(()),
        Proof::Value(value) => Err(value.key.want()),
        Proof::Signature(signature) if signature.items.iter().any(|item| item.fits(secret)) => {
            Ok(())
        }
        Proof::Signature(signature) => {
            let wants: Vec<String> = signature.items.iter().map(|item| item.key.want()).collect();
            Err(wants.join("; or "))
        }
    }
}
