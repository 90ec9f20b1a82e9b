//! The image, without Docker: buildah runs the last stage of the real Dockerfile around an executable that is built here.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

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
    let size = fs::metadata(&archive)?.len();
    ensure!(size > 0, "the archive is empty");
    println!(
        "target/image/hookrun.tar: {name}, {:.1} MB",
        size as f64 / 1e6
    );
    Ok(())
}
