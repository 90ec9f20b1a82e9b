//! The programs of a cluster: each knows how it was started, so that it can be started again.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::Process;

/// A program with its arguments and environment, to be started any number of times.
#[derive(Debug)]
pub(crate) struct Arguments {
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
}

impl Arguments {
    pub(crate) fn of(program: PathBuf) -> Self {
        Self {
            program,
            arguments: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// `--name=value`, as all programs of Kubernetes read it.
    pub(crate) fn flag(self, name: &str, value: &str) -> Self {
        self.word(format!("{name}={value}"))
    }

    pub(crate) fn path(self, name: &str, value: &Path) -> Self {
        self.word(format!("{name}={}", value.display()))
    }

    /// One argument as it is.
    pub(crate) fn word(mut self, word: impl Into<String>) -> Self {
        self.arguments.push(word.into());
        self
    }

    pub(crate) fn env(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// A running program of a cluster.
#[derive(Debug)]
pub(crate) struct Daemon {
    name: &'static str,
    arguments: Arguments,
    process: Process,
}

impl Daemon {
    /// Starts it, with its log in the folder `logs`.
    pub(crate) fn start(name: &'static str, logs: &Path, arguments: Arguments) -> Result<Self> {
        let log = logs.join(format!("{name}.log"));
        Ok(Self {
            name,
            process: Process::start(name, arguments.command(), &log)?,
            arguments,
        })
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Its process, and the one that watches over it.
    pub(crate) fn ids(&self) -> [u32; 2] {
        self.process.ids()
    }

    pub(crate) fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Starts it again if it has ended; whether it had. Its log goes on.
    pub(crate) fn revive(&mut self) -> Result<bool> {
        if self.process.ended()?.is_none() {
            return Ok(false);
        }
        let log = self.process.log().to_owned();
        self.process = Process::start(self.name, self.arguments.command(), &log)?;
        Ok(true)
    }
}
