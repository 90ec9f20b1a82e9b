//! The functions and operators of expressions: what they take, and what they do. The table of them for people stands in
//! [`super`].

use std::ops::RangeInclusive;

use cel::common::ast::{CallExpr, Expr, operators};
use serde_json::Value as Json;

use super::{
    Budget, Fault,
    evaluate::{Evaluation, boolean},
    render,
    value::{List, Text, Value},
};

/// The function whose pattern is compiled beforehand.
pub(super) const MATCHES: &str = "matches";
/// The method of `event`.
pub(super) const CHANGED: &str = "changed";

/// Operators that [`operate`] knows, and those that decide which of their sides is evaluated.
const OPERATORS: [&str; 19] = [
    operators::CONDITIONAL,
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::NOT_STRICTLY_FALSE,
    operators::INDEX,
    operators::LOGICAL_NOT,
    operators::NEGATE,
    operators::ADD,
    operators::SUBSTRACT,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::LESS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::GREATER_EQUALS,
    operators::IN,
];

/// One function.
pub(super) struct Function {
    name: &'static str,
    /// How many arguments it takes behind a dot, where it can stand there.
    method: Option<RangeInclusive<usize>>,
    /// How many it takes otherwise.
    global: Option<usize>,
}

const fn method(name: &'static str, arguments: RangeInclusive<usize>) -> Function {
    Function {
        name,
        method: Some(arguments),
        global: None,
    }
}

const fn global(name: &'static str) -> Function {
    Function {
        name,
        method: None,
        global: Some(1),
    }
}

static FUNCTIONS: [Function; 19] = [
    Function {
        name: "size",
        method: Some(0..=0),
        global: Some(1),
    },
    Function {
        name: MATCHES,
        method: Some(1..=1),
        global: Some(2),
    },
    method("contains", 1..=1),
    method("startsWith", 1..=1),
    method("endsWith", 1..=1),
    method("lowerAscii", 0..=0),
    method("upperAscii", 0..=0),
    method("trim", 0..=0),
    method("split", 1..=1),
    method("join", 0..=1),
    method("replace", 2..=2),
    method("substring", 1..=2),
    method("indexOf", 1..=1),
    method("lastIndexOf", 1..=1),
    method(CHANGED, 1..=1),
    global("string"),
    global("int"),
    global("double"),
    global("json"),
];

/// Whether it is an operator.
pub(super) fn is_operator(name: &str) -> bool {
    OPERATORS.contains(&name)
}

/// The function of a name.
pub(super) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

/// All names.
pub(super) fn names() -> Vec<&'static str> {
    FUNCTIONS.iter().map(|function| function.name).collect()
}

impl Function {
    /// Whether it can be called so.
    pub(super) fn takes(&self, call: &CallExpr) -> Result<(), String> {
        let name = self.name;
        let given = call.args.len();
        match (&call.target, &self.method, self.global) {
            (Some(target), _, _)
                if name == CHANGED
                    && !matches!(&target.expr, Expr::Ident(target) if target == "event") =>
            {
                Err("`changed` is a method of `event` alone: `event.changed('src/**')`".to_owned())
            }
            (Some(_), Some(takes), _) if takes.contains(&given) => Ok(()),
            (None, _, Some(takes)) if given == takes => Ok(()),
            (Some(_), Some(takes), _) => {
                let (least, most) = (takes.start(), takes.end());
                let takes = if least == most {
                    format!("{least}")
                } else {
                    format!("{least} or {most}")
                };
                Err(format!("`{name}` takes {takes} arguments, not {given}"))
            }
            (None, _, Some(takes)) => Err(format!("`{name}` takes {takes} arguments, not {given}")),
            (Some(_), None, _) => Err(format!("write `{name}(…)`, without a dot before it")),
            (None, Some(_), None) => Err(format!("write `x.{name}(…)`, behind a dot")),
            (None, None, None) => Err(format!("`{name}` cannot be called")),
        }
    }
}

type Outcome<'a> = Result<Value<'a>, Fault>;

/// What a function makes of its arguments, the one before the dot first.
pub(super) fn call<'a>(
    name: &str,
    arguments: &[Value<'a>],
    evaluation: &Evaluation<'a, '_>,
) -> Outcome<'a> {
    let budget = evaluation.budget;
    for argument in arguments {
        if let Value::Text(text) = argument {
            budget.spend_bytes(text.as_str().len())?;
        }
    }
    match (name, arguments) {
        ("size", [value]) => size(value),
        ("json", [value]) => render::json(value, budget).map(Value::text),
        ("string" | "int" | "double", [value]) => convert(name, value),
        ("join", [Value::List(list)]) => join(list, "", budget),
        ("join", [Value::List(list), Value::Text(with)]) => join(list, with.as_str(), budget),
        (CHANGED, [_, Value::Text(pattern)]) => changed(pattern.as_str(), evaluation),
        (MATCHES, [Value::Text(text), Value::Text(pattern)]) => {
            let compiled = evaluation.patterns.get(pattern.as_str());
            let compiled = compiled.ok_or_else(|| wrong(name, arguments))?;
            compiled.matches(text.as_str(), budget).map(Value::Bool)
        }
        (_, [Value::Text(text), rest @ ..]) => of_text(name, text, rest, arguments, budget),
        _ => Err(wrong(name, arguments)),
    }
}

/// The methods of texts.
fn of_text<'a>(
    name: &str,
    whole: &Text<'a>,
    rest: &[Value<'a>],
    arguments: &[Value<'a>],
    budget: &Budget,
) -> Outcome<'a> {
    let text = whole.as_str();
    Ok(match (name, rest) {
        ("lowerAscii", []) => Value::text(text.to_ascii_lowercase()),
        ("upperAscii", []) => Value::text(text.to_ascii_uppercase()),
        ("trim", []) => Value::Text(whole.part(str::trim)),
        ("contains", [Value::Text(part)]) => Value::Bool(text.contains(part.as_str())),
        ("startsWith", [Value::Text(part)]) => Value::Bool(text.starts_with(part.as_str())),
        ("endsWith", [Value::Text(part)]) => Value::Bool(text.ends_with(part.as_str())),
        ("indexOf", [Value::Text(part)]) => position(text, text.find(part.as_str())),
        ("lastIndexOf", [Value::Text(part)]) => position(text, text.rfind(part.as_str())),
        ("split", [Value::Text(at)]) => split(text, at.as_str(), budget)?,
        ("replace", [Value::Text(old), Value::Text(new)]) => {
            let (old, new) = (old.as_str(), new.as_str());
            let times = text.matches(old).count();
            budget.spend_bytes(text.len().saturating_add(times.saturating_mul(new.len())))?;
            budget.spend(times as u64)?;
            Value::text(text.replace(old, new))
        }
        ("substring", [Value::Int(from)]) => substring(whole, *from, None)?,
        ("substring", [Value::Int(from), Value::Int(to)]) => substring(whole, *from, Some(*to))?,
        _ => return Err(wrong(name, arguments)),
    })
}

fn wrong(name: &str, arguments: &[Value<'_>]) -> Fault {
    let kinds: Vec<_> = arguments.iter().map(Value::kind).collect();
    Fault::Wrong(format!("`{name}` does not work on {}", kinds.join(" and ")))
}

fn size<'a>(value: &Value<'a>) -> Outcome<'a> {
    let size = match value {
        Value::Text(text) => text.as_str().chars().count(),
        Value::List(list) => list.len(),
        Value::Map(map) => map.len(),
        _ => return Err(wrong("size", std::slice::from_ref(value))),
    };
    Ok(Value::Int(size as i128))
}

/// A position in bytes as one in characters.
fn position<'a>(text: &str, at: Option<usize>) -> Value<'a> {
    let before = at.and_then(|at| text.get(..at));
    Value::Int(before.map_or(-1, |before| before.chars().count() as i128))
}

fn substring<'a>(text: &Text<'a>, from: i128, to: Option<i128>) -> Outcome<'a> {
    let whole = text.as_str();
    let byte = |at: i128| {
        let at = usize::try_from(at).ok()?;
        let starts = whole.char_indices().map(|(at, _)| at);
        starts.chain(std::iter::once(whole.len())).nth(at)
    };
    let from = byte(from);
    let to = to.map_or(Some(whole.len()), byte);
    match (from, to) {
        (Some(from), Some(to)) if from <= to => Ok(Value::Text(
            text.part(|whole| whole.get(from..to).unwrap_or_default()),
        )),
        _ => Err(Fault::Wrong(
            "`substring` reaches beyond the text".to_owned(),
        )),
    }
}

fn split<'a>(text: &str, at: &str, budget: &Budget) -> Outcome<'a> {
    if at.is_empty() {
        budget.spend_elements(text.len())?;
        let parts = text
            .chars()
            .map(|c| Value::text(c.encode_utf8(&mut [0; 4])));
        return Ok(Value::list(parts.collect()));
    }
    budget.spend_elements(text.matches(at).count())?;
    Ok(Value::list(text.split(at).map(Value::text).collect()))
}

fn join<'a>(list: &List<'a>, with: &str, budget: &Budget) -> Outcome<'a> {
    let mut joined = String::new();
    for (at, part) in list.iter().enumerate() {
        budget.spend(1)?;
        let Value::Text(part) = &part else {
            return Err(Fault::Wrong(format!(
                "`join` takes a list of texts, and element {at} is {}",
                part.kind()
            )));
        };
        budget.spend_bytes(with.len() + part.as_str().len())?;
        if at > 0 {
            joined.push_str(with);
        }
        joined.push_str(part.as_str());
    }
    Ok(Value::text(joined))
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "that is what the conversions of CEL do; what does not fit is a fault"
)]
fn convert<'a>(to: &str, value: &Value<'a>) -> Outcome<'a> {
    let converted = match (to, value) {
        ("string", Value::Text(_)) | ("int", Value::Int(_)) | ("double", Value::Float(_)) => {
            Some(value.clone())
        }
        ("string", _) => value.scalar().map(Value::text),
        ("int", Value::Float(number)) if number.is_finite() => integer(*number as i128),
        ("int", Value::Text(text)) => text.as_str().parse().ok().and_then(integer),
        ("double", Value::Int(number)) => Some(Value::Float(*number as f64)),
        ("double", Value::Text(text)) => text.as_str().parse().ok().map(Value::Float),
        _ => None,
    };
    converted.ok_or_else(|| {
        let kind = value.kind();
        Fault::Wrong(format!("`{to}` cannot convert this value, which is {kind}"))
    })
}

/// An integer of 64 bits with sign, as all calculation has it. Payloads can have larger ones, up to those without.
fn integer<'a>(number: i128) -> Option<Value<'a>> {
    let number = i64::try_from(number).ok()?;
    Some(Value::Int(number.into()))
}

/// Whether a changed file matches. Without a list of them nobody knows, whatever stands around it.
fn changed<'a>(pattern: &str, evaluation: &Evaluation<'a, '_>) -> Outcome<'a> {
    let files = evaluation
        .input
        .event
        .get("changed")
        .and_then(Json::as_array);
    let files = files.ok_or(Fault::Unknown)?;
    // A text that is no pattern matches nothing.
    let Ok(glob) = providers::glob::Glob::new(pattern) else {
        return Ok(Value::Bool(false));
    };
    for file in files.iter().filter_map(Json::as_str) {
        evaluation.budget.spend(1)?;
        evaluation.budget.spend_bytes(glob.comparisons(file))?;
        if glob.matches(file) {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

/// What an operator makes of its sides.
pub(super) fn operate<'a>(name: &str, sides: &[Value<'a>], budget: &Budget) -> Outcome<'a> {
    Ok(match (name, sides) {
        (operators::LOGICAL_NOT, [value]) => Value::Bool(!boolean(value.clone())?),
        (operators::NEGATE, [Value::Int(number)]) => {
            integer(-number).ok_or_else(|| overflow(name))?
        }
        (operators::NEGATE, [Value::Float(number)]) => Value::Float(-number),
        (operators::EQUALS, [one, other]) => Value::Bool(one.equals(other, budget)?),
        (operators::NOT_EQUALS, [one, other]) => Value::Bool(!one.equals(other, budget)?),
        (operators::LESS, [one, other]) => Value::Bool(one.compare(other, budget)?.is_lt()),
        (operators::LESS_EQUALS, [one, other]) => Value::Bool(one.compare(other, budget)?.is_le()),
        (operators::GREATER, [one, other]) => Value::Bool(one.compare(other, budget)?.is_gt()),
        (operators::GREATER_EQUALS, [one, other]) => {
            Value::Bool(one.compare(other, budget)?.is_ge())
        }
        (operators::IN, [value, Value::List(list)]) => {
            for element in list.iter() {
                if value.equals(&element, budget)? {
                    return Ok(Value::Bool(true));
                }
            }
            Value::Bool(false)
        }
        (operators::IN, [Value::Text(key), Value::Map(map)]) => {
            budget.spend_bytes(key.as_str().len())?;
            Value::Bool(map.get(key.as_str()).is_some())
        }
        (operators::ADD, [Value::Text(one), Value::Text(other)]) => {
            let (one, other) = (one.as_str(), other.as_str());
            budget.spend_bytes(one.len() + other.len())?;
            Value::text([one, other].concat())
        }
        (operators::ADD, [Value::List(one), Value::List(other)]) => {
            budget.spend_elements(one.len() + other.len())?;
            Value::list(one.iter().chain(other.iter()).collect())
        }
        (_, [Value::Int(one), Value::Int(other)]) => integers(name, *one, *other)?,
        (_, [one, other]) => floats(name, one, other)?,
        _ => return Err(wrong(name, sides)),
    })
}

fn overflow(name: &str) -> Fault {
    Fault::Wrong(format!(
        "`{name}` divides by zero, or its result is no integer of 64 bits"
    ))
}

fn integers<'a>(name: &str, one: i128, other: i128) -> Outcome<'a> {
    let result = match name {
        operators::ADD => one.checked_add(other),
        operators::SUBSTRACT => one.checked_sub(other),
        operators::MULTIPLY => one.checked_mul(other),
        operators::DIVIDE => one.checked_div(other),
        operators::MODULO => one.checked_rem(other),
        _ => return Err(wrong(name, &[Value::Int(one), Value::Int(other)])),
    };
    let result = result.and_then(integer);
    result.ok_or_else(|| overflow(name))
}

#[allow(
    clippy::cast_precision_loss,
    reason = "an integer beside a floating point number becomes one"
)]
fn floats<'a>(name: &str, one: &Value<'a>, other: &Value<'a>) -> Outcome<'a> {
    let float = |value: &Value<'_>| match value {
        Value::Int(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        _ => None,
    };
    let (Some(a), Some(b)) = (float(one), float(other)) else {
        return Err(wrong(name, &[one.clone(), other.clone()]));
    };
    Ok(Value::Float(match name {
        operators::ADD => a + b,
        operators::SUBSTRACT => a - b,
        operators::MULTIPLY => a * b,
        operators::DIVIDE => a / b,
        _ => return Err(wrong(name, &[one.clone(), other.clone()])),
    }))
}
