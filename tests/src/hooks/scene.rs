//! What the cases of Hooks share: the resources, a namespace whose Hooks may start runs, processes of the function, and
//! senders that sign as providers do.

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail, ensure};
use control_plane::{Account, Cluster, until};
use http::{Method, Request};
use providers::{
    Provider,
    sign::{Outgoing, sign},
};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::{
    function::{Function, Setup, executable, repository},
    support::{
        Answer, ask,
        objects::{Objects, name},
    },
};

/// How long something may take that needs no more than a few requests, on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// How long it may take to finish what hundreds of interrupted events have left.
const SWEEPING: Duration = Duration::from_secs(180);

/// What signs the events of [`Scene::github`].
pub(super) const SECRET: &str = "canary-5kq7 a secret that nobody guesses";

/// A namespace with Hooks, seen by an administrator.
pub(super) struct Scene {
    /// The cluster.
    pub(super) cluster: Arc<Cluster>,
    /// The namespace. Its ServiceAccount `hookrun` may create PipelineRuns.
    pub(super) namespace: String,
    /// What is in it.
    pub(super) objects: Objects,
    /// The account of the function, with the rights that it needs here.
    pub(super) account: Account,
    /// That of the sweep.
    sweeper: Account,
}

impl Scene {
    /// An empty one.
    pub(super) async fn new(cluster: &Arc<Cluster>) -> Result<Self> {
        install(cluster).await?;
        let namespace = cluster.namespace("hooks").await?;
        let account = cluster.account("hookrun-hook").await?;
        cluster.grant(&role("hook"), &namespace, &account).await?;
        let sweeper = cluster.account("hookrun-sweep").await?;
        cluster.grant(&role("sweep"), &namespace, &sweeper).await?;
        let scene = Self {
            objects: Objects::of(cluster.admin(), &namespace),
            cluster: Arc::clone(cluster),
            namespace,
            account,
            sweeper,
        };
        scene.tenant("hookrun").await?;
        Ok(scene)
    }

    /// A ServiceAccount that may create PipelineRuns.
    pub(super) async fn tenant(&self, name: &str) -> Result<()> {
        self.cluster.service_account(&self.namespace, name).await?;
        self.allow(name).await
    }

    /// Lets a ServiceAccount create PipelineRuns.
    pub(super) async fn allow(&self, name: &str) -> Result<()> {
        let account = Account {
            namespace: self.namespace.clone(),
            name: name.to_owned(),
            token: String::new(),
        };
        let role = repository().join("knative/hooks/account-role.yaml");
        self.cluster.grant(&role, &self.namespace, &account).await?;
        Ok(())
    }

    /// A process yet to be started; all of them share one account.
    pub(super) fn setup(&self) -> Setup<'_> {
        Function::hooks(&self.cluster)
            .account(&self.account)
            .run_in(&self.namespace)
    }

    /// A process.
    pub(super) async fn function(&self) -> Result<Function> {
        self.setup().start().await
    }

    /// Writes a Secret with one entry, `secret`, over the one that is there.
    pub(super) async fn secret(&self, name: &str, value: &str) -> Result<()> {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
            "stringData": {"secret": value},
        });
        self.objects.apply_as("tests", &secret).await?;
        Ok(())
    }

    /// Creates a Hook.
    pub(super) async fn hook(&self, name: &str, spec: Value) -> Result<Value> {
        let hook = json!({
            "apiVersion": "hookrun.dev/v1alpha1", "kind": "Hook", "metadata": {"name": name}, "spec": spec,
        });
        self.objects.create(&hook).await
    }

    /// Creates a Hook for GitHub with these rules, and its Secret; `more` are further fields of its spec.
    pub(super) async fn github(&self, name: &str, rules: Value, more: Value) -> Result<Sender> {
        self.secret(name, SECRET).await?;
        let mut spec = json!({
            "provider": "github",
            "verification": {"secretRefs": [{"name": name}]},
            "rules": rules,
        });
        for (field, value) in more.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        self.hook(name, spec).await?;
        Ok(self.sender(name, SECRET))
    }

    /// The Hook `shop` as most have it: for GitHub, with one rule, which starts a run of every event.
    pub(super) async fn shop(&self) -> Result<Sender> {
        self.github("shop", json!([rule("build")]), json!({})).await
    }

    /// A sender like GitHub, for a Hook of this namespace.
    pub(super) fn sender(&self, hook: &str, secret: &str) -> Sender {
        Sender {
            path: format!("/hooks/{}/{hook}", self.namespace),
            provider: providers::provider("github").expect("it is in the table"),
            secret: secret.to_owned(),
        }
    }

    /// All Deliveries of a Hook.
    pub(super) async fn deliveries(&self, hook: &str) -> Result<Vec<Value>> {
        let label = format!("hookrun.dev/hook={hook}");
        self.objects.selected("Delivery", &label).await
    }

    /// The one Delivery of a Hook.
    pub(super) async fn delivery(&self, hook: &str) -> Result<Value> {
        let mut all = self.deliveries(hook).await?;
        ensure!(all.len() == 1, "Hook {hook} has {} Deliveries", all.len());
        Ok(all.remove(0))
    }

    /// All runs of a Hook.
    pub(super) async fn runs(&self, hook: &str) -> Result<Vec<Value>> {
        let label = format!("hookrun.dev/hook={hook}");
        self.objects.selected("PipelineRun", &label).await
    }

    /// One sweep of this namespace; what it says, and an error where something could not be done.
    pub(super) async fn sweep(&self, takeover: Duration) -> Result<String> {
        self.sweep_with(takeover, &[]).await
    }

    /// The same, with further variables.
    pub(super) async fn sweep_with(
        &self,
        takeover: Duration,
        more: &[(String, String)],
    ) -> Result<String> {
        let kubeconfig = self
            .cluster
            .kubeconfig(self.cluster.url(), &self.sweeper.token)?;
        let mut command = Command::new(executable());
        command
            .arg("sweep")
            .env_clear()
            .env("KUBECONFIG", kubeconfig)
            .env("HOOKRUN_NAMESPACES", &self.namespace)
            .env("HOOKRUN_SWEEP_DELIVERIES", "true")
            .env(
                "HOOKRUN_API_DEADLINE",
                format!("{}ms", takeover.as_millis() - 1),
            )
            .env(
                "HOOKRUN_HOOK_TAKEOVER",
                format!("{}ms", takeover.as_millis()),
            )
            .envs(more.iter().cloned());
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{}: {text}", output.status);
        Ok(text)
    }

    /// Sweeps until no Delivery of a Hook is left `Received`; what one sweep cannot do, the next one does.
    pub(super) async fn finish(&self, hook: &str, takeover: Duration) -> Result<()> {
        self.finish_with(hook, takeover, &[]).await
    }

    /// The same, by sweeps with further variables.
    pub(super) async fn finish_with(
        &self,
        hook: &str,
        takeover: Duration,
        more: &[(String, String)],
    ) -> Result<()> {
        let mut said = String::new();
        until("every Delivery has an outcome", SWEEPING, async || {
            said = self
                .sweep_with(takeover, more)
                .await
                .unwrap_or_else(|error| error.to_string());
            let all = self.deliveries(hook).await?;
            Ok(all.iter().all(|delivery| delivery["outcome"] != "Received"))
        })
        .await
        .with_context(|| format!("the last sweep said: {said}"))
    }

    /// Name and edition of everything that a forged request could change.
    pub(super) async fn editions(&self) -> Result<BTreeSet<String>> {
        let mut editions = BTreeSet::new();
        for kind in ["Delivery", "PipelineRun", "Secret", "ConfigMap", "Pod"] {
            for object in self.objects.all(kind).await? {
                let edition = &object["metadata"]["resourceVersion"];
                editions.insert(format!("{kind} {} {edition}", name(&object)));
            }
        }
        Ok(editions)
    }
}

/// The rights of the function, or of the sweep.
fn role(of: &str) -> PathBuf {
    repository().join(format!("knative/hooks/{of}-role.yaml"))
}

/// Installs the definitions of both resources, once for all cases, and waits until they are served.
pub(crate) async fn install(cluster: &Cluster) -> Result<()> {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    INSTALLED
        .get_or_try_init(async || {
            for definition in definitions()? {
                let path = format!("{}/{}", DEFINITIONS, name(&definition));
                let request =
                    Request::patch(format!("{path}?fieldManager=tests&fieldValidation=Strict"))
                        .header("content-type", "application/apply-patch+yaml")
                        .body(definition.to_string().into_bytes())?;
                let client = cluster.admin();
                client.request::<Value>(request).await?;
                until("the definition is served", PATIENCE, async || {
                    let found = client
                        .request::<Value>(Request::get(&path).body(Vec::new())?)
                        .await?;
                    Ok(condition(&found, "Established")["status"] == "True")
                })
                .await
                .with_context(|| name(&definition).to_owned())?;
            }
            Ok(())
        })
        .await
        .copied()
}

/// The definitions that are committed.
pub(super) fn definitions() -> Result<Vec<Value>> {
    let folder = repository().join("knative/crds");
    let mut found = Vec::new();
    for file in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = file?.path();
        let document: Value = serde_saphyr::from_str(&fs::read_to_string(&path)?)
            .with_context(|| format!("{} is not one document", path.display()))?;
        if document["kind"] == "CustomResourceDefinition" {
            found.push(document);
        }
    }
    ensure!(
        found.len() == 2,
        "{} definitions in {}",
        found.len(),
        folder.display()
    );
    Ok(found)
}

/// Where definitions of resources are.
pub(super) const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// A condition of an object; null if it has none of that type.
pub(super) fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    let conditions = object["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions
        .find(|condition| condition["type"] == kind)
        .unwrap_or(&Value::Null)
}

/// Seconds since 1970.
pub(super) fn now() -> Result<i64> {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(i64::try_from(passed.as_secs())?)
}

/// A sender that signs as its provider does.
#[derive(Clone)]
pub(super) struct Sender {
    /// Path of the Hook.
    pub(super) path: String,
    /// Who it is.
    pub(super) provider: &'static Provider,
    /// What it signs with.
    pub(super) secret: String,
}

impl Sender {
    /// The same, with another secret.
    pub(super) fn with(&self, secret: &str) -> Self {
        Self {
            secret: secret.to_owned(),
            ..self.clone()
        }
    }

    /// A signed request.
    pub(super) fn request(
        &self,
        function: &Function,
        event_type: &str,
        id: &str,
        body: &[u8],
    ) -> RequestBuilder {
        let request = function.anonymous(Method::POST, &self.path);
        self.signed(request, event_type, id, body)
    }

    /// Signs a request, and gives it its body.
    pub(super) fn signed(
        &self,
        request: RequestBuilder,
        event_type: &str,
        id: &str,
        body: &[u8],
    ) -> RequestBuilder {
        let settings = providers::Settings::default();
        let outgoing = Outgoing {
            event_type,
            id,
            body,
        };
        let (secret, now) = (self.secret.as_bytes(), now().expect("it is after 1970"));
        let sent =
            sign(self.provider, &settings, secret, &outgoing, now).expect("it can be signed");
        request.headers(sent.headers).body(body.to_vec())
    }

    /// Sends an event.
    pub(super) async fn send(
        &self,
        function: &Function,
        event_type: &str,
        id: &str,
        body: &[u8],
    ) -> Result<Answer> {
        ask(self.request(function, event_type, id, body)).await
    }

    /// Sends a push that must be accepted; what is told of it.
    pub(super) async fn push(&self, function: &Function, id: &str) -> Result<Value> {
        accepted(&self.send(function, "push", id, &push(id)?).await?)
    }
}

/// What an accepted event's sender is told.
pub(super) fn accepted(answer: &Answer) -> Result<Value> {
    ensure!(answer.status == 202, "not accepted: {answer:?}");
    serde_json::from_str(&answer.text).with_context(|| format!("not JSON: {answer:?}"))
}

/// A payload as GitHub sends it, by its file.
pub(super) fn payload(file: &str) -> Result<Value> {
    let path = repository().join("shared/providers/tests/payloads/github");
    let path = path.join(file);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(serde_json::from_str(&text)?)
}

/// A push to `main`, other bytes for each event.
pub(super) fn push(id: &str) -> Result<Vec<u8>> {
    let mut push = payload("push.json")?;
    if push["ref"] != "refs/heads/main" {
        bail!("the sample is no push to main: {}", push["ref"]);
    }
    push["sample"] = id.into();
    Ok(push.to_string().into_bytes())
}

/// A rule that matches everything, and starts a run that nothing executes.
pub(super) fn rule(name: &str) -> Value {
    json!({
        "name": name,
        "pipelineRun": {"spec": {
            "managedBy": "tests.hookrun.dev/nobody",
            "pipelineSpec": {
                "workspaces": [{"name": "event", "optional": true}],
                "tasks": [{"name": "only", "taskSpec": {
                    "steps": [{"name": "only", "image": "images.example.org/only:1", "command": ["true"]}],
                }}],
            },
        }},
    })
}

/// The same, and the run gets the payload as `event.json`.
pub(super) fn rule_with_payload(name: &str) -> Value {
    let mut rule = rule(name);
    rule["payload"] = json!({"workspace": "event", "file": "event.json"});
    rule
}
