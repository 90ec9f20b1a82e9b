//! The acceptance cases of the Artisan runner's users, by their numbers.
//!
//! Where Hookrun answers other than the original did (status codes, run names, a copy of everything per run), the cases say
//! so. Whole objects are compared with `tests/expected/acceptance_*.yaml`.

mod documents;
mod inputs;
mod service;
mod stored;

use crate::case::Case;

/// The cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    [
        documents::cases(),
        inputs::cases(),
        stored::cases(),
        service::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
