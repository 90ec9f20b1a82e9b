//! Hookrun as its users have it: the image on Knative, behind Kourier, with Tekton running the steps.
//!
//! Everything is asked from outside, as users do: HTTP and HTTPS to the gateway, `kubectl`, the executable. A case is an async
//! function that gets the [`world::World`] of the run; modules are topics, each with its `cases()`. Cases run side by side;
//! those that disturb others run alone.
//!
//! Never here: fixed sleeps, the insides of the function, a case that passes because something is missing. Where a case cannot be
//! run (the parts of somebody else's cluster cannot be killed) it is shown as ignored.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests end loudly, and whoever waits wants to see progress"
)]

mod settings;

mod tools;

mod install;

mod gateway;

mod hooks;

mod world;

mod artisan;

mod events;

mod load;

mod payloads;

mod rbac;

mod refused;

mod rollout;

mod runs;

use std::{process::ExitCode, sync::Arc, time::Duration};

use system_tests::case;
use tokio::runtime::Runtime;

use world::World;

fn main() -> ExitCode {
    // Two of them wait for minutes until a function has gone to zero.
    let arguments = case::arguments(6);
    let own = std::env::var_os("HOOKRUN_E2E_TOOLS_IMAGE").is_none();
    let cases = [
        artisan::cases(),
        runs::cases(),
        events::cases(),
        hooks::cases(),
        refused::cases(),
        rbac::cases(),
        // What runs alone comes last: it waits for all others, and others behind it would wait with it.
        load::cases(),
        events::alone(own),
        rollout::cases(own),
        events::last(own),
    ]
    .into_iter()
    .flatten()
    .collect();
    if arguments.list {
        return case::list(&arguments, cases).exit_code();
    }
    let runtime = Runtime::new().expect("a runtime");
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let world = match runtime.block_on(World::start()) {
        Ok(world) => Arc::new(world),
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let conclusion = case::run_in(&world, &runtime, &arguments, cases);
    let cleaned = runtime.block_on(world.end());
    drop(world);
    runtime.shutdown_timeout(Duration::from_secs(1));
    if let Err(error) = cleaned {
        eprintln!("error: the cluster is not as it was: {error:#}");
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}
