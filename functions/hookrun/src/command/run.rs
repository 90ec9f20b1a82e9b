//! `hookrun run`: post a flow, follow its run, end with its verdict.
//!
//! It is a client like any other: it posts to the flow function and then watches the PipelineRun with the rights of
//! whoever runs it. It never sends a password over a connection that it was not told to use.

use std::{collections::BTreeMap, fs, io::Read, path::Path, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use futures_util::StreamExt;
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, WatchEvent, WatchParams},
};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout_at};

use super::say;
use crate::cli;

/// Longest document that is read from a file.
const DOCUMENT_BYTES: u64 = 64 << 20;

/// How a followed run ended.
enum Verdict {
    Succeeded,
    Failed,
    TimedOut,
}

/// Runs the command.
pub(crate) async fn run(options: cli::Run) -> anyhow::Result<ExitCode> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (run, namespace) = match post(&options).await {
        Ok(posted) => posted,
        Err(error) => {
            super::complain(&error);
            return Ok(ExitCode::from(2));
        }
    };
    say(&format!("{namespace}/{run} created"));
    if options.detach {
        return Ok(ExitCode::SUCCESS);
    }
    if is_embedded(&options.url).await {
        say("this is the embedded mode: the run is recorded, and nothing executes it");
        return Ok(ExitCode::SUCCESS);
    }
    let client = cluster::connect(&options.connection)
        .await
        .context("the run was created, but cannot be followed (--detach does not try)")?;
    let deadline = Instant::now() + Duration::from_secs(options.timeout);
    Ok(match follow(client, &namespace, &run, deadline).await? {
        Verdict::Succeeded => ExitCode::SUCCESS,
        Verdict::Failed => ExitCode::from(1),
        Verdict::TimedOut => {
            say(&format!(
                "{namespace}/{run} has not ended after {} s",
                options.timeout
            ));
            ExitCode::from(3)
        }
    })
}

/// Posts the flow; the run's name and namespace.
async fn post(options: &cli::Run) -> anyhow::Result<(String, String)> {
    let document = read(&options.file)?;
    let base = options.url.trim_end_matches('/');
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(60))
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    let mut request = client
        .post(format!("{base}/flow"))
        .header("Content-Type", "application/json")
        .body(document);
    if let Some(password) = password(options)? {
        request = request.basic_auth(&options.username, Some(password));
    }
    if let Some(key) = &options.idempotency_key {
        request = request.header("Idempotency-Key", key);
    }
    let response = request.send().await.map_err(|error| {
        anyhow::anyhow!(
            "cannot reach the flow function at {base}: {}",
            causes(&error)
        )
    })?;
    let status = response.status();
    let header = |name: &str| {
        let value = response.headers().get(name)?.to_str().ok()?;
        Some(value.to_owned())
    };
    let named = header(flow::RUN_HEADER);
    let text = response.text().await.unwrap_or_default();
    if !status.is_success() {
        bail!("the flow function answered {status}: {}", text.trim_end());
    }
    named
        .as_deref()
        .and_then(|named| named.split_once('/'))
        .map(|(namespace, run)| (run.to_owned(), namespace.to_owned()))
        .with_context(|| format!("{base} answered {status}, but not as the flow function does"))
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let reader: Box<dyn Read> = if file.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(fs::File::open(file).with_context(|| format!("cannot open {}", file.display()))?)
    };
    reader
        .take(DOCUMENT_BYTES + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {}", file.display()))?;
    if bytes.len() as u64 > DOCUMENT_BYTES {
        bail!("{} is larger than {DOCUMENT_BYTES} bytes", file.display());
    }
    Ok(bytes)
}

fn password(options: &cli::Run) -> anyhow::Result<Option<String>> {
    match &options.password_file {
        Some(file) => fs::read_to_string(file)
            .map(|text| Some(text.trim_end_matches(['\r', '\n']).to_owned()))
            .with_context(|| format!("cannot read the password from {}", file.display())),
        None => Ok(std::env::var("HOOKRUN_PASSWORD")
            .ok()
            .filter(|text| !text.is_empty())),
    }
}

/// Whether the function is served by `hookrun dev` with its own Kubernetes API, which executes nothing.
async fn is_embedded(url: &str) -> bool {
    let version = async {
        let answer = reqwest::get(format!("{}/version", url.trim_end_matches('/')))
            .await
            .ok()?;
        let version: Value = serde_json::from_slice(&answer.bytes().await.ok()?).ok()?;
        Some(version["gitVersion"].as_str()?.contains("hookrun"))
    };
    version.await.unwrap_or(false)
}

/// Watches the run until it has ended or the time is over, telling each change once.
async fn follow(
    client: kube::Client,
    namespace: &str,
    run: &str,
    deadline: Instant,
) -> anyhow::Result<Verdict> {
    let runs = tekton(&client, namespace, "PipelineRun");
    let tasks = tekton(&client, namespace, "TaskRun");
    let selected = WatchParams::default()
        .fields(&format!("metadata.name={run}"))
        .timeout(60);
    let mut told = Told::default();
    loop {
        let attempt = async {
            let current = runs.get_opt(run).await?;
            let Some(current) = current else {
                return Ok(Some(Verdict::Failed));
            };
            if let Some(verdict) = told.tell(&current, &tasks).await {
                return Ok(Some(verdict));
            }
            let version = current.resource_version().unwrap_or_default();
            let mut events = std::pin::pin!(runs.watch(&selected, &version).await?);
            while let Some(event) = events.next().await {
                match event? {
                    WatchEvent::Added(run) | WatchEvent::Modified(run) => {
                        if let Some(verdict) = told.tell(&run, &tasks).await {
                            return Ok(Some(verdict));
                        }
                    }
                    WatchEvent::Deleted(_) => {
                        say("the run was deleted");
                        return Ok(Some(Verdict::Failed));
                    }
                    WatchEvent::Bookmark(_) => {}
                    // The watch is too old or broken; the next round starts from the current state.
                    WatchEvent::Error(_) => break,
                }
            }
            Ok::<_, kube::Error>(None)
        };
        match timeout_at(deadline, attempt).await {
            Err(_) => return Ok(Verdict::TimedOut),
            Ok(Ok(Some(verdict))) => return Ok(verdict),
            Ok(Ok(None)) => {}
            Ok(Err(kube::Error::Api(status)))
                if status.code < 500 && status.code != 410 && status.code != 429 =>
            {
                return Err(kube::Error::Api(status)).context("cannot follow the run");
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "the watch broke off");
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

fn tekton(client: &kube::Client, namespace: &str, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("tekton.dev", "v1", kind));
    Api::namespaced_with(client.clone(), namespace, &resource)
}

/// What has been told already, so that each change is told once.
#[derive(Default)]
struct Told {
    state: String,
    steps: BTreeMap<String, String>,
}

impl Told {
    /// Tells what is new; the verdict when the run has ended.
    async fn tell(&mut self, run: &DynamicObject, tasks: &Api<DynamicObject>) -> Option<Verdict> {
        self.tell_steps(run, tasks).await;
        let condition = succeeded(&run.data)?;
        let text = |field: &str| condition[field].as_str().unwrap_or_default();
        let state = format!("{}: {}", text("reason"), text("message"));
        if self.state != state {
            say(&state);
            self.state = state;
        }
        match text("status") {
            "True" => Some(Verdict::Succeeded),
            "False" => Some(Verdict::Failed),
            _ => None,
        }
    }

    /// Tells the steps of the run's tasks. They are an extra: without the right to read them the run is still followed.
    async fn tell_steps(&mut self, run: &DynamicObject, tasks: &Api<DynamicObject>) {
        let selected =
            ListParams::default().labels(&format!("tekton.dev/pipelineRun={}", run.name_any()));
        let Ok(list) = tasks.list(&selected).await else {
            return;
        };
        for task in list {
            for step in task.data["status"]["steps"]
                .as_array()
                .into_iter()
                .flatten()
            {
                let name = step["name"].as_str().unwrap_or_default();
                let state = if let Some(ended) = step.get("terminated") {
                    format!(
                        "{} (exit code {})",
                        ended["reason"].as_str().unwrap_or("ended"),
                        ended["exitCode"]
                    )
                } else if step.get("running").is_some() {
                    "running".to_owned()
                } else {
                    continue;
                };
                let key = format!("{}/{name}", task.name_any());
                if self.steps.get(&key) != Some(&state) {
                    say(&format!("  step {name}: {state}"));
                    self.steps.insert(key, state);
                }
            }
        }
    }
}

/// The condition that says how a run is doing.
fn succeeded(run: &Value) -> Option<&Value> {
    run["status"]["conditions"]
        .as_array()?
        .iter()
        .find(|condition| condition["type"] == "Succeeded")
}

/// An error with its causes on one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
