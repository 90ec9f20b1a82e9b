//! What can be typed. The doc comments are the help texts.

pub(crate) mod common;
pub(crate) mod deliveries;
pub(crate) mod hooks;

use std::{net::IpAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueHint, builder::BoolishValueParser};
use flow::Options as FlowOptions;

/// Turns events into pipeline runs.
///
/// One event, one run, and you can always see why. Every option can also be given by the environment variable named
/// beside it.
#[derive(Debug, Parser)]
#[command(
    name = "hookrun",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Try it: `hookrun dev` in one terminal, `hookrun run examples/nightly-scan.json` in another."
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the flow function: the Artisan endpoints.
    ///
    /// A flow that is posted, stored under a key or known by its name becomes a Tekton PipelineRun. This is what the
    /// Knative Service `hookrun-flow` runs.
    Flow(FlowOptions),
    /// Serve the hook function: webhooks.
    ///
    /// What a provider sends to `/hooks/<namespace>/<name>` is proven, stored as a Delivery, and starts the runs that the
    /// Hook's rules decide on. This is what the Knative Service `hookrun-hook` runs.
    Hook(hook::Options),
    /// Serve the admission webhook: the API server asks it whether a Hook is right before it stores one.
    ///
    /// Whoever writes a Hook with a mistake is told at once. It speaks TLS, because the API server asks no other way. This
    /// is what the Deployment `hookrun-admission` runs.
    Admission(admission::Options),
    /// Serve every function on one port, with a Kubernetes API of its own.
    ///
    /// Nothing but this executable is needed: objects are kept as YAML files in a folder, and
    /// `kubectl --server http://127.0.0.1:8080` reads them. Nothing executes the runs. With --kubeconfig or --context on
    /// the command line, or in a pod, the real cluster is used instead.
    ///
    /// The options are those of `flow`, except that without being told otherwise
    ///
    /// - it listens on this machine only, and asks for no password there;
    ///
    /// - all namespaces are allowed;
    ///
    /// - flows are looked up in the folder (`<folder>/flows/<key>.json`), unless --flow-store or an Onix server is given;
    ///
    /// - logs are text, and only warnings and errors;
    ///
    /// - KUBECONFIG, HOOKRUN_CONTEXT and ~/.kube/config are ignored: a first try must not reach production.
    Dev(Dev),
    /// Print the Kubernetes objects that a flow becomes.
    ///
    /// YAML goes to standard output. What is wrong with the document goes to standard error with its place, and the exit
    /// code is 1.
    Convert(Convert),
    /// Post a flow and follow its run to the end.
    ///
    /// The exit code is the run's verdict: 0 succeeded, 1 failed, cancelled or deleted, 2 it could not be started, 3 it had
    /// not ended when the time was over, 4 it was created but cannot be followed.
    Run(Run),
    /// Fetch a large payload inside a run; the first step of such a run calls it, and the Task `hookrun-fetch`.
    Fetch(Fetch),
    /// Delete payloads from the object store whose time is over; with --deliveries, also maintain Hooks and Deliveries.
    ///
    /// Does a bounded amount of work and ends; the CronJob `hookrun-sweep` calls it. Two at once do no harm.
    Sweep(Sweep),
    /// Serve the sweep: a CloudEvent at `/` starts one.
    ///
    /// This is what the Knative Service `hookrun-sweep` runs, for a PingSource. What the event says means nothing.
    Sweeper(Sweeper),
    /// Serve a dead letter sink: CloudEvents at `/` are logged, and counted.
    ///
    /// This is what the Knative Service `hookrun-dead-letters` runs, for the Broker. An event's data is neither logged nor
    /// kept.
    DeadLetters(DeadLetters),
    /// Write, try, explain, test and list Hooks.
    Hooks {
        /// What to do.
        #[command(subcommand)]
        command: hooks::Hooks,
    },
    /// List, show, replay and follow Deliveries: what became of events.
    Deliveries {
        /// What to do.
        #[command(subcommand)]
        command: deliveries::Deliveries,
    },
    /// Print a completion script for a shell.
    ///
    /// For bash: `source <(hookrun completions bash)`.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write the generated files of the repository.
    #[command(hide = true)]
    Generate {
        /// Where the repository is.
        folder: PathBuf,
    },
}

/// `hookrun dev`
#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// Folder of the objects, and of the flows that can be run by key (`flows/<key>.json`).
    #[arg(long, env = "HOOKRUN_FOLDER", value_name = "FOLDER", default_value = ".hookrun", value_hint = ValueHint::DirPath)]
    pub(crate) folder: PathBuf,

    /// Address to listen on. One that other machines reach needs a password, and does not serve the Kubernetes API.
    #[arg(
        long,
        env = "HOOKRUN_ADDRESS",
        value_name = "IP",
        default_value = "127.0.0.1"
    )]
    pub(crate) address: IpAddr,

    #[command(flatten)]
    pub(crate) flow: FlowOptions,

    #[command(flatten)]
    pub(crate) hooks: hook::HookOptions,

    #[command(flatten)]
    pub(crate) sweep: hook::SweepOptions,

    /// Time between two sweeps over the Deliveries of the Kubernetes API that is served here.
    #[arg(long, env = "HOOKRUN_SWEEP_INTERVAL", value_name = "TIME", default_value = "5s", value_parser = units::duration)]
    pub(crate) sweep_interval: std::time::Duration,
}

/// `hookrun convert`
#[derive(Debug, Args)]
pub(crate) struct Convert {
    /// The format of the file.
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(flows::Format::ALL.iter().map(|format| format.to_string())))]
    pub(crate) format: String,

    /// The file; `-` is standard input.
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,

    /// Namespace of the objects, instead of the one that the document names.
    #[arg(long, short, env = "HOOKRUN_NAMESPACE", value_name = "NAME")]
    pub(crate) namespace: Option<String>,

    /// The event's identity, from which the run's name is derived.
    #[arg(
        long,
        env = "HOOKRUN_EVENT",
        value_name = "TEXT",
        default_value = "convert"
    )]
    pub(crate) event: String,

    /// A file with the event's payload, as it comes with a run by key.
    #[arg(long, env = "HOOKRUN_PAYLOAD", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) payload: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) settings: cluster::RunOptions,
}

/// `hookrun run`
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The flow, in JSON; `-` is standard input.
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,

    /// Where the flow function is.
    #[arg(long, env = "HOOKRUN_URL", value_name = "URL", default_value = "http://127.0.0.1:8080", value_hint = ValueHint::Url)]
    pub(crate) url: String,

    /// User name for the flow function.
    #[arg(
        long,
        env = "HOOKRUN_USERNAME",
        value_name = "NAME",
        default_value = "admin"
    )]
    pub(crate) username: String,

    /// File with the password for the flow function; HOOKRUN_PASSWORD may hold it instead.
    #[arg(long, env = "HOOKRUN_PASSWORD_FILE", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) password_file: Option<PathBuf>,

    /// Identity of the event: posting it again under the same one starts nothing new.
    #[arg(long, env = "HOOKRUN_IDEMPOTENCY_KEY", value_name = "TEXT")]
    pub(crate) idempotency_key: Option<String>,

    /// Do not follow the run; end when it has been created.
    #[arg(long, env = "HOOKRUN_DETACH", value_parser = BoolishValueParser::new())]
    pub(crate) detach: bool,

    /// Seconds to wait for the run's end.
    #[arg(
        long,
        env = "HOOKRUN_TIMEOUT",
        value_name = "SECONDS",
        default_value_t = 3600
    )]
    pub(crate) timeout: u64,

    #[command(flatten)]
    pub(crate) connection: cluster::Connection,
}

/// `hookrun fetch`
#[derive(Debug, Args)]
pub(crate) struct Fetch {
    #[command(flatten)]
    pub(crate) options: store::FetchOptions,
}

/// `hookrun sweep`
#[derive(Debug, Args)]
pub(crate) struct Sweep {
    #[command(flatten)]
    pub(crate) store: store::PayloadStoreOptions,

    /// Objects that one sweep deletes at most.
    #[arg(
        long,
        env = "HOOKRUN_SWEEP_LIMIT",
        value_name = "NUMBER",
        default_value_t = 10_000
    )]
    pub(crate) limit: usize,

    /// Also finish Deliveries that a crash or a quota left, delete those past their retention, and check every Hook.
    /// Needs a cluster.
    #[arg(long, env = "HOOKRUN_SWEEP_DELIVERIES", value_parser = BoolishValueParser::new())]
    pub(crate) deliveries: bool,

    #[command(flatten)]
    pub(crate) address: hook::Address,

    #[command(flatten)]
    pub(crate) takeover: hook::Takeover,

    #[command(flatten)]
    pub(crate) bounds: hook::SweepOptions,

    /// How runs are made of flows that are looked up by the sweep.
    #[command(flatten)]
    pub(crate) run: cluster::RunOptions,

    /// Where they are.
    #[command(flatten)]
    pub(crate) flow_store: store::FlowStoreOptions,

    #[command(flatten)]
    pub(crate) policy: cluster::PolicyOptions,

    #[command(flatten)]
    pub(crate) connection: cluster::Connection,

    #[command(flatten)]
    pub(crate) patience: cluster::Patience,
}

/// `hookrun sweeper`
#[derive(Debug, Args)]
pub(crate) struct Sweeper {
    #[command(flatten)]
    pub(crate) server: runtime::Options,

    #[command(flatten)]
    pub(crate) sweep: Sweep,
}

/// `hookrun dead-letters`
#[derive(Debug, Args)]
pub(crate) struct DeadLetters {
    #[command(flatten)]
    pub(crate) server: runtime::Options,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_option_has_an_environment_variable() {
        fn lacking(command: &clap::Command, found: &mut Vec<String>) {
            for argument in command.get_arguments() {
                let built_in = ["help", "version"].contains(&argument.get_id().as_str());
                if !argument.is_positional() && !built_in && argument.get_env().is_none() {
                    found.push(format!("{} --{}", command.get_name(), argument.get_id()));
                }
            }
            for child in command.get_subcommands() {
                lacking(child, found);
            }
        }
        let mut root = Cli::command();
        root.build();
        let mut found = Vec::new();
        lacking(&root, &mut found);
        assert_eq!(found, Vec::<String>::new());
    }
}
