//! The measurements: the released executable, a bare server built in the same way, and the program that measures both.

use anyhow::Result;
use clap::Args;

use crate::{dist, shell};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Passed on; `-- --help` tells what there is.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Builds all three and measures.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let hookrun = dist::run()?;
    let bare = dist::build("bare-server")?;
    // Built like the others, so that it shares their dependencies and is no slower than they are.
    let bench = dist::build("bench")?;
    shell::run(
        shell::command(bench)
            .args(["--bare".as_ref(), bare.as_os_str()])
            .args(&arguments.rest)
            .env("HOOKRUN_EXECUTABLE", hookrun),
    )
}
