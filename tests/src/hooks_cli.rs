//! The commands for people, `hookrun hooks` and `hookrun deliveries`, against `hookrun dev`: what a newcomer does, and
//! what programs rely on.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use control_plane::{Cluster, eventually};
use serde_json::{Value, json};

use crate::{
    case::Case,
    cases,
    function::{executable, repository},
    tools::Dev,
};

/// The cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    cases![
        a_newcomer_finds_out_why_nothing_was_started,
        a_sample_of_every_provider_is_let_in,
        the_same_event_sent_twice_is_one_run,
        a_forged_request_is_turned_away_and_leaves_nothing,
        a_replay_is_decided_by_the_hook_of_today_and_runs_once,
        a_replay_keeps_a_payload_that_lies_in_a_secret,
        captured_requests_are_tested_without_a_cluster,
        deliveries_are_followed_as_they_come,
    ]
}

/// `hookrun dev`, and a person at another terminal.
struct Desk {
    folder: tempfile::TempDir,
    dev: Dev,
}

impl Desk {
    async fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let dev = Dev::start(folder.path(), &[]).await?;
        Ok(Self { folder, dev })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = hookrun(self.folder.path(), arguments);
        command
            .env("HOOKRUN_SERVER", self.dev.url(""))
            .env("HOOKRUN_URL", self.dev.url(""));
        command
    }

    fn run(&self, arguments: &[&str]) -> Result<Output> {
        Ok(self.command(arguments).output()?)
    }

    /// What a command prints that must succeed.
    fn ok(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments)?;
        ensure!(output.status.success(), "{arguments:?}: {output:?}");
        Ok(String::from_utf8(output.stdout)?)
    }

    fn json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.ok(&[arguments, &["-o", "json"]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("{arguments:?}: {text}"))
    }

    /// A Hook for pushes to a branch.
    fn hook(&self, branch: &str) -> Result<()> {
        let filter = format!("event.branch == '{branch}'");
        self.ok(&[
            "hooks",
            "new",
            "github",
            "--events",
            "push",
            "--filter",
            &filter,
            "--param",
            "revision=event.revision",
            "--apply",
        ])?;
        Ok(())
    }

    /// Sends a sample, and says which Delivery it became.
    fn send(&self, arguments: &[&str]) -> Result<String> {
        let answers = self.json(&[&["hooks", "send", "github"], arguments].concat())?;
        let name = answers[0]["body"]["delivery"].as_str();
        Ok(name.with_context(|| answers.to_string())?.to_owned())
    }

    async fn filter(&self, filter: &str) -> Result<()> {
        let patch = json!([{"op": "replace", "path": "/spec/rules/0/filter", "value": filter}]);
        let url = self
            .dev
            .url("/apis/hookrun.dev/v1alpha1/namespaces/default/hooks/github");
        let answer = reqwest::Client::new()
            .patch(url)
            .header("content-type", "application/json-patch+json")
            .body(patch.to_string())
            .send()
            .await?;
        ensure!(answer.status().is_success(), "{answer:?}");
        // The function knows a changed Hook within a second.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        Ok(())
    }

    async fn runs(&self) -> Result<Vec<Value>> {
        let url = self
            .dev
            .url("/apis/tekton.dev/v1/namespaces/default/pipelineruns");
        let list = reqwest::get(url).await?.bytes().await?;
        let mut list: Value = serde_json::from_slice(&list)?;
        serde_json::from_value(list["items"].take()).context("no list")
    }
}

fn hookrun(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(executable());
    command
        .env("HOME", home)
        .env_remove("KUBECONFIG")
        .args(arguments);
    command
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
    let second = desk.json(&by_filter)?;
    ensure!(
        second.as_array().map(Vec::len) == Some(1) && second[0]["outcome"] == "Created",
        "{second}"
    );
    ensure!(
        desk.runs().await?.len() == 2,
        "another replay is another run"
    );
    let nobody = desk.run(&["deliveries", "replay", "no-such-delivery"])?;
    ensure!(nobody.status.code() == Some(2), "{nobody:?}");
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

async fn captured_requests_are_tested_without_a_cluster(_: Arc<Cluster>) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let run = |arguments: &[&str]| hookrun(folder.path(), arguments).output();
    let hook = run(&[
        "hooks",
        "new",
        "github",
        "--events",
        "push",
        "--filter",
        "event.changed('services/api/**')",
        "--param",
        "revision=event.revision",
    ])?;
    std::fs::write(folder.path().join("hook.yaml"), &hook.stdout)?;
    let case =
        |name: &str, value: Value| std::fs::write(folder.path().join(name), value.to_string());
    let sample = repository().join("shared/providers/tests/payloads/github/push.json");
    let sample = std::fs::read_to_string(sample)?;
    std::fs::write(folder.path().join("api.json"), &sample)?;
    std::fs::write(
        folder.path().join("docs.json"),
        sample.replace("services/api", "docs"),
    )?;
    let sample: Value = serde_json::from_str(&sample)?;
    let event = json!({"X-GitHub-Event": "push", "X-GitHub-Delivery": "1"});
    case(
        "api.yaml",
        json!({
            "request": {"headers": event, "bodyFile": "api.json"},
            "sign": true,
            "expect": {"outcome": "Created", "rules": [{"name": "build", "outcome": "Created", "params": {"revision": sample["after"]}}]},
        }),
    )?;
    case(
        "docs.yaml",
        json!({
            "request": {"headers": event, "bodyFile": "docs.json"},
            "sign": true,
            "expect": {"outcome": "Filtered", "rules": [{"name": "build", "outcome": "Filtered", "reason": "filter"}]},
        }),
    )?;
    case(
        "forged.yaml",
        json!({
            "request": {
                "headers": {"X-GitHub-Event": "push", "X-Hub-Signature-256": format!("sha256={}", "0".repeat(64))},
                "bodyFile": "api.json",
            },
            "expect": {"outcome": "Refused", "reason": "mismatch"},
        }),
    )?;
    let path = folder.path().to_str().context("a path")?;
    let passed = run(&["hooks", "test", path])?;
    let text = String::from_utf8(passed.stdout)?;
    ensure!(
        passed.status.code() == Some(0) && text.contains("3 passed, 0 failed"),
        "{text}"
    );

    case(
        "wrong.yaml",
        json!({
            "request": {"headers": event, "bodyFile": "docs.json"},
            "sign": true,
            "expect": {"outcome": "Created"},
        }),
    )?;
    let failed = run(&["hooks", "test", path])?;
    let text = String::from_utf8(failed.stdout)?;
    ensure!(
        failed.status.code() == Some(1) && text.contains("wrong ... FAILED"),
        "{text}"
    );
    ensure!(
        text.contains("the outcome is Filtered, expected Created"),
        "{text}"
    );

    case("wrong.yaml", json!({"request": {}, "expected": {}}))?;
    let unread = run(&["hooks", "test", path])?;
    let errors = String::from_utf8(unread.stderr)?;
    ensure!(
        unread.status.code() == Some(2) && errors.contains("wrong.yaml"),
        "{errors}"
    );
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
