//! Hookrun as its users see it: the real executable, real HTTP, a real API server with RBAC, real Tekton.
//!
//! A test is a [`case::Case`]: a name that reads as a sentence, and an async function that gets the one control plane of the
//! run ([`control_plane::Cluster`]). Cases run side by side, so each takes a namespace of its own. A module lists its cases in
//! `pub fn cases()`, and [`all`] lists the modules.
//!
//! What a test needs around the function is here too: [`function`] starts the executable with exactly the rights of the
//! manifests, [`faults`] stands between it and the API server, [`onix`] plays the flow store of Artisan's users.
//!
//! Never here: fixed ports, fixed sleeps, a test that passes because something is missing on the machine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests end loudly, and whoever waits wants to see progress"
)]

pub mod case;
pub mod faults;
pub mod function;
pub mod onix;
pub mod registry;
pub mod s3;
pub mod server;

pub mod harness;

pub mod support;

pub mod acceptance;
pub mod admission;
pub mod events;
pub mod manifests;
pub mod rbac;
pub mod runs;

pub mod aftermath;
pub mod samples;

pub mod both_apis;
pub mod kubectl;
pub mod kubernetes_api;

pub mod api_faults;
pub mod concurrency;
pub mod deliveries;
pub mod hooks;
pub mod hooks_cli;
pub mod hostile;
pub mod kill;
pub mod payload;
pub mod sinks;
pub mod store_kubernetes;
pub mod store_s3;
pub mod tools;

/// Every case of every module.
#[must_use]
pub fn all() -> Vec<case::Case> {
    [
        harness::cases(),
        acceptance::cases(),
        admission::cases(),
        events::cases(),
        manifests::cases(),
        rbac::cases(),
        runs::cases(),
        api_faults::cases(),
        concurrency::cases(),
        deliveries::cases(),
        hostile::cases(),
        kill::cases(),
        store_kubernetes::cases(),
        store_s3::cases(),
        payload::cases(),
        sinks::cases(),
        tools::cases(),
        hooks_cli::cases(),
        both_apis::cases(),
        hooks::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
