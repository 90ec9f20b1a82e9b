//! The package's tests from outside, in one binary.

/// Folders of documents with what becomes of them.
mod fixtures;
/// Every kind of problem is explained, and shown by a fixture.
mod kinds;
/// Where a run differs from the latest content: payloads, names, what is carried.
mod runs;
/// The reader against whatever can come in.
mod reader;
