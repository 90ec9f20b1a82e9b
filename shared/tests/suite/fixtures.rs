//! Walks `tests/<format>/ok` and `tests/<format>/err`: each case is a document beside what becomes of it.
//!
//! `ok` cases become objects, in YAML that kubectl reads: the latest content, then the run, then its copies. `err`
//! cases become a report. `<case>.options.json` says what a case needs besides its document.
//! `UPDATE_FIXTURES=1` rewrites what is expected.

use std::{
    fs,
    path::{Path, PathBuf},
};

use flows::{
    Emitted, Format, Lowering, Payload, Problems, Request, Scope, Settings, emit, parse,
    tekton::Object,
};
use serde::Serialize;
use serde_json::Value;

/// One document of a folder.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) document: Vec<u8>,
    options: Value,
    golden: PathBuf,
}

/// The documents of a folder, in the order of their names.
pub(crate) fn cases(folder: &str, golden: &str) -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(folder);
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let documents = paths.iter().filter(|path| {
        let name = path.to_str().unwrap();
        name.ends_with(".json") && !name.ends_with(".options.json")
    });
    documents
        .map(|path| Case {
            name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
            document: fs::read(path).unwrap(),
            options: fs::read(path.with_extension("options.json"))
                .map(|bytes| serde_json::from_slice(&bytes).unwrap())
                .unwrap_or_default(),
            golden: path.with_extension(golden),
        })
        .collect()
}

impl Case {
    fn text(&self, field: &str) -> Option<&str> {
        self.options.get(field).and_then(Value::as_str)
    }

    fn lowering(&self) -> Lowering {
        Lowering {
            runtime_prefix: self.text("runtimePrefix").map(str::to_owned),
            namespace: self.text("namespace").map(|name| name.parse().unwrap()),
        }
    }

    /// The case's flow, or what is wrong with it.
    pub(crate) fn parse(&self) -> Result<flows::Flow, Problems> {
        parse(Format::Artisan, &self.document, &self.lowering())
    }

    fn request(&self) -> Request<'_> {
        let remote = self.options.get("remote").map(|remote| Payload::Remote {
            url: remote["url"].as_str().unwrap(),
            digest: remote["digest"].as_str().unwrap(),
            size: remote["size"].as_u64().unwrap(),
        });
        Request {
            scope: self.text("key").map_or(Scope::Document, Scope::Key),
            event: self.text("event").unwrap_or("one"),
            traceparent: self.text("traceparent"),
            payload: self
                .text("payload")
                .map(|text| Payload::Inline(text.as_bytes()))
                .or(remote),
        }
    }

    fn check(&self, actual: &str) {
        if std::env::var_os("UPDATE_FIXTURES").is_some() {
            return fs::write(&self.golden, actual).unwrap();
        }
        let expected = fs::read_to_string(&self.golden).unwrap_or_default();
        assert!(
            expected == actual,
            "{} is not what comes out; look at it, then UPDATE_FIXTURES=1 rewrites it. It would be:\n{actual}",
            self.golden.display()
        );
    }
}

/// The installation that all cases are converted for.
fn settings() -> Settings {
    Settings {
        service_account: "pipeline".to_owned(),
        user: 100_000_000,
        clone_image: "images.example.org/git:2".to_owned(),
        clone_depth: 1,
        fetch_image: "images.example.org/hookrun:1".to_owned(),
    }
}

fn emitted(case: &Case) -> Emitted {
    let flow = case
        .parse()
        .unwrap_or_else(|problems| panic!("{}: {problems}", case.name));
    let namespace = flow.namespace.clone().unwrap();
    emit(&flow, &namespace, &case.request(), &settings())
}

fn yaml(object: &impl Serialize) -> String {
    let text = serde_saphyr::to_string(object).unwrap();
    let read: Value = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(
        read,
        serde_json::to_value(object).unwrap(),
        "YAML says something else"
    );
    text
}

#[test]
fn documents_become_objects() {
    for case in cases("artisan/ok", "yaml") {
        let Emitted { latest, run } = emitted(&case);
        let latest = latest.iter().map(|object| match object {
            Object::Task(task) => yaml(task),
            Object::Secret(secret) => yaml(secret),
            Object::Pipeline(pipeline) => yaml(pipeline),
        });
        let objects: Vec<_> = latest
            .chain([yaml(&run.object)])
            .chain(run.copies.iter().map(yaml))
            .collect();
        case.check(&objects.join("---\n"));
    }
}

/// Place, kind and text of each problem.
pub(crate) fn report(source: &[u8], problems: &Problems) -> String {
    let source = String::from_utf8_lossy(source);
    let line = |problem: &flows::Problem| {
        let position = problem
            .position(&source)
            .map_or("-".to_owned(), |position| position.to_string());
        format!(
            "{position} {} [{}]\n    {}\n",
            problem.at,
            problem.kind.slug(),
            problem.kind
        )
    };
    problems.iter().map(line).collect()
}

#[test]
fn wrong_documents_become_reports() {
    for case in cases("artisan/err", "txt") {
        match case.parse() {
            Ok(_) => panic!("{} has no problem", case.name),
            Err(problems) => case.check(&report(&case.document, &problems)),
        }
    }
}

#[test]
fn every_expectation_has_a_case() {
    for (folder, golden) in [("artisan/ok", "yaml"), ("artisan/err", "txt")] {
        let names: Vec<_> = cases(folder, golden)
            .into_iter()
            .map(|case| case.name)
            .collect();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests")
            .join(folder);
        for entry in fs::read_dir(folder).unwrap() {
            let file = entry.unwrap().file_name().into_string().unwrap();
            let name = file.split('.').next().unwrap();
            assert!(
                names.iter().any(|known| known == name),
                "{file} belongs to no document"
            );
        }
    }
}

#[test]
fn the_same_document_gives_the_same_bytes() {
    for case in cases("artisan/ok", "yaml") {
        let bytes = |emitted: Emitted| -> Vec<Vec<u8>> {
            let latest = emitted.latest.iter().map(Object::to_json);
            let copies = emitted
                .run
                .copies
                .iter()
                .map(flows::tekton::Secret::to_json);
            latest
                .chain([emitted.run.object.to_json()])
                .chain(copies)
                .collect()
        };
        assert_eq!(bytes(emitted(&case)), bytes(emitted(&case)));
    }
}
