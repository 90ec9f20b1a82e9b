//! `hookrun sweep`: payloads whose time is over are deleted from the bucket.

use std::{process::ExitCode, time::SystemTime};

use anyhow::Context;

use super::say;
use crate::cli;

/// Runs the command.
pub(crate) async fn run(options: cli::Sweep) -> anyhow::Result<ExitCode> {
    let store = options
        .store
        .open(&store::Credentials::from_env())?
        .context("no payload store is configured: set HOOKRUN_PAYLOAD_STORE")?;
    let swept = store
        .sweep(
            SystemTime::now(),
            options.store.payload_retention,
            options.limit,
        )
        .await
        .context("cannot sweep")?;
    say(&format!(
        "looked at {} payloads, deleted {}",
        swept.examined, swept.deleted
    ));
    if !swept.complete {
        say("more are left; the next sweep goes on");
    }
    match swept.failed {
        None => Ok(ExitCode::SUCCESS),
        Some((count, error)) => {
            say(&format!(
                "{count} could not be deleted, the last because: {error}"
            ));
            Ok(ExitCode::FAILURE)
        }
    }
}
