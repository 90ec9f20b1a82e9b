//! JSON to [`Document`], collecting all problems on the way.
//!
//! Values go straight into their fields, and what nobody asked for is skipped without being kept, so memory stays in
//! proportion to the document, and depth costs nothing. A value of the wrong type is noted and skipped; only broken
//! JSON ends the reading.
//!
//! As the original does: field names match whatever their case, unknown fields are ignored, `null` means absent.
//! Unlike it: a field given twice and `null` in a list are problems.

mod fields;

use std::{borrow::Cow, cell::RefCell, collections::BTreeMap, fmt, marker::PhantomData};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::problem::{Kind, Path, Position, Problem, Problems, Quoted, Report, Segment, shortened};

use super::Document;
use fields::Fields;

/// Reads a document without asking what it means.
///
/// # Errors
///
/// All that is wrong with its syntax and types.
pub fn read(bytes: &[u8]) -> Result<Document, Problems> {
    let (document, report) = read_all(bytes)?;
    report.finish(document)
}

/// What could be read, and what is wrong with the rest; fails where the JSON is broken.
pub(super) fn read_all(bytes: &[u8]) -> Result<(Document, Report), Problems> {
    let whole = |kind| {
        Problems::from(Problem {
            at: Path::root(),
            kind,
        })
    };
    let text = str::from_utf8(bytes).map_err(|error| {
        whole(Kind::NotUtf8 {
            offset: error.valid_up_to(),
        })
    })?;
    // Some editors put a mark in front, which JSON does not know.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Err(whole(Kind::Empty));
    }
    let report = RefCell::new(Report::default());
    let mut reader = serde_json::Deserializer::from_str(text);
    let document = Place::root(&report)
        .seed::<Object<Document>>()
        .deserialize(&mut reader)
        .and_then(|document| reader.end().map(|()| document))
        .map_err(|error| {
            whole(if looks_like_yaml(text) {
                Kind::Yaml
            } else {
                syntax(&error)
            })
        })?;
    Ok((document, report.into_inner()))
}

/// Where and why the JSON is broken; the reader's own text ends in the place, which has fields of its own here.
fn syntax(error: &serde_json::Error) -> Kind {
    let position = Position {
        line: error.line(),
        column: error.column(),
    };
    let message = error.to_string();
    let message = message
        .split(" at line ")
        .next()
        .unwrap_or_default()
        .to_owned();
    Kind::Syntax { message, position }
}

/// Whether a text that is no JSON has the marks of YAML.
fn looks_like_yaml(text: &str) -> bool {
    let mut lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .take(20);
    !text.trim_start().starts_with(['{', '[', '"'])
        && lines.any(|line| {
            line == "---" || line.starts_with("- ") || line.ends_with(':') || line.contains(": ")
        })
}

/// Where reading is, as a chain up to the document: costs nothing until something is wrong.
struct Place<'a> {
    up: Option<&'a Place<'a>>,
    here: Here<'a>,
    report: &'a RefCell<Report>,
}

/// One link of the chain.
enum Here<'a> {
    Root,
    Field(&'a str),
    Index(usize),
}

impl<'a> Place<'a> {
    fn root(report: &'a RefCell<Report>) -> Self {
        Self {
            up: None,
            here: Here::Root,
            report,
        }
    }

    fn field(&'a self, name: &'a str) -> Self {
        Self {
            up: Some(self),
            here: Here::Field(name),
            report: self.report,
        }
    }

    fn index(&'a self, index: usize) -> Self {
        Self {
            up: Some(self),
            here: Here::Index(index),
            report: self.report,
        }
    }

    fn seed<S: Shape>(&'a self) -> Seed<'a, S> {
        Seed {
            place: self,
            element: false,
            shape: PhantomData,
        }
    }

    fn path(&self) -> Path {
        let up = std::iter::successors(Some(self), |place| place.up);
        let mut segments: Vec<_> = up
            .filter_map(|place| match place.here {
                Here::Root => None,
                Here::Field(name) => Some(Segment::Field(name.to_owned())),
                Here::Index(index) => Some(Segment::Index(index)),
            })
            .collect();
        segments.reverse();
        segments.into_iter().collect()
    }

    fn problem(&self, kind: Kind) {
        self.report.borrow_mut().add(|| Problem {
            at: self.path(),
            kind,
        });
    }

    fn wrong<S: Shape>(&self, found: impl Into<String>) -> S::Value {
        self.problem(Kind::WrongType {
            expected: S::EXPECTED,
            found: found.into(),
        });
        S::Value::default()
    }

    /// The value of a field that is being read.
    fn value<'de, S: Shape, A: MapAccess<'de>>(&self, map: &mut A) -> Result<S::Value, A::Error> {
        map.next_value_seed(self.seed::<S>())
    }
}

/// What belongs in a place. Each shape takes the one JSON type that it is made of and refuses the others.
trait Shape: Sized {
    type Value: Default;
    const EXPECTED: &'static str;
    /// Whether a value of the wrong type may be shown.
    const SHOWN: bool = true;

    fn text(text: &str, place: &Place<'_>) -> Self::Value {
        place.wrong::<Self>(shown::<Self>("a text", || Quoted(text).to_string()))
    }

    fn flag(flag: bool, place: &Place<'_>) -> Self::Value {
        place.wrong::<Self>(shown::<Self>("true or false", || flag.to_string()))
    }

    fn list<'de, A: SeqAccess<'de>>(
        mut list: A,
        place: &Place<'_>,
    ) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(place.wrong::<Self>("a list"))
    }

    fn object<'de, A: MapAccess<'de>>(
        mut map: A,
        place: &Place<'_>,
    ) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(place.wrong::<Self>("an object"))
    }
}

fn shown<S: Shape>(what: &str, value: impl FnOnce() -> String) -> String {
    if S::SHOWN { value() } else { what.to_owned() }
}

/// A text.
struct Text;

impl Shape for Text {
    type Value = String;
    const EXPECTED: &'static str = "a text in quotes";

    fn text(text: &str, _: &Place<'_>) -> String {
        text.to_owned()
    }
}

/// A text that no report repeats.
struct Hidden;

impl Shape for Hidden {
    type Value = String;
    const EXPECTED: &'static str = Text::EXPECTED;
    const SHOWN: bool = false;

    fn text(text: &str, _: &Place<'_>) -> String {
        text.to_owned()
    }
}

/// `true` or `false`.
struct Flag;

impl Shape for Flag {
    type Value = Option<bool>;
    const EXPECTED: &'static str = "true or false, without quotes";

    fn flag(flag: bool, _: &Place<'_>) -> Option<bool> {
        Some(flag)
    }
}

/// Texts by key; keys are the user's, so their case matters.
struct Texts;

impl Shape for Texts {
    type Value = Option<BTreeMap<String, String>>;
    const EXPECTED: &'static str = "an object of texts";

    fn object<'de, A: MapAccess<'de>>(
        mut map: A,
        place: &Place<'_>,
    ) -> Result<Self::Value, A::Error> {
        let mut texts = BTreeMap::new();
        while let Some(Name(name)) = map.next_key()? {
            let here = place.field(&name);
            let text = here.value::<Text, A>(&mut map)?;
            if texts.contains_key(&*name) {
                here.problem(Kind::DuplicateField {
                    before: shortened(&name),
                });
            }
            texts.insert(name.into_owned(), text);
        }
        Ok(Some(texts))
    }
}

/// A list.
struct List<S>(PhantomData<S>);

impl<S: Shape> Shape for List<S> {
    type Value = Option<Vec<S::Value>>;
    const EXPECTED: &'static str = "a list";

    fn list<'de, A: SeqAccess<'de>>(
        mut list: A,
        place: &Place<'_>,
    ) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        loop {
            let here = place.index(elements.len());
            match list.next_element_seed(Seed::<S> {
                place: &here,
                element: true,
                shape: PhantomData,
            })? {
                Some(element) => elements.push(element),
                None => return Ok(Some(elements)),
            }
        }
    }
}

/// An object with known fields.
struct Object<T>(PhantomData<T>);

impl<T: Fields> Shape for Object<T> {
    type Value = T;
    const EXPECTED: &'static str = "an object";

    fn object<'de, A: MapAccess<'de>>(mut map: A, place: &Place<'_>) -> Result<T, A::Error> {
        let mut object = T::default();
        let mut seen: Vec<(&'static str, Cow<'_, str>)> = Vec::new();
        while let Some(Name(name)) = map.next_key()? {
            let Some(field) = T::NAMES
                .iter()
                .copied()
                .find(|field| field.eq_ignore_ascii_case(&name))
            else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let here = place.field(&name);
            object.take(field, &here, &mut map)?;
            match seen.iter().find(|(known, _)| *known == field) {
                Some((_, before)) => here.problem(Kind::DuplicateField {
                    before: before.to_string(),
                }),
                None => seen.push((field, name)),
            }
        }
        Ok(object)
    }
}

/// An object that may be absent.
struct Optional<T>(PhantomData<T>);

impl<T: Fields> Shape for Optional<T> {
    type Value = Option<T>;
    const EXPECTED: &'static str = "an object";

    fn object<'de, A: MapAccess<'de>>(map: A, place: &Place<'_>) -> Result<Option<T>, A::Error> {
        Object::<T>::object(map, place).map(Some)
    }
}

/// A field's name, borrowed where it holds no escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Reads one value of a shape, whatever is there.
struct Seed<'a, S> {
    place: &'a Place<'a>,
    /// In a list, `null` is not absence.
    element: bool,
    shape: PhantomData<S>,
}

impl<'de, S: Shape> DeserializeSeed<'de> for Seed<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<S::Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de, S: Shape> Visitor<'de> for Seed<'_, S> {
    type Value = S::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(S::EXPECTED)
    }

    fn visit_unit<E>(self) -> Result<S::Value, E> {
        if self.element {
            self.place.problem(Kind::NullElement);
        }
        Ok(S::Value::default())
    }

    fn visit_bool<E>(self, flag: bool) -> Result<S::Value, E> {
        Ok(S::flag(flag, self.place))
    }

    fn visit_u64<E>(self, number: u64) -> Result<S::Value, E> {
        Ok(self
            .place
            .wrong::<S>(shown::<S>("a number", || format!("the number {number}"))))
    }

    fn visit_i64<E>(self, number: i64) -> Result<S::Value, E> {
        Ok(self
            .place
            .wrong::<S>(shown::<S>("a number", || format!("the number {number}"))))
    }

    fn visit_f64<E>(self, number: f64) -> Result<S::Value, E> {
        Ok(self
            .place
            .wrong::<S>(shown::<S>("a number", || format!("the number {number:?}"))))
    }

    fn visit_str<E>(self, text: &str) -> Result<S::Value, E> {
        Ok(S::text(text, self.place))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<S::Value, A::Error> {
        S::list(list, self.place)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<S::Value, A::Error> {
        S::object(map, self.place)
    }
}
