//! Values of expressions. Payloads are read where they lie; only what an expression makes is owned, and shared.

use std::{borrow::Cow, cmp::Ordering, collections::BTreeMap, rc::Rc};

use serde_json::{Map as JsonMap, Value as Json};

use super::{Budget, Fault};

/// A value. Cloning one costs nothing.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    /// An integer, within those of 64 bits with and without sign.
    Int(i128),
    Float(f64),
    Text(Text<'a>),
    List(List<'a>),
    Map(Map<'a>),
}

/// A text of the input or of the expression, or a made one.
#[derive(Clone, Debug)]
pub(super) enum Text<'a> {
    Given(&'a str),
    Made(Rc<str>),
}

/// A list of the input, or a made one.
#[derive(Clone, Debug)]
pub(super) enum List<'a> {
    Given(&'a [Json]),
    Made(Rc<Vec<Value<'a>>>),
}

/// A map of the input, or a made one.
#[derive(Clone, Debug)]
pub(super) enum Map<'a> {
    Given(&'a JsonMap<String, Json>),
    Made(Rc<BTreeMap<String, Value<'a>>>),
}

impl Text<'_> {
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Given(text) => text,
            Self::Made(text) => text,
        }
    }
}

impl<'a> Text<'a> {
    /// A part of this text, that `cut` takes; of a given text it is not copied.
    pub(super) fn part(&self, cut: impl for<'t> Fn(&'t str) -> &'t str) -> Text<'a> {
        match self {
            Self::Given(text) => Self::Given(cut(text)),
            Self::Made(text) => Self::Made(cut(text).into()),
        }
    }
}

impl<'a> List<'a> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Given(list) => list.len(),
            Self::Made(list) => list.len(),
        }
    }

    pub(super) fn get(&self, at: usize) -> Option<Value<'a>> {
        match self {
            Self::Given(list) => list.get(at).map(Value::from),
            Self::Made(list) => list.get(at).cloned(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Value<'a>> {
        (0..self.len()).filter_map(|at| self.get(at))
    }
}

impl<'a> Map<'a> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Given(map) => map.len(),
            Self::Made(map) => map.len(),
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<Value<'a>> {
        match self {
            Self::Given(map) => map.get(key).map(Value::from),
            Self::Made(map) => map.get(key).cloned(),
        }
    }

    /// The keys, in the order of their bytes, whatever the order of the payload is.
    pub(super) fn keys(&self) -> Vec<Text<'a>> {
        match self {
            Self::Given(map) => {
                let mut keys: Vec<&'a str> = map.keys().map(String::as_str).collect();
                keys.sort_unstable();
                keys.into_iter().map(Text::Given).collect()
            }
            Self::Made(map) => map
                .keys()
                .map(|key| Text::Made(key.as_str().into()))
                .collect(),
        }
    }
}

impl<'a> From<&'a Json> for Value<'a> {
    fn from(json: &'a Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => {
                let signed = number.as_i64().map(i128::from);
                let integer = signed.or_else(|| number.as_u64().map(i128::from));
                integer.map_or_else(
                    || Self::Float(number.as_f64().unwrap_or(f64::NAN)),
                    Self::Int,
                )
            }
            Json::String(text) => Self::Text(Text::Given(text)),
            Json::Array(list) => Self::List(List::Given(list)),
            Json::Object(map) => Self::Map(Map::Given(map)),
        }
    }
}

impl<'a> Value<'a> {
    pub(super) fn text(text: impl AsRef<str>) -> Self {
        Self::Text(Text::Made(text.as_ref().into()))
    }

    pub(super) fn list(values: Vec<Value<'a>>) -> Self {
        Self::List(List::Made(Rc::new(values)))
    }

    /// What kind of value it is, for people.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "an integer",
            Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }

    /// Null, a boolean or a number as JSON writes them, a text as it is; nothing of lists and maps.
    pub(super) fn scalar(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::Null => Cow::Borrowed("null"),
            Self::Bool(value) => Cow::Borrowed(if *value { "true" } else { "false" }),
            Self::Int(value) => Cow::Owned(value.to_string()),
            Self::Float(value) => Cow::Owned(
                serde_json::Number::from_f64(*value)
                    .map_or_else(|| value.to_string(), |number| number.to_string()),
            ),
            Self::Text(text) => Cow::Borrowed(text.as_str()),
            Self::List(_) | Self::Map(_) => return None,
        })
    }

    /// Whether two values are the same; values of different kinds never are, except numbers.
    pub(super) fn equals(&self, other: &Value<'a>, budget: &Budget) -> Result<bool, Fault> {
        budget.spend(1)?;
        Ok(match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(one), Self::Bool(other)) => one == other,
            (Self::Text(one), Self::Text(other)) => {
                let (one, other) = (one.as_str(), other.as_str());
                if one.len() != other.len() {
                    return Ok(false);
                }
                budget.spend_bytes(one.len())?;
                one == other
            }
            (Self::List(one), Self::List(other)) => {
                if one.len() != other.len() {
                    return Ok(false);
                }
                for (one, other) in one.iter().zip(other.iter()) {
                    if !one.equals(&other, budget)? {
                        return Ok(false);
                    }
                }
                true
            }
            (Self::Map(one), Self::Map(other)) => {
                if one.len() != other.len() {
                    return Ok(false);
                }
                budget.spend(one.len() as u64)?;
                for key in one.keys() {
                    let pair = (one.get(key.as_str()), other.get(key.as_str()));
                    let (Some(one), Some(other)) = pair else {
                        return Ok(false);
                    };
                    if !one.equals(&other, budget)? {
                        return Ok(false);
                    }
                }
                true
            }
            _ => numbers(self, other) == Some(Ordering::Equal),
        })
    }

    /// Which of two numbers, texts or booleans is greater.
    pub(super) fn compare(&self, other: &Value<'a>, budget: &Budget) -> Result<Ordering, Fault> {
        let order = match (self, other) {
            (Self::Bool(one), Self::Bool(other)) => Some(one.cmp(other)),
            (Self::Text(one), Self::Text(other)) => {
                let (one, other) = (one.as_str(), other.as_str());
                budget.spend_bytes(one.len().min(other.len()))?;
                Some(one.cmp(other))
            }
            _ => numbers(self, other),
        };
        order.ok_or_else(|| {
            let (one, other) = (self.kind(), other.kind());
            Fault::Wrong(format!("{one} and {other} cannot be ordered"))
        })
    }
}

/// The order of two numbers, if both are.
#[allow(
    clippy::cast_precision_loss,
    reason = "CEL compares integers and floating point as numbers"
)]
fn numbers(one: &Value<'_>, other: &Value<'_>) -> Option<Ordering> {
    match (one, other) {
        (Value::Int(one), Value::Int(other)) => Some(one.cmp(other)),
        (Value::Int(one), Value::Float(other)) => (*one as f64).partial_cmp(other),
        (Value::Float(one), Value::Int(other)) => one.partial_cmp(&(*other as f64)),
        (Value::Float(one), Value::Float(other)) => one.partial_cmp(other),
        _ => None,
    }
}
