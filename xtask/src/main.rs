//! Every chore of the repository, each one command: `cargo xtask --help`.
//!
//! Continuous integration runs these very commands and no others, so whatever it says can be seen on one's own machine.
//!
//! Never here: anything that the product links, or a step that passes because something is missing.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "chores talk to whoever runs them"
)]

mod bench;
mod check;
mod dist;
mod e2e;
mod fuzz;
mod generate;
mod image;
mod shell;
mod test;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use shell::cargo;

/// Every chore of the repository.
///
/// A newcomer needs two of them: `cargo xtask test` proves that everything works here, `cargo xtask check` says what
/// continuous integration would object to.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Run the tests: unit tests, documentation tests, then the system tests on a real API server with real Tekton.
    ///
    /// The first run builds etcd, Kubernetes and Tekton from source, which takes minutes and needs Go; later runs start in
    /// seconds.
    Test(test::Arguments),
    /// Check what review should not have to: format, lints, layers, generated files, links, documentation.
    Check(check::Arguments),
    /// Write the generated files: docs/cli.md, docs/openapi.json, docs/providers, knative/crds.
    Generate(generate::Arguments),
    /// Feed the parsers of outside bytes with made-up input for a while.
    Fuzz(fuzz::Arguments),
    /// Measure the executable of `dist` beside its limits and beside bare peers, on a real API server; prints one table.
    ///
    /// Takes some ten minutes; `docs/performance.md` says how to shorten it and how to read it. `platform` measures the installed product on a
    /// whole cluster instead, in about twenty.
    Bench(bench::Arguments),
    /// Build the static executable for release into target/dist.
    Dist,
    /// Build the last stage of the Dockerfile with buildah, around the executable of `dist`.
    Image(image::Arguments),
    /// Start, ask and end a real cluster on this machine, to try things on it: `cargo xtask cluster --help`.
    ///
    /// Built from pinned Go modules, like the one of the tests; with a node it needs Linux and root, and says what else.
    #[command(disable_help_flag = true)]
    Cluster {
        /// What `cargo xtask cluster --help` tells.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<String>,
    },
    /// Install the manifests on a whole cluster, use them as users do, and clean up.
    ///
    /// Without --kubeconfig it is the cluster of `cargo xtask cluster`, which needs Linux and root, and says what else.
    E2e(e2e::Arguments),
    /// Do what continuous integration does: `.ci/run`.
    Ci,
}

fn main() -> ExitCode {
    match run(Arguments::parse().chore) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(chore: Chore) -> Result<()> {
    match chore {
        Chore::Test(arguments) => test::run(&arguments),
        Chore::Check(arguments) => check::run(&arguments),
        Chore::Generate(arguments) => generate::run(&arguments),
        Chore::Fuzz(arguments) => fuzz::run(&arguments),
        Chore::Bench(arguments) => bench::run(&arguments),
        Chore::Dist => dist::run().map(drop),
        Chore::Image(arguments) => image::run(&arguments),
        Chore::Cluster { rest } => cluster(&rest),
        Chore::E2e(arguments) => e2e::run(&arguments),
        Chore::Ci => shell::run(&mut shell::command(shell::repository().join(".ci/run"))),
    }
}

/// The chore `cluster`, a program of its own: the chores themselves need no Kubernetes client.
fn cluster(arguments: &[String]) -> Result<()> {
    let run = ["run", "--quiet", "--package", "control-plane", "--"];
    // It tells its own errors.
    let status = cargo().args(run).args(arguments).status()?;
    if !status.success() {
        std::process::exit(status.code().unwrap_or(1));
    }
    Ok(())
}
