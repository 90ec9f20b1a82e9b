//! Payloads and expressions that take many times their bytes: the function never has more memory than its pod.

use std::{sync::Arc, time::Instant};

use anyhow::{Context, Result, ensure};
use control_plane::Cluster;
use futures_util::future::{try_join, try_join_all};
use serde_json::json;

use super::{MIB, SOON, is_well};
use crate::{
    function::Function,
    hooks::scene::{Scene, accepted, rule},
    s3::{BUCKET, S3},
};

/// What a pod of the manifests has (`knative/common`).
const POD: u64 = 384 * MIB;

/// At no moment since it started has the function had more memory than its pod.
fn fits_into_its_pod(function: &Function) -> Result<()> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", function.id()))?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .context("the system does not tell the peak of the resident memory")?;
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse()?;
    ensure!(peak * 1024 < POD, "it had {} MiB", peak / 1024);
    Ok(())
}

pub(super) async fn hostile_expressions_over_ten_mebibytes_end_soon(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    let s3 = S3::start(&cluster).await?;
    let mut setup = scene
        .setup()
        .env("HOOKRUN_PAYLOAD_STORE", &format!("s3://{BUCKET}"));
    for (name, value) in s3.environment() {
        setup = setup.env(&name, &value);
    }
    let function = setup.start().await?;
    let honest = scene
        .github("honest", json!([rule("build")]), json!({}))
        .await?;
    is_well(&function, &honest, "before").await?;
    // Just within the bounds of what is read at all.
    let items: Vec<usize> = (0..900_000).collect();
    let text = "a".repeat(5 * usize::try_from(MIB)?);
    let body = json!({"items": items, "text": text})
        .to_string()
        .into_bytes();
    ensure!(body.len() as u64 > 10 * MIB, "{} bytes", body.len());
    let budget = "take more than";
    let expressions = [
        (
            "all-all",
            "body.items.all(a, body.items.all(b, a <= b || b <= a))",
            budget,
        ),
        (
            "map-map",
            "body.items.map(a, body.items.map(b, a + b)).size() == 0",
            budget,
        ),
        (
            "filter",
            "body.items.filter(a, json(body.items).contains(string(a))).size() == 0",
            budget,
        ),
        (
            "copies",
            "json(body.items.map(a, body)).size() == 0",
            budget,
        ),
        (
            "split",
            "body.text.split('a').map(a, body.text).size() == 0",
            budget,
        ),
        (
            "replace",
            "body.text.replace('a', body.text).size() == 0",
            budget,
        ),
        ("pattern", "body.text.matches('(a*)*(a*)*(a*)*b')", ""),
    ];
    for (name, filter, said) in expressions {
        let mut rule = rule("hostile");
        rule["filter"] = filter.into();
        let sender = scene.github(name, json!([rule]), json!({})).await?;
        let began = Instant::now();
        let answer = sender.send(&function, "push", "1", &body).await?;
        let took = began.elapsed();
        let told = accepted(&answer).with_context(|| name.to_owned())?;
        ensure!(took < SOON, "{filter} took {took:?}");
        // Neither the body nor the Hook was refused: the expression was evaluated, up to its budget.
        let delivery = scene.delivery(name).await?;
        let reason = delivery["rules"][0]["reason"].as_str().unwrap_or_default();
        ensure!(
            delivery["rules"][0]["expression"] == filter && reason.contains(said),
            "{filter}: {told:#}"
        );
        let outcome = if said.is_empty() {
            "Filtered"
        } else {
            "Failed"
        };
        let failed = told["outcome"] == "Failed" && reason.contains(budget);
        ensure!(told["outcome"] == outcome || failed, "{filter}: {told:#}");
        fits_into_its_pod(&function).with_context(|| name.to_owned())?;
        ensure!(
            scene.runs(name).await?.is_empty(),
            "{filter}: there is a run"
        );
    }
    is_well(&function, &honest, "after").await
}

pub(super) async fn many_payloads_of_small_objects_stay_within_the_memory_of_a_pod(
    cluster: Arc<Cluster>,
) -> Result<()> {
    const SENDERS: usize = 16;
    let scene = Scene::new(&cluster).await?;
    let function = scene.function().await?;
    let mut count = rule("count");
    count["filter"] = "body.items.size() == 0".into();
    let sender = scene.github("shop", json!([count]), json!({})).await?;
    let honest = scene
        .github("honest", json!([rule("build")]), json!({}))
        .await?;
    is_well(&function, &honest, "before").await?;
    // Each object takes some eighty times its bytes.
    let items = vec![json!({"a": 1}); 120_000];
    let sent = (0..SENDERS).map(|number| {
        let body = json!({"items": items, "number": number}).to_string();
        let (sender, function) = (&sender, &function);
        async move {
            let id = number.to_string();
            sender.send(function, "push", &id, body.as_bytes()).await
        }
    });
    let others = async {
        for number in 0..10 {
            is_well(&function, &honest, &number.to_string()).await?;
        }
        Ok(())
    };
    let (answers, ()) = try_join(try_join_all(sent), others).await?;
    // One after the other is parsed; who waits too long is told to come again.
    let taken = answers.iter().filter(|answer| answer.status == 202).count();
    ensure!(
        taken > 0
            && answers
                .iter()
                .all(|answer| matches!(answer.status, 202 | 503)),
        "{answers:?}"
    );
    let deliveries = scene.deliveries("shop").await?.len();
    ensure!(deliveries == taken, "{deliveries} Deliveries of {taken}");
    fits_into_its_pod(&function)
}
