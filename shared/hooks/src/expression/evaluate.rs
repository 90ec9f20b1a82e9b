//! Evaluation: one step after the other, each paid for.

use std::{cell::Cell, collections::BTreeMap, rc::Rc, sync::Arc};

use cel::{
    IdedExpr,
    common::ast::{
        CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, MapExpr, SelectExpr, operators,
    },
};

use super::{
    Expression, Input,
    check::Place,
    function,
    pattern::Pattern,
    value::{List, Map, Text, Value},
};

/// How many bytes of a text one step reads or makes.
const BYTES_PER_STEP: usize = 16;

/// How many steps one element of a made list or map takes: as many as its memory is text.
const STEPS_PER_ELEMENT: u64 = 4;

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The expressions of one event took more than their steps.
    #[error(
        "the expressions take more than {} steps for this event",
        super::MAX_STEPS
    )]
    Exhausted,
    /// The parameters and files of one event take more than their bytes.
    #[error("the parameters and files that the expressions make of this event are too large")]
    TooLarge,
    /// It depends on the changed files, which the payload does not list.
    #[error("the payload does not list changed files")]
    Unknown,
    /// It reads a field of `event` that this event does not have.
    #[error("`{0}` does not exist")]
    Absent(String),
    /// It cannot be evaluated, for a reason that a sentence tells.
    #[error("{0}")]
    Wrong(String),
}

/// The steps that the expressions of one event may still take.
#[derive(Debug)]
pub struct Budget(Cell<u64>);

impl Default for Budget {
    fn default() -> Self {
        Self(Cell::new(super::MAX_STEPS))
    }
}

impl Budget {
    /// Pays for steps.
    ///
    /// # Errors
    /// [`Fault::Exhausted`], from then on for ever.
    pub(super) fn spend(&self, steps: u64) -> Result<(), Fault> {
        let left = self.0.get().checked_sub(steps);
        self.0.set(left.unwrap_or(0));
        left.map(|_| ()).ok_or(Fault::Exhausted)
    }

    /// Pays for reading or making a text.
    pub(super) fn spend_bytes(&self, bytes: usize) -> Result<(), Fault> {
        self.spend((bytes / BYTES_PER_STEP) as u64)
    }

    /// Pays for elements of a list or map that is made, which bounds the memory that is held.
    pub(super) fn spend_elements(&self, elements: usize) -> Result<(), Fault> {
        self.spend((elements as u64).saturating_mul(STEPS_PER_ELEMENT))
    }
}

type Outcome<'a> = Result<Value<'a>, Fault>;

/// The value of an expression.
///
/// # Errors
/// Where it has none.
pub(super) fn evaluate<'a>(
    expression: &'a Expression,
    input: &Input<'a>,
    budget: &Budget,
) -> Outcome<'a> {
    let evaluation = Evaluation {
        input: *input,
        budget,
        patterns: &expression.patterns,
    };
    evaluation.value(&expression.root, None)
}

/// What is the same in all of an expression.
pub(super) struct Evaluation<'a, 'b> {
    pub(super) input: Input<'a>,
    pub(super) budget: &'b Budget,
    pub(super) patterns: &'a BTreeMap<String, Arc<Pattern>>,
}

/// A variable of a loop, and those of the loops around it.
struct Scope<'s, 'a> {
    name: &'a str,
    /// An accumulator can be a fault that a later element makes up for.
    value: Outcome<'a>,
    around: Option<&'s Scope<'s, 'a>>,
}

impl<'a> Evaluation<'a, '_> {
    fn value(&self, node: &'a IdedExpr, scope: Option<&Scope<'_, 'a>>) -> Outcome<'a> {
        self.budget.spend(1)?;
        match &node.expr {
            Expr::Literal(literal) => literal_value(literal),
            Expr::Ident(name) => self.variable(name, scope),
            Expr::Select(select) => self.select(select, &node.expr, scope),
            Expr::Call(call) => self.call(call, &node.expr, scope),
            Expr::List(list) => {
                self.budget.spend_elements(list.elements.len())?;
                self.all(&list.elements, scope).map(Value::list)
            }
            Expr::Map(map) => self.map(map, scope),
            Expr::Comprehension(loops) => self.comprehension(loops, scope),
            Expr::Struct(_) | Expr::Unspecified => Err(unsupported()),
        }
    }

    fn all(
        &self,
        nodes: &'a [IdedExpr],
        scope: Option<&Scope<'_, 'a>>,
    ) -> Result<Vec<Value<'a>>, Fault> {
        nodes.iter().map(|node| self.value(node, scope)).collect()
    }

    fn variable(&self, name: &str, scope: Option<&Scope<'_, 'a>>) -> Outcome<'a> {
        let mut around = scope;
        while let Some(scope) = around {
            if scope.name == name {
                return scope.value.clone();
            }
            around = scope.around;
        }
        let found = self.input.variable(name).map(Value::from);
        found.ok_or_else(|| Fault::Wrong(format!("there is no variable `{name}`")))
    }

    fn select(
        &self,
        select: &'a SelectExpr,
        whole: &Expr,
        scope: Option<&Scope<'_, 'a>>,
    ) -> Outcome<'a> {
        let of = self.value(&select.operand, scope)?;
        let Value::Map(map) = &of else {
            return Err(Fault::Wrong(format!(
                "{} is {} and has no field `{}`",
                name_of(&select.operand.expr),
                of.kind(),
                select.field
            )));
        };
        let found = map.get(&select.field);
        if select.test {
            return Ok(Value::Bool(found.is_some()));
        }
        found.ok_or_else(|| absent(whole, &select.field))
    }

    fn map(&self, map: &'a MapExpr, scope: Option<&Scope<'_, 'a>>) -> Outcome<'a> {
        self.budget.spend_elements(map.entries.len())?;
        let mut made = BTreeMap::new();
        for entry in &map.entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else {
                return Err(unsupported());
            };
            let Value::Text(key) = self.value(&entry.key, scope)? else {
                return Err(Fault::Wrong("keys of maps have to be texts".to_owned()));
            };
            self.budget.spend_bytes(key.as_str().len())?;
            let value = self.value(&entry.value, scope)?;
            if made.insert(key.as_str().to_owned(), value).is_some() {
                return Err(Fault::Wrong(format!(
                    "the map has the key `{}` twice",
                    key.as_str()
                )));
            }
        }
        Ok(Value::Map(Map::Made(Rc::new(made))))
    }

    fn call(&self, call: &'a CallExpr, whole: &Expr, scope: Option<&Scope<'_, 'a>>) -> Outcome<'a> {
        let name = call.func_name.as_str();
        match (name, call.args.as_slice()) {
            (operators::LOGICAL_OR, [one, other]) => self.either(one, other, true, scope),
            (operators::LOGICAL_AND, [one, other]) => self.either(one, other, false, scope),
            (operators::CONDITIONAL, [condition, one, other]) => {
                let holds = boolean(self.value(condition, scope)?)?;
                self.value(if holds { one } else { other }, scope)
            }
            (operators::NOT_STRICTLY_FALSE, [condition]) => match self.value(condition, scope) {
                Err(Fault::Exhausted) => Err(Fault::Exhausted),
                Ok(Value::Bool(false)) => Ok(Value::Bool(false)),
                _ => Ok(Value::Bool(true)),
            },
            (operators::INDEX, [of, at]) => {
                let (of, at) = (self.value(of, scope)?, self.value(at, scope)?);
                self.index(&of, &at, whole)
            }
            (name, arguments) if function::is_operator(name) => {
                let values = self.all(arguments, scope)?;
                function::operate(name, &values, self.budget)
            }
            _ => {
                let mut values = Vec::with_capacity(call.args.len() + 1);
                if let Some(target) = &call.target {
                    values.push(self.value(target, scope)?);
                }
                values.extend(self.all(&call.args, scope)?);
                function::call(name, &values, self)
            }
        }
    }

    /// `||` where `decides` is true, `&&` where it is false: the side that decides does, even if the other has no
    /// value.
    fn either(
        &self,
        one: &'a IdedExpr,
        other: &'a IdedExpr,
        decides: bool,
        scope: Option<&Scope<'_, 'a>>,
    ) -> Outcome<'a> {
        let first = self.value(one, scope).and_then(boolean);
        match first {
            Ok(value) if value == decides => return Ok(Value::Bool(decides)),
            Err(Fault::Exhausted) => return Err(Fault::Exhausted),
            _ => {}
        }
        let second = self.value(other, scope).and_then(boolean);
        match (first, second) {
            (_, Ok(value)) if value == decides => Ok(Value::Bool(decides)),
            (_, Err(Fault::Exhausted)) => Err(Fault::Exhausted),
            (Err(one), Err(other)) => Err(weightier(one, other, decides)),
            (Err(fault), Ok(_)) | (Ok(_), Err(fault)) => Err(fault),
            (Ok(_), Ok(_)) => Ok(Value::Bool(!decides)),
        }
    }

    fn index(&self, of: &Value<'a>, at: &Value<'a>, whole: &Expr) -> Outcome<'a> {
        match (of, at) {
            (Value::List(list), Value::Int(at)) => {
                let found = usize::try_from(*at).ok().and_then(|at| list.get(at));
                found.ok_or_else(|| absent(whole, &at.to_string()))
            }
            (Value::Map(map), Value::Text(key)) => {
                self.budget.spend_bytes(key.as_str().len())?;
                let found = map.get(key.as_str());
                found.ok_or_else(|| absent(whole, key.as_str()))
            }
            _ => Err(Fault::Wrong(format!(
                "{} cannot be indexed with {}",
                of.kind(),
                at.kind()
            ))),
        }
    }

    /// `all`, `exists`, `exists_one`, `map` and `filter`, as the parser writes them out.
    fn comprehension(
        &self,
        loops: &'a ComprehensionExpr,
        scope: Option<&Scope<'_, 'a>>,
    ) -> Outcome<'a> {
        let elements = match self.value(&loops.iter_range, scope)? {
            Value::List(list) => list,
            Value::Map(map) => {
                self.budget.spend_elements(map.len())?;
                let keys = map.keys().into_iter().map(Value::Text).collect();
                List::Made(Rc::new(keys))
            }
            other => {
                return Err(Fault::Wrong(format!(
                    "{} is {} and has no elements",
                    name_of(&loops.iter_range.expr),
                    other.kind()
                )));
            }
        };
        // `all` and `exists` go on after a fault: a later element may decide.
        let goes_on = matches!(&loops.loop_cond.expr,
            Expr::Call(call) if call.func_name == operators::NOT_STRICTLY_FALSE);
        let mut kept = Scope {
            name: &loops.accu_var,
            value: self.value(&loops.accu_init, scope),
            around: scope,
        };
        for element in elements.iter() {
            if !boolean(self.value(&loops.loop_cond, Some(&kept))?)? {
                break;
            }
            let next = self.next(loops, element, &mut kept);
            match next {
                Err(fault) if !goes_on || fault == Fault::Exhausted => return Err(fault),
                next => kept.value = next,
            }
        }
        self.value(&loops.result, Some(&kept))
    }

    /// The accumulator after one element. A list that only grows, as those of `map` and `filter`, is not copied.
    fn next(
        &self,
        loops: &'a ComprehensionExpr,
        element: Value<'a>,
        kept: &mut Scope<'_, 'a>,
    ) -> Outcome<'a> {
        let mut step = &loops.loop_step;
        loop {
            let inner = Scope {
                name: &loops.iter_var,
                value: Ok(element.clone()),
                around: Some(kept),
            };
            match &step.expr {
                Expr::Call(call) if call.func_name == operators::CONDITIONAL => {
                    let [condition, one, other] = call.args.as_slice() else {
                        return Err(unsupported());
                    };
                    let holds = boolean(self.value(condition, Some(&inner))?)?;
                    step = if holds { one } else { other };
                }
                Expr::Call(call) if appends(call, &loops.accu_var) => {
                    let Some(Expr::List(list)) = call.args.last().map(|last| &last.expr) else {
                        return Err(unsupported());
                    };
                    let added = self.all(&list.elements, Some(&inner))?;
                    self.budget.spend_elements(added.len())?;
                    let taken = std::mem::replace(&mut kept.value, Ok(Value::Null))?;
                    let Value::List(List::Made(mut made)) = taken else {
                        return Err(unsupported());
                    };
                    Rc::make_mut(&mut made).extend(added);
                    return Ok(Value::List(List::Made(made)));
                }
                _ => return self.value(step, Some(&inner)),
            }
        }
    }
}

/// Whether a call adds a list to the accumulator.
fn appends(call: &CallExpr, accumulator: &str) -> bool {
    matches!(call.args.as_slice(), [one, other]
        if call.func_name == operators::ADD
            && matches!(&one.expr, Expr::Ident(name) if name == accumulator)
            && matches!(&other.expr, Expr::List(_)))
}

pub(super) fn boolean(value: Value<'_>) -> Result<bool, Fault> {
    match value {
        Value::Bool(value) => Ok(value),
        other => Err(Fault::Wrong(format!(
            "{} stands where true or false is needed",
            other.kind()
        ))),
    }
}

fn literal_value(literal: &LiteralValue) -> Outcome<'_> {
    Ok(match literal {
        LiteralValue::Boolean(value) => Value::Bool(*value.inner()),
        LiteralValue::Double(value) => Value::Float(*value.inner()),
        LiteralValue::Int(value) => Value::Int(i128::from(*value.inner())),
        LiteralValue::UInt(value) => Value::Int(i128::from(*value.inner())),
        LiteralValue::Null => Value::Null,
        LiteralValue::String(text) => Value::Text(Text::Given(text.inner())),
        LiteralValue::Bytes(_) => return Err(unsupported()),
    })
}

/// How an expression is called in a sentence.
fn name_of(expression: &Expr) -> String {
    Place::of(expression).map_or_else(|| "a value".to_owned(), |place| format!("`{place}`"))
}

fn absent(whole: &Expr, part: &str) -> Fault {
    match Place::of(whole) {
        Some(place) if place.field().is_some() => Fault::Absent(place.to_string()),
        Some(place) => Fault::Wrong(format!("`{place}` does not exist")),
        None => {
            let part: String = part.chars().take(64).collect();
            Fault::Wrong(format!("`{part}` does not exist"))
        }
    }
}

/// Which of two faults an operator has: what is wrong says more than what is absent or unknown. Without what is absent a
/// side is not true, so that `||` depends on what is unknown, and `&&` no longer does.
fn weightier(one: Fault, other: Fault, is_or: bool) -> Fault {
    match (&one, &other) {
        (Fault::Absent(_), Fault::Unknown) if is_or => other,
        (Fault::Unknown, Fault::Absent(_)) if !is_or => other,
        (Fault::Absent(_) | Fault::Unknown, Fault::Wrong(_) | Fault::TooLarge) => other,
        _ => one,
    }
}

/// What [`Expression::parse`] refuses, and therefore never comes here.
fn unsupported() -> Fault {
    Fault::Wrong("a part of the expression is not supported".to_owned())
}
