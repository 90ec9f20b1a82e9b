//! How configured secrets become keys.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::VerifyingKey;

use crate::provider::{Algorithm, Item, Key, Proof};

/// Bytes of a key in base64 (Standard Webhooks 1.0.0, "Signature scheme"); the public one of Ed25519 has 32.
const KEY_BYTES: RangeInclusive<usize> = 24..=64;

impl Key {
    /// The key that a secret stands for; none if the secret is not for this form. Never empty.
    pub(crate) fn bytes(self, secret: &[u8]) -> Option<Cow<'_, [u8]>> {
        let key = match self {
            Self::Text => Cow::Borrowed(secret),
            Self::TextUnless(prefix) if secret.starts_with(prefix.as_bytes()) => return None,
            Self::TextUnless(_) => Cow::Borrowed(secret),
            Self::Base64After(prefix) => {
                let text = secret.strip_prefix(prefix.as_bytes())?;
                let key = STANDARD.decode(text).ok()?;
                Cow::Owned(Some(key).filter(|key| KEY_BYTES.contains(&key.len()))?)
            }
        };
        (!key.is_empty()).then_some(key)
    }

    /// What a secret of this form looks like.
    pub(crate) fn want(self) -> String {
        match self {
            Self::Text => "it has to be the text that the sender was given".to_owned(),
            Self::TextUnless(prefix) => {
                format!("it has to be text that does not start with `{prefix}`")
            }
            Self::Base64After(prefix) => format!(
                "it has to be `{prefix}` and base64 of {} to {} bytes",
                KEY_BYTES.start(),
                KEY_BYTES.end()
            ),
        }
    }
}

impl Item<'_> {
    /// Whether a signature of this form can be checked with this secret.
    pub(crate) fn fits(&self, secret: &[u8]) -> bool {
        let key = self.key.bytes(secret);
        key.is_some_and(|key| self.algorithm != Algorithm::Ed25519 || public_key(&key).is_some())
    }
}

impl Proof<'_> {
    /// Whether this can be proven with this secret.
    pub(crate) fn takes(&self, secret: &[u8]) -> bool {
        match self {
            Self::Signature(signature) => signature.items.iter().any(|item| item.fits(secret)),
            Self::Value(value) => value.key.bytes(secret).is_some(),
            Self::Configured | Self::PathToken => true,
            Self::Jwt(_) => false,
        }
    }
}

/// A public key of Ed25519, which has 32 bytes and is a point of the curve.
pub(crate) fn public_key(key: &[u8]) -> Option<VerifyingKey> {
    VerifyingKey::from_bytes(key.try_into().ok()?).ok()
}
