//! Hooks and Deliveries on the real API server with Tekton's real admission: any provider's webhook becomes exactly one
//! run per rule, and the Delivery says why.

mod acceptance;
mod admission;
mod commands;
mod definitions;
mod examples;
mod hostile;
mod isolation;
mod kill;
mod large;
mod once;
mod posted;
mod rights;
mod rotation;
mod scene;
mod tasks;
mod vectors;
mod waiting;
mod warnings;

pub(crate) use rights::uses_all;
pub(crate) use scene::install;

use crate::case::Case;

/// The cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    [
        definitions::cases(),
        vectors::cases(),
        acceptance::cases(),
        isolation::cases(),
        once::cases(),
        admission::cases(),
        rights::cases(),
        rotation::cases(),
        waiting::cases(),
        posted::cases(),
        warnings::cases(),
        commands::cases(),
        large::cases(),
        tasks::cases(),
        examples::cases(),
        hostile::cases(),
        kill::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
