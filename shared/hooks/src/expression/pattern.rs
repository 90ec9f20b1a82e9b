//! Patterns of `matches`: compiled once, when an expression is parsed, and paid for by their size.

use regex::{Regex, RegexBuilder};

use super::{Budget, Fault};

/// Bytes of a pattern.
const MAX_PATTERN: usize = 256;
/// Bytes that a compiled pattern may have, and the steps that each byte of a text then takes: matching goes once over
/// the text, and at worst through all of the pattern for each byte.
const SIZES: [(usize, u64); 4] = [(4 << 10, 1), (16 << 10, 4), (64 << 10, 16), (256 << 10, 64)];
/// Bytes for what is remembered while matching; without room it becomes slower, up to what the steps are meant for.
const REMEMBERED: usize = 1 << 20;
/// How deep groups may be nested.
const NESTED: u32 = 32;

/// A regular expression, and what it takes.
#[derive(Debug)]
pub(super) struct Pattern {
    regex: Regex,
    steps_per_byte: u64,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// The end of a sentence that begins with the pattern.
    pub(super) fn compile(pattern: &str) -> Result<Self, String> {
        if pattern.len() > MAX_PATTERN {
            return Err(format!(
                "has {} bytes, and may have {MAX_PATTERN}",
                pattern.len()
            ));
        }
        for (bytes, steps_per_byte) in SIZES {
            let compiled = RegexBuilder::new(pattern)
                .size_limit(bytes)
                .dfa_size_limit(REMEMBERED)
                .nest_limit(NESTED)
                .build();
            match compiled {
                Ok(regex) => {
                    return Ok(Self {
                        regex,
                        steps_per_byte,
                    });
                }
                Err(regex::Error::CompiledTooBig(_)) => {}
                Err(_) => return Err("is no regular expression (syntax: RE2)".to_owned()),
            }
        }
        Err("is too large; shorten its repetitions".to_owned())
    }

    /// Whether a part of the text matches.
    pub(super) fn matches(&self, text: &str, budget: &Budget) -> Result<bool, Fault> {
        budget.spend((text.len() as u64).saturating_mul(self.steps_per_byte))?;
        Ok(self.regex.is_match(text))
    }
}
