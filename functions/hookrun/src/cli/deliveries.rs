//! What can be typed after `hookrun deliveries`.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum, builder::BoolishValueParser};

use super::common::{Objects, Output};

/// The commands about Deliveries.
#[derive(Debug, Subcommand)]
pub(crate) enum Deliveries {
    /// List Deliveries, the newest first.
    #[command(
        after_help = "Example:\n  hookrun deliveries list github --outcome filtered --since 1h"
    )]
    List(List),
    /// Show what is on record of an event: what came, what each rule said and why, and the run.
    #[command(
        after_help = "Examples:\n  hookrun deliveries show github-k3v9x0q2ab\n  \
        hookrun deliveries show github-k3v9x0q2ab --payload > payload.json"
    )]
    Show(Show),
    /// Run events again: each gets a new Delivery that points at the old one, and is decided by the Hook of today.
    ///
    /// The new Delivery says what is to be started before anything is; the sweep starts it, once, also if this command
    /// is ended meanwhile. Replaying twice starts two runs, unless both have the same --id.
    ///
    /// The exit code is 0 if all were replayed (or would be, or were before), 1 if one was not, was deleted while it was
    /// waited for, or the cluster could not be asked, 2 if there is nothing to replay, since a name means no Delivery or the
    /// options select none, and also if the options are wrong, 3 if they had not ended when the time of --wait was over.
    #[command(
        after_help = "Examples:\n  hookrun deliveries replay github-k3v9x0q2ab --wait 5m\n  \
        hookrun deliveries replay --hook github --since 3h --until 1h --outcome failed --dry-run"
    )]
    Replay(Replay),
    /// Follow Deliveries as they come, until interrupted.
    Tail(Tail),
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Outcome {
    /// Stored, and not carried out yet.
    Received,
    /// A run was started.
    Created,
    /// Nothing was to be started.
    Filtered,
    /// A run could not be started.
    Failed,
}

/// Which Deliveries are meant.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Selection {
    /// Only with this outcome.
    #[arg(
        long,
        env = "HOOKRUN_OUTCOME",
        value_name = "OUTCOME",
        ignore_case = true
    )]
    pub(crate) outcome: Option<Outcome>,

    /// Only of exactly this type, as the provider calls it; a `*` at the end stands for anything.
    #[arg(long, env = "HOOKRUN_EVENT_TYPE", value_name = "TYPE")]
    pub(crate) event: Option<String>,

    /// Only as old as this at most, like 30m or 24h.
    #[arg(long, env = "HOOKRUN_SINCE", value_name = "TIME", value_parser = units::duration)]
    pub(crate) since: Option<Duration>,
}

/// Which of the Deliveries that there are already are meant.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Range {
    #[command(flatten)]
    pub(crate) selection: Selection,

    /// Only as old as this at least, like 10m or 1h.
    #[arg(long, env = "HOOKRUN_UNTIL", value_name = "TIME", value_parser = units::duration)]
    pub(crate) until: Option<Duration>,
}

/// `hookrun deliveries list`
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only of this Hook.
    pub(crate) hook: Option<String>,

    #[command(flatten)]
    pub(crate) range: Range,

    /// How many of them at most, the newest ones. 100 for people if not given, and all for programs.
    #[arg(long, env = "HOOKRUN_LIST_LIMIT", value_name = "NUMBER")]
    pub(crate) limit: Option<usize>,

    /// Those of all namespaces.
    #[arg(long, short = 'A', env = "HOOKRUN_ALL_NAMESPACES", value_parser = BoolishValueParser::new())]
    pub(crate) all_namespaces: bool,

    #[command(flatten)]
    pub(crate) output: Output,

    #[command(flatten)]
    pub(crate) objects: Objects,
}

/// `hookrun deliveries show`
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Its name, or `namespace/name`.
    #[arg(value_name = "DELIVERY")]
    pub(crate) name: String,

    /// Print the payload alone, byte for byte.
    #[arg(long, env = "HOOKRUN_PAYLOAD_ONLY", value_parser = BoolishValueParser::new())]
    pub(crate) payload: bool,

    #[command(flatten)]
    pub(crate) output: Output,

    #[command(flatten)]
    pub(crate) store: store::PayloadPlaceOptions,

    #[command(flatten)]
    pub(crate) objects: Objects,
}

/// `hookrun deliveries replay`
#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// Names of Deliveries.
    #[arg(value_name = "DELIVERY", required_unless_present = "hook", conflicts_with_all = ["hook", "outcome", "event", "since", "until", "again"])]
    pub(crate) names: Vec<String>,

    /// All of this Hook that the other options select; --since is needed then.
    #[arg(long, env = "HOOKRUN_HOOK", value_name = "NAME", requires = "since")]
    pub(crate) hook: Option<String>,

    #[command(flatten)]
    pub(crate) range: Range,

    /// With --hook, also those that are replays themselves, and those of which a replay was started already.
    #[arg(long, env = "HOOKRUN_AGAIN", value_parser = BoolishValueParser::new())]
    pub(crate) again: bool,

    /// Only say what would be started.
    #[arg(long, env = "HOOKRUN_DRY_RUN", value_parser = BoolishValueParser::new())]
    pub(crate) dry_run: bool,

    /// Identity of this replay: repeating the command with the same one starts nothing new, and shows what became of the
    /// replays. Made up if not given.
    #[arg(long, env = "HOOKRUN_REPLAY_ID", value_name = "TEXT")]
    pub(crate) id: Option<String>,

    /// Wait until the sweep has started them, at most this long, like 5m. It comes every two minutes on a cluster, and
    /// every five seconds with `hookrun dev`.
    #[arg(long, env = "HOOKRUN_WAIT", value_name = "TIME", value_parser = units::duration)]
    pub(crate) wait: Option<Duration>,

    #[command(flatten)]
    pub(crate) output: Output,

    #[command(flatten)]
    pub(crate) store: store::PayloadPlaceOptions,

    #[command(flatten)]
    pub(crate) objects: Objects,
}

/// `hookrun deliveries tail`
#[derive(Debug, Args)]
pub(crate) struct Tail {
    /// Only of this Hook.
    pub(crate) hook: Option<String>,

    #[command(flatten)]
    pub(crate) selection: Selection,

    /// Those of all namespaces.
    #[arg(long, short = 'A', env = "HOOKRUN_ALL_NAMESPACES", value_parser = BoolishValueParser::new())]
    pub(crate) all_namespaces: bool,

    #[command(flatten)]
    pub(crate) output: Output,

    #[command(flatten)]
    pub(crate) objects: Objects,
}
