//! One cluster, from its start to its end.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
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

use crate::{
    Programs,
    daemon::{Arguments, Daemon},
    eventually, node,
    pki::Pki,
    ports,
    programs::target,
    sandbox, tekton, until,
};

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
    daemons: Vec<Daemon>,
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
pub(crate) struct Folder {
    path: PathBuf,
    /// Whether it vanishes when this value is dropped.
    temporary: Option<TempDir>,
    _lock: fs::File,
}

impl Folder {
    fn temporary() -> Result<Self> {
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
        let mut folder = Self::standing(files.path())?;
        folder.temporary = Some(files);
        Ok(folder)
    }

    /// A folder that stays.
    pub(crate) fn standing(path: &Path) -> Result<Self> {
        fs::create_dir_all(path)?;
        let lock = fs::File::create(path.join("lock"))?;
        lock.lock()?;
        Ok(Self {
            path: path.to_owned(),
            temporary: None,
            _lock: lock,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// How long a part may take to start; a busy machine is slow.
const PATIENCE: Duration = Duration::from_secs(90);

/// The kubeconfig of somebody who may do everything, in the folder of a cluster.
pub(crate) const ADMIN: &str = "admin.kubeconfig";

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
        Self::start_in(programs, options, Layout::loopback()?, Folder::temporary()?).await
    }

    /// Starts a cluster with all its files in a folder.
    pub(crate) async fn start_in(
        programs: &Programs,
        options: Options,
        layout: Layout,
        mut folder: Folder,
    ) -> Result<Self> {
        let began = Instant::now();
        let mut daemons = Vec::new();
        let started = bring_up(programs, options, layout, folder.path(), &mut daemons).await;
        // They end in the opposite order.
        daemons.reverse();
        let Started { admin, url, pki } = match started {
            Ok(started) => started,
            Err(error) => {
                let told = tell_dead(&mut daemons);
                drop(daemons);
                keep(&mut folder);
                let place = folder.path().join("logs");
                return Err(error).context(format!(
                    "the control plane does not start{told}\nlogs: {}",
                    place.display()
                ));
            }
        };
        Ok(Self {
            daemons,
            admin,
            url,
            ca: pki.ca_pem(),
            issuer: pki,
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
        tell_dead(&mut self.daemons)
    }

    /// Makes this machine, or the sandbox that we are in, a node of the cluster.
    pub(crate) async fn add_node(&mut self) -> Result<()> {
        let mut daemons = Vec::new();
        let started = node::start(
            &self.admin,
            &self.programs,
            self.folder.path(),
            &mut daemons,
        )
        .await;
        // They end before the control plane does, the last one first.
        daemons.reverse();
        self.daemons.splice(0..0, daemons);
        started
    }

    /// The processes that are ours to wait for.
    pub(crate) fn process_ids(&self) -> Vec<u32> {
        self.daemons.iter().flat_map(Daemon::ids).collect()
    }

    /// Starts those again that have ended, as a node's own supervisor would; tells which.
    pub(crate) fn revive(&mut self) -> Result<Vec<&'static str>> {
        let mut revived = Vec::new();
        for daemon in &mut self.daemons {
            if daemon.revive()? {
                revived.push(daemon.name());
            }
        }
        Ok(revived)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        while !self.daemons.is_empty() {
            self.daemons.remove(0);
        }
        if self.keep.load(Ordering::Relaxed) {
            keep(&mut self.folder);
        }
    }
}

/// Leaves the logs, not the database.
fn keep(folder: &mut Folder) {
    fs::remove_dir_all(folder.path().join("etcd")).ok();
    if let Some(files) = &mut folder.temporary {
        files.disable_cleanup(true);
    }
}

fn tell_dead(daemons: &mut [Daemon]) -> String {
    let mut told = String::new();
    for daemon in daemons {
        let process = daemon.process();
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

/// Where the servers of a cluster listen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// The API server's address for everybody.
    pub(crate) address: IpAddr,
    /// What it listens on.
    pub(crate) bind: IpAddr,
    /// Ports of etcd for clients and peers, of the API server, of Tekton's webhook.
    pub(crate) ports: [u16; 4],
    /// Whether there is a node, so that pods run and Services lead to them.
    pub(crate) node: bool,
}

impl Layout {
    /// On loopback, on ports that are free: any number of clusters side by side, without root.
    pub(crate) fn loopback() -> Result<Self> {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Ok(Self {
            address,
            bind: address,
            ports: ports::free()?,
            node: false,
        })
    }

    /// In a network namespace, where nobody else is.
    pub(crate) fn sandbox() -> Self {
        Self {
            address: sandbox::NODE,
            bind: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            ports: [2379, 2380, 6443, 9443],
            node: true,
        }
    }
}

/// What of a cluster is known once it is up.
struct Started {
    admin: Client,
    url: String,
    pki: Pki,
}

/// Starts everything, each part as early as it can; whatever was started is in `daemons`, even after an error.
async fn bring_up(
    programs: &Programs,
    options: Options,
    layout: Layout,
    folder: &Path,
    daemons: &mut Vec<Daemon>,
) -> Result<Started> {
    let logs = folder.join("logs");
    fs::create_dir_all(&logs)?;
    let pki = Pki::write(&folder.join("pki"), layout.address)?;
    let token = Uuid::new_v4().to_string();
    let tokens = folder.join("tokens.csv");
    fs::write(&tokens, format!("{token},admin,admin,\"system:masters\"\n"))?;

    let [_, _, api_port, webhook_port] = layout.ports;
    let url = format!("https://{}:{api_port}", layout.address);
    let admin = kubeconfig(&url, Some(&pki.ca), &token);
    let admin_file = folder.join(ADMIN);
    fs::write(&admin_file, serde_json::to_vec(&admin)?)?;
    let client = client(admin).await?;

    let start = |name, command| Daemon::start(name, &logs, command);
    daemons.push(start("etcd", etcd(programs, folder, layout))?);
    daemons.push(start(
        "kube-apiserver",
        api_server(programs, &pki, &tokens, layout),
    )?);
    until("the API server answers", PATIENCE, async || {
        ensure_alive(daemons)?;
        Ok(text(&client, "/livez/ping").await.is_ok())
    })
    .await?;

    // The programs retry until they find what they need, so they may start while it is being created.
    tekton::install(&client, programs, webhook_port).await?;
    daemons.push(start(
        "tekton-webhook",
        tekton::webhook(programs, &admin_file, webhook_port),
    )?);
    if options == Options::Whole {
        daemons.push(start(
            "tekton-controller",
            tekton::controller(programs, &admin_file),
        )?);
    }
    // After Tekton's types: the garbage collector looks for new types only every half minute.
    daemons.push(start(
        "kube-controller-manager",
        controller_manager(programs, &pki, &admin_file, layout),
    )?);

    let admitted = tekton::admits(&client);
    let ready = eventually("the API server is ready", PATIENCE, async || {
        Ok(text(&client, "/readyz").await.ok())
    });
    let (admitted, ready) = tokio::join!(admitted, ready);
    ready?;
    admitted?;
    ensure_alive(daemons)?;
    Ok(Started {
        admin: client,
        url,
        pki,
    })
}

async fn text(client: &Client, path: &str) -> Result<String> {
    Ok(client
        .request_text(Request::get(path).body(Vec::new())?)
        .await?)
}

fn ensure_alive(daemons: &mut [Daemon]) -> Result<()> {
    let told = tell_dead(daemons);
    if told.is_empty() {
        Ok(())
    } else {
        bail!("{}", told.trim_start())
    }
}

fn etcd(programs: &Programs, folder: &Path, layout: Layout) -> Arguments {
    let [port, peer_port, ..] = layout.ports;
    let client = format!("http://127.0.0.1:{port}");
    let peer = format!("http://127.0.0.1:{peer_port}");
    Arguments::of(programs.path("etcd"))
        .path("--data-dir", &folder.join("etcd"))
        .flag("--listen-client-urls", &client)
        .flag("--advertise-client-urls", &client)
        .flag("--listen-peer-urls", &peer)
        .flag("--initial-advertise-peer-urls", &peer)
        .flag("--initial-cluster", &format!("default={peer}"))
        // It is alone, so it need not wait long for others before it elects itself.
        .flag("--heartbeat-interval", "20")
        .flag("--election-timeout", "200")
        // What it stores is thrown away.
        .flag("--unsafe-no-fsync", "true")
        .flag("--log-level", "warn")
}

fn api_server(programs: &Programs, pki: &Pki, tokens: &Path, layout: Layout) -> Arguments {
    let [etcd_port, _, port, _] = layout.ports;
    let arguments = Arguments::of(programs.path("kube-apiserver"))
        .flag("--etcd-servers", &format!("http://127.0.0.1:{etcd_port}"))
        .flag("--secure-port", &port.to_string())
        .flag("--bind-address", &layout.bind.to_string())
        .flag("--external-hostname", "localhost")
        .flag("--service-cluster-ip-range", "10.96.0.0/16")
        .path("--tls-cert-file", &pki.server_certificate)
        .path("--tls-private-key-file", &pki.server_key)
        .path("--token-auth-file", tokens)
        // The rights of the manifests are really tested.
        .flag("--authorization-mode", "Node,RBAC")
        .flag("--service-account-issuer", ISSUER)
        .path("--service-account-signing-key-file", &pki.token_key)
        .path("--service-account-key-file", &pki.token_public_key)
        .flag("--allow-privileged", "true")
        .flag("--profiling", "false");
    if layout.node {
        arguments
            .flag("--advertise-address", &layout.address.to_string())
            // Eventing fetches the keys of tokens in a pod, where `localhost` is the pod.
            .flag(
                "--service-account-jwks-uri",
                &format!("{ISSUER}/openid/v1/jwks"),
            )
            // Logs, and commands in containers, come from the node.
            .flag("--kubelet-preferred-address-types", "InternalIP")
            .path("--kubelet-client-certificate", &pki.client_certificate)
            .path("--kubelet-client-key", &pki.client_key)
    } else {
        arguments
            // No node ever looks for it, and loopback addresses are refused as endpoints. The address is one for examples.
            .flag("--endpoint-reconciler-type", "none")
            .flag("--advertise-address", "192.0.2.1")
    }
}

fn controller_manager(
    programs: &Programs,
    pki: &Pki,
    kubeconfig: &Path,
    layout: Layout,
) -> Arguments {
    let arguments = Arguments::of(programs.path("kube-controller-manager"))
        .path("--kubeconfig", kubeconfig)
        .path("--service-account-private-key-file", &pki.token_key)
        .path("--root-ca-file", &pki.ca)
        .flag("--leader-elect", "false")
        .flag("--secure-port", "0")
        .flag("--profiling", "false")
        .flag("--kube-api-qps", "500")
        .flag("--kube-api-burst", "1000");
    if layout.node {
        arguments
    } else {
        // Those that a cluster without nodes has work for.
        arguments.flag("--controllers", "garbage-collector-controller,namespace-controller,serviceaccount-controller,serviceaccount-token-controller,root-ca-certificate-publisher-controller,clusterrole-aggregation-controller")
    }
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
