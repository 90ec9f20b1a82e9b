//! What holds for every document: reading is total, and what is accepted becomes objects that Tekton admits.

use std::collections::BTreeSet;

use flows::{
    Emitted, Format, Lowering, Payload, Problems, Request, Scope, Settings, arbitrary, emit,
    flow::expands,
    image::is_image,
    name::{is_entry_name, is_label, is_variable_name},
    parse,
    stored::{Stored, secret_names, snapshot, task_names},
    tekton::Object,
};
use proptest::prelude::*;
use serde_json::Value;

const NAMESPACE: &str = "blue";

fn request(payload: usize) -> Request<'static> {
    let payload = match payload {
        0 => None,
        1 => Some(Payload::Inline(b"\0\xff")),
        _ => Some(Payload::Remote {
            url: "https://h/$(x)",
            digest: "sha256:00",
            size: 1,
        }),
    };
    Request {
        scope: Scope::Key("ART_FLOW_k/$(x)"),
        event: "e $(x)",
        traceparent: None,
        payload,
    }
}

fn convert(document: &Value, payload: usize) -> Result<Emitted, Problems> {
    let flow = parse(
        Format::Artisan,
        document.to_string().as_bytes(),
        &Lowering::default(),
    )?;
    let namespace = flow.namespace.clone().unwrap();
    Ok(emit(
        &flow,
        &namespace,
        &request(payload),
        &Settings::default(),
    ))
}

fn objects(emitted: &Emitted) -> Vec<Value> {
    let latest = emitted.latest.iter().map(Object::to_json);
    let copies = emitted
        .run
        .copies
        .iter()
        .map(flows::tekton::Secret::to_json);
    let all = latest.chain([emitted.run.object.to_json()]).chain(copies);
    all.map(|bytes| serde_json::from_slice(&bytes).unwrap())
        .collect()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn list<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// What Tekton's admission and the pods that follow ask of a task.
fn check_task(spec: &Value, secrets: &[Value]) {
    let entries = |name: &str| -> Option<&serde_json::Map<String, Value>> {
        let secret = secrets
            .iter()
            .find(|secret| text(secret, "/metadata/name") == name);
        secret.and_then(|secret| secret["data"].as_object())
    };
    let mut volumes = BTreeSet::new();
    for volume in list(spec, "/volumes") {
        assert!(
            is_label(text(volume, "/name")) && volumes.insert(text(volume, "/name")),
            "{volume}"
        );
        let single = volume.pointer("/secret/secretName").and_then(Value::as_str);
        let several = list(volume, "/projected/sources").map(|source| text(source, "/secret/name"));
        let mut shown = BTreeSet::new();
        for name in single.into_iter().chain(several) {
            for entry in entries(name)
                .unwrap_or_else(|| panic!("{name} is mounted and not there"))
                .keys()
            {
                assert!(shown.insert(entry), "{entry} is there twice");
            }
        }
    }
    let mut names = BTreeSet::new();
    for step in list(spec, "/steps") {
        let name = text(step, "/name");
        assert!(
            is_label(name) && name.len() <= 58 && names.insert(name),
            "{name}"
        );
        assert!(is_image(text(step, "/image")));
        assert!(!expands(text(step, "/script")));
        let mut folders = BTreeSet::new();
        for mount in list(step, "/volumeMounts") {
            assert!(volumes.contains(text(mount, "/name")), "{mount}");
            assert!(folders.insert(text(mount, "/mountPath")), "{mount}");
        }
        let mut variables = BTreeSet::new();
        for variable in list(step, "/env") {
            assert!(
                is_variable_name(text(variable, "/name"))
                    && variables.insert(text(variable, "/name"))
            );
            assert!(
                !expands(text(variable, "/value")),
                "{variable} would be expanded"
            );
            if let Some(reference) = variable.pointer("/valueFrom/secretKeyRef") {
                let data = entries(text(reference, "/name"))
                    .unwrap_or_else(|| panic!("{reference} is not there"));
                assert!(data.contains_key(text(reference, "/key")), "{reference}");
            }
        }
    }
    assert!(!names.is_empty());
}

fn check(objects: &[Value]) {
    let mut names = BTreeSet::new();
    let secrets: Vec<_> = objects
        .iter()
        .filter(|object| object["kind"] == "Secret")
        .cloned()
        .collect();
    for object in objects {
        let name = text(object, "/metadata/name");
        assert!(
            names.insert((text(object, "/kind"), name)),
            "{name} is there twice"
        );
        assert_eq!(text(object, "/metadata/namespace"), NAMESPACE);
        for label in object["metadata"]["labels"].as_object().unwrap().values() {
            assert!(is_label(label.as_str().unwrap()), "{label}");
        }
        match text(object, "/kind") {
            "Secret" => {
                assert!(
                    name.len() <= 253 && name.split('.').all(|part| !part.is_empty()),
                    "{name}"
                );
                assert!(
                    object["data"]
                        .as_object()
                        .unwrap()
                        .keys()
                        .all(|entry| is_entry_name(entry))
                );
            }
            "Task" => check_task(&object["spec"], &secrets),
            "Pipeline" => {
                for task in list(object, "/spec/tasks") {
                    assert!(is_label(text(task, "/name")));
                    assert!(objects.iter().any(
                        |object| text(object, "/metadata/name") == text(task, "/taskRef/name")
                    ));
                }
            }
            "PipelineRun" => {
                let pending = object["spec"]["status"] == "PipelineRunPending";
                let owned = |secret: &&Value| secret["immutable"] == true;
                assert_eq!(pending, secrets.iter().any(|secret| owned(&secret)));
                for task in list(object, "/spec/pipelineSpec/tasks") {
                    let copies: Vec<_> = secrets.iter().filter(owned).cloned().collect();
                    check_task(&task["taskSpec"], &copies);
                }
                list(object, "/spec/params")
                    .for_each(|param| assert!(!text(param, "/value").contains("$(")));
            }
            other => panic!("{other}"),
        }
        let short = text(object, "/kind") == "Secret" || is_label(name);
        assert!(short, "{name}");
    }
}

/// Runs by name what the first conversion leaves in the cluster.
fn run_by_name(emitted: &Emitted) -> Value {
    let latest: Vec<Value> = emitted
        .latest
        .iter()
        .map(|object| serde_json::from_slice(&object.to_json()).unwrap())
        .collect();
    let of = |kind: &'static str| latest.iter().filter(move |object| object["kind"] == kind);
    let pipeline = of("Pipeline").next().unwrap().clone();
    let name = pipeline["metadata"]["annotations"]["hookrun.dev/flow-name"]
        .as_str()
        .unwrap()
        .to_owned();
    let by_name = |object: &Value| (text(object, "/metadata/name").to_owned(), object.clone());
    let tasks: std::collections::BTreeMap<_, _> = of("Task").map(by_name).collect();
    assert_eq!(
        task_names(&pipeline),
        tasks.keys().cloned().collect::<Vec<_>>()
    );
    let wanted = secret_names(&flows::name::object_name(&name), &tasks, &pipeline);
    let secrets = of("Secret")
        .map(by_name)
        .filter(|(name, _)| wanted.contains(name));
    let secrets = secrets.map(|(name, secret)| {
        (
            name,
            serde_json::from_value(secret["data"].clone()).unwrap(),
        )
    });
    let stored = Stored {
        pipeline,
        secrets: secrets.collect(),
        tasks,
    };
    let request = Request {
        scope: Scope::Name(&name),
        ..request(0)
    };
    let run = snapshot(
        &name,
        stored,
        &NAMESPACE.parse().unwrap(),
        &request,
        &Settings::default(),
    )
    .unwrap();
    let copies: Vec<Value> = run
        .copies
        .iter()
        .map(|copy| serde_json::from_slice(&copy.to_json()).unwrap())
        .collect();
    let object: Value = serde_json::from_slice(&run.object.to_json()).unwrap();
    list(&object, "/spec/pipelineSpec/tasks")
        .for_each(|task| check_task(&task["taskSpec"], &copies));
    object
}

proptest! {
    #[test]
    fn reading_is_total(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(Format::Artisan, &bytes, &Lowering::default());
    }

    #[test]
    fn any_json_is_a_flow_or_has_problems_with_places(document in arbitrary::json()) {
        let source = document.to_string();
        if let Err(problems) = parse(Format::Artisan, source.as_bytes(), &Lowering::default()) {
            for problem in problems.iter() {
                prop_assert!(problem.position(&source).is_some(), "{}", problem);
                prop_assert!(!problem.kind.slug().is_empty() && !problem.to_string().contains('\n'));
            }
        }
    }

    #[test]
    fn anything_stored_is_a_run_or_has_problems(pipeline in arbitrary::json(), task in arbitrary::json()) {
        let names = task_names(&pipeline);
        let tasks = names.into_iter().map(|name| (name, task.clone())).collect();
        let _ = secret_names(&flows::name::object_name("x"), &tasks, &pipeline);
        let stored = Stored { pipeline, tasks, secrets: Default::default() };
        let _ = snapshot("x", stored, &NAMESPACE.parse().unwrap(), &request(0), &Settings::default());
    }

    #[test]
    fn what_is_accepted_becomes_objects_that_tekton_admits(document in arbitrary::artisan(NAMESPACE), payload in 0usize..3) {
        let emitted = convert(&document, payload);
        prop_assert!(emitted.is_ok(), "{}", emitted.unwrap_err());
        let emitted = emitted.unwrap();
        check(&objects(&emitted));
        run_by_name(&emitted);
        prop_assert_eq!(objects(&convert(&document, payload).unwrap()), objects(&emitted));
    }

    #[test]
    fn a_name_is_legal_and_follows_from_its_text_alone(text in ".*", event in ".*") {
        let name = flows::name::object_name(&text);
        prop_assert!(is_label(name.as_str()) && name.as_str().len() <= 37);
        prop_assert_eq!(&name, &flows::name::object_name(&text));
        prop_assert!(is_label(flows::name::run_name(&name, &text, &event).as_str()));
    }
}
