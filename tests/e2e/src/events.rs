//! CloudEvents on their way through a Broker and a Trigger: to a function at zero, past a function that cannot work just now, into
//! the dead letter sink.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use control_plane::{eventually, until};
use http::Request;
use serde_json::{Value, json};
use system_tests::{case::Case, function::repository, support::objects::name};
use uuid::Uuid;

mod tokens;

use crate::{
    artisan::{flow, step},
    install::{EVENTS, LABEL, MAIN},
    world::{PATIENCE, QUEUE, RUNS, World, case, event_of},
};

pub(crate) fn cases() -> Vec<Case<World>> {
    vec![
        case(
            "events::event_of_a_broker_reaches_a_function_at_zero_and_becomes_one_run",
            480,
            MAIN,
            from_zero,
        ),
        case(
            "events::poison_event_ends_in_the_dead_letter_sink_at_once",
            420,
            MAIN,
            poison,
        ),
        case(
            "events::event_that_is_answered_503_is_delivered_later_and_once",
            300,
            MAIN,
            later,
        ),
    ]
}

/// The one that comes last of all, since Eventing takes a while to find back to how it was. `own` is whether the cluster is the
/// repository's, whose Eventing can be set up otherwise.
pub(crate) fn last(own: bool) -> Vec<Case<World>> {
    vec![
        case(
            "events::with_tokens_only_the_account_of_the_trigger_starts_runs",
            300,
            MAIN,
            tokens::tokens,
        )
        .ignored_if(!own)
        .alone(),
    ]
}

/// The one that disturbs others. `own` is whether the cluster is the repository's, whose API server can be killed.
pub(crate) fn alone(own: bool) -> Vec<Case<World>> {
    vec![
        case(
            "events::events_that_meet_a_stopped_api_server_are_delivered_later_and_once",
            300,
            MAIN,
            api_server,
        )
        .ignored_if(!own)
        .alone(),
    ]
}

/// The sink of dead letters, a function of ours.
const SINK: &str = "hookrun-dead-letters";

/// Waits for the Broker of the manifests.
async fn broker(world: &World) -> Result<()> {
    let wait = [
        "--namespace",
        MAIN,
        "wait",
        "--for=condition=Ready",
        "--timeout=120s",
    ];
    world
        .kubectl(
            &[
                &wait[..],
                &[
                    "brokers.eventing.knative.dev/default",
                    "triggers.eventing.knative.dev/hookrun-flow",
                ],
            ]
            .concat(),
        )
        .await?;
    Ok(())
}

/// A Trigger that hands the events of one type to the function: that of the examples, with another type and path.
async fn trigger(world: &World, kind: &str, path: &str) -> Result<()> {
    broker(world).await?;
    let text = std::fs::read_to_string(repository().join("examples/trigger.yaml"))?;
    let mut trigger: Value = serde_saphyr::from_str(&text)?;
    trigger["metadata"] = json!({"name": kind, "namespace": MAIN});
    trigger["spec"]["filter"] = json!({"attributes": {"type": kind}});
    trigger["spec"]["subscriber"]["uri"] = path.into();
    world.apply(&trigger).await?;
    let what = format!("triggers.eventing.knative.dev/{kind}");
    world
        .kubectl(&[
            "--namespace",
            MAIN,
            "wait",
            "--for=condition=Ready",
            "--timeout=120s",
            &what,
        ])
        .await?;
    Ok(())
}

/// Where the Broker takes events, as pods reach it.
async fn ingress(world: &World) -> Result<String> {
    let broker = world
        .get(MAIN, &["brokers.eventing.knative.dev/default"])
        .await?;
    Ok(broker["status"]["address"]["url"]
        .as_str()
        .context("the Broker has an address")?
        .to_owned())
}

/// Posts an event to the Broker, by way of the API server, since nobody outside reaches it.
async fn post(world: &World, kind: &str, id: &str, data: &Value) -> Result<()> {
    let url: http::Uri = ingress(world).await?.parse()?;
    let host = url.host().unwrap_or_default();
    let mut parts = host.split('.');
    let (service, namespace) = (
        parts.next().context("a Service")?,
        parts.next().context("a namespace")?,
    );
    let port = url.port_u16().unwrap_or(80);
    let event =
        json!({"specversion": "1.0", "id": id, "source": "/e2e", "type": kind, "data": data});
    let path = format!(
        "/api/v1/namespaces/{namespace}/services/{service}:{port}/proxy{}",
        url.path()
    );
    let request = Request::post(path)
        .header("content-type", "application/cloudevents+json")
        .body(event.to_string().into_bytes())?;
    world
        .admin
        .request_text(request)
        .await
        .context("the Broker does not take the event")?;
    Ok(())
}

/// What a function in the cluster has logged, as far as its pods are there.
async fn log(world: &World, service: &str) -> Result<String> {
    let selector = format!("serving.knative.dev/service={service}");
    world
        .kubectl(&[
            "--namespace",
            MAIN,
            "logs",
            "--selector",
            &selector,
            "--container",
            "hookrun",
            "--tail=-1",
        ])
        .await
}

/// Waits until the function has told something of an event.
async fn told(world: &World, service: &str, id: &str, word: &str, limit: Duration) -> Result<()> {
    until(
        &format!("{service} tells {word} of {id}"),
        limit,
        async || {
            // A pod that is only just starting has no log yet.
            let log = log(world, service).await.unwrap_or_default();
            Ok(log
                .lines()
                .any(|line| line.contains(id) && line.contains(word)))
        },
    )
    .await
}

async fn from_zero(world: Arc<World>) -> Result<()> {
    let flow = flow(
        "E2E Event",
        RUNS,
        &[step(&world, "show", "cat /files/context")],
    );
    world.store("ART_FLOW_e2e-event", &flow).await?;
    trigger(
        &world,
        "e2e.plain",
        &format!("/flow/key/ART_FLOW_e2e-event/ns/{RUNS}"),
    )
    .await?;
    world.until_zero(MAIN, EVENTS).await?;

    let (id, word) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
    post(&world, "e2e.plain", &id, &json!({"word": word})).await?;
    let run = eventually("the event becomes a run", PATIENCE, async || {
        Ok(world
            .runs_of(RUNS, &id)
            .await?
            .first()
            .map(name)
            .map(str::to_owned))
    })
    .await?;
    world.succeeds(RUNS, &run).await?;
    let log = world.log(RUNS, &run).await?;
    ensure!(log.contains(&word), "{log}");
    // The same event once more, as a Broker may deliver it.
    post(&world, "e2e.plain", &id, &json!({"word": word})).await?;
    let marker = Uuid::new_v4().to_string();
    post(&world, "e2e.plain", &marker, &json!({})).await?;
    until("the event behind it has its run", PATIENCE, async || {
        Ok(!world.runs_of(RUNS, &marker).await?.is_empty())
    })
    .await?;
    let runs = world.runs_of(RUNS, &id).await?;
    ensure!(runs.len() == 1, "{} runs", runs.len());
    Ok(())
}

async fn poison(world: Arc<World>) -> Result<()> {
    trigger(
        &world,
        "e2e.unknown",
        &format!("/flow/key/ART_FLOW_e2e-unknown/ns/{RUNS}"),
    )
    .await?;
    for (kind, code) in [("e2e.unknown", 422), ("dev.hookrun.flow", 400)] {
        let id = poisoned(&world, kind, code)
            .await
            .with_context(|| kind.to_owned())?;
        let log = log(&world, EVENTS).await?;
        let tries = log
            .lines()
            .filter(|line| line.contains(&id) && line.contains("answered"))
            .count();
        ensure!(tries == 1, "{kind}: {tries} tries");
        ensure!(
            world.runs_of(RUNS, &id).await?.is_empty(),
            "{kind} has a run"
        );
    }
    Ok(())
}

/// Sends an event that is refused until one is told of; its id. What is sent while an in-memory channel gets to know other
/// Triggers may reach none of them, although all are said to be ready.
async fn poisoned(world: &World, kind: &str, code: u16) -> Result<String> {
    let refused = format!(r#""status":"{code}""#);
    let mut left = 3;
    loop {
        left -= 1;
        let id = Uuid::new_v4().to_string();
        post(world, kind, &id, &json!({"word": "poison"})).await?;
        // Two functions start from zero on the way; the ten repeats of the delivery would take minutes.
        match told(world, SINK, &id, &refused, Duration::from_secs(60)).await {
            Ok(()) => return Ok(id),
            Err(error) if left == 0 => return Err(error),
            Err(_) => {}
        }
    }
}

/// A webhook that nobody answers: the API server refuses new runs in a namespace with 500, which may pass.
fn obstacle(namespace: &str) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "hookrun-e2e-obstacle", "labels": {LABEL: "true"}},
        "webhooks": [{
            "name": "obstacle.hookrun.example.com",
            "clientConfig": {"service": {"name": "nobody", "namespace": namespace, "port": 443}},
            "rules": [{"apiGroups": ["tekton.dev"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pipelineruns"]}],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "failurePolicy": "Fail", "sideEffects": "None", "admissionReviewVersions": ["v1"], "timeoutSeconds": 1,
        }],
    })
}

async fn later(world: Arc<World>) -> Result<()> {
    let flow = flow("E2E Later", QUEUE, &[step(&world, "none", "true")]);
    world.store("ART_FLOW_e2e-later", &flow).await?;
    trigger(
        &world,
        "e2e.later",
        &format!("/flow/key/ART_FLOW_e2e-later/ns/{QUEUE}"),
    )
    .await?;
    world.apply(&obstacle(QUEUE)).await?;
    let id = Uuid::new_v4().to_string();
    // A Broker with channels in memory answers its sender when the event is delivered, not before.
    let data = json!({});
    let posted = post(&world, "e2e.later", &id, &data);
    let refused = async {
        let refused = told(&world, EVENTS, &id, r#""status":503"#, PATIENCE).await;
        let runs = world.runs_of(QUEUE, &id).await;
        world
            .kubectl(&[
                "delete",
                "validatingwebhookconfigurations",
                "hookrun-e2e-obstacle",
            ])
            .await?;
        refused?;
        ensure!(runs?.is_empty(), "there is a run already");
        Ok(())
    };
    tokio::try_join!(posted, refused)?;
    until("the event is delivered", PATIENCE, async || {
        Ok(!world.runs_of(QUEUE, &id).await?.is_empty())
    })
    .await?;
    // Once more the same: when that is answered, nothing of either is still on its way.
    post(&world, "e2e.later", &id, &data).await?;
    let runs = world.runs_of(QUEUE, &id).await?;
    ensure!(runs.len() == 1, "{} runs", runs.len());
    ensure!(
        !log(&world, SINK).await.unwrap_or_default().contains(&id),
        "it is a dead letter as well"
    );
    Ok(())
}

/// How many events the sender in the cluster posts, five a second.
const COUNT: usize = 100;

async fn api_server(world: Arc<World>) -> Result<()> {
    let flow = flow("E2E Restart", QUEUE, &[step(&world, "none", "true")]);
    world.store("ART_FLOW_e2e-restart", &flow).await?;
    trigger(
        &world,
        "e2e.restart",
        &format!("/flow/key/ART_FLOW_e2e-restart/ns/{QUEUE}"),
    )
    .await?;
    let batch = Uuid::new_v4().simple().to_string();
    // In the cluster, since the way from outside leads through the API server.
    let script = format!(
        "for number in $(seq {COUNT}); do
           wget -q -O /dev/null --header 'ce-specversion: 1.0' --header 'ce-source: /e2e/restart' --header 'ce-type: e2e.restart' \
             --header \"ce-id: {batch}-$number\" --header 'content-type: application/json' --post-data '{{}}' '{}' \
             && echo \"accepted {batch}-$number\" &
           sleep 0.2
         done
         wait
         echo done",
        ingress(&world).await?
    );
    let sender = format!("sender-{}", &batch[..8]);
    world.apply(&world.pod(&sender, MAIN, &script)).await?;
    let told = async || world.kubectl(&["--namespace", MAIN, "logs", &sender]).await;
    // While it stands still, nothing can be asked.
    let accepted = async |least: usize| {
        until("the sender gets on", PATIENCE, async || {
            Ok(told().await.is_ok_and(|log| {
                log.lines()
                    .filter(|line| line.starts_with("accepted"))
                    .count()
                    >= least
            }))
        })
        .await
    };
    accepted(10).await?;
    for least in [40, 70] {
        world.restart("kube-apiserver")?;
        accepted(least).await?;
    }
    until("the sender is done", PATIENCE, async || {
        Ok(told()
            .await
            .is_ok_and(|log| log.lines().any(|line| line == "done")))
    })
    .await?;
    let sent = told().await?;
    let accepted: Vec<_> = sent
        .lines()
        .filter_map(|line| line.strip_prefix("accepted "))
        .collect();
    let mut runs = BTreeMap::<String, usize>::new();
    let complete = until(
        "every accepted event has its run",
        Duration::from_secs(30),
        async || {
            runs.clear();
            for run in world.objects(QUEUE).all("PipelineRun").await? {
                *runs
                    .entry(
                        event_of(&run)
                            .split(' ')
                            .next_back()
                            .unwrap_or_default()
                            .to_owned(),
                    )
                    .or_default() += 1;
            }
            Ok(accepted.iter().all(|id| runs.contains_key(*id)))
        },
    )
    .await;
    if let Err(error) = complete {
        let missing: Vec<_> = accepted
            .iter()
            .filter(|id| !runs.contains_key(**id))
            .collect();
        let mut said = String::new();
        for service in [EVENTS, SINK] {
            let log = log(&world, service).await.unwrap_or_default();
            for line in log
                .lines()
                .filter(|line| missing.iter().any(|id| line.contains(&format!("{id}\""))))
            {
                said += &format!("{service}: {line}\n");
            }
        }
        bail!(
            "{error}; {} of {} have none: {missing:?}\n{said}",
            missing.len(),
            accepted.len()
        );
    }
    let twice: Vec<_> = runs.iter().filter(|(_, count)| **count > 1).collect();
    ensure!(twice.is_empty(), "events with several runs: {twice:?}");
    Ok(())
}
