//! What the function writes for one event, as requests that a bare client repeats.
//!
//! They are made by the function's own conversion, once, with a mark where each event differs; the bare client puts a
//! name of its own there. So both sides send the same bytes but for names, and the bare one has no work besides.

use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use control_plane::Cluster;
use flows::{Format, Label, Lowering, Payload, Request, Scope, Settings};
use http::Method;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::Value;

use crate::wire::Connection;

const TEKTON: &str = "tekton.dev";
const APPLY: &str = "application/apply-patch+yaml";
const JSON: &str = "application/json";
const JSON_PATCH: &str = "application/json-patch+json";
const MERGE_PATCH: &str = "application/merge-patch+json";

/// Stands for what the API server tells of an object until it is known: a run's UID, a Delivery's edition.
const TOLD: &str = "00000000-0000-4000-8000-000000000000";

/// The three ways in that are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// `POST /flow/name/…`, of a flow without Secrets.
    Name,
    /// `POST /flow`, without payload and Secrets.
    Document,
    /// `POST /flow/key/…`, from a folder, with secrets, a file and a payload.
    Key,
}

impl Door {
    pub(crate) const ALL: [Self; 3] = [Self::Name, Self::Document, Self::Key];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Name => "by name",
            Self::Document => "posted flow",
            Self::Key => "by key, with payload",
        }
    }
}

#[derive(Clone)]
struct Call {
    method: Method,
    path: String,
    content_type: &'static str,
    body: String,
    /// Field of the answer's metadata that later calls need.
    tells: Option<&'static str>,
}

impl Call {
    fn create(path: String, body: String, tells: Option<&'static str>) -> Self {
        Self {
            method: Method::POST,
            path,
            content_type: JSON,
            body,
            tells,
        }
    }
}

/// The writes of one event.
#[derive(Clone)]
pub(crate) struct Recipe {
    calls: Arc<Vec<Call>>,
    /// What stands for the run's name.
    run: String,
}

impl Recipe {
    /// The writes for an event through a door, for the flow `document`.
    pub(crate) async fn of(
        cluster: &Cluster,
        door: Door,
        document: &Value,
        namespace: &str,
        payload: &[u8],
    ) -> Result<Self> {
        let namespace: Label = namespace.parse()?;
        let event = "bench";
        let settings = Settings::default();
        if door == Door::Name {
            let name = document["name"].as_str().context("a flow has a name")?;
            let request = Request {
                scope: Scope::Name(name),
                event,
                traceparent: None,
                payload: None,
            };
            let stored = stored(cluster, name, &namespace).await?;
            let run = flows::stored::snapshot(name, stored, &namespace, &request, &settings)
                .map_err(|problems| anyhow::anyhow!("{problems}"))?;
            return Ok(Self::new(&[], &run));
        }
        let flow = flows::parse(
            Format::Artisan,
            document.to_string().as_bytes(),
            &Lowering::default(),
        )
        .map_err(|problems| anyhow::anyhow!("{problems}"))?;
        let request = match door {
            Door::Key => Request {
                scope: Scope::Key("bench"),
                event,
                traceparent: None,
                payload: Some(Payload::Inline(payload)),
            },
            Door::Document | Door::Name => Request {
                scope: Scope::Document,
                event,
                traceparent: None,
                payload: None,
            },
        };
        let emitted = flows::emit(&flow, &namespace, &request, &settings);
        Ok(Self::new(&emitted.latest, &emitted.run))
    }

    fn new(latest: &[flows::tekton::Object], run: &flows::Run) -> Self {
        let namespace = &run.namespace;
        let mut calls: Vec<Call> = latest
            .iter()
            .map(|object| Call {
                method: Method::PATCH,
                path: format!(
                    "{}/{}?fieldManager=bare&force=true",
                    collection(object.group(), object.plural(), namespace),
                    object.name()
                ),
                content_type: APPLY,
                body: text(object.to_json()),
                tells: None,
            })
            .collect();
        let runs = collection(TEKTON, "pipelineruns", namespace);
        calls.push(Call::create(
            format!("{runs}?fieldManager=bare"),
            text(run.object.to_json()),
            (!run.copies.is_empty()).then_some("uid"),
        ));
        for copy in &run.copies {
            let body = copy.clone().owned_by(&run.name, TOLD).to_json();
            calls.push(Call::create(
                format!("{}?fieldManager=bare", collection("", "secrets", namespace)),
                text(body),
                None,
            ));
        }
        if !run.copies.is_empty() {
            calls.push(Call {
                method: Method::PATCH,
                path: format!("{runs}/{}?fieldManager=bare", run.name),
                content_type: JSON_PATCH,
                body: serde_json::json!([
                    {"op": "test", "path": "/metadata/uid", "value": TOLD},
                    {"op": "test", "path": "/spec/status", "value": "PipelineRunPending"},
                    {"op": "remove", "path": "/spec/status"},
                ])
                .to_string(),
                tells: None,
            });
        }
        Self {
            calls: Arc::new(calls),
            run: run.name.to_string(),
        }
    }

    /// The writes for a webhook that starts one run, as they are found in its Delivery: it is stored, the run made, the
    /// outcome put down.
    pub(crate) fn webhook(delivery: &Value) -> Result<Self> {
        let namespace = text_of(&delivery["metadata"]["namespace"])?;
        let rule = &delivery["rules"][0];
        let (name, run) = (
            text_of(&delivery["metadata"]["name"])?,
            text_of(&rule["run"])?,
        );
        // One name for both, so that there is one to replace.
        let named = |object: &Value| object.to_string().replace(name, run);

        let outcome = serde_json::json!({
            "metadata": {
                "resourceVersion": TOLD,
                "labels": {"hookrun.dev/outcome": delivery["metadata"]["labels"]["hookrun.dev/outcome"]},
            },
            "outcome": delivery["outcome"],
            "reason": delivery["reason"],
            "attempts": delivery["attempts"],
            "rules": delivery["rules"],
            "durationMilliseconds": delivery["durationMilliseconds"],
        });
        let mut fresh = delivery.clone();
        fresh["metadata"] = serde_json::json!({
            "name": name,
            "namespace": namespace,
            "labels": delivery["metadata"]["labels"],
            "annotations": delivery["metadata"]["annotations"],
        });
        fresh["metadata"]["labels"]["hookrun.dev/outcome"] = "Received".into();
        fresh["rules"][0]["outcome"] = "Received".into();
        fresh["outcome"] = "Received".into();
        fresh["attempts"] = 0.into();
        if let Some(fresh) = fresh.as_object_mut() {
            fresh.remove("durationMilliseconds");
        }
        let deliveries = format!(
            "/apis/{}/namespaces/{namespace}/deliveries",
            hooks::API_VERSION
        );
        let runs = format!("/apis/{TEKTON}/v1/namespaces/{namespace}/pipelineruns");
        let calls = vec![
            Call::create(
                format!("{deliveries}?fieldManager=bare"),
                named(&fresh),
                Some("resourceVersion"),
            ),
            Call::create(
                format!("{runs}?fieldManager=bare"),
                named(&rule["pipelineRun"]),
                None,
            ),
            Call {
                method: Method::PATCH,
                path: format!("{deliveries}/{run}?fieldManager=bare"),
                content_type: MERGE_PATCH,
                body: named(&outcome),
                tells: None,
            },
        ];
        Ok(Self {
            calls: Arc::new(calls),
            run: run.to_owned(),
        })
    }

    /// The same after the reads that a run by name needs: the bare client then knows no more than the function does.
    pub(crate) fn reading(&self, namespace: &str, name: &str) -> Self {
        let read = |plural: &str, name: Label| Call {
            method: Method::GET,
            path: format!("/apis/{TEKTON}/v1/namespaces/{namespace}/{plural}/{name}"),
            content_type: JSON,
            body: String::new(),
            tells: None,
        };
        let mut calls = vec![
            read("pipelines", flows::stored::pipeline_name(name)),
            read("tasks", flows::stored::task_name(name)),
        ];
        calls.extend(self.calls.iter().cloned());
        Self {
            calls: Arc::new(calls),
            run: self.run.clone(),
        }
    }

    /// How many requests it is.
    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }

    /// Sends all of them for a run of this name, one after the other.
    pub(crate) async fn send(&self, connection: &mut Connection, run: &str) -> Result<()> {
        let mut told = TOLD.to_owned();
        for Call {
            method,
            path,
            content_type,
            body,
            tells,
        } in self.calls.iter()
        {
            let body = Bytes::from(body.replace(&self.run, run).replace(TOLD, &told));
            let path = path.replace(&self.run, run);
            let answer = connection
                .send(method.clone(), &path, content_type, body)
                .await?;
            if let Some(field) = tells {
                let answer: Value = serde_json::from_slice(&answer)?;
                answer["metadata"][field]
                    .as_str()
                    .with_context(|| format!("an object without {field}"))?
                    .clone_into(&mut told);
            }
        }
        Ok(())
    }

    /// A name for the run number `number`; as long as those of the function.
    pub(crate) fn name(&self, number: usize) -> String {
        let base = self.run.rsplit_once('-').map_or("bench", |(base, _)| base);
        format!("{base}-{number:010}")
    }
}

fn text_of(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("no text: {value}"))
}

fn text(json: Vec<u8>) -> String {
    String::from_utf8_lossy(&json).into_owned()
}

fn collection(group: &str, plural: &str, namespace: &Label) -> String {
    match group {
        "" => format!("/api/v1/namespaces/{namespace}/{plural}"),
        group => format!("/apis/{group}/v1/namespaces/{namespace}/{plural}"),
    }
}

/// What the cluster stores of a flow, read as the function reads it.
async fn stored(cluster: &Cluster, name: &str, namespace: &Label) -> Result<flows::stored::Stored> {
    let objects = |kind: &str| -> Api<DynamicObject> {
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(TEKTON, "v1", kind));
        Api::namespaced_with(cluster.admin(), namespace.as_str(), &kind)
    };
    let name = flows::stored::pipeline_name(name);
    let pipeline = serde_json::to_value(objects("Pipeline").get(name.as_str()).await?)?;
    let mut tasks = std::collections::BTreeMap::new();
    for task in flows::stored::task_names(&pipeline) {
        tasks.insert(
            task.clone(),
            serde_json::to_value(objects("Task").get(&task).await?)?,
        );
    }
    let secrets: Api<Secret> = Api::namespaced(cluster.admin(), namespace.as_str());
    anyhow::ensure!(
        secrets
            .list(&kube::api::ListParams::default())
            .await?
            .items
            .is_empty(),
        "this flow has no Secrets"
    );
    Ok(flows::stored::Stored {
        pipeline,
        tasks,
        secrets: std::collections::BTreeMap::new(),
    })
}
