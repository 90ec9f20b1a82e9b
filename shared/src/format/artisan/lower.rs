//! What the document means: checks of the whole, and the way to [`Flow`].

use super::Document;
use crate::{flow::Flow, format::Lowering, problem::Problems};

impl Document {
    /// The flow that the document describes.
    ///
    /// # Errors
    ///
    /// All that cannot be run as it is written.
    pub fn lower(self, options: &Lowering) -> Result<Flow, Problems> {
        let _ = options;
        todo!()
    }

    /// The document without its secrets, for people to read; unknown fields were dropped when it was read.
    pub fn redacted(&self) -> serde_json::Value {
        todo!()
    }
}
