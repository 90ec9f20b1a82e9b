//! The commands of kubectl that docs/embedded.md lists, by the real program: what they do with the embedded API is what
//! they do with the real one.
//!
//! A scenario is told in commands and in what they print. It runs against both APIs, so it expects of the output only
//! what is the same there: Tekton's admission fills in fields, and ages differ.

mod reading;
mod writing;

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::{Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

/// A scenario, to be played on an API.
pub type Scenario = fn(&Kubectl) -> Result<()>;

/// All scenarios, named as sentences.
#[must_use]
pub fn scenarios() -> Vec<(&'static str, Scenario)> {
    macro_rules! list {
        ($($module:ident::$name:ident),* $(,)?) => {
            vec![$((stringify!($name), $module::$name as Scenario)),*]
        };
    }
    list![
        reading::the_server_tells_what_it_is,
        writing::files_are_applied,
        writing::files_are_applied_by_the_server,
        writing::objects_are_created_by_commands,
        writing::objects_are_created_from_files,
        reading::objects_are_shown_in_every_form,
        reading::objects_are_described,
        writing::objects_are_changed,
        writing::objects_are_deleted,
        reading::changes_are_followed,
    ]
}

/// kubectl, and the API that it talks to.
pub struct Kubectl {
    /// The program.
    pub program: PathBuf,
    /// Arguments that lead to the API.
    pub connection: Vec<String>,
    /// A folder of its own, for what it keeps between two calls.
    pub home: PathBuf,
    /// A namespace that exists, for this scenario alone.
    pub namespace: String,
}

/// What waits for output that does not come.
const LIMIT: Duration = Duration::from_secs(60);

const OBJECTS: &str = r#"
apiVersion: tekton.dev/v1
kind: Task
metadata: {name: build, labels: {hookrun.dev/flow: a}}
spec: {steps: [{name: a, image: alpine, script: "echo hi"}]}
---
apiVersion: tekton.dev/v1
kind: PipelineRun
metadata: {name: run, labels: {hookrun.dev/flow: a}}
spec:
  managedBy: suite.dev/nobody
  pipelineSpec: {tasks: [{name: a, taskRef: {name: build}}]}
---
apiVersion: v1
kind: Secret
metadata: {name: keys, labels: {hookrun.dev/flow: a}}
data: {k: dg==}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {k: v}
"#;

impl Kubectl {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.connection)
            .args(["--namespace", &self.namespace])
            .args(arguments)
            .current_dir(&self.home)
            .env("HOME", &self.home)
            .env_remove("KUBECONFIG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Success, and what is printed; `input` is the file `-`.
    fn run(&self, arguments: &[&str], input: &str) -> Result<(bool, String, String)> {
        let mut child = self.command(arguments).spawn()?;
        child
            .stdin
            .take()
            .context("no input")?
            .write_all(input.as_bytes())?;
        let output = child.wait_with_output()?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok((
            output.status.success(),
            text(output.stdout),
            text(output.stderr),
        ))
    }

    /// What a command prints that must succeed.
    pub(crate) fn ok(&self, arguments: &[&str], input: &str) -> Result<String> {
        let (success, output, errors) = self.run(arguments, input)?;
        ensure!(success, "kubectl {}: {errors}", arguments.join(" "));
        Ok(output)
    }

    /// A command that prints exactly these lines.
    fn says(&self, arguments: &[&str], input: &str, lines: &[&str]) -> Result<()> {
        let output = self.ok(arguments, input)?;
        let got: Vec<&str> = output.lines().collect();
        ensure!(
            got == lines,
            "kubectl {}: expected {lines:#?}, got {got:#?}",
            arguments.join(" ")
        );
        Ok(())
    }

    /// A command that prints lines with these words, in this order; others may be between them.
    pub(crate) fn shows(&self, arguments: &[&str], lines: &[&[&str]]) -> Result<()> {
        let output = self.ok(arguments, "")?;
        let mut rest = output.lines();
        for words in lines {
            let found = rest.any(|line| {
                line.split_whitespace()
                    .collect::<Vec<_>>()
                    .starts_with(words)
            });
            ensure!(
                found,
                "kubectl {}: no line {words:?} in its place:\n{output}",
                arguments.join(" ")
            );
        }
        Ok(())
    }

    /// A command that fails with this message.
    fn fails(&self, arguments: &[&str], input: &str, message: &str) -> Result<()> {
        let (success, output, errors) = self.run(arguments, input)?;
        ensure!(
            !success,
            "kubectl {} succeeded: {output}",
            arguments.join(" ")
        );
        ensure!(
            errors.contains(message),
            "kubectl {}: expected {message:?}, got {errors}",
            arguments.join(" ")
        );
        Ok(())
    }
}

/// The lines of a stream as they come.
fn lines(stream: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

fn wait_for(lines: &mpsc::Receiver<String>, words: &[&str]) -> Result<()> {
    loop {
        let line = lines
            .recv_timeout(LIMIT)
            .with_context(|| format!("no line {words:?}"))?;
        if line
            .split_whitespace()
            .collect::<Vec<_>>()
            .starts_with(words)
        {
            return Ok(());
        }
    }
}
