//! Senders and authors of Hooks that mean harm: every request ends soon with a clear answer, what is not verified
//! leaves nothing behind, and the next honest event is handled as if nothing had been.

mod memory;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use control_plane::Cluster;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{HeaderValue, Method};
use serde_json::json;

use self::memory::{
    hostile_expressions_over_ten_mebibytes_end_soon,
    many_payloads_of_small_objects_stay_within_the_memory_of_a_pod,
};
use super::scene::{PATIENCE, SECRET, Scene, Sender, accepted, condition, push, rule};
use crate::{aftermath, case::Case, cases, faults::Faults, function::Function, support::ask};

const MIB: u64 = 1 << 20;

/// How long a hostile event may take, on a busy machine without optimisation.
const SOON: Duration = Duration::from_secs(30);

pub(super) fn cases() -> Vec<Case> {
    let mut cases = cases![
        hostile_expressions_over_ten_mebibytes_end_soon,
        bodies_that_cannot_be_read_are_on_record_and_start_nothing,
        headers_that_come_twice_prove_nothing,
        what_is_too_large_or_encoded_is_refused_and_not_stored,
        beyond_its_quota_a_hook_stores_and_the_sweep_starts,
        one_busy_hook_leaves_room_for_the_others,
    ];
    cases.extend(
        cases![
            forged_requests_by_the_thousand_write_nothing_and_leave_memory_flat,
            many_payloads_of_small_objects_stay_within_the_memory_of_a_pod,
        ]
        .into_iter()
        .map(Case::alone),
    );
    cases
        .into_iter()
        .map(|case| case.within(Duration::from_secs(300)))
        .collect()
}

/// The function serves an honest event, and has said nothing that it should not.
async fn is_well(function: &Function, sender: &Sender, id: &str) -> Result<()> {
    let told = sender.push(function, id).await?;
    ensure!(told["outcome"] == "Created", "an honest event: {told:#}");
    aftermath::discreet(function)
}

async fn bodies_that_cannot_be_read_are_on_record_and_start_nothing(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    let function = scene.function().await?;
    let sender = scene.shop().await?;
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let cases: [(&str, Vec<u8>); 5] = [
        ("deep", deep.into_bytes()),
        ("latin", b"{\"name\": \"caf\xe9\"}".to_vec()),
        ("surrogate", br#"{"name": "\ud800"}"#.to_vec()),
        ("half", br#"{"ref": "refs/heads/"#.to_vec()),
        ("empty", Vec::new()),
    ];
    for (id, body) in &cases {
        let began = Instant::now();
        let answer = sender.send(&function, "push", id, body).await?;
        let told = accepted(&answer).with_context(|| (*id).to_owned())?;
        let reason = told["reason"].as_str().unwrap_or_default();
        ensure!(
            told["outcome"] == "Failed" && !reason.is_empty(),
            "{id}: {told:#}"
        );
        ensure!(began.elapsed() < SOON, "{id} took {:?}", began.elapsed());
    }
    let deliveries = scene.deliveries("shop").await?.len();
    ensure!(deliveries == cases.len(), "{deliveries} Deliveries");
    ensure!(scene.runs("shop").await?.is_empty(), "there is a run");
    is_well(&function, &sender, "after").await
}

async fn headers_that_come_twice_prove_nothing(cluster: Arc<Cluster>) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    let function = scene.function().await?;
    let sender = scene.shop().await?;
    let body = push("1")?;
    let name = "x-hub-signature-256";
    let request = sender.request(&function, "push", "1", &body).build()?;
    let good = request.headers()[name].clone();
    let bad = HeaderValue::from_static(
        "sha256=0000000000000000000000000000000000000000000000000000000000000000",
    );
    for pair in [[&good, &bad], [&bad, &good], [&good, &good]] {
        let mut request = function
            .anonymous(Method::POST, &sender.path)
            .header("x-github-event", "push")
            .header("x-github-delivery", "1")
            .body(body.clone());
        for value in pair {
            request = request.header(name, value);
        }
        let answer = ask(request).await?;
        ensure!(answer.status == 401, "{pair:?}: {answer:?}");
    }
    ensure!(
        scene.deliveries("shop").await?.is_empty(),
        "something is stored"
    );
    is_well(&function, &sender, "after").await
}

async fn what_is_too_large_or_encoded_is_refused_and_not_stored(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    let function = scene
        .setup()
        .env("HOOKRUN_HOOK_BODY_BYTES", "4MiB")
        .start()
        .await?;
    let sender = scene.shop().await?;
    is_well(&function, &sender, "before").await?;
    let before = scene.editions().await?;
    // Without a store there is no place for 2 MiB; 5 MiB are not even read.
    for mebibytes in [2, 5] {
        let body = json!({"text": "a".repeat(mebibytes << 20)}).to_string();
        let request = sender.request(&function, "push", "large", body.as_bytes());
        // A refusal may break the connection while the body is still being written.
        let Ok(answer) = ask(request).await else {
            ensure!(mebibytes == 5, "the connection broke");
            continue;
        };
        ensure!(answer.status == 413, "{mebibytes} MiB: {}", answer.status);
    }
    for encoding in ["gzip", "br", "identity, gzip"] {
        let body = push("encoded")?;
        let request = sender.request(&function, "push", "encoded", &body);
        let answer = ask(request.header("content-encoding", encoding)).await?;
        ensure!(answer.status == 415, "{encoding}: {answer:?}");
    }
    // Whoever has no secret learns nothing by it: a Hook that does not exist gives the same answer.
    let body = push("encoded")?;
    let mut told = Vec::new();
    for sender in [
        sender.with("another secret"),
        scene.sender("unknown", SECRET),
    ] {
        let request = sender.request(&function, "push", "encoded", &body);
        let answer = ask(request.header("content-encoding", "gzip")).await?;
        ensure!(answer.status >= 400, "forged: {answer:?}");
        told.push((answer.status, answer.text));
    }
    ensure!(told[0] == told[1], "{told:?}");
    let after = scene.editions().await?;
    ensure!(before == after, "stored: {:?}", after.difference(&before));
    is_well(&function, &sender, "after").await
}

async fn forged_requests_by_the_thousand_write_nothing_and_leave_memory_flat(
    cluster: Arc<Cluster>,
) -> Result<()> {
    const REQUESTS: usize = 5_000;
    const CONNECTIONS: usize = 60;
    let scene = Scene::new(&cluster).await?;
    let faults = Faults::start(&cluster).await?;
    let function = scene.setup().through(&faults).start().await?;
    let sender = scene.shop().await?;
    let honest = scene
        .github("honest", json!([rule("build")]), json!({}))
        .await?;
    is_well(&function, &honest, "before").await?;
    let forged = sender.with("another secret");
    let unknown: Vec<Sender> = (0..50)
        .map(|number| scene.sender(&format!("unknown-{number}"), SECRET))
        .collect();
    let body = push("forged")?;
    let flood = |requests: usize| {
        stream::iter(0..requests)
            .map(|number| {
                let sender = match number % 5 {
                    0 => &unknown[number % unknown.len()],
                    _ => &forged,
                };
                sender.send(&function, "push", "forged", &body)
            })
            .buffer_unordered(CONNECTIONS)
            .try_for_each(async |answer| {
                // One Hook has its share of requests in flight, and the process its budget.
                ensure!(matches!(answer.status, 401 | 503), "let in: {answer:?}");
                Ok(())
            })
    };
    // Whatever is made once, connections and buffers among it, is no growth.
    flood(REQUESTS / 5).await?;
    let (before, memory) = (scene.editions().await?, function.memory()?);
    faults.forget();
    let began = Instant::now();
    flood(REQUESTS).await?;
    let took = began.elapsed();
    let after = scene.editions().await?;
    ensure!(before == after, "written: {:?}", after.difference(&before));
    let writes = faults.writes();
    // The Hook's status tells of refusals once a minute.
    let statuses = writes
        .iter()
        .filter(|seen| seen.target.contains("/hooks/shop/status"));
    ensure!(
        statuses.count() == writes.len() && writes.len() as u64 <= 1 + took.as_secs() / 60,
        "{} writes in {took:?}: {:?}",
        writes.len(),
        writes.first().map(ToString::to_string)
    );
    // Hook and Secret once a second each, and both of each unknown name.
    let reads = faults.seen().len();
    let bound = 2 * (1 + unknown.len()) * (2 + usize::try_from(took.as_secs())?);
    ensure!(
        reads <= bound,
        "{reads} requests to the API server in {took:?}"
    );
    let grown = function.memory()?.saturating_sub(memory);
    ensure!(grown < 8 * MIB, "memory grew by {} KiB", grown / 1024);
    is_well(&function, &sender, "after").await?;
    let hook = scene.objects.get("Hook", "shop").await?;
    ensure!(
        hook["status"]["rejected"]
            .as_u64()
            .is_some_and(|rejected| rejected > 0),
        "the status tells of no refusal: {}",
        hook["status"]
    );
    ensure!(
        condition(&hook, "Ready")["status"] != "False",
        "{}",
        hook["status"]
    );
    Ok(())
}

async fn beyond_its_quota_a_hook_stores_and_the_sweep_starts(cluster: Arc<Cluster>) -> Result<()> {
    const TAKEOVER: Duration = Duration::from_secs(3);
    let scene = Scene::new(&cluster).await?;
    let function = scene.function().await?;
    let mut other = rule("tags");
    other["events"] = json!(["create"]);
    let more = json!({"quota": {"perMinute": 2}});
    let sender = scene
        .github("shop", json!([rule("build"), other]), more)
        .await?;
    let mut waiting = 0;
    for number in 0..8 {
        let told = sender.push(&function, &number.to_string()).await?;
        let reason = told["reason"].as_str().unwrap_or_default();
        if told["outcome"] == "Received" {
            ensure!(reason.contains("spec.quota.perMinute"), "{told:#}");
            waiting += 1;
        }
    }
    ensure!(waiting >= 4, "only {waiting} of 8 events wait");
    let runs = scene.runs("shop").await?.len();
    ensure!(
        runs == 8 - waiting,
        "{runs} runs, and {waiting} events wait"
    );
    scene.finish("shop", TAKEOVER).await?;
    let (deliveries, runs) = (scene.deliveries("shop").await?, scene.runs("shop").await?);
    ensure!(
        deliveries
            .iter()
            .all(|delivery| delivery["outcome"] == "Created")
            && deliveries.len() == 8
            && runs.len() == 8,
        "{} Deliveries, {} runs",
        deliveries.len(),
        runs.len()
    );
    Ok(())
}

async fn one_busy_hook_leaves_room_for_the_others(cluster: Arc<Cluster>) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    let faults = Faults::start(&cluster).await?;
    let function = scene
        .setup()
        .through(&faults)
        .env("HOOKRUN_REQUESTS", "64")
        .start()
        .await?;
    let busy = scene
        .github("busy", json!([rule("build")]), json!({}))
        .await?;
    let quiet = scene
        .github("quiet", json!([rule("build")]), json!({}))
        .await?;
    is_well(&function, &quiet, "before").await?;
    // Whatever the busy Hook asks of the API server takes long: more events wait for a place than it has.
    let slow = crate::faults::Action::Delay(Duration::from_millis(500));
    faults.add(crate::faults::Rule::of("hooks/busy", slow));
    let flood = stream::iter(0..40)
        .map(async |number| {
            let id = number.to_string();
            busy.send(&function, "push", &id, &push(&id)?).await
        })
        .buffer_unordered(40)
        .try_collect::<Vec<_>>();
    let honest = async {
        for number in 0..10 {
            let began = Instant::now();
            is_well(&function, &quiet, &format!("quiet-{number}")).await?;
            ensure!(
                began.elapsed() < SOON,
                "event {number} took {:?}",
                began.elapsed()
            );
        }
        Ok(())
    };
    let (answers, ()) = tokio::time::timeout(PATIENCE, async { tokio::try_join!(flood, honest) })
        .await
        .context("it did not end")??;
    // Most senders never come again, so none of them is turned away while there is room.
    ensure!(
        answers.iter().all(|answer| answer.status == 202),
        "{answers:?}"
    );
    Ok(())
}
