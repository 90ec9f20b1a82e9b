//! Patterns of `matches`: compiled once, when an expression is parsed, and paid for by their size.

use std::{collections::BTreeMap, sync::Arc};

use regex_automata::{meta::Regex, nfa::thompson::WhichCaptures, util::syntax};

use super::{Budget, Fault};

/// Bytes of a pattern.
const MAX_PATTERN: usize = 256;
/// Bytes that a compiled pattern may have, and the steps that each byte of a text then takes: matching goes once over
/// the text, and at worst through all of the pattern for each byte.
const SIZES: [(usize, u64); 4] = [(4 << 10, 1), (16 << 10, 4), (64 << 10, 16), (256 << 10, 64)];
/// Bytes for what is remembered while matching; without room it becomes slower, up to what the steps are meant for.
const REMEMBERED: usize = 128 << 10;
/// How deep groups may be nested.
const NESTED: u32 = 32;
/// Different patterns of one Hook.
const MAX_PATTERNS: usize = 64;
/// Bytes that the patterns of one Hook may have together, compiled.
const MAX_COMPILED: usize = 1 << 20;
/// What makes a pattern large although it is short.
const SMALLER: &str = "shorten repetitions, and write `[0-9]` for `\\d` and `[A-Za-z0-9_]` for `\\w`, which stand for \
    the digits and letters of all scripts";

/// The patterns of a Hook. A Hook is read before anybody knows who calls it, so that all its expressions together may
/// compile so much and no more; equal patterns are compiled once.
#[derive(Debug, Default)]
pub struct Patterns {
    /// Also those that are no patterns: trying takes time, too.
    known: BTreeMap<String, Result<Arc<Pattern>, String>>,
    compiled: usize,
}

impl Patterns {
    /// The compiled pattern.
    ///
    /// # Errors
    /// The end of a sentence that begins with the pattern.
    pub(super) fn get(&mut self, pattern: &str) -> Result<Arc<Pattern>, String> {
        if let Some(known) = self.known.get(pattern) {
            return known.clone();
        }
        if self.known.len() >= MAX_PATTERNS || self.compiled >= MAX_COMPILED {
            return Err(format!(
                "is one too many: the expressions of a Hook may have {MAX_PATTERNS} different ones, of {} KiB compiled; \
                 join them, {SMALLER}, or split the Hook",
                MAX_COMPILED >> 10
            ));
        }
        let found = Pattern::compile(pattern).map(Arc::new);
        self.compiled += found.as_ref().map_or(0, |found| found.regex.memory_usage());
        self.known.insert(pattern.to_owned(), found.clone());
        found
    }
}

/// A regular expression, and what it takes.
#[derive(Debug)]
pub(super) struct Pattern {
    regex: Regex,
    steps_per_byte: u64,
}

impl Pattern {
    /// Compiles a pattern.
    fn compile(pattern: &str) -> Result<Self, String> {
        if pattern.len() > MAX_PATTERN {
            return Err(format!(
                "has {} bytes, and may have {MAX_PATTERN}",
                pattern.len()
            ));
        }
        for (bytes, steps_per_byte) in SIZES {
            let config = Regex::config()
                .nfa_size_limit(Some(bytes))
                .hybrid_cache_capacity(REMEMBERED)
                // Nobody asks what a group matches.
                .which_captures(WhichCaptures::None);
            let compiled = Regex::builder()
                .configure(config)
                .syntax(syntax::Config::new().nest_limit(NESTED))
                .build(pattern);
            match compiled {
                Ok(regex) => {
                    return Ok(Self {
                        regex,
                        steps_per_byte,
                    });
                }
                Err(error) if error.size_limit().is_some() => {}
                Err(_) => return Err("is no regular expression (syntax: RE2)".to_owned()),
            }
        }
        Err(format!("is too large; {SMALLER}"))
    }

    /// Whether a part of the text matches.
    pub(super) fn matches(&self, text: &str, budget: &Budget) -> Result<bool, Fault> {
        budget.spend((text.len() as u64).saturating_mul(self.steps_per_byte))?;
        Ok(self.regex.is_match(text))
    }
}
