//! The record of an event: stored exactly once, carried out as it was decided.
//!
//! Every function that starts runs for events does it in here, so that an event of any kind has one Delivery, and is found
//! again by whoever goes on with it: the request, a redelivery after a crash, the sweep. What an event is and what is
//! decided about it say the functions; this is what happens from there on.
//!
//! It takes no event itself, keeps nothing between events that matters, and never decides anything twice.
//!
//! In reading order: `commit` stores an event exactly once, with the drawing; `carry` starts what was decided; `flow` looks
//! up what a flow consists of; `record` is the object, `payload` where its bytes are, `stores` how long is waited for them;
//! `wait` says when what could not be started is tried again, and ends what is not.

pub mod aside;
pub mod carry;
mod commit;
pub mod flow;
pub mod payload;
mod privileged;
pub mod record;
pub mod resource;
pub mod rights;
mod stores;
pub mod wait;

use std::{sync::Arc, time::Duration};

use store::PayloadStore;

pub use commit::{Error, Fresh, Stored, is_younger};
pub use flow::Flows;
pub use rights::Rights;

/// What storing and carrying out need beside the cluster.
pub struct Deliveries {
    /// Who may start runs.
    pub rights: Rights,
    /// Where large payloads are; `None` refuses them.
    pub payloads: Option<Arc<PayloadStore>>,
    /// Where flows are looked up; `None` leaves them to others.
    pub flows: Option<Arc<Flows>>,
    /// Age at which others take over what a Delivery has stored.
    pub takeover: Duration,
}
