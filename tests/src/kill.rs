//! SIGKILL at each step of handling an event, many times over, with a sender that repeats until it gets a 2xx.
//!
//! The steps are the function's requests to the API server: between two of them nothing of it is outside its own memory. How
//! many there are is counted first, so a step that is added to the product is killed at too.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use control_plane::{Account, Cluster};
use reqwest::Response;
use tokio::sync::watch;

use crate::{
    aftermath,
    case::Case,
    cases,
    faults::{Action, Faults, Rule},
    function::{Function, PASSWORD, USER, client},
    samples::{Folder, payload, plain, rich},
};

/// How often each step is killed at.
const ROUNDS: usize = 3;

/// How often a sender repeats before it gives up; each repetition meets a fresh process.
const ATTEMPTS: usize = 12;

/// The cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    cases![
        a_stored_flow_with_copies_runs_once_wherever_the_process_dies,
        a_posted_flow_without_copies_runs_once_wherever_the_process_dies,
        a_run_by_name_with_copies_starts_once_wherever_the_process_dies,
        a_flow_that_is_edited_before_the_repetition_runs_once_in_one_edition,
        of_many_events_under_load_none_is_lost_and_none_runs_twice,
    ]
    .into_iter()
    .map(|case| case.within(Duration::from_secs(600)))
    .collect()
}

async fn a_stored_flow_with_copies_runs_once_wherever_the_process_dies(
    cluster: Arc<Cluster>,
) -> Result<()> {
    at_each_step(&cluster, Door::Key).await
}

async fn a_posted_flow_without_copies_runs_once_wherever_the_process_dies(
    cluster: Arc<Cluster>,
) -> Result<()> {
    at_each_step(&cluster, Door::Document).await
}

async fn a_run_by_name_with_copies_starts_once_wherever_the_process_dies(
    cluster: Arc<Cluster>,
) -> Result<()> {
    at_each_step(&cluster, Door::Name).await
}

/// How an event comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    /// `POST /flow/key/…`, with a payload, from a folder.
    Key,
    /// `POST /flow`, with a flow whose run needs no copies.
    Document,
    /// `POST /flow/name/…`, for a flow with Secrets.
    Name,
}

/// Where events go: a namespace, a flow store, and a proxy in front of the API server that kills.
struct Stage {
    cluster: Arc<Cluster>,
    namespace: String,
    account: Account,
    flows: Folder,
    faults: Faults,
}

/// At which request the process dies: before the API server gets it, or after it has executed it.
#[derive(Clone, Copy, Debug)]
struct Death {
    step: usize,
    after: bool,
}

/// What the sender gets in the end.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    text: String,
}

impl Stage {
    async fn new(cluster: &Arc<Cluster>, name: &str) -> Result<Self> {
        let namespace = cluster.namespace(name).await?;
        let flows = Folder::new()?;
        flows.put("nightly", &rich("nightly", &namespace, "first"))?;
        let faults = Faults::start(cluster).await?;
        // The first function brings the account; later ones share it.
        let function = Function::on(cluster).run_in(&namespace).start().await?;
        let stored = rich("by name", &namespace, "first");
        let answer = function
            .post("/flow")
            .body(stored.to_string())
            .header("idempotency-key", "setup")
            .send()
            .await?;
        ensure!(answer.status() == 200, "{}", answer.text().await?);
        Ok(Self {
            cluster: Arc::clone(cluster),
            account: function.account().clone(),
            namespace,
            flows,
            faults,
        })
    }

    async fn function(&self) -> Result<Function> {
        Function::on(&self.cluster)
            .account(&self.account)
            .run_in(&self.namespace)
            .through(&self.faults)
            .env("HOOKRUN_FLOW_STORE", &self.flows.url())
            .start()
            .await
    }

    /// The request of an event; the same one each time that it is repeated.
    fn request(
        &self,
        client: &reqwest::Client,
        url: &str,
        door: Door,
        number: usize,
    ) -> reqwest::RequestBuilder {
        let namespace = &self.namespace;
        let request = match door {
            Door::Key => client
                .post(format!("{url}/flow/key/nightly/ns/{namespace}"))
                .body(payload(number)),
            Door::Document => client
                .post(format!("{url}/flow"))
                .body(plain("plain", namespace).to_string()),
            Door::Name => client.post(format!("{url}/flow/name/by%20name/ns/{namespace}")),
        };
        request
            .basic_auth(USER, Some(PASSWORD))
            .header("idempotency-key", event(door, number))
    }

    /// Delivers an event to processes that die as told, then to one that lives, until there is a 2xx.
    async fn deliver(&self, door: Door, number: usize, deaths: &[Death]) -> Result<Answer> {
        let client = client()?;
        for attempt in 0..ATTEMPTS {
            let mut function = self.function().await?;
            self.faults.heal();
            if let Some(death) = deaths.get(attempt) {
                self.faults.add(death.rule(&function));
            }
            let answer = self
                .request(&client, &function.url(), door, number)
                .send()
                .await;
            let dead = function.ended()?.is_some();
            // The first death is at a step that every delivery comes to; whoever repeats may have less to do.
            ensure!(dead || attempt > 0 || deaths.is_empty(), "it did not die");
            aftermath::discreet(&function)?;
            match answer {
                Ok(answer) if answer.status().is_success() => return Answer::of(answer).await,
                // It lived on, and asks to come again.
                Ok(answer) if answer.status() == 503 => {}
                Ok(answer) => bail!("{}: {}", answer.status(), answer.text().await?),
                Err(_) if dead => {}
                Err(error) => return Err(error).context(function.log()),
            }
        }
        bail!("no 2xx after {ATTEMPTS} attempts, {deaths:?}")
    }
}

impl Death {
    fn rule(self, function: &Function) -> Rule {
        let rule = Rule::of("", Action::Kill(function.killer()))
            .skip(self.step)
            .times(1);
        if self.after { rule.after() } else { rule }
    }
}

impl Answer {
    async fn of(response: Response) -> Result<Self> {
        Ok(Self {
            status: response.status().as_u16(),
            text: response.text().await?,
        })
    }
}

fn event(door: Door, number: usize) -> String {
    format!("{door:?}-{number}")
}

async fn at_each_step(cluster: &Arc<Cluster>, door: Door) -> Result<()> {
    let stage = Stage::new(cluster, "kill").await?;
    let function = stage.function().await?;
    stage.faults.forget();
    let answer = stage
        .request(&client()?, &function.url(), door, 0)
        .send()
        .await?;
    ensure!(answer.status() == 200, "{}", answer.text().await?);
    let steps = stage.faults.seen().len();
    drop(function);

    let mut events = vec!["setup".to_owned(), event(door, 0)];
    for round in 0..ROUNDS {
        for step in 0..steps {
            for after in [false, true] {
                let number = events.len();
                // The next process dies too, at a step that differs from round to round; in the first round it lives.
                let again = Death {
                    step: (number * 7 + round) % steps,
                    after: !after,
                };
                let deaths = &[Death { step, after }, again][..if round == 0 { 1 } else { 2 }];
                let told = format!(
                    "{door:?}, {deaths:?} of {steps} steps: {:#?}",
                    stage.faults.seen()
                );
                let first = stage.deliver(door, number, deaths).await.context(told)?;
                events.push(event(door, number));
                if step % 4 == 0 {
                    let second = stage.deliver(door, number, &[]).await?;
                    ensure!(first == second, "{first:?}, and repeated {second:?}");
                }
            }
        }
    }
    aftermath::holds(cluster, &stage.namespace, &events).await?;
    if door == Door::Key {
        payloads(&stage, door).await?;
    }
    aftermath::vanishes_with_its_runs(cluster, &stage.namespace).await
}

/// Checks that each run reads the payload of its own event.
async fn payloads(stage: &Stage, door: Door) -> Result<()> {
    let prefix = aftermath::identity(&format!("{door:?}-"));
    for (event, run) in aftermath::runs_by_event(&stage.cluster, &stage.namespace).await? {
        let Some(number) = event.strip_prefix(&prefix) else {
            continue;
        };
        let name = run.metadata.name.unwrap_or_default();
        let context = aftermath::context(&stage.cluster, &stage.namespace, &name).await?;
        ensure!(
            context == payload(number.parse()?),
            "{name} of {event} reads {context}"
        );
    }
    Ok(())
}

async fn a_flow_that_is_edited_before_the_repetition_runs_once_in_one_edition(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let stage = Stage::new(&cluster, "kill-edit").await?;
    let function = stage.function().await?;
    stage.faults.forget();
    let answer = stage
        .request(&client()?, &function.url(), Door::Key, 0)
        .send()
        .await?;
    ensure!(answer.status() == 200, "{}", answer.text().await?);
    let steps = stage.faults.seen().len();
    drop(function);

    let mut events = vec!["setup".to_owned(), event(Door::Key, 0)];
    for step in 0..steps {
        for after in [false, true] {
            let number = events.len();
            stage
                .flows
                .put("nightly", &rich("nightly", &stage.namespace, "first"))?;
            let function = stage.function().await?;
            stage.faults.heal();
            stage.faults.add(Death { step, after }.rule(&function));
            let request = stage.request(&client()?, &function.url(), Door::Key, number);
            ensure!(
                request.send().await.is_err(),
                "step {step} of {steps} was not reached"
            );
            drop(function);

            let edition = format!("edition-{number}");
            stage
                .flows
                .put("nightly", &rich("nightly", &stage.namespace, &edition))?;
            stage.deliver(Door::Key, number, &[]).await?;
            events.push(event(Door::Key, number));

            let identity = aftermath::identity(&event(Door::Key, number));
            let runs = aftermath::runs_by_event(&cluster, &stage.namespace).await?;
            let run = runs.get(&identity).context("the event has no run")?;
            let text = run.data["spec"].to_string();
            let mark = if text.contains(&edition) {
                edition.as_str()
            } else {
                "first"
            };
            let name = run.metadata.name.clone().unwrap_or_default();
            let token = aftermath::entry(
                &cluster,
                &stage.namespace,
                &format!("{name}-creds-secret"),
                "TOKEN",
            )
            .await?;
            let file = aftermath::entry(
                &cluster,
                &stage.namespace,
                &format!("{name}-files-secret"),
                "rules.yaml",
            )
            .await?;
            ensure!(
                token.ends_with(&format!("-{mark}")) && file.ends_with(&format!("-{mark}\n")),
                "run {name} is of edition {mark}, its copies hold {token} and {file}"
            );
        }
    }
    aftermath::holds(&cluster, &stage.namespace, &events).await?;
    payloads(&stage, Door::Key).await?;
    aftermath::vanishes_with_its_runs(&cluster, &stage.namespace).await
}

/// Events under load.
const EVENTS: usize = 120;
/// Senders at once.
const SENDERS: usize = 8;
/// Processes that die under load.
const DEATHS: usize = 24;

async fn of_many_events_under_load_none_is_lost_and_none_runs_twice(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let stage = Arc::new(Stage::new(&cluster, "kill-load").await?);
    let (address, addresses) = watch::channel(String::new());
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| tokio::spawn(send_all(Arc::clone(&stage), sender, addresses.clone())))
        .collect();
    drop(addresses);

    let mut number = 0;
    // Ends when the last sender has ended, and with it the last receiver.
    while !address.is_closed() {
        let mut function = stage.function().await?;
        stage.faults.heal();
        if number < DEATHS {
            let step = 3 + (number * 37) % 61;
            stage.faults.add(
                Death {
                    step,
                    after: number % 2 == 1,
                }
                .rule(&function),
            );
        }
        number += 1;
        address.send_replace(function.url());
        while function.ended()?.is_none() && !address.is_closed() {
            tokio::time::timeout(Duration::from_millis(2), address.closed())
                .await
                .ok();
        }
        aftermath::discreet(&function)?;
    }
    let mut events = vec!["setup".to_owned()];
    for sender in senders {
        events.extend(sender.await??);
    }
    ensure!(number > DEATHS, "only {number} processes died");
    aftermath::holds(&cluster, &stage.namespace, &events).await?;
    payloads(&stage, Door::Key).await?;
    aftermath::vanishes_with_its_runs(&cluster, &stage.namespace).await
}

/// One sender: its share of the events, each repeated until there is a 2xx.
async fn send_all(
    stage: Arc<Stage>,
    sender: usize,
    mut addresses: watch::Receiver<String>,
) -> Result<Vec<String>> {
    let client = client()?;
    let mut sent = Vec::new();
    for number in (sender..EVENTS).step_by(SENDERS) {
        let door = [Door::Key, Door::Document, Door::Name][number % 3];
        loop {
            let url = addresses.borrow_and_update().clone();
            let answer = match url.as_str() {
                "" => None,
                url => stage.request(&client, url, door, number).send().await.ok(),
            };
            match answer {
                Some(answer) if answer.status().is_success() => break,
                Some(answer) if answer.status() == 503 => {}
                Some(answer) => bail!(
                    "event {number}: {}: {}",
                    answer.status(),
                    answer.text().await?
                ),
                // The process is gone: wait for the next one.
                None => drop(addresses.changed().await),
            }
        }
        sent.push(event(door, number));
    }
    Ok(sent)
}
