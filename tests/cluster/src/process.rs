//! Child processes that never outlive this one.
//!
//! Each child has a watcher, a shell that waits for the end of a pipe. However this process ends (return, panic, SIGKILL),
//! the kernel closes the pipe and the watcher kills the child. Both run in process groups of their own, so that
//! an interrupt from the terminal reaches only this process, and theirs is an orderly end.

use std::{
    fs::File,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

/// Ends at once when a line arrives or the child is told to be gone; kills the child when the pipe closes.
const WATCH: &str = r#"read -r line || kill -KILL "$1" 2>/dev/null"#;

/// A running program, its log, and the promise that it ends with us.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Shared,
    watcher: Child,
    log: PathBuf,
}

/// The child behind a lock, since its id means nothing, or worse another process, once it has been waited for.
#[derive(Clone, Debug)]
struct Shared(Arc<Mutex<Child>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Child> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Kills a process from another thread or task; does nothing when it has ended already.
#[derive(Clone, Debug)]
pub struct Killer(Shared);

impl Killer {
    /// SIGKILL; returns when nothing of the process runs any more.
    pub fn kill(&self) {
        let mut child = self.0.lock();
        child.kill().ok();
        child.wait().ok();
    }
}

impl Process {
    /// Starts a command with both its outputs in the file `log`.
    ///
    /// # Errors
    /// The program does not start, or the log cannot be written.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        // Of one that is started again, the log goes on.
        let output = File::options().create(true).append(true).open(log);
        let output = output.with_context(|| format!("log {}", log.display()))?;
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0);
        let mut child = command
            .spawn()
            .with_context(|| format!("{name} does not start: {command:?}"))?;
        let watcher = Command::new("sh")
            .args(["-c", WATCH, "sh", &child.id().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        let watcher = match watcher {
            Ok(watcher) => watcher,
            Err(error) => {
                child.kill().ok();
                child.wait().ok();
                return Err(error).context("the watcher does not start: is there a shell?");
            }
        };
        Ok(Self {
            name: name.to_owned(),
            child: Shared(Arc::new(Mutex::new(child))),
            watcher,
            log: log.to_owned(),
        })
    }

    /// The name it was started with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.lock().id()
    }

    /// The process id, and its watcher's.
    pub(crate) fn ids(&self) -> [u32; 2] {
        [self.id(), self.watcher.id()]
    }

    /// Where its output goes.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Its output so far.
    #[must_use]
    pub fn output(&self) -> String {
        std::fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// The last lines of its output, for an error text.
    #[must_use]
    pub fn tail(&self, lines: usize) -> String {
        let output = self.output();
        let all: Vec<&str> = output.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// A handle that kills it from elsewhere.
    #[must_use]
    pub fn killer(&self) -> Killer {
        Killer(self.child.clone())
    }

    /// Whether it has ended, and how.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.lock().try_wait()?)
    }

    /// SIGKILL, and waits for the end.
    ///
    /// # Errors
    /// The system does not tell that it has ended.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        let mut child = self.child.lock();
        child.kill()?;
        Ok(child.wait()?)
    }

    /// SIGTERM; whatever still runs after `patience` is killed. Blocks until the end.
    ///
    /// # Errors
    /// The system does not tell that it has ended.
    pub fn terminate(&mut self, patience: Duration) -> Result<ExitStatus> {
        {
            let mut child = self.child.lock();
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            kill_process(Pid::from_child(&child), Signal::TERM)?;
        }
        let began = Instant::now();
        while began.elapsed() < patience {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        self.kill()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The child first: were the watcher gone and we killed in between, nobody would end it.
        self.killer().kill();
        self.watcher.kill().ok();
        self.watcher.wait().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(log: &Path) -> Result<Process> {
        let mut command = Command::new("sleep");
        command.arg("600");
        Process::start("sleeper", command, log)
    }

    fn runs(id: u32) -> bool {
        // A zombie is dead: it only waits for its parent to ask.
        Command::new("ps")
            .args(["-o", "stat=", "-p", &id.to_string()])
            .output()
            .is_ok_and(|out| {
                let state = String::from_utf8_lossy(&out.stdout);
                !state.trim().is_empty() && !state.starts_with('Z')
            })
    }

    #[test]
    fn dropping_ends_child_and_watcher() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let process = sleeper(&folder.path().join("log"))?;
        let (child, watcher) = (process.id(), process.watcher.id());
        assert!(runs(child) && runs(watcher));
        drop(process);
        assert!(!runs(child) && !runs(watcher));
        Ok(())
    }

    #[test]
    fn the_watcher_kills_the_child_when_its_pipe_closes() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let mut process = sleeper(&folder.path().join("log"))?;
        // What the kernel does when we die.
        drop(process.watcher.stdin.take());
        let began = Instant::now();
        while process.ended()?.is_none() {
            assert!(began.elapsed() < Duration::from_secs(10), "still running");
            std::thread::yield_now();
        }
        Ok(())
    }

    /// Where the victim writes the id of its child.
    const NOTE: &str = "CONTROL_PLANE_TEST_NOTE";

    #[test]
    #[ignore = "the process that the next test kills"]
    fn victim() -> Result<()> {
        let note = std::env::var(NOTE)?;
        let process = sleeper(&Path::new(&note).with_extension("log"))?;
        std::fs::write(&note, process.id().to_string())?;
        loop {
            std::thread::park();
        }
    }

    #[test]
    fn a_child_does_not_outlive_a_parent_that_is_killed() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let note = folder.path().join("note");
        let mut victim = Command::new(std::env::current_exe()?)
            .args(["--exact", "process::tests::victim", "--ignored"])
            .env(NOTE, &note)
            .stdout(Stdio::null())
            .spawn()?;
        let began = Instant::now();
        let child: u32 = loop {
            assert!(began.elapsed() < Duration::from_secs(20), "no child");
            if let Ok(id) = std::fs::read_to_string(&note).unwrap_or_default().parse() {
                break id;
            }
            std::thread::yield_now();
        };
        assert!(runs(child));
        victim.kill()?;
        victim.wait()?;
        let began = Instant::now();
        while runs(child) {
            assert!(began.elapsed() < Duration::from_secs(10), "it outlived us");
        }
        Ok(())
    }

    #[test]
    fn sigterm_is_enough_for_an_obedient_process() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let mut process = sleeper(&folder.path().join("log"))?;
        let began = Instant::now();
        process.terminate(Duration::from_secs(60))?;
        assert!(began.elapsed() < Duration::from_secs(30));
        Ok(())
    }
}
