//! Writing to Kubernetes: objects are applied, and a run is started exactly once.
//!
//! Every function that makes runs does it through this package, so that the protocol that makes "one event, one run"
//! true exists once. All requests are repeatable by construction (server-side apply, creation under a derived name,
//! a patch that tests before it writes), so they are repeated here, within a deadline, when the API server stumbles.
//!
//! It never watches, keeps no state between events, and knows neither HTTP status codes of our own answers nor any flow
//! format. It lists only for a sweep, a page at a time; what an event needs is read by name.

mod api;
mod apply;
mod connect;
mod fault;
mod objects;
mod planned;
mod policy;
mod run_options;
mod start;
mod stored;

pub use api::{Cluster, Patience};
pub use connect::{ConnectError, Connection, Files, connect};
pub use fault::{Fault, Kind};
pub use objects::{AsRead, Listing, Page, Part, Resource, SECRETS};
pub use planned::Planned;
pub use policy::{Denied, Namespaces, Policy, PolicyOptions};
pub use run_options::RunOptions;
pub use start::Outcome;
