//! From a path back to line and column, for people who edit the text.
//!
//! It reads the JSON again, level by level, and looks at where each value begins; it costs nothing until something
//! is wrong. It never fails: what cannot be found has no position.

use std::{borrow::Cow, fmt};

use serde::de::{Deserializer as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Path, Segment};

/// A place in a text, as editors count: both from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl Position {
    /// The place of a byte in a text.
    pub(crate) fn of(source: &str, offset: usize) -> Option<Self> {
        let before = source.get(..offset)?;
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Some(Self {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..)?.chars().count() + 1,
        })
    }
}

/// Where the value at a path begins; the nearest one around it where the path leads nowhere.
///
/// Field names match whatever their case, and the last of several equal ones is taken.
///
/// ```
/// use flows::problem::{Path, locate};
///
/// let source = "{\n  \"Steps\": [\n    {\"name\": 7}\n  ]\n}";
/// let place = locate(source, &Path::root().field("steps").index(0).field("name"));
/// assert_eq!(place.map(|p| (p.line, p.column)), Some((3, 14)));
/// ```
pub fn locate(source: &str, at: &Path) -> Option<Position> {
    // Some editors put a mark in front, which JSON does not know.
    let text = source.strip_prefix('\u{feff}').unwrap_or(source);
    let mut value: &RawValue = serde_json::from_str(text).ok()?;
    for segment in at.segments() {
        match child(value, segment) {
            Some(inner) => value = inner,
            None => break,
        }
    }
    let offset = (value.get().as_ptr().addr()).checked_sub(source.as_ptr().addr())?;
    Position::of(source, offset)
}

/// One level down.
fn child<'a>(value: &'a RawValue, segment: &Segment) -> Option<&'a RawValue> {
    let mut reader = serde_json::Deserializer::from_str(value.get());
    match segment {
        Segment::Field(name) => reader.deserialize_map(Field(name)).ok()?,
        Segment::Index(index) => reader.deserialize_seq(Element(*index)).ok()?,
    }
}

/// Finds a field.
struct Field<'n>(&'n str);

impl<'de> Visitor<'de> for Field<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some((Key(name), value)) = map.next_entry::<Key<'de>, &RawValue>()? {
            if name == self.0 || name.eq_ignore_ascii_case(self.0) {
                found = Some(value);
            }
        }
        Ok(found)
    }
}

/// A field's name, borrowed where it holds no escapes.
#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// Finds an element.
struct Element(usize);

impl<'de> Visitor<'de> for Element {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let (mut at, mut found) = (0, None);
        while let Some(value) = list.next_element::<&RawValue>()? {
            if at == self.0 {
                found = Some(value);
            }
            at += 1;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(source: &str, path: Path) -> (usize, usize) {
        let position = locate(source, &path).unwrap();
        (position.line, position.column)
    }

    #[test]
    fn the_last_of_equal_fields_is_found() {
        assert_eq!(
            place("{\"a\":1,\n\"A\":2}", Path::root().field("a")),
            (2, 5)
        );
    }

    #[test]
    fn a_missing_field_is_reported_at_its_object() {
        assert_eq!(
            place(
                "{\"steps\":\n [ {} ]}",
                Path::root().field("steps").index(0).field("runtime")
            ),
            (2, 4)
        );
    }

    #[test]
    fn columns_count_characters() {
        assert_eq!(
            place("{\"ä\": \"ö\", \"b\": 1}", Path::root().field("b")),
            (1, 17)
        );
    }

    #[test]
    fn what_is_not_json_has_no_place() {
        assert_eq!(locate("steps: []", &Path::root()), None);
    }
}
