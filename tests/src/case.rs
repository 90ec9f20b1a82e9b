//! Cases, and the run of all of them on one control plane, or in another world that they share.
//!
//! The output is that of `cargo test`, with its filters, `--list`, `--exact`, `--skip` and `--test-threads`.

use std::{pin::Pin, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Result, anyhow};
use control_plane::{Cluster, Options, Programs, Tier};
use libtest_mimic::{Arguments, Conclusion, Trial};
use tokio::{
    runtime::{Handle, Runtime},
    sync::RwLock,
};

use crate::function;

/// Futures stay on the thread of their case, so they need not be `Send`.
type Body<W> = Box<dyn FnOnce(Arc<W>) -> Pin<Box<dyn Future<Output = Result<()>>>> + Send>;

/// One test in a world `W`, which is a control plane unless told otherwise.
pub struct Case<W = Cluster> {
    name: String,
    limit: Duration,
    alone: bool,
    ignored: bool,
    body: Body<W>,
}

/// A case: its name, and what it does with the control plane. It has two minutes, unless told otherwise.
/// [`cases!`](crate::cases) makes the cases of a module from its functions; this is for those that are made in a loop.
pub fn case<F, R>(name: impl Into<String>, body: F) -> Case
where
    F: FnOnce(Arc<Cluster>) -> R + Send + 'static,
    R: Future<Output = Result<()>> + 'static,
{
    Case::of(name, body)
}

/// The cases of a module: async functions from `Arc<Cluster>` to `anyhow::Result<()>`, each named as in the module.
///
/// ```
/// use std::sync::Arc;
/// use control_plane::Cluster;
/// use system_tests::{case::Case, cases};
///
/// pub fn cases() -> Vec<Case> {
///     cases![the_api_server_tells_its_version]
/// }
///
/// async fn the_api_server_tells_its_version(cluster: Arc<Cluster>) -> anyhow::Result<()> {
///     let version = cluster.admin().apiserver_version().await?;
///     anyhow::ensure!(version.major == "1", "{version:?}");
///     Ok(())
/// }
/// # assert_eq!(cases().len(), 1);
/// ```
#[macro_export]
macro_rules! cases {
    ($($function:ident),* $(,)?) => {
        vec![$($crate::case::case(
            concat!(module_path!(), "::", stringify!($function)).trim_start_matches("system_tests::"),
            $function,
        )),*]
    };
}

impl<W> Case<W> {
    /// A case: its name, and what it does with the world. It has two minutes, unless told otherwise.
    pub fn of<F, R>(name: impl Into<String>, body: F) -> Self
    where
        F: FnOnce(Arc<W>) -> R + Send + 'static,
        R: Future<Output = Result<()>> + 'static,
    {
        Self {
            name: name.into(),
            limit: Duration::from_secs(120),
            alone: false,
            ignored: false,
            body: Box::new(move |world| Box::pin(body(world))),
        }
    }

    /// Fails it after another time.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs it while no other case runs: for cases that look at memory, or need the whole machine.
    #[must_use]
    pub fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// Shows it as ignored where it cannot be run; `--include-ignored` runs it all the same.
    #[must_use]
    pub fn ignored_if(mut self, impossible: bool) -> Self {
        self.ignored = impossible;
        self
    }
}

/// Runs the cases that the command line selects.
#[must_use]
pub fn run(cases: Vec<Case>) -> ExitCode {
    // Cases mostly wait for others, so there may be more of them at once than processors.
    let arguments = arguments(4);
    if arguments.list {
        return list(&arguments, cases).exit_code();
    }

    let runtime = Runtime::new().expect("a runtime");
    // Whoever installed another one before has the same in mind.
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let cluster = match runtime.block_on(prepare()) {
        Ok(cluster) => Arc::new(cluster),
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let conclusion = run_in(&cluster, &runtime, &arguments, cases);
    if conclusion.has_failed() {
        eprintln!(
            "logs, until the next start: {}",
            cluster.keep_logs().display()
        );
    }
    // The control plane ends before the process does, in its order.
    drop(cluster);
    runtime.shutdown_timeout(Duration::from_secs(1));
    conclusion.exit_code()
}

/// The arguments of the command line, and how many cases run at a time where they do not say it.
#[must_use]
pub fn arguments(at_once: usize) -> Arguments {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(at_once);
    arguments
}

/// Lists the cases that the arguments select; no world is needed for that.
pub fn list<W>(arguments: &Arguments, cases: Vec<Case<W>>) -> Conclusion {
    let cases = cases.into_iter();
    let list = cases.map(|case| Trial::test(case.name, || Ok(())).with_ignored_flag(case.ignored));
    libtest_mimic::run(arguments, list.collect())
}

/// Runs the cases that the arguments select in a world.
pub fn run_in<W: Send + Sync + 'static>(
    world: &Arc<W>,
    runtime: &Runtime,
    arguments: &Arguments,
    cases: Vec<Case<W>>,
) -> Conclusion {
    let machine = Arc::new(RwLock::new(()));
    let trials = cases
        .into_iter()
        .map(|case| trial(case, runtime.handle(), world, &machine))
        .collect();
    libtest_mimic::run(arguments, trials)
}

/// Builds what the cases run, and starts what they run against.
async fn prepare() -> Result<Cluster> {
    let programs = Programs::for_tier(Tier::ControlPlane)?;
    let build = tokio::task::spawn_blocking(function::build);
    let cluster = Cluster::start(&programs, Options::Whole).await?;
    // Every function stores its events as Deliveries.
    crate::hooks::install(&cluster).await?;
    build.await??;
    eprintln!(
        "control plane: ready after {:.1} s",
        cluster.ready_after().as_secs_f32()
    );
    Ok(cluster)
}

fn trial<W: Send + Sync + 'static>(
    case: Case<W>,
    runtime: &Handle,
    world: &Arc<W>,
    machine: &Arc<RwLock<()>>,
) -> Trial {
    let Case {
        name,
        limit,
        alone,
        ignored,
        body,
    } = case;
    let (runtime, world, machine) = (runtime.clone(), Arc::clone(world), Arc::clone(machine));
    Trial::test(name, move || {
        let run = async {
            let (_shared, _whole);
            if alone {
                _whole = machine.write().await;
            } else {
                _shared = machine.read().await;
            }
            tokio::time::timeout(limit, body(world))
                .await
                .unwrap_or_else(|_| Err(anyhow!("did not end within {limit:?}")))
        };
        runtime
            .block_on(run)
            .map_err(|error| format!("{error:#}").into())
    })
    .with_ignored_flag(ignored)
}
