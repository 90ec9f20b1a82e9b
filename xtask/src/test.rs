//! All tests, the cheap ones first.

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::shell::{self, cargo};

/// `cargo xtask test`
#[derive(Args)]
pub(crate) struct Arguments {
    /// Which tests.
    #[arg(value_enum, default_value_t = Which::All)]
    which: Which,
    /// For the system tests: part of a name, or options such as --list, --exact, --test-threads 1.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

#[derive(Clone, Copy, ValueEnum, PartialEq, Eq)]
enum Which {
    /// Everything.
    All,
    /// Unit and documentation tests, which need nothing but Rust.
    Unit,
    /// The system tests, which need Go for their first run.
    System,
}

pub(crate) fn run(Arguments { which, rest }: &Arguments) -> Result<()> {
    if *which != Which::System {
        shell::run(cargo().args(["test", "--workspace", "--quiet"]))?;
    }
    if *which != Which::Unit {
        let system = [
            "test",
            "--package",
            "system-tests",
            "--test",
            "system",
            "--",
        ];
        shell::run(cargo().args(system).args(rest))?;
    }
    Ok(())
}
