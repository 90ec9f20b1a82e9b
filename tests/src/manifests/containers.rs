//! What a container says is what the executable understands, and no more than it needs.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{
    build::{builds, copy_folder, render, render_folder},
    objects::{containers, find, pod, settings},
};
use crate::{
    case::{Case, case},
    function::{executable, repository},
    support::objects::{name, named},
};

/// The Secrets that may give a function its stores.
const STORES: [&str; 2] = ["hookrun-flow-store", "hookrun-payload-store"];

/// The Services of everything that looks flows up.
const LOOKING_UP: [&str; 4] = [
    "hookrun-flow",
    "hookrun-flow-events",
    "hookrun-hook",
    "hookrun-sweep",
];

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "manifests::manifests_call_the_executable_as_it_wants_to_be_called",
            async |cluster| {
                let mut commands = BTreeSet::new();
                for (folder, objects) in builds(&cluster)? {
                    for (object, container) in containers(&objects)? {
                        check_container(&objects, container)
                            .with_context(|| format!("{folder}: {}", name(object)))?;
                        commands.insert(container["args"].to_string());
                    }
                }
                let expected = [
                    "admission",
                    "dead-letters",
                    "flow",
                    "hook",
                    "sweep",
                    "sweeper",
                ];
                ensure!(
                    commands == expected.map(|name| json!([name]).to_string()).into(),
                    "{commands:?}"
                );
                Ok(())
            },
        ),
        case(
            "manifests::manifests_run_it_with_the_least_that_it_needs",
            async |cluster| {
                for (folder, objects) in builds(&cluster)? {
                    for (object, container) in containers(&objects)? {
                        let security = &container["securityContext"];
                        ensure!(
                            security["runAsNonRoot"] == true
                                && security["runAsUser"] == 65532
                                && security["readOnlyRootFilesystem"] == true
                                && security["allowPrivilegeEscalation"] == false
                                && security["capabilities"]["drop"] == json!(["ALL"])
                                && security["seccompProfile"]["type"] == "RuntimeDefault"
                                && container["resources"]["limits"]["memory"].is_string()
                                // What it says when it ends stands where people look for it.
                                && container["terminationMessagePolicy"] == "FallbackToLogsOnError",
                            "{folder}: {container:#}"
                        );
                        // An account of its own; no function has rights by the namespace's default one.
                        let account = pod(object).context("a pod")?["serviceAccountName"].clone();
                        ensure!(
                            objects.iter().any(|other| other["kind"] == "ServiceAccount"
                                && other["metadata"]["name"] == account),
                            "{folder}: no account {account}"
                        );
                    }
                }
                Ok(())
            },
        ),
        case(
            "manifests::manifests_take_every_image_from_one_place",
            async |cluster| {
                let copy = tempfile::tempdir()?;
                copy_folder(&repository().join("knative"), copy.path())?;
                let place = copy.path().join("image/kustomization.yaml");
                let text = fs::read_to_string(&place)?;
                let other = text
                    .replace(
                        "newName: hookrun",
                        "newName: registry.example.com/team/other",
                    )
                    .replace("newTag: \"0.1.0\"", "newTag: \"9.8.7\"");
                fs::write(&place, other)?;
                for (folder, images, fetching) in [("minimal", 3, 3), ("full", 5, 4)] {
                    let objects = render_folder(&cluster, &copy.path().join(folder))?;
                    let found = with_image(&objects, "registry.example.com/team/other:9.8.7")?;
                    ensure!(found == (images, fetching), "{folder}: {found:?}");
                }
                // And so does a folder of one's own.
                let objects = render(&cluster, "examples/install/functions")?;
                let found = with_image(&objects, "registry.example.com/hookrun:0.1.0")?;
                ensure!(found == (3, 3), "{found:?}");
                Ok(())
            },
        ),
        case(
            "manifests::manifests_let_functions_be_given_the_stores_that_they_use",
            async |cluster| {
                // Whatever looks flows up and starts their runs: the image that fetches for them as well.
                for (folder, kind, names) in [
                    ("knative/full", "Service", &LOOKING_UP[..]),
                    (
                        "knative/minimal",
                        "Service",
                        &["hookrun-flow", "hookrun-hook"],
                    ),
                    ("knative/minimal", "CronJob", &["hookrun-sweep"]),
                ] {
                    let objects = render(&cluster, folder)?;
                    for name in names {
                        let container =
                            &pod(find(&objects, kind, name)?).context("a pod")?["containers"][0];
                        let sources = container["envFrom"].as_array().context("envFrom")?;
                        for secret in STORES {
                            let source = json!({"secretRef": {"name": secret, "optional": true}});
                            ensure!(sources.contains(&source), "{folder}: {container:#}");
                        }
                        ensure!(
                            named(&container["env"], "HOOKRUN_FETCH_IMAGE")["value"].is_string(),
                            "{folder}: {container:#}"
                        );
                    }
                }
                Ok(())
            },
        ),
        case(
            "manifests::image_is_nothing_but_the_executable_and_certificates",
            async |_| {
                let dockerfile = fs::read_to_string(repository().join("Dockerfile"))?;
                let last = dockerfile.split("\nFROM ").last().unwrap_or_default();
                let lines: Vec<&str> = last
                    .lines()
                    .map(str::trim)
                    .filter(|line| !line.is_empty() && !line.starts_with('#'))
                    .collect();
                ensure!(lines.first() == Some(&"scratch"), "{lines:?}");
                ensure!(lines.contains(&"USER 65532:65532"), "{lines:?}");
                ensure!(lines.contains(&r#"ENTRYPOINT ["/hookrun"]"#), "{lines:?}");
                let copies: Vec<_> = lines
                    .iter()
                    .filter_map(|line| line.strip_prefix("COPY --from=build "))
                    .collect();
                ensure!(
                    copies
                        == [
                            "/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt",
                            "/hookrun /hookrun"
                        ],
                    "{copies:?}"
                );
                ensure!(
                    !lines
                        .iter()
                        .any(|line| line.starts_with("RUN") || line.starts_with("CMD")),
                    "{lines:?}"
                );
                Ok(())
            },
        ),
    ]
}

/// Arguments are a command of the executable, every variable is one that this command reads, and the port is its port.
fn check_container(objects: &[Value], container: &Value) -> Result<()> {
    let args: Vec<&str> = container["args"]
        .as_array()
        .context("args")?
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let output = Command::new(executable())
        .env_clear()
        .args(&args)
        .arg("--help")
        .output()?;
    ensure!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let help = String::from_utf8(output.stdout)?;
    let settings = settings(objects, container)?;
    for (variable, _) in &settings {
        ensure!(
            help.contains(&format!("[env: {variable}=")),
            "{args:?} does not know {variable}"
        );
    }
    for port in container["ports"].as_array().into_iter().flatten() {
        ensure!(
            help.contains(&port["containerPort"].to_string()),
            "{args:?} does not listen on {port}"
        );
    }
    ensure!(
        container["command"].is_null(),
        "the image has an entry point"
    );
    for mount in container["volumeMounts"].as_array().into_iter().flatten() {
        let folder = mount["mountPath"].as_str().context("a path")?;
        let used = settings
            .iter()
            .any(|(_, value)| Path::new(value).starts_with(folder));
        ensure!(used, "nothing reads {mount}");
    }
    Ok(())
}

/// How many containers there are, and how many of them name an image to fetch with. Both are always that image.
pub(super) fn with_image(objects: &[Value], image: &str) -> Result<(usize, usize)> {
    let (mut images, mut fetching) = (0, 0);
    for (_, container) in containers(objects)? {
        ensure!(container["image"] == image, "{container:#}");
        images += 1;
        let fetch = named(&container["env"], "HOOKRUN_FETCH_IMAGE");
        if !fetch.is_null() {
            ensure!(fetch["value"] == image, "{container:#}");
            fetching += 1;
        }
    }
    Ok((images, fetching))
}
