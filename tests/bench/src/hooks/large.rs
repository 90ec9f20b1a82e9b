//! The largest webhooks that GitHub sends, all at once: the process takes as many as its memory for bodies holds, and tells
//! the others to come again.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use bytes::Bytes;
use control_plane::Cluster;
use futures_util::future::join_all;
use http::HeaderMap;
use runtime::Limits;
use serde_json::Value;
use system_tests::s3::{BUCKET, S3};

use super::{
    HOOK,
    scene::Scene,
    sender::{SECRET, Sender, signed},
};
use crate::{
    events::number,
    process::peak,
    table::{Table, mebibytes},
    wire::Target,
};

/// Who sends at once, and how much each.
const SENDERS: usize = 64;
const BODY: usize = 25 << 20;

/// What came of one.
const ACCEPTED: &str = "202";
const CLOSED: &str = "broken off";

pub(super) async fn measure(table: &mut Table, cluster: &Cluster) -> Result<()> {
    let scene = Scene::new(cluster).await?;
    scene.hook(HOOK).await?;
    let store = S3::start(cluster).await?;
    let mut setup = scene
        .function()
        .env("HOOKRUN_PAYLOAD_STORE", &format!("s3://{BUCKET}"));
    for (name, value) in store.environment() {
        setup = setup.env(&name, &value);
    }
    let function = setup.start().await?;
    let (target, sender) = (Target::open(function.address())?, scene.sender(HOOK)?);
    scene.sample(&target, &sender).await?;
    let before = function.memory()?;
    let (stored, kept) = (scene.count("deliveries").await?, store.objects()?.len());

    let body = commits(&sender)?;
    let sent = (0..SENDERS).map(|_| one(&target, &sender, &body));
    let mut answers = BTreeMap::<String, usize>::new();
    for answer in join_all(sent).await {
        *answers.entry(answer?).or_default() += 1;
    }
    let taken = answers.get(ACCEPTED).copied().unwrap_or_default();
    // Who is refused before everything is sent may find the connection closed.
    let known = |answer: &String| [ACCEPTED, "503", CLOSED].contains(&answer.as_str());
    ensure!(taken > 0 && answers.keys().all(known), "{answers:?}");
    let (stored, kept) = (
        scene.count("deliveries").await? - stored,
        store.objects()?.len() - kept,
    );
    ensure!(
        (stored, kept) == (taken, taken),
        "{taken} were taken, but there are {stored} Deliveries and {kept} payloads more"
    );
    let answers: Vec<String> = answers
        .iter()
        .map(|(answer, count)| format!("{count} × {answer}"))
        .collect();
    let figure = format!("{SENDERS} senders of {} MiB at once", BODY >> 20);
    let limit = "202 or 503; stored what is 202, and nothing else";
    table.row(&figure, answers.join(", "), "", "", limit);
    let (highest, budget) = (peak(function.id())?, Limits::default().memory_bytes as u64);
    table.row(
        "peak memory with them",
        mebibytes(highest),
        format!(
            "{} before, {} for bodies",
            mebibytes(before),
            mebibytes(budget)
        ),
        format!("{:.2} of both", highest as f64 / (before + budget) as f64),
        "≤ 1",
    );
    Ok(())
}

/// Sends it over a connection of its own; what came of it.
async fn one(target: &Target, sender: &Sender, body: &Bytes) -> Result<String> {
    let headers: HeaderMap = signed(SECRET, number(), body)?;
    let mut connection = target.connect().await?;
    let answer = sender.send(&mut connection, headers, body.clone()).await;
    Ok(answer.map_or_else(|_| CLOSED.to_owned(), |answer| answer.as_u16().to_string()))
}

/// A push of as many commits as fit.
fn commits(sender: &Sender) -> Result<Bytes> {
    let mut push: Value = serde_json::from_str(&sender.payload(0))?;
    let mut commit = push["commits"][0].clone();
    commit["message"] = "Why this was changed. ".repeat(40).into();
    let one = commit.to_string();
    push["commits"] = Value::Array(Vec::new());
    let room = BODY - push.to_string().len() - 1024;
    push["commits"] = vec![commit; room / (one.len() + 1)].into();
    push["rest"] = "".into();
    let rest = BODY - push.to_string().len();
    push["rest"] = "x".repeat(rest).into();
    Ok(push.to_string().into())
}
