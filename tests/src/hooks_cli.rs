//! The commands for people, `hookrun hooks` and `hookrun deliveries`, against `hookrun dev`: what a newcomer does, and
//! what programs rely on.

mod captured;
mod events;
mod replays;
mod told;

use std::{
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{case::Case, function::executable, tools::Dev};

/// The cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    [
        events::cases(),
        replays::cases(),
        captured::cases(),
        told::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// `hookrun dev`, and a person at another terminal.
struct Desk {
    folder: tempfile::TempDir,
    dev: Dev,
}

impl Desk {
    async fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let dev = Dev::start(folder.path(), &[]).await?;
        Ok(Self { folder, dev })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = hookrun(self.folder.path(), arguments);
        command
            .env("HOOKRUN_SERVER", self.dev.url(""))
            .env("HOOKRUN_URL", self.dev.url(""));
        command
    }

    fn run(&self, arguments: &[&str]) -> Result<Output> {
        Ok(self.command(arguments).output()?)
    }

    /// What a command prints that must succeed.
    fn ok(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments)?;
        ensure!(output.status.success(), "{arguments:?}: {output:?}");
        Ok(String::from_utf8(output.stdout)?)
    }

    fn json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.ok(&[arguments, &["-o", "json"]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("{arguments:?}: {text}"))
    }

    /// A Hook for pushes to a branch.
    fn hook(&self, branch: &str) -> Result<()> {
        let filter = format!("event.branch == '{branch}'");
        self.ok(&[
            "hooks",
            "new",
            "github",
            "--events",
            "push",
            "--filter",
            &filter,
            "--param",
            "revision=event.revision",
            "--apply",
        ])?;
        Ok(())
    }

    /// Sends a sample, and says which Delivery it became.
    fn send(&self, arguments: &[&str]) -> Result<String> {
        let answers = self.json(&[&["hooks", "send", "github"], arguments].concat())?;
        let name = answers[0]["body"]["delivery"].as_str();
        Ok(name.with_context(|| answers.to_string())?.to_owned())
    }

    async fn filter(&self, filter: &str) -> Result<()> {
        let patch = json!([{"op": "replace", "path": "/spec/rules/0/filter", "value": filter}]);
        let url = self
            .dev
            .url("/apis/hookrun.dev/v1alpha1/namespaces/default/hooks/github");
        let answer = reqwest::Client::new()
            .patch(url)
            .header("content-type", "application/json-patch+json")
            .body(patch.to_string())
            .send()
            .await?;
        ensure!(answer.status().is_success(), "{answer:?}");
        // The function knows a changed Hook within a second.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        Ok(())
    }

    async fn runs(&self) -> Result<Vec<Value>> {
        let url = self
            .dev
            .url("/apis/tekton.dev/v1/namespaces/default/pipelineruns");
        let list = reqwest::get(url).await?.bytes().await?;
        let mut list: Value = serde_json::from_slice(&list)?;
        serde_json::from_value(list["items"].take()).context("no list")
    }
}

fn hookrun(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(executable());
    command
        .env("HOME", home)
        .env_remove("KUBECONFIG")
        .args(arguments);
    command
}
