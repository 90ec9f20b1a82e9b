//! The parts that the other cases rely on, each shown to be what it claims.

use crate::case::Case;

/// The cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    vec![]
}
