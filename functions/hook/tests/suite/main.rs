//! The function as its senders see it, over HTTP without sockets, on the in-process Kubernetes API.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests end loudly, too"
)]

mod events;
mod faults;
mod flows;
mod limits;
mod nameless;
mod strangers;
mod support;
mod sweep;
mod verification;
mod warnings;
