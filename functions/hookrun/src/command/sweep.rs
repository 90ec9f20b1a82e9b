//! `hookrun sweep`: payloads whose time is over are deleted from the bucket, and Deliveries are looked after, once.

use std::{process::ExitCode, sync::Arc, time::SystemTime};

use runtime::{Limits, metrics::Metrics};
use store::PayloadStore;

use super::{say, serve};
use crate::cli;

/// Runs the command.
pub(crate) async fn run(options: cli::Sweep) -> anyhow::Result<ExitCode> {
    let metrics = Arc::new(Metrics::new()?);
    let done = Sweeper::open(options, &metrics).await?.sweep().await;
    done.told().iter().for_each(|line| say(line));
    let failures = done.failures();
    failures.iter().for_each(|line| say(line));
    Ok(if failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A sweep that can be made any number of times.
pub(crate) struct Sweeper {
    options: cli::Sweep,
    store: Option<Arc<PayloadStore>>,
    hooks: Option<hook::Service>,
}

/// What a sweep did; `None` where it is not configured.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// To payloads in the object store.
    pub(crate) payloads: Option<Result<store::Swept, store::Error>>,
    /// To Deliveries and Hooks.
    pub(crate) deliveries: Option<Result<hook::Swept, cluster::Fault>>,
}

impl Sweeper {
    /// Nothing is connected before the first sweep.
    ///
    /// # Errors
    /// A store or a cluster that cannot work as configured.
    pub(crate) async fn open(options: cli::Sweep, metrics: &Arc<Metrics>) -> anyhow::Result<Self> {
        let store = options.store.open(&store::Credentials::from_env())?;
        let store = store.map(Arc::new);
        let hooks = match options.deliveries {
            true => Some(hooks(&options, store.clone(), metrics).await?),
            false => None,
        };
        Ok(Self {
            options,
            store,
            hooks,
        })
    }

    /// One bounded sweep of all that is configured; what fails does not keep the rest from being done.
    pub(crate) async fn sweep(&self) -> Done {
        let mut done = Done::default();
        if let Some(hooks) = &self.hooks {
            let now = jiff::Timestamp::now();
            done.deliveries = Some(hooks.sweep(&self.options.bounds, now).await);
        }
        if let Some(store) = &self.store {
            let retention = self.options.store.payload_retention;
            let swept = store.sweep(SystemTime::now(), retention, self.options.limit);
            done.payloads = Some(swept.await);
        }
        done
    }
}

/// The hook function, for its sweep alone: it reads no body.
async fn hooks(
    options: &cli::Sweep,
    payloads: Option<Arc<PayloadStore>>,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<hook::Service> {
    let client = cluster::connect(&options.connection).await?;
    let surroundings = hook::Surroundings {
        patience: options.patience,
        policy: options.policy.policy(client.default_namespace()),
        payloads,
        flows: Some((
            options.flow_store.open(
                &store::Credentials::from_env(),
                store::connected(client.clone()),
            ),
            options.run.clone(),
        )),
        cluster_keys: Arc::new(serve::ApiServer(client.clone())),
        web_keys: Arc::new(serve::Web),
        clock: jiff::Timestamp::now,
        limits: Limits::default(),
        metrics: Arc::clone(metrics),
        client,
    };
    let bounds = hook::HookOptions {
        hook_body_bytes: 0,
        address: options.address.clone(),
        takeover: options.takeover,
    };
    options.bounds.check(options.takeover)?;
    Ok(hook::service(&bounds, surroundings)?)
}

impl Done {
    /// What was done, a line for each kind.
    pub(crate) fn told(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut complete = true;
        match &self.deliveries {
            Some(Ok(swept)) => {
                complete &= swept.complete;
                lines.push(format!(
                    "looked at {} deliveries and {} hooks, finished {} deliveries, deleted {}, flagged {}, waiting {}",
                    swept.examined,
                    swept.hooks,
                    swept.finished,
                    swept.deleted,
                    swept.flagged,
                    swept.waiting
                ));
            }
            Some(Err(_)) => {}
            None => lines.push("deliveries are left alone (HOOKRUN_SWEEP_DELIVERIES)".to_owned()),
        }
        match &self.payloads {
            Some(Ok(swept)) => {
                complete &= swept.complete;
                lines.push(format!(
                    "looked at {} payloads, deleted {}",
                    swept.examined, swept.deleted
                ));
            }
            Some(Err(_)) => {}
            None => lines.push(
                "no payload store is configured (HOOKRUN_PAYLOAD_STORE), so there is nothing to sweep in it"
                    .to_owned(),
            ),
        }
        if !complete {
            lines.push("more is left; the next sweep goes on".to_owned());
        }
        lines
    }

    /// What could not be done, a line for each kind.
    pub(crate) fn failures(&self) -> Vec<String> {
        let deliveries = self.deliveries.as_ref().and_then(|swept| match swept {
            Err(fault) => Some(format!("deliveries cannot be swept: {fault}")),
            Ok(swept) => swept.failed.as_ref().map(|(count, why)| {
                format!("{count} deliveries or hooks could not be swept, the last because: {why}")
            }),
        });
        let payloads = self.payloads.as_ref().and_then(|swept| match swept {
            Err(error) => Some(format!("payloads cannot be swept: {error}")),
            Ok(swept) => swept.failed.as_ref().map(|(count, why)| {
                format!("{count} payloads could not be deleted, the last because: {why}")
            }),
        });
        deliveries.into_iter().chain(payloads).collect()
    }
}
