//! The real executable as a process, with exactly the rights of the manifests.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use control_plane::{Account, Cluster, Killer, Process, eventually};
use http::Method;
use serde_json::Value;

use crate::{faults::Faults, onix::Onix};

/// The user that functions of tests know.
pub const USER: &str = "tester";
/// The user's password.
pub const PASSWORD: &str = "open sesame: 42";

/// How long a function may take until it is ready, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where the executable is: beside the tests, unless `HOOKRUN_EXECUTABLE` names another one.
#[must_use]
pub fn executable() -> PathBuf {
    if let Some(path) = std::env::var_os("HOOKRUN_EXECUTABLE") {
        return path.into();
    }
    profile_folder().join("hookrun")
}

/// `target/debug`, or the folder of whatever profile the tests were built with.
fn profile_folder() -> PathBuf {
    let tests = std::env::current_exe().expect("the path of the tests");
    let folder = tests.parent().expect("a folder");
    // A test lies in `deps`, a benchmark or another program beside the executable.
    match folder.file_name() {
        Some(name) if name == "deps" => folder.parent().expect("a folder").to_owned(),
        _ => folder.to_owned(),
    }
}

/// Builds the executable, so that the one that is tested is that of the sources.
///
/// # Errors
/// It does not build, or `HOOKRUN_EXECUTABLE` names nothing.
pub fn build() -> Result<()> {
    if std::env::var_os("HOOKRUN_EXECUTABLE").is_some() {
        let path = executable();
        ensure!(
            path.exists(),
            "HOOKRUN_EXECUTABLE: no file {}",
            path.display()
        );
        return Ok(());
    }
    let profile = match profile_folder().file_name().and_then(|name| name.to_str()) {
        None | Some("debug") => "dev".to_owned(),
        Some(name) => name.to_owned(),
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut cargo = Command::new(cargo);
    for (name, _) in std::env::vars_os() {
        // What cargo said about our own package: build scripts look at it, and would build everything anew.
        if name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
        }) {
            cargo.env_remove(name);
        }
    }
    let status = cargo
        .current_dir(repository())
        .args([
            "build",
            "--quiet",
            "--package",
            "hookrun",
            "--profile",
            &profile,
        ])
        .status()
        .context("cargo does not start")?;
    ensure!(status.success(), "hookrun does not build");
    Ok(())
}

/// The root of the repository.
#[must_use]
pub fn repository() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the tests are in the repository")
}

/// A function yet to be started.
///
/// ```no_run
/// # async fn example(cluster: &control_plane::Cluster) -> anyhow::Result<()> {
/// use system_tests::{faults::Faults, function::Function};
///
/// let namespace = cluster.namespace("blue").await?;
/// let faults = Faults::start(cluster).await?;
/// let function = Function::on(cluster).run_in(&namespace).through(&faults).start().await?;
/// let answer = function.post("/flow").body("{}").send().await?;
/// assert_eq!(answer.status(), 400);
/// # Ok(())
/// # }
/// ```
pub struct Setup<'a> {
    cluster: &'a Cluster,
    name: &'static str,
    server: String,
    role: PathBuf,
    account: Option<Account>,
    namespaces: Vec<String>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Setup<'_> {
    /// Allows runs in a namespace: by configuration, and by the Role of the manifests there.
    #[must_use]
    pub fn run_in(mut self, namespace: &str) -> Self {
        self.namespaces.push(namespace.to_owned());
        self
    }

    /// Reaches the API server through a proxy.
    #[must_use]
    pub fn through(mut self, faults: &Faults) -> Self {
        self.server = faults.url();
        self
    }

    /// Looks flows up in this Onix.
    #[must_use]
    pub fn onix(self, onix: &Onix) -> Self {
        onix.variables()
            .into_iter()
            .fold(self, |setup, (name, value)| setup.env(name, &value))
    }

    /// Uses an account that has its rights already, instead of one of its own: for several processes of one function.
    #[must_use]
    pub fn account(mut self, account: &Account) -> Self {
        self.account = Some(account.clone());
        self
    }

    /// Uses the Roles of another manifest, by its path in the repository.
    #[must_use]
    pub fn role(mut self, manifest: &str) -> Self {
        self.role = repository().join(manifest);
        self
    }

    /// Adds an argument behind the name of the function.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Sets a variable. None are inherited; a later one replaces an earlier one.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Takes away a variable that was set before, the credentials `OX_HTTP_UNAME` and `OX_HTTP_PWD` for example.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.environment.retain(|(other, _)| other != name);
        self
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// It ends, or does not get ready; the text holds its log.
    pub async fn start(self) -> Result<Function> {
        let (mut process, account) = self.spawn().await?;
        let address = eventually("the function tells its address", PATIENCE, async || {
            if let Some(status) = process.ended()? {
                bail!("the function ended ({status}):\n{}", process.output());
            }
            Ok(process.output().lines().find_map(address))
        })
        .await
        .with_context(|| process.output())?;
        let mut function = Function {
            process,
            address,
            account,
            client: client()?,
        };
        let url = format!("{}/readyz", function.url());
        eventually("the function is ready", PATIENCE, async || {
            if let Some(status) = function.process.ended()? {
                bail!(
                    "the function ended ({status}):\n{}",
                    function.process.output()
                );
            }
            let answer = function.client.get(&url).send().await;
            Ok(answer
                .is_ok_and(|answer| answer.status().is_success())
                .then_some(()))
        })
        .await
        .with_context(|| function.log())?;
        Ok(function)
    }

    /// Starts it and waits until it ends by itself; gives its verdict and its log.
    ///
    /// # Errors
    /// It does not start, or does not end within the limit.
    pub async fn start_and_end(self) -> Result<(ExitStatus, String)> {
        let (mut process, _) = self.spawn().await?;
        let status = eventually("the function ends by itself", PATIENCE, async || {
            process.ended()
        })
        .await
        .with_context(|| process.output())?;
        Ok((status, process.output()))
    }

    async fn spawn(self) -> Result<(Process, Account)> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let account = match self.account {
            Some(account) => account,
            None => {
                let account = self.cluster.account("hookrun-flow").await?;
                for namespace in &self.namespaces {
                    self.cluster.grant(&self.role, namespace, &account).await?;
                }
                account
            }
        };
        let kubeconfig = self.cluster.kubeconfig(&self.server, &account.token)?;
        let mut command = Command::new(executable());
        command
            .args([self.name, "--port", "0"])
            .args(self.arguments)
            // What the developer's shell has set is no part of the test.
            .env_clear()
            .env("KUBECONFIG", kubeconfig)
            .env("HOOKRUN_NAMESPACES", self.namespaces.join(","))
            .envs(self.environment);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let log = self.cluster.logs().join(format!("hookrun-{number}.log"));
        Ok((Process::start("hookrun", command, &log)?, account))
    }
}

/// A running function; it is killed when dropped.
pub struct Function {
    process: Process,
    address: SocketAddr,
    account: Account,
    client: reqwest::Client,
}

impl Function {
    /// A function on a cluster: `hookrun flow` on a free port, with credentials, under an account of its own that has the
    /// Role of the manifests in the namespaces that [`Setup::run_in`] names.
    #[must_use]
    pub fn on(cluster: &Cluster) -> Setup<'_> {
        Self::named("flow", "knative/namespace/role.yaml", cluster)
    }

    /// The function that serves Hooks, `hookrun hook`, otherwise like [`Function::on`].
    #[must_use]
    pub fn hooks(cluster: &Cluster) -> Setup<'_> {
        Self::named("hook", "knative/hooks/hook-role.yaml", cluster)
    }

    fn named<'a>(name: &'static str, role: &str, cluster: &'a Cluster) -> Setup<'a> {
        let setup = Setup {
            cluster,
            name,
            server: cluster.url().to_owned(),
            role: repository().join(role),
            account: None,
            namespaces: Vec::new(),
            arguments: Vec::new(),
            environment: Vec::new(),
        };
        setup
            .env("OX_HTTP_UNAME", USER)
            .env("OX_HTTP_PWD", PASSWORD)
    }

    /// Its URL, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens, for tests that write to the socket themselves.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The account under which it runs; other processes may share it.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// A request with credentials.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.anonymous(method, path)
            .basic_auth(USER, Some(PASSWORD))
    }

    /// A request without credentials.
    pub fn anonymous(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url()))
    }

    /// A `POST` with credentials.
    pub fn post(&self, path: &str) -> reqwest::RequestBuilder {
        self.request(Method::POST, path)
    }

    /// A `GET` with credentials.
    pub fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.request(Method::GET, path)
    }

    /// Everything that it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.output()
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The memory that it holds, in bytes (resident set).
    ///
    /// # Errors
    /// It has ended, or the system does not tell.
    pub fn memory(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("the system does not tell the resident memory")?;
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kibibytes * 1024)
    }

    /// A handle that kills it from elsewhere, for [`crate::faults::Action::Kill`].
    #[must_use]
    pub fn killer(&self) -> Killer {
        self.process.killer()
    }

    /// Whether it has ended, and how.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.process.ended()
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// The system does not tell that it has ended.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.process.kill()
    }

    /// SIGTERM, and waits until it has drained; gives how it ended and how long that took.
    ///
    /// # Errors
    /// It had to be killed because it still ran after half a minute.
    pub async fn terminate(mut self) -> Result<(ExitStatus, Duration)> {
        let began = Instant::now();
        let patience = Duration::from_secs(30);
        let status =
            tokio::task::spawn_blocking(move || self.process.terminate(patience)).await??;
        ensure!(
            began.elapsed() < patience,
            "still running after {patience:?}"
        );
        Ok((status, began.elapsed()))
    }
}

/// A client for tests: no proxy of the environment, no redirects, and no TLS, since it trusts nobody. To read all
/// certificates of the system takes as long as to start a function.
///
/// # Errors
/// It cannot be made.
pub fn client() -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .redirect(reqwest::redirect::Policy::none())
        .build()?)
}

/// The address in the log line that tells it.
pub(crate) fn address(line: &str) -> Option<SocketAddr> {
    let line: Value = serde_json::from_str(line).ok()?;
    let address = line
        .get("address")
        .or_else(|| line.get("fields")?.get("address"))?;
    address.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_flat_and_nested_log_lines() {
        let expected = Some(SocketAddr::from(([127, 0, 0, 1], 4000)));
        assert_eq!(
            address(r#"{"message":"ready","address":"127.0.0.1:4000"}"#),
            expected
        );
        assert_eq!(
            address(r#"{"fields":{"address":"127.0.0.1:4000"}}"#),
            expected
        );
        assert_eq!(address(r#"{"message":"hello"}"#), None);
        assert_eq!(address("not JSON"), None);
    }
}
