//! Webhooks: an event comes in, is proven, stored and decided on, and its runs are started.
//!
//! Which event comes in: whatever a provider sends to `/hooks/<namespace>/<name>`. What goes out: one Delivery per event,
//! which says what was decided and what became of it, and one PipelineRun per rule of the Hook that matches. What a
//! provider's proof, identity and payload are says package `providers`; what a Hook decides says package `hooks`.
//!
//! It keeps no state between events that matters, and knows no other function.
//!
//! In reading order: `service` is the way of one request, `commit` stores an event exactly once, `carry` starts what was
//! decided, `sweep` finishes what was left.

mod answer;
mod carry;
mod commit;
mod error;
mod flow;
mod handler;
mod keys;
mod known;
mod notes;
mod options;
mod payload;
mod quota;
mod record;
mod registry;
mod replay;
pub mod resource;
mod rights;
mod service;
mod status;
mod sweep;

use std::sync::Arc;

use cluster::{Patience, Policy, RunOptions};
use jiff::Timestamp;
use runtime::{Limits, auth::KeySource, metrics::Metrics};
use store::{FlowStore, PayloadStore};

pub use error::{ENCODED, KINDS, NOT_STORED, PAYLOAD, SHARE};
pub use handler::router;
pub use options::{Error, HookOptions, Options, SweepOptions, Takeover};
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
    /// Where flows are looked up by key, and how their runs are made; `None` where no event comes in.
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
        registry: registry::Registry::new(client.clone(), patience, limits.requests),
        rights: rights::Rights::default(),
        flows: flows.map(|(store, options)| flow::Flows::new(store, &options)),
        keys: keys::Keys::new(cluster_keys, web_keys),
        clock,
        body_bytes: options
            .hook_body_bytes
            .min(limits.memory_bytes / runtime::body::COPIES),
        takeover: options.takeover.hook_takeover,
        client,
        patience,
        policy,
        payloads,
        metrics,
    })
}
