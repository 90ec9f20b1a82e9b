//! Values leave expressions: as parameters of Tekton, as files, as what people are shown.

use std::{cell::Cell, collections::BTreeMap, io};

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::Value as Json;

use super::{
    Budget, Fault,
    value::{List, Map, Value},
};

/// Bytes of a value that people are shown.
const SHOWN: usize = 256;

/// What one event may make of texts for runs, in bytes: parameters and files of all rules together. Kubernetes takes
/// objects of 1.5 MiB, and the record of the event holds the payload, too.
#[derive(Debug)]
pub struct Bytes(Cell<usize>);

impl Bytes {
    /// So many bytes.
    pub fn new(bytes: usize) -> Self {
        Self(Cell::new(bytes))
    }

    /// Takes from them.
    ///
    /// # Errors
    /// [`Fault::TooLarge`] where not so many are left; then none are taken.
    pub(crate) fn take(&self, bytes: usize) -> Result<(), Fault> {
        let left = self.0.get().checked_sub(bytes).ok_or(Fault::TooLarge)?;
        self.0.set(left);
        Ok(())
    }
}

/// The value of a parameter, as Tekton takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rendered {
    /// A `string`.
    Text(String),
    /// An `array`.
    List(Vec<String>),
    /// An `object`.
    Map(BTreeMap<String, String>),
}

impl Rendered {
    /// Whether a text in it holds this one.
    pub fn contains(&self, text: &str) -> bool {
        match self {
            Self::Text(value) => value.contains(text),
            Self::List(values) => values.iter().any(|value| value.contains(text)),
            Self::Map(values) => values
                .iter()
                .any(|(key, value)| key.contains(text) || value.contains(text)),
        }
    }

    /// The same as JSON.
    pub fn into_json(self) -> Json {
        match self {
            Self::Text(text) => text.into(),
            Self::List(list) => list.into(),
            Self::Map(map) => map
                .into_iter()
                .map(|(key, value)| (key, Json::from(value)))
                .collect(),
        }
    }
}

/// The value as a parameter.
pub(super) fn parameter(
    value: &Value<'_>,
    budget: &Budget,
    bytes: &Bytes,
) -> Result<Rendered, Fault> {
    let text = |value: &Value<'_>, place: &dyn Fn() -> String| {
        budget.spend(1)?;
        let Some(text) = value.scalar() else {
            return Err(Fault::Wrong(format!(
                "{} of its value is {}, and Tekton takes texts; write `json(…)` around it",
                place(),
                value.kind()
            )));
        };
        bytes.take(text.len())?;
        budget.spend_bytes(text.len())?;
        Ok(text.into_owned())
    };
    match value {
        Value::List(list) => list
            .iter()
            .enumerate()
            .map(|(at, element)| text(&element, &|| format!("element {at}")))
            .collect::<Result<_, _>>()
            .map(Rendered::List),
        Value::Map(map) => {
            // All keys are sorted before the first one is seen to be too many.
            budget.spend_elements(map.len())?;
            let mut made = BTreeMap::new();
            for (key, value) in entries(map) {
                bytes.take(key.len())?;
                let value = text(&value, &|| format!("entry {}", Json::from(key.as_str())))?;
                made.insert(key, value);
            }
            Ok(Rendered::Map(made))
        }
        scalar => text(scalar, &|| "the whole".to_owned()).map(Rendered::Text),
    }
}

fn entries<'a>(map: &Map<'a>) -> impl Iterator<Item = (String, Value<'a>)> {
    map.keys().into_iter().filter_map(|key| {
        let value = map.get(key.as_str())?;
        Some((key.as_str().to_owned(), value))
    })
}

/// The value as the content of a file.
pub(super) fn file(value: &Value<'_>, budget: &Budget, bytes: &Bytes) -> Result<String, Fault> {
    let text = match value {
        Value::Text(text) => {
            budget.spend_bytes(text.as_str().len())?;
            bytes.take(text.as_str().len())?;
            return Ok(text.as_str().to_owned());
        }
        other => json(other, budget)?,
    };
    bytes.take(text.len())?;
    Ok(text)
}

/// The value as JSON, paid for as it grows.
pub(super) fn json(value: &Value<'_>, budget: &Budget) -> Result<String, Fault> {
    struct Paid<'b>(Vec<u8>, &'b Budget);
    impl io::Write for Paid<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Each write is a token: it is a step, however short.
            let paid = self
                .1
                .spend(1)
                .and_then(|()| self.1.spend_bytes(bytes.len()));
            paid.map_err(io::Error::other)?;
            self.0.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut paid = Paid(Vec::new(), budget);
    if serde_json::to_writer(&mut paid, value).is_err() {
        return Err(Fault::Exhausted);
    }
    String::from_utf8(paid.0).map_err(|_| Fault::Wrong("it is no text".to_owned()))
}

/// The value as JSON, of which no more than 256 bytes are written.
pub(super) fn shortened(value: &Json) -> String {
    struct Short(Vec<u8>);
    impl io::Write for Short {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let room = (SHOWN + 1).saturating_sub(self.0.len());
            let taken = bytes.get(..room).unwrap_or(bytes);
            self.0.extend_from_slice(taken);
            if taken.len() < bytes.len() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut short = Short(Vec::new());
    // Its only error is that there is more.
    let whole = serde_json::to_writer(&mut short, value).is_ok() && short.0.len() <= SHOWN;
    short.0.truncate(SHOWN);
    let mut text = String::from_utf8_lossy(&short.0).into_owned();
    if !whole {
        // A cut may have halved the last character.
        while text.ends_with(char::REPLACEMENT_CHARACTER) {
            text.pop();
        }
        text.push('…');
    }
    text
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i128(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(text) => serializer.serialize_str(text.as_str()),
            Self::List(List::Given(list)) => list.serialize(serializer),
            Self::List(List::Made(list)) => serializer.collect_seq(list.iter()),
            Self::Map(map) => {
                let mut written = serializer.serialize_map(Some(map.len()))?;
                for (key, value) in entries(map) {
                    written.serialize_entry(&key, &value)?;
                }
                written.end()
            }
        }
    }
}
