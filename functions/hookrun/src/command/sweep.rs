//! `hookrun sweep`: payloads whose time is over are deleted from the bucket, once.

use std::{process::ExitCode, time::SystemTime};

use anyhow::Context;
use store::{PayloadStore, Swept};

use super::say;
use crate::cli;

/// Runs the command.
pub(crate) async fn run(options: cli::Sweep) -> anyhow::Result<ExitCode> {
    let swept = Sweeper::open(options)?
        .sweep()
        .await
        .context("cannot sweep")?;
    let Some(swept) = swept else {
        say("no payload store is configured (HOOKRUN_PAYLOAD_STORE), so there is nothing to sweep");
        return Ok(ExitCode::SUCCESS);
    };
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

/// A sweep that can be made any number of times.
pub(crate) struct Sweeper {
    options: cli::Sweep,
    store: Option<PayloadStore>,
}

impl Sweeper {
    /// Nothing is connected before the first sweep.
    ///
    /// # Errors
    /// A store that cannot work as configured.
    pub(crate) fn open(options: cli::Sweep) -> anyhow::Result<Self> {
        let store = options.store.open(&store::Credentials::from_env())?;
        Ok(Self { options, store })
    }

    /// One bounded sweep; `None` where no store is configured.
    ///
    /// # Errors
    /// The store cannot be listed.
    pub(crate) async fn sweep(&self) -> Result<Option<Swept>, store::Error> {
        let Some(store) = &self.store else {
            return Ok(None);
        };
        let retention = self.options.store.payload_retention;
        let swept = store.sweep(SystemTime::now(), retention, self.options.limit);
        swept.await.map(Some)
    }
}
