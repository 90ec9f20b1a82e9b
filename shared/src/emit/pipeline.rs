//! The tasks in their order, and the values that they get.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    flow::{Comparand, Condition, Flow, OnFailure, Operator, Parameter, Task, Value},
    name::Label,
    tekton::{
        Param, ParamSpec, ParamType, ParamValue, PipelineSpec, PipelineTask, PropertySpec,
        TaskSource, Timeouts, WhenExpression,
    },
};

/// Where a task has its steps, and what it must be given.
pub(super) type Given = (TaskSource, Vec<Param>);

/// A pipeline of tasks that were written before, in the order of the flow.
pub(super) fn spec(flow: &Flow, base: &Label, written: Vec<Given>) -> PipelineSpec {
    let mut written = written.into_iter();
    let mut entries = |tasks: &[Task]| -> Vec<PipelineTask> {
        tasks
            .iter()
            .zip(written.by_ref())
            .map(|(task, given)| entry(task, base, given))
            .collect()
    };
    PipelineSpec {
        description: flow.description.clone(),
        params: flow.parameters.iter().map(declaration).collect(),
        tasks: entries(&flow.tasks),
        r#finally: entries(&flow.finally),
    }
}

fn entry(task: &Task, base: &Label, (steps, params): Given) -> PipelineTask {
    let Task {
        name,
        display_name,
        source: _,
        steps: _,
        dependencies,
        conditions,
        results: _,
        timeout,
        on_failure,
    } = task;
    let (retries, on_error) = match on_failure {
        OnFailure::Stop { retries } => (*retries, None),
        OnFailure::Continue => (0, Some("continue")),
    };
    PipelineTask {
        name: task_name(base, name),
        display_name: display_name.clone(),
        task: steps,
        params,
        run_after: dependencies
            .iter()
            .map(|task| task_name(base, task))
            .collect(),
        when: conditions
            .iter()
            .map(|condition| when(condition, base))
            .collect(),
        retries,
        timeout: timeout.map(duration),
        on_error,
    }
}

/// What a task is called in its pipeline, which is also the name of its Task.
pub(super) fn task_name(base: &Label, task: &Label) -> Label {
    base.join(task.as_str())
}

/// What Tekton replaces by a result of another task.
pub(super) fn result_of(base: &Label, task: &Label, result: &str) -> String {
    format!("$(tasks.{}.results.{result})", task_name(base, task))
}

fn when(
    Condition {
        input,
        operator,
        values,
    }: &Condition,
    base: &Label,
) -> WhenExpression {
    let word = |comparand: &Comparand| match comparand {
        Comparand::Text(text) => text.clone(),
        Comparand::Parameter(name) => format!("$(params.{name})"),
        Comparand::Result { task, result } => result_of(base, task, result),
    };
    WhenExpression {
        input: word(input),
        operator: match operator {
            Operator::In => "in",
            Operator::NotIn => "notin",
        },
        values: values.iter().map(word).collect(),
    }
}

fn declaration(parameter: &Parameter) -> ParamSpec {
    let Parameter {
        name,
        description,
        value: _,
        default,
    } = parameter;
    ParamSpec {
        name: name.clone(),
        r#type: param_type(parameter),
        description: description.clone(),
        properties: properties(parameter),
        default: default.as_ref().map(value),
    }
}

/// The shape of a parameter: that of its values.
pub(super) fn param_type(Parameter { value, default, .. }: &Parameter) -> ParamType {
    match value.as_ref().or(default.as_ref()) {
        Some(Value::Text(_)) | None => ParamType::String,
        Some(Value::List(_)) => ParamType::Array,
        Some(Value::Map(_)) => ParamType::Object,
    }
}

/// The keys of a parameter that is a map.
pub(super) fn properties(
    Parameter { value, default, .. }: &Parameter,
) -> BTreeMap<String, PropertySpec> {
    let keys = [value, default]
        .into_iter()
        .flatten()
        .flat_map(|value| match value {
            Value::Map(map) => map.keys().cloned().collect(),
            Value::Text(_) | Value::List(_) => Vec::new(),
        });
    keys.map(|key| {
        (
            key,
            PropertySpec {
                r#type: ParamType::String,
            },
        )
    })
    .collect()
}

/// The values that this run gives.
pub(super) fn values(flow: &Flow) -> Vec<Param> {
    let given = flow
        .parameters
        .iter()
        .filter_map(|parameter| Some((&parameter.name, parameter.value.as_ref()?)));
    given
        .map(|(name, given)| Param {
            name: name.clone(),
            value: value(given),
        })
        .collect()
}

fn value(value: &Value) -> ParamValue {
    match value {
        Value::Text(text) => ParamValue::String(text.clone()),
        Value::List(list) => ParamValue::Array(list.clone()),
        Value::Map(map) => ParamValue::Object(map.clone()),
    }
}

/// The limits of a run.
pub(super) fn timeouts(flow: &Flow) -> Option<Timeouts> {
    flow.timeout.map(|timeout| Timeouts {
        pipeline: duration(timeout),
    })
}

/// A span of time as Go reads it.
pub(super) fn duration(time: Duration) -> String {
    match time.subsec_nanos() {
        0 => format!("{}s", time.as_secs()),
        nanos => format!("{}.{nanos:09}s", time.as_secs()),
    }
}
