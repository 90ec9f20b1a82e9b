//! `hookrun hooks`: what people do with Hooks beside running them.

mod capture;
mod explain;
mod judge;
mod list;
mod new;
mod send;
mod show;
mod source;
mod test;

use std::process::ExitCode;

use anyhow::anyhow;
use hooks::Hook;
use providers::Settings;

use crate::cli::hooks::Hooks;

/// Something could not be read or reached, so that there is no verdict.
const NO_VERDICT: u8 = 2;

/// Runs the command.
pub(crate) async fn run(command: Hooks) -> anyhow::Result<ExitCode> {
    let done = match command {
        Hooks::New(options) => return new::run(&options).await,
        Hooks::List(options) => return list::run(&options).await,
        Hooks::Show(options) => return show::run(&options).await,
        Hooks::Send(options) => send::run(&options).await,
        Hooks::Explain(options) => explain::run(&options).await,
        Hooks::Test(options) => test::run(&options),
    };
    match done {
        Err(error) if !super::is_broken_pipe(&error) => {
            super::complain(&error);
            Ok(ExitCode::from(NO_VERDICT))
        }
        done => done,
    }
}

/// What a Hook configures beyond its provider.
fn settings(hook: &Hook) -> anyhow::Result<Settings> {
    hooks::settings(&hook.spec.verification).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow!("{}", problems.join("; "))
    })
}
