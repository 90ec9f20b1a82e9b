//! SIGKILL while events are handled, many times over, with a sender that repeats until it gets a 2xx: nothing that was
//! acknowledged is lost, nothing runs twice, and after a sweep every Delivery has an outcome.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use control_plane::Cluster;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::scene::{PATIENCE, Scene, Sender, push, rule, rule_with_payload};
use crate::{
    aftermath,
    case::Case,
    cases,
    faults::{Action, Faults, Rule},
    function::Function,
    support::objects::{entries, name},
};

/// Events under load.
const EVENTS: usize = 500;

/// Senders at once.
const SENDERS: usize = 16;

/// Processes that die under load.
const DEATHS: usize = 60;

/// Age at which a redelivery or the sweep takes over what a dead process has left.
const TAKEOVER: Duration = Duration::from_secs(6);

pub(super) fn cases() -> Vec<Case> {
    cases![
        an_event_runs_once_wherever_the_process_dies,
        a_sweep_finishes_what_a_death_at_any_step_has_left,
        of_five_hundred_events_none_is_lost_and_none_runs_twice,
    ]
    .into_iter()
    .map(|case| case.within(Duration::from_secs(600)))
    .collect()
}

/// A Hook, a proxy in front of the API server that kills, and what was sent.
struct Stage {
    scene: Scene,
    faults: Faults,
    sender: Sender,
}

/// Where a process dies: at which of its requests to the API server, and whether that is executed first.
#[derive(Clone, Copy, Debug)]
struct Death {
    step: usize,
    after: bool,
}

impl Stage {
    async fn new(cluster: &Arc<Cluster>) -> Result<Self> {
        let scene = Scene::new(cluster).await?;
        let rules = json!([rule_with_payload("build"), rule("check")]);
        let much = json!({
            "quota": {"perMinute": 1_000_000},
            "retention": {"count": 1_000_000, "days": 1, "bytes": 1_u64 << 40},
        });
        let sender = scene.github("shop", rules, much).await?;
        let faults = Faults::start(cluster).await?;
        Ok(Self {
            scene,
            faults,
            sender,
        })
    }

    async fn function(&self) -> Result<Function> {
        self.scene
            .setup()
            .through(&self.faults)
            .env("HOOKRUN_API_TIMEOUT", "3s")
            .env("HOOKRUN_API_DEADLINE", "5s")
            .env("HOOKRUN_HOOK_TAKEOVER", "6s")
            .start()
            .await
    }

    fn dies(&self, function: &Function, death: Death) {
        let rule = Rule::of("", Action::Kill(function.killer()))
            .skip(death.step)
            .times(1);
        self.faults
            .add(if death.after { rule.after() } else { rule });
    }

    /// How many requests the first delivery of an event makes, in a process that knows nothing yet, to a Hook whose
    /// status has been written.
    async fn steps(&self) -> Result<usize> {
        let function = self.function().await?;
        self.sender.push(&function, "warm").await?;
        let function = self.function().await?;
        self.faults.forget();
        self.sender.push(&function, "count").await?;
        Ok(self.faults.seen().len())
    }

    /// Checks that exactly these events have a Delivery and their runs each, all finished, with what they need.
    async fn holds(&self, events: &BTreeSet<String>) -> Result<()> {
        let deliveries = self.scene.deliveries("shop").await?;
        let mut stored = BTreeMap::new();
        for delivery in &deliveries {
            let id = delivery["deliveryId"].as_str().unwrap_or_default();
            let other = stored.insert(id.to_owned(), delivery);
            ensure!(other.is_none(), "event {id} has two Deliveries");
            ensure!(
                delivery["outcome"] == "Created",
                "event {id} ended {}: {}",
                delivery["outcome"],
                delivery["reason"]
            );
        }
        let found: BTreeSet<String> = stored.keys().cloned().collect();
        let lost: Vec<_> = events.difference(&found).collect();
        let extra: Vec<_> = found.difference(events).collect();
        ensure!(
            lost.is_empty() && extra.is_empty(),
            "acknowledged and lost: {lost:?}; never sent: {extra:?}"
        );
        let mut runs: BTreeMap<String, Value> = BTreeMap::new();
        for run in self.scene.runs("shop").await? {
            runs.insert(name(&run).to_owned(), run);
        }
        let secrets = self.secrets().await?;
        for (id, delivery) in stored {
            for record in delivery["rules"].as_array().into_iter().flatten() {
                let run = record["run"].as_str().context("a rule without run")?;
                let run = runs
                    .remove(run)
                    .with_context(|| format!("event {id} has no run {run}"))?;
                is_started(&run, &secrets).with_context(|| format!("event {id}"))?;
            }
        }
        let doubled: Vec<&String> = runs.keys().collect();
        ensure!(doubled.is_empty(), "runs of nobody's rule: {doubled:?}");
        Ok(())
    }

    async fn secrets(&self) -> Result<BTreeMap<String, Value>> {
        let all = self.scene.objects.all("Secret").await?;
        let named = all
            .into_iter()
            .map(|secret| (name(&secret).to_owned(), secret));
        Ok(named.collect())
    }
}

/// The run waits for nothing, and the payload that it refers to is there, its own, and that of its event.
fn is_started(run: &Value, secrets: &BTreeMap<String, Value>) -> Result<()> {
    let own = name(run);
    ensure!(
        run["spec"]["status"].is_null(),
        "run {own} was left waiting"
    );
    for secret in aftermath::references(&run["spec"]) {
        let found = secrets
            .get(&secret)
            .with_context(|| format!("run {own} refers to Secret {secret}, which is missing"))?;
        ensure!(
            found["metadata"]["ownerReferences"][0]["uid"] == run["metadata"]["uid"],
            "run {own} refers to Secret {secret}, which is not its own"
        );
        let payload: Value = serde_json::from_slice(&entries(found)["event.json"])?;
        let delivery = run["metadata"]["labels"]["hookrun.dev/delivery"].as_str();
        ensure!(
            payload["sample"].is_string() && delivery.is_some(),
            "run {own} reads {payload}"
        );
    }
    Ok(())
}

async fn an_event_runs_once_wherever_the_process_dies(cluster: Arc<Cluster>) -> Result<()> {
    let stage = Stage::new(&cluster).await?;
    let steps = stage.steps().await?;
    let mut events = BTreeSet::from(["warm".to_owned(), "count".to_owned()]);
    for step in 0..steps {
        for after in [false, true] {
            let death = Death { step, after };
            let id = format!("{step}-{after}");
            let mut function = stage.function().await?;
            stage.faults.heal();
            stage.dies(&function, death);
            let body = push(&id)?;
            let answer = stage.sender.send(&function, "push", &id, &body).await;
            ensure!(
                answer.is_err() && function.ended()?.is_some(),
                "{death:?} of {steps} did not end it: {answer:?}\n{:#?}",
                stage.faults.seen()
            );
            aftermath::discreet(&function)?;
            stage.faults.heal();
            let function = stage.function().await?;
            let told = stage
                .sender
                .push(&function, &id)
                .await
                .context(id.clone())?;
            ensure!(
                told["outcome"] == "Created" || told["outcome"] == "Received",
                "{death:?}: {told:#}"
            );
            events.insert(id);
        }
    }
    stage.scene.finish("shop", TAKEOVER).await?;
    stage.holds(&events).await
}

async fn a_sweep_finishes_what_a_death_at_any_step_has_left(cluster: Arc<Cluster>) -> Result<()> {
    let stage = Stage::new(&cluster).await?;
    let steps = stage.steps().await?;
    for step in 0..steps {
        let function = stage.function().await?;
        stage.faults.heal();
        let death = Death { step, after: true };
        stage.dies(&function, death);
        let id = step.to_string();
        let body = push(&id)?;
        // Nobody repeats it: what was stored has to be carried out all the same.
        stage.sender.send(&function, "push", &id, &body).await.ok();
    }
    stage.faults.heal();
    stage.scene.finish("shop", TAKEOVER).await?;
    let deliveries = stage.scene.deliveries("shop").await?;
    let stored: BTreeSet<String> = deliveries
        .iter()
        .filter_map(|delivery| delivery["deliveryId"].as_str().map(str::to_owned))
        .collect();
    ensure!(
        stored.len() > 3,
        "of {steps} deaths only {stored:?} came after the Delivery was stored"
    );
    stage.holds(&stored).await?;
    // Once more has nothing to do, twice at once neither.
    let (first, second) =
        tokio::try_join!(stage.scene.sweep(TAKEOVER), stage.scene.sweep(TAKEOVER))?;
    for swept in [first, second] {
        ensure!(
            swept.contains("finished 0 deliveries, deleted 0"),
            "{swept}"
        );
    }
    stage.holds(&stored).await
}

async fn of_five_hundred_events_none_is_lost_and_none_runs_twice(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let stage = Arc::new(Stage::new(&cluster).await?);
    let (address, addresses) = watch::channel(String::new());
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let (stage, addresses, acknowledged) = (
                Arc::clone(&stage),
                addresses.clone(),
                Arc::clone(&acknowledged),
            );
            tokio::spawn(send_all(stage, sender, addresses, acknowledged))
        })
        .collect();
    drop(addresses);
    let mut deaths = 0;
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    // Ends when the last sender has ended, and with it the last receiver.
    while !address.is_closed() {
        let mut function = stage.function().await?;
        stage.faults.heal();
        if deaths < DEATHS {
            // A step that nobody has chosen; the same ones in each run of the test.
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let random = usize::try_from(seed >> 40)?;
            let death = Death {
                step: 2 + random % 60,
                after: random & 64 == 0,
            };
            stage.dies(&function, death);
        }
        address.send_replace(function.url());
        while function.ended()?.is_none() && !address.is_closed() {
            tokio::time::timeout(Duration::from_millis(5), address.closed())
                .await
                .ok();
        }
        deaths += usize::from(function.ended()?.is_some());
        aftermath::discreet(&function)?;
    }
    for sender in senders {
        sender.await??;
    }
    let acknowledged = acknowledged.load(Ordering::Relaxed);
    ensure!(
        acknowledged == EVENTS,
        "{acknowledged} events were acknowledged"
    );
    ensure!(deaths >= DEATHS / 2, "only {deaths} processes died");
    stage.faults.heal();
    stage.scene.finish("shop", TAKEOVER).await?;
    let events = (0..EVENTS).map(|number| number.to_string()).collect();
    stage.holds(&events).await
}

/// One sender: its share of the events, each repeated until there is a 2xx.
async fn send_all(
    stage: Arc<Stage>,
    sender: usize,
    mut addresses: watch::Receiver<String>,
    acknowledged: Arc<AtomicUsize>,
) -> Result<()> {
    let client = crate::function::client()?;
    for number in (sender..EVENTS).step_by(SENDERS) {
        let id = number.to_string();
        let body = push(&id)?;
        loop {
            let url = addresses.borrow_and_update().clone();
            let answer = match url.as_str() {
                "" => None,
                url => {
                    let request = client.post(format!("{url}{}", stage.sender.path));
                    let request = stage.sender.signed(request, "push", &id, &body);
                    // Whoever is not answered by the living asks again, as every sender does.
                    let answer = tokio::time::timeout(PATIENCE, request.send()).await;
                    answer.ok().and_then(Result::ok)
                }
            };
            match answer {
                Some(answer) if answer.status().is_success() => break,
                Some(answer) if answer.status() == 503 => {}
                Some(answer) => bail!("event {id}: {}: {}", answer.status(), answer.text().await?),
                // The process is gone: wait for the next one.
                None => drop(addresses.changed().await),
            }
        }
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
