//! The cluster on which is measured: how it is asked, how it is reached from outside, and how it becomes as it was.

use std::{
    io::Write,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use control_plane::{Programs, Standing, until};
use http::{Request, header};
use kube::{Client, Config, config::Kubeconfig};
use serde_json::{Value, json};
use system_tests::function::repository;

use crate::{events::basic, wire::Target};

/// On everything that is installed; by it, everything is removed.
pub(super) const LABEL: &str = "hookrun.dev/bench";
/// The functions and the bare server.
pub(super) const NAMESPACE: &str = "hookrun-bench";
/// The runs that Hookrun makes.
pub(super) const RUNS: &str = "hookrun-bench-runs";
/// The EventListeners and their runs.
pub(super) const TRIGGERS: &str = "hookrun-bench-triggers";

/// The functions as the manifests call them: for flows, for webhooks, for events; and the bare server.
pub(super) const FLOW: &str = "hookrun-flow";
pub(super) const HOOK: &str = "hookrun-hook";
pub(super) const EVENTS: &str = "hookrun-flow-events";
pub(super) const BARE: &str = "bare";

/// Where the Broker of the manifests is reached from outside, which it is not by itself.
pub(super) const BROKER_PORT: u16 = 8081;

/// User and password of the flow function.
pub(super) const LOGIN: [&str; 2] = ["bench", "bench"];

/// How long Knative may take for anything; a busy machine is slow.
const PATIENCE: Duration = Duration::from_secs(240);

/// A cluster with the platform, and Tekton Triggers on it.
pub(super) struct Site {
    pub(super) client: Client,
    /// The address at which the node takes requests from outside.
    pub(super) address: IpAddr,
    kubectl: PathBuf,
}

impl Site {
    /// The cluster that stands.
    ///
    /// # Errors
    /// None is up, or something that is measured is not on it.
    pub(super) async fn find() -> Result<Self> {
        let up = "start one that has everything: cargo xtask cluster up --tier comparison";
        let config = Kubeconfig::read_from(Standing::default().kubeconfig())
            .with_context(|| format!("no cluster is up; {up}"))?;
        let config = Config::from_custom_kubeconfig(config, &Default::default()).await?;
        let mut site = Self {
            client: Client::try_from(config)?,
            address: IpAddr::from([0, 0, 0, 0]),
            kubectl: Programs::build(&["kubectl"])?.path("kubectl"),
        };
        for group in [
            "serving.knative.dev",
            "eventing.knative.dev",
            "triggers.tekton.dev",
        ] {
            site.get(&format!("/apis/{group}"))
                .await
                .with_context(|| format!("the cluster that is up has no {group}; {up}"))?;
        }
        let gateway = site
            .get("/api/v1/namespaces/kourier-system/services/kourier")
            .await?;
        site.address = gateway["spec"]["externalIPs"][0]
            .as_str()
            .context("Kourier's gateway has no address for the outside")?
            .parse()?;
        Ok(site)
    }

    /// Reads from the API server.
    pub(super) async fn get(&self, path: &str) -> Result<Value> {
        let request = Request::get(path).body(Vec::new())?;
        Ok(self.client.request(request).await?)
    }

    /// The way to a Knative Service through Kourier.
    pub(super) async fn service(&self, name: &str) -> Result<Target> {
        let path = format!("/apis/serving.knative.dev/v1/namespaces/{NAMESPACE}/services/{name}");
        let service = self.get(&path).await?;
        let url = service["status"]["url"]
            .as_str()
            .context("a Service without URL")?;
        let host = url.rsplit('/').next().unwrap_or_default();
        self.port(80)?.header(header::HOST, host)
    }

    /// The way to a Service that has a port at the node's address.
    pub(super) fn port(&self, port: u16) -> Result<Target> {
        let [user, password] = LOGIN;
        Target::plain(SocketAddr::new(self.address, port), &basic(user, password))
    }

    /// Removes what was installed, also by a measurement that was interrupted.
    pub(super) async fn remove(&self) -> Result<()> {
        let selector = format!("--selector {LABEL}=true");
        let kinds = "namespaces,clusterrolebindings,customresourcedefinitions,mutatingadmissionpolicies,mutatingadmissionpolicybindings";
        for what in ["services --namespace knative-eventing", kinds] {
            self.kubectl(&format!("delete {what} {selector} --wait=false"), "")?;
        }
        until("what was installed is gone", PATIENCE, async || {
            let left = self.kubectl(&format!("get {kinds} {selector} --output name"), "")?;
            // Whoever waits for a slow end should not make it slower.
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(left.trim().is_empty())
        })
        .await
    }

    /// Creates objects, or changes them to what they should be.
    pub(super) fn apply(&self, objects: &[Value]) -> Result<()> {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        self.kubectl("apply --filename -", &list.to_string())
            .map(drop)
    }

    /// Waits until something is ready.
    pub(super) fn ready(&self, namespace: &str, what: &str) -> Result<()> {
        let limit = PATIENCE.as_secs();
        let wait =
            format!("wait {what} --namespace {namespace} --for condition=Ready --timeout {limit}s");
        self.kubectl(&wait, "").map(drop)
    }

    /// Waits until something of the whole cluster has a condition.
    pub(super) fn is(&self, what: &str, condition: &str) -> Result<()> {
        let limit = PATIENCE.as_secs();
        let wait = format!("wait {what} --for condition={condition} --timeout {limit}s");
        self.kubectl(&wait, "").map(drop)
    }

    /// Runs kubectl in the repository with some words and something on its standard input, and gives what it prints.
    pub(super) fn kubectl(&self, words: &str, input: &str) -> Result<String> {
        let mut child = Command::new(&self.kubectl)
            .current_dir(repository())
            .arg("--kubeconfig")
            .arg(Standing::default().kubeconfig())
            .args(words.split(' '))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("kubectl does not start")?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kubectl {words}: {}", told.trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
