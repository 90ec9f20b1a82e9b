//! What can be said about one rule.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{Common, Expressions, Kind, Problem};
use crate::{
    expression::{Expression, Patterns},
    hook::{PayloadTarget, Rule},
    name::is_label,
};

/// Parameters of one rule.
const MAX_PARAMS: usize = 128;
/// Types of events of one rule.
const MAX_EVENTS: usize = 64;
/// Bytes of a rule's name, which is part of the run's.
const MAX_NAME: usize = 40;

/// Checks a rule; its expressions, as far as they can be read.
pub(super) fn check(
    rule: &Rule,
    place: &str,
    common: &mut Common<'_>,
    problems: &mut Vec<Problem>,
) -> Expressions {
    let mut problem = |at: &str, kind, message: String| {
        problems.push(Problem::new(format!("{place}{at}"), kind, message));
    };
    if !is_label(&rule.name) || rule.name.len() > MAX_NAME {
        let message = format!(
            "it is part of names of runs: 1 to {MAX_NAME} of a-z, 0-9 and `-`, no `-` at its ends"
        );
        problem(".name", Kind::InvalidName, message);
    }
    if rule.events.len() > MAX_EVENTS {
        problem(
            ".events",
            Kind::TooMany,
            format!("a rule may name {MAX_EVENTS} types of events"),
        );
    }
    for (at, pattern) in rule.events.iter().enumerate() {
        let inner = pattern.strip_suffix('*').unwrap_or(pattern);
        if inner.contains('*') || pattern.is_empty() {
            let message =
                "a type of events, such as `push`; `*` stands for anything, at the end alone";
            problem(
                &format!(".events[{at}]"),
                Kind::InvalidName,
                message.to_owned(),
            );
        }
    }
    let targets = [
        rule.pipeline_ref.is_some(),
        rule.pipeline_run.is_some(),
        rule.flow.is_some(),
    ];
    if targets.iter().filter(|given| **given).count() != 1 {
        let message = "give exactly one of `pipelineRef`, `pipelineRun` and `flow`";
        problem("", Kind::NotExactlyOne, message.to_owned());
    }
    if rule
        .flow
        .as_ref()
        .is_some_and(|flow| flow.key.is_some() == flow.inline.is_some())
    {
        let message = "give exactly one of `key` and `inline`";
        problem(".flow", Kind::NotExactlyOne, message.to_owned());
    }
    if rule
        .pipeline_ref
        .as_ref()
        .is_some_and(|pipeline| pipeline.name.is_empty())
    {
        problem(
            ".pipelineRef.name",
            Kind::InvalidName,
            "name a Pipeline".to_owned(),
        );
    }
    if let Some(run) = &rule.pipeline_run {
        let place = format!("{place}.pipelineRun");
        template(run, &place, problems);
        accounts(run, common.account, &place, problems);
    }
    if let Some(target) = &rule.payload {
        payload(target, &format!("{place}.payload"), problems);
    }
    expressions(rule, place, &mut common.patterns, problems)
}

fn expressions(
    rule: &Rule,
    place: &str,
    patterns: &mut Patterns,
    problems: &mut Vec<Problem>,
) -> Expressions {
    let mut parse = |at: String, text: &str| match Expression::parse_in(text, patterns) {
        Ok(expression) => Some(expression),
        Err(found) => {
            let problem = |message| Problem::new(at.clone(), Kind::InvalidExpression, message);
            problems.extend(found.into_iter().map(problem));
            None
        }
    };
    let text = rule.filter.as_ref();
    let filter = text.and_then(|text| parse(format!("{place}.filter"), text));
    let text = rule
        .payload
        .as_ref()
        .and_then(|target| target.expression.as_ref());
    let payload = text.and_then(|text| parse(format!("{place}.payload.expression"), text));
    let mut params = Vec::new();
    for (at, param) in rule.params.iter().enumerate().take(MAX_PARAMS) {
        params.extend(parse(
            format!("{place}.params[{at}].expression"),
            &param.expression,
        ));
    }
    let mut names = BTreeSet::new();
    for (at, param) in rule.params.iter().enumerate() {
        let place = format!("{place}.params[{at}].name");
        if !is_parameter(&param.name) {
            let message =
                "the name of a parameter: a letter or `_`, then letters, digits, `-`, `_`, `.`";
            problems.push(Problem::new(&place, Kind::InvalidName, message));
        }
        if !names.insert(&param.name) {
            let message = format!("another parameter is called `{}`, too", param.name);
            problems.push(Problem::new(place, Kind::DuplicateName, message));
        }
    }
    if rule.params.len() > MAX_PARAMS {
        let message = format!("a rule may set {MAX_PARAMS} parameters");
        problems.push(Problem::new(
            format!("{place}.params"),
            Kind::TooMany,
            message,
        ));
    }
    Expressions {
        filter,
        params,
        payload,
    }
}

/// Whether a text can name a parameter (Tekton: "Parameters", names).
fn is_parameter(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = bytes.next();
    text.len() <= 253
        && first.is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn payload(target: &PayloadTarget, place: &str, problems: &mut Vec<Problem>) {
    let mut problem = |at: &str, message: &str| {
        problems.push(Problem::new(
            format!("{place}.{at}"),
            Kind::InvalidPayload,
            message,
        ));
    };
    if target.workspace.is_empty() || target.workspace.len() > 63 {
        problem("workspace", "name a workspace that the Pipeline declares");
    }
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let file = target.file.as_str();
    // An entry of a Secret; a mounted one keeps its own files under names that begin with two dots.
    let is_entry = (1..=63).contains(&file.len())
        && file != "."
        && !file.starts_with("..")
        && file.bytes().all(legal);
    if !is_entry {
        problem(
            "file",
            "a file's name: 1 to 63 letters, digits, `-`, `_`, `.`, and not `..` first",
        );
    }
}

/// Checks the PipelineRun of a rule: what is ours must not be in it.
fn template(run: &Value, place: &str, problems: &mut Vec<Problem>) {
    let mut problem = |at: &str, message: &str| {
        problems.push(Problem::new(
            format!("{place}{at}"),
            Kind::InvalidPipelineRun,
            message,
        ));
    };
    let Some(run) = run.as_object() else {
        return problem("", "a PipelineRun: `metadata` and `spec`");
    };
    for field in run
        .keys()
        .filter(|field| !matches!(field.as_str(), "metadata" | "spec"))
    {
        problem(
            &format!(".{field}"),
            "only `metadata` and `spec` can be given",
        );
    }
    match run.get("metadata").map(Value::as_object) {
        None => {}
        Some(None) => problem(".metadata", "a map with `labels` and `annotations`"),
        Some(Some(metadata)) => metadata_of(metadata, &mut problem),
    }
    let Some(spec) = run.get("spec").and_then(Value::as_object) else {
        return problem(".spec", "say what to run: `pipelineRef` or `pipelineSpec`");
    };
    if spec.contains_key("pipelineRef") == spec.contains_key("pipelineSpec") {
        problem(
            ".spec",
            "give exactly one of `pipelineRef` and `pipelineSpec`",
        );
    }
    if spec.contains_key("status") {
        problem(
            ".spec.status",
            "when the run starts is decided by its Hook; leave this out",
        );
    }
    for field in ["params", "workspaces"] {
        let Some(entries) = spec.get(field) else {
            continue;
        };
        let entries = entries.as_array();
        let named = |entry: &Value| entry.get("name").is_some_and(Value::is_string);
        if !entries.is_some_and(|entries| entries.iter().all(named)) {
            problem(
                &format!(".spec.{field}"),
                "a list of maps, each with a `name`",
            );
        }
    }
    let template = spec.get("taskRunTemplate");
    if template.is_some_and(|template| !template.is_object()) {
        problem(".spec.taskRunTemplate", "a map");
    }
}

/// Checks as whom the PipelineRun of a rule acts: as the Hook's ServiceAccount, since the right of no other one to start
/// runs is asked for, and whoever may write Hooks is to gain nothing.
fn accounts(run: &Value, account: &str, place: &str, problems: &mut Vec<Problem>) {
    let at = |pointer: &str| run.pointer(pointer);
    let tasks = at("/spec/taskRunSpecs").and_then(Value::as_array);
    let tasks = tasks.into_iter().flatten().enumerate();
    let places = [
        (".spec".to_owned(), at("/spec")),
        (
            ".spec.taskRunTemplate".to_owned(),
            at("/spec/taskRunTemplate"),
        ),
    ]
    .into_iter()
    .chain(tasks.map(|(at, task)| (format!(".spec.taskRunSpecs[{at}]"), Some(task))));
    for (within, fields) in places {
        let fields = fields.and_then(Value::as_object).into_iter().flatten();
        // Older versions of Tekton had `taskServiceAccountName`, and a list of them.
        let named =
            fields.filter(|(field, _)| field.to_ascii_lowercase().contains("serviceaccount"));
        // Tekton reads nothing and an empty name as if neither were there.
        let other = |value: &Value| {
            let same = |name| ["", account].contains(&name);
            !value.is_null() && !value.as_str().is_some_and(same)
        };
        for (field, _) in named.filter(|(_, value)| other(value)) {
            let message = format!(
                "runs of this Hook act as its ServiceAccount `{account}` (`spec.serviceAccountName`); leave this out, or \
                 make a Hook for the other account"
            );
            let place = format!("{place}{within}.{field}");
            problems.push(Problem::new(place, Kind::InvalidPipelineRun, message));
        }
    }
}

fn metadata_of(metadata: &Map<String, Value>, problem: &mut impl FnMut(&str, &str)) {
    for (field, value) in metadata {
        let at = format!(".metadata.{field}");
        if !matches!(field.as_str(), "labels" | "annotations") {
            problem(
                &at,
                "only `labels` and `annotations` can be given; the rest follows from the event",
            );
            continue;
        }
        let Some(entries) = value
            .as_object()
            .filter(|map| map.values().all(Value::is_string))
        else {
            problem(&at, "a map of texts");
            continue;
        };
        let ours =
            |key: &&String| key.starts_with("hookrun.dev/") || *key == crate::run::MANAGED_BY;
        for key in entries.keys().filter(ours) {
            problem(
                &format!("{at}[\"{key}\"]"),
                "it says whose the run is, and is not to be given",
            );
        }
    }
}
