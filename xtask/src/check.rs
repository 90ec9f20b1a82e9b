//! What review should not have to look for.

mod layers;
mod links;

use std::time::Instant;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::{
    generate,
    shell::{self, cargo},
};

/// `cargo xtask check`
#[derive(Args)]
pub(crate) struct Arguments {
    /// Which checks; all if none is named.
    #[arg(value_enum)]
    which: Vec<Which>,
}

#[derive(Clone, Copy, Debug, ValueEnum, PartialEq, Eq)]
enum Which {
    /// `cargo fmt --check`, here and in `fuzz/`
    Format,
    /// Which package may link what: ARCHITECTURE.md as a table.
    Layers,
    /// Every link between documents leads somewhere.
    Links,
    /// clippy on everything, warnings denied.
    Lints,
    /// The generated files are those that the sources give.
    Generated,
    /// rustdoc, warnings denied.
    Docs,
    /// Every package builds alone, so that each manifest is sufficient.
    Alone,
}

pub(crate) fn run(Arguments { which }: &Arguments) -> Result<()> {
    let which = if which.is_empty() {
        Which::value_variants()
    } else {
        which
    };
    let mut failed = Vec::new();
    for check in which {
        let name = format!("{check:?}").to_lowercase();
        let began = Instant::now();
        // One after the other to the end: a person wants to know everything at once.
        match one(*check) {
            Ok(()) => eprintln!("check {name}: ok ({:.0} s)", began.elapsed().as_secs_f32()),
            Err(error) => {
                eprintln!("check {name}: FAILED\n{error:#}");
                failed.push(name);
            }
        }
    }
    if !failed.is_empty() {
        bail!(
            "failed: {}; repeat with `cargo xtask check {}`",
            failed.join(", "),
            failed.join(" ")
        );
    }
    Ok(())
}

fn one(check: Which) -> Result<()> {
    match check {
        Which::Format => {
            shell::run(cargo().args(["fmt", "--all", "--check"]))?;
            // A workspace of its own, which `--all` does not know.
            let fuzz = ["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"];
            shell::run(cargo().args(fuzz))
        }
        Which::Layers => layers::check(),
        Which::Links => links::check(),
        Which::Lints => shell::run(cargo().args([
            "clippy",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--",
            "--deny",
            "warnings",
        ])),
        Which::Generated => generate::compare(),
        Which::Docs => shell::run(
            cargo()
                .args([
                    "doc",
                    "--quiet",
                    "--workspace",
                    "--no-deps",
                    "--document-private-items",
                ])
                .env("RUSTDOCFLAGS", "--deny warnings"),
        ),
        Which::Alone => {
            for package in layers::packages()? {
                shell::run(cargo().args(["check", "--quiet", "--package", &package]))?;
            }
            Ok(())
        }
    }
}
