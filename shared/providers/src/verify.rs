//! Whether a request comes from who it says, and whether that was just now.
//!
//! The configuration alone says which proofs count; a request cannot choose. What is compared is decoded bytes, in
//! constant time. Every refusal costs a pass over the body, so that the time an answer takes does not tell an unknown
//! Hook from a wrong signature.
//!
//! One difference remains: each further secret of a Hook costs another pass. A MAC is made with its key from the first
//! byte on, so the passes cannot be shared; and as many for everybody as a Hook may have secrets would let forgeries
//! cost four times as much, to hide for the time of a change that a Hook has two. Whoever measures that learns no
//! secret.

mod signature;
mod token;
mod value;

use std::hint::black_box;

use thiserror::Error;

use crate::Request;
use crate::header::{Seen, seen};
use crate::provider::{Algorithm, Covers, Key, Proof, Provider, Scheme, Signature, Time, Value};
use crate::settings::{Hmac, HmacOptions, Settings};

pub(crate) use signature::mac;
pub use token::TokenClaim;

/// What a request has proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proven {
    /// It knows the secret with this index.
    Secret(usize),
    /// Nothing yet: it brings a signed token, whose signature is to be checked with the issuer's keys.
    Token(TokenClaim),
}

/// Why a request is refused. For logs and counters; a sender is never told.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The configuration has no secret, or nothing but unusable ones.
    #[error("no usable secret is configured: {0}")]
    NotConfigured(&'static str),
    /// The proof is not there.
    #[error("{0} is missing")]
    Missing(String),
    /// It is there more than once, which no sender does.
    #[error("{0} came more than once")]
    Repeated(String),
    /// It is not written as it should be.
    #[error("{place} is malformed: {why}")]
    Malformed {
        /// Header or part of the request.
        place: String,
        /// What is wrong.
        why: &'static str,
    },
    /// It is of a kind that is not accepted here, such as another algorithm.
    #[error("{0} is of a kind that is not accepted here")]
    NotAllowed(String),
    /// It is wrong.
    #[error("the proof is wrong")]
    Mismatch,
    /// Its time is too far from ours.
    #[error("the signed time is {seconds} s away from ours")]
    Stale {
        /// How far, either way.
        seconds: u64,
    },
}

impl Refusal {
    /// One word for counters.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NotConfigured(_) => "not-configured",
            Self::Missing(_) => "missing",
            Self::Repeated(_) => "repeated",
            Self::Malformed { .. } => "malformed",
            Self::NotAllowed(_) => "not-allowed",
            Self::Mismatch => "mismatch",
            Self::Stale { .. } => "stale",
        }
    }
}

/// Checks who sent a request. `now` is in seconds since 1970; read the clock once per request.
///
/// # Errors
///
/// Why it is refused. An empty secret, or none where one is needed, refuses everything.
pub fn verify(
    provider: &Provider,
    settings: &Settings,
    secrets: &[Vec<u8>],
    request: &Request<'_>,
    now: i64,
) -> Result<Proven, Refusal> {
    match decide(provider, settings, secrets, request, now) {
        Err((refusal, Work::Open)) => {
            pretend(request.body.len());
            Err(refusal)
        }
        Err((refusal, Work::Done)) => Err(refusal),
        Ok(proven) => Ok(proven),
    }
}

/// The work of a refusal: one pass over as many bytes as the body had. For a Hook that does not exist, whose bodies
/// nobody keeps, and for a token that its issuer's keys refuse. The bytes make no difference to the time that it takes.
///
/// A wrong signature costs a Hook with several secrets a pass for each of them instead (see above).
pub fn pretend(bytes: usize) {
    black_box(signature::mac(
        Algorithm::Sha256,
        b"no secret",
        zeros(bytes),
    ));
}

/// So many zeros, in pieces.
fn zeros(bytes: usize) -> impl Iterator<Item = &'static [u8]> {
    const BLOCK: &[u8] = &[0; 16 << 10];
    let rest = BLOCK.get(..bytes % BLOCK.len()).unwrap_or_default();
    std::iter::repeat_n(BLOCK, bytes / BLOCK.len()).chain([rest])
}

/// Whether the pass over the body has been made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Done,
    Open,
}

fn decide(
    provider: &Provider,
    settings: &Settings,
    secrets: &[Vec<u8>],
    request: &Request<'_>,
    now: i64,
) -> Result<Proven, (Refusal, Work)> {
    if secrets.iter().any(Vec::is_empty) {
        return Err((Refusal::NotConfigured("a secret is empty"), Work::Open));
    }
    let proofs = in_force(provider, settings, secrets);
    let tried = proofs
        .iter()
        .find(|proof| absent(proof, settings, request).is_none());
    let Some(proof) = tried else {
        let unusable = Refusal::NotConfigured("a secret of the right form is needed");
        let strongest = proofs.first();
        let missing = strongest.and_then(|proof| absent(proof, settings, request));
        return Err((missing.map_or(unusable, Refusal::Missing), Work::Open));
    };
    let work = match proof {
        Proof::Signature(_) | Proof::Configured => Work::Done,
        _ => Work::Open,
    };
    prove(proof, settings, secrets, request, now).map_err(|refusal| match refusal {
        Refusal::Mismatch => (refusal, work),
        _ => (refusal, Work::Open),
    })
}

/// The proofs that the configuration asks for, the strongest first.
pub(crate) fn in_force<'a>(
    provider: &Provider,
    settings: &'a Settings,
    secrets: &[Vec<u8>],
) -> Vec<Proof<'a>> {
    if let Some(header) = settings
        .header
        .as_deref()
        .filter(|_| provider.chosen_header)
    {
        let value = Value {
            header,
            scheme: Scheme::Plain,
            key: Key::Text,
        };
        return if secrets.is_empty() {
            Vec::new()
        } else {
            vec![Proof::Value(value)]
        };
    }
    let usable = |proof: &&Proof| match proof {
        Proof::Jwt(_) => settings.token.is_some(),
        proof => secrets.iter().any(|secret| proof.takes(secret)),
    };
    let count = if settings.legacy { usize::MAX } else { 1 };
    provider
        .proofs
        .iter()
        .filter(usable)
        .take(count)
        .copied()
        .collect()
}

/// Where the proof should be, if it is not even tried.
fn absent(proof: &Proof, settings: &Settings, request: &Request<'_>) -> Option<String> {
    let header = match proof {
        Proof::PathToken => {
            let place = "the token at the end of the path";
            return request.token.is_none().then(|| place.to_owned());
        }
        Proof::Signature(signature) => signature.header,
        Proof::Value(value) => value.header,
        Proof::Jwt(_) => token::HEADER,
        Proof::Configured => match &settings.hmac {
            Some(hmac) => &hmac.options().header,
            None => "X-Signature",
        },
    };
    matches!(seen(request.headers, header), Seen::Never).then(|| header.to_owned())
}

fn prove(
    proof: &Proof,
    settings: &Settings,
    secrets: &[Vec<u8>],
    request: &Request<'_>,
    now: i64,
) -> Result<Proven, Refusal> {
    match proof {
        Proof::Signature(scheme) => {
            signature::check(scheme, secrets, request, now).map(Proven::Secret)
        }
        Proof::Configured => configured(settings, secrets, request, now).map(Proven::Secret),
        Proof::Value(value) => value::check(value, secrets, request).map(Proven::Secret),
        Proof::PathToken => value::check_path(secrets, request).map(Proven::Secret),
        Proof::Jwt(jwt) => token::read(jwt, settings, request).map(Proven::Token),
    }
}

fn configured(
    settings: &Settings,
    secrets: &[Vec<u8>],
    request: &Request<'_>,
    now: i64,
) -> Result<usize, Refusal> {
    let check = |signature: &Signature<'_>| signature::check(signature, secrets, request, now);
    described(settings, check).unwrap_or(Err(Refusal::NotConfigured(
        "the default settings are wrong",
    )))
}

/// Hands on the signature that a Hook describes, in the shape of the table; none only if the default makes no sense.
pub(crate) fn described<T>(
    settings: &Settings,
    then: impl FnOnce(&Signature<'_>) -> T,
) -> Option<T> {
    let default;
    let hmac = match &settings.hmac {
        Some(hmac) => hmac,
        None => {
            default = Hmac::new(HmacOptions::default()).ok()?;
            &default
        }
    };
    let options = hmac.options();
    Some(then(&Signature {
        header: &options.header,
        separator: None,
        items: &hmac.items(),
        signed: &hmac.signed(),
        time: options.timestamp_header.as_deref().map(Time::Header),
        tolerance: options.tolerance_seconds,
        id_header: options.id_header.as_deref(),
        covers: Covers::Body,
    }))
}

#[cfg(test)]
mod tests {
    use super::zeros;

    #[test]
    fn pretending_reads_as_many_bytes_as_the_body_had() {
        for bytes in [0, 1, 16 << 10, (16 << 10) + 1, 25 << 20] {
            assert_eq!(zeros(bytes).map(<[u8]>::len).sum::<usize>(), bytes);
        }
    }
}
