//! The functions that only take events: `hookrun dead-letters` and `hookrun sweeper`, as processes.

use std::{
    fs,
    process::Command,
    time::{Duration, SystemTime},
};

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use control_plane::{Process, eventually, free_ports, until};
use reqwest::{Client, RequestBuilder};
use serde_json::Value;
use store::{PayloadPlaceOptions, PayloadStoreOptions};
use tempfile::TempDir;

use crate::{
    case::{Case, case},
    function::executable,
    s3::S3,
    support::ask,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// The cases. None needs the cluster.
#[must_use]
pub fn cases() -> Vec<Case> {
    vec![
        case(
            "sinks::an_event_that_nobody_took_is_told_of_without_its_data",
            async |_| {
                let sink = Sink::start(&["dead-letters"], &[]).await?;
                let event = sink
                    .event("dev.hookrun.flow")
                    .header("ce-knativeerrordest", "http://filter/triggers/blue/import")
                    .header("ce-knativeerrorcode", "422")
                    .body("an open secret");
                let answer = ask(event).await?;
                ensure!(answer.status == 200 && answer.text.is_empty(), "{answer:?}");
                let log = sink.process.output();
                let line = log
                    .lines()
                    .filter_map(|line| serde_json::from_str::<Value>(line).ok())
                    .find(|line| line["level"] == "ERROR");
                let Some(line) = line else {
                    bail!("nothing was told: {log}");
                };
                let (span, expected) = (&line["span"], "cloudevent /tests/sinks 7");
                ensure!(
                    line["receiver"] == "http://filter/triggers/blue/import"
                        && line["status"] == "422"
                        && line["bytes"] == 14
                        && span["event.id"] == expected
                        && span["event.type"] == "dev.hookrun.flow",
                    "{line:#}"
                );
                ensure!(!log.contains("open secret"), "{log}");
                // It is for events alone.
                let plain = ask(sink.client.post(&sink.url).body("{}")).await?;
                ensure!(plain.status == 401, "{plain:?}");
                Ok(())
            },
        ),
        case(
            "sinks::a_ping_sweeps_what_is_over_and_nothing_else",
            async |cluster| {
                let s3 = S3::start(&cluster).await?;
                let location = "s3://payloads/pay";
                let second = Duration::from_secs(1);
                let store = PayloadStoreOptions {
                    place: PayloadPlaceOptions {
                        payload_store: Some(location.parse().map_err(anyhow::Error::msg)?),
                        payload_store_timeout: PATIENCE,
                        payload_store_ca: None,
                    },
                    payload_expiry: second,
                    payload_retention: second,
                    payload_sweep_timeout: PATIENCE,
                };
                let Some(payloads) = store.open(&s3.credentials())? else {
                    bail!("no store");
                };
                let text = Bytes::from_static(b"x");
                payloads.put("blue", "old", text).await?;
                fs::write(s3.bucket().join("pay/readme.txt"), "not ours")?;
                let mut environment = s3.environment();
                for (name, value) in [
                    ("HOOKRUN_PAYLOAD_STORE", location),
                    ("HOOKRUN_PAYLOAD_EXPIRY", "1s"),
                    ("HOOKRUN_PAYLOAD_RETENTION", "2s"),
                ] {
                    environment.push((name.to_owned(), value.to_owned()));
                }
                let sink = Sink::start(&["sweeper"], &environment).await?;
                let stored = SystemTime::now();
                until("the old payload is gone", PATIENCE, async || {
                    let answer = ask(sink.event("dev.knative.sources.ping").body("")).await?;
                    ensure!(answer.status == 200, "{answer:?}");
                    Ok(s3.objects()? == ["pay/readme.txt"])
                })
                .await?;
                ensure!(stored.elapsed()? >= second, "it went before its time");
                Ok(())
            },
        ),
        case(
            "sinks::a_sweep_that_fails_is_to_be_sent_again",
            async |_| {
                let nowhere = [
                    ("HOOKRUN_PAYLOAD_STORE", "s3://payloads/pay"),
                    ("HOOKRUN_PAYLOAD_STORE_TIMEOUT", "1s"),
                    ("AWS_ENDPOINT", "http://127.0.0.1:9"),
                    ("AWS_ALLOW_HTTP", "true"),
                    ("AWS_ACCESS_KEY_ID", "test"),
                    ("AWS_SECRET_ACCESS_KEY", "test"),
                ]
                .map(|(name, value)| (name.to_owned(), value.to_owned()));
                let sink = Sink::start(&["sweeper"], &nowhere).await?;
                let answer = ask(sink.event("dev.knative.sources.ping").body("")).await?;
                answer.told_to_broker(503)
            },
        ),
        case(
            "sinks::a_sweep_without_a_store_has_nothing_to_do",
            async |_| {
                let sink = Sink::start(&["sweeper"], &[]).await?;
                let answer = ask(sink.event("dev.knative.sources.ping").body("")).await?;
                ensure!(answer.status == 200, "{answer:?}");
                let once = Command::new(executable())
                    .env_clear()
                    .arg("sweep")
                    .output()?;
                let said = String::from_utf8_lossy(&once.stderr);
                ensure!(
                    once.status.success() && said.contains("HOOKRUN_PAYLOAD_STORE"),
                    "{once:?}"
                );
                Ok(())
            },
        ),
    ]
}

/// A function that takes events; it ends with the value.
struct Sink {
    process: Process,
    url: String,
    client: Client,
    _folder: TempDir,
}

impl Sink {
    /// Starts it as the manifests do, for events without credentials, and waits until it is ready.
    async fn start(arguments: &[&str], environment: &[(String, String)]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let [port] = free_ports()?;
        let mut command = Command::new(executable());
        command
            .args(arguments)
            .env_clear()
            .env("PORT", port.to_string())
            .env("HOOKRUN_CLUSTER_LOCAL", "true")
            .envs(environment.iter().cloned());
        let process = Process::start("hookrun", command, &folder.path().join("log"))?;
        let mut sink = Self {
            process,
            url: format!("http://127.0.0.1:{port}/"),
            client: Client::builder().no_proxy().build()?,
            _folder: folder,
        };
        let ready = format!("{}readyz", sink.url);
        eventually("the function is ready", PATIENCE, async || {
            if let Some(status) = sink.process.ended()? {
                bail!("it ended ({status}): {}", sink.process.output());
            }
            let answer = sink.client.get(&ready).send().await;
            Ok(answer
                .is_ok_and(|answer| answer.status().is_success())
                .then_some(()))
        })
        .await?;
        Ok(sink)
    }

    /// A CloudEvent without data yet.
    fn event(&self, kind: &str) -> RequestBuilder {
        self.client
            .post(&self.url)
            .header("ce-specversion", "1.0")
            .header("ce-id", "7")
            .header("ce-source", "/tests/sinks")
            .header("ce-type", kind)
    }
}
