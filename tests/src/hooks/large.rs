//! Events beyond 1 MiB: from the sender into the object store, from there into the step, and back again for people.

use std::{fs, path::Path, process::Command, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use control_plane::{Cluster, until};
use http::Method;
use serde_json::{Value, json};
use store::Reference;
use tokio::time::timeout;

use super::scene::{PATIENCE, Scene, Sender, accepted, push, rule, rule_with_payload};
use crate::{
    case::Case,
    cases,
    faults::{Action, Faults, Rule},
    function::{Function, Setup, executable},
    s3::{BUCKET, S3},
    support::{
        Answer,
        objects::{entries, name},
    },
};

const MIB: usize = 1 << 20;

/// What GitHub sends at most.
const LARGEST: usize = 25 * MIB;

/// Age at which the sweep takes over what a dead process has left.
const TAKEOVER: Duration = Duration::from_secs(6);

pub(super) fn cases() -> Vec<Case> {
    cases![
        a_large_event_is_fetched_by_the_run_and_shown_as_it_came,
        what_the_provider_sends_at_most_is_accepted_and_one_byte_more_is_not,
        without_a_store_a_large_event_is_refused_and_nothing_is_recorded,
        a_death_between_the_object_and_the_delivery_doubles_nothing,
        a_replay_has_an_object_of_its_own,
        a_payload_that_is_gone_fails_the_delivery_and_says_so,
        a_bucket_that_never_answers_costs_the_sender_no_time_and_no_event,
    ]
    .into_iter()
    .map(|case| case.within(Duration::from_secs(300)))
    .collect()
}

/// A namespace with Hooks, and a bucket for what is large.
struct Stage {
    scene: Scene,
    s3: S3,
}

impl Stage {
    async fn new(cluster: &Arc<Cluster>) -> Result<Self> {
        let s3 = S3::start(cluster).await?;
        let scene = Scene::new(cluster).await?;
        Ok(Self { scene, s3 })
    }

    /// The variables of a process that uses the bucket.
    fn environment(&self) -> Vec<(String, String)> {
        let store = ("HOOKRUN_PAYLOAD_STORE", format!("s3://{BUCKET}/pay"));
        let mut environment = self.s3.environment();
        environment.push((store.0.to_owned(), store.1));
        environment
    }

    fn setup(&self) -> Setup<'_> {
        let setup = self.scene.setup();
        let environment = self.environment().into_iter();
        environment.fold(setup, |setup, (name, value)| setup.env(&name, &value))
    }

    /// What a command of an administrator makes of its arguments; it knows the bucket where that is said.
    fn command(&self, arguments: &[&str], with_store: bool) -> Result<std::process::Output> {
        let kubeconfig = self.scene.cluster.folder().join("admin.kubeconfig");
        let mut command = Command::new(executable());
        command
            .env_clear()
            .env("KUBECONFIG", kubeconfig)
            .env("HOOKRUN_NAMESPACE", &self.scene.namespace)
            .args(arguments);
        if with_store {
            command.envs(self.environment());
        }
        Ok(command.output()?)
    }

    /// What the run's Secret says, as the files of its workspace.
    async fn workspace(&self, run: &Value) -> Result<tempfile::TempDir> {
        let workspaces = run["spec"]["workspaces"].as_array().context("workspaces")?;
        let event = workspaces.iter().find(|one| one["name"] == "event");
        let secret = event.context("no workspace event")?["secret"]["secretName"]
            .as_str()
            .context("no Secret")?;
        let secret = self.scene.objects.get("Secret", secret).await?;
        let folder = tempfile::tempdir()?;
        for (entry, bytes) in entries(&secret) {
            fs::write(folder.path().join(entry), bytes)?;
        }
        Ok(folder)
    }

    /// Fails unless the step of the Task gets these bytes from what the run is given.
    async fn is_fetched(&self, run: &Value, bytes: &[u8]) -> Result<()> {
        let workspace = self.workspace(run).await?;
        let [to, results] = [tempfile::tempdir()?, tempfile::tempdir()?];
        let output = fetch(workspace.path(), to.path(), results.path())?;
        ensure!(output.status.success(), "{output:?}");
        let path = fs::read_to_string(results.path().join("path"))?;
        ensure!(path == "event.json", "{path}");
        let size = fs::read_to_string(results.path().join("size"))?;
        ensure!(size == bytes.len().to_string(), "{size}");
        ensure!(fs::read(to.path().join(path))? == bytes, "other bytes");
        Ok(())
    }
}

/// The step of the Task `hookrun-fetch`: there is no node here that runs it.
fn fetch(workspace: &Path, to: &Path, results: &Path) -> Result<std::process::Output> {
    let mut command = Command::new(executable());
    command.env_clear().arg("fetch");
    command.arg("--from").arg(workspace);
    command.arg("--to").arg(to).arg("--results").arg(results);
    Ok(command.output()?)
}

/// A push to `main` of exactly so many bytes.
fn large(id: &str, bytes: usize) -> Result<Vec<u8>> {
    let mut push: Value = serde_json::from_slice(&push(id)?)?;
    push["padding"] = "".into();
    let without = push.to_string().len();
    push["padding"] = "x".repeat(bytes - without).into();
    let body = push.to_string().into_bytes();
    ensure!(body.len() == bytes, "{} bytes", body.len());
    Ok(body)
}

async fn send(sender: &Sender, function: &Function, id: &str, body: &[u8]) -> Result<Answer> {
    sender.send(function, "push", id, body).await
}

async fn a_large_event_is_fetched_by_the_run_and_shown_as_it_came(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let stage = Stage::new(&cluster).await?;
    let scene = &stage.scene;
    let function = stage.setup().start().await?;
    let rules = json!([rule_with_payload("build")]);
    let sender = scene.github("shop", rules, json!({})).await?;
    let body = large("one", 5 * MIB)?;
    accepted(&send(&sender, &function, "one", &body).await?)?;
    scene
        .finish_with("shop", TAKEOVER, &stage.environment())
        .await?;
    let delivery = scene.delivery("shop").await?;
    let payload = &delivery["payload"];
    ensure!(
        payload["object"] == delivery["metadata"]["name"]
            && payload["size"] == body.len()
            && payload["gzip"].is_null()
            && payload["secretName"].is_null(),
        "{payload:.300}"
    );
    let runs = scene.runs("shop").await?;
    ensure!(runs.len() == 1, "{} runs", runs.len());
    let run = &runs[0];
    ensure!(run["spec"]["status"].is_null(), "it was left waiting");
    stage.is_fetched(run, &body).await?;

    // No step gets the bucket's credentials.
    let workspace = stage.workspace(run).await?;
    let url = fs::read_to_string(workspace.path().join(Reference::URL))?;
    for (name, value) in stage.s3.environment() {
        let told = format!("{run}{url}{delivery}");
        ensure!(
            !name.contains("SECRET") || !told.contains(&value),
            "the run knows {name}"
        );
    }
    // Another content than the announced one is no file.
    let zeros = format!("sha256:{}", "0".repeat(64));
    fs::write(workspace.path().join(Reference::DIGEST), zeros)?;
    let [to, results] = [tempfile::tempdir()?, tempfile::tempdir()?];
    let output = fetch(workspace.path(), to.path(), results.path())?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        !output.status.success()
            && said.contains("not the one announced")
            && !said.contains("X-Amz-Signature"),
        "{output:?}"
    );
    for folder in [to, results] {
        ensure!(fs::read_dir(folder.path())?.next().is_none(), "a file");
    }

    let show = ["deliveries", "show", name(&delivery), "--payload"];
    let shown = stage.command(&show, true)?;
    ensure!(
        shown.stdout == body,
        "{}",
        String::from_utf8_lossy(&shown.stderr)
    );
    let explain = ["hooks", "explain", "shop", name(&delivery)];
    let explained = stage.command(&explain, true)?;
    ensure!(explained.status.success(), "{explained:?}");
    let refused = stage.command(&show, false)?;
    let said = String::from_utf8_lossy(&refused.stderr);
    ensure!(
        !refused.status.success() && said.contains("HOOKRUN_PAYLOAD_STORE"),
        "{refused:?}"
    );
    Ok(())
}

async fn what_the_provider_sends_at_most_is_accepted_and_one_byte_more_is_not(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let stage = Stage::new(&cluster).await?;
    let scene = &stage.scene;
    let function = stage.setup().start().await?;
    let rules = json!([rule_with_payload("build")]);
    let sender = scene.github("shop", rules, json!({})).await?;
    let more = send(&sender, &function, "more", &large("more", LARGEST + 1)?).await?;
    ensure!(more.status == 413, "{more:?}");
    ensure!(stage.s3.objects()?.is_empty(), "an object");
    let body = large("most", LARGEST)?;
    accepted(&send(&sender, &function, "most", &body).await?)?;
    // What the sender's time was too short for is left to the sweep.
    scene
        .finish_with("shop", TAKEOVER, &stage.environment())
        .await?;
    let delivery = scene.delivery("shop").await?;
    ensure!(delivery["outcome"] == "Created", "{}", delivery["reason"]);
    let runs = scene.runs("shop").await?;
    stage.is_fetched(&runs[0], &body).await
}

async fn without_a_store_a_large_event_is_refused_and_nothing_is_recorded(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    let function = scene.function().await?;
    let rules = json!([rule_with_payload("build")]);
    let sender = scene.github("shop", rules, json!({})).await?;
    let answer = send(&sender, &function, "one", &large("one", MIB + 1)?).await?;
    ensure!(
        answer.status == 413 && answer.text.contains("HOOKRUN_PAYLOAD_STORE"),
        "{answer:?}"
    );
    ensure!(scene.deliveries("shop").await?.is_empty(), "a Delivery");
    ensure!(scene.runs("shop").await?.is_empty(), "a run");
    // What a Secret holds needs no store.
    accepted(&send(&sender, &function, "two", &large("two", MIB)?).await?)?;
    let delivery = scene.delivery("shop").await?;
    ensure!(delivery["outcome"] == "Created", "{}", delivery["reason"]);
    Ok(())
}

async fn a_death_between_the_object_and_the_delivery_doubles_nothing(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let stage = Stage::new(&cluster).await?;
    let scene = &stage.scene;
    let faults = Faults::start(&cluster).await?;
    let rules = json!([rule_with_payload("build")]);
    let sender = scene.github("shop", rules, json!({})).await?;
    let body = large("one", 2 * MIB)?;
    let mut function = stage.setup().through(&faults).start().await?;
    let death = Action::Kill(function.killer());
    faults.add(Rule::of("/deliveries", death).method(Method::POST).times(1));
    let answer = send(&sender, &function, "one", &body).await;
    ensure!(
        answer.is_err() && function.ended()?.is_some(),
        "it lives: {answer:?}"
    );
    faults.heal();
    let objects = stage.s3.objects()?;
    ensure!(objects.len() == 1, "{objects:?}");
    ensure!(scene.deliveries("shop").await?.is_empty(), "a Delivery");

    let function = stage.setup().start().await?;
    let told = accepted(&send(&sender, &function, "one", &body).await?)?;
    ensure!(told["outcome"] == "Created", "{told:#}");
    let again = accepted(&send(&sender, &function, "one", &body).await?)?;
    ensure!(again["duplicate"] == true, "{again:#}");
    scene.delivery("shop").await?;
    let runs = scene.runs("shop").await?;
    ensure!(runs.len() == 1, "{} runs", runs.len());
    ensure!(stage.s3.objects()? == objects, "{:?}", stage.s3.objects()?);
    stage.is_fetched(&runs[0], &body).await
}

/// A rule for one branch, whose run gets the payload.
fn only(branch: &str) -> Value {
    let mut rule = rule_with_payload("build");
    rule["filter"] = format!("event.branch == '{branch}'").into();
    rule
}

async fn a_replay_has_an_object_of_its_own(cluster: Arc<Cluster>) -> Result<()> {
    let stage = Stage::new(&cluster).await?;
    let scene = &stage.scene;
    let function = stage.setup().start().await?;
    let rules = json!([only("dev")]);
    let sender = scene.github("shop", rules, json!({})).await?;
    let body = large("one", 2 * MIB)?;
    accepted(&send(&sender, &function, "one", &body).await?)?;
    let old = scene.delivery("shop").await?;
    ensure!(old["outcome"] == "Filtered", "{}", old["reason"]);
    let patch = json!({"spec": {"rules": [only("main")]}});
    scene.objects.merge("Hook", "shop", patch).await?;

    let replay = ["deliveries", "replay", name(&old), "--id", "once"];
    let refused = stage.command(&replay, false)?;
    let said = String::from_utf8_lossy(&refused.stderr);
    ensure!(
        refused.status.code() == Some(1) && said.contains("--payload-store"),
        "{refused:?}"
    );
    for _ in 0..2 {
        let replayed = stage.command(&replay, true)?;
        ensure!(replayed.status.success(), "{replayed:?}");
    }
    let objects = stage.s3.objects()?;
    ensure!(objects.len() == 2, "{objects:?}");

    // The old one's time is over, and with it that of its object.
    scene.objects.delete("Delivery", name(&old)).await?;
    let gone = objects.iter().find(|object| object.contains(name(&old)));
    fs::remove_file(stage.s3.bucket().join(gone.context("no object")?))?;
    // A sweep that does not know the bucket says so, and leaves it to one that does.
    let said = scene.sweep(TAKEOVER).await?;
    ensure!(said.contains("waiting 1"), "{said}");
    let new = scene.delivery("shop").await?;
    let reason = new["reason"].as_str().unwrap_or_default();
    ensure!(
        new["outcome"] == "Received" && reason.contains("HOOKRUN_PAYLOAD_STORE"),
        "{}: {reason}",
        new["outcome"]
    );
    scene
        .finish_with("shop", TAKEOVER, &stage.environment())
        .await?;
    let new = scene.delivery("shop").await?;
    ensure!(
        new["outcome"] == "Created" && new["replayOf"] == name(&old),
        "{}",
        new["reason"]
    );
    let runs = scene.runs("shop").await?;
    ensure!(runs.len() == 1, "{} runs", runs.len());
    stage.is_fetched(&runs[0], &body).await
}

async fn a_payload_that_is_gone_fails_the_delivery_and_says_so(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let stage = Stage::new(&cluster).await?;
    let scene = &stage.scene;
    let function = stage.setup().start().await?;
    // Nothing is started at once, so that everything is left to the sweep.
    let rules = json!([rule_with_payload("build"), rule("check")]);
    let quota = json!({"quota": {"perMinute": 0}});
    let sender = scene.github("shop", rules, quota).await?;
    let body = large("one", 2 * MIB)?;
    let told = accepted(&send(&sender, &function, "one", &body).await?)?;
    ensure!(told["outcome"] == "Received", "{told:#}");
    for object in stage.s3.objects()? {
        fs::remove_file(stage.s3.bucket().join(object))?;
    }
    scene
        .finish_with("shop", TAKEOVER, &stage.environment())
        .await?;
    let delivery = scene.delivery("shop").await?;
    let reason = delivery["rules"][0]["reason"].as_str().unwrap_or_default();
    ensure!(
        delivery["rules"][0]["outcome"] == "Failed" && reason.contains("not there any more"),
        "{:#}",
        delivery["rules"]
    );
    // What needs no payload is started all the same.
    ensure!(
        delivery["rules"][1]["outcome"] == "Created",
        "{:#}",
        delivery["rules"]
    );
    let show = ["deliveries", "show", name(&delivery), "--payload"];
    let shown = stage.command(&show, true)?;
    let said = String::from_utf8_lossy(&shown.stderr);
    ensure!(
        !shown.status.success() && said.contains("HOOKRUN_PAYLOAD_RETENTION"),
        "{shown:?}"
    );
    Ok(())
}

async fn a_bucket_that_never_answers_costs_the_sender_no_time_and_no_event(
    cluster: Arc<Cluster>,
) -> Result<()> {
    const CLOCK: Duration = Duration::from_millis(2400);
    let stage = Stage::new(&cluster).await?;
    let scene = &stage.scene;
    let rules = json!([rule_with_payload("build")]);
    let quota = json!({"quota": {"perMinute": 0}});
    let sender = scene.github("shop", rules, quota).await?;
    let body = large("one", 2 * MIB)?;
    let function = stage.setup().start().await?;
    accepted(&send(&sender, &function, "one", &body).await?)?;

    // Connections are made, and that is all.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let mut environment = stage.environment();
    let sweep = ("HOOKRUN_PAYLOAD_SWEEP_TIMEOUT", "1s");
    environment.push((sweep.0.to_owned(), sweep.1.to_owned()));
    environment.push((
        "AWS_ENDPOINT".to_owned(),
        format!("http://{}", silent.local_addr()?),
    ));
    until("the sweep asks for the URL in vain", PATIENCE, async || {
        scene.sweep_with(TAKEOVER, &environment).await?;
        Ok(scene.delivery("shop").await?["attempts"] == 1)
    })
    .await?;
    let delivery = scene.delivery("shop").await?;
    let reason = delivery["reason"].as_str().unwrap_or_default();
    ensure!(reason.contains("cannot sign the payload's URL"), "{reason}");
    // What there is no place for is not stored, and its sender learns that in time.
    let clock = ("HOOKRUN_API_DEADLINE", format!("{}ms", CLOCK.as_millis()));
    let setup = environment
        .iter()
        .fold(scene.setup(), |setup, (name, value)| setup.env(name, value));
    let function = setup.env(clock.0, &clock.1).start().await?;
    let body = large("two", 2 * MIB)?;
    let sent = send(&sender, &function, "two", &body);
    let answer = timeout(CLOCK + CLOCK / 4, sent)
        .await
        .context("too late")??;
    ensure!(answer.status == 503, "{answer:?}");

    scene
        .finish_with("shop", TAKEOVER, &stage.environment())
        .await?;
    let delivery = scene.delivery("shop").await?;
    ensure!(delivery["outcome"] == "Created", "{}", delivery["reason"]);
    Ok(())
}
