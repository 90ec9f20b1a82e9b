//! Many deliveries at once: of one event, and of many events for one flow.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use control_plane::Cluster;
use futures_util::future::{join_all, try_join_all};

use crate::{
    aftermath,
    case::Case,
    cases,
    function::Function,
    samples::{Folder, payload, plain, rich},
};

/// Copies of one event.
const COPIES: usize = 100;

/// Different events for one flow.
const EVENTS: usize = 50;

/// The cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    cases![
        a_hundred_copies_of_an_event_with_payload_make_one_run_and_equal_answers,
        a_hundred_copies_of_a_posted_flow_make_one_run_and_equal_answers,
        a_hundred_copies_of_an_event_by_name_make_one_run_and_equal_answers,
        fifty_events_for_one_flow_make_fifty_runs_each_with_its_own_payload,
        an_event_repeated_after_its_flow_was_edited_changes_nothing,
        copies_of_one_event_while_its_flow_is_edited_make_one_run_of_one_edition,
    ]
}

async fn a_hundred_copies_of_an_event_with_payload_make_one_run_and_equal_answers(
    cluster: Arc<Cluster>,
) -> Result<()> {
    copies_of_one_event(&cluster, Door::Key).await
}

async fn a_hundred_copies_of_a_posted_flow_make_one_run_and_equal_answers(
    cluster: Arc<Cluster>,
) -> Result<()> {
    copies_of_one_event(&cluster, Door::Document).await
}

async fn a_hundred_copies_of_an_event_by_name_make_one_run_and_equal_answers(
    cluster: Arc<Cluster>,
) -> Result<()> {
    copies_of_one_event(&cluster, Door::Name).await
}

#[derive(Clone, Copy)]
enum Door {
    Key,
    Document,
    Name,
}

/// Two processes of one function, with a flow store that both read.
struct Pair {
    namespace: String,
    flows: Folder,
    functions: [Function; 2],
}

impl Pair {
    async fn start(cluster: &Cluster) -> Result<Self> {
        let namespace = cluster.namespace("once").await?;
        let flows = Folder::new()?;
        flows.put("nightly", &rich("nightly", &namespace, "first"))?;
        let setup = || {
            Function::on(cluster)
                .run_in(&namespace)
                .env("HOOKRUN_FLOW_STORE", &flows.url())
        };
        let first = setup().start().await?;
        let second = setup().account(first.account()).start().await?;
        Ok(Self {
            functions: [first, second],
            namespace,
            flows,
        })
    }

    fn by_key(&self, process: usize, event: &str, body: String) -> reqwest::RequestBuilder {
        let path = format!("/flow/key/nightly/ns/{}", self.namespace);
        self.functions[process % 2]
            .post(&path)
            .header("idempotency-key", event)
            .body(body)
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Result<(u16, String)> {
    let answer = request.send().await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

/// All answers are one and the same 200; gives its text.
fn all_equal(answers: &[(u16, String)]) -> Result<String> {
    let different: BTreeSet<_> = answers.iter().collect();
    ensure!(
        different.len() == 1 && answers[0].0 == 200,
        "{} different answers: {different:?}",
        different.len()
    );
    Ok(answers[0].1.clone())
}

async fn copies_of_one_event(cluster: &Arc<Cluster>, door: Door) -> Result<()> {
    let pair = Pair::start(cluster).await?;
    let namespace = pair.namespace.as_str();
    let mut events = vec!["one".to_owned()];
    if let Door::Name = door {
        let request = pair.functions[0]
            .post("/flow")
            .header("idempotency-key", "setup");
        all_equal(&[answer(request.body(rich("nightly", namespace, "first").to_string())).await?])?;
        events.push("setup".to_owned());
    }
    let requests = (0..COPIES).map(|number| {
        let function = &pair.functions[number % 2];
        answer(match door {
            Door::Key => pair.by_key(number, "one", payload(1)),
            Door::Document => {
                let flow = plain("posted", namespace).to_string();
                function
                    .post("/flow")
                    .header("idempotency-key", "one")
                    .body(flow)
            }
            Door::Name => {
                let path = format!("/flow/name/nightly/ns/{namespace}");
                function.post(&path).header("idempotency-key", "one")
            }
        })
    });
    let answers = try_join_all(requests).await?;
    let text = all_equal(&answers)?;
    aftermath::holds(cluster, namespace, &events).await?;
    let runs = aftermath::runs_by_event(cluster, namespace).await?;
    let run = runs[&aftermath::identity("one")]
        .metadata
        .name
        .clone()
        .unwrap_or_default();
    ensure!(
        text.contains(&run),
        "the answer {text:?} does not name the run {run}"
    );
    pair.functions.iter().try_for_each(aftermath::discreet)?;
    aftermath::vanishes_with_its_runs(cluster, namespace).await
}

async fn fifty_events_for_one_flow_make_fifty_runs_each_with_its_own_payload(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let pair = Pair::start(&cluster).await?;
    let requests = (0..EVENTS).map(|number| {
        let request = pair.by_key(number, &format!("event-{number}"), payload(number));
        async move { anyhow::Ok((number, answer(request).await?)) }
    });
    let answers = try_join_all(requests).await?;
    let events: Vec<_> = (0..EVENTS)
        .map(|number| format!("event-{number}"))
        .collect();
    for (number, (status, text)) in &answers {
        ensure!(*status == 200, "event {number}: {status} {text}");
    }
    aftermath::holds(&cluster, &pair.namespace, &events).await?;
    let runs = aftermath::runs_by_event(&cluster, &pair.namespace).await?;
    for (number, (_, text)) in answers {
        let run = &runs[&aftermath::identity(&events[number])];
        let name = run.metadata.name.clone().unwrap_or_default();
        ensure!(
            text.contains(&name),
            "event {number} was told {text:?}, its run is {name}"
        );
        let context = aftermath::context(&cluster, &pair.namespace, &name).await?;
        ensure!(
            context == payload(number),
            "the run of event {number} reads {context}"
        );
    }
    aftermath::vanishes_with_its_runs(&cluster, &pair.namespace).await
}

async fn an_event_repeated_after_its_flow_was_edited_changes_nothing(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let pair = Pair::start(&cluster).await?;
    let namespace = pair.namespace.as_str();
    let first = answer(pair.by_key(0, "early", payload(1))).await?;
    pair.flows
        .put("nightly", &rich("nightly", namespace, "second"))?;
    let second = answer(pair.by_key(1, "late", payload(2))).await?;
    ensure!(
        first.0 == 200 && second.0 == 200 && first.1 != second.1,
        "{first:?}, {second:?}"
    );
    // The old edition comes back into the store, and with it the old event: what is latest must not follow.
    pair.flows
        .put("nightly", &rich("nightly", namespace, "first"))?;
    let repeated = answer(pair.by_key(1, "early", payload(1))).await?;
    ensure!(repeated == first, "{first:?}, and repeated {repeated:?}");

    let latest = aftermath::entry(&cluster, namespace, "nightly-creds-secret", "TOKEN").await?;
    ensure!(latest.ends_with("-second"), "the latest secret is {latest}");
    for (event, mark) in [("early", "-first"), ("late", "-second")] {
        let runs = aftermath::runs_by_event(&cluster, namespace).await?;
        let name = runs[&aftermath::identity(event)]
            .metadata
            .name
            .clone()
            .unwrap_or_default();
        let token = aftermath::entry(
            &cluster,
            namespace,
            &format!("{name}-creds-secret"),
            "TOKEN",
        )
        .await?;
        ensure!(token.ends_with(mark), "the run of {event} has {token}");
    }
    aftermath::holds(
        &cluster,
        namespace,
        &["early".to_owned(), "late".to_owned()],
    )
    .await
}

async fn copies_of_one_event_while_its_flow_is_edited_make_one_run_of_one_edition(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let pair = Pair::start(&cluster).await?;
    let namespace = pair.namespace.as_str();
    let mut events = Vec::new();
    for round in 0..10 {
        let event = format!("round-{round}");
        let requests = (0..10).map(|copy| {
            let (pair, event) = (&pair, &event);
            async move {
                // Every delivery may read another edition.
                pair.flows.put(
                    "nightly",
                    &rich("nightly", namespace, &format!("edition-{round}-{copy}")),
                )?;
                answer(pair.by_key(copy, event, payload(round))).await
            }
        });
        let mut told = BTreeSet::new();
        for (status, text) in join_all(requests)
            .await
            .into_iter()
            .collect::<Result<Vec<_>>>()?
        {
            // Deliveries that disagree about the flow may be asked to come again, never told different runs.
            match status {
                200 => drop(told.insert(text)),
                503 => {}
                _ => anyhow::bail!("{status}: {text}"),
            }
        }
        let repeated = control_plane::eventually(
            "a repetition succeeds",
            Duration::from_secs(20),
            async || {
                let (status, text) = answer(pair.by_key(round, &event, payload(round))).await?;
                Ok((status == 200).then_some(text))
            },
        )
        .await?;
        told.insert(repeated);
        ensure!(told.len() == 1, "one event was told {told:?}");

        let runs = aftermath::runs_by_event(&cluster, namespace).await?;
        let run = runs
            .get(&aftermath::identity(&event))
            .context("the event has no run")?;
        let name = run.metadata.name.clone().unwrap_or_default();
        let token = aftermath::entry(
            &cluster,
            namespace,
            &format!("{name}-creds-secret"),
            "TOKEN",
        )
        .await?;
        let edition = token
            .rsplit_once("-token-")
            .map(|(_, edition)| edition.to_owned())
            .unwrap_or_default();
        let spec = run.data["spec"].to_string();
        ensure!(
            spec.contains(&format!("\"{edition}\"")),
            "run {name} has copies of {edition} and this spec: {spec}"
        );
        events.push(event);
    }
    aftermath::holds(&cluster, namespace, &events).await?;
    aftermath::vanishes_with_its_runs(&cluster, namespace).await
}
