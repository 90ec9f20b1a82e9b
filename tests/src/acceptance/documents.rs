//! Flows that are posted: what becomes of them, and of those that cannot run.

use anyhow::ensure;
use serde_json::{Value, json};

use crate::{
    case::{Case, case},
    support::{
        Scene, ask,
        objects::{name, named, names, steps},
        step,
    },
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "acceptance_01_a_flow_with_one_step_becomes_a_task_a_pipeline_and_a_run",
            async |cluster| {
                let scene = Scene::new(&cluster).await?;
                let flow = scene.flow("Nightly Scan", json!([step("scan")]));

                let run = scene.post_as("night 1", &flow).await?.run()?.to_owned();
                ensure!(is_run_of("nightly-scan", &run), "{run}");
                scene.objects.expect("acceptance_01").await?;

                // The exact variables, parameter and absence of data, once more by hand.
                let run = scene.objects.get("PipelineRun", &run).await?;
                let step = &steps(&run)[0];
                let env = json!([
                    {"name": "OXART_FX_NAME", "value": "go"},
                    {"name": "OXART_PACKAGE_NAME", "value": "p/scanner"},
                ]);
                ensure!(
                    step["env"] == env && step["volumeMounts"].is_null(),
                    "{step:#}"
                );
                ensure!(
                    named(&run["spec"]["params"], "deployment-name")["value"] == "Nightly Scan",
                    "{run:#}"
                );
                ensure!(
                    run["spec"]["status"].is_null(),
                    "a run without copies is never pending: {run:#}"
                );

                // Without an identity of its own, the same flow is another event.
                let other = scene.post(&flow).await?.run()?.to_owned();
                ensure!(
                    is_run_of("nightly-scan", &other) && other != name(&run),
                    "{other}"
                );
                Ok(())
            },
        ),
        case(
            "acceptance_02_the_complete_example_becomes_exactly_its_objects",
            async |cluster| {
                let scene = Scene::with(&cluster, |setup, namespace| {
                    setup.env("HOOKRUN_PRIVILEGED_NAMESPACES", namespace)
                })
                .await?;
                let run = scene
                    .post_as("build 7", &catalogue(&scene.namespace))
                    .await?
                    .run()?
                    .to_owned();
                scene.objects.expect("acceptance_02").await?;

                // Mounts and order of variables as in the table of the reference.
                let run = scene.objects.get("PipelineRun", &run).await?;
                let table = [
                    (
                        "fetch-scaffold",
                        vec!["/keys"],
                        vec![
                            "SERVICE_ID",
                            "OXART_REG_USER",
                            "OXART_REG_PWD",
                            "PARTS_CATALOGUE_SETUP_FETCH_SCAFFOLD_OXART_VERIFICATION_KEY",
                            "OXART_FX_NAME",
                            "OXART_PACKAGE_NAME",
                            "OXART_PACKAGE_SOURCE",
                        ],
                    ),
                    (
                        "overlay-config",
                        vec![],
                        vec![
                            "OXART_REG_USER",
                            "OXART_REG_PWD",
                            "OXART_PACKAGE_NAME",
                            "OXART_PACKAGE_SOURCE",
                        ],
                    ),
                    (
                        "build-image",
                        vec!["/files"],
                        vec![
                            "IMAGE_TAG",
                            "PUSH_TOKEN",
                            "OXART_FX_NAME",
                            "OXART_PACKAGE_NAME",
                            "OXART_PACKAGE_SOURCE",
                        ],
                    ),
                ];
                ensure!(
                    names(steps(&run)) == table.clone().map(|(name, ..)| name),
                    "{run:#}"
                );
                for (name, mounts, env) in table {
                    let step = named(steps(&run), name);
                    ensure!(names(&step["env"]) == env, "{step:#}");
                    ensure!(mount_paths(step) == mounts, "{step:#}");
                }
                Ok(())
            },
        ),
        case(
            "acceptance_03_git_sources_are_cloned_before_the_first_step",
            async |cluster| {
                let scene = Scene::new(&cluster).await?;
                let mut flow = scene.flow(
                "Parts",
                json!([
                    {"name": "build", "runtime": "images.example.org/java:17", "function": "build"},
                    {"name": "test", "runtime": "images.example.org/java:17", "function": "test"},
                ]),
            );
                flow["git_uri"] = json!("https://git.example.org/team/parts.git");
                let run = scene.post_as("push 1", &flow).await?.run()?.to_owned();
                scene.objects.expect("acceptance_03").await?;

                let run = scene.objects.get("PipelineRun", &run).await?;
                ensure!(names(steps(&run)) == ["clone", "build", "test"], "{run:#}");
                for name in ["build", "test"] {
                    let step = named(steps(&run), name);
                    ensure!(
                        step["env"] == json!([{"name": "OXART_FX_NAME", "value": name}]),
                        "{step:#}"
                    );
                    ensure!(step["workingDir"] == "/workspace/source", "{step:#}");
                }
                let clone = named(steps(&run), "clone").to_string();
                ensure!(
                    clone.contains("https://git.example.org/team/parts.git"),
                    "{clone}"
                );
                Ok(())
            },
        ),
        case(
            "acceptance_03_a_login_of_git_travels_as_a_secret_that_the_run_owns",
            async |cluster| {
                let scene = Scene::new(&cluster).await?;
                let mut flow = scene.flow("Parts", json!([{"name": "build", "runtime": "images.example.org/java:17", "function": "build"}]));
                flow["git"] = json!({
                    "git_uri": "https://git.example.org/team/parts.git",
                    "git_branch": "release/2",
                    "git_login": "robot",
                    "git_password": "hunter2",
                });
                scene.post_as("push 2", &flow).await?.run()?;
                scene.objects.expect("acceptance_03_login").await?;
                let run = scene.objects.run().await?.to_string();
                ensure!(
                    run.contains("release/2") && !run.contains("hunter2"),
                    "{run}"
                );
                Ok(())
            },
        ),
        case(
            "acceptance_04_a_long_name_is_shortened_with_a_hash_and_kept_in_full",
            async |cluster| {
                let scene = Scene::new(&cluster).await?;
                let long = "Customer Onboarding Portal Nightly Build";
                let run = scene.post(&scene.plain_flow(long)).await?.run()?.to_owned();
                let objects = &scene.objects;
                let [task, pipeline] = [
                    objects.all("Task").await?.remove(0),
                    objects.all("Pipeline").await?.remove(0),
                ];
                let run = objects.get("PipelineRun", &run).await?;
                let base = name(&task).trim_end_matches("-build-task");
                let hash = base
                    .strip_prefix("customer-onboarding-portal-nig-")
                    .unwrap_or_default();
                ensure!(hash.len() == 6 && is_base36(hash), "{base}");
                ensure!(
                    name(&pipeline) == format!("{base}-pl") && is_run_of(base, name(&run)),
                    "{run:#}"
                );
                for object in [&task, &pipeline, &run] {
                    ensure!(
                        object["metadata"]["annotations"]["hookrun.dev/flow-name"] == long,
                        "{object:#}"
                    );
                }
                ensure!(
                    named(&run["spec"]["params"], "deployment-name")["value"] == long,
                    "{run:#}"
                );

                // The neighbour that shares the first 30 characters has objects of its own.
                scene
                    .post(&scene.plain_flow("Customer Onboarding Portal Nightly Deploy"))
                    .await?
                    .run()?;
                ensure!(
                    objects.names("Task").await?.len() == 2
                        && objects.names("Pipeline").await?.len() == 2
                );
                Ok(())
            },
        ),
        case(
            "acceptance_05_git_and_a_created_source_do_not_mix",
            async |cluster| {
                let scene = Scene::new(&cluster).await?;
                let mut flow = scene.flow(
                "mixed",
                json!([
                    {"name": "test", "runtime": "images.example.org/java:17", "function": "test"},
                    {"name": "make", "runtime": "images.example.org/java:17", "package": "p/x", "source": "create", "function": "make"},
                ]),
            );
                flow["git_uri"] = json!("https://git.example.org/team/parts.git");
                let answer = scene.post(&flow).await?;
                answer.refused(400, "cannot read flow: ")?;
                ensure!(answer.text.contains("$.steps[1]"), "{answer:?}");
                scene.objects.ensure_none().await
            },
        ),
        case(
            "acceptance_13_what_is_no_flow_is_refused_and_nothing_is_applied",
            async |cluster| {
                let scene = Scene::new(&cluster).await?;
                for body in [
                    "name: nightly\nsteps: []\n",
                    "",
                    r#"{"steps":{}}"#,
                    r#"{"steps":[null]}"#,
                    "null",
                    "[]",
                    "{\"name\":\"a\",\"name\":\"b\"}",
                ] {
                    let answer = ask(scene.function.post("/flow").body(body)).await?;
                    answer.refused(400, "cannot read flow: ")?;
                    ensure!(answer.text.ends_with('\n'), "{answer:?}");
                    ensure!(
                        answer.header("x-content-type-options") == "nosniff",
                        "{answer:?}"
                    );
                }
                scene.objects.ensure_none().await?;
                ensure!(ask(scene.function.get("/")).await?.text == "OK");
                Ok(())
            },
        ),
        case(
            "acceptance_14_a_flow_without_namespace_leaves_nothing_anywhere",
            async |cluster| {
                let scene = Scene::new(&cluster).await?;
                for labels in [
                    json!(null),
                    json!({}),
                    json!({"namespace": "  "}),
                    json!({"tier": "lab"}),
                ] {
                    let mut flow = scene.plain_flow("nightly-without-namespace");
                    flow["labels"] = labels;
                    scene
                        .post(&flow)
                        .await?
                        .refused(400, "cannot read flow: ")?;
                }
                scene.objects.ensure_none().await?;
                let default = crate::support::objects::Objects::of(cluster.admin(), "default");
                ensure!(
                    default
                        .find("Task", "nightly-without-namespace-build-task")
                        .await?
                        .is_none()
                );
                Ok(())
            },
        ),
        case(
            "acceptance_19_only_the_step_that_asks_for_it_is_privileged",
            async |cluster| {
                let scene = Scene::with(&cluster, |setup, namespace| {
                    setup.env("HOOKRUN_PRIVILEGED_NAMESPACES", namespace)
                })
                .await?;
                let mut root = step("root");
                root["privileged"] = json!(true);
                let flow = scene.flow("mixed", json!([root, step("plain")]));
                let run = scene.post(&flow).await?.run()?.to_owned();

                let run = scene.objects.get("PipelineRun", &run).await?;
                let privileged = json!({"privileged": true, "runAsNonRoot": false, "runAsUser": 0});
                ensure!(
                    named(steps(&run), "root")["securityContext"] == privileged,
                    "{run:#}"
                );
                ensure!(
                    named(steps(&run), "plain")["securityContext"].is_null(),
                    "{run:#}"
                );
                let template = &run["spec"]["taskRunTemplate"];
                let pod =
                    json!({"fsGroup": 100_000_000, "runAsNonRoot": true, "runAsUser": 100_000_000});
                ensure!(template["podTemplate"]["securityContext"] == pod, "{run:#}");
                ensure!(template["serviceAccountName"] == "pipeline", "{run:#}");
                Ok(())
            },
        ),
        case(
            "acceptance_22_field_names_ignore_case_and_unknown_fields_are_ignored",
            async |cluster| {
                let scene = Scene::new(&cluster).await?;
                let body = json!({
                    "NAME": "a",
                    "Labels": {"namespace": scene.namespace},
                    "steps": [{"Name": "s", "runtime": "i", "FUNCTION": "f", "package": "p", "zzz": 1}],
                });
                let run = scene.post(&body).await?.run()?.to_owned();
                let run = scene.objects.get("PipelineRun", &run).await?;
                let step = &steps(&run)[0];
                ensure!(step["name"] == "s" && step["image"] == "i", "{step:#}");
                let env = json!([{"name": "OXART_FX_NAME", "value": "f"}, {"name": "OXART_PACKAGE_NAME", "value": "p"}]);
                ensure!(
                    step["env"] == env && !run.to_string().contains("zzz"),
                    "{step:#}"
                );
                Ok(())
            },
        ),
    ]
}

/// Whether a name is that of a run: `<base>-pr-` and ten characters.
pub(super) fn is_run_of(base: &str, run: &str) -> bool {
    run.strip_prefix(base)
        .and_then(|rest| rest.strip_prefix("-pr-"))
        .is_some_and(|hash| hash.len() == 10 && is_base36(hash))
}

fn is_base36(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

pub(super) fn mount_paths(step: &Value) -> Vec<&str> {
    let mounts = step["volumeMounts"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    mounts
        .iter()
        .filter_map(|mount| mount["mountPath"].as_str())
        .collect()
}

/// The complete example of the reference, as the command line tool posts it.
pub(super) fn catalogue(namespace: &str) -> Value {
    json!({
        "Name": "parts-catalogue-setup",
        "Description": "scaffolds the parts catalogue service and builds its first image",
        "labels": {"namespace": namespace, "tier": "lab"},
        "steps": [
            {
                "name": "fetch-scaffold",
                "runtime": "images.example.org/artisan/java",
                "function": "make-scaffold",
                "package": "packages.example.org/recipes/catalogue:1.4",
                "source": "create",
                "input": {
                    "key": [{
                        "Name": "PARTS_CATALOGUE_SETUP_FETCH_SCAFFOLD_OXART_VERIFICATION_KEY",
                        "Description": "public key of the recipe author",
                        "Private": false,
                        "value": "-----BEGIN PGP PUBLIC KEY BLOCK-----\n…\n-----END PGP PUBLIC KEY BLOCK-----\n",
                        "path": "/",
                    }],
                    "secret": [
                        {"name": "PARTS_CATALOGUE_SETUP_FETCH_SCAFFOLD_OXART_REG_USER", "description": "", "value": "robot"},
                        {"name": "PARTS_CATALOGUE_SETUP_FETCH_SCAFFOLD_OXART_REG_PWD", "description": "", "value": "s3cret"},
                    ],
                    "var": [{"name": "SERVICE_ID", "description": "artifact id", "required": true, "type": "string", "value": "parts"}],
                },
                "privileged": false,
            },
            {
                "name": "overlay-config",
                "runtime": "images.example.org/artisan/ubi-min",
                "package": "packages.example.org/recipes/overlay:2.0",
                "source": "merge",
                "input": {"secret": [
                    {"name": "PARTS_CATALOGUE_SETUP_OVERLAY_CONFIG_OXART_REG_USER", "description": "", "value": "robot"},
                    {"name": "PARTS_CATALOGUE_SETUP_OVERLAY_CONFIG_OXART_REG_PWD", "description": "", "value": "s3cret"},
                ]},
                "privileged": false,
            },
            {
                "name": "build-image",
                "runtime": "images.example.org/tools/buildah:5",
                "function": "build-image",
                "package": "packages.example.org/recipes/overlay:2.0",
                "source": "read",
                "input": {
                    "file": [{"Name": "IMAGE_CONF", "Description": "build settings", "Path": "image.conf", "Content": "layers=false\n"}],
                    "secret": [{"name": "PUSH_TOKEN", "description": "", "value": "t0ken"}],
                    "var": [{"name": "IMAGE_TAG", "description": "", "required": true, "type": "string", "value": "0.1"}],
                },
                "privileged": true,
            },
        ],
    })
}
