//! The Artisan endpoints: a flow comes in, a PipelineRun runs.
//!
//! Which event comes in: a flow document (`POST /flow`), a payload for a stored flow (`POST /flow/key/…`), the name of a
//! flow that the cluster knows (`POST /flow/name/…`); as plain HTTP or as a CloudEvent. What goes out: the flow's latest
//! objects, one Delivery and one PipelineRun, both of the same name. It is a function of its own because its callers' contract is (`artisan-runner.md` §1).
//!
//! It keeps no state between events and knows no other function.

mod error;
mod handler;
mod openapi;
mod options;
mod service;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use deliveries::{Deliveries, Flows, Rights};

pub use error::{Error, Route};
pub use handler::{api_router, router};
pub use openapi::document as openapi;
pub use options::Options;
pub use service::{Cause, Service, Started, Target};

/// Response header that names the run, as `<namespace>/<name>`.
pub const RUN_HEADER: &str = "hookrun-run";

/// The service that the options describe, on the given cluster.
///
/// # Errors
/// A store that cannot work as configured.
pub fn service(
    options: &Options,
    client: kube::Client,
    credentials: &store::Credentials,
) -> Result<Service, store::Error> {
    let policy = options.policy.policy(client.default_namespace());
    let flow_store = &options.flow_store;
    let store = flow_store.open(credentials, store::connected(client.clone()));
    let flows = Arc::new(Flows::new(store, &options.run, policy.clone()));
    Ok(Service {
        patience: options.patience,
        policy,
        deliveries: Deliveries {
            rights: Rights::default(),
            payloads: options.payload_store.open(credentials)?.map(Arc::new),
            flows: Some(Arc::clone(&flows)),
            takeover: Duration::ZERO,
        },
        flows,
        clock: jiff::Timestamp::now,
        counted: Mutex::default(),
        client,
    })
}
