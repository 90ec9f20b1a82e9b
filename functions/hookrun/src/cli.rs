//! What can be typed. The doc comments are the help texts.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueHint};
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
#[expect(clippy::large_enum_variant, reason = "made once, by the parser")]
pub(crate) enum Command {
    /// Serve the flow function: the Artisan endpoints.
    ///
    /// A flow that is posted, stored under a key or known by its name becomes a Tekton PipelineRun. This is what the
    /// Knative Service `hookrun-flow` runs.
    Flow(FlowOptions),
    /// Serve every function on one port, with a Kubernetes API of its own.
    ///
    /// Nothing but this executable is needed: objects are kept as YAML files in a folder, and
    /// `kubectl --server http://127.0.0.1:8080` reads them. Nothing executes the runs. With --kubeconfig on the command
    /// line, or in a pod, the real cluster is used instead.
    Dev(Dev),
    /// Print the Kubernetes objects that a flow becomes.
    ///
    /// YAML goes to standard output. What is wrong with the document goes to standard error with its place, and the exit
    /// code is 1.
    Convert(Convert),
    /// Post a flow and follow its run to the end.
    ///
    /// The exit code is the run's verdict: 0 succeeded, 1 failed or cancelled, 2 it could not be started, 3 it had not
    /// ended when the time was over.
    Run(Run),
    /// Fetch a large payload inside a run; the first step of such a run calls it.
    Fetch(Fetch),
    /// Delete payloads from the object store whose time is over.
    ///
    /// Does a bounded amount of work and ends; the CronJob `hookrun-sweep` calls it. Two at once do no harm.
    Sweep(Sweep),
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

    #[command(flatten)]
    pub(crate) flow: FlowOptions,
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
    #[arg(long, short, value_name = "NAME")]
    pub(crate) namespace: Option<String>,

    /// The event's identity, from which the run's name is derived.
    #[arg(long, value_name = "TEXT", default_value = "convert")]
    pub(crate) event: String,

    /// A file with the event's payload, as it comes with a run by key.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) payload: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) settings: flow::RunOptions,
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
    #[arg(long, value_name = "TEXT")]
    pub(crate) idempotency_key: Option<String>,

    /// Do not follow the run; end when it has been created.
    #[arg(long)]
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
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }
}
