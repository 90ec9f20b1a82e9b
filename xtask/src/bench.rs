//! The measurements: the released executable, a bare server built in the same way, and the program that measures both.

use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::{
    dist,
    shell::{self, cargo, repository},
};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Passed on: the parts to measure, and options; `-- --help` tells what there is. Without any, everything is measured but
    /// `platform`: that is the function on Knative beside Tekton Triggers, on a cluster that needs root.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// The image of the part `platform`: under a name of its own, so that it can be taken from the node afterwards.
const IMAGE: [&str; 2] = ["dev.local/hookrun-bench:1", "target/image/hookrun.tar"];

/// Builds all three and measures; for the part `platform` it also makes the image, and starts a cluster where none is up.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let hookrun = dist::run()?;
    let bare = dist::build("bare-server")?;
    // Built like the others, so that it shares their dependencies and is no slower than they are.
    let bench = dist::build("bench")?;
    let mut measure = shell::command(bench);
    measure
        .args(["--bare".as_ref(), bare.as_os_str()])
        .env("HOOKRUN_EXECUTABLE", hookrun);
    if arguments.rest.iter().any(|word| word == "platform") {
        let [name, archive] = IMAGE;
        shell::run(cargo().args(["xtask", "image", "--name", name]))?;
        measure.arg("--image").arg(repository().join(archive));
        on_a_cluster(measure.args(&arguments.rest))
    } else {
        shell::run(measure.args(&arguments.rest))
    }
}

/// Measures on the cluster that is up, or on one that stands only meanwhile.
fn on_a_cluster(measure: &mut Command) -> Result<()> {
    let stood = cluster("status").output()?.status.success();
    shell::run(cluster("up").args(["--tier", "comparison"]))?;
    let measured = shell::run(measure);
    if stood {
        return measured;
    }
    let down = shell::run(&mut cluster("down"));
    measured.and(down)
}

/// `cargo xtask cluster`
fn cluster(what: &str) -> Command {
    let mut command = cargo();
    command.args(["run", "--quiet", "--package", "control-plane", "--", what]);
    command
}
