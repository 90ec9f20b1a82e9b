//! The sweep over as many Deliveries as a thousand busy Hooks keep: time and memory.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use control_plane::{Account, Cluster, Process};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use system_tests::function::repository;

use super::{
    HOOK,
    scene::{Scene, hook},
};
use crate::{
    Arguments,
    events::number,
    process::peak,
    table::{Table, mebibytes, time},
    wire::Target,
};

/// Deliveries of each Hook, which is what it keeps unless it says otherwise; and how many are past that in the end.
const EACH: usize = 100;
const PAST: usize = 5;

/// Their age in hours. What is young is kept however many there are.
const AGE: i64 = 24;

pub(super) async fn measure(
    table: &mut Table,
    arguments: &Arguments,
    cluster: &Cluster,
) -> Result<()> {
    let scene = Scene::new(cluster).await?;
    let sample = sample(&scene).await?;
    let account = cluster.account("hookrun-sweep").await?;
    let role = repository().join("knative/hooks/sweep-role.yaml");
    cluster.grant(&role, &scene.namespace, &account).await?;
    let sweep = Sweep {
        arguments,
        cluster,
        account,
        namespace: scene.namespace.clone(),
    };

    let hooks = arguments.deliveries.div_ceil(EACH);
    let numbered = |number: usize| delivery(&sample, number % hooks, number);
    scene
        .create_all("hooks", 0..hooks, |at| hook(&name(at)))
        .await?;
    scene
        .create_all("deliveries", 0..arguments.deliveries, numbered)
        .await?;
    let (all, more) = (arguments.deliveries, hooks * PAST);
    let figure = format!("sweep over {all} Deliveries of {hooks} Hooks");
    sweep
        .run(table, &format!("{figure}, all Hooks new"))
        .await?;
    sweep
        .run(table, &format!("{figure}, nothing to do"))
        .await?;
    scene
        .create_all("deliveries", all..all + more, numbered)
        .await?;
    let figure = format!("sweep when {more} of {} are past their time", all + more);
    let told = sweep.run(table, &figure).await?;
    ensure!(!told.contains("deleted 0,"), "the sweep {told}");
    Ok(())
}

fn name(hook: usize) -> String {
    format!("hook-{hook}")
}

/// A Delivery as the function writes it, as if it had come a while ago.
async fn sample(scene: &Scene<'_>) -> Result<Value> {
    scene.hook(HOOK).await?;
    let function = scene.function().start().await?;
    let target = Target::open(function.address())?;
    let mut sample = scene.sample(&target, &scene.sender(HOOK)?).await?;
    let received = (Timestamp::now() - SignedDuration::from_hours(AGE)).to_string();
    sample["metadata"]["annotations"]["hookrun.dev/received-time"] = received.as_str().into();
    sample["receivedTime"] = received.into();
    Ok(sample)
}

/// The same for another Hook, under another name.
fn delivery(sample: &Value, hook: usize, number: usize) -> Value {
    let mut delivery = sample.clone();
    delivery["metadata"] = json!({
        "name": format!("{}-{number:010}", name(hook)),
        "labels": sample["metadata"]["labels"],
        "annotations": sample["metadata"]["annotations"],
    });
    delivery["metadata"]["labels"]["hookrun.dev/hook"] = name(hook).into();
    delivery["hook"]["name"] = name(hook).into();
    // Each its own payload, or the sweep would flag all but the first.
    let digest = format!("sha256:{number:032x}{number:032x}");
    delivery["metadata"]["annotations"]["hookrun.dev/payload-digest"] = digest.as_str().into();
    delivery["payload"]["digest"] = digest.into();
    delivery
}

/// Sweeps, each a process of its own as the CronJob of the manifests starts it.
struct Sweep<'a> {
    arguments: &'a Arguments,
    cluster: &'a Cluster,
    account: Account,
    namespace: String,
}

impl Sweep<'_> {
    /// What a sweep tells that it did.
    async fn run(&self, table: &mut Table, figure: &str) -> Result<String> {
        let kubeconfig = self
            .cluster
            .kubeconfig(self.cluster.url(), &self.account.token)?;
        let mut command = Command::new(&self.arguments.hookrun);
        command
            .arg("sweep")
            .env_clear()
            .env("KUBECONFIG", kubeconfig)
            .env("HOOKRUN_NAMESPACES", &self.namespace)
            .env("HOOKRUN_SWEEP_DELIVERIES", "true");
        let log = format!("sweep-{}.log", number());
        let log = self.cluster.logs().join(log);
        let (began, mut highest) = (Instant::now(), 0);
        let mut process = Process::start("sweep", command, &log)?;
        let status = loop {
            if let Some(status) = process.ended()? {
                break status;
            }
            // One that is about to end has no memory any more.
            highest = peak(process.id()).unwrap_or_default().max(highest);
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let took = began.elapsed();
        let output = process.output();
        ensure!(status.success(), "the sweep ended ({status}): {output}");
        let told = output
            .lines()
            .find(|line| line.starts_with("looked at"))
            .with_context(|| format!("the sweep does not tell what it did: {output}"))?;
        let left = output.contains("more is left");
        let told = format!("{told}{}", if left { "; more is left" } else { "" });
        let figures = format!("{}, {}", time(took), mebibytes(highest));
        table.row(figure, figures, told.clone(), "", "≤ 60 s");
        Ok(told)
    }
}
