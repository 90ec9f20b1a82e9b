//! A namespace whose Hooks may start runs, and everything that is put there beside the function.

use std::{ops::Range, time::Duration};

use anyhow::{Context, Result};
use control_plane::{Account, Cluster, until};
use futures_util::{StreamExt, TryStreamExt, stream};
use http::Request;
use serde_json::{Value, json};
use system_tests::function::{Function, Setup, repository};

use super::sender::{SECRET, Sender};
use crate::wire::Target;

/// How long a definition may take until it is served.
const PATIENCE: Duration = Duration::from_secs(60);

/// Objects that are created at the same time.
const AT_ONCE: usize = 32;

/// As whom the Hooks act, and the Secret with what signs their events.
const ACCOUNT: &str = "hookrun";

/// The Pipeline that is started.
pub(crate) const PIPELINE: &str = "build";

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// A namespace of its own.
pub(super) struct Scene<'a> {
    cluster: &'a Cluster,
    pub(super) namespace: String,
}

/// Installs the definitions of both resources, without which no event is stored.
pub(crate) async fn install(cluster: &Cluster) -> Result<()> {
    for definition in hooks::crds() {
        let name = definition["metadata"]["name"].as_str().unwrap_or_default();
        let path = format!("{DEFINITIONS}/{name}");
        let request = Request::patch(format!("{path}?fieldManager=bench"))
            .header("content-type", "application/apply-patch+yaml")
            .body(definition.to_string().into_bytes())?;
        let client = cluster.admin();
        client.request::<Value>(request).await?;
        until("the definition is served", PATIENCE, async || {
            let found: Value = client
                .request(Request::get(&path).body(Vec::new())?)
                .await?;
            let mut conditions = found["status"]["conditions"]
                .as_array()
                .into_iter()
                .flatten();
            Ok(conditions.any(|one| one["type"] == "Established" && one["status"] == "True"))
        })
        .await
        .with_context(|| name.to_owned())?;
    }
    Ok(())
}

impl<'a> Scene<'a> {
    /// An empty one: no Hooks yet, but the Pipeline that they start and the Secret that they know.
    pub(super) async fn new(cluster: &'a Cluster) -> Result<Self> {
        let namespace = cluster.namespace("bench").await?;
        let scene = Self { cluster, namespace };
        cluster.service_account(&scene.namespace, ACCOUNT).await?;
        let account = Account {
            namespace: scene.namespace.clone(),
            name: ACCOUNT.to_owned(),
            token: String::new(),
        };
        let role = repository().join("knative/hooks/account-role.yaml");
        cluster.grant(&role, &scene.namespace, &account).await?;
        let path = format!("/api/v1/namespaces/{}/secrets", scene.namespace);
        scene.create(&path, &secret()).await?;
        let pipeline = json!({
            "apiVersion": "tekton.dev/v1", "kind": "Pipeline", "metadata": {"name": PIPELINE},
            "spec": {
                "params": [{"name": "revision"}],
                "tasks": [{"name": "only", "taskSpec": {
                    "steps": [{"name": "only", "image": "images.example.org/only:1", "command": ["true"]}],
                }}],
            },
        });
        let path = format!(
            "/apis/tekton.dev/v1/namespaces/{}/pipelines",
            scene.namespace
        );
        scene.create(&path, &pipeline).await?;
        Ok(scene)
    }

    /// The function, yet to be started, with the rights of the manifests.
    pub(super) fn function(&self) -> Setup<'_> {
        Function::hooks(self.cluster).run_in(&self.namespace)
    }

    /// A sender for a Hook of this namespace.
    pub(super) fn sender(&self, hook: &str) -> Result<Sender> {
        Sender::new(&self.namespace, hook)
    }

    /// Where the objects of a kind of ours are.
    pub(super) fn path(&self, plural: &str) -> String {
        let Self { namespace, .. } = self;
        format!(
            "/apis/{}/namespaces/{namespace}/{plural}",
            hooks::API_VERSION
        )
    }

    /// Creates an object.
    pub(super) async fn create(&self, path: &str, object: &Value) -> Result<()> {
        let body = object.to_string().into_bytes();
        let request = Request::post(path)
            .header("content-type", "application/json")
            .body(body)?;
        self.cluster.admin().request_text(request).await?;
        Ok(())
    }

    /// Creates many of a kind of ours, many at a time.
    pub(super) async fn create_all(
        &self,
        plural: &str,
        numbers: Range<usize>,
        object: impl Fn(usize) -> Value,
    ) -> Result<()> {
        let path = self.path(plural);
        stream::iter(numbers.map(object))
            .map(async |object| self.create(&path, &object).await)
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await
            .with_context(|| format!("creating {plural}"))
    }

    /// Reads something.
    pub(super) async fn get(&self, path: &str) -> Result<Value> {
        let request = Request::get(path).body(Vec::new())?;
        Ok(self.cluster.admin().request(request).await?)
    }

    /// How many there are of a kind of ours.
    pub(super) async fn count(&self, plural: &str) -> Result<usize> {
        let list = self.get(&self.path(plural)).await?;
        list["items"].as_array().map(Vec::len).context("no list")
    }

    /// Creates a Hook.
    pub(super) async fn hook(&self, name: &str) -> Result<()> {
        self.create(&self.path("hooks"), &hook(name)).await
    }

    /// The Delivery of a push that started a run.
    pub(super) async fn sample(&self, target: &Target, sender: &Sender) -> Result<Value> {
        // Beyond the numbers of events that are counted.
        let name = sender
            .push(&mut target.connect().await?, usize::MAX)
            .await?;
        self.get(&format!("{}/{name}", self.path("deliveries")))
            .await
    }
}

/// The Secret of a [`hook`].
pub(crate) fn secret() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": ACCOUNT},
        "stringData": {"secret": SECRET},
    })
}

/// A Hook for GitHub that starts the Pipeline for pushes to `main`, as often as they come.
pub(crate) fn hook(name: &str) -> Value {
    json!({
        "apiVersion": hooks::API_VERSION,
        "kind": "Hook",
        "metadata": {"name": name},
        "spec": {
            "provider": "github",
            "verification": {"secretRefs": [{"name": ACCOUNT}]},
            "serviceAccountName": ACCOUNT,
            "quota": {"perMinute": 60_000},
            "rules": [{
                "name": "build",
                "events": ["push"],
                "filter": "event.branch == \"main\" && event.changed(\"services/**\")",
                "pipelineRef": {"name": PIPELINE},
                "params": [{"name": "revision", "expression": "event.revision"}],
            }],
        },
    })
}
