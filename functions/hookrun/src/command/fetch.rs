//! `hookrun fetch`: the first step of a run whose payload no Secret holds.

use std::process::ExitCode;

use anyhow::Context;

use super::say;
use crate::cli;

/// Runs the command.
pub(crate) async fn run(options: cli::Fetch) -> anyhow::Result<ExitCode> {
    let fetched = store::fetch(&options.options)
        .await
        .context("cannot fetch the payload")?;
    say(&format!(
        "fetched {} bytes, and copied {} files beside them",
        fetched.size, fetched.files
    ));
    Ok(ExitCode::SUCCESS)
}
