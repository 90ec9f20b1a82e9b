//! The programs of the control plane, built from the Go modules in this folder.
//!
//! A program is built again only when its module or its flags change: a stamp beside it remembers both. The Go modules are
//! pinned by `go.sum`, so a stamp stands for exact sources.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// What the pinned modules need.
const GO: (u32, u32, u32) = (1, 26, 4);

/// How much of a cluster there is; each holds what the ones before it hold.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, Serialize, Deserialize,
)]
pub enum Tier {
    /// etcd, API server, controllers and Tekton: runs are admitted and get their pods, which stay pending.
    ControlPlane,
    /// A node as well: containerd, kubelet, kube-proxy, CoreDNS. Steps really run.
    Node,
    /// Knative Serving with Kourier and Knative Eventing on it.
    Platform,
}

/// One program, and where it comes from. Another system is another folder with a `go.mod`, and another entry here.
#[derive(Debug)]
pub struct Program {
    /// Name of the executable.
    pub name: &'static str,
    /// The folder with its `go.mod`.
    pub system: &'static str,
    /// The Go package of its `main`.
    pub package: &'static str,
    /// The smallest cluster that runs it.
    pub tier: Tier,
    /// The module whose version is stamped into it, with the package that holds the variables.
    version: Option<Stamped>,
    /// Objects that it needs in the cluster: a module, and files below it.
    objects: Option<Objects>,
}

#[derive(Debug)]
struct Stamped {
    module: &'static str,
    package: &'static str,
}

#[derive(Debug)]
struct Objects {
    module: &'static str,
    /// Folders, or beginnings of file names, below the module's own folder.
    files: &'static [&'static str],
}

/// Kubernetes tells its version only when it is stamped, and Tekton refuses an API server that says 0.0.0.
const KUBERNETES: Option<Stamped> = Some(Stamped {
    module: "k8s.io/kubernetes",
    package: "k8s.io/component-base/version",
});

/// Everything that can be built, each in seconds to minutes.
pub const PROGRAMS: &[Program] = &[
    Program {
        name: "etcd",
        system: "etcd",
        package: "go.etcd.io/etcd/server/v3",
        tier: Tier::ControlPlane,
        version: None,
        objects: None,
    },
    Program {
        name: "kube-apiserver",
        system: "kubernetes",
        package: "k8s.io/kubernetes/cmd/kube-apiserver",
        tier: Tier::ControlPlane,
        version: KUBERNETES,
        objects: None,
    },
    Program {
        name: "kube-controller-manager",
        system: "kubernetes",
        package: "k8s.io/kubernetes/cmd/kube-controller-manager",
        tier: Tier::ControlPlane,
        version: KUBERNETES,
        objects: None,
    },
    Program {
        name: "kubectl",
        system: "kubernetes",
        package: "k8s.io/kubernetes/cmd/kubectl",
        tier: Tier::ControlPlane,
        version: KUBERNETES,
        objects: None,
    },
    Program {
        name: "tekton-webhook",
        system: "tekton",
        package: "github.com/tektoncd/pipeline/cmd/webhook",
        tier: Tier::ControlPlane,
        version: None,
        objects: Some(Objects {
            module: "github.com/tektoncd/pipeline",
            files: &[
                "config/100-namespace/",
                "config/300-crds/",
                "config/500-webhooks.yaml",
                "config/config-",
            ],
        }),
    },
    Program {
        name: "tekton-controller",
        system: "tekton",
        package: "github.com/tektoncd/pipeline/cmd/controller",
        tier: Tier::ControlPlane,
        version: None,
        objects: None,
    },
    // An S3 server over a folder, for payloads that no Secret holds.
    Program {
        name: "versitygw",
        system: "s3",
        package: "github.com/versity/versitygw/cmd/versitygw",
        tier: Tier::ControlPlane,
        version: None,
        objects: None,
    },
    // A node: pods really run.
    Program {
        name: "kube-scheduler",
        system: "kubernetes",
        package: "k8s.io/kubernetes/cmd/kube-scheduler",
        tier: Tier::Node,
        version: KUBERNETES,
        objects: None,
    },
    Program {
        name: "kubelet",
        system: "kubernetes",
        package: "k8s.io/kubernetes/cmd/kubelet",
        tier: Tier::Node,
        version: KUBERNETES,
        objects: None,
    },
    Program {
        name: "kube-proxy",
        system: "kubernetes",
        package: "k8s.io/kubernetes/cmd/kube-proxy",
        tier: Tier::Node,
        version: KUBERNETES,
        objects: None,
    },
    Program {
        name: "containerd",
        system: "containerd",
        package: "github.com/containerd/containerd/v2/cmd/containerd",
        tier: Tier::Node,
        version: None,
        objects: None,
    },
    Program {
        name: "containerd-shim-runc-v2",
        system: "containerd",
        package: "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
        tier: Tier::Node,
        version: None,
        objects: None,
    },
    Program {
        name: "ctr",
        system: "containerd",
        package: "github.com/containerd/containerd/v2/cmd/ctr",
        tier: Tier::Node,
        version: None,
        objects: None,
    },
    Program {
        name: "coredns",
        system: "coredns",
        package: "github.com/coredns/coredns",
        tier: Tier::Node,
        version: None,
        objects: None,
    },
    // Holds the namespaces of a pod.
    Program {
        name: "pause",
        system: "pause",
        package: ".",
        tier: Tier::Node,
        version: None,
        objects: None,
    },
    // What Tekton puts into the pods of a run.
    Program {
        name: "tekton-entrypoint",
        system: "tekton",
        package: "github.com/tektoncd/pipeline/cmd/entrypoint",
        tier: Tier::Node,
        version: None,
        objects: None,
    },
    Program {
        name: "tekton-nop",
        system: "tekton",
        package: "github.com/tektoncd/pipeline/cmd/nop",
        tier: Tier::Node,
        version: None,
        objects: None,
    },
    Program {
        name: "tekton-workingdirinit",
        system: "tekton",
        package: "github.com/tektoncd/pipeline/cmd/workingdirinit",
        tier: Tier::Node,
        version: None,
        objects: None,
    },
];

/// The folder with the built programs.
#[derive(Clone, Debug)]
pub struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Builds whatever of the named programs is missing or out of date, telling how far it is.
    ///
    /// # Errors
    /// As [`Programs::for_tier`], and where a name is unknown.
    pub fn build(names: &[&str]) -> Result<Self> {
        for name in names {
            ensure!(
                PROGRAMS.iter().any(|program| program.name == *name),
                "no program is called `{name}`; there are: {}",
                PROGRAMS
                    .iter()
                    .map(|p| p.name)
                    .collect::<Vec<_>>()
                    .join(", ")
            );
        }
        Self::build_those(|program| names.contains(&program.name))
    }

    /// Builds whatever a tier needs and is missing or out of date, telling how far it is.
    ///
    /// # Errors
    /// Go is missing or too old, or a build fails; the text says what to do.
    pub fn for_tier(tier: Tier) -> Result<Self> {
        Self::build_those(|program| program.tier <= tier)
    }

    fn build_those(wanted: impl Fn(&Program) -> bool) -> Result<Self> {
        let programs = Self {
            folder: target().join("bin"),
        };
        fs::create_dir_all(&programs.folder)?;
        // Two commands at once build one after the other, and the second finds everything built.
        let lock = fs::File::create(target().join("build.lock"))?;
        lock.lock()?;

        let stale = PROGRAMS
            .iter()
            .filter(|program| wanted(program))
            .map(|program| Ok((program, Plan::of(program)?)))
            .filter(|plan| !matches!(plan, Ok((program, plan)) if programs.is_fresh(program, plan)))
            .collect::<Result<Vec<_>>>()?;
        if stale.is_empty() {
            return Ok(programs);
        }
        check_go()?;
        let count = stale.len();
        eprintln!(
            "control plane: {count} programs to build from their Go modules; the first time takes minutes, later runs start in seconds"
        );
        for (index, (program, plan)) in stale.into_iter().enumerate() {
            eprintln!("control plane: [{}/{count}] {}", index + 1, program.name);
            programs.build_one(program, &plan)?;
        }
        Ok(programs)
    }

    /// Where a program lies.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The folder with all of them, for a `PATH`.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The objects that a program needs in the cluster, in the order of its files.
    pub(crate) fn objects(&self, name: &str) -> Result<Vec<Value>> {
        let path = self.folder.join(format!("{name}.json"));
        let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    fn is_fresh(&self, program: &Program, plan: &Plan) -> bool {
        self.path(program.name).exists()
            && fs::read_to_string(self.stamp(program)).is_ok_and(|stamp| stamp == plan.stamp)
    }

    fn stamp(&self, program: &Program) -> PathBuf {
        self.folder.join(format!("{}.stamp", program.name))
    }

    fn build_one(&self, program: &Program, plan: &Plan) -> Result<()> {
        let began = Instant::now();
        let module = module_folder(program.system);
        // Under another name first: a running program cannot be overwritten, and half a program must not be found.
        let fresh = self.folder.join(format!(".{}.new", program.name));
        let mut build = go(&module)
            .args(["build", "-buildvcs=false", "-ldflags", &plan.ldflags, "-o"])
            .arg(&fresh)
            .arg(program.package)
            .spawn()
            .context("go build does not start")?;
        let status = loop {
            if let Some(status) = build.try_wait()? {
                break status;
            }
            std::thread::sleep(Duration::from_millis(100));
            let elapsed = began.elapsed().as_millis() / 100;
            if elapsed > 0 && elapsed.is_multiple_of(300) {
                eprintln!("control plane:       still building, {} s", elapsed / 10);
                // Past this tenth of a second, so that the line comes once.
                std::thread::sleep(Duration::from_millis(100));
            }
        };
        ensure!(
            status.success(),
            "building {} failed; its module is {}. Without access to a Go module proxy, set GOPROXY to one that can be reached.",
            program.name,
            module.display()
        );
        if let Some(objects) = &program.objects {
            self.save_objects(program, objects)?;
        }
        fs::rename(&fresh, self.path(program.name))?;
        fs::write(self.stamp(program), &plan.stamp)?;
        eprintln!(
            "control plane:       built in {:.0} s",
            began.elapsed().as_secs_f32()
        );
        Ok(())
    }

    /// Keeps a module's YAML as JSON beside the program: later runs need neither Go nor its module cache.
    fn save_objects(&self, program: &Program, wanted: &Objects) -> Result<()> {
        let output = go(&module_folder(program.system))
            .args(["list", "-m", "-f", "{{.Dir}}", wanted.module])
            .output()?;
        ensure!(output.status.success(), "go list -m {}", wanted.module);
        let root = PathBuf::from(String::from_utf8(output.stdout)?.trim());
        let mut objects = Vec::<Value>::new();
        for prefix in wanted.files {
            let (folder, start) = prefix.rsplit_once('/').unwrap_or(("", prefix));
            let mut files = fs::read_dir(root.join(folder))?
                .map(|entry| Ok(entry?.path()))
                .collect::<Result<Vec<_>>>()?;
            files.retain(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                name.starts_with(start) && name.ends_with(".yaml")
            });
            ensure!(!files.is_empty(), "{} has no {prefix}*.yaml", wanted.module);
            files.sort();
            for file in files {
                objects.extend(documents(&file)?);
            }
        }
        let path = self.folder.join(format!("{}.json", program.name));
        fs::write(path, serde_json::to_vec(&objects)?)?;
        Ok(())
    }
}

/// All objects of one YAML file.
pub(crate) fn documents(file: &Path) -> Result<Vec<Value>> {
    let name = || file.display().to_string();
    let text = fs::read_to_string(file).with_context(name)?;
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).with_context(name)?;
    Ok(documents.into_iter().filter(Value::is_object).collect())
}

/// How a program is built, and the digest of everything that decides about the result.
struct Plan {
    ldflags: String,
    stamp: String,
}

impl Plan {
    fn of(program: &Program) -> Result<Self> {
        let folder = module_folder(program.system);
        let sources = sources(&folder)?;
        let go_mod = sources
            .get("go.mod")
            .with_context(|| format!("no go.mod in {}", folder.display()))?;
        let mut ldflags = "-s -w".to_owned();
        if let Some(Stamped { module, package }) = &program.version {
            let version = required_version(go_mod, module)
                .with_context(|| format!("go.mod of {} names no {module}", program.system))?;
            let mut numbers = version.trim_start_matches('v').split('.');
            let (major, minor) = (numbers.next().unwrap_or("0"), numbers.next().unwrap_or("0"));
            for (variable, value) in [
                ("gitVersion", version),
                ("gitMajor", major),
                ("gitMinor", minor),
            ] {
                ldflags += &format!(" -X {package}.{variable}={value}");
            }
        }
        let mut digest = Sha256::new();
        for text in [program.package, &ldflags, &format!("{:?}", program.objects)]
            .into_iter()
            .chain(
                sources
                    .iter()
                    .flat_map(|(name, text)| [name.as_str(), text]),
            )
        {
            digest.update(text.len().to_le_bytes());
            digest.update(text);
        }
        let stamp = digest
            .finalize()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        Ok(Self { ldflags, stamp })
    }
}

/// `go.mod`, `go.sum` and our own Go sources, if any.
fn sources(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut sources = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.starts_with("go.") || name.ends_with(".go") {
            sources.insert(name, fs::read_to_string(&path)?);
        }
    }
    Ok(sources)
}

fn required_version<'a>(go_mod: &'a str, module: &str) -> Option<&'a str> {
    go_mod.lines().find_map(|line| {
        let mut words = line
            .trim()
            .trim_start_matches("require ")
            .split_whitespace();
        (words.next() == Some(module))
            .then(|| words.next())
            .flatten()
    })
}

fn go(module: &Path) -> Command {
    let mut command = Command::new("go");
    command
        .current_dir(module)
        // Static, and without a C compiler.
        .env("CGO_ENABLED", "0")
        // A newer toolchain is never fetched behind one's back.
        .env("GOTOOLCHAIN", "local")
        .env("GOWORK", "off");
    command
}

fn check_go() -> Result<()> {
    let (major, minor, patch) = GO;
    let advice = format!(
        "the test cluster is built from source with Go {major}.{minor}.{patch} or later: install it from https://go.dev/dl/ so that `go version` answers"
    );
    let output = match Command::new("go")
        .env("GOTOOLCHAIN", "local")
        .arg("version")
        .output()
    {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(error) => bail!("`go` does not start ({error}); {advice}"),
    };
    match go_version(&output) {
        Some(version) if version >= GO => Ok(()),
        _ => bail!("`go version` says `{}`; {advice}", output.trim()),
    }
}

/// The version in `go version go1.26.8 linux/amd64`.
fn go_version(output: &str) -> Option<(u32, u32, u32)> {
    let version = output
        .split_whitespace()
        .find_map(|word| word.strip_prefix("go1"))?;
    let mut numbers = version.trim_start_matches('.').split('.').map(|number| {
        // Without `rc1` and the like.
        let end = number.find(|c: char| !c.is_ascii_digit());
        number[..end.unwrap_or(number.len())].parse().unwrap_or(0)
    });
    Some((1, numbers.next()?, numbers.next().unwrap_or(0)))
}

fn module_folder(system: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(system)
}

/// `target/cluster` of the repository: nothing is ever written anywhere else.
pub(crate) fn target() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .unwrap_or(here)
        .join("target/cluster")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_versions_are_compared_as_numbers() {
        assert_eq!(
            go_version("go version go1.26.8 linux/amd64"),
            Some((1, 26, 8))
        );
        assert_eq!(
            go_version("go version go1.27 darwin/arm64"),
            Some((1, 27, 0))
        );
        assert_eq!(
            go_version("go version go1.27rc1 linux/amd64"),
            Some((1, 27, 0))
        );
        assert_eq!(go_version("zsh: not found"), None);
        assert!(go_version("go version go1.9.7 linux/amd64") < Some(GO));
    }

    #[test]
    fn a_required_version_is_found_in_both_notations() {
        let go_mod = "module x\nrequire a.b/c v1.2.3\nrequire (\n\ta.b/d v2.0.0 // indirect\n)\n";
        assert_eq!(required_version(go_mod, "a.b/c"), Some("v1.2.3"));
        assert_eq!(required_version(go_mod, "a.b/d"), Some("v2.0.0"));
        assert_eq!(required_version(go_mod, "a.b"), None);
    }

    #[test]
    fn every_program_has_its_pinned_module() -> Result<()> {
        for program in PROGRAMS {
            Plan::of(program).with_context(|| program.name)?;
        }
        Ok(())
    }
}
