//! Manifests and image say what the executable understands: arguments, variables, ports, users.

mod accounts;
mod admission;
pub(crate) mod build;
mod containers;
mod limits;
mod objects;
mod ways;
mod whole;

use crate::case::Case;

/// The cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    [
        whole::cases(),
        containers::cases(),
        limits::cases(),
        ways::cases(),
        accounts::cases(),
        admission::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
