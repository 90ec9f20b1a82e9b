//! Expressions of Hooks: conditions and values in the Common Expression Language (CEL).
//!
//! The crate `cel` parses. It does not evaluate for us: its interpreter has no budget, copies its whole input, and goes
//! through maps in a random order, so that the same event could be decided in two ways. The interpreter here reads the
//! payload where it lies, pays for every step from a [`Budget`], and goes through maps by key.
//!
//! What it knows is the part of CEL that JSON needs: null, booleans, numbers, text, lists, maps; all operators; `has`,
//! `all`, `exists`, `exists_one`, `map`, `filter`; and the functions below. It has no bytes, durations, timestamps,
//! messages or optional values. Numbers compare and calculate across integer and floating point, since JSON does not
//! tell them apart.
//!
//! | name | form |
//! |---|---|
//! | `size` | `size(x)`, `x.size()`: characters of a text, elements of a list, entries of a map |
//! | `contains`, `startsWith`, `endsWith` | `text.contains(text)` |
//! | `matches` | `text.matches('pattern')`, `matches(text, 'pattern')`; the pattern is literal, syntax RE2 |
//! | `lowerAscii`, `upperAscii`, `trim` | `text.trim()` |
//! | `split`, `join` | `text.split(',')`, `list.join()`, `list.join(',')` |
//! | `replace` | `text.replace(old, new)` |
//! | `substring` | `text.substring(from)`, `text.substring(from, to)`: in characters |
//! | `indexOf`, `lastIndexOf` | `text.indexOf(text)`: in characters, -1 if it is not there |
//! | `string`, `int`, `double` | `int('4')`: conversion of null, booleans, numbers and texts |
//! | `json` | `json(x)`: any value as JSON |
//! | `changed` | `event.changed('services/api/**')`: whether a changed file matches, by the rules of .gitignore |
//!
//! Where the payload does not list changed files, `changed` is neither true nor false: `&&` and `||` decide without it
//! where they can, and else the whole is [`Fault::Unknown`]. A field that this event does not have is [`Fault::Absent`], and a
//! filter that depends on it does not match; a field that no event has is refused before any event comes.
//!
//! Never here: a type checker. A wrong type is found out by the first event, and stands in its Delivery.

mod check;
mod evaluate;
mod function;
mod pattern;
mod render;
mod value;

use std::{collections::BTreeMap, sync::Arc};

use cel::{IdedExpr, parser::PrattParser};
use serde_json::Value as Json;

pub use evaluate::{Budget, Fault};
pub use pattern::Patterns;
pub use render::{Bytes, Rendered};

/// Characters (bytes of UTF-8) of one expression.
pub const MAX_LENGTH: usize = 4096;
/// Nodes of one expression after `all`, `exists` and so on have been written out.
pub const MAX_NODES: usize = 1024;
/// How deep one expression may be nested: operators, brackets, selections.
pub const MAX_DEPTH: usize = 64;
/// How deep `all`, `exists`, `exists_one`, `map` and `filter` may be nested.
pub const MAX_LOOPS: usize = 2;
/// Steps that all expressions of a Hook may take for one event. One step is one node evaluated, one value compared, or
/// 16 bytes of text read or made; an element of a made list or map takes four. So an event takes a fraction of a
/// second, and some tens of MiB, at worst.
pub const MAX_STEPS: u64 = 2_000_000;
/// Conditional operators (`?`) of one expression: the parser recurses for each.
const MAX_CONDITIONS: usize = 64;
/// Nesting of brackets, for the parser's recursion.
const MAX_BRACKETS: u16 = 32;
/// How many of the values that an expression reads are shown.
const MAX_SHOWN: usize = 16;

/// What every expression can read.
pub const VARIABLES: [&str; 5] = ["body", "headers", "query", "event", "hook"];

/// What the variables of an expression stand for.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The payload.
    pub body: &'a Json,
    /// Headers by their name in lower case.
    pub headers: &'a Json,
    /// Parameters of the URL by name.
    pub query: &'a Json,
    /// What the payload says, in words that are the same for all providers.
    pub event: &'a Json,
    /// `name` and `namespace` of the Hook.
    pub hook: &'a Json,
}

impl<'a> Input<'a> {
    fn variable(&self, name: &str) -> Option<&'a Json> {
        match name {
            "body" => Some(self.body),
            "headers" => Some(self.headers),
            "query" => Some(self.query),
            "event" => Some(self.event),
            "hook" => Some(self.hook),
            _ => None,
        }
    }
}

/// An expression that has been parsed and checked.
#[derive(Debug)]
pub struct Expression {
    text: String,
    root: IdedExpr,
    /// What it reads of its input.
    reads: Vec<check::Place>,
    /// The patterns of `matches`, compiled.
    patterns: BTreeMap<String, Arc<pattern::Pattern>>,
}

impl Expression {
    /// Reads an expression that stands alone: [`Expression::parse_in`].
    ///
    /// # Errors
    /// Everything that is wrong with it, each in a sentence.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        Self::parse_in(text, &mut Patterns::default())
    }

    /// Reads an expression of the Hook that has these patterns.
    ///
    /// # Errors
    /// Everything that is wrong with it, each in a sentence: it is too long, too deep, has too many nodes, or loops
    /// inside loops; it is no CEL; it names a variable or function that does not exist, or calls one with a wrong
    /// number of arguments; it uses a part of CEL that is not supported, a pattern that is no regular expression, or more
    /// of them than a Hook may have.
    pub fn parse_in(text: &str, patterns: &mut Patterns) -> Result<Self, Vec<String>> {
        if text.len() > MAX_LENGTH {
            return Err(vec![format!(
                "it is {} bytes long, and may have {MAX_LENGTH}",
                text.len()
            )]);
        }
        if text.matches('?').count() > MAX_CONDITIONS {
            return Err(vec![format!("it may have {MAX_CONDITIONS} question marks")]);
        }
        let parsed = PrattParser::new()
            .max_recursion_depth(MAX_BRACKETS)
            .max_expression_node_count(MAX_NODES)
            .parse(text);
        let root = parsed.map_err(|errors| {
            let told = |error: &cel::ParseError| {
                let (line, column) = error.pos;
                format!("line {line}, column {column}: {}", error.msg)
            };
            errors.errors.iter().map(told).collect::<Vec<_>>()
        })?;
        let (reads, patterns) = check::check(&root, patterns)?;
        Ok(Self {
            text: text.to_owned(),
            root,
            reads,
            patterns,
        })
    }

    /// The expression as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether its value depends on the event, or is the same for all.
    pub fn reads_input(&self) -> bool {
        !self.reads.is_empty()
    }

    /// Whether the event fulfils it.
    ///
    /// # Errors
    /// [`Fault::Unknown`] where that depends on changed files and the payload does not list them; any other fault where
    /// it cannot be evaluated, or its value is no boolean.
    pub fn holds(&self, input: &Input<'_>, budget: &Budget) -> Result<bool, Fault> {
        match evaluate::evaluate(self, input, budget)? {
            value::Value::Bool(holds) => Ok(holds),
            other => Err(Fault::Wrong(format!(
                "its value is {}, and has to be true or false",
                other.kind()
            ))),
        }
    }

    /// Its value as a parameter of Tekton: a text, a list of texts, or a map of texts. Numbers, booleans and null
    /// become texts as JSON writes them.
    ///
    /// # Errors
    /// Where it cannot be evaluated, holds a list or map inside a list or map, or exceeds what is left of the bytes.
    pub fn parameter(
        &self,
        input: &Input<'_>,
        budget: &Budget,
        bytes: &Bytes,
    ) -> Result<Rendered, Fault> {
        let value = evaluate::evaluate(self, input, budget)?;
        render::parameter(&value, budget, bytes)
    }

    /// Its value as the content of a file: a text as it is, anything else as JSON.
    ///
    /// # Errors
    /// Where it cannot be evaluated, or exceeds what is left of the bytes.
    pub fn file(&self, input: &Input<'_>, budget: &Budget, bytes: &Bytes) -> Result<String, Fault> {
        let value = evaluate::evaluate(self, input, budget)?;
        render::file(&value, budget, bytes)
    }

    /// The values that it reads: the path as the expression has it, and the value as JSON, shortened; `absent` where
    /// there is none. At most 16.
    pub fn values(&self, input: &Input<'_>) -> BTreeMap<String, String> {
        let shown = self.reads.iter().take(MAX_SHOWN);
        shown
            .map(|place| {
                let found = place.find(input);
                let text = found.map_or_else(|| "absent".to_owned(), render::shortened);
                (place.to_string(), text)
            })
            .collect()
    }
}
