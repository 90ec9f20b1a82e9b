//! A cluster that stands until it is told to go: `up`, `down` and what can be asked of it in between.
//!
//! `up` starts a supervisor that outlives it, this program again, which starts everything and keeps it running as the
//! supervisor of a real node does: what ends is started again. From the tier [`Tier::Node`] on, the supervisor is the first process in a
//! [`sandbox`], so its end is the end of everything. Whether one stands is told by the lock that it holds, never by a note
//! that a crash could leave behind.

use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, WaitOptions};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    Cluster, Options, PROGRAMS, Programs, Tier,
    cluster::{ADMIN, Folder, Layout},
    image, node, platform,
    programs::target,
    sandbox,
    wait::until_blocking,
};

/// How long a supervisor may take to end everything in order before it is killed.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a supervisor writes down once everything is up.
#[derive(Debug, Serialize, Deserialize)]
struct Ready {
    tier: Tier,
    seconds: f32,
}

/// The one cluster that stands, or may.
#[derive(Debug)]
pub struct Standing {
    folder: PathBuf,
}

impl Default for Standing {
    /// In the folder `target/cluster/standing` of the repository.
    fn default() -> Self {
        Self {
            folder: target().join("standing"),
        }
    }
}

impl Standing {
    /// The kubeconfig of somebody who may do everything.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join(ADMIN)
    }

    /// Starts it, and waits until it is ready, telling how far it is; does nothing if one is up that has as much.
    ///
    /// The supervisor is the program that calls this, with the command `supervise`: so it is for this package's own program, and others
    /// run `cargo xtask cluster up`.
    ///
    /// # Errors
    /// This machine lacks something, a smaller one is up, or a part does not start.
    pub fn up(&self, tier: Tier) -> Result<()> {
        if tier >= Tier::Node {
            sandbox::check(tier)?;
        }
        let _turn = self.turn()?;
        if self.is_up()? {
            let ready = self
                .ready()
                .context("a start was interrupted; end it first: cargo xtask cluster down")?;
            ensure!(
                ready.tier >= tier,
                "a smaller one is up ({}); end it first: cargo xtask cluster down",
                name(ready.tier)
            );
            eprintln!("cluster: already up");
            return Ok(());
        }
        if tier >= Tier::Node {
            // The supervisor claims it; this is only to say so before anything is built or changed.
            drop(sandbox::claim(&self.folder)?);
        }
        // What one that was killed left behind.
        self.clean()?;
        Programs::for_tier(tier)?;
        fs::create_dir_all(&self.folder)?;

        let program = std::env::current_exe()?;
        let mut command = if tier >= Tier::Node {
            sandbox::remember(&self.folder)?;
            sandbox::command(&program)
        } else {
            let mut command = Command::new("setsid");
            command.arg(&program).stdin(Stdio::null());
            command
        };
        let log = File::create(self.progress())?;
        let mut supervisor = command
            .args(["supervise", "--tier", name(tier)])
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("the supervisor does not start")?;
        fs::write(self.folder.join("pid"), supervisor.id().to_string())?;
        let mut progress = Follow::of(&self.progress())?;
        if tier >= Tier::Node {
            let mut first = None;
            let mut ended = false;
            until_blocking("the supervisor runs", PATIENCE, || {
                first = sandbox::first_process(supervisor.id());
                ended = matches!(supervisor.try_wait(), Ok(Some(_)));
                first.is_some() || ended
            })?;
            if let Some(first) = first {
                sandbox::connect(first)?;
            }
        }

        loop {
            progress.tell()?;
            if let Some(ready) = self.ready() {
                eprintln!("cluster: ready after {:.1} s", ready.seconds);
                return Ok(());
            }
            if let Some(status) = supervisor.try_wait()? {
                progress.tell()?;
                self.end()?;
                if tier >= Tier::Node {
                    sandbox::clean(&self.folder)?;
                }
                bail!(
                    "the cluster does not start ({status}); logs, until `cargo xtask cluster down` removes them: {}",
                    self.folder.join("logs").display()
                );
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Ends it and removes everything of it. Can be repeated, also after a crash.
    ///
    /// # Errors
    /// Something cannot be removed.
    pub fn down(&self) -> Result<()> {
        let _turn = self.turn()?;
        self.end()?;
        self.clean()?;
        eprintln!("cluster: nothing is left of it");
        Ok(())
    }

    /// What is up, for people.
    ///
    /// # Errors
    /// None is up, or it does not answer.
    pub fn status(&self) -> Result<String> {
        let ready = self.require()?;
        let programs = Programs::built();
        let kubectl = |arguments: &[&str]| -> Result<String> {
            let output = Command::new(programs.path("kubectl"))
                .arg("--kubeconfig")
                .arg(self.kubeconfig())
                .args(arguments)
                .output()?;
            Ok(String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr))
        };
        let mut text = format!(
            "up: {}\n\n  export KUBECONFIG={}\n  export PATH={}:$PATH\n",
            name(ready.tier),
            self.kubeconfig().display(),
            programs.folder().display()
        );
        if ready.tier >= Tier::Platform {
            text += &format!(
                "\ngateway: {} (http on port 80, https on 443)\n",
                sandbox::NODE
            );
        }
        text += "\n";
        text += &kubectl(&["get", "--raw", "/readyz"])?;
        if ready.tier >= Tier::Node {
            text += "\n";
            text += &kubectl(&["get", "nodes,pods", "--all-namespaces"])?;
        }
        Ok(text)
    }

    /// Gives the image in an archive (of `docker save`, `buildah push docker-archive:…` or an [`Image`](crate::Image)) to the node.
    ///
    /// # Errors
    /// There is no node, or the archive holds no image.
    pub fn load(&self, archive: &Path) -> Result<()> {
        ensure!(archive.is_file(), "no file {}", archive.display());
        image::import(&Programs::built().path("ctr"), &self.containerd()?, archive)
    }

    /// Takes an image from the node again, with all that no other image has; does nothing if it has none of this name.
    ///
    /// # Errors
    /// There is no node.
    pub fn unload(&self, name: &str) -> Result<()> {
        image::remove(&Programs::built().path("ctr"), &self.containerd()?, name)
    }

    /// The socket of the node's containerd, which only the node sees.
    fn containerd(&self) -> Result<PathBuf> {
        let ready = self.require()?;
        ensure!(
            ready.tier >= Tier::Node,
            "this cluster has no node; start it with --tier node or platform"
        );
        Ok(PathBuf::from(format!(
            "/proc/{}/root{}",
            self.parent()?,
            node::SOCKET
        )))
    }

    /// The log of a part.
    ///
    /// # Errors
    /// There is none of this name; the text lists those that there are.
    pub fn log(&self, what: &str) -> Result<PathBuf> {
        let logs = self.folder.join("logs");
        let path = logs.join(format!("{what}.log"));
        if !what.contains('/') && path.is_file() {
            return Ok(path);
        }
        let mut names: Vec<String> = fs::read_dir(&logs)
            .with_context(|| format!("no cluster has left logs in {}", logs.display()))?
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                Some(name.strip_suffix(".log")?.to_owned())
            })
            .collect();
        names.sort();
        bail!("no log of `{what}`; there are: {}", names.join(", "))
    }

    /// Kills a part as a crash would; its supervisor starts it again.
    ///
    /// # Errors
    /// No such part runs.
    pub fn restart(&self, what: &str) -> Result<()> {
        self.require()?;
        ensure!(
            PROGRAMS.iter().any(|program| program.name == what),
            "no part of a cluster is called `{what}`"
        );
        let program = Programs::built().path(what).canonicalize()?;
        let mut killed = false;
        // It is a child of the supervisor, which others that run the same program are not.
        for id in sandbox::children(self.parent()?) {
            let is_it = fs::read_link(format!("/proc/{id}/exe")).is_ok_and(|exe| exe == program);
            if let (true, Some(id)) = (is_it, Pid::from_raw(i32::try_from(id)?)) {
                rustix::process::kill_process(id, Signal::KILL)?;
                killed = true;
            }
        }
        ensure!(killed, "{what} does not run");
        Ok(())
    }

    /// Those who start and end it do so one after the other.
    fn turn(&self) -> Result<File> {
        fs::create_dir_all(target())?;
        let turn = File::create(self.folder.with_extension("turn"))
            .context("it belongs to the user who started it; use sudo where that was root")?;
        turn.lock()?;
        Ok(turn)
    }

    /// What is up.
    fn require(&self) -> Result<Ready> {
        ensure!(
            self.is_up()?,
            "no cluster is up; start one: cargo xtask cluster up"
        );
        self.ready().context("it is still starting")
    }

    /// Whether a supervisor lives: it holds the lock of the folder.
    fn is_up(&self) -> Result<bool> {
        match File::open(self.folder.join("lock")) {
            Ok(lock) => Ok(lock.try_lock().is_err()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn ready(&self) -> Option<Ready> {
        serde_json::from_slice(&fs::read(self.folder.join("ready.json")).ok()?).ok()
    }

    fn progress(&self) -> PathBuf {
        self.folder.join("progress.log")
    }

    /// The process that `up` started.
    fn supervisor(&self) -> Option<u32> {
        let text = fs::read_to_string(self.folder.join("pid")).ok()?;
        text.parse().ok()
    }

    /// The process that everything was started by: the first one in the sandbox, where there is one.
    fn parent(&self) -> Result<u32> {
        let supervisor = self.supervisor().context("the supervisor is gone")?;
        Ok(sandbox::first_process(supervisor).unwrap_or(supervisor))
    }

    /// Ends the supervisor: in order, if it obeys.
    fn end(&self) -> Result<()> {
        if !self.is_up()? {
            return Ok(());
        }
        // `unshare` passes nothing on, so the signal goes to whom it concerns.
        signal_process(self.parent()?, Signal::TERM)?;
        let began = Instant::now();
        while self.is_up()? && began.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(20));
        }
        if self.is_up()? {
            signal_process(self.parent()?, Signal::KILL)?;
        }
        until_blocking("the supervisor is gone", PATIENCE, || {
            self.is_up().is_ok_and(|up| !up)
        })
    }

    /// Removes what a cluster leaves behind that is gone.
    fn clean(&self) -> Result<()> {
        if self.folder.join("settings").exists() {
            sandbox::clean(&self.folder)?;
        }
        if self.folder.exists() {
            until_blocking("the files are gone", PATIENCE, || {
                fs::remove_dir_all(&self.folder).is_ok()
            })
            .with_context(|| self.folder.display().to_string())?;
        }
        Ok(())
    }

    /// What the supervisor does, from its start to its end.
    ///
    /// # Errors
    /// A part does not start.
    pub async fn supervise(&self, tier: Tier) -> Result<()> {
        let began = Instant::now();
        let mut terminate = signal(SignalKind::terminate())?;
        // Held to the end. /run is another one after `enter`.
        let _claim = (tier >= Tier::Node)
            .then(|| sandbox::claim(&self.folder))
            .transpose()?;
        let folder = Folder::standing(&self.folder)?;
        let start = self.start(tier, folder);
        let mut cluster = tokio::select! {
            cluster = start => cluster?,
            _ = terminate.recv() => return Ok(()),
        };
        let ready = Ready {
            tier,
            seconds: began.elapsed().as_secs_f32(),
        };
        // Whole or not at all.
        let fresh = self.folder.join("ready.new");
        fs::write(&fresh, serde_json::to_vec(&ready)?)?;
        fs::rename(fresh, self.folder.join("ready.json"))?;
        let mut look = tokio::time::interval(Duration::from_millis(500));
        loop {
            tokio::select! {
                _ = look.tick() => {
                    for name in cluster.revive()? {
                        eprintln!("cluster: {name} had ended and was started again");
                    }
                    bury_orphans(&cluster.process_ids());
                }
                _ = terminate.recv() => return Ok(()),
            }
        }
    }

    async fn start(&self, tier: Tier, folder: Folder) -> Result<Cluster> {
        let programs = Programs::for_tier(tier)?;
        let node = tier >= Tier::Node;
        let layout = if node {
            sandbox::enter()?;
            Layout::sandbox()
        } else {
            Layout::loopback()?
        };
        eprintln!("cluster: control plane");
        let mut cluster = Cluster::start_in(&programs, Options::Whole, layout, folder).await?;
        if node {
            eprintln!("cluster: node");
            cluster.add_node().await?;
            node::runs_pods(&cluster.admin()).await?;
        }
        if tier >= Tier::Platform {
            let import = |archive: &Path| {
                image::import(&programs.path("ctr"), Path::new(node::SOCKET), archive)
            };
            platform::install(&cluster.admin(), &programs, tier, sandbox::NODE, &import).await?;
        }
        Ok(cluster)
    }
}

/// The name of a tier on the command line.
fn name(tier: Tier) -> &'static str {
    match tier {
        Tier::ControlPlane => "control-plane",
        Tier::Node => "node",
        Tier::Platform => "platform",
        Tier::Comparison => "comparison",
    }
}

fn signal_process(id: u32, signal: Signal) -> Result<()> {
    if let Some(id) = Pid::from_raw(i32::try_from(id)?) {
        // It may be gone already.
        rustix::process::kill_process(id, signal).ok();
    }
    Ok(())
}

/// The first process of its namespace inherits every orphan, and nobody else waits for those that have ended. Our own
/// children are waited for where they were started.
fn bury_orphans(own: &[u32]) {
    for id in sandbox::children(std::process::id()) {
        let id = (!own.contains(&id) && sandbox::is_dead(id)).then_some(id);
        if let Some(id) = id.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)) {
            rustix::process::waitpid(Some(id), WaitOptions::NOHANG).ok();
        }
    }
}

/// Shows what is added to a file.
struct Follow {
    file: File,
    position: u64,
}

impl Follow {
    fn of(path: &Path) -> Result<Self> {
        Ok(Self {
            file: File::open(path)?,
            position: 0,
        })
    }

    fn tell(&mut self) -> Result<()> {
        self.file.seek(SeekFrom::Start(self.position))?;
        let mut fresh = Vec::new();
        self.position += self.file.read_to_end(&mut fresh)? as u64;
        std::io::stderr().write_all(&fresh)?;
        Ok(())
    }
}
