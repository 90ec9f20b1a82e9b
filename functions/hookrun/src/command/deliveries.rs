//! `hookrun deliveries`: what became of events, and running them again.

mod list;
mod replay;
mod select;
mod show;
mod tail;

use std::process::ExitCode;

use crate::cli::deliveries::Deliveries;

/// Runs the command.
pub(crate) async fn run(command: Deliveries) -> anyhow::Result<ExitCode> {
    match command {
        Deliveries::List(options) => list::run(&options).await,
        Deliveries::Show(options) => show::run(&options).await,
        Deliveries::Replay(options) => replay::run(&options).await,
        Deliveries::Tail(options) => tail::run(&options).await,
    }
}
