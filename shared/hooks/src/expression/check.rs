//! What can be said about an expression before an event comes: its names, its arguments, its bounds.

use std::{collections::BTreeMap, fmt, sync::Arc};

use cel::{
    IdedExpr,
    common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, operators},
};
use serde_json::Value as Json;

use super::{
    Input, MAX_DEPTH, MAX_LOOPS, MAX_NODES, VARIABLES, function,
    pattern::{Pattern, Patterns},
};

/// How many problems of one expression are told.
const MAX_PROBLEMS: usize = 16;

/// A place in the input that an expression reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    variable: String,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    Index(usize),
}

impl Place {
    /// The place that an expression names by a variable and literal steps, if that is all it does.
    pub(super) fn of(expression: &Expr) -> Option<Self> {
        Self::within(expression, MAX_DEPTH)
    }

    /// The same, with at most so many steps: a chain of them may be as long as the text.
    fn within(expression: &Expr, steps: usize) -> Option<Self> {
        let left = steps.checked_sub(1)?;
        match expression {
            Expr::Ident(name) if VARIABLES.contains(&name.as_str()) => Some(Self {
                variable: name.clone(),
                steps: Vec::new(),
            }),
            Expr::Select(select) => {
                let of = Self::within(&select.operand.expr, left)?;
                Some(of.then(Step::Field(select.field.clone())))
            }
            Expr::Call(call) if call.func_name == operators::INDEX => {
                let [of, at] = call.args.as_slice() else {
                    return None;
                };
                let step = match &at.expr {
                    Expr::Literal(LiteralValue::String(name)) => {
                        Step::Field(name.inner().to_owned())
                    }
                    Expr::Literal(LiteralValue::Int(at)) => {
                        Step::Index(usize::try_from(*at.inner()).ok()?)
                    }
                    _ => return None,
                };
                Some(Self::within(&of.expr, left)?.then(step))
            }
            _ => None,
        }
    }

    fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// The field of `event` that it is or is in, as far as it is named; none where it is no part of an event.
    pub(super) fn field(&self) -> Option<String> {
        let names = self.steps.iter().map_while(|step| match step {
            Step::Field(name) => Some(name.as_str()),
            Step::Index(_) => None,
        });
        (self.variable == "event").then(|| names.collect::<Vec<_>>().join("."))
    }

    /// What is there.
    pub(super) fn find<'a>(&self, input: &Input<'a>) -> Option<&'a Json> {
        let root = input.variable(&self.variable)?;
        self.steps.iter().try_fold(root, |at, step| match step {
            Step::Field(name) => at.as_object()?.get(name),
            Step::Index(index) => at.as_array()?.get(*index),
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.variable)?;
        for step in &self.steps {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Field(name) if is_identifier(name) => write!(f, ".{name}")?,
                Step::Field(name) => write!(f, "[{}]", Json::from(name.as_str()))?,
            }
        }
        Ok(())
    }
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// What an expression reads, and its patterns.
pub(super) type Checked = (Vec<Place>, BTreeMap<String, Arc<Pattern>>);

/// Checks an expression of the Hook that has these patterns.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) fn check(root: &IdedExpr, patterns: &mut Patterns) -> Result<Checked, Vec<String>> {
    let mut walk = Walk {
        problems: Vec::new(),
        reads: Vec::new(),
        patterns: BTreeMap::new(),
        all_patterns: patterns,
        bound: Vec::new(),
        loops: 0,
        nodes: 0,
    };
    walk.visit(root, 1);
    if walk.problems.is_empty() {
        Ok((walk.reads, walk.patterns))
    } else {
        Err(walk.problems)
    }
}

/// One way through an expression.
struct Walk<'e, 'p> {
    problems: Vec<String>,
    reads: Vec<Place>,
    /// Those of this expression.
    patterns: BTreeMap<String, Arc<Pattern>>,
    /// Those of its Hook.
    all_patterns: &'p mut Patterns,
    /// Variables of the loops around.
    bound: Vec<&'e str>,
    loops: usize,
    nodes: usize,
}

impl<'e> Walk<'e, '_> {
    fn problem(&mut self, text: String) {
        if self.problems.len() < MAX_PROBLEMS && !self.problems.contains(&text) {
            self.problems.push(text);
        }
    }

    fn visit(&mut self, node: &'e IdedExpr, depth: usize) {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return self.problem(format!("it is too long: it may have {MAX_NODES} parts"));
        }
        if depth > MAX_DEPTH {
            return self.problem(format!("it is nested deeper than {MAX_DEPTH}"));
        }
        self.note(Place::of(&node.expr));
        let depth = depth + 1;
        match &node.expr {
            Expr::Ident(name) => self.visit_name(name),
            Expr::Select(select) => self.visit(&select.operand, depth),
            Expr::Call(call) => self.visit_call(call, depth),
            Expr::List(list) => self.visit_all(&list.elements, depth),
            Expr::Map(map) => {
                for entry in &map.entries {
                    match &entry.expr {
                        EntryExpr::MapEntry(entry) => {
                            self.visit(&entry.key, depth);
                            self.visit(&entry.value, depth);
                        }
                        EntryExpr::StructField(field) => self.visit(&field.value, depth),
                    }
                }
            }
            Expr::Comprehension(loops) => self.visit_loop(loops, depth),
            Expr::Literal(LiteralValue::Bytes(_)) => {
                self.problem("bytes are not supported; write a text".to_owned());
            }
            Expr::Literal(_) => {}
            Expr::Struct(made) => self.problem(format!(
                "messages such as `{}{{…}}` are not supported; write a map",
                made.type_name
            )),
            Expr::Unspecified => self.problem("it is empty".to_owned()),
        }
    }

    fn visit_all(&mut self, nodes: &'e [IdedExpr], depth: usize) {
        for node in nodes {
            self.visit(node, depth);
        }
    }

    /// Remembers what is read; of `body.a.b` that is one place, not three.
    fn note(&mut self, place: Option<Place>) {
        let Some(place) = place else {
            return;
        };
        if self.bound.contains(&place.variable.as_str()) {
            return;
        }
        self.check_field(&place);
        let covered = |known: &Place| {
            known.variable == place.variable && known.steps.starts_with(&place.steps)
        };
        if !self.reads.iter().any(covered) {
            self.reads.push(place);
        }
    }

    /// An event has the same fields whoever sent it, so that a misspelt one is known before there is any.
    fn check_field(&mut self, place: &Place) {
        let Some(field) = place.field() else {
            return;
        };
        let known = |whole: &&str| {
            let rest = whole.strip_prefix(field.as_str());
            rest.is_some_and(|rest| field.is_empty() || rest.is_empty() || rest.starts_with('.'))
        };
        if !providers::event::FIELDS.iter().any(known) {
            self.problem(format!(
                "an event has no field `{place}`; there are {}",
                providers::event::FIELDS.join(", ")
            ));
        }
    }

    fn visit_name(&mut self, name: &'e str) {
        // What `all` and its like are written out to begins with `@`, which nobody can write.
        let known = VARIABLES.contains(&name) || self.bound.contains(&name);
        if !known && !name.starts_with('@') {
            self.problem(format!(
                "there is no variable `{name}`; there are {}",
                VARIABLES.join(", ")
            ));
        }
    }

    fn visit_call(&mut self, call: &'e CallExpr, depth: usize) {
        let name = call.func_name.as_str();
        match &call.target {
            // It reads the list of changed files, and nothing else of the event.
            Some(target) if name == function::CHANGED => {
                let place = Place::of(&target.expr).map(|of| of.then(Step::Field(name.to_owned())));
                self.note(place);
            }
            Some(target) => self.visit(target, depth),
            None => {}
        }
        self.visit_all(&call.args, depth);
        if function::is_operator(name) {
            return;
        }
        let Some(function) = function::find(name) else {
            return self.problem(format!(
                "there is no function `{name}`; there are {}",
                function::names().join(", ")
            ));
        };
        if let Err(problem) = function.takes(call) {
            return self.problem(problem);
        }
        if name == function::MATCHES {
            self.visit_pattern(call);
        }
    }

    /// A pattern is compiled once, here; one that the payload makes would cost anything.
    fn visit_pattern(&mut self, call: &CallExpr) {
        let pattern = call.args.last().map(|argument| &argument.expr);
        let Some(Expr::Literal(LiteralValue::String(pattern))) = pattern else {
            return self.problem("the pattern of `matches` has to be a literal text".to_owned());
        };
        let pattern = pattern.inner();
        match self.all_patterns.get(pattern) {
            Ok(compiled) => {
                self.patterns.insert(pattern.to_owned(), compiled);
            }
            Err(told) => self.problem(format!("the pattern {} {told}", Json::from(pattern))),
        }
    }

    fn visit_loop(&mut self, loops: &'e ComprehensionExpr, depth: usize) {
        self.visit(&loops.iter_range, depth);
        if self.loops >= MAX_LOOPS {
            return self.problem(format!(
                "`all`, `exists`, `exists_one`, `map` and `filter` may be nested {MAX_LOOPS} deep"
            ));
        }
        if VARIABLES.contains(&loops.iter_var.as_str()) {
            return self.problem(format!(
                "`{}` cannot be the name of an element; it is a variable already",
                loops.iter_var
            ));
        }
        self.loops += 1;
        self.visit(&loops.accu_init, depth);
        self.bound.push(&loops.iter_var);
        self.visit(&loops.loop_cond, depth);
        self.visit(&loops.loop_step, depth);
        self.bound.pop();
        self.visit(&loops.result, depth);
        self.loops -= 1;
    }
}
