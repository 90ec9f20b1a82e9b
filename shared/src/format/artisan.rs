//! The flow format of the Artisan runner.
//!
//! [`parse`] is the whole way. [`read()`] takes JSON of either generation, whatever the case of its field names; [`Document::lower`] checks what
//! the text means. `docs/artisan.md` is the text for users.

mod lower;
mod read;
mod redact;
mod wire;

pub use read::read;
pub use wire::{Document, File, Git, Input, Key, Secret, Step, Var};

use crate::{flow::Flow, format::Lowering, problem::Problems};

/// Reads and checks a document: all problems of its shape and of its meaning at once, or the flow.
///
/// # Errors
///
/// Everything that is wrong with it.
pub fn parse(bytes: &[u8], options: &Lowering) -> Result<Flow, Problems> {
    let (document, report) = read::read_all(bytes)?;
    let (flow, report) = document.lower_all(options, report);
    report.finish(flow)
}

/// What stands in place of a secret value.
pub const REDACTED: &str = "*****";
