//! What the cases share: the cluster, what is installed on it, and how it is looked at.

use std::{
    path::PathBuf,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use control_plane::{Programs, eventually, until};
use kube::Client;
use serde_json::{Value, json};
use system_tests::{
    case::Case,
    function::{self, repository},
    support::objects::Objects,
};
use tokio::{io::AsyncWriteExt, process::Command};

use crate::{
    install::{self, Site, Sites},
    payloads,
    settings::Settings,
    tools::Tools,
};

/// How long a run, a pod or a revision may take to get somewhere on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// How long a function may take to go to zero: its window, the autoscaler's grace time, and the pod's end.
pub(crate) const TO_ZERO: Duration = Duration::from_secs(240);

/// Namespaces for runs that the functions know, and in the last one of them steps may be privileged.
pub(crate) const RUNS: &str = "hookrun-e2e-runs";
pub(crate) const PRIVILEGED: &str = "hookrun-e2e-privileged";
/// A namespace for runs in all but the configuration of the functions.
pub(crate) const CLOSED: &str = "hookrun-e2e-closed";
/// A namespace for runs whose steps never start: there is no room for pods.
pub(crate) const QUEUE: &str = "hookrun-e2e-queue";
/// Where flows are stored.
pub(crate) const FLOWS: &str = "hookrun-e2e-flows";

/// The cluster and what is on it.
pub(crate) struct World {
    pub(crate) settings: Settings,
    pub(crate) tools: Tools,
    /// Somebody who may do everything.
    pub(crate) admin: Client,
    /// The flow function, which most cases use.
    pub(crate) main: Site,
    /// The function that outside services call.
    pub(crate) hooks: Site,
    /// The flow function with narrow limits, for the cases that run alone.
    pub(crate) storm: Site,
    /// Files of the run.
    pub(crate) folder: PathBuf,
    kubectl: Kubectl,
}

impl World {
    /// Connects to the cluster and installs everything.
    ///
    /// # Errors
    /// There is no such cluster, or something does not get ready.
    pub(crate) async fn start() -> Result<Self> {
        let began = Instant::now();
        let settings = Settings::read()?;
        let folder = repository().join("target/e2e");
        std::fs::create_dir_all(&folder)?;
        let kubectl = Kubectl::find(&settings)?;
        let admin = Client::try_default()
            .await
            .context("the cluster of KUBECONFIG cannot be used")?;
        check(&admin).await?;
        // What users have on their own machine.
        tokio::task::spawn_blocking(function::build).await??;
        let tools = Tools::provide(&settings, &folder).await?;
        let Sites { main, hooks, storm } =
            install::install(&settings, &tools, &kubectl, &folder).await?;
        let world = Self {
            settings,
            tools,
            admin,
            main,
            hooks,
            storm,
            folder,
            kubectl,
        };
        payloads::serve(&world).await?;
        eprintln!(
            "e2e: installed after {:.0} s",
            began.elapsed().as_secs_f32()
        );
        Ok(world)
    }

    /// Removes everything that was installed, unless it is to be kept.
    ///
    /// # Errors
    /// Something stays.
    pub(crate) async fn end(&self) -> Result<()> {
        if self.settings.keep {
            return Ok(());
        }
        install::remove(&self.kubectl).await
    }

    /// Runs `kubectl`; gives what it prints.
    ///
    /// # Errors
    /// It fails; the text is what it says.
    pub(crate) async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl.run(arguments, None).await
    }

    /// Applies an object.
    ///
    /// # Errors
    /// The API server refuses it.
    pub(crate) async fn apply(&self, object: &Value) -> Result<()> {
        self.kubectl
            .run(&["apply", "-f", "-"], Some(&object.to_string()))
            .await
            .map(drop)
    }

    /// An object of any kind, as `kubectl` names it.
    ///
    /// # Errors
    /// It cannot be read, or there is none.
    pub(crate) async fn get(&self, namespace: &str, what: &[&str]) -> Result<Value> {
        let arguments = [&["--namespace", namespace, "get", "--output", "json"], what].concat();
        Ok(serde_json::from_str(&self.kubectl(&arguments).await?)?)
    }

    /// The objects of a namespace.
    pub(crate) fn objects(&self, namespace: &str) -> Objects {
        Objects::of(self.admin.clone(), namespace)
    }

    /// The pods that a label selector finds, without those that are ending.
    ///
    /// # Errors
    /// They cannot be listed.
    pub(crate) async fn pods(&self, namespace: &str, selector: &str) -> Result<Vec<Value>> {
        let mut pods = self.objects(namespace).selected("Pod", selector).await?;
        pods.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        Ok(pods)
    }

    /// Waits until no pod of a Knative Service is left.
    ///
    /// # Errors
    /// There still is one.
    pub(crate) async fn until_zero(&self, namespace: &str, service: &str) -> Result<()> {
        let selector = format!("serving.knative.dev/service={service}");
        until(&format!("{service} goes to zero"), TO_ZERO, async || {
            Ok(self
                .objects(namespace)
                .selected("Pod", &selector)
                .await?
                .is_empty())
        })
        .await
    }

    /// Starts a pod that runs a script of the tools, with a Service of its name on port 8080, and waits until it answers.
    ///
    /// # Errors
    /// It does not get ready.
    pub(crate) async fn serve(&self, name: &str, namespace: &str, script: &str) -> Result<()> {
        let labels = json!({"app": name});
        let mut pod = self.pod(name, namespace, script);
        pod["metadata"]["labels"] = labels.clone();
        pod["spec"]["containers"][0]["readinessProbe"] =
            json!({"tcpSocket": {"port": 8080}, "periodSeconds": 1});
        self.apply(&pod).await?;
        self.apply(&json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
            "spec": {"selector": labels, "ports": [{"port": 8080}]},
        }))
        .await?;
        let pod = format!("pod/{name}");
        self.kubectl(&[
            "--namespace",
            namespace,
            "wait",
            "--for=condition=Ready",
            "--timeout=90s",
            &pod,
        ])
        .await?;
        Ok(())
    }

    /// A pod that runs a script of the tools.
    pub(crate) fn pod(&self, name: &str, namespace: &str, script: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": false,
                "terminationGracePeriodSeconds": 1,
                "containers": [{
                    "name": "tools",
                    "image": self.tools.pod,
                    "command": ["/bin/sh", "-euc", script],
                    // As strict as a namespace may ask.
                    "securityContext": {
                        "allowPrivilegeEscalation": false,
                        "runAsNonRoot": true,
                        "capabilities": {"drop": ["ALL"]},
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                }],
            },
        })
    }

    /// Stores a flow where the functions look flows up.
    ///
    /// # Errors
    /// The API server refuses it.
    pub(crate) async fn store(&self, key: &str, flow: &Value) -> Result<()> {
        self.apply(&json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": key.to_lowercase().replace('_', "-"),
                "namespace": FLOWS,
                "labels": {"hookrun.dev/flow-key": key},
            },
            "data": {"flow.json": flow.to_string()},
        }))
        .await
    }

    /// Waits for the end of a run; gives it as it is then.
    ///
    /// # Errors
    /// It does not end in time.
    pub(crate) async fn ended(&self, namespace: &str, run: &str) -> Result<Value> {
        let objects = self.objects(namespace);
        eventually(&format!("the run {run} ends"), PATIENCE, async || {
            let run = objects.get("PipelineRun", run).await?;
            Ok(["True", "False"]
                .contains(&succeeded(&run)["status"].as_str().unwrap_or_default())
                .then_some(run))
        })
        .await
    }

    /// Waits for the success of a run; gives it.
    ///
    /// # Errors
    /// It fails or does not end; the text tells what its pods say.
    pub(crate) async fn succeeds(&self, namespace: &str, run: &str) -> Result<Value> {
        let ended = self.ended(namespace, run).await?;
        if succeeded(&ended)["status"] == "True" {
            return Ok(ended);
        }
        let log = self.log(namespace, run).await.unwrap_or_default();
        bail!("{run}: {:#}\n{log}", succeeded(&ended))
    }

    /// What all steps of a run have printed.
    ///
    /// # Errors
    /// There is no such run.
    pub(crate) async fn log(&self, namespace: &str, run: &str) -> Result<String> {
        let selector = format!("tekton.dev/pipelineRun={run}");
        let arguments = [
            "--namespace",
            namespace,
            "logs",
            "--selector",
            &selector,
            "--all-containers",
            "--tail=-1",
        ];
        self.kubectl(&arguments).await
    }

    /// The runs of one event, by a part of its identity.
    ///
    /// # Errors
    /// They cannot be listed.
    pub(crate) async fn runs_of(&self, namespace: &str, event: &str) -> Result<Vec<Value>> {
        let mut runs = self.objects(namespace).all("PipelineRun").await?;
        runs.retain(|run| event_of(run).split(' ').any(|part| part == event));
        Ok(runs)
    }

    /// Kills a part of the own cluster, which its supervisor starts again.
    ///
    /// # Errors
    /// It does not run.
    pub(crate) fn restart(&self, part: &str) -> Result<()> {
        ensure!(
            self.settings.own(),
            "the parts of this cluster cannot be killed"
        );
        control_plane::Standing::default().restart(part)
    }

    /// What there is to see of a namespace, for whoever reads a failure.
    async fn picture(&self, namespace: &str) -> String {
        let see = |arguments: &'static [&'static str]| async move {
            let arguments = [&["--namespace", namespace], arguments].concat();
            let told = self
                .kubectl(&arguments)
                .await
                .unwrap_or_else(|error| format!("{error:#}"));
            // The end says most.
            let lines: Vec<_> = told.lines().rev().take(20).collect();
            let lines: Vec<_> = lines.into_iter().rev().collect();
            format!("$ kubectl {}\n{}\n", arguments.join(" "), lines.join("\n"))
        };
        see(&[
            "get",
            "services.serving.knative.dev,revisions,pods",
            "--output",
            "wide",
        ])
        .await
            + &see(&["get", "events", "--sort-by", ".lastTimestamp"]).await
            + &see(&[
                "logs",
                "--selector",
                "serving.knative.dev/service",
                "--container",
                "hookrun",
                "--tail",
                "8",
                "--prefix",
            ])
            .await
    }
}

/// Fails unless everything is there that Hookrun stands on.
async fn check(admin: &Client) -> Result<()> {
    let served = admin
        .list_api_groups()
        .await
        .context("the cluster of KUBECONFIG does not answer")?;
    let missing: Vec<_> = [
        ("tekton.dev", "Tekton Pipelines"),
        ("serving.knative.dev", "Knative Serving"),
        ("eventing.knative.dev", "Knative Eventing"),
    ]
    .iter()
    .filter(|(group, _)| served.groups.iter().all(|other| other.name != *group))
    .map(|(_, system)| *system)
    .collect();
    ensure!(
        missing.is_empty(),
        "the cluster of KUBECONFIG has no {}; the own one has all of it with `cargo xtask cluster up`",
        missing.join(", no ")
    );
    Ok(())
}

/// What an event is called on the run that it made.
pub(crate) fn event_of(run: &Value) -> &str {
    run["metadata"]["annotations"]["hookrun.dev/event"]
        .as_str()
        .unwrap_or_default()
}

/// The condition that says how a run is doing.
pub(crate) fn succeeded(run: &Value) -> &Value {
    let conditions = run["status"]["conditions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    conditions
        .iter()
        .find(|condition| condition["type"] == "Succeeded")
        .unwrap_or(&Value::Null)
}

/// How often the containers of a pod have been started again.
pub(crate) fn restarts(pod: &Value) -> u64 {
    let containers = pod["status"]["containerStatuses"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    containers
        .iter()
        .filter_map(|container| container["restartCount"].as_u64())
        .sum()
}

/// Bytes in hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A case that shows the namespace of its function when it fails, and ends in time.
pub(crate) fn case<F, R>(name: &str, seconds: u64, namespace: &'static str, body: F) -> Case<World>
where
    F: FnOnce(Arc<World>) -> R + Send + 'static,
    R: Future<Output = Result<()>> + 'static,
{
    let limit = Duration::from_secs(seconds);
    let title = name.to_owned();
    let case = Case::of(name, move |world: Arc<World>| async move {
        let began = Instant::now();
        let ended = tokio::time::timeout(limit, body(Arc::clone(&world))).await;
        eprintln!("e2e: {title} took {:.0} s", began.elapsed().as_secs_f32());
        let Err(error) = ended.unwrap_or_else(|_| Err(anyhow!("did not end within {limit:?}")))
        else {
            return Ok(());
        };
        bail!("{error:#}\n\n{}", world.picture(namespace).await)
    });
    // For looking around after the failure.
    case.within(limit + Duration::from_secs(60))
}

/// `kubectl`, for the cluster of the environment.
pub(crate) struct Kubectl(PathBuf);

impl Kubectl {
    /// That of the own cluster, or the one in the path.
    fn find(settings: &Settings) -> Result<Self> {
        Ok(Self(if settings.own() {
            Programs::build(&["kubectl"])?.path("kubectl")
        } else {
            "kubectl".into()
        }))
    }

    /// Runs it with something on its standard input.
    ///
    /// # Errors
    /// It fails; the text is what it says.
    pub(crate) async fn run(&self, arguments: &[&str], input: Option<&str>) -> Result<String> {
        let mut child = Command::new(&self.0)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("kubectl does not start")?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin
                .write_all(input.unwrap_or_default().as_bytes())
                .await?;
        }
        let output = child.wait_with_output().await?;
        ensure!(
            output.status.success(),
            "kubectl {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
