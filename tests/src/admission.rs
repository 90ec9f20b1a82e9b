//! Any flow that is accepted becomes objects that the cluster admits: generated documents against the real API server,
//! real Tekton, and, for what only a pod shows, a pod of the same containers.

use anyhow::{Context, Result, bail, ensure};
use flows::{Format, Label, Lowering, Payload, Request, Scope, Settings};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};

use crate::{
    case::{Case, case},
    support::objects::Objects,
};

/// How many documents are tried; each accepted one costs five to ten requests.
const DOCUMENTS: u32 = 150;

/// The cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    vec![case(
        "admission::admission_of_whatever_a_flow_that_is_accepted_becomes",
        async |cluster| {
            let namespace = cluster.namespace("admission").await?;
            let objects = Objects::of(cluster.admin(), &namespace);
            let namespace: Label = namespace.parse()?;
            let mut runner = TestRunner::new(Config::default());
            let mut accepted = 0;
            for _ in 0..DOCUMENTS {
                let Ok(mut tree) = document().new_tree(&mut runner) else {
                    bail!("no document")
                };
                let Err(mut error) =
                    admitted(&objects, &namespace, &tree.current(), &mut accepted).await
                else {
                    continue;
                };
                // A smaller document that fails too is easier to read.
                let mut smallest = tree.current();
                while tree.simplify() || tree.complicate() {
                    match admitted(&objects, &namespace, &tree.current(), &mut accepted).await {
                        Err(smaller) => (error, smallest) = (smaller, tree.current()),
                        Ok(()) if tree.complicate() => {}
                        Ok(()) => break,
                    }
                }
                return Err(error).context(format!("{smallest:#}"));
            }
            ensure!(
                accepted > DOCUMENTS / 4,
                "only {accepted} of {DOCUMENTS} documents were accepted"
            );
            Ok(())
        },
    )]
}

/// Fails if the document is accepted and something that it becomes is not.
async fn admitted(
    objects: &Objects,
    namespace: &Label,
    document: &Value,
    accepted: &mut u32,
) -> Result<()> {
    let bytes = document.to_string().into_bytes();
    let Ok(flow) = flows::parse(Format::Artisan, &bytes, &Lowering::default()) else {
        return Ok(());
    };
    *accepted += 1;
    for payload in [None, Some(Payload::Inline(b"payload"))] {
        let request = Request {
            scope: if payload.is_some() {
                Scope::Key("ART_FLOW_x")
            } else {
                Scope::Document
            },
            event: "test 1",
            traceparent: None,
            payload,
        };
        let emitted = flows::emit(&flow, namespace, &request, &Settings::default());
        for object in &emitted.latest {
            admit(objects, &object.to_json()).await?;
        }
        admit(objects, &emitted.run.object.to_json()).await?;
        for copy in &emitted.run.copies {
            let copy = copy
                .clone()
                .owned_by(&emitted.run.name, "d9607e19-f88f-11e6-a518-42010a800195");
            admit(objects, &copy.to_json()).await?;
        }
        let run: Value = serde_json::from_slice(&emitted.run.object.to_json())?;
        admit(objects, pod(&run).to_string().as_bytes()).await?;
    }
    Ok(())
}

async fn admit(objects: &Objects, bytes: &[u8]) -> Result<()> {
    let object: Value = serde_json::from_slice(bytes)?;
    objects
        .admit(&object)
        .await
        .with_context(|| format!("{object:#}"))?;
    Ok(())
}

/// The pod that Tekton would make of the run's task, as far as it is made of what we wrote.
fn pod(run: &Value) -> Value {
    let task = &run["spec"]["pipelineSpec"]["tasks"][0]["taskSpec"];
    let containers: Vec<Value> = task["steps"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|step| {
            let mut container = step.clone();
            container["name"] =
                format!("step-{}", step["name"].as_str().unwrap_or_default()).into();
            for field in ["script", "timeout"] {
                container
                    .as_object_mut()
                    .map(|container| container.remove(field));
            }
            container
        })
        .collect();
    let mut spec = run["spec"]["taskRunTemplate"]["podTemplate"].clone();
    spec["containers"] = containers.into();
    spec["volumes"] = task["volumes"].clone();
    spec["automountServiceAccountToken"] = false.into();
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": spec})
}

/// Documents that are mostly right, with texts that are often odd.
fn document() -> impl Strategy<Value = Value> {
    (name(), option::weighted(0.3, text()), steps(), option::weighted(0.3, input())).prop_map(|(name, description, steps, input)| {
        let mut flow = json!({"name": name, "labels": {"namespace": "any"}, "steps": steps});
        flow["description"] = description.into();
        if let Some(input) = input {
            flow["input"] = input;
        }
        // Steps with only a function need a repository.
        flow["git"] = json!({"git_uri": "https://git.example.org/a.git", "git_branch": "main", "git_login": "robot", "git_password": "$(x)"});
        flow
    })
}

/// Steps of one of the ways to give them their source.
fn steps() -> impl Strategy<Value = Vec<Value>> {
    let with = |source: Value| {
        step().prop_map(move |mut step| {
            merge(&mut step, &source);
            step
        })
    };
    let git = vec(with(json!({"function": "f"})), 1..4);
    let transient = vec(with(json!({"function": "$(f)", "package": "p/x"})), 1..4);
    let script = vec(with(json!({})), 1..4);
    let kept = (
        with(json!({"function": "f", "package": "p", "source": "create"})),
        vec(with(json!({"package": "q", "source": "merge"})), 0..3),
    )
        .prop_map(|(first, mut rest)| {
            rest.insert(0, first);
            rest
        });
    prop_oneof![git, transient, script, kept].prop_map(|mut steps: Vec<Value>| {
        for (at, step) in steps.iter_mut().enumerate() {
            // Two steps of one name are refused, which says nothing about what is admitted.
            let name = step["name"].as_str().unwrap_or_default();
            step["name"] = format!("{at}{}", name.chars().skip(2).collect::<String>()).into();
        }
        steps
    })
}

fn step() -> impl Strategy<Value = Value> {
    let runtime = prop_oneof![
        5 => Just("images.example.org/tools/java:17".to_owned()),
        2 => Just("java".to_owned()),
        1 => Just(format!("localhost:5000/a/b@sha256:{}", "0123456789abcdef".repeat(4))),
        1 => Just("a__b/c.d-e:X_1.2-3".to_owned()),
    ];
    let name = prop_oneof![5 => "[a-z]{1,2}[a-z0-9-]{0,20}[a-z0-9]", 1 => "[a-z]{40,56}"];
    (name, runtime, option::weighted(0.7, input()), any::<bool>()).prop_map(|(name, runtime, input, privileged)| {
        json!({"name": name, "runtime": runtime, "input": input, "privileged": privileged})
    })
}

fn input() -> impl Strategy<Value = Value> {
    let var = (variable(), text()).prop_map(|(name, value)| json!({"name": name, "value": value}));
    let secret =
        (variable(), text()).prop_map(|(name, value)| json!({"name": name, "value": value}));
    let key = (variable(), entry(), any::<bool>(), text())
        .prop_map(|(name, group, private, value)| json!({"name": name, "private": private, "package_group": group, "path": value, "value": value}));
    let file = (entry(), text())
        .prop_map(|(path, content)| json!({"name": "f", "path": path, "content": content}));
    (option::of(vec(var, 0..4)), option::of(vec(secret, 0..4)), option::of(vec(key, 0..3)), option::of(vec(file, 0..3)))
        .prop_map(|(var, secret, key, file)| json!({"var": var, "secret": secret, "key": key, "file": file}))
}

fn variable() -> impl Strategy<Value = String> {
    prop_oneof![6 => "[A-Z_]{1,3}[A-Z0-9_]{0,12}", 1 => "[a-zA-Z_.-][a-zA-Z0-9_.-]{0,8}", 1 => "[A-Z]{200,255}", 1 => Just("X_OXART_REG_USER".to_owned())]
}

fn entry() -> impl Strategy<Value = String> {
    prop_oneof![6 => "[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,12}", 1 => Just("context".to_owned()), 1 => "[a-z]{200,240}", 1 => Just("..a".to_owned())]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z][a-zA-Z0-9 ]{0,20}",
        "\\PC{1,60}",
        "[ -~]{1,80}",
        "[A-Z]{63,200}",
        Just("-".to_owned())
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,30}",
        "[ -~\n\t]{0,60}",
        Just("$(params.deployment-name) $$(params.x) $$$(context.pipelineRun.name) $(tasks.a.results.b)".to_owned()),
        Just("$(workspaces.w.path)$(steps.s.results.r)$(PATH)".to_owned()),
        Just("- yaml: {a: [\n%TAG".to_owned()),
    ]
}

fn merge(step: &mut Value, fields: &Value) {
    for (field, value) in fields.as_object().into_iter().flatten() {
        step[field] = value.clone();
    }
}
