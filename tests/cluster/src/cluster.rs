//! One cluster, from its start to its end.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use http::Request;
use kube::{
    Client,
    config::{Config, KubeConfigOptions, Kubeconfig},
};
use serde_json::json;
use tempfile::TempDir;
use uuid::Uuid;

use crate::{Process, Programs, eventually, pki::Pki, ports, programs::target, tekton, until};

/// What a cluster of tests consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Options {
    /// Everything: runs get their TaskRuns and pods.
    Whole,
    /// Without Tekton's controller: runs are admitted and stored, and nothing more happens to them. For measuring writes.
    AdmissionOnly,
}

/// A running control plane. It ends when this value is dropped, or with the process.
pub struct Cluster {
    /// In the order in which they end: without etcd, the API server would linger for minutes.
    processes: Vec<Process>,
    admin: Client,
    url: String,
    ca: String,
    issuer: Pki,
    programs: Programs,
    ready_after: Duration,
    keep: AtomicBool,
    pub(crate) counter: AtomicU32,
    folder: Folder,
}

/// The folder of one cluster, locked for as long as we live, so that a later start knows which ones are left over.
struct Folder {
    files: TempDir,
    _lock: fs::File,
}

impl Folder {
    fn new() -> Result<Self> {
        let all = target().join("run");
        fs::create_dir_all(&all)?;
        for entry in fs::read_dir(&all)?.flatten() {
            // Left by a process that was killed, or kept for its logs until now.
            let lock = fs::File::open(entry.path().join("lock"));
            if lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
                fs::remove_dir_all(entry.path()).ok();
            }
        }
        let files = tempfile::Builder::new()
            .prefix("cluster-")
            .tempdir_in(all)?;
        let lock = fs::File::create(files.path().join("lock"))?;
        lock.lock()?;
        Ok(Self { files, _lock: lock })
    }

    fn path(&self) -> &Path {
        self.files.path()
    }
}

/// How long a part may take to start; a busy machine is slow.
const PATIENCE: Duration = Duration::from_secs(90);

/// The issuer of service account tokens, as clusters usually name it.
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

impl Cluster {
    /// Starts a cluster and waits until Tekton's webhook admits.
    ///
    /// # Errors
    /// A program does not start or does not get ready; the text holds the end of its log and the place of the rest.
    pub async fn start(programs: &Programs, options: Options) -> Result<Self> {
        let mut attempt = 1;
        loop {
            match Self::start_once(programs, options).await {
                // Another process may take a port between our choice and its use.
                Err(error)
                    if attempt < 3 && format!("{error:#}").contains("address already in use") =>
                {
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    async fn start_once(programs: &Programs, options: Options) -> Result<Self> {
        let began = Instant::now();
        let mut folder = Folder::new()?;
        let mut processes = Vec::new();
        let started = bring_up(programs, options, folder.path(), &mut processes).await;
        // They end in the opposite order.
        processes.reverse();
        let (admin, url, issuer) = match started {
            Ok(started) => started,
            Err(error) => {
                let told = tell_dead(&mut processes);
                drop(processes);
                keep(&mut folder);
                let place = folder.path().join("logs");
                return Err(error).context(format!(
                    "the control plane does not start{told}\nlogs: {}",
                    place.display()
                ));
            }
        };
        Ok(Self {
            processes,
            admin,
            url,
            ca: issuer.ca_pem(),
            issuer,
            programs: programs.clone(),
            ready_after: began.elapsed(),
            keep: AtomicBool::new(false),
            counter: AtomicU32::new(0),
            folder,
        })
    }

    /// A client that may do everything.
    #[must_use]
    pub fn admin(&self) -> Client {
        self.admin.clone()
    }

    /// The API server's address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The certificate authority of the cluster, as PEM.
    #[must_use]
    pub fn ca(&self) -> &str {
        &self.ca
    }

    /// The issuer in service account tokens; its keys are at `/openid/v1/jwks` of the API server.
    #[must_use]
    pub fn issuer(&self) -> &'static str {
        ISSUER
    }

    /// A server certificate and its key as PEM, signed by the cluster's authority, for `names` and 127.0.0.1.
    ///
    /// # Errors
    /// A name is not a host name.
    pub fn certificate(&self, names: &[&str]) -> Result<(String, String)> {
        let identity = self.issuer.sign(names)?;
        Ok((identity.certificate, identity.key))
    }

    /// Time from the start of the first process to Tekton's first admission.
    #[must_use]
    pub fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// The programs that it runs, `kubectl` among them.
    #[must_use]
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// A folder for files of tests; it vanishes with the cluster.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where all logs go.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.folder.path().join("logs")
    }

    /// Keeps the logs when the cluster ends, until the next one starts, and tells their place.
    pub fn keep_logs(&self) -> PathBuf {
        self.keep.store(true, Ordering::Relaxed);
        self.logs()
    }

    /// Which of its programs have ended, with the last lines of their logs; empty while all is well.
    pub fn ailments(&mut self) -> String {
        tell_dead(&mut self.processes)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        while !self.processes.is_empty() {
            self.processes.remove(0);
        }
        if self.keep.load(Ordering::Relaxed) {
            keep(&mut self.folder);
        }
    }
}

/// Leaves the logs, not the database.
fn keep(folder: &mut Folder) {
    fs::remove_dir_all(folder.path().join("etcd")).ok();
    folder.files.disable_cleanup(true);
}

fn tell_dead(processes: &mut [Process]) -> String {
    let mut told = String::new();
    for process in processes {
        if let Ok(Some(status)) = process.ended() {
            told += &format!(
                "\n{} ended ({status}):\n{}",
                process.name(),
                process.tail(10)
            );
        }
    }
    told
}

/// Starts everything, each part as early as it can; whatever was started is in `processes`, even after an error.
async fn bring_up(
    programs: &Programs,
    options: Options,
    folder: &Path,
    processes: &mut Vec<Process>,
) -> Result<(Client, String, Pki)> {
    let logs = folder.join("logs");
    fs::create_dir_all(&logs)?;
    let pki = Pki::write(&folder.join("pki"))?;
    let token = Uuid::new_v4().to_string();
    let tokens = folder.join("tokens.csv");
    fs::write(&tokens, format!("{token},admin,admin,\"system:masters\"\n"))?;

    let [etcd_port, peer_port, api_port, webhook_port] = ports::free()?;
    let url = format!("https://127.0.0.1:{api_port}");
    let admin = kubeconfig(&url, Some(&pki.ca), &token);
    let admin_file = folder.join("admin.kubeconfig");
    fs::write(&admin_file, serde_json::to_vec(&admin)?)?;
    let client = client(admin).await?;

    processes.push(etcd(programs, folder, etcd_port, peer_port)?);
    processes.push(api_server(
        programs, &logs, &pki, &tokens, etcd_port, api_port,
    )?);
    until("the API server answers", PATIENCE, async || {
        ensure_alive(processes)?;
        Ok(text(&client, "/livez/ping").await.is_ok())
    })
    .await?;

    // The programs retry until they find what they need, so they may start while it is being created.
    tekton::install(&client, programs, webhook_port).await?;
    processes.push(tekton::webhook(programs, &admin_file, webhook_port, &logs)?);
    if options == Options::Whole {
        processes.push(tekton::controller(programs, &admin_file, &logs)?);
    }
    // After Tekton's types: the garbage collector looks for new types only every half minute.
    processes.push(controller_manager(programs, &logs, &pki, &admin_file)?);

    let admitted = tekton::admits(&client);
    let ready = eventually("the API server is ready", PATIENCE, async || {
        Ok(text(&client, "/readyz").await.ok())
    });
    let (admitted, ready) = tokio::join!(admitted, ready);
    ready?;
    admitted?;
    ensure_alive(processes)?;
    Ok((client, url, pki))
}

async fn text(client: &Client, path: &str) -> Result<String> {
    Ok(client
        .request_text(Request::get(path).body(Vec::new())?)
        .await?)
}

fn ensure_alive(processes: &mut [Process]) -> Result<()> {
    let told = tell_dead(processes);
    if told.is_empty() {
        Ok(())
    } else {
        bail!("{}", told.trim_start())
    }
}

fn etcd(programs: &Programs, folder: &Path, port: u16, peer_port: u16) -> Result<Process> {
    let client = format!("http://127.0.0.1:{port}");
    let peer = format!("http://127.0.0.1:{peer_port}");
    let mut command = Command::new(programs.path("etcd"));
    command
        .arg("--data-dir")
        .arg(folder.join("etcd"))
        .args(["--listen-client-urls", &client])
        .args(["--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer])
        .args(["--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("default={peer}")])
        // It is alone, so it need not wait long for others before it elects itself.
        .args(["--heartbeat-interval=20", "--election-timeout=200"])
        // What it stores is thrown away.
        .args(["--unsafe-no-fsync", "--log-level=warn"]);
    Process::start("etcd", command, &folder.join("logs/etcd.log"))
}

fn api_server(
    programs: &Programs,
    logs: &Path,
    pki: &Pki,
    tokens: &Path,
    etcd_port: u16,
    port: u16,
) -> Result<Process> {
    let mut command = Command::new(programs.path("kube-apiserver"));
    command
        .arg(format!("--etcd-servers=http://127.0.0.1:{etcd_port}"))
        .arg(format!("--secure-port={port}"))
        .args(["--bind-address=127.0.0.1", "--external-hostname=localhost"])
        // No node ever looks for it, and loopback addresses are refused as endpoints. The address is one for examples.
        .args([
            "--endpoint-reconciler-type=none",
            "--advertise-address=192.0.2.1",
        ])
        .arg("--service-cluster-ip-range=10.96.0.0/16")
        .arg(flag("--tls-cert-file", &pki.server_certificate))
        .arg(flag("--tls-private-key-file", &pki.server_key))
        .arg(flag("--token-auth-file", tokens))
        // The rights of the manifests are really tested.
        .arg("--authorization-mode=Node,RBAC")
        .arg(format!("--service-account-issuer={ISSUER}"))
        .arg(flag("--service-account-signing-key-file", &pki.token_key))
        .arg(flag("--service-account-key-file", &pki.token_public_key))
        .args(["--allow-privileged=true", "--profiling=false"]);
    Process::start("kube-apiserver", command, &logs.join("kube-apiserver.log"))
}

fn controller_manager(
    programs: &Programs,
    logs: &Path,
    pki: &Pki,
    kubeconfig: &Path,
) -> Result<Process> {
    let mut command = Command::new(programs.path("kube-controller-manager"));
    command
        .arg(flag("--kubeconfig", kubeconfig))
        .arg(flag("--service-account-private-key-file", &pki.token_key))
        .arg(flag("--root-ca-file", &pki.ca))
        .args(["--leader-elect=false", "--secure-port=0", "--profiling=false"])
        // Those that a cluster without nodes has work for.
        .arg("--controllers=garbage-collector-controller,namespace-controller,serviceaccount-controller,serviceaccount-token-controller,root-ca-certificate-publisher-controller,clusterrole-aggregation-controller")
        .args(["--kube-api-qps=500", "--kube-api-burst=1000"]);
    Process::start(
        "kube-controller-manager",
        command,
        &logs.join("kube-controller-manager.log"),
    )
}

fn flag(name: &str, path: &Path) -> String {
    format!("{name}={}", path.display())
}

/// A kubeconfig with one user, who has a token.
pub(crate) fn kubeconfig(server: &str, ca: Option<&Path>, token: &str) -> serde_json::Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority": ca}}],
        "users": [{"name": "test", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    })
}

/// The client of a [`kubeconfig`].
pub(crate) async fn client(kubeconfig: serde_json::Value) -> Result<Client> {
    let kubeconfig: Kubeconfig = serde_json::from_value(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}
