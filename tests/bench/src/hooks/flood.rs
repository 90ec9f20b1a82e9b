//! Requests that nobody has signed: how many one process turns away, what that costs it, and what it leaves behind.

use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use bytes::Bytes;
use control_plane::Cluster;
use http::{HeaderMap, Request, StatusCode};

use super::{
    HOOK,
    scene::Scene,
    sender::{Sender, signed},
};
use crate::{
    Arguments,
    table::{Table, mebibytes, time},
    wire::Target,
};

/// Connections over which they come.
const CONNECTIONS: usize = 64;

/// What signs a forged request.
const FORGED: &str = "not what the Hook knows";

/// Requests that change something, as the API server counts them.
const WRITES: [&str; 6] = [
    "POST",
    "PUT",
    "PATCH",
    "APPLY",
    "DELETE",
    "DELETECOLLECTION",
];

pub(super) async fn measure(
    table: &mut Table,
    arguments: &Arguments,
    cluster: &Cluster,
) -> Result<()> {
    let scene = Scene::new(cluster).await?;
    scene.hook(HOOK).await?;
    let function = scene.function().start().await?;
    let target = Target::open(function.address())?;
    let flood = Flood::of(scene.sender(HOOK)?, target)?;
    // What happens once is no part of it: connections, and the status that tells of the first one.
    flood.during(arguments.turn()).await?;

    let (memory, written) = (function.memory()?, writes(cluster).await?);
    let (used, began) = (processor_time(function.id())?, Instant::now());
    let count = flood.during(arguments.measured()).await?;
    let took = began.elapsed();
    let used = processor_time(function.id())?.saturating_sub(used);
    let after = function.memory()?;
    let each = used / u32::try_from(count.max(1))?;
    table.row(
        format!("forged requests/s turned away, {CONNECTIONS} connections"),
        format!("{:.0}", count as f64 / took.as_secs_f64()),
        format!("{} of processor time each", time(each)),
        "",
        "≥ 10000",
    );
    table.row(
        format!("memory after {count} forged requests"),
        mebibytes(after),
        format!("{} before", mebibytes(memory)),
        format!("{:.2}", after as f64 / memory as f64),
        "flat: about 1",
    );
    let more = more(&written, &writes(cluster).await?);
    table.row(
        format!("writes for {count} forged requests"),
        more.values().sum::<u64>().to_string(),
        told(&more),
        "",
        "no more than the status, once a minute",
    );
    Ok(())
}

/// Forged requests, all the same.
#[derive(Clone)]
struct Flood {
    sender: Sender,
    target: Target,
    headers: HeaderMap,
    body: Bytes,
}

impl Flood {
    fn of(sender: Sender, target: Target) -> Result<Self> {
        let body = sender.payload(0);
        Ok(Self {
            headers: signed(FORGED, 0, body.as_bytes())?,
            body: body.into(),
            sender,
            target,
        })
    }

    /// Sends as many as are answered in some time; how many that were.
    async fn during(&self, during: Duration) -> Result<usize> {
        let count = Arc::new(AtomicUsize::new(0));
        let mut open = Vec::new();
        for _ in 0..CONNECTIONS {
            open.push(self.target.connect().await?);
        }
        let began = Instant::now();
        let workers = open.into_iter().map(|mut connection| {
            let (flood, count) = (self.clone(), Arc::clone(&count));
            tokio::spawn(async move {
                while began.elapsed() < during {
                    let (headers, body) = (flood.headers.clone(), flood.body.clone());
                    let answer = flood.sender.send(&mut connection, headers, body).await?;
                    ensure!(answer == StatusCode::UNAUTHORIZED, "answered {answer}");
                    count.fetch_add(1, Ordering::Relaxed);
                }
                anyhow::Ok(())
            })
        });
        for worker in workers.collect::<Vec<_>>() {
            worker.await??;
        }
        Ok(count.load(Ordering::Relaxed))
    }
}

/// The time that a process has been on a processor, all its threads together.
fn processor_time(process: u32) -> Result<Duration> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let told = fs::read_to_string(thread?.path().join("schedstat"))?;
        let on_processor = told.split(' ').next().unwrap_or_default();
        nanoseconds += on_processor.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// How often the API server was asked to change what a webhook can change, by resource.
async fn writes(cluster: &Cluster) -> Result<BTreeMap<String, u64>> {
    let request = Request::get("/metrics").body(Vec::new())?;
    let told = cluster.admin().request_text(request).await?;
    let mut counted = BTreeMap::new();
    for line in told.lines() {
        let Some((labels, count)) = line
            .strip_prefix("apiserver_request_total{")
            .and_then(|line| line.rsplit_once("} "))
        else {
            continue;
        };
        let label = |name: &str| {
            let (_, rest) = labels.split_once(&format!("{name}=\""))?;
            rest.split('"').next()
        };
        let [verb, group, resource, part] = ["verb", "group", "resource", "subresource"]
            .map(|name| label(name).unwrap_or_default());
        let concerned = ["hookrun.dev", "tekton.dev"].contains(&group)
            || ["secrets", "configmaps", "events", "pods"].contains(&resource);
        if concerned && WRITES.contains(&verb) {
            let what = format!("{resource}/{part}");
            *counted.entry(what).or_default() += count.trim().parse::<f64>()? as u64;
        }
    }
    ensure!(
        !counted.is_empty(),
        "the API server does not count requests"
    );
    Ok(counted)
}

/// What has come to one count by the time of another.
fn more(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let more = after.iter().filter_map(|(what, count)| {
        let count = count - before.get(what).copied().unwrap_or_default();
        (count > 0).then(|| (what.trim_end_matches('/').to_owned(), count))
    });
    more.collect()
}

fn told(more: &BTreeMap<String, u64>) -> String {
    let told = more
        .iter()
        .map(|(what, count)| format!("{count} of {what}"));
    told.collect::<Vec<_>>().join(", ")
}
