//! The same signed push of GitHub for both: a Hook on one side, on the other an EventListener with the GitHub interceptor of
//! Tekton Triggers, once as its documentation installs it and once with the limits of its client raised.

use std::sync::Arc;

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    listener::{EVENT_ID, Peer, container, event_id, listener},
    pods::Container,
    runs::Runs,
    site::{HOOK, LABEL, NAMESPACE, RUNS, Site, TRIGGERS},
};
use crate::hooks::{PIPELINE, Sender, hook, secret};

/// The Hook of all events.
const NAME: &str = "bench";

/// An EventListener, and what is compared with it.
struct Other {
    name: &'static str,
    port: u16,
    door: &'static str,
    /// Requests per second that its client may send, where it is told.
    rate: Option<&'static str>,
    limit: &'static str,
}

const OTHERS: [Other; 2] = [
    Other {
        name: "webhook",
        port: 8084,
        door: "webhook",
        rate: None,
        limit: "≥ 50",
    },
    Other {
        name: "webhook-raised",
        port: 8085,
        door: "webhook, client limits of Triggers raised",
        rate: Some("10000"),
        limit: "≥ 1",
    },
];

/// The Secret with the limits, and its one entry.
const RATE: &str = "rate";

/// Installs the Hook and the EventListeners; both sides of each comparison.
pub(super) async fn install(site: &Site) -> Result<[[Arc<Peer>; 2]; 2]> {
    let within = |namespace: &str, mut object: Value| {
        object["metadata"]["namespace"] = namespace.into();
        object
    };
    let mut objects = vec![
        within(RUNS, secret()),
        within(RUNS, hook(NAME)),
        within(TRIGGERS, secret()),
    ];
    let secret = &objects[0]["metadata"]["name"].clone();
    for other in &OTHERS {
        let [template, mut listener] = listener(other.name, run(), revision());
        listener["spec"]["triggers"][0]["interceptors"] = json!([{
            "ref": {"name": "github"},
            "params": [
                {"name": "secretRef", "value": {"secretName": secret, "secretKey": "secret"}},
                {"name": "eventTypes", "value": ["push"]},
            ],
        }]);
        if let Some(rate) = other.rate {
            listener["spec"]["resources"] = raised();
            objects.push(json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"namespace": TRIGGERS, "name": RATE},
                "stringData": {RATE: rate},
            }));
        }
        let port = site.way_in(
            TRIGGERS,
            &format!("bench-{}", other.name),
            other.port,
            json!({"eventlistener": other.name}),
        );
        objects.extend([template, listener, port]);
    }
    site.apply(&objects)?;
    for Other { name, .. } in &OTHERS {
        site.ready(
            TRIGGERS,
            &format!("eventlisteners.triggers.tekton.dev/{name}"),
        )?;
    }
    let made = Arc::new(Runs::watch(&site.client, RUNS, None).await?);
    let triggered = Arc::new(Runs::watch(&site.client, TRIGGERS, Some(EVENT_ID)).await?);
    let [plain, raised] = &OTHERS;
    Ok([
        sides(site, plain, &made, &triggered).await?,
        sides(site, raised, &made, &triggered).await?,
    ])
}

async fn sides(
    site: &Site,
    other: &Other,
    made: &Arc<Runs>,
    triggered: &Arc<Runs>,
) -> Result<[Arc<Peer>; 2]> {
    let sender = Sender::new(RUNS, NAME)?;
    let hookrun = Peer {
        title: "hookrun",
        door: other.door,
        target: site.service(HOOK).await?,
        path: sender.path().to_owned(),
        health: "/healthz",
        body: String::new(),
        sender: Some(sender.clone()),
        limit: other.limit,
        run: |answer| {
            let answer: Value = serde_json::from_slice(answer).ok()?;
            Some(answer["runs"][0]["run"].as_str()?.to_owned())
        },
        runs: Arc::clone(made),
        container: Container {
            namespace: NAMESPACE,
            selector: format!("serving.knative.dev/service={HOOK}"),
            name: "hookrun",
        },
    };
    let listener = Peer {
        title: "EventListener",
        door: other.door,
        target: site.port(other.port)?,
        path: "/".to_owned(),
        health: "/live",
        body: String::new(),
        sender: Some(sender),
        limit: other.limit,
        run: event_id,
        runs: Arc::clone(triggered),
        container: container(other.name),
    };
    Ok([Arc::new(hookrun), Arc::new(listener)])
}

/// The run that the Hook makes, too.
fn run() -> Value {
    json!({
        "apiVersion": "tekton.dev/v1",
        "kind": "PipelineRun",
        "metadata": {"labels": {LABEL: "true"}},
        "spec": {
            "pipelineRef": {"name": PIPELINE},
            "params": [{"name": "revision", "value": "$(tt.params.revision)"}],
        },
    })
}

fn revision() -> Value {
    json!([{"name": "revision", "value": "$(body.after)"}])
}

/// The variables by which the client's limits are raised. An EventListener takes values of variables from Secrets only.
fn raised() -> Value {
    let taken = json!({"secretKeyRef": {"name": RATE, "key": RATE}});
    let variables = ["KUBE_API_QPS", "KUBE_API_BURST"]
        .map(|variable| json!({"name": variable, "valueFrom": taken}));
    let pod = json!({"spec": {"containers": [{"env": variables}]}});
    json!({"kubernetesResource": {"spec": {"template": pod}}})
}
