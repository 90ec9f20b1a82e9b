//! `hookrun`: every function, and the tools around them, in one executable.
//!
//! This file assembles and nothing more: what was typed, which command it is, and the exit code. One image holds this
//! executable, each Knative Service names its function in `args`, and `hookrun dev` serves all of them at once.

mod cli;
mod command;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use crate::cli::Cli;

fn main() -> ExitCode {
    // TLS clients and servers of the whole process take it from here; nobody can have named another one yet.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let matches = Cli::command().get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    // One thread: a function waits for the network most of its time, and starts and stays small. What takes the processor
    // for longer goes to threads of its own (`hook::decide`).
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|threads| threads.block_on(command::run(cli, &matches)));
    outcome.unwrap_or_else(|error| {
        // Whoever reads our output has seen enough, as `head` has; that is no error.
        if !command::is_broken_pipe(&error) {
            command::complain(&error);
        }
        ExitCode::FAILURE
    })
}
