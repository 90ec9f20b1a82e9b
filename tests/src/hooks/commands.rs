//! The commands for people on the real API server: replays above all, which must start exactly one run although the
//! command is killed.

use std::{
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use control_plane::{Cluster, until};
use serde_json::{Value, json};

use super::{
    definitions::kubectl_of,
    scene::{PATIENCE, Scene, push, rule},
};
use crate::{
    case::Case,
    cases,
    function::{executable, repository},
};

/// How often a replay is killed.
const KILLS: u64 = 12;

pub(super) fn cases() -> Vec<Case> {
    cases![
        a_killed_replay_is_one_run_once_it_is_repeated,
        a_sent_event_is_shown_as_it_came,
        people_do_with_their_rights_what_the_page_says,
    ]
}

/// A command with the rights of an administrator.
fn command(scene: &Scene, arguments: &[&str]) -> Command {
    let mut command = Command::new(executable());
    command
        .env_clear()
        .env(
            "KUBECONFIG",
            scene.cluster.folder().join("admin.kubeconfig"),
        )
        .env("HOOKRUN_NAMESPACE", &scene.namespace)
        .args(arguments);
    command
}

async fn run(scene: &Scene, arguments: &[&str]) -> Result<Output> {
    let mut command = command(scene, arguments);
    Ok(tokio::task::spawn_blocking(move || command.output()).await??)
}

/// What a command says that must succeed.
async fn json(scene: &Scene, arguments: &[&str]) -> Result<Value> {
    let output = run(scene, &[arguments, &["-o", "json"]].concat()).await?;
    ensure!(output.status.success(), "{arguments:?}: {output:?}");
    serde_json::from_slice(&output.stdout).with_context(|| format!("{arguments:?}: {output:?}"))
}

/// A rule for one branch.
fn only(branch: &str) -> Value {
    let mut rule = rule("build");
    rule["filter"] = format!("event.branch == '{branch}'").into();
    rule
}

async fn a_killed_replay_is_one_run_once_it_is_repeated(cluster: Arc<Cluster>) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    let function = scene.function().await?;
    let sender = scene
        .github("shop", json!([only("dev")]), json!({}))
        .await?;
    let answer = sender.send(&function, "push", "one", &push("one")?).await?;
    ensure!(answer.status == 202, "{answer:?}");
    let old = scene.delivery("shop").await?;
    ensure!(old["outcome"] == "Filtered", "{old}");
    let name = old["metadata"]["name"].as_str().context("no name")?;
    let patch = json!({"spec": {"rules": [only("main")]}});
    scene.objects.merge("Hook", "shop", patch).await?;

    let replay = ["deliveries", "replay", name, "--id", "once"];
    for kill in 0..KILLS {
        let mut killed = command(&scene, &replay)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        tokio::time::sleep(Duration::from_millis(kill * 25)).await;
        killed.kill()?;
        killed.wait()?;
    }
    let (one, other) = tokio::join!(json(&scene, &replay), json(&scene, &replay));
    let (one, other) = (one?, other?);
    ensure!(
        one[0]["metadata"]["uid"] == other[0]["metadata"]["uid"],
        "{one}\n{other}"
    );

    // Nobody is at work on it, so that no age has to be waited for.
    scene.finish("shop", Duration::from_secs(3600)).await?;
    let runs = scene.runs("shop").await?;
    let all = scene.deliveries("shop").await?;
    ensure!(
        runs.len() == 1 && all.len() == 2,
        "{} runs, {} Deliveries",
        runs.len(),
        all.len()
    );
    let shown = one[0]["metadata"]["name"].as_str().context("no name")?;
    let shown = json(&scene, &["deliveries", "show", shown]).await?;
    ensure!(
        shown["outcome"] == "Created" && shown["replayOf"] == name,
        "{shown}"
    );
    let again = json(&scene, &replay).await?;
    ensure!(
        again[0]["outcome"] == "Created" && scene.runs("shop").await?.len() == 1,
        "{again}"
    );
    Ok(())
}

async fn a_sent_event_is_shown_as_it_came(cluster: Arc<Cluster>) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    let function = scene.function().await?;
    scene
        .github("shop", json!([only("main")]), json!({}))
        .await?;
    let url = function.url();
    let sent = json(&scene, &["hooks", "send", "shop", "--url", &url]).await?;
    ensure!(
        sent[0]["status"] == 202 && sent[0]["body"]["outcome"] == "Created",
        "{sent}"
    );
    let name = sent[0]["body"]["delivery"].as_str().context("no name")?;
    let listed = json(
        &scene,
        &["deliveries", "list", "shop", "--outcome", "created"],
    )
    .await?;
    ensure!(listed[0]["metadata"]["name"] == name, "{listed}");
    let explained = run(&scene, &["hooks", "explain", "shop", name]).await?;
    ensure!(explained.status.success(), "{explained:?}");
    let payload = run(&scene, &["deliveries", "show", name, "--payload"]).await?;
    let payload: Value = serde_json::from_slice(&payload.stdout)?;
    ensure!(payload["ref"] == "refs/heads/main", "{payload}");
    let hooks = json(&scene, &["hooks", "list"]).await?;
    ensure!(hooks[0]["metadata"]["name"] == "shop", "{hooks}");
    Ok(())
}

/// Somebody with one of the roles for people.
struct Person(PathBuf);

impl Person {
    async fn with(scene: &Scene, role: &str) -> Result<Self> {
        let account = scene.cluster.account(role).await?;
        let manifest = repository().join(format!("knative/people/{role}.yaml"));
        let (cluster, namespace) = (&scene.cluster, &scene.namespace);
        cluster.grant(&manifest, namespace, &account).await?;
        let kubeconfig = cluster.kubeconfig(cluster.url(), &account.token)?;
        Ok(Self(kubeconfig))
    }

    /// What a command prints, and what it says besides.
    async fn run(&self, scene: &Scene, arguments: &[&str]) -> Result<(bool, String, String)> {
        let mut command = command(scene, arguments);
        command.env("KUBECONFIG", &self.0);
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let (told, errors) = (text(output.stdout), text(output.stderr));
        Ok((output.status.success(), told, errors))
    }

    async fn may(&self, scene: &Scene, arguments: &[&str]) -> Result<()> {
        // The API server knows a new role after a moment.
        until(&format!("{arguments:?} is allowed"), PATIENCE, async || {
            let (done, told, errors) = self.run(scene, arguments).await?;
            ensure!(
                done || errors.contains(" cannot "),
                "{arguments:?}: {told}{errors}"
            );
            Ok(done)
        })
        .await
    }

    async fn may_not(&self, scene: &Scene, arguments: &[&str]) -> Result<()> {
        let (done, told, errors) = self.run(scene, arguments).await?;
        ensure!(
            !done && errors.contains(" cannot ") && errors.contains("docs/hooks.md"),
            "{arguments:?}: {told}{errors}"
        );
        Ok(())
    }
}

async fn people_do_with_their_rights_what_the_page_says(cluster: Arc<Cluster>) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    let function = scene.function().await?;
    scene
        .github("shop", json!([only("main")]), json!({}))
        .await?;
    let url = function.url();
    let send = ["hooks", "send", "shop", "--url", &url];
    let sent = json(&scene, &send).await?;
    let name = sent[0]["body"]["delivery"].as_str().context("no name")?;
    let replay = ["deliveries", "replay", name];
    let explain = ["hooks", "explain", "shop", name];
    let new = ["hooks", "new", "github", "--name", "new", "--apply"];

    let viewer = Person::with(&scene, "viewer").await?;
    for allowed in [
        &["hooks", "list"][..],
        &["hooks", "show", "shop"],
        &["deliveries", "list", "shop"],
        &["deliveries", "show", name, "--payload"],
    ] {
        viewer.may(&scene, allowed).await?;
    }
    for denied in [&replay[..], &send, &explain, &new] {
        viewer.may_not(&scene, denied).await?;
    }

    let replayer = Person::with(&scene, "replayer").await?;
    replayer.may(&scene, &replay).await?;
    replayer
        .may(&scene, &["deliveries", "replay", &large(&scene).await?])
        .await?;
    replayer.may_not(&scene, &new).await?;

    let editor = Person::with(&scene, "editor").await?;
    for allowed in [&new[..], &send, &explain] {
        editor.may(&scene, allowed).await?;
    }
    editor.may_not(&scene, &replay).await?;
    // What a command wrote is applied, edited, and applied again, with its Secret.
    let output = run(&scene, &["hooks", "new", "github", "--name", "written"]).await?;
    let written = String::from_utf8(output.stdout)?;
    let (kubectl, _home) = kubectl_of(&scene, &editor.0)?;
    for edited in [written.clone(), written.replace("build", "test")] {
        kubectl.ok(&["apply", "-f", "-"], &edited)?;
    }
    Ok(())
}

/// An event whose payload is too large for its Delivery.
async fn large(scene: &Scene) -> Result<String> {
    let function = scene.function().await?;
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
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), body)?;
    let (url, path) = (function.url(), file.path().display().to_string());
    let send = ["hooks", "send", "shop", "--url", &url, "--body", &path];
    let sent = json(scene, &send).await?;
    let name = sent[0]["body"]["delivery"].as_str().context("no name")?;
    let shown = json(scene, &["deliveries", "show", name]).await?;
    ensure!(shown["payload"]["secretName"].is_string(), "{shown}");
    Ok(name.to_owned())
}
