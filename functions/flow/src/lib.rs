//! The Artisan endpoints: a flow comes in, a PipelineRun runs.
//!
//! Which event comes in: a flow document (`POST /flow`), a payload for a stored flow (`POST /flow/key/…`), the name of a
//! flow that the cluster knows (`POST /flow/name/…`); as plain HTTP or as a CloudEvent. What goes out: the flow's latest
//! objects and one PipelineRun. It is a function of its own because its callers' contract is (`artisan-runner.md` §1).
//!
//! It keeps no state between events and knows no other function.

mod error;
mod handler;
mod openapi;
mod options;
mod policy;
mod service;

use std::sync::Arc;

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
    let own = client.default_namespace().to_owned();
    Ok(Service {
        patience: options.patience,
        policy: options.policy.policy(&own),
        settings: options.run.settings(),
        lowering: options.run.lowering(),
        flows: options
            .flow_store
            .open(credentials, store::connected(client.clone())),
        payloads: options.payload_store.open(credentials)?.map(Arc::new),
        client,
    })
}
