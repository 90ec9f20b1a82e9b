//! The commands, one module each, and how they tell what went wrong.

mod admission;
mod convert;
mod dead_letters;
mod deliveries;
mod dev;
mod fetch;
mod generate;
mod hooks;
mod input;
mod objects;
mod output;
mod payload;
mod run;
mod serve;
mod sink;
mod sweep;
mod sweeper;

use std::{io::Write, process::ExitCode};

use clap::{ArgMatches, CommandFactory};

use crate::cli::{Cli, Command};

/// Runs what was typed.
pub(crate) async fn run(cli: Cli, matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Flow(options) => serve::flow(options).await,
        Command::Hook(options) => serve::hook(options).await,
        Command::Admission(options) => admission::run(options).await,
        Command::Dev(options) => dev::run(options, matches).await,
        Command::Convert(options) => convert::run(&options),
        Command::Run(options) => run::run(options).await,
        Command::Fetch(options) => fetch::run(options).await,
        Command::Sweep(options) => sweep::run(options).await,
        Command::Sweeper(options) => sweeper::run(options).await,
        Command::DeadLetters(options) => dead_letters::run(options).await,
        Command::Hooks { command } => hooks::run(command).await,
        Command::Deliveries { command } => deliveries::run(command).await,
        Command::Completions { shell } => {
            clap_complete::generate(
                shell,
                &mut Cli::command(),
                "hookrun",
                &mut std::io::stdout(),
            );
            Ok(ExitCode::SUCCESS)
        }
        Command::Generate { folder } => generate::run(&folder),
    }
}

/// Whether an error only says that nobody reads our output any more.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Tells an error with all its causes, for people, on standard error.
pub(crate) fn complain(error: &anyhow::Error) {
    let _ = writeln!(std::io::stderr(), "error: {error:#}");
}

/// Progress and hints for people, on standard error.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
