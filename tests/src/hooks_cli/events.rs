//! Events: sent, shown, explained, turned away, and followed as they come.

use std::{process::Stdio, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use control_plane::{Cluster, eventually};
use serde_json::{Value, json};

use super::Desk;
use crate::{case::Case, cases};

pub(super) fn cases() -> Vec<Case> {
    cases![
        a_newcomer_finds_out_why_nothing_was_started,
        a_sample_of_every_provider_is_let_in,
        the_same_event_sent_twice_is_one_run,
        a_forged_request_is_turned_away_and_leaves_nothing,
        deliveries_are_followed_as_they_come,
    ]
}

async fn a_newcomer_finds_out_why_nothing_was_started(_: Arc<Cluster>) -> Result<()> {
    let desk = Desk::new().await?;
    desk.hook("main")?;
    let first = desk.send(&[])?;
    let shown = desk.json(&["deliveries", "show", &first])?;
    ensure!(shown["outcome"] == "Created", "{shown}");
    let runs = desk.runs().await?;
    ensure!(
        runs.len() == 1 && runs[0]["metadata"]["name"] == shown["rules"][0]["run"],
        "{runs:?}"
    );
    ensure!(
        runs[0]["spec"]["params"][0]["value"] == shown["event"]["revision"],
        "{runs:?}"
    );
    let payload = desk.ok(&["deliveries", "show", &first, "--payload"])?;
    ensure!(
        serde_json::from_str::<Value>(&payload)?["ref"] == "refs/heads/main",
        "{payload}"
    );

    desk.filter("event.branch == 'mian'").await?;
    let second = desk.send(&[])?;
    let shown = desk.ok(&["deliveries", "show", &second])?;
    for part in [
        "the filter is false",
        "event.branch == 'mian'",
        "event.branch = \"main\"",
    ] {
        ensure!(shown.contains(part), "{part} is not in\n{shown}");
    }
    let explained = desk.run(&["hooks", "explain", "github", &second])?;
    let text = String::from_utf8(explained.stdout)?;
    ensure!(explained.status.code() == Some(1), "{text}");
    let no: Vec<&str> = text.lines().filter(|line| line.contains(" NO ")).collect();
    ensure!(
        no.len() == 1 && no[0].trim_start().starts_with("filter"),
        "{text}"
    );
    ensure!(desk.runs().await?.len() == 1, "a second run");

    let listed = desk.json(&[
        "deliveries",
        "list",
        "github",
        "--outcome",
        "filtered",
        "--event",
        "pu*",
        "--since",
        "1h",
    ])?;
    ensure!(
        listed.as_array().map(Vec::len) == Some(1)
            && listed[0]["metadata"]["name"] == second.as_str(),
        "{listed}"
    );
    let hooks = desk.ok(&["hooks", "list"])?;
    ensure!(
        hooks.contains("github") && hooks.contains("/hooks/default/github"),
        "{hooks}"
    );
    Ok(())
}

async fn a_sample_of_every_provider_is_let_in(_: Arc<Cluster>) -> Result<()> {
    let desk = Desk::new().await?;
    let known = desk.ok(&["hooks", "new"])?;
    let names: Vec<&str> = known
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    ensure!(names.len() > 20, "{known}");
    for name in names {
        let written = desk.ok(&["hooks", "new", name])?;
        let file = desk.folder.path().join(format!("{name}.yaml"));
        std::fs::write(&file, &written)?;
        desk.ok(&["hooks", "new", name, "--apply"])?;
        let sent = desk.run(&["hooks", "send", name, "-o", "json"])?;
        // Only an issuer can sign its tokens, and the command says so.
        if name == "gar-pubsub" {
            let errors = String::from_utf8_lossy(&sent.stderr).into_owned();
            ensure!(
                sent.status.code() == Some(2) && errors.contains("issuer signs"),
                "{errors}"
            );
            continue;
        }
        ensure!(sent.status.success(), "{name}: {sent:?}");
        let answers: Value = serde_json::from_slice(&sent.stdout)?;
        ensure!(answers[0]["status"] == 202, "{name}: {answers}");
        let deliveries = desk.json(&["deliveries", "list", name])?;
        ensure!(
            deliveries.as_array().map(Vec::len) == Some(1) && deliveries[0]["outcome"] == "Created",
            "{name}: {deliveries}"
        );
    }
    Ok(())
}

async fn the_same_event_sent_twice_is_one_run(_: Arc<Cluster>) -> Result<()> {
    let desk = Desk::new().await?;
    desk.hook("main")?;
    let answers = desk.json(&[
        "hooks",
        "send",
        "github",
        "--delivery-id",
        "17",
        "--repeat",
        "2",
    ])?;
    ensure!(
        answers[0]["body"]["delivery"] == answers[1]["body"]["delivery"],
        "{answers}"
    );
    ensure!(answers[1]["body"]["duplicate"] == true, "{answers}");
    ensure!(desk.runs().await?.len() == 1, "two runs");
    Ok(())
}

async fn a_forged_request_is_turned_away_and_leaves_nothing(_: Arc<Cluster>) -> Result<()> {
    let desk = Desk::new().await?;
    desk.hook("main")?;
    let wrong = desk.folder.path().join("wrong");
    std::fs::write(&wrong, "not the secret\n")?;
    let wrong = wrong.to_str().context("a path")?;
    let sent = desk.run(&["hooks", "send", "github", "--secret-file", wrong])?;
    let text = String::from_utf8(sent.stdout)?;
    ensure!(
        sent.status.code() == Some(1) && text.starts_with("401 "),
        "{text}"
    );
    let listed = desk.json(&["deliveries", "list"])?;
    ensure!(listed == json!([]), "{listed}");
    Ok(())
}

async fn deliveries_are_followed_as_they_come(_: Arc<Cluster>) -> Result<()> {
    let desk = Desk::new().await?;
    desk.hook("main")?;
    let before = desk.send(&[])?;
    let log = desk.folder.path().join("tail.json");
    let mut tail = desk
        .command(&["deliveries", "tail", "github", "-o", "json"])
        .stdout(std::fs::File::create(&log)?)
        .stderr(Stdio::null())
        .spawn()?;
    let seen = eventually("an event is told", Duration::from_secs(60), async || {
        // Until the command watches, what comes is no news to it.
        let name = desk.send(&[])?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let text = std::fs::read_to_string(&log)?;
        Ok(text.contains(&name).then_some(text))
    })
    .await;
    tail.kill()?;
    tail.wait()?;
    let text = seen?;
    for line in text.lines() {
        let told: Value = serde_json::from_str(line)?;
        ensure!(told["kind"] == "Delivery", "{told}");
        let name = &told["metadata"]["name"];
        ensure!(
            name != before.as_str(),
            "what was there before is no news: {told}"
        );
    }
    Ok(())
}
