//! Webhooks: an event comes in, is proven, stored and decided on, and its runs are started.
//!
//! Which event comes in: whatever a provider sends to `/hooks/<namespace>/<name>`. What goes out: one Delivery per event,
//! which says what was decided and what became of it, and one PipelineRun per rule of the Hook that matches. What a
//! provider's proof, identity and payload are says package `providers`; what a Hook decides says package `hooks`.
//!
//! It keeps no state between events that matters, and knows no other function.
//!
//! In reading order: `service` is the way of one request, `decide` asks the rules of its Hook, `take` has it stored (package
//! `deliveries`), `sweep` finishes what was left.

mod answer;
mod arrival;
mod decide;
mod error;
mod handler;
mod keys;
mod known;
mod notes;
mod options;
mod quota;
mod registry;
mod replay;
mod service;
mod shares;
mod status;
mod strangers;
mod sweep;
mod take;
mod warning;

use std::sync::Arc;

use cluster::{Patience, Policy, RunOptions};
use deliveries::{Deliveries, Flows, Rights};
use jiff::Timestamp;
use runtime::{Limits, auth::KeySource, metrics::Metrics};
use store::{FlowStore, PayloadStore};

pub use error::{FORMAT, KINDS, NOT_STORED, PAYLOAD, SHARE};
pub use handler::router;
pub use options::{Address, Error, HookOptions, Options, SweepOptions, Takeover};
pub use replay::replay;
pub use service::Service;
pub use sweep::Swept;

/// What the function needs of the process that it is in.
pub struct Surroundings {
    /// The cluster's client.
    pub client: kube::Client,
    /// How long the API server may take.
    pub patience: Patience,
    /// What may be written where.
    pub policy: Policy,
    /// Where payloads go that the cluster does not hold; `None` refuses them.
    pub payloads: Option<Arc<PayloadStore>>,
    /// Where flows are looked up by key, and how their runs are made; `None` leaves them to others.
    pub flows: Option<(Arc<dyn FlowStore>, RunOptions)>,
    /// Where the keys are published that tokens of the cluster are signed with: the API server.
    pub cluster_keys: Arc<dyn KeySource>,
    /// Where other keys are published: it is asked for URLs that this package knows, and for no others.
    pub web_keys: Arc<dyn KeySource>,
    /// Tells the time.
    pub clock: fn() -> Timestamp,
    /// What a peer may cost.
    pub limits: Limits,
    /// Where events are counted.
    pub metrics: Arc<Metrics>,
}

/// The service that the options describe.
///
/// # Errors
/// Options that contradict each other.
pub fn service(options: &HookOptions, surroundings: Surroundings) -> Result<Service, Error> {
    let Surroundings {
        client,
        patience,
        policy,
        payloads,
        flows,
        cluster_keys,
        web_keys,
        clock,
        limits,
        metrics,
    } = surroundings;
    options.takeover.check(patience)?;
    Ok(Service {
        registry: registry::Registry::new(
            client.clone(),
            patience,
            &limits,
            options.address.hook_url.clone(),
        ),
        workers: decide::Workers::new(),
        deliveries: Deliveries {
            rights: Rights::default(),
            flows: flows
                .map(|(store, options)| Arc::new(Flows::new(store, &options, policy.clone()))),
            payloads,
            takeover: options.takeover.hook_takeover,
        },
        keys: keys::Keys::new(cluster_keys, web_keys),
        clock,
        body_bytes: options
            .hook_body_bytes
            .min((limits.memory_bytes - limits.reserve()) / runtime::body::COPIES),
        client,
        patience,
        policy,
        metrics,
    })
}
