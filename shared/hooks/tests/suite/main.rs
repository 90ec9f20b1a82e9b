//! What a user of the package sees: expressions, decisions, checks.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "fixtures are files, bounds are measured, and a test ends where it fails; the package does none of that"
)]

mod agreement;
mod documentation;
mod expressions;
mod fixtures;
mod hostile;
mod injections;
mod properties;
