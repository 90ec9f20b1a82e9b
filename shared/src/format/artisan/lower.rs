//! What the document means: checks of the whole, and the way to [`Flow`].
//!
//! One file per concern: what a step is ([`step`]), what steps read ([`source`]), where Git sources come from
//! ([`git`]), what Secrets the inputs become ([`data`]).

mod data;
mod git;
mod source;
mod step;

pub(super) use git::without_login;

use std::cell::RefCell;

use super::{Document, Input};
use crate::{
    flow::{Flow, Identity, OnFailure, Parameter, PayloadFile, Task, Value},
    format::Lowering,
    name::Label,
    problem::{Kind, Path, Problem, Problems, Report, shortened},
};

/// The parameter that carries the flow's name; nothing consumes it, people and dashboards read it.
const NAME_PARAMETER: &str = "deployment-name";

/// Long enough for any name, short enough for an annotation on every object.
const NAME_MAX: usize = 1024;

/// The names of the flow's data sets and of the folders where steps see them.
const CREDS: &str = "creds";
const KEYS: &str = "keys";
const FILES: &str = "files";
const KEYS_FOLDER: &str = "/keys";
const FILES_FOLDER: &str = "/files";

/// The file that holds what came with the event.
const PAYLOAD_FILE: &str = "context";

/// Where problems are noted; shared by all checks.
struct Notes {
    report: RefCell<Report>,
}

impl Notes {
    fn add(&self, at: impl FnOnce() -> Path, kind: impl FnOnce() -> Kind) {
        self.report.borrow_mut().add(|| Problem {
            at: at(),
            kind: kind(),
        });
    }
}

/// A field of the document.
fn at(field: &str) -> Path {
    Path::root().field(field)
}

/// A field of a step.
fn at_step(index: usize, field: &str) -> Path {
    at("steps").index(index).field(field)
}

/// A label that is written in this program.
fn label(text: &'static str) -> Label {
    crate::name::object_name(text)
}

impl Document {
    /// The flow that the document describes.
    ///
    /// # Errors
    ///
    /// All that cannot be run as it is written.
    pub fn lower(self, options: &Lowering) -> Result<Flow, Problems> {
        let (flow, report) = self.lower_all(options, Report::default());
        report.finish(flow)
    }

    /// As [`Self::lower`], with problems that were noted before: what may only follow from them is not told.
    pub(super) fn lower_all(self, options: &Lowering, shape: Report) -> (Flow, Report) {
        let sound = shape.is_empty();
        let notes = Notes {
            report: RefCell::new(shape.followed()),
        };
        let Self {
            name,
            description,
            labels,
            git_uri,
            git,
            app_icon: _,
            steps,
            input,
            use_runtimes: _,
        } = self;

        check_name(&name, &notes);
        let asked = labels
            .as_ref()
            .and_then(|labels| labels.get("namespace"))
            .map(|text| text.trim());
        let namespace = options
            .namespace
            .clone()
            .or_else(|| namespace(asked, &notes));
        let steps = steps.unwrap_or_default();
        if steps.is_empty() {
            notes.add(|| at("steps"), || Kind::MissingSteps);
        }
        // These look at several steps at once: one field that could not be read would bring false alarms.
        let source = if sound {
            source::check(&steps, &notes);
            git::source(&steps, &git_uri, git, &notes)
        } else {
            None
        };
        let shared = input
            .and_then(
                |Input {
                     secret,
                     var: _,
                     key: _,
                     file: _,
                 }| secret,
            )
            .unwrap_or_default();
        let mut data = data::Sets::new(&notes);
        step::check_names(&steps, &notes);
        let steps = steps
            .into_iter()
            .enumerate()
            .map(|(index, step)| step::lower(index, step, options, &mut data, &notes))
            .collect();
        data.add_shared(shared);
        source.iter().for_each(|source| data.login(source));

        let flow = Flow {
            parameters: vec![Parameter {
                name: NAME_PARAMETER.to_owned(),
                description: "The flow's name".to_owned(),
                value: Some(Value::Text(name.clone())),
                default: None,
            }],
            name,
            description,
            namespace,
            tasks: vec![Task {
                name: label("build-task"),
                display_name: String::new(),
                source,
                steps,
                dependencies: Vec::new(),
                conditions: Vec::new(),
                results: Vec::new(),
                timeout: None,
                on_failure: OnFailure::Stop { retries: 0 },
            }],
            finally: Vec::new(),
            data: data.finish(),
            payload: Some(PayloadFile {
                set: label(FILES),
                folder: FILES_FOLDER.to_owned(),
                entry: PAYLOAD_FILE.to_owned(),
            }),
            timeout: None,
            identity: Identity::default(),
        };
        (flow, notes.report.into_inner())
    }
}

fn check_name(name: &str, notes: &Notes) {
    let here = || at("name");
    if name.trim().is_empty() {
        notes.add(here, || Kind::MissingName);
    } else if name.len() > NAME_MAX {
        notes.add(here, || Kind::NameTooLong {
            length: name.len(),
            limit: NAME_MAX,
        });
    } else if name.contains("$(") {
        notes.add(here, || Kind::NameWithVariable);
    }
}

fn namespace(asked: Option<&str>, notes: &Notes) -> Option<Label> {
    let here = || at("labels").field("namespace");
    match asked {
        None | Some("") => {
            notes.add(here, || Kind::MissingNamespace);
            None
        }
        Some(text) => match text.parse() {
            Ok(namespace) => Some(namespace),
            Err(_) => {
                notes.add(here, || Kind::IllegalNamespace {
                    namespace: shortened(text),
                });
                None
            }
        },
    }
}
