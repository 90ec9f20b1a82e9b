//! Measures Hookrun: each figure beside its limit, and beside a bare peer that does the same in the same minute on the same
//! API server.
//!
//! Measuring only: nothing is asserted, and the exit code tells no more than whether everything could be measured. What is
//! compared runs in turns, a few seconds each, so that noise hits both. `docs/performance.md` says how to read it.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the table goes to standard output, progress to standard error"
)]

mod conversion;
mod events;
mod hooks;
mod platform;
mod process;
mod recipe;
mod record;
mod stored;
mod table;
mod wire;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use clap::Parser;
use control_plane::{Cluster, Options, Programs, Tier};

use table::Table;

/// Measure Hookrun beside its limits and beside bare peers.
#[derive(Debug, Parser)]
#[command(name = "bench", max_term_width = 100)]
struct Arguments {
    /// The executable, as it is released.
    #[arg(long, env = "HOOKRUN_EXECUTABLE", value_name = "FILE")]
    hookrun: PathBuf,

    /// The bare server (package bare-server), built in the same way.
    #[arg(long, value_name = "FILE")]
    bare: PathBuf,

    /// Seconds of one turn of a measurement of throughput.
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    turn: f64,

    /// Turns of each side.
    #[arg(long, value_name = "NUMBER", default_value_t = 3)]
    turns: usize,

    /// Connections at once.
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', default_values_t = [1, 16, 64])]
    connections: Vec<usize>,

    /// Events before memory is read again.
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000)]
    events: usize,

    /// Flows stored, where their number should not matter.
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000)]
    flows: usize,

    /// Hooks stored, where their number should not matter.
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000)]
    hooks: usize,

    /// Deliveries that are swept; a hundred of each Hook.
    #[arg(long, value_name = "NUMBER", default_value_t = 100_000)]
    deliveries: usize,

    /// The image that `cargo xtask image` makes, for the part `platform`.
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,

    /// Starts from zero of each side, for the part `platform`; each takes more than a minute.
    #[arg(long, value_name = "NUMBER", default_value_t = 5)]
    starts: usize,

    /// Measure only these; all but `platform` if none is given.
    #[arg(value_enum)]
    only: Vec<Part>,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Size, start and memory of the process.
    Process,
    /// Documents to objects, without a cluster.
    Conversion,
    /// Runs per second, and latency at rest.
    Events,
    /// Time per event with few and with many flows.
    Stored,
    /// Webhooks: runs per second, few and many Hooks, forged and large requests, the sweep.
    Hooks,
    /// The function on Knative behind Kourier, and Tekton Triggers beside it: on the cluster that `cargo xtask cluster up --tier
    /// comparison` starts, which needs root. Only when it is named.
    Platform,
}

impl Part {
    /// Those that need a control plane of their own.
    const ON_CONTROL_PLANE: [Self; 4] = [Self::Process, Self::Events, Self::Stored, Self::Hooks];
}

impl Arguments {
    fn turn(&self) -> Duration {
        Duration::from_secs_f64(self.turn)
    }

    /// All turns of one side together.
    fn measured(&self) -> Duration {
        Duration::from_secs_f64(self.turn * self.turns as f64)
    }

    fn wants(&self, part: Part) -> bool {
        self.only.contains(&part) || self.only.is_empty() && part != Part::Platform
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match tokio::runtime::Runtime::new()
        .context("no runtime")
        .and_then(|runtime| runtime.block_on(run(&arguments)))
    {
        Ok(table) => {
            println!("{}\n\n{table}", machine());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:?}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<Table> {
    // Whoever installed another one before has the same in mind.
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let mut table = Table::default();
    if arguments.wants(Part::Conversion) {
        conversion::measure(&mut table)?;
    }
    if arguments.wants(Part::Platform) {
        platform::measure(&mut table, arguments).await?;
    }
    if !Part::ON_CONTROL_PLANE
        .iter()
        .any(|part| arguments.wants(*part))
    {
        return Ok(table);
    }
    let programs = Programs::for_tier(Tier::ControlPlane)?;
    // Tekton's admission is in the way of every write, its controller would only take the processors away.
    let cluster = Cluster::start(&programs, Options::AdmissionOnly).await?;
    // Events of every kind are stored as Deliveries.
    hooks::install(&cluster).await?;
    if arguments.wants(Part::Process) {
        process::measure(&mut table, arguments, &cluster).await?;
    }
    if arguments.wants(Part::Events) {
        events::measure(&mut table, arguments, &cluster).await?;
    }
    if arguments.wants(Part::Stored) {
        stored::measure(&mut table, arguments, &cluster).await?;
    }
    if arguments.wants(Part::Hooks) {
        hooks::measure(&mut table, arguments, &cluster).await?;
    }
    Ok(table)
}

/// The machine, on one line.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':'))
            .map(|(_, value)| value.trim().to_owned())
            .unwrap_or_default()
    };
    let cpu = field(&read("/proc/cpuinfo"), "model name");
    let memory: u64 = field(&read("/proc/meminfo"), "MemTotal")
        .trim_end_matches(" kB")
        .parse()
        .unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!(
        "{cores} cores of {cpu}, {} GiB, Linux {}; everything on this one machine",
        memory >> 20,
        kernel.trim()
    )
}
