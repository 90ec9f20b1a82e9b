//! The image, without Docker: buildah runs the last stage of the real Dockerfile around an executable that is built here.
//! Then what came out is opened and looked at, since the Dockerfile only says what should.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::{
    dist,
    shell::{self, repository},
};

/// `cargo xtask image`
#[derive(Args)]
pub(crate) struct Arguments {
    /// Name of the image. Knative takes tags under dev.local as they are, without asking a registry.
    #[arg(long, default_value = concat!("dev.local/hookrun:", env!("CARGO_PKG_VERSION")))]
    name: String,
}

/// Where systems keep the certificate authorities that they trust.
const AUTHORITIES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// All files of the image, with what everybody may do with them: the user of the image owns none.
const FILES: [(&str, u32); 2] = [("etc/ssl/certs/ca-certificates.crt", 0o4), ("hookrun", 0o5)];

pub(crate) fn run(Arguments { name }: &Arguments) -> Result<()> {
    if !shell::exists("buildah") {
        bail!(
            "buildah is missing; install it (Debian: apt-get install buildah), or build the whole Dockerfile with another builder"
        );
    }
    let executable = dist::run()?;
    // Stands for the files of the stage `build`.
    let stage = repository().join("target/image/build");
    fs::create_dir_all(&stage)?;
    fs::copy(executable, stage.join("hookrun"))?;
    let authorities = AUTHORITIES
        .iter()
        .find(|path| fs::metadata(path).is_ok())
        .context("this system has no file of certificate authorities; install ca-certificates")?;
    fs::copy(authorities, stage.join("ca-certificates.crt"))?;

    let archive = repository().join("target/image/hookrun.tar");
    fs::remove_file(&archive).ok();
    shell::run(
        shell::command("buildah")
            .args(["--storage-driver", "vfs", "bud", "--isolation", "chroot"])
            .arg(format!("--build-context=build={}", stage.display()))
            .args(["--tag", name, "."]),
    )?;
    shell::run(
        shell::command("buildah")
            .args(["--storage-driver", "vfs", "push", name])
            .arg(format!("docker-archive:{}:{name}", archive.display())),
    )?;
    check(&archive)?;
    let size = fs::metadata(&archive)?.len();
    println!(
        "target/image/hookrun.tar: {name}, {:.1} MB",
        size as f64 / 1e6
    );
    Ok(())
}

/// Whether the image in a `docker-archive` starts the executable, as a plain user, and holds nothing else.
fn check(archive: &Path) -> Result<()> {
    let read = |file: &str| -> Result<Value> {
        let text = shell::output(shell::command("tar").arg("-xOf").arg(archive).arg(file))?;
        serde_json::from_str(&text).with_context(|| file.to_owned())
    };
    let manifest = &read("manifest.json")?[0];
    let image = read(
        manifest["Config"]
            .as_str()
            .context("the archive names no configuration")?,
    )?;
    check_configuration(&image["config"])?;

    let opened = repository().join("target/image/opened");
    let root = opened.join("root");
    if opened.exists() {
        fs::remove_dir_all(&opened)?;
    }
    fs::create_dir_all(&root)?;
    let layers: Vec<&str> = manifest["Layers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for layer in &layers {
        shell::run(
            shell::command("tar")
                .arg("-xf")
                .arg(archive)
                .arg("-C")
                .arg(&opened)
                .arg(layer),
        )?;
        shell::run(
            shell::command("tar")
                .arg("-xpf")
                .arg(opened.join(layer))
                .arg("-C")
                .arg(&root),
        )?;
    }
    let mut files = Vec::new();
    collect(&root, &root, &mut files)?;
    files.sort();
    ensure!(
        files == FILES.map(|(file, _)| file),
        "the image holds {files:?}"
    );
    for (file, wanted) in FILES {
        let mode = fs::metadata(root.join(file))?.permissions().mode();
        ensure!(
            mode & 0o7 == wanted,
            "{file} has mode {mode:o}, so that everybody may not do with it what is needed, or may do more"
        );
    }
    // Nothing around it that it could use: no environment, and no file beside those of the image. That it needs no
    // loader was seen when it was built.
    let version = shell::output(
        shell::command(root.join("hookrun"))
            .current_dir(&root)
            .env_clear()
            .arg("--version"),
    )?;
    ensure!(
        version.trim() == concat!("hookrun ", env!("CARGO_PKG_VERSION")),
        "the image's executable calls itself {version:?}"
    );
    fs::remove_dir_all(&opened)?;
    Ok(())
}

/// What a container of the image runs, and as whom.
fn check_configuration(configuration: &Value) -> Result<()> {
    ensure!(
        configuration["User"] == "65532:65532",
        "the image runs as {}",
        configuration["User"]
    );
    ensure!(
        configuration["Entrypoint"] == json!(["/hookrun"]) && configuration["Cmd"].is_null(),
        "the image runs {} {}",
        configuration["Entrypoint"],
        configuration["Cmd"]
    );
    ensure!(
        configuration["Volumes"].is_null(),
        "the image has volumes: {}",
        configuration["Volumes"]
    );
    Ok(())
}

/// Everything below a folder that is not a folder itself, as seen from the root.
fn collect(root: &Path, folder: &Path, files: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            collect(root, &path, files)?;
        } else {
            files.push(path.strip_prefix(root)?.display().to_string());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_of_root_or_of_something_else_is_refused() {
        let good = json!({"User": "65532:65532", "Entrypoint": ["/hookrun"]});
        assert!(check_configuration(&good).is_ok());
        for (field, value) in [
            ("User", json!("")),
            ("User", json!("root")),
            ("Entrypoint", json!(["/bin/sh", "-c", "/hookrun"])),
            ("Cmd", json!(["dev"])),
            ("Volumes", json!({"/data": {}})),
        ] {
            let mut wrong = good.clone();
            wrong[field] = value;
            assert!(check_configuration(&wrong).is_err(), "{wrong}");
        }
    }
}
