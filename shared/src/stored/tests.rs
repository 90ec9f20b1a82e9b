//! A pipeline of nobody's making, run by name.

use super::*;
use crate::emit::Scope;

fn stored() -> Stored {
    Stored {
        pipeline: json!({
            "metadata": {"name": "shop-ci-pl", "annotations": {"hookrun.dev/flow-name": "Shop CI"}},
            "spec": {
                "params": [{"name": "deployment-name", "type": "string"}, {"name": "level", "default": "1"}],
                "tasks": [
                    {"name": "build", "taskRef": {"name": "shop-ci-build-task", "kind": "Task"}},
                    {"name": "again", "taskRef": {"name": "shop-ci-build-task"}},
                    {"name": "far", "taskRef": {"resolver": "git"}},
                    {"name": "custom", "taskRef": {"apiVersion": "example.org/v1", "kind": "Wait", "name": "w"}},
                ],
                "finally": [{"name": "tidy", "taskRef": {"name": "tidy"}}],
            },
        }),
        tasks: BTreeMap::from([
            (
                "shop-ci-build-task".to_owned(),
                json!({"spec": {
                    "params": [{"name": "level", "default": "9"}, {"name": "own", "default": "8"}],
                    "steps": [{
                        "name": "s", "image": "i",
                        "env": [
                            {"name": "A", "valueFrom": {"secretKeyRef": {"name": "shop-ci-creds-secret", "key": "A"}}},
                            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "foreign", "key": "B"}}},
                        ],
                    }],
                    "volumes": [{"name": "v", "secret": {"secretName": "shop-ci-files-secret"}}],
                }}),
            ),
            (
                "tidy".to_owned(),
                json!({"spec": {"steps": [{"image": "i"}]}}),
            ),
        ]),
        secrets: BTreeMap::from([
            (
                "shop-ci-creds-secret".to_owned(),
                BTreeMap::from([("A".to_owned(), "YQ==".to_owned())]),
            ),
            ("shop-ci-files-secret".to_owned(), BTreeMap::new()),
        ]),
    }
}

fn run(stored: Stored) -> Result<Run, Problems> {
    let request = Request {
        scope: Scope::Name("Shop CI"),
        event: "e",
        traceparent: None,
        payload: None,
    };
    snapshot(
        "Shop CI",
        stored,
        &object_name("blue"),
        &request,
        &Settings::default(),
    )
}

#[test]
fn only_tasks_of_the_same_namespace_are_asked_for() {
    assert_eq!(
        task_names(&stored().pipeline),
        ["shop-ci-build-task", "tidy"]
    );
}

#[test]
fn only_the_flows_own_secrets_are_asked_for() {
    let Stored {
        pipeline, tasks, ..
    } = stored();
    let names = secret_names(&object_name("Shop CI"), &tasks, &pipeline);
    assert_eq!(names, ["shop-ci-creds-secret", "shop-ci-files-secret"]);
}

#[test]
fn a_run_embeds_its_tasks_and_mounts_copies() {
    let run = run(stored()).unwrap();
    let object: Value = serde_json::from_slice(&run.object.to_json()).unwrap();
    let task = object.pointer("/spec/pipelineSpec/tasks/0").unwrap();
    assert_eq!(task.get("taskRef"), None);
    let name = |set: &str| json!(format!("{}-{set}-secret", run.name));
    let step = task.pointer("/taskSpec/steps/0/env").unwrap();
    assert_eq!(
        step.pointer("/0/valueFrom/secretKeyRef/name"),
        Some(&name("creds"))
    );
    assert_eq!(
        step.pointer("/1/valueFrom/secretKeyRef/name"),
        Some(&json!("foreign"))
    );
    assert_eq!(
        task.pointer("/taskSpec/volumes/0/secret/secretName"),
        Some(&name("files"))
    );
    assert_eq!(
        object.pointer("/spec/pipelineSpec/tasks/2/taskRef/resolver"),
        Some(&json!("git"))
    );
    assert_eq!(
        object.pointer("/spec/status"),
        Some(&json!("PipelineRunPending"))
    );
    assert_eq!(
        object.pointer("/spec/params"),
        Some(&json!([{"name": "deployment-name", "value": "Shop CI"}]))
    );
    assert_eq!(run.copies.len(), 2);
    assert!(run.copies.iter().all(|copy| copy.immutable == Some(true)));
}

#[test]
fn a_tasks_own_default_is_not_lost_to_a_parameter_of_the_pipeline() {
    let run = run(stored()).unwrap();
    let object: Value = serde_json::from_slice(&run.object.to_json()).unwrap();
    let params = object.pointer("/spec/pipelineSpec/tasks/0/params");
    assert_eq!(params, Some(&json!([{"name": "level", "value": "9"}])));
}

#[test]
fn all_that_is_missing_is_told_at_once() {
    let mut stored = stored();
    stored.tasks.remove("tidy");
    stored.secrets.remove("shop-ci-creds-secret");
    stored.pipeline["spec"]["params"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "who"}));
    stored.pipeline["spec"]["workspaces"] =
        json!([{"name": "disk"}, {"name": "maybe", "optional": true}]);
    let problems = run(stored).unwrap_err();
    let slugs: Vec<_> = problems.iter().map(|problem| problem.kind.slug()).collect();
    assert_eq!(
        slugs,
        [
            "parameter-without-value",
            "workspace-without-volume",
            "task-not-found",
            "secret-not-found"
        ]
    );
}

#[test]
fn what_is_no_pipeline_is_a_problem() {
    for pipeline in [
        Value::Null,
        json!([]),
        json!({"spec": 7}),
        json!({"spec": {"tasks": {}}}),
    ] {
        let stored = Stored {
            pipeline,
            tasks: BTreeMap::new(),
            secrets: BTreeMap::new(),
        };
        assert_eq!(run(stored).unwrap_err().len(), 1);
    }
}

#[test]
fn a_run_without_secrets_starts_at_once() {
    let mut stored = stored();
    stored.tasks.insert(
        "shop-ci-build-task".to_owned(),
        json!({"spec": {"steps": [{"image": "i"}]}}),
    );
    let run = run(stored).unwrap();
    assert!(run.copies.is_empty());
    assert_eq!(run.object.spec.status, None);
}
