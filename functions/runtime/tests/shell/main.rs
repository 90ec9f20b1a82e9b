//! The whole shell over real sockets, as a peer meets it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "helpers of tests are tests, too; clippy knows only those with the attribute"
)]

mod support;

/// What is answered to what.
mod answers;
/// Bodies: caps, clocks, budget.
mod bodies;
/// Connections: caps, clocks, floods.
mod connections;
/// The end of a process.
mod drain;
/// HTTP/2 with prior knowledge.
mod http2;
/// What leaves the process: spans and metrics.
mod telemetry;
/// The same with TLS, and a certificate that is renewed.
mod tls;
