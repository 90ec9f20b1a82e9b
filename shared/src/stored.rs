//! A run of what the cluster holds: the flow's Pipeline, Tasks and Secrets, as they are now, become a snapshot.
//!
//! Pure: the edge reads the objects, in the order that the functions here ask for, and writes the run. The objects
//! may be anybody's: what we do not know is taken along as it is, and what a run by name cannot give is a problem.

mod refs;

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashSet},
};

use serde_json::{Map, Value, json};

use crate::{
    emit::{Identity, PIPELINE, Parts, Request, Run, Secrets, Settings, assemble},
    label,
    name::{Label, object_name},
    problem::{Kind, Path, Problem, Problems, Report, shortened},
    tekton::{EmbeddedPipeline, Param, ParamValue},
};

/// The parameter that carries the flow's name.
const NAME_PARAMETER: &str = "deployment-name";

/// The data sets that flows keep in Secrets of their own.
const SETS: [&str; 3] = ["creds", "keys", "files"];

/// The lists of a Pipeline that hold tasks.
const TASK_LISTS: [&str; 2] = ["tasks", "finally"];

/// What the cluster holds of a flow.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// The Pipeline, whole.
    pub pipeline: Value,
    /// The Tasks that it uses, whole, by name; see [`task_names`].
    pub tasks: BTreeMap<String, Value>,
    /// Contents in base64 of the flow's own Secrets, by name; see [`secret_names`].
    pub secrets: BTreeMap<String, BTreeMap<String, String>>,
}

/// The Pipeline that a flow's name stands for.
///
/// ```
/// assert_eq!(flows::stored::pipeline_name("Nightly Scan").as_str(), "nightly-scan-pl");
/// ```
pub fn pipeline_name(name: &str) -> Label {
    object_name(name).join(PIPELINE)
}

/// The Task that the Pipeline of an Artisan flow uses, so that both can be asked for at once; [`task_names`] tells what it is
/// in truth.
///
/// ```
/// assert_eq!(flows::stored::task_name("Nightly Scan").as_str(), "nightly-scan-build-task");
/// ```
pub fn task_name(name: &str) -> Label {
    object_name(name).join("build-task")
}

/// The Tasks of its own namespace that a Pipeline uses, each once.
pub fn task_names(pipeline: &Value) -> Vec<String> {
    let mut seen = HashSet::new();
    let names = pipeline_tasks(pipeline)
        .filter_map(local_task)
        .filter(|name| seen.insert(*name));
    names.map(str::to_owned).collect()
}

/// The flow's own Secrets that its Pipeline and Tasks use; those of others stay references.
///
/// `flow` is the flow's name as object names begin, [`object_name`].
pub fn secret_names(
    flow: &Label,
    tasks: &BTreeMap<String, Value>,
    pipeline: &Value,
) -> Vec<String> {
    let mut used = HashSet::new();
    for object in tasks.values().chain([pipeline]) {
        refs::each(object, &mut |reference| {
            used.insert(reference.name.to_owned());
        });
    }
    own_secrets(flow)
        .map(|(_, name)| name)
        .filter(|name| used.contains(name))
        .collect()
}

/// The Secrets in which a flow of this name keeps its data, as far as it has any.
pub fn data_secrets(flow: &Label) -> Vec<String> {
    own_secrets(flow).map(|(_, name)| name).collect()
}

/// One run of it, by the name that was asked for. It takes no payload: [`Request::payload`] is not looked at.
///
/// # Errors
///
/// What is missing, or cannot be run by name.
pub fn snapshot(
    name: &str,
    stored: Stored,
    namespace: &Label,
    request: &Request<'_>,
    settings: &Settings,
) -> Result<Run, Problems> {
    let Stored {
        pipeline,
        tasks,
        secrets,
    } = stored;
    let flow = object_name(name);
    let run = request.run_name(&flow);
    let report = RefCell::new(Report::default());
    let problem = |at: Path, kind: Kind| report.borrow_mut().add(|| Problem { at, kind });

    let mut spec = spec_of(&pipeline).cloned().unwrap_or_default();
    if pipeline_tasks(&pipeline).next().is_none() {
        problem(
            Path::root().field("spec").field("tasks"),
            Kind::NotTekton {
                expected: "a pipeline with tasks",
            },
        );
    }
    let params = params(name, &spec, &problem);
    check_workspaces(&spec, &problem);
    for list in TASK_LISTS {
        let here = Path::root().field("spec").field(list);
        let entries = spec.get_mut(list).and_then(Value::as_array_mut);
        for (index, entry) in entries.into_iter().flatten().enumerate() {
            embed(entry, &tasks, || here.clone().index(index), &problem);
        }
    }
    pin_defaults(&mut spec);

    let mut spec = Value::Object(spec);
    let mut copies = Vec::new();
    for (set, own) in own_secrets(&flow) {
        let mut required = None;
        refs::each(&spec, &mut |reference| {
            if reference.name == own {
                required = Some(required.unwrap_or(false) || !reference.optional);
            }
        });
        match (required, secrets.get(&own)) {
            (None, _) | (Some(false), None) => {}
            (Some(true), None) => problem(
                Path::root(),
                Kind::SecretNotFound {
                    secret: shortened(&own),
                },
            ),
            (Some(_), Some(data)) => {
                let copy = Secrets::Run(&run).name(set);
                refs::rename(&mut spec, &own, &copy);
                copies.push((copy, data.clone()));
            }
        }
    }

    let annotation = pipeline
        .pointer("/metadata/annotations")
        .and_then(|all| all.get(label::FLOW_NAME));
    let identity = Identity {
        flow: &flow,
        flow_name: annotation.and_then(Value::as_str).unwrap_or(name),
        namespace,
    };
    let parts = Parts {
        identity: &identity,
        name: run,
        request,
        settings,
        params,
        pipeline: EmbeddedPipeline::Stored(spec),
        timeouts: None,
        acts_as: &Default::default(),
        copies,
    };
    report.into_inner().finish(assemble(parts))
}

fn spec_of(object: &Value) -> Option<&Map<String, Value>> {
    object.get("spec").and_then(Value::as_object)
}

fn pipeline_tasks(pipeline: &Value) -> impl Iterator<Item = &Value> {
    let lists = TASK_LISTS
        .into_iter()
        .filter_map(|list| spec_of(pipeline)?.get(list)?.as_array());
    lists.flatten()
}

/// The Task that a pipeline's task refers to, if that is one of Tekton's own in the same namespace.
fn local_task(entry: &Value) -> Option<&str> {
    let reference = entry.get("taskRef")?;
    let text = |field| {
        reference
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let local = text("resolver").is_empty()
        && text("apiVersion").is_empty()
        && matches!(text("kind"), "" | "Task");
    local.then(|| reference.get("name")?.as_str()).flatten()
}

fn own_secrets(flow: &Label) -> impl Iterator<Item = (&'static str, String)> {
    SETS.into_iter()
        .map(move |set| (set, Secrets::Latest(flow).name(set)))
}

/// Puts a Task's steps where the pipeline only named it.
fn embed(
    entry: &mut Value,
    tasks: &BTreeMap<String, Value>,
    here: impl Fn() -> Path,
    problem: &impl Fn(Path, Kind),
) {
    let Some(name) = local_task(entry) else {
        return;
    };
    let Some(task) = tasks.get(name) else {
        return problem(
            here().field("taskRef").field("name"),
            Kind::TaskNotFound {
                task: shortened(name),
            },
        );
    };
    let Some(spec) = spec_of(task).cloned() else {
        return problem(
            here(),
            Kind::NotTekton {
                expected: "a Task with a spec",
            },
        );
    };
    if let Some(entry) = entry.as_object_mut() {
        entry.remove("taskRef");
        entry.insert("taskSpec".to_owned(), Value::Object(spec));
    }
}

/// Gives embedded tasks their own defaults where the pipeline has a parameter of the same name.
///
/// A Task that is only referred to does not see the pipeline's parameters; an embedded one does, and would take their
/// values for its own. A default that refers to other parameters cannot be given from outside, and stays.
fn pin_defaults(spec: &mut Map<String, Value>) {
    let declared: HashSet<String> = names(spec.get("params")).map(str::to_owned).collect();
    for list in TASK_LISTS {
        for entry in spec
            .get_mut(list)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            let given: HashSet<&str> = names(entry.get("params")).collect();
            let params = entry.pointer("/taskSpec/params").and_then(Value::as_array);
            let pinned: Vec<Value> = params
                .into_iter()
                .flatten()
                .filter_map(|param| Some((param.get("name")?.as_str()?, param.get("default")?)))
                .filter(|(name, _)| declared.contains(*name) && !given.contains(name))
                .filter(|(_, default)| !default.to_string().contains("$("))
                .map(|(name, default)| json!({"name": name, "value": default}))
                .collect();
            if let (false, Some(entry)) = (pinned.is_empty(), entry.as_object_mut()) {
                let params = entry.entry("params").or_insert_with(|| json!([]));
                params
                    .as_array_mut()
                    .into_iter()
                    .for_each(|params| params.extend(pinned.iter().cloned()));
            }
        }
    }
}

fn names(params: Option<&Value>) -> impl Iterator<Item = &str> {
    let params = params.and_then(Value::as_array).into_iter().flatten();
    params.filter_map(|param| param.get("name")?.as_str())
}

/// The values that a run by name gives: the flow's name, where that is asked for.
fn params(name: &str, spec: &Map<String, Value>, problem: &impl Fn(Path, Kind)) -> Vec<Param> {
    let mut params = Vec::new();
    let declared = spec
        .get("params")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .enumerate();
    for (index, param) in declared {
        let here = || Path::root().field("spec").field("params").index(index);
        match param.get("name").and_then(Value::as_str) {
            Some(NAME_PARAMETER) if name.contains("$(") => problem(here(), Kind::NameWithVariable),
            Some(NAME_PARAMETER) => params.push(Param {
                name: NAME_PARAMETER.to_owned(),
                value: ParamValue::String(name.to_owned()),
            }),
            Some(parameter) if param.get("default").is_none_or(Value::is_null) => {
                problem(
                    here(),
                    Kind::ParameterWithoutValue {
                        parameter: shortened(parameter),
                    },
                );
            }
            Some(_) => {}
            None => problem(
                here(),
                Kind::NotTekton {
                    expected: "a parameter with a name",
                },
            ),
        }
    }
    params
}

fn check_workspaces(spec: &Map<String, Value>, problem: &impl Fn(Path, Kind)) {
    let declared = spec
        .get("workspaces")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .enumerate();
    for (index, workspace) in declared {
        if workspace.get("optional") != Some(&Value::Bool(true)) {
            let name = workspace
                .get("name")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let here = Path::root().field("spec").field("workspaces").index(index);
            problem(
                here,
                Kind::WorkspaceWithoutVolume {
                    workspace: shortened(name),
                },
            );
        }
    }
}

#[cfg(test)]
mod tests;
