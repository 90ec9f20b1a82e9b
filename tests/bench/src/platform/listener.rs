//! Tekton Triggers, installed as its users do: an EventListener for each way in, with a TriggerTemplate that makes the same run
//! as Hookrun does. Both sides of each way in are [`Peer`]s.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use flows::{Format, Label, Lowering, Request, Scope, Settings};
use http::Method;
use serde_json::{Value, json};
use system_tests::samples::plain;

use super::{
    pods::Container,
    runs::Runs,
    site::{FLOW, LABEL, NAMESPACE, RUNS, Site, TRIGGERS},
};
use crate::{hooks::Sender, wire::Target};

/// The flow of all events.
const NAME: &str = "bench";

/// The EventListeners and the ports at which they are reached: for posted flows, and for runs by name.
const LISTENERS: [(&str, u16); 2] = [("posted", 8082), ("named", 8083)];

/// Label of a run: the event that it is of.
pub(super) const EVENT_ID: &str = "triggers.tekton.dev/triggers-eventid";

/// Whoever turns requests into runs.
pub(super) struct Peer {
    pub(super) title: &'static str,
    /// What is asked, in words.
    pub(super) door: &'static str,
    pub(super) target: Target,
    pub(super) path: String,
    /// Where it is asked whether it is there.
    pub(super) health: &'static str,
    pub(super) body: String,
    /// Who signs a body of its own for each event, instead.
    pub(super) sender: Option<Sender>,
    /// What the number of its runs per second should be beside the other side's.
    pub(super) limit: &'static str,
    /// By what the run of an answer is known.
    pub(super) run: fn(&[u8]) -> Option<String>,
    pub(super) runs: Arc<Runs>,
    pub(super) container: Container,
}

/// Installs the EventListeners; both sides of each way in.
pub(super) async fn install(site: &Site) -> Result<[[Arc<Peer>; 2]; 2]> {
    let namespace: Label = TRIGGERS.parse()?;
    let document = plain(NAME, TRIGGERS);
    let text = document.to_string();
    let flow = flows::parse(Format::Artisan, text.as_bytes(), &Lowering::default())
        .map_err(|problems| anyhow!("{problems}"))?;
    let request = Request {
        scope: Scope::Document,
        event: NAME,
        traceparent: None,
        payload: None,
    };
    let emitted = flows::emit(&flow, &namespace, &request, &Settings::default());
    let mut objects = rights();
    for object in &emitted.latest {
        objects.push(serde_json::from_slice(&object.to_json())?);
    }
    let run: Value = serde_json::from_slice(&emitted.run.object.to_json())?;
    let mut by_name = run.clone();
    let spec = by_name["spec"]
        .as_object_mut()
        .context("a run without spec")?;
    spec.remove("pipelineSpec");
    spec.insert(
        "pipelineRef".to_owned(),
        json!({"name": flows::stored::pipeline_name(NAME)}),
    );
    // Users take from the event what differs from one to the next.
    let posted = run
        .to_string()
        .replace("\"high\"", "\"$(tt.params.severity)\"");
    let bindings = json!([{"name": "severity", "value": "$(body.steps[0].input.var[0].value)"}]);
    let templates = [
        (serde_json::from_str(&posted)?, bindings),
        (by_name, json!([])),
    ];
    for ((name, port), (run, bindings)) in LISTENERS.into_iter().zip(templates) {
        objects.extend(listener(name, run, bindings));
        objects.push(site.way_in(
            TRIGGERS,
            &format!("bench-{name}"),
            port,
            json!({"eventlistener": name}),
        ));
    }
    site.apply(&objects)?;
    for (name, _) in LISTENERS {
        site.ready(
            TRIGGERS,
            &format!("eventlisteners.triggers.tekton.dev/{name}"),
        )?;
    }

    let hookrun = site.service(FLOW).await?;
    let document = plain(NAME, RUNS).to_string();
    // By name, it is found in the cluster.
    let mut connection = hookrun.connect().await?;
    let stored = connection.send(Method::POST, "/flow", "application/json", document.clone());
    stored.await.context("posting the flow")?;
    let made = Arc::new(Runs::watch(&site.client, RUNS, None).await?);
    let triggered = Arc::new(Runs::watch(&site.client, TRIGGERS, Some(EVENT_ID)).await?);
    let hookrun = |door: &'static str, path: String, body: String| Peer {
        title: "hookrun",
        door,
        target: hookrun.clone(),
        path,
        health: "/healthz",
        body,
        sender: None,
        limit: "",
        run: |answer| {
            let text = std::str::from_utf8(answer).ok()?;
            Some(
                text.trim()
                    .strip_prefix("? starting pipeline run ")?
                    .to_owned(),
            )
        },
        runs: Arc::clone(&made),
        container: Container {
            namespace: NAMESPACE,
            selector: format!("serving.knative.dev/service={FLOW}"),
            name: "hookrun",
        },
    };
    let listener = |door: &'static str, which: usize, body: String| -> Result<Peer> {
        let (name, port) = LISTENERS[which];
        Ok(Peer {
            title: "EventListener",
            door,
            target: site.port(port)?,
            path: "/".to_owned(),
            health: "/live",
            body,
            sender: None,
            limit: "",
            run: event_id,
            runs: Arc::clone(&triggered),
            container: container(name),
        })
    };
    let [posted, named] = ["posted flow", "by name"];
    let path = format!("/flow/name/{NAME}/ns/{RUNS}");
    let peers = [
        [
            hookrun(posted, "/flow".to_owned(), document.clone()),
            listener(posted, 0, document)?,
        ],
        [
            hookrun(named, path, String::new()),
            listener(named, 1, "{}".to_owned())?,
        ],
    ];
    Ok(peers.map(|sides| sides.map(Arc::new)))
}

/// The event that an EventListener's answer speaks of; its run bears it as a label.
pub(super) fn event_id(answer: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    Some(answer["eventID"].as_str()?.to_owned())
}

/// The container of an EventListener.
pub(super) fn container(listener: &str) -> Container {
    Container {
        namespace: TRIGGERS,
        selector: format!("eventlistener={listener}"),
        name: "event-listener",
    }
}

/// What the EventListeners may do, as the documentation of Tekton Triggers gives it to them.
fn rights() -> Vec<Value> {
    let account = json!({"kind": "ServiceAccount", "name": "listener", "namespace": TRIGGERS});
    let binding = |kind: &str, role: &str| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": kind,
            "metadata": {"namespace": TRIGGERS, "name": "hookrun-bench-listener", "labels": {LABEL: "true"}},
            "subjects": [account],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        })
    };
    let mut everywhere = binding(
        "ClusterRoleBinding",
        "tekton-triggers-eventlistener-clusterroles",
    );
    everywhere["metadata"]["namespace"].take();
    vec![
        json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"namespace": TRIGGERS, "name": "listener"},
        }),
        binding("RoleBinding", "tekton-triggers-eventlistener-roles"),
        everywhere,
    ]
}

/// An EventListener, and the template of the run that it makes.
pub(super) fn listener(name: &str, mut run: Value, bindings: Value) -> [Value; 2] {
    let metadata = json!({"namespace": TRIGGERS, "name": name});
    run["metadata"] = json!({"generateName": "bench-pr-", "labels": run["metadata"]["labels"]});
    let params: Vec<_> = bindings
        .as_array()
        .into_iter()
        .flatten()
        .map(|binding| json!({"name": binding["name"]}))
        .collect();
    let api_version = "triggers.tekton.dev/v1beta1";
    [
        json!({
            "apiVersion": api_version,
            "kind": "TriggerTemplate",
            "metadata": metadata,
            "spec": {"params": params, "resourcetemplates": [run]},
        }),
        json!({
            "apiVersion": api_version,
            "kind": "EventListener",
            "metadata": metadata,
            "spec": {
                "serviceAccountName": "listener",
                "triggers": [{"name": name, "bindings": bindings, "template": {"ref": name}}],
            },
        }),
    ]
}
