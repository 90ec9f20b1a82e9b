//! Hooks whose processes are killed, and what has to be true of their events in the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use control_plane::{Account, Cluster, until};
use reqwest::Client;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    TAKEOVER,
    tally::{Place, Tally, Way},
};
use crate::{
    aftermath,
    faults::Faults,
    function::{Function, Setup, client, executable, repository},
    hooks::scene::{PATIENCE, Scene, Sender, payload, rule, rule_with_payload},
    support::{
        Answer, ask,
        objects::{entries, name},
    },
};

/// Hooks side by side, each with processes of its own.
pub(super) const LANES: usize = 4;

/// What all processes have in common: [`TAKEOVER`], and times that are below it.
const PATIENT: [(&str, &str); 3] = [
    ("HOOKRUN_API_TIMEOUT", "3s"),
    ("HOOKRUN_API_DEADLINE", "5s"),
    ("HOOKRUN_HOOK_TAKEOVER", "6s"),
];

/// How long it may take to finish what hundreds of interrupted events have left.
const SWEEPING: Duration = Duration::from_secs(180);

/// Characters that make a payload large: even compressed it does not fit into its Delivery.
const LARGE: usize = 300 << 10;

/// A namespace with several Hooks.
pub(super) struct Stage {
    pub(super) scene: Scene,
    /// As whom sweeps are made.
    sweeper: Account,
    pub(super) lanes: Vec<Lane>,
    pub(super) tally: Tally,
}

/// A Hook, a proxy in front of the API server that kills its processes, and what was sent to it.
pub(super) struct Lane {
    pub(super) hook: String,
    pub(super) faults: Faults,
    sender: Sender,
    client: Client,
    push: Value,
    sent: Mutex<Sent>,
}

/// Identities of events.
#[derive(Default)]
struct Sent {
    /// Those whose sender got a 2xx.
    acknowledged: BTreeSet<String>,
    /// All of them.
    all: BTreeSet<String>,
}

impl Stage {
    pub(super) async fn new(cluster: &Arc<Cluster>) -> Result<Self> {
        let scene = Scene::new(cluster).await?;
        let mut lanes = Vec::new();
        for number in 0..LANES {
            let hook = format!("shop-{number}");
            let rules = json!([rule_with_payload("build"), rule("check")]);
            let much = json!({
                "quota": {"perMinute": 60_000},
                "retention": {"count": 10_000, "days": 1, "bytes": 1 << 30},
            });
            lanes.push(Lane {
                sender: scene.github(&hook, rules, much).await?,
                hook,
                faults: Faults::start(cluster).await?,
                client: client()?,
                push: payload("push.json")?,
                sent: Mutex::default(),
            });
        }
        let sweeper = cluster.account("hookrun-sweep").await?;
        let role = repository().join("knative/hooks/sweep-role.yaml");
        cluster.grant(&role, &scene.namespace, &sweeper).await?;
        Ok(Self {
            scene,
            sweeper,
            lanes,
            tally: Tally::default(),
        })
    }

    /// A process yet to be started, for any of the Hooks.
    pub(super) fn setup(&self) -> Setup<'_> {
        self.scene
            .setup()
            .env("HOOKRUN_API_TIMEOUT", "3s")
            .env("HOOKRUN_API_DEADLINE", "5s")
            .env("HOOKRUN_HOOK_TAKEOVER", &format!("{}s", TAKEOVER.as_secs()))
    }

    /// A process that reaches the API server through the proxy of one Hook.
    pub(super) async fn function(&self, lane: &Lane) -> Result<Function> {
        lane.faults.heal();
        let function = self.setup().through(&lane.faults).start().await?;
        lane.faults.forget();
        Ok(function)
    }

    /// A sweep yet to be started, of a few Deliveries, through the proxy of one Hook.
    pub(super) fn sweeper(&self, lane: &Lane) -> Result<Command> {
        let cluster = &self.scene.cluster;
        let kubeconfig = cluster.kubeconfig(&lane.faults.url(), &self.sweeper.token)?;
        let mut command = Command::new(executable());
        command
            .arg("sweep")
            .env_clear()
            .env("KUBECONFIG", kubeconfig)
            .env("HOOKRUN_NAMESPACES", &self.scene.namespace)
            .env("HOOKRUN_SWEEP_DELIVERIES", "true")
            .env("HOOKRUN_SWEEP_FINISH", "8")
            .envs(PATIENT);
        Ok(command)
    }

    /// Sends an event to a process that dies on its way; whether it did.
    pub(super) async fn dies(
        &self,
        lane: &Lane,
        way: Way,
        place: &Place,
        id: &str,
    ) -> Result<bool> {
        let mut function = self.function(lane).await?;
        let fault = place.fault(&self.scene.namespace, function.killer());
        lane.faults.add(fault);
        let answer = lane.send(&function, id).await;
        aftermath::discreet(&function)?;
        if function.ended()?.is_none() {
            lane.taken(id, &answer?)?;
            return Ok(false);
        }
        ensure!(
            answer.is_err(),
            "killed {place}, the process answered {answer:?}"
        );
        self.tally.count(way, place);
        Ok(true)
    }

    /// Checks that every event that was acknowledged has exactly one Delivery and its runs, all finished, with what
    /// they need, and that nothing else is there.
    pub(super) async fn holds(&self) -> Result<()> {
        let mut owners = BTreeSet::new();
        let secrets = self.secrets().await?;
        for lane in &self.lanes {
            let deliveries = self.scene.deliveries(&lane.hook).await?;
            let runs = self.scene.runs(&lane.hook).await?;
            let uids = deliveries.iter().chain(&runs).map(uid);
            owners.extend(uids.map(str::to_owned));
            lane.holds(&deliveries, runs, &secrets)
                .with_context(|| lane.hook.clone())?;
        }
        // Whose owner was replaced vanishes with it, some time later.
        until("every Secret has its owner", PATIENCE, async || {
            let secrets = self.secrets().await?;
            let mut owned = secrets.values().filter(|secret| {
                let labels = &secret["metadata"]["labels"];
                labels["app.kubernetes.io/managed-by"] == "hookrun"
            });
            Ok(owned.all(|secret| owners.contains(owner(secret))))
        })
        .await
    }

    async fn secrets(&self) -> Result<BTreeMap<String, Value>> {
        let all = self.scene.objects.all("Secret").await?;
        let named = all
            .into_iter()
            .map(|secret| (name(&secret).to_owned(), secret));
        Ok(named.collect())
    }

    /// How many Deliveries wait for somebody to go on with them.
    pub(super) async fn left(&self) -> Result<usize> {
        let label = "hookrun.dev/outcome=Received";
        Ok(self.scene.objects.selected("Delivery", label).await?.len())
    }

    /// Sweeps until no Delivery is left without outcome; what one sweep cannot do, the next one does.
    pub(super) async fn finish(&self) -> Result<()> {
        let mut said = String::new();
        until("every Delivery has an outcome", SWEEPING, async || {
            let swept = self.scene.sweep(TAKEOVER).await;
            said = swept.unwrap_or_else(|error| error.to_string());
            Ok(self.left().await? == 0)
        })
        .await
        .with_context(|| format!("the last sweep said: {said}"))
    }
}

fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

fn owner(object: &Value) -> &str {
    let owner = &object["metadata"]["ownerReferences"][0]["uid"];
    owner.as_str().unwrap_or_default()
}

/// Whether an event's payload is a large one.
fn is_large(id: &str) -> bool {
    id.starts_with("large")
}

impl Lane {
    /// The payload of an event: the same bytes whenever it is sent, other ones for each event.
    pub(super) fn body(&self, id: &str) -> Vec<u8> {
        let mut push = self.push.clone();
        push["sample"] = id.into();
        if is_large(id) {
            let mut text = String::new();
            // What a hash gives cannot be compressed.
            let mut block = Sha256::digest(id);
            while text.len() < LARGE {
                text.push_str(&BASE64_STANDARD.encode(block));
                block = Sha256::digest(block);
            }
            push["padding"] = text.into();
        }
        push.to_string().into_bytes()
    }

    /// Sends an event once.
    pub(super) async fn send(&self, function: &Function, id: &str) -> Result<Answer> {
        self.note(|sent| sent.all.insert(id.to_owned()));
        let body = self.body(id);
        self.sender.send(function, "push", id, &body).await
    }

    /// [`Self::send`] to a URL.
    pub(super) async fn send_by(&self, url: &str, id: &str) -> Result<Answer> {
        self.note(|sent| sent.all.insert(id.to_owned()));
        let request = self.client.post(format!("{url}{}", self.sender.path));
        ask(self.sender.signed(request, "push", id, &self.body(id))).await
    }

    /// Sends an event to a process that lives, until it is acknowledged.
    pub(super) async fn repeat(&self, function: &Function, id: &str) -> Result<()> {
        while !self.taken(id, &self.send(function, id).await?)? {}
        Ok(())
    }

    /// Whether an answer acknowledges an event; anything but that or "come again" is wrong.
    pub(super) fn taken(&self, id: &str, answer: &Answer) -> Result<bool> {
        match answer.status {
            202 => {}
            503 => return Ok(false),
            _ => bail!("event {id} of {}: {answer:?}", self.hook),
        }
        let told: Value = serde_json::from_str(&answer.text)?;
        ensure!(
            told["outcome"] == "Created" || told["outcome"] == "Received",
            "event {id} of {}: {told:#}",
            self.hook
        );
        self.note(|sent| sent.acknowledged.insert(id.to_owned()));
        Ok(true)
    }

    fn note(&self, note: impl FnOnce(&mut Sent) -> bool) {
        note(&mut self.sent.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// [`Stage::holds`] for one Hook.
    fn holds(
        &self,
        deliveries: &[Value],
        runs: Vec<Value>,
        secrets: &BTreeMap<String, Value>,
    ) -> Result<()> {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stored = BTreeMap::new();
        for delivery in deliveries {
            let id = delivery["deliveryId"].as_str().unwrap_or_default();
            let other = stored.insert(id.to_owned(), delivery);
            ensure!(other.is_none(), "event {id} has two Deliveries");
            // What was stored without its payload was not acknowledged, and nobody sent it again.
            let lost = !sent.acknowledged.contains(id)
                && delivery["outcome"] == "Failed"
                && delivery["reason"]
                    .to_string()
                    .contains("the payload is lost");
            ensure!(
                delivery["outcome"] == "Created" || lost,
                "event {id} ended {}: {}",
                delivery["outcome"],
                delivery["reason"]
            );
        }
        let found: BTreeSet<String> = stored.keys().cloned().collect();
        let lost: Vec<_> = sent.acknowledged.difference(&found).collect();
        let extra: Vec<_> = found.difference(&sent.all).collect();
        ensure!(
            lost.is_empty() && extra.is_empty(),
            "acknowledged and lost: {lost:?}; never sent: {extra:?}"
        );
        let runs = runs.into_iter().map(|run| (name(&run).to_owned(), run));
        let mut runs: BTreeMap<String, Value> = runs.collect();
        for (id, delivery) in stored {
            let rules = delivery["rules"].as_array();
            let rules = rules.context("no rules")?;
            ensure!(rules.len() == 2, "event {id} has {} rules", rules.len());
            for record in rules.iter().filter(|rule| rule["outcome"] != "Failed") {
                let run = record["run"].as_str().context("a rule without run")?;
                let run = runs
                    .remove(run)
                    .with_context(|| format!("event {id} has no run {run}"))?;
                self.is_started(&run, &id, delivery, secrets)
                    .with_context(|| format!("event {id}"))?;
            }
        }
        let doubled: Vec<&String> = runs.keys().collect();
        ensure!(doubled.is_empty(), "runs of nobody's rule: {doubled:?}");
        Ok(())
    }

    /// The run waits for nothing, belongs to its Delivery, and what it refers to is there, its own, and holds the bytes
    /// that were sent.
    fn is_started(
        &self,
        run: &Value,
        id: &str,
        delivery: &Value,
        secrets: &BTreeMap<String, Value>,
    ) -> Result<()> {
        let own = name(run);
        ensure!(
            run["spec"]["status"].is_null(),
            "run {own} was left waiting"
        );
        ensure!(
            run["metadata"]["labels"]["hookrun.dev/delivery"] == name(delivery),
            "run {own} is not that of {}",
            name(delivery)
        );
        for secret in aftermath::references(&run["spec"]) {
            let found = secrets.get(&secret).with_context(|| {
                format!("run {own} refers to Secret {secret}, which is missing")
            })?;
            ensure!(
                owner(found) == uid(run),
                "run {own} refers to Secret {secret}, which is not its own"
            );
            let entries = entries(found);
            let bytes = entries.get("event.json").context("no payload")?;
            ensure!(*bytes == self.body(id), "run {own} reads other bytes");
        }
        Ok(())
    }
}
