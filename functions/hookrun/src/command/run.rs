//! `hookrun run`: post a flow, follow its run, end with its verdict.
//!
//! It is a client like any other: it posts to the flow function and then watches the PipelineRun with the rights of
//! whoever runs it. It never sends a password over a connection that it was not told to use.

mod follow;

use std::{fs, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::time::Instant;

use self::follow::{Pace, Verdict, follow};
use super::{complain, input, say};
use crate::cli;

// The exit codes, as the help of the command lists them. 0 is success.
const FAILED: u8 = 1;
const NOT_STARTED: u8 = 2;
const NOT_ENDED: u8 = 3;
const NOT_FOLLOWED: u8 = 4;

/// Runs the command.
pub(crate) async fn run(options: cli::Run) -> anyhow::Result<ExitCode> {
    let posted = match client() {
        Ok(client) => post(&client, &options).await.map(|posted| (client, posted)),
        Err(error) => Err(error),
    };
    let (client, posted) = match posted {
        Ok(posted) => posted,
        Err(error) => {
            complain(&error);
            return Ok(ExitCode::from(NOT_STARTED));
        }
    };
    let Posted { namespace, run } = &posted;
    say(&format!("{namespace}/{run} created"));
    if options.detach {
        return Ok(ExitCode::SUCCESS);
    }
    if is_embedded(&client, &options.url).await {
        say("this is the embedded mode: the run is recorded, and nothing executes it");
        return Ok(ExitCode::SUCCESS);
    }
    let deadline = Instant::now() + Duration::from_secs(options.timeout);
    let followed = match cluster::connect(&options.connection).await {
        Ok(cluster) => follow(cluster, namespace, run, deadline, &Pace::default()).await,
        Err(error) => Err(error.into()),
    };
    Ok(match followed {
        Ok(Verdict::Succeeded) => ExitCode::SUCCESS,
        Ok(Verdict::Failed) => ExitCode::from(FAILED),
        Ok(Verdict::TimedOut) => {
            say(&format!(
                "{namespace}/{run} has not ended after {} s",
                options.timeout
            ));
            ExitCode::from(NOT_ENDED)
        }
        Err(error) => {
            complain(
                &error.context(
                    "the run was created, but cannot be followed (--detach does not try to)",
                ),
            );
            ExitCode::from(NOT_FOLLOWED)
        }
    })
}

/// What the function created.
#[derive(Debug)]
struct Posted {
    namespace: String,
    run: String,
}

/// A redirect would take the password, or the flow, to where nobody sent it.
fn client() -> anyhow::Result<reqwest::Client> {
    reqwest::Client::builder()
        .timeout(Duration::from_secs(60))
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .context("cannot make an HTTP client")
}

/// Posts the flow.
async fn post(client: &reqwest::Client, options: &cli::Run) -> anyhow::Result<Posted> {
    let document = input::read(&options.file)?;
    let base = options.url.trim_end_matches('/');
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
    let response = request
        .send()
        .await
        .map_err(reqwest::Error::without_url)
        .with_context(|| format!("cannot reach the flow function at {base}"))?;
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
        .map(|(namespace, run)| Posted {
            namespace: namespace.to_owned(),
            run: run.to_owned(),
        })
        .with_context(|| format!("{base} answered {status}, but not as the flow function does"))
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
async fn is_embedded(client: &reqwest::Client, url: &str) -> bool {
    let version = async {
        let answer = client
            .get(format!("{}/version", url.trim_end_matches('/')))
            .timeout(Duration::from_secs(5))
            .send()
            .await
            .ok()?;
        let version: Value = serde_json::from_slice(&answer.bytes().await.ok()?).ok()?;
        Some(version["gitVersion"].as_str()?.contains("hookrun"))
    };
    version.await.unwrap_or(false)
}
