//! The admission webhook as the API server asks it: the real process, by TLS, with the registration of the manifests.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
};

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use control_plane::{Cluster, Process, eventually};
use http::Request;
use kube::core::Status;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::scene::{PATIENCE, install};
use crate::{
    case::Case,
    cases,
    function::{address, executable, repository},
    support::objects::Objects,
};

pub(super) fn cases() -> Vec<Case> {
    cases![
        a_hook_with_mistakes_is_refused_with_all_of_them,
        a_wrong_hook_that_is_stored_can_be_labelled_mended_and_deleted,
        a_certificate_is_renewed_without_a_restart,
        without_a_certificate_it_ends_and_says_what_is_missing,
    ]
}

/// What registrations of the webhook are created at.
const REGISTRATIONS: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";

/// The name that the API server expects in the certificate of a Service.
const SERVICE: &str = "hookrun-admission";

/// A namespace whose Hooks a process of its own is asked about.
struct Scene {
    cluster: Arc<Cluster>,
    namespace: String,
    objects: Objects,
    /// `tls.crt` and `tls.key`.
    files: TempDir,
    process: Process,
    port: u16,
}

impl Scene {
    /// The process serves, with a certificate for this name; nobody asks it yet.
    async fn new(cluster: &Arc<Cluster>, certified: impl FnOnce(&str) -> String) -> Result<Self> {
        install(cluster).await?;
        let namespace = cluster.namespace("admission").await?;
        let files = tempfile::tempdir()?;
        write_certificate(cluster, &files, &certified(&namespace))?;
        let log = cluster.logs().join(format!("{namespace}.log"));
        let mut process = Process::start("hookrun admission", command(&files), &log)?;
        let address: SocketAddr =
            eventually("the function tells its address", PATIENCE, async || {
                if let Some(status) = process.ended()? {
                    bail!("the function ended ({status})");
                }
                Ok(process.output().lines().find_map(address))
            })
            .await
            .with_context(|| process.output())?;
        Ok(Self {
            objects: Objects::of(cluster.admin(), &namespace),
            cluster: Arc::clone(cluster),
            namespace,
            files,
            process,
            port: address.port(),
        })
    }

    /// Has the API server ask it, as the manifests register it, about the Hooks of this namespace. Other cases write Hooks
    /// at the same time; and here a webhook that cannot be asked has to be noticed.
    async fn register(&self) -> Result<()> {
        let manifest = "knative/admission/validating-webhook-configuration.yaml";
        let mut registration: Value =
            serde_saphyr::from_str(&fs::read_to_string(repository().join(manifest))?)?;
        registration["metadata"]["name"] = self.namespace.clone().into();
        let webhook = &mut registration["webhooks"][0];
        ensure!(webhook["failurePolicy"] == "Ignore", "{webhook:#}");
        webhook["failurePolicy"] = "Fail".into();
        webhook["timeoutSeconds"] = 30.into();
        webhook["namespaceSelector"] =
            json!({"matchLabels": {"kubernetes.io/metadata.name": self.namespace}});
        let client = &mut webhook["clientConfig"];
        client["caBundle"] = BASE64_STANDARD.encode(self.cluster.ca()).into();
        client["service"]["namespace"] = self.namespace.clone().into();
        client["service"]["port"] = self.port.into();
        // The way to a process of this machine.
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": client["service"]["name"]},
            "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": self.port}]},
        });
        let services = format!("/api/v1/namespaces/{}/services", self.namespace);
        self.create(&services, &service).await?;
        self.create(REGISTRATIONS, &registration).await
    }

    async fn create(&self, path: &str, object: &Value) -> Result<()> {
        let request = Request::post(path)
            .header("content-type", "application/json")
            .body(object.to_string().into_bytes())?;
        self.cluster.admin().request::<Value>(request).await?;
        Ok(())
    }

    /// Registers it, and waits until the API server has heard of it.
    async fn asked(&self) -> Result<()> {
        self.register().await?;
        eventually("the API server asks the webhook", PATIENCE, async || {
            let answer = self.objects.admit(&hook("probe", wrong())).await;
            let told = answer.err().map(|error| error.to_string());
            Ok(told.filter(|told| told.contains(PLACES[0])).map(drop))
        })
        .await
        .with_context(|| self.process.output())
    }

    /// Nobody is asked about the end of this namespace.
    async fn end(self) -> Result<()> {
        let path = format!("{REGISTRATIONS}/{}", self.namespace);
        let request = Request::delete(path).body(Vec::new())?;
        self.cluster.admin().request::<Value>(request).await?;
        Ok(())
    }

    fn kubectl(&self, arguments: &[&str], input: &Value) -> Result<(bool, String)> {
        let mut child = Command::new(self.cluster.programs().path("kubectl"))
            .arg("--kubeconfig")
            .arg(self.cluster.folder().join("admin.kubeconfig"))
            .args(["--namespace", &self.namespace])
            .args(arguments)
            .env("HOME", self.files.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        serde_json::to_writer(child.stdin.take().context("no input")?, input)?;
        let output = child.wait_with_output()?;
        let told = [output.stdout, output.stderr].concat();
        let told = String::from_utf8_lossy(&told).into_owned();
        Ok((output.status.success(), told))
    }
}

/// The process, on a port of its own.
fn command(files: &TempDir) -> Command {
    let mut command = Command::new(executable());
    command
        .args(["admission", "--port", "0"])
        .env_clear()
        .env("HOOKRUN_TLS_CERT", certificate(files))
        .env("HOOKRUN_TLS_KEY", key(files));
    command
}

fn certificate(files: &TempDir) -> PathBuf {
    files.path().join("tls.crt")
}

fn key(files: &TempDir) -> PathBuf {
    files.path().join("tls.key")
}

/// Writes a certificate for a name over the one that is there.
fn write_certificate(cluster: &Cluster, files: &TempDir, name: &str) -> Result<()> {
    let (text, secret) = cluster.certificate(&[name])?;
    fs::write(certificate(files), text)?;
    fs::write(key(files), secret)?;
    Ok(())
}

/// What a Service of this namespace is asked by.
fn service_in(namespace: &str) -> String {
    format!("{SERVICE}.{namespace}.svc")
}

fn hook(name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "hookrun.dev/v1alpha1", "kind": "Hook", "metadata": {"name": name}, "spec": spec,
    })
}

fn right() -> Value {
    let rule = json!({
        "name": "build",
        "filter": "event.branch == 'main'",
        "pipelineRef": {"name": "build"},
    });
    json!({"provider": "github", "verification": {"secretRefs": [{"name": "any"}]}, "rules": [rule]})
}

/// An unknown provider, an unknown variable, a function with a wrong number of arguments.
fn wrong() -> Value {
    let mut spec = right();
    spec["provider"] = "githup".into();
    spec["rules"][0]["filter"] = "evnt.branch == 'main'".into();
    spec["rules"][0]["params"] = json!([{"name": "p", "expression": "size()"}]);
    spec
}

/// Where the mistakes of [`wrong`] are.
const PLACES: [&str; 3] = [
    "spec.provider",
    "spec.rules[0].filter",
    "spec.rules[0].params[0].expression",
];

/// What the API server answers to somebody who may not write what was written.
fn refusal(answer: Result<Value>) -> Result<Status> {
    let error = answer.err().context("it was not refused")?;
    match error.downcast::<kube::Error>()? {
        kube::Error::Api(status) => Ok(*status),
        other => Err(other.into()),
    }
}

async fn a_hook_with_mistakes_is_refused_with_all_of_them(cluster: Arc<Cluster>) -> Result<()> {
    let scene = Scene::new(&cluster, service_in).await?;
    scene.asked().await?;
    let status = refusal(scene.objects.create(&hook("wrong", wrong())).await)?;
    ensure!(
        status.code == 422 && status.reason == "Invalid",
        "{status:?}"
    );
    let details = status.details.clone().context("details")?;
    let fields: Vec<&str> = details
        .causes
        .iter()
        .map(|cause| cause.field.as_str())
        .collect();
    ensure!(fields == PLACES, "{details:?}");
    ensure!(
        PLACES.iter().all(|place| status.message.contains(place)),
        "{status:?}"
    );
    ensure!(scene.objects.find("Hook", "wrong").await?.is_none());
    // What people see of it, by either of the commands that they use.
    for command in ["create", "apply"] {
        let (success, told) = scene.kubectl(&[command, "-f", "-"], &hook("wrong", wrong()))?;
        ensure!(!success, "{told}");
        for place in PLACES {
            ensure!(told.contains(place), "{told}");
        }
    }

    scene.objects.create(&hook("right", right())).await?;
    let mut unnamed = hook("", right());
    unnamed["metadata"] = json!({"generateName": "right-"});
    scene.objects.create(&unnamed).await?;
    let change = json!({"spec": wrong()});
    refusal(scene.objects.merge("Hook", "right", change).await)?;
    let stored = scene.objects.get("Hook", "right").await?;
    ensure!(stored["spec"]["provider"] == "github", "{stored:#}");
    // What is no Hook never comes here: the definition of the kind has refused it.
    let mut other = right();
    other["rules"] = "build".into();
    let status = refusal(scene.objects.create(&hook("other", other)).await)?;
    ensure!(
        status.message.contains("must be of type array"),
        "{status:?}"
    );
    scene.end().await
}

async fn a_wrong_hook_that_is_stored_can_be_labelled_mended_and_deleted(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let scene = Scene::new(&cluster, service_in).await?;
    let objects = &scene.objects;
    for name in ["kept", "mended"] {
        let mut hook = hook(name, wrong());
        hook["metadata"]["finalizers"] = json!(["tests.hookrun.dev/kept"]);
        objects.create(&hook).await?;
    }
    scene.asked().await?;
    let label = json!({"metadata": {"labels": {"team": "blue"}}});
    let labelled = objects.merge("Hook", "kept", label).await?;
    ensure!(labelled["metadata"]["labels"]["team"] == "blue");
    let worse = json!({"spec": {"provider": "gitlub"}});
    refusal(objects.merge("Hook", "kept", worse).await)?;
    // The functions write the status of a Hook that is wrong: it says so.
    let status = json!({"status": {"path": "/hooks/any"}});
    let request = Request::patch(format!(
        "/apis/hookrun.dev/v1alpha1/namespaces/{}/hooks/kept/status",
        scene.namespace
    ))
    .header("content-type", "application/merge-patch+json")
    .body(status.to_string().into_bytes())?;
    let told: Value = cluster.admin().request(request).await?;
    ensure!(told["status"]["path"] == "/hooks/any", "{told:#}");

    objects
        .merge("Hook", "mended", json!({"spec": right()}))
        .await
        .context("one that becomes right")?;
    for name in ["kept", "mended"] {
        objects.delete("Hook", name).await?;
        let going = objects.get("Hook", name).await?;
        ensure!(
            going["metadata"]["deletionTimestamp"].is_string(),
            "{going:#}"
        );
        let free = json!({"metadata": {"finalizers": null}});
        objects.merge("Hook", name, free).await?;
        ensure!(objects.find("Hook", name).await?.is_none());
    }
    scene.end().await
}

async fn a_certificate_is_renewed_without_a_restart(cluster: Arc<Cluster>) -> Result<()> {
    let scene = Scene::new(&cluster, |_| "elsewhere.example.com".to_owned()).await?;
    scene.register().await?;
    let refused = async || -> Result<String> {
        let answer = scene.objects.admit(&hook("wrong", wrong())).await;
        Ok(match answer {
            Ok(_) => String::new(),
            Err(error) => refusal(Err(error))?.message,
        })
    };
    eventually(
        "the API server trusts no other name",
        PATIENCE,
        async || {
            let message = refused().await?;
            Ok(message
                .contains("failed to verify certificate")
                .then_some(()))
        },
    )
    .await?;

    // Half of it, and what does not belong together, is not used.
    let (text, secret) = cluster.certificate(&[&service_in(&scene.namespace)])?;
    fs::write(certificate(&scene.files), &text[..text.len() / 2])?;
    eventually(
        "it says that it keeps the former one",
        PATIENCE,
        async || {
            refused().await?;
            let log = scene.process.output();
            Ok(log.contains("the certificate is not renewed").then_some(()))
        },
    )
    .await?;
    fs::write(certificate(&scene.files), text)?;
    fs::write(key(&scene.files), secret)?;
    eventually("the API server is answered", PATIENCE, async || {
        let message = refused().await?;
        Ok(message.contains("spec.provider").then_some(()))
    })
    .await?;
    scene.end().await
}

async fn without_a_certificate_it_ends_and_says_what_is_missing(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let files = tempfile::tempdir()?;
    let run = async |mut command: Command| -> Result<String> {
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        ensure!(output.status.code() == Some(1), "{output:?}");
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let told = run(command(&files)).await?;
    ensure!(told.contains("tls.crt: No such file"), "{told}");
    write_certificate(&cluster, &files, "any.example.com")?;
    let (_, other) = cluster.certificate(&["any.example.com"])?;
    fs::write(key(&files), other)?;
    let told = run(command(&files)).await?;
    ensure!(told.contains("keys may not be consistent"), "{told}");
    Ok(())
}
