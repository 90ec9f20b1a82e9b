//! The flow format of the Artisan runner.
//!
//! [`read`] takes JSON of either generation, whatever the case of its field names; [`Document::lower`] checks what
//! the text means. `docs/artisan.md` is the text for users.

mod lower;
mod wire;

pub use wire::{Document, File, Git, Input, Key, Secret, Step, Var};

use crate::problem::Problems;

/// What stands in place of a secret value.
pub const REDACTED: &str = "*****";

/// Reads a document without asking what it means.
///
/// # Errors
///
/// All that is wrong with its syntax and types.
pub fn read(bytes: &[u8]) -> Result<Document, Problems> {
    let _ = bytes;
    todo!()
}
