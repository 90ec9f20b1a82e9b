//! What payloads say, tested from outside: each provider's payloads beside the events that they become, globs beside
//! what Git says of them, and what holds for everything that can come in.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests fail by panic, and read payloads from their folder"
)]

/// Changed files: when they are known.
mod changed;
/// Path globs against a table of cases.
mod forks;
mod globs;
/// Folders of payloads with the events that they become.
mod payloads;
/// What holds for every payload, pattern and path.
mod properties;
