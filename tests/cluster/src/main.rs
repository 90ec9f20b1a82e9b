//! The control plane as a command: builds its programs, or starts it and keeps it until interrupted.
//! `cargo xtask` calls it, so that the chores themselves need not be linked with a Kubernetes client.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command")]

use std::{io::Read, process::ExitCode};

use anyhow::Result;
use clap::Parser;
use control_plane::{Cluster, Options, Programs};

/// The control plane that tests run on: etcd, kube-apiserver, kube-controller-manager, Tekton.
#[derive(Parser)]
enum Command {
    /// Builds programs from their pinned Go modules into target/cluster/bin.
    Build {
        /// Names of programs; all if none is given.
        names: Vec<String>,
    },
    /// Starts a control plane, prints how to use it, and ends it with Enter, Ctrl-C or the end of standard input.
    Up,
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
    match command {
        Command::Build { names } => {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let programs = Programs::build(&names)?;
            println!("{}", programs.folder().canonicalize()?.display());
        }
        Command::Up => up()?,
    }
    Ok(())
}

#[tokio::main]
async fn up() -> Result<()> {
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let programs = Programs::build(&[])?;
    let cluster = Cluster::start(&programs, Options::Whole).await?;
    println!(
        "ready after {:.1} s\n\n  export KUBECONFIG={}\n  {} get --raw /version\n\nEnter ends it.",
        cluster.ready_after().as_secs_f32(),
        cluster.folder().join("admin.kubeconfig").display(),
        programs.path("kubectl").display(),
    );
    let enter = tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0]));
    tokio::select! {
        _ = enter => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    drop(cluster);
    // The thread that reads standard input cannot be told to stop.
    std::process::exit(0)
}
