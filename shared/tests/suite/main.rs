//! The package's tests from outside, in one binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests fail by panic, and read fixtures from their folders"
)]

/// Folders of documents with what becomes of them.
mod fixtures;
/// Every kind of problem is explained, and shown by a fixture.
mod kinds;
/// What holds for every document.
mod properties;
/// The reader against whatever can come in.
mod reader;
/// Where a run differs from the latest content: payloads, names, what is carried.
mod runs;
