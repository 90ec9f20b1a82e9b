//! The provider table and its engine, against `vectors.json`: requests as the providers sign them.
//!
//! A vector's `body` is the exact text. `secret_utf8` is the secret byte for byte (a list: several), `secret_b64` and
//! `public_key_b64` hold key bytes, in front of which `whsec_` and `whpk_` belong. `path` ends with the token,
//! `clock_unix` is the time, `settings` what a Hook configures. `expect` is `accept`, `reject` or `ping`; `secret` is
//! the index of the secret that matches, 0 where it is not told; `facts` are what the request is. Every secret, token
//! and host is made up.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panic"
)]

/// Bodies, envelopes, identities.
mod content;
/// Refusals that follow from every vector.
mod derived;
/// Refusals that are particular to one kind of proof.
mod exact;
/// Connection tests and permissions.
mod handshake;
/// What holds for everything that can come in.
mod properties;
/// Configurations that make no sense.
mod settings;
/// What has to be true of every entry, and of the pages made from them.
mod table;
/// Signed tokens.
mod tokens;
/// Reading vectors.
mod vector;
/// Every vector as it is written down.
mod vectors;
