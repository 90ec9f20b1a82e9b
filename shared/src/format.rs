//! The notations that a flow can be written in, and the one way from bytes to [`Flow`].
//!
//! A format is one module here, one line in [`Format`] and one fixture folder. It knows [`Flow`] and nothing of
//! Tekton.

pub mod artisan;

use std::{fmt, str::FromStr};

use crate::{flow::Flow, name::Label, problem::Problems};

/// A notation for work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The flows of the Artisan runner, as JSON.
    Artisan,
}

impl Format {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Artisan];
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Artisan => "artisan",
        })
    }
}

/// The text names no format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no format of that name; there are: {}", names())]
pub struct UnknownFormat;

fn names() -> String {
    Format::ALL
        .iter()
        .map(Format::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        Self::ALL
            .iter()
            .copied()
            .find(|format| format.to_string() == text)
            .ok_or(UnknownFormat)
    }
}

/// What lowering needs to know beside the document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lowering {
    /// Put before images that hold no `/`, with a `/` between; `None` takes images as they are.
    pub runtime_prefix: Option<String>,
    /// Replaces the namespace that the document asks for, whatever it says; `None` needs the document to ask.
    pub namespace: Option<Label>,
}

/// Reads and checks a document: all problems at once, or a flow that can be emitted.
///
/// # Errors
///
/// Everything that is wrong with the document, each with its place.
pub fn parse(format: Format, bytes: &[u8], options: &Lowering) -> Result<Flow, Problems> {
    match format {
        Format::Artisan => artisan::parse(bytes, options),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_found_by_its_name() {
        for format in Format::ALL {
            assert_eq!(format.to_string().parse(), Ok(*format));
        }
        assert_eq!("yaml".parse::<Format>(), Err(UnknownFormat));
    }
}
