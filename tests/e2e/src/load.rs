//! More than a pod can do: it says so at once, stays within its memory, and goes on as if nothing had been.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use control_plane::until;
use http::Request;
use serde_json::{Value, json};
use system_tests::{
    case::Case,
    support::{ask, objects::name},
};
use tokio::task::JoinSet;

use crate::{
    artisan::{flow, step},
    install::{FLOW, STORM},
    world::{PATIENCE, QUEUE, World, case, restarts},
};

pub(crate) fn cases() -> Vec<Case<World>> {
    vec![
        case(
            "load::beyond_its_capacity_a_pod_answers_503_keeps_its_memory_and_recovers_at_once",
            300,
            STORM,
            beyond,
        )
        .alone(),
    ]
}

/// Senders at a time, of which every fourth one posts bodies of [`LARGE`]; the function handles eight requests at a time.
const SENDERS: usize = 80;
const LARGE: usize = 8 * 1024 * 1024;
const SMALL: usize = 64 * 1024;
/// How long they go on.
const TIME: Duration = Duration::from_secs(20);
/// What the manifests give to the pod.
const LIMIT: u64 = 384 * 1024 * 1024;

async fn beyond(world: Arc<World>) -> Result<()> {
    let flow = flow("E2E Load", QUEUE, &[step(&world, "none", "true")]);
    world.store("ART_FLOW_e2e-load", &flow).await?;
    let path = format!("/flow/key/ART_FLOW_e2e-load/ns/{QUEUE}");
    let gateway = world.reach(&world.storm)?;
    // One event for all, so that the cluster has one run to keep.
    let small = || {
        gateway
            .post(&path)
            .header("idempotency-key", "load")
            .body(vec![b'x'; SMALL])
    };
    ask(small()).await?.run()?;
    let selector = format!("serving.knative.dev/service={FLOW}");
    let pods = world.pods(STORM, &selector).await?;
    ensure!(pods.len() == 1, "{} pods", pods.len());
    let pod = name(&pods[0]).to_owned();
    let node = pods[0]["spec"]["nodeName"]
        .as_str()
        .context("a node")?
        .to_owned();

    let end = Instant::now() + TIME;
    let mut senders = JoinSet::new();
    for number in 0..SENDERS {
        let (gateway, path) = (gateway.clone(), path.clone());
        senders.spawn(async move {
            let size = if number % 4 == 0 { LARGE } else { SMALL };
            let mut answers = BTreeMap::<String, usize>::new();
            while Instant::now() < end {
                let request = gateway
                    .post(&path)
                    .header("idempotency-key", "load")
                    .body(vec![b'x'; size]);
                let told = match ask(request).await {
                    Ok(answer) if answer.status == 200 => "200".to_owned(),
                    Ok(answer) if !answer.header("retry-after").is_empty() => {
                        format!("{} with Retry-After", answer.status)
                    }
                    Ok(answer) => format!(
                        "{}: {} ({size} bytes sent)",
                        answer.status,
                        answer.text.trim()
                    ),
                    Err(error) => format!("{error:#}"),
                };
                *answers.entry(told).or_default() += 1;
            }
            answers
        });
    }
    let mut most = 0;
    while Instant::now() < end {
        most = most.max(memory(&world, &node, &pod).await?);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let mut answers = BTreeMap::<String, usize>::new();
    while let Some(told) = senders.join_next().await {
        for (told, count) in told? {
            *answers.entry(told).or_default() += count;
        }
    }
    let recovering = Instant::now();
    until("it works again", Duration::from_secs(5), async || {
        Ok(ask(small()).await?.status == 200)
    })
    .await?;
    eprintln!(
        "e2e: beyond capacity: {answers:?}, at most {:.0} MiB, again after {:.2} s",
        most as f64 / 1_048_576.0,
        recovering.elapsed().as_secs_f32()
    );
    ensure!(
        answers.contains_key("200"),
        "nothing was accepted: {answers:?}"
    );
    ensure!(
        answers.contains_key("503 with Retry-After"),
        "nothing was refused: {answers:?}"
    );
    // Also of large bodies that were refused before they were read: the gateway passes the function's answer on.
    let expected = ["200", "503 with Retry-After"];
    ensure!(
        answers.keys().all(|told| expected.contains(&told.as_str())),
        "{answers:?}"
    );
    ensure!(most > 0 && most < LIMIT, "{most} bytes of {LIMIT}");
    let pods = world.pods(STORM, &selector).await?;
    ensure!(
        pods.len() == 1 && name(&pods[0]) == pod && restarts(&pods[0]) == 0,
        "{:#}",
        json!(pods)
    );
    let runs = world.runs_of(QUEUE, "load").await?;
    ensure!(runs.len() == 1, "{} runs", runs.len());
    until("its memory is known afterwards", PATIENCE, async || {
        Ok(memory(&world, &node, &pod).await? > 0)
    })
    .await
}

/// The memory of the function's container as the kubelet counts it against the limit.
async fn memory(world: &World, node: &str, pod: &str) -> Result<u64> {
    let request =
        Request::get(format!("/api/v1/nodes/{node}/proxy/stats/summary")).body(Vec::new())?;
    let summary: Value = world.admin.request(request).await?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let pods = list(&summary["pods"]);
    let of = pods.iter().find(|it| it["podRef"]["name"] == pod);
    let containers = of.map(|of| list(&of["containers"])).unwrap_or_default();
    let container = containers
        .iter()
        .find(|container| container["name"] == "hookrun");
    Ok(container
        .and_then(|container| container["memory"]["workingSetBytes"].as_u64())
        .unwrap_or_default())
}
