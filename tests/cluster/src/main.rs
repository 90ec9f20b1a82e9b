//! The cluster as a command: starts it, asks it, ends it.
//! `cargo xtask cluster` calls it, so that the chores themselves need not be linked with a Kubernetes client.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command")]

use std::{fs::File, path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Parser;
use control_plane::{Programs, Standing, Tier};

/// A real cluster on this machine, built from pinned Go modules.
#[derive(Parser)]
#[command(
    name = "cargo xtask cluster",
    bin_name = "cargo xtask cluster",
    max_term_width = 100
)]
enum Command {
    /// Start a cluster that stands until `down`.
    Up {
        /// How much of it.
        #[arg(long, value_enum, default_value_t = Tier::Platform)]
        tier: Tier,
    },
    /// End it, and remove every process, mount, address and file of it.
    Down,
    /// Tell what is up and how to use it.
    Status,
    /// Give an image to the node.
    Load {
        /// An archive as `docker save` or `buildah push docker-archive:FILE:NAME` writes it.
        archive: PathBuf,
    },
    /// Show the log of a part, such as kubelet or kube-apiserver.
    Logs {
        /// Its name; a wrong one lists them all.
        what: String,
    },
    /// Kill a part as a crash would; it is started again at once.
    Restart {
        /// Its name, such as containerd or kube-apiserver.
        what: String,
    },
    /// Build programs into target/cluster/bin, which `up` and the tests do anyway when they need them.
    Build {
        /// Names of programs; those of the tier if none is given.
        names: Vec<String>,
        /// Everything up to this tier.
        #[arg(long, value_enum, default_value_t = Tier::ControlPlane)]
        tier: Tier,
    },
    /// What `up` starts.
    #[command(hide = true)]
    Supervise {
        #[arg(long, value_enum)]
        tier: Tier,
    },
}

fn main() -> ExitCode {
    match run(Command::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    let standing = Standing::default();
    match command {
        Command::Up { tier } => {
            standing.up(tier)?;
            print!("{}", standing.status()?);
        }
        Command::Down => standing.down()?,
        Command::Status => print!("{}", standing.status()?),
        Command::Load { archive } => standing.load(&archive)?,
        Command::Logs { what } => {
            let mut log = File::open(standing.log(&what)?)?;
            std::io::copy(&mut log, &mut std::io::stdout())?;
        }
        Command::Restart { what } => standing.restart(&what)?,
        Command::Build { names, tier } => {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let programs = if names.is_empty() {
                Programs::for_tier(tier)?
            } else {
                Programs::build(&names)?
            };
            println!("{}", programs.folder().canonicalize()?.display());
        }
        Command::Supervise { tier } => supervise(&standing, tier)?,
    }
    Ok(())
}

#[tokio::main]
async fn supervise(standing: &Standing, tier: Tier) -> Result<()> {
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    standing.supervise(tier).await
}
