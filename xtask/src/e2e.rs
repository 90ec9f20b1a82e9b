//! The end-to-end tests: a cluster that stands, or one of its own; the image; the tests, which install everything themselves.

use std::{ffi::OsString, path};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::shell::{self, cargo, repository};

/// `cargo xtask e2e`
#[derive(Args)]
pub(crate) struct Arguments {
    /// A cluster with Knative, Kourier and Tekton to run the tests on; it needs --gateway, --image and --tools-image.
    ///
    /// Without it the cluster of `cargo xtask cluster` is used, and started first where it is not up: then it is taken down afterwards.
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    kubeconfig: Option<OsString>,
    /// Address of Kourier's gateway, as this machine reaches it on ports 80 and 443.
    #[arg(long, value_name = "ADDRESS", requires = "kubeconfig")]
    gateway: Option<String>,
    /// Image of Hookrun that the cluster can pull.
    #[arg(long, value_name = "NAME", requires = "kubeconfig")]
    image: Option<String>,
    /// Image that plays steps, git server and sender, and that the cluster can pull; the tests leave it in
    /// target/e2e/tools.tar.
    #[arg(long, value_name = "NAME", requires = "kubeconfig")]
    tools_image: Option<String>,
    /// Test the executable of `cargo build`, which is built in seconds, instead of the one of `cargo xtask image`. Only on the
    /// repository's own cluster.
    #[arg(long)]
    debug_image: bool,
    /// Leave the cluster, and what was installed on it, as they are when the tests are over.
    #[arg(long)]
    keep: bool,
    /// Part of a name, or options such as --list, --exact, --test-threads 1.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Where the gateway of the own cluster is.
const GATEWAY: &str = "10.199.0.2";

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let named = arguments
        .kubeconfig
        .as_ref()
        .filter(|file| !file.is_empty());
    // The tests run in a folder of their own.
    let file = named.map(path::absolute).transpose()?;
    match file.filter(|file| *file != standing()) {
        Some(file) => {
            ensure!(
                !arguments.debug_image,
                "--debug-image is for a cluster of our own; unset KUBECONFIG to use one"
            );
            let given = |value: &Option<String>, flag: &str| {
                value.clone().with_context(|| {
                    format!("the cluster of the kubeconfig {} (KUBECONFIG) needs --{flag} as well; unset KUBECONFIG to use one of our own", file.display())
                })
            };
            let (gateway, image) = (
                given(&arguments.gateway, "gateway")?,
                given(&arguments.image, "image")?,
            );
            let tools = given(&arguments.tools_image, "tools-image")?;
            let environment = [
                ("KUBECONFIG", file.display().to_string()),
                ("HOOKRUN_E2E_GATEWAY", gateway),
                ("HOOKRUN_E2E_IMAGE", image),
                ("HOOKRUN_E2E_TOOLS_IMAGE", tools),
            ];
            tests(arguments, &environment)
        }
        None => own(arguments),
    }
}

/// On the cluster of the repository.
fn own(arguments: &Arguments) -> Result<()> {
    let stood = cluster()
        .arg("status")
        .output()
        .is_ok_and(|output| output.status.success());
    // First, since it says what this machine lacks.
    shell::run(cluster().args(["up", "--tier", "platform"]))?;
    let tested = image_and_tests(arguments);
    if !stood && !arguments.keep {
        let down = shell::run(cluster().arg("down"));
        return tested.and(down);
    }
    if stood {
        println!("the cluster was up before, and still is: cargo xtask cluster down");
    }
    tested
}

fn image_and_tests(arguments: &Arguments) -> Result<()> {
    let mut environment = vec![
        ("KUBECONFIG", standing().display().to_string()),
        ("HOOKRUN_E2E_GATEWAY", GATEWAY.to_owned()),
    ];
    if !arguments.debug_image {
        let name = concat!("dev.local/hookrun:", env!("CARGO_PKG_VERSION"));
        shell::run(cargo().args(["xtask", "image", "--name", name]))?;
        shell::run(cluster().args(["load", "target/image/hookrun.tar"]))?;
        environment.push(("HOOKRUN_E2E_IMAGE", name.to_owned()));
        environment.push((
            "HOOKRUN_EXECUTABLE",
            repository()
                .join("target/dist/hookrun")
                .display()
                .to_string(),
        ));
    }
    tests(arguments, &environment)
}

/// The kubeconfig of the own cluster, which its `status` tells to export.
fn standing() -> path::PathBuf {
    repository().join("target/cluster/standing/admin.kubeconfig")
}

/// `cargo xtask cluster`
fn cluster() -> std::process::Command {
    let mut command = cargo();
    command.args(["run", "--quiet", "--package", "control-plane", "--"]);
    command
}

fn tests(arguments: &Arguments, environment: &[(&str, String)]) -> Result<()> {
    let mut command = cargo();
    command
        .args(["test", "--quiet", "--package", "e2e", "--test", "e2e", "--"])
        .args(&arguments.rest);
    // Whatever else is set stands for nothing here.
    for name in [
        "HOOKRUN_E2E_IMAGE",
        "HOOKRUN_E2E_TOOLS_IMAGE",
        "HOOKRUN_E2E_KEEP",
    ] {
        command.env_remove(name);
    }
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    if arguments.keep {
        command.env("HOOKRUN_E2E_KEEP", "1");
    }
    shell::run(&mut command)
}
