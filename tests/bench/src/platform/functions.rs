//! The flow function as a Knative Service, beside a bare server in the same kind of one: start, latency, memory, and the way
//! of a CloudEvent through the Broker.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use bytes::Bytes;
use http::Method;
use serde_json::json;
use system_tests::samples::plain;

use super::{
    listener::Peer,
    load::Load,
    pods::Container,
    site::{BARE, BROKER_PORT, FLOW, NAMESPACE, RUNS, Site},
};
use crate::{
    table::{Table, median, time},
    wire::{Connection, Target},
};

/// Requests of each side for the latency, and events for the Broker.
const REQUESTS: usize = 200;
const EVENTS: usize = 30;

/// How long a CloudEvent may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The two functions.
const BOTH: [&str; 2] = [FLOW, BARE];

fn container(service: &str) -> Container {
    Container {
        namespace: NAMESPACE,
        selector: format!("serving.knative.dev/service={service}"),
        // The bare server's is the flow function's with another image.
        name: "hookrun",
    }
}

async fn targets(site: &Site) -> Result<[Target; 2]> {
    Ok([site.service(FLOW).await?, site.service(BARE).await?])
}

async fn healthz(connection: &mut Connection) -> Result<Duration> {
    let began = Instant::now();
    connection
        .send(Method::GET, "/healthz", "text/plain", Bytes::new())
        .await?;
    Ok(began.elapsed())
}

/// A kept-alive connection through Kourier, nothing else going on.
pub(super) async fn warm(table: &mut Table, site: &Site) -> Result<()> {
    let targets = targets(site).await?;
    let mut connections = [targets[0].connect().await?, targets[1].connect().await?];
    let mut times = [Vec::new(), Vec::new()];
    for sample in 0..=REQUESTS {
        for side in if sample % 2 == 0 { [0, 1] } else { [1, 0] } {
            let took = healthz(&mut connections[side]).await?;
            // The first may have had to start a pod.
            if sample > 0 {
                times[side].push(took);
            }
        }
    }
    let [hookrun, bare] = times.each_mut().map(|times| median(times));
    let more = hookrun.as_secs_f64() - bare.as_secs_f64();
    table.row(
        "GET /healthz through Kourier, warm",
        time(hookrun),
        format!("{} bare server", time(bare)),
        format!("{:+.2} ms", more * 1e3),
        "≤ 1 ms more",
    );
    Ok(())
}

/// From a CloudEvent at the Broker to its run.
pub(super) async fn broker(table: &mut Table, site: &Site, hookrun: &Peer) -> Result<()> {
    let mut connection = site.port(BROKER_PORT)?.connect().await?;
    let mut times = Vec::new();
    for number in 0..=EVENTS {
        let event = json!({
            "specversion": "1.0",
            "type": "dev.hookrun.flow",
            "source": "/bench",
            "id": number.to_string(),
            "datacontenttype": "application/json",
            "data": plain("bench event", RUNS),
        });
        let count = hookrun.runs.count()?;
        let began = Instant::now();
        let path = format!("/{NAMESPACE}/default");
        let kind = "application/cloudevents+json";
        connection
            .send(Method::POST, &path, kind, event.to_string())
            .await?;
        let came = hookrun.runs.more_than(count, PATIENCE).await?;
        // The first may have had to start a pod.
        if number > 0 {
            times.push(came.saturating_duration_since(began));
        }
    }
    table.row(
        "CloudEvent at the Broker to run, warm",
        time(median(&mut times)),
        "",
        "",
        "",
    );
    Ok(())
}

/// What the containers hold; the title says when.
pub(super) async fn memory(
    table: &mut Table,
    site: &Site,
    title: &str,
    peers: &[Arc<Peer>; 2],
) -> Result<()> {
    for peer in peers {
        peer.awake(site).await?;
    }
    let mut connection = site.service(BARE).await?.connect().await?;
    healthz(&mut connection).await?;
    let [hookrun, bare] = BOTH.map(container);
    // The limit of the kubelet's patience is the same for all, so they are asked at once.
    let (hookrun, bare, listener) = tokio::try_join!(
        hookrun.memory(site),
        bare.memory(site),
        peers[1].container.memory(site),
    )?;
    table.row(
        format!("memory {title}"),
        hookrun,
        format!("{bare} bare server, {listener} EventListener"),
        "",
        "",
    );
    Ok(())
}

/// As many events and requests for the functions as the EventListener has had: their pods come and go, its own stays.
pub(super) async fn feed(site: &Site, hookrun: &Arc<Peer>, events: usize) -> Result<()> {
    let load = Load {
        connections: 16,
        events,
        every: None,
    };
    hookrun.awake(site).await?;
    hookrun.bear(load, &Arc::default()).await?;
    let mut connection = site.service(BARE).await?.connect().await?;
    for _ in 0..events {
        healthz(&mut connection).await?;
    }
    Ok(())
}

/// From the last answer until the last pod is gone, as the manifests have it.
pub(super) async fn time_to_zero(table: &mut Table, site: &Site) -> Result<()> {
    let targets = targets(site).await?;
    for target in &targets {
        healthz(&mut target.connect().await?).await?;
    }
    let began = Instant::now();
    let [hookrun, bare] = BOTH.map(container);
    let gone = async |container: Container| -> Result<Duration> {
        container.gone(site).await?;
        Ok(began.elapsed())
    };
    let (hookrun, bare) = tokio::try_join!(gone(hookrun), gone(bare))?;
    table.row(
        "last answer to no pod",
        time(hookrun),
        format!("{} bare server", time(bare)),
        format!("{:.2}", hookrun.as_secs_f64() / bare.as_secs_f64()),
        "",
    );
    Ok(())
}

/// The first answer of a function that has no pod. So that zero comes sooner, the window is the shortest that there is.
pub(super) async fn from_zero(table: &mut Table, site: &Site, starts: usize) -> Result<()> {
    let window = json!({"autoscaling.knative.dev/window": "6s"});
    let patch = json!({"spec": {"template": {"metadata": {"annotations": window}}}}).to_string();
    for service in BOTH {
        let what = format!("services.serving.knative.dev/{service}");
        let words =
            format!("patch {what} --namespace {NAMESPACE} --type merge --patch-file /dev/stdin");
        site.kubectl(&words, &patch)?;
        site.ready(NAMESPACE, &what)?;
    }
    let targets = targets(site).await?;
    let mut times = [Vec::new(), Vec::new()];
    for start in 0..starts {
        let [hookrun, bare] = BOTH.map(container);
        tokio::try_join!(hookrun.gone(site), bare.gone(site))?;
        for side in if start % 2 == 0 { [0, 1] } else { [1, 0] } {
            let began = Instant::now();
            healthz(&mut targets[side].connect().await?).await?;
            times[side].push(began.elapsed());
        }
    }
    ensure!(starts > 0, "no start was asked for");
    let [hookrun, bare] = times.each_mut().map(|times| median(times));
    table.row(
        format!("first answer from zero through Kourier, {starts} starts"),
        time(hookrun),
        format!("{} bare server", time(bare)),
        format!("{:.2}", hookrun.as_secs_f64() / bare.as_secs_f64()),
        "≤ 1.05",
    );
    Ok(())
}
