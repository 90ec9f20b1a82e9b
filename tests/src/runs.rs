//! Runs: what they own, how they are finished, what was there before them, who may have which, and where flows come from.

mod before;
mod policy;
mod snapshot;
mod sources;
mod unfinished;

use crate::case::Case;

/// The cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    [
        snapshot::cases(),
        unfinished::cases(),
        before::cases(),
        policy::cases(),
        sources::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
