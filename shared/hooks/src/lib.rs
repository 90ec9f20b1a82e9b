//! Hooks and Deliveries: what a webhook URL is configured to do, what is decided about an event, and the record of it.
//!
//! [`Hook`] and [`Delivery`] are the custom resources of the group [`GROUP`], the one source of their
//! CustomResourceDefinitions.
//!
//! There is no async, no I/O, no clock, no randomness, no environment and no logging in here: the same Hook and the
//! same request give the same decision, for ever.

pub mod check;
pub mod crd;
pub mod decide;
pub mod delivery;
pub mod expression;
pub mod hook;
pub mod name;
pub mod object;
pub mod retention;
pub mod run;

pub use check::{Checked, Problem, check, settings};
pub use crd::crds;
pub use decide::{Ids, Seen, decide};
pub use delivery::{Delivery, Outcome};
pub use hook::{Hook, HookSpec, HookStatus, Rule};
pub use name::{delivery_name, run_name};
pub use retention::{Kept, retain};

/// API group of our custom resources.
pub const GROUP: &str = "hookrun.dev";

/// Version of our custom resources.
pub const VERSION: &str = "v1alpha1";

/// Group and version, as objects say it.
pub const API_VERSION: &str = "hookrun.dev/v1alpha1";
