//! The decision: what each rule of a Hook says to an event.
//!
//! The same Hook and the same event give the same decision, to the byte. It is stored before anything is done, and
//! what carries it out looks at nothing else.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{
    Outcome,
    check::{Checked, Expressions},
    delivery::{FlowRef, RuleRecord, RunPayload},
    expression::{Budget, Bytes, Expression, Fault, Input},
    hook::{Allow, FlowSource, PayloadTarget, Rule},
    name::run_name,
    run::{Purpose, pipeline_run},
};

/// Bytes that the parameters and made files of all runs of one event may have together.
pub const MAX_RENDERED: usize = 256 << 10;
/// Bytes that the expressions and values on record may have together, so that the record fits into an object. What
/// exceeds them is left out; the reason stays.
const MAX_NOTED: usize = 128 << 10;
/// Bytes of a reason.
const MAX_REASON: usize = 1024;

/// An event, as the expressions of a Hook see it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The payload; null where it is no JSON.
    pub body: &'a Value,
    /// Headers by their name in lower case, without secrets and signatures.
    pub headers: &'a BTreeMap<String, String>,
    /// Parameters of the URL by name.
    pub query: &'a BTreeMap<String, String>,
    /// [`providers::Event`] as JSON.
    pub event: &'a Value,
    /// Bytes of the payload as it came.
    pub payload_bytes: u64,
}

/// What an event is called.
#[derive(Clone, Copy, Debug)]
pub struct Ids<'a> {
    /// Its identity inside the Hook.
    pub key: &'a str,
    /// The name of its Delivery: [`crate::name::delivery_name`].
    pub delivery: &'a str,
}

/// What each rule says to an event, in the order of the rules.
///
/// `Filtered`: the rule starts nothing, and the reason says why. `Failed`: it cannot be said, or what it would start is
/// not to be started. `Received`: the rule matches; the record names the run and holds it, complete, or for a flow its
/// parameters. The time that it takes is bounded for any payload and any Hook ([`crate::expression::MAX_STEPS`]).
pub fn decide(checked: &Checked, seen: &Seen<'_>, ids: &Ids<'_>) -> Vec<RuleRecord> {
    let metadata = &checked.hook.metadata;
    let (headers, query) = (json!(seen.headers), json!(seen.query));
    let hook = json!({ "name": metadata.name, "namespace": metadata.namespace });
    let decision = Decision {
        checked,
        seen,
        ids,
        input: Input {
            body: seen.body,
            headers: &headers,
            query: &query,
            event: seen.event,
            hook: &hook,
        },
        budget: Budget::default(),
        bytes: Bytes::new(MAX_RENDERED),
        noted: Bytes::new(MAX_NOTED),
    };
    checked
        .each()
        .map(|(rule, expressions)| decision.record(rule, expressions))
        .collect()
}

struct Decision<'a> {
    checked: &'a Checked,
    seen: &'a Seen<'a>,
    ids: &'a Ids<'a>,
    input: Input<'a>,
    budget: Budget,
    bytes: Bytes,
    noted: Bytes,
}

/// Why a rule does not match, or cannot be carried out.
struct No {
    outcome: Outcome,
    reason: String,
}

impl No {
    fn filtered(reason: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Filtered,
            reason: reason.into(),
        }
    }

    fn failed(reason: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Failed,
            reason: reason.into(),
        }
    }
}

impl Decision<'_> {
    fn record(&self, rule: &Rule, expressions: &Expressions) -> RuleRecord {
        let mut record = RuleRecord {
            name: rule.name.clone(),
            outcome: Outcome::Received,
            ..RuleRecord::default()
        };
        let decided = self
            .matches(rule, expressions, &mut record)
            .and_then(|()| self.render(rule, expressions, &mut record));
        if let Err(no) = decided {
            record.outcome = no.outcome;
            record.reason = no.reason;
            record.run = None;
            record.payload = None;
            record.params = None;
            record.flow = None;
        }
        record.reason = shortened(record.reason);
        record
    }

    /// Whether the rule matches, which `record` then says why.
    fn matches(
        &self,
        rule: &Rule,
        expressions: &Expressions,
        record: &mut RuleRecord,
    ) -> Result<(), No> {
        if self.checked.hook.spec.suspend {
            return Err(No::filtered("suspended"));
        }
        let types = types(self.seen.event);
        let named = |pattern: &String| types.iter().any(|name| is_type(pattern, name));
        if !rule.events.is_empty() && !rule.events.iter().any(named) {
            return Err(No::filtered(format!(
                "the event is {}, and the rule takes {}",
                types.join(", "),
                rule.events.join(", ")
            )));
        }
        record.reason = "matches".to_owned();
        if let Some(filter) = &expressions.filter {
            self.note(filter, record);
            match filter.holds(&self.input, &self.budget) {
                Ok(true) => "the filter is true".clone_into(&mut record.reason),
                Ok(false) => return Err(No::filtered("the filter is false")),
                Err(Fault::Unknown) => {
                    "the filter passes: it depends on changed files, and the payload does not list them"
                        .clone_into(&mut record.reason);
                }
                // A push of a tag is on no branch: that is no mistake of whoever asks for one.
                Err(fault @ Fault::Absent(_)) => {
                    return Err(No::filtered(format!("the filter is not true: {fault}")));
                }
                Err(fault) => return Err(No::failed(format!("filter: {fault}"))),
            }
        }
        forks(self.seen.event, &self.checked.hook.spec.allow).map_err(No::filtered)
    }

    /// What the rule starts.
    fn render(
        &self,
        rule: &Rule,
        expressions: &Expressions,
        record: &mut RuleRecord,
    ) -> Result<(), No> {
        let metadata = &self.checked.hook.metadata;
        let name = run_name(&metadata.name, &rule.name, &metadata.uid, self.ids.key);
        let params = self.params(rule, expressions, record)?;
        let payload = match &rule.payload {
            Some(target) => {
                Some(self.payload(target, expressions.payload.as_ref(), &name, record)?)
            }
            None => None,
        };
        record.pipeline_run = pipeline_run(&Purpose {
            hook: &self.checked.hook,
            rule,
            name: &name,
            delivery: self.ids.delivery,
            key: self.ids.key,
            params: &params,
            payload: payload.as_ref(),
        });
        if let Some(FlowSource { key, inline }) = &rule.flow {
            record.params = Some(Value::Object(params));
            record.flow = Some(FlowRef {
                key: key.clone(),
                inline: inline.clone(),
                name: None,
            });
        }
        record.payload = payload;
        record.run = Some(name);
        Ok(())
    }

    fn params(
        &self,
        rule: &Rule,
        expressions: &Expressions,
        record: &mut RuleRecord,
    ) -> Result<Map<String, Value>, No> {
        let mut params = Map::new();
        for (param, expression) in rule.params.iter().zip(&expressions.params) {
            let name = &param.name;
            let rendered = expression.parameter(&self.input, &self.budget, &self.bytes);
            let rendered = rendered.map_err(|fault| {
                self.note(expression, record);
                No::failed(format!("parameter `{name}`: {fault}"))
            })?;
            // Tekton replaces `$(…)` inside of values once more, and the kubelet `$(VAR)`.
            if expression.reads_input() && rendered.contains("$(") {
                self.note(expression, record);
                return Err(No::failed(format!(
                    "parameter `{name}` holds `$(`, which Tekton would replace; pass free text as a file (`payload`)"
                )));
            }
            params.insert(name.clone(), rendered.into_json());
        }
        Ok(params)
    }

    fn payload(
        &self,
        target: &PayloadTarget,
        expression: Option<&Expression>,
        run: &str,
        record: &mut RuleRecord,
    ) -> Result<RunPayload, No> {
        let text = expression.map(|expression| {
            let text = expression.file(&self.input, &self.budget, &self.bytes);
            text.map_err(|fault| {
                self.note(expression, record);
                No::failed(format!("payload: {fault}"))
            })
        });
        let text = text.transpose()?;
        let bytes = text
            .as_ref()
            .map_or(self.seen.payload_bytes, |text| text.len() as u64);
        if let Some(most) = target.max_bytes.filter(|most| bytes > *most) {
            return Err(No::failed(format!(
                "payload: it has {bytes} bytes, and the rule takes {most}"
            )));
        }
        Ok(RunPayload {
            secret_name: format!("{run}-payload"),
            file: target.file.clone(),
            text,
        })
    }

    /// Records the expression that decides, and what it sees.
    fn note(&self, expression: &Expression, record: &mut RuleRecord) {
        let values = expression.values(&self.input);
        let shown = values
            .iter()
            .map(|(place, value)| place.len() + value.len());
        let bytes = expression.text().len() + shown.sum::<usize>();
        if self.noted.take(bytes).is_ok() {
            record.expression = Some(expression.text().to_owned());
            record.values = values;
        }
    }
}

/// What the type of an event can be called: `pull_request`, and with its action `pull_request.opened`.
fn types(event: &Value) -> Vec<String> {
    let text = |name: &str| event.get(name).and_then(Value::as_str);
    let name = text("type").unwrap_or_default();
    let with_action = text("action").map(|action| format!("{name}.{action}"));
    std::iter::once(name.to_owned())
        .chain(with_action)
        .collect()
}

/// Whether a rule's pattern means this type.
fn is_type(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => pattern == name,
    }
}

/// Nothing from a fork starts by itself, nor from where nobody knows whether it is one.
fn forks(event: &Value, allow: &Allow) -> Result<(), String> {
    let Some(pull_request) = event.get("pullRequest") else {
        return Ok(());
    };
    let author = pull_request.get("author").and_then(Value::as_str);
    let fork = pull_request.get("fork").and_then(Value::as_bool);
    let known = author.is_some_and(|author| allow.authors.iter().any(|known| known == author));
    let which = match fork {
        _ if allow.forks || known => return Ok(()),
        Some(false) => return Ok(()),
        Some(true) => "comes from a fork",
        None => "may come from a fork, the payload does not say",
    };
    let author = author.map_or_else(String::new, |author| format!(" of {}", Value::from(author)));
    // Of some events it is not even known whether they are about a pull request.
    let subject = match pull_request.get("number") {
        Some(_) => "the pull request",
        None => "what the event is about",
    };
    Err(format!(
        "{subject}{author} {which}; `allow.forks` or `allow.authors` would let it start something"
    ))
}

fn shortened(mut reason: String) -> String {
    if reason.len() > MAX_REASON {
        let cut = (0..=MAX_REASON)
            .rev()
            .find(|at| reason.is_char_boundary(*at));
        reason.truncate(cut.unwrap_or_default());
        reason.push('…');
    }
    reason
}
