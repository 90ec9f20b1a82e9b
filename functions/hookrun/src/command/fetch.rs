//! `hookrun fetch`: the first step of a run whose payload no Secret holds, and the Task `hookrun-fetch`.

use std::process::ExitCode;

use anyhow::Context;
use store::Fetched;

use super::say;
use crate::cli;

/// Runs the command.
pub(crate) async fn run(options: cli::Fetch) -> anyhow::Result<ExitCode> {
    let fetched = store::fetch(&options.options)
        .await
        .context("cannot fetch the payload")?;
    let Fetched {
        size,
        files,
        attempts,
    } = fetched;
    say(&match (attempts, files) {
        (0, _) => format!("copied {size} bytes, which were in the workspace"),
        (_, 0) => format!("fetched {size} bytes"),
        (_, _) => format!("fetched {size} bytes, and copied {files} files beside them"),
    });
    Ok(ExitCode::SUCCESS)
}
