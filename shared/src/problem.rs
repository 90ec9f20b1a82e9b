//! What is wrong with a document: a place and a kind, all of them at once.
//!
//! This is the only error type of the package. A reader mends a document by it, so each text names the culprit and
//! says what to do; a program tells kinds apart by [`Kind::slug`], which `docs/problems/` explains one by one.
//!
//! A text never repeats a whole value: values may be secret, and may be long.

mod kind;
mod locate;

pub use kind::Kind;
pub use locate::{Position, locate};

use std::fmt;

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {kind}")]
pub struct Problem {
    /// The place in the document.
    pub at: Path,
    /// What is wrong there.
    pub kind: Kind,
}

impl Problem {
    /// Line and column in the text that was read, where they can be told.
    pub fn position(&self, source: &str) -> Option<Position> {
        match self.kind {
            Kind::Syntax { position, .. } => Some(position),
            _ => locate(source, &self.at),
        }
    }
}

/// A place in a document, written `$.steps[2].name`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(Vec<Segment>);

/// One step down.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Segment {
    /// A field of an object.
    Field(String),
    /// An element of a list, counted from 0.
    Index(usize),
}

impl Path {
    /// The document itself.
    pub fn root() -> Self {
        Self::default()
    }

    /// A field of what is here.
    pub fn field(mut self, name: impl Into<String>) -> Self {
        self.0.push(Segment::Field(name.into()));
        self
    }

    /// An element of what is here.
    pub fn index(mut self, index: usize) -> Self {
        self.0.push(Segment::Index(index));
        self
    }

    /// The way from the document down to here.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }
}

impl FromIterator<Segment> for Path {
    fn from_iter<I: IntoIterator<Item = Segment>>(segments: I) -> Self {
        Self(segments.into_iter().collect())
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("$")?;
        for segment in &self.0 {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Field(name) if is_plain(name) => write!(f, ".{name}")?,
                Segment::Field(name) => write!(f, "[{}]", Quoted(name))?,
            }
        }
        Ok(())
    }
}

/// Whether a field's name can stand behind a dot.
fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= SHOWN
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// How many characters of a culprit are shown.
const SHOWN: usize = 60;

/// A text in quotes on one line, shortened where it is long.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for (at, c) in self.0.chars().enumerate() {
            if at == SHOWN {
                f.write_str("…")?;
                break;
            }
            match c {
                '"' => f.write_str("\\\"")?,
                c if c.is_control() => write!(f, "{}", c.escape_default())?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}

/// A culprit as it is kept in a [`Kind`]: short, whatever came in.
pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN + 1) {
        // One character more than is shown, so that the display still marks the cut.
        Some((at, _)) => text.get(..at).unwrap_or(text).to_owned(),
        None => text.to_owned(),
    }
}

/// All that is wrong with a document; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    first: Problem,
    rest: Vec<Problem>,
}

impl Problems {
    /// All problems: first those of the document's shape, then those of its meaning.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    /// How many.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        1 + self.rest.len()
    }
}

impl From<Problem> for Problems {
    fn from(first: Problem) -> Self {
        Self {
            first,
            rest: Vec::new(),
        }
    }
}

impl fmt::Display for Problems {
    /// One line each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.fmt(f)?;
        self.rest
            .iter()
            .try_for_each(|problem| write!(f, "\n{problem}"))
    }
}

impl std::error::Error for Problems {}

/// Collects problems while work goes on.
#[derive(Debug, Default)]
pub(crate) struct Report {
    problems: Vec<Problem>,
    left_out: usize,
    /// How many of the first came from an earlier stage, whose consequences are not told.
    earlier: usize,
}

impl Report {
    /// How many problems are told: nobody mends more in one go, and a hostile document could hold millions.
    const MOST: usize = 100;

    /// Notes one; it is not even made once enough are told.
    pub(crate) fn add(&mut self, problem: impl FnOnce() -> Problem) {
        if self.problems.len() >= Self::MOST {
            self.left_out += 1;
            return;
        }
        let problem = problem();
        if !self.follows(&problem.at) {
            self.problems.push(problem);
        }
    }

    /// The same report at the start of the next stage: from here on, what lies in an object that an earlier problem
    /// touches is not told, as it may only follow from that.
    pub(crate) fn followed(mut self) -> Self {
        self.earlier = self.problems.len();
        self
    }

    /// Whether nothing was noted.
    pub(crate) fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// Whether an earlier problem lies in the same field of the document, or in the same element of its list.
    fn follows(&self, at: &Path) -> bool {
        let area = at.segments().get(..2).unwrap_or(at.segments());
        let touches = |problem: &Problem| {
            let pairs = problem.at.segments().iter().zip(area);
            pairs.into_iter().all(|(one, other)| match (one, other) {
                (Segment::Field(one), Segment::Field(other)) => one.eq_ignore_ascii_case(other),
                (one, other) => one == other,
            })
        };
        self.problems.iter().take(self.earlier).any(touches)
    }

    /// The value, unless something was noted.
    pub(crate) fn finish<T>(self, value: T) -> Result<T, Problems> {
        let mut problems = self.problems.into_iter();
        let Some(first) = problems.next() else {
            return Ok(value);
        };
        let mut rest: Vec<_> = problems.collect();
        if self.left_out > 0 {
            rest.push(Problem {
                at: Path::root(),
                kind: Kind::MoreProblems {
                    count: self.left_out,
                },
            });
        }
        Err(Problems { first, rest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_like_json_path() {
        let path = Path::root().field("steps").index(2).field("name");
        assert_eq!(path.to_string(), "$.steps[2].name");
        assert_eq!(Path::root().field("a b\n").to_string(), r#"$["a b\n"]"#);
        assert_eq!(Path::root().to_string(), "$");
    }

    #[test]
    fn a_long_culprit_is_cut_where_it_is_shown_and_where_it_is_kept() {
        let long = "ä".repeat(1000);
        let shown = Quoted(&long).to_string();
        assert!(
            shown.ends_with("…\"") && shown.chars().count() == SHOWN + 3,
            "{shown}"
        );
        assert_eq!(Quoted(&shortened(&long)).to_string(), shown);
    }

    #[test]
    fn thousands_of_problems_are_counted_not_told() {
        let mut report = Report::default();
        for index in 0..5000 {
            report.add(|| Problem {
                at: Path::root().index(index),
                kind: Kind::NullElement,
            });
        }
        let problems = report.finish(()).unwrap_err();
        assert_eq!(problems.len(), Report::MOST + 1);
        assert!(problems.to_string().contains("4900 more"), "{problems}");
    }
}
