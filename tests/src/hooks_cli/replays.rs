//! Replays: each is a Delivery and a run of its own, once.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use control_plane::{Cluster, eventually};
use serde_json::json;

use super::Desk;
use crate::{case::Case, cases};

pub(super) fn cases() -> Vec<Case> {
    cases![
        a_replay_is_decided_by_the_hook_of_today_and_runs_once,
        a_replay_keeps_a_payload_that_lies_in_a_secret,
        a_range_is_replayed_once_and_says_what_it_is,
    ]
}

async fn a_replay_is_decided_by_the_hook_of_today_and_runs_once(_: Arc<Cluster>) -> Result<()> {
    let desk = Desk::new().await?;
    desk.hook("dev")?;
    let old = desk.send(&[])?;
    ensure!(desk.runs().await?.is_empty(), "the filter is of no use");
    desk.filter("event.branch == 'main'").await?;

    let dry = desk.ok(&["deliveries", "replay", &old, "--dry-run"])?;
    ensure!(dry.contains("would start"), "{dry}");
    ensure!(
        desk.json(&["deliveries", "list"])?.as_array().map(Vec::len) == Some(1),
        "a dry run wrote something"
    );

    let replay = [
        "deliveries",
        "replay",
        &old,
        "--id",
        "once",
        "--wait",
        "60s",
    ];
    let first = desk.json(&replay)?;
    ensure!(
        first[0]["outcome"] == "Created" && first[0]["replayOf"] == old.as_str(),
        "{first}"
    );
    let again = desk.json(&replay)?;
    ensure!(
        again[0]["metadata"]["uid"] == first[0]["metadata"]["uid"],
        "{again}"
    );
    let runs = desk.runs().await?;
    ensure!(
        runs.len() == 1 && runs[0]["metadata"]["name"] == first[0]["rules"][0]["run"],
        "{runs:?}"
    );

    let by_filter = [
        "deliveries",
        "replay",
        "--hook",
        "github",
        "--since",
        "1h",
        "--outcome",
        "filtered",
        "--wait",
        "60s",
    ];
    // It was replayed already, and that is an end as well.
    let none = desk.run(&by_filter)?;
    let told = String::from_utf8(none.stderr)?;
    ensure!(
        none.status.success() && told.contains("1 that were replayed already"),
        "{told}"
    );
    ensure!(desk.runs().await?.len() == 1, "a second run");
    // Of an hour that is over there is nothing.
    let until = desk.run(&[&by_filter[..], &["--until", "30m"]].concat())?;
    ensure!(until.status.code() == Some(2), "{until:?}");
    // The beginning of a type is none, unless it says so.
    let beginning = desk.run(&[&by_filter[..], &["--again", "--event", "pus"]].concat())?;
    let told = String::from_utf8_lossy(&beginning.stderr);
    ensure!(
        beginning.status.code() == Some(2) && told.contains("nothing is replayed"),
        "{told}"
    );
    let second = desk.json(&[&by_filter[..], &["--again"]].concat())?;
    ensure!(
        second.as_array().map(Vec::len) == Some(1) && second[0]["outcome"] == "Created",
        "{second}"
    );
    ensure!(
        desk.runs().await?.len() == 2,
        "another replay is another run"
    );
    // The same replay is shown, and started once.
    let same = desk.json(&[&by_filter[..], &["--id", "once"]].concat())?;
    ensure!(
        same[0]["metadata"]["uid"] == first[0]["metadata"]["uid"] && desk.runs().await?.len() == 2,
        "{same}"
    );
    let nobody = desk.run(&["deliveries", "replay", "no-such-delivery"])?;
    ensure!(nobody.status.code() == Some(2), "{nobody:?}");
    Ok(())
}

async fn a_range_is_replayed_once_and_says_what_it_is(_: Arc<Cluster>) -> Result<()> {
    let desk = Desk::new().await?;
    desk.hook("dev")?;
    let names = [desk.send(&[])?, desk.send(&[])?, desk.send(&[])?];
    desk.filter("event.branch == 'main'").await?;
    let range = [
        "deliveries",
        "replay",
        "--hook",
        "github",
        "--since",
        "1h",
        "--wait",
        "60s",
    ];
    let first = desk.run(&range)?;
    let told = String::from_utf8(first.stderr)?;
    ensure!(
        first.status.success() && told.contains("3 Deliveries are selected"),
        "{told}"
    );
    for name in &names {
        ensure!(told.contains(&format!("{name} is replayed as ")), "{told}");
    }
    let again = desk.run(&range)?;
    let told = String::from_utf8(again.stderr)?;
    ensure!(
        again.status.success()
            && told.contains(
                "no Delivery is selected; left out are 3 that are replays themselves and 3 "
            ),
        "{told}"
    );
    ensure!(
        again.stdout.is_empty(),
        "an empty table: {:?}",
        again.stdout
    );
    ensure!(desk.runs().await?.len() == 3, "a run too many");

    ensure!(desk.json(&range)? == json!([]), "not a list");

    // The newest ones are shown, and that there are more is said.
    let some = desk.run(&["deliveries", "list", "--limit", "2"])?;
    let (shown, said) = (
        String::from_utf8(some.stdout)?,
        String::from_utf8(some.stderr)?,
    );
    ensure!(
        shown.lines().count() == 3 && said.contains("the newest 2 of 6"),
        "{shown}{said}"
    );
    let two = desk.json(&[
        "deliveries",
        "list",
        "--outcome",
        "filtered",
        "--limit",
        "2",
    ])?;
    let listed: Vec<_> = two.as_array().into_iter().flatten().collect();
    ensure!(
        listed.len() == 2
            && listed[0]["metadata"]["name"] == names[2].as_str()
            && listed[1]["metadata"]["name"] == names[1].as_str(),
        "{two:#}"
    );
    Ok(())
}

async fn a_replay_keeps_a_payload_that_lies_in_a_secret(_: Arc<Cluster>) -> Result<()> {
    let desk = Desk::new().await?;
    desk.hook("main")?;
    // Digits of a generator are not compressed away.
    let mut state = 1u64;
    let noise: String = (0..40_000)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            format!("{state:016x}")
        })
        .collect();
    let body = json!({"ref": "refs/heads/main", "after": "a1", "noise": noise}).to_string();
    let file = desk.folder.path().join("body.json");
    std::fs::write(&file, &body)?;
    let old = desk.send(&["--body", file.to_str().context("a path")?])?;
    let shown = desk.json(&["deliveries", "show", &old])?;
    let secret = shown["payload"]["secretName"]
        .as_str()
        .context("it is not in a Secret")?;
    let new = desk.json(&["deliveries", "replay", &old, "--wait", "60s"])?;
    ensure!(new[0]["outcome"] == "Created", "{new}");

    let server = desk.dev.url("");
    let path = |kind: &str, name: &str| format!("{server}{kind}/namespaces/default/{name}");
    let deliveries = "/apis/hookrun.dev/v1alpha1";
    let client = reqwest::Client::new();
    let deleted = client
        .delete(path(deliveries, &format!("deliveries/{old}")))
        .send()
        .await?;
    ensure!(deleted.status().is_success(), "{deleted:?}");
    let name = new[0]["metadata"]["name"].as_str().context("no name")?;
    ensure!(
        desk.ok(&["deliveries", "show", name, "--payload"])? == body,
        "another payload"
    );
    client
        .delete(path(deliveries, &format!("deliveries/{name}")))
        .send()
        .await?;
    eventually(
        "the payload vanishes with its last owner",
        Duration::from_secs(30),
        async || {
            let answer = reqwest::get(path("/api/v1", &format!("secrets/{secret}"))).await?;
            Ok((answer.status() == 404).then_some(()))
        },
    )
    .await
}
