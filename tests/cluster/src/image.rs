//! Container images without a builder: an archive of one layer, as `docker save` writes it and `ctr images import` reads it.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use crate::sandbox::find_program;

/// The name of an image that is made here. Knative takes names under `dev.local` as they are, without asking a registry,
/// and a tag that is not `latest` is never pulled when it is there.
pub(crate) fn name(of: &str) -> String {
    format!("dev.local/{of}:1")
}

/// An image in the making.
#[derive(Debug)]
pub struct Image {
    name: String,
    entrypoint: Vec<String>,
    environment: Vec<String>,
    /// From the path in the image to the file here.
    files: BTreeMap<String, PathBuf>,
    /// From the path in the image to what it points at.
    links: BTreeMap<String, String>,
}

impl Image {
    /// An image of this name, that starts a program.
    #[must_use]
    pub fn new(name: impl Into<String>, entrypoint: &[&str]) -> Self {
        Self {
            name: name.into(),
            entrypoint: entrypoint.iter().map(|word| (*word).to_owned()).collect(),
            environment: vec!["PATH=/usr/local/bin:/bin:/usr/bin:/ko-app".to_owned()],
            files: BTreeMap::new(),
            links: BTreeMap::new(),
        }
    }

    /// Adds a file at a path in the image. Everybody may read and execute it, nobody may change it.
    #[must_use]
    pub fn file(mut self, source: impl Into<PathBuf>, target: &str) -> Self {
        self.files.insert(target.to_owned(), source.into());
        self
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn link(mut self, target: &str, points_at: &str) -> Self {
        self.links.insert(target.to_owned(), points_at.to_owned());
        self
    }

    /// Adds this machine's busybox, under every name that it answers to, in `/bin`.
    ///
    /// # Errors
    /// There is none, or it does not start.
    pub fn busybox(self) -> Result<Self> {
        let program = find_program("busybox").context("the program busybox is missing")?;
        let output = Command::new(&program)
            .arg("--list")
            .output()
            .context("busybox does not start")?;
        Ok(String::from_utf8(output.stdout)?
            .lines()
            .filter(|name| *name != "busybox")
            .fold(self.file(program, "/bin/busybox"), |image, name| {
                image.link(&format!("/bin/{name}"), "busybox")
            }))
    }

    /// Adds a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push(format!("{name}={value}"));
        self
    }

    /// Adds a program of this machine with the libraries that it is linked with, all of them where they are here.
    ///
    /// # Errors
    /// `ldd` does not start.
    pub fn program(mut self, program: &Path) -> Result<Self> {
        let program = program.to_owned();
        let output = Command::new("ldd")
            .arg(&program)
            .output()
            .context("ldd does not start")?;
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            // `libz.so.1 => /lib/libz.so.1 (0x…)`, or the loader's own path alone.
            if let Some(path) = line.split_whitespace().find(|word| word.starts_with('/')) {
                self = self.file(path, path);
            }
        }
        let target = program.display().to_string();
        Ok(self.file(program, &target))
    }

    /// Writes the archive.
    ///
    /// # Errors
    /// A file cannot be read, or the archive cannot be written.
    pub fn write(&self, archive: &Path) -> Result<()> {
        let layer_file = archive.with_extension("layer");
        let digest = self.write_layer(&layer_file)?;
        let configuration = serde_json::to_vec(&json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {
                "Entrypoint": self.entrypoint,
                "Env": self.environment,
                // Nobody in particular, so that the strictest pod security level lets it run.
                "User": "65532:65532",
            },
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
        }))?;
        let layer = format!("{digest}/layer.tar");
        let configuration_name = format!("{}.json", hex(&Sha256::digest(&configuration)));
        let manifest = serde_json::to_vec(&json!([{
            "Config": configuration_name,
            "RepoTags": [self.name],
            "Layers": [layer],
        }]))?;
        let mut tar = Builder::new(File::create(archive)?);
        tar.append_data(
            &mut header(EntryType::Regular, fs::metadata(&layer_file)?.len(), 0o644),
            &layer,
            File::open(&layer_file)?,
        )?;
        for (name, bytes) in [
            (configuration_name.as_str(), &configuration),
            ("manifest.json", &manifest),
        ] {
            let mut header = header(EntryType::Regular, bytes.len() as u64, 0o644);
            tar.append_data(&mut header, name, bytes.as_slice())?;
        }
        tar.into_inner()?.flush()?;
        fs::remove_file(layer_file)?;
        Ok(())
    }

    /// Writes the files; the digest of what was written.
    fn write_layer(&self, path: &Path) -> Result<String> {
        let mut tar = Builder::new(Digesting {
            file: File::create(path)?,
            digest: Sha256::new(),
        });
        // Programs expect them, and a read-only root cannot make them.
        for folder in ["tmp", "etc", "var/run", "home"] {
            let mut header = header(EntryType::Directory, 0, 0o1777);
            tar.append_data(&mut header, folder, std::io::empty())?;
        }
        for (target, source) in &self.files {
            let file = File::open(source).with_context(|| source.display().to_string())?;
            let size = file.metadata()?.len();
            let mut header = header(EntryType::Regular, size, 0o755);
            tar.append_data(&mut header, target.trim_start_matches('/'), file)?;
        }
        for (target, points_at) in &self.links {
            let mut header = header(EntryType::Symlink, 0, 0o777);
            tar.append_link(&mut header, target.trim_start_matches('/'), points_at)?;
        }
        Ok(hex(&tar.into_inner()?.digest.finalize()))
    }
}

/// Writes and digests.
struct Digesting {
    file: File,
    digest: Sha256,
}

impl Write for Digesting {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.digest.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

/// The same files give the same image, whenever it is made.
fn header(kind: EntryType, size: u64, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// This machine's architecture, as Go and images name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Imports the archive of an image into a node's containerd.
pub(crate) fn import(ctr: &Path, socket: &Path, archive: &Path) -> Result<()> {
    images(ctr, socket, &["import", "--local"], archive.as_os_str())
        .with_context(|| format!("{} is not imported", archive.display()))
}

/// Removes an image, by its name, from a node's containerd, with all that no other image has.
pub(crate) fn remove(ctr: &Path, socket: &Path, name: &str) -> Result<()> {
    images(ctr, socket, &["remove", "--sync"], name.as_ref())
        .with_context(|| format!("{name} is not removed"))
}

fn images(ctr: &Path, socket: &Path, what: &[&str], which: &OsStr) -> Result<()> {
    let output = Command::new(ctr)
        .arg("--address")
        .arg(socket)
        .args(["--namespace", "k8s.io", "images"])
        .args(what)
        .arg(which)
        .output()
        .context("ctr does not start")?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}", told.trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_files_give_the_same_image() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let source = folder.path().join("source");
        fs::write(&source, "hello")?;
        let write = |name: &str| -> Result<Vec<u8>> {
            let archive = folder.path().join(name);
            Image::new("dev.local/a:1", &["/bin/a"])
                .file(&source, "/bin/a")
                .link("/bin/b", "a")
                .write(&archive)?;
            Ok(fs::read(archive)?)
        };
        assert_eq!(write("one")?, write("two")?);
        assert_eq!(
            fs::read_dir(folder.path())?.count(),
            3,
            "nothing else stays"
        );
        Ok(())
    }

    #[test]
    fn the_manifest_names_what_is_in_the_archive() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let archive = folder.path().join("image.tar");
        let source = folder.path().join("source");
        fs::write(&source, "hello")?;
        Image::new("dev.local/a:1", &["/bin/a"])
            .file(&source, "/bin/a")
            .write(&archive)?;
        let mut names = Vec::new();
        let mut manifest = serde_json::Value::Null;
        for entry in tar::Archive::new(File::open(&archive)?).entries()? {
            let entry = entry?;
            let name = entry.path()?.display().to_string();
            if name == "manifest.json" {
                manifest = serde_json::from_reader(entry)?;
            }
            names.push(name);
        }
        let named = [&manifest[0]["Layers"][0], &manifest[0]["Config"]];
        for name in named {
            assert!(
                names.iter().any(|n| name == n),
                "{name} is not in {names:?}"
            );
        }
        Ok(())
    }
}
