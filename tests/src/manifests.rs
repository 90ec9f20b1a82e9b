//! Manifests and image say what the executable understands: arguments, variables, ports, users.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use control_plane::Cluster;
use serde_json::Value;

use crate::{
    case::{Case, case},
    function::{executable, repository},
    support::objects::{name, named},
};

/// What `kubectl apply -k` is given, each on its own.
const KUSTOMIZATIONS: [&str; 6] = [
    "knative",
    "knative/events",
    "knative/namespace",
    "knative/flows",
    "knative/sweep",
    "kourier",
];

/// The Secrets that may give a function its stores.
const STORES: [&str; 2] = ["hookrun-flow-store", "hookrun-payload-store"];

/// The cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    vec![
        case(
            "manifests::manifests_are_all_named_by_a_kustomization_and_render",
            async |cluster| {
                let mut rendered = BTreeSet::new();
                for folder in KUSTOMIZATIONS {
                    for object in render(&cluster, folder)? {
                        rendered.insert(format!(
                            "{} {}",
                            object["kind"].as_str().unwrap_or_default(),
                            name(&object)
                        ));
                    }
                }
                for file in files()? {
                    for object in documents(&fs::read_to_string(&file)?)
                        .with_context(|| file.display().to_string())?
                    {
                        let what = format!(
                            "{} {}",
                            object["kind"].as_str().unwrap_or_default(),
                            name(&object)
                        );
                        ensure!(
                            ["Kustomization", "Component"]
                                .iter()
                                .any(|kind| object["kind"] == *kind)
                                || rendered.contains(&what),
                            "no kustomization has {what}"
                        );
                    }
                }
                Ok(())
            },
        ),
        case(
            "manifests::manifests_call_the_executable_as_it_wants_to_be_called",
            async |cluster| {
                let mut seen = 0;
                for folder in KUSTOMIZATIONS {
                    for object in render(&cluster, folder)? {
                        let Some(pod) = pod(&object) else { continue };
                        for container in pod["containers"].as_array().context("containers")? {
                            check_container(container)
                                .with_context(|| format!("{folder}: {}", name(&object)))?;
                            seen += 1;
                        }
                    }
                }
                ensure!(seen == 3, "{seen} containers");
                Ok(())
            },
        ),
        case(
            "manifests::manifests_run_it_with_the_least_that_it_needs",
            async |cluster| {
                for folder in KUSTOMIZATIONS {
                    for object in render(&cluster, folder)? {
                        let Some(pod) = pod(&object) else { continue };
                        for container in pod["containers"].as_array().context("containers")? {
                            let security = &container["securityContext"];
                            ensure!(
                                security["runAsNonRoot"] == true
                                    && security["runAsUser"] == 65532
                                    && security["readOnlyRootFilesystem"] == true
                                    && security["allowPrivilegeEscalation"] == false
                                    && security["capabilities"]["drop"]
                                        == serde_json::json!(["ALL"])
                                    && security["seccompProfile"]["type"] == "RuntimeDefault"
                                    && container["resources"]["limits"]["memory"].is_string(),
                                "{folder}: {container:#}"
                            );
                        }
                    }
                }
                Ok(())
            },
        ),
        case(
            "manifests::manifests_that_a_cluster_without_knative_knows_are_admitted",
            async |cluster| {
                let namespace = cluster.namespace("manifests").await?;
                for folder in KUSTOMIZATIONS {
                    for mut object in render(&cluster, folder)? {
                        let (group, plural) = match object["kind"].as_str().unwrap_or_default() {
                            "Role" => ("apis/rbac.authorization.k8s.io/v1", "roles"),
                            "RoleBinding" => ("apis/rbac.authorization.k8s.io/v1", "rolebindings"),
                            "ServiceAccount" => ("api/v1", "serviceaccounts"),
                            "CronJob" => ("apis/batch/v1", "cronjobs"),
                            _ => continue,
                        };
                        object["metadata"]["namespace"] = namespace.clone().into();
                        // Strict: a misspelt field is an error, not a warning. One account is there already.
                        let request = http::Request::patch(format!(
                        "/{group}/namespaces/{namespace}/{plural}/{}?dryRun=All&fieldValidation=Strict&fieldManager=test&force=true",
                        name(&object)
                    ))
                    .header("content-type", "application/apply-patch+yaml")
                    .body(object.to_string().into_bytes())?;
                        cluster
                            .admin()
                            .request::<Value>(request)
                            .await
                            .with_context(|| format!("{folder}: {object:#}"))?;
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
                let (mut images, mut fetching) = (0, 0);
                for folder in ["", "events", "sweep"] {
                    for object in render_folder(&cluster, &copy.path().join(folder))? {
                        let Some(pod) = pod(&object) else { continue };
                        for container in pod["containers"].as_array().context("containers")? {
                            let image = "registry.example.com/team/other:9.8.7";
                            ensure!(container["image"] == image, "{folder}: {container:#}");
                            images += 1;
                            let fetch = named(&container["env"], "HOOKRUN_FETCH_IMAGE");
                            if !fetch.is_null() {
                                ensure!(fetch["value"] == image, "{folder}: {container:#}");
                                fetching += 1;
                            }
                        }
                    }
                }
                ensure!((images, fetching) == (3, 2), "{images} {fetching}");
                Ok(())
            },
        ),
        case(
            "manifests::manifests_let_both_services_be_given_stores",
            async |cluster| {
                for service in services(&cluster)? {
                    let container = &pod(&service).context("a pod")?["containers"][0];
                    for secret in STORES {
                        let source =
                            serde_json::json!({"secretRef": {"name": secret, "optional": true}});
                        ensure!(
                            container["envFrom"]
                                .as_array()
                                .is_some_and(|sources| sources.contains(&source)),
                            "{container:#}"
                        );
                    }
                }
                Ok(())
            },
        ),
        case(
            "manifests::manifests_give_the_function_the_memory_and_the_time_that_it_is_told_of",
            async |cluster| {
                for service in services(&cluster)? {
                    let pod = pod(&service).context("a pod")?;
                    let container = &pod["containers"][0];
                    let value = |name: &str| {
                        named(&container["env"], name)["value"]
                            .as_str()
                            .with_context(|| format!("{name} is missing: {container:#}"))
                    };
                    let number = |text: &str, unit: &str| -> Result<u64> {
                        Ok(text.strip_suffix(unit).context("its unit")?.parse()?)
                    };
                    // In KiB: bodies, heads (32 KiB each), what a request holds besides, the process.
                    let sum = (number(value("HOOKRUN_MEMORY_BYTES")?, "MiB")? << 10)
                        + number(value("HOOKRUN_CONNECTIONS")?, "")? * 32
                        + (number(value("HOOKRUN_REQUESTS")?, "")? << 11)
                        + (64 << 10);
                    let limit = container["resources"]["limits"]["memory"]
                        .as_str()
                        .context("a limit")?;
                    let limit = number(limit, "Mi")? << 10;
                    ensure!(sum <= limit, "{sum} KiB are more than {limit} KiB");
                    // A pod of a Knative Service gets that time to end; the last telemetry needs some of it.
                    let drain = number(value("HOOKRUN_DRAIN_TIME")?, "s")?;
                    let whole = pod["timeoutSeconds"].as_u64().context("timeoutSeconds")?;
                    ensure!(drain + 10 <= whole, "{drain} s of {whole} s");
                }
                Ok(())
            },
        ),
        case(
            "manifests::example_of_a_trigger_is_let_in_by_the_service_that_it_names",
            async |cluster| {
                let example = fs::read_to_string(repository().join("examples/trigger.yaml"))?;
                let trigger = documents(&example)?.remove(0);
                let service = render(&cluster, "knative/events")?.remove(0);
                let subscriber = &trigger["spec"]["subscriber"];
                ensure!(
                    subscriber["ref"]["name"] == service["metadata"]["name"],
                    "{trigger:#}"
                );
                let env = &pod(&service).context("a pod")?["containers"][0]["env"];
                ensure!(
                    subscriber["audience"] == named(env, "HOOKRUN_OIDC_AUDIENCE")["value"],
                    "{trigger:#}"
                );
                // Eventing's name for the account of a Trigger.
                let account = format!(
                    "system:serviceaccount:{}:{}-oidc-eventing.knative.dev-trigger",
                    trigger["metadata"]["namespace"]
                        .as_str()
                        .unwrap_or_default(),
                    name(&trigger)
                );
                ensure!(
                    named(env, "HOOKRUN_OIDC_SUBJECTS")["value"] == *account,
                    "{env:#}"
                );
                Ok(())
            },
        ),
        case(
            "manifests::manifests_bind_the_role_to_the_account_that_the_service_uses",
            async |cluster| {
                let service = render(&cluster, "knative")?;
                let service = service
                    .iter()
                    .find(|object| object["kind"] == "Service")
                    .context("a Service")?;
                let account = &pod(service).context("a pod")?["serviceAccountName"];
                for folder in ["knative/namespace", "knative/flows"] {
                    for binding in render(&cluster, folder)?
                        .iter()
                        .filter(|object| object["kind"] == "RoleBinding")
                    {
                        ensure!(binding["subjects"][0]["name"] == *account, "{binding:#}");
                        ensure!(
                            binding["subjects"][0]["namespace"] == service["metadata"]["namespace"],
                            "{binding:#}"
                        );
                    }
                }
                Ok(())
            },
        ),
        case(
            "manifests::manifests_of_the_domain_point_at_the_service",
            async |cluster| {
                let objects = render(&cluster, "kourier")?;
                let of = |kind: &str| {
                    objects
                        .iter()
                        .find(|object| object["kind"] == kind)
                        .with_context(|| format!("a {kind}"))
                };
                let mapping = of("DomainMapping")?;
                // Without the claim Knative does not let the namespace have the name.
                let claim = of("ClusterDomainClaim")?;
                ensure!(name(claim) == name(mapping), "{claim:#}");
                ensure!(
                    claim["spec"]["namespace"] == mapping["metadata"]["namespace"]
                        && claim["metadata"]["namespace"].is_null(),
                    "{claim:#}"
                );
                let service = render(&cluster, "knative")?;
                let service = service
                    .iter()
                    .find(|object| object["kind"] == "Service")
                    .context("a Service")?;
                ensure!(
                    mapping["spec"]["ref"]["name"] == service["metadata"]["name"],
                    "{mapping:#}"
                );
                ensure!(
                    mapping["metadata"]["namespace"] == service["metadata"]["namespace"],
                    "{mapping:#}"
                );
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
fn check_container(container: &Value) -> Result<()> {
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
    for variable in container["env"].as_array().into_iter().flatten() {
        let variable = variable["name"].as_str().unwrap_or_default();
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
        let used = container["env"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|variable| variable["value"] == mount["mountPath"]);
        ensure!(used, "nothing reads {mount}");
    }
    if let Some(image) = named(&container["env"], "HOOKRUN_FETCH_IMAGE")["value"].as_str() {
        ensure!(
            *image == container["image"],
            "the step that fetches has another image than the function: {image}"
        );
    }
    Ok(())
}

/// The pod that an object starts, if it starts one.
fn pod(object: &Value) -> Option<&Value> {
    let template = match object["kind"].as_str()? {
        "Service" => &object["spec"]["template"],
        "CronJob" => &object["spec"]["jobTemplate"]["spec"]["template"],
        _ => return None,
    };
    Some(&template["spec"])
}

/// Both Services of the flow function.
fn services(cluster: &Cluster) -> Result<Vec<Value>> {
    let mut services = render(cluster, "knative")?;
    services.extend(render(cluster, "knative/events")?);
    services.retain(|object| object["kind"] == "Service");
    ensure!(services.len() == 2, "{} Services", services.len());
    Ok(services)
}

/// What `kubectl kustomize` makes of a folder of the repository.
fn render(cluster: &Cluster, folder: &str) -> Result<Vec<Value>> {
    render_folder(cluster, &repository().join(folder))
}

/// What `kubectl kustomize` makes of a folder.
fn render_folder(cluster: &Cluster, folder: &Path) -> Result<Vec<Value>> {
    let output = Command::new(cluster.programs().path("kubectl"))
        .arg("kustomize")
        .arg(folder)
        .output()?;
    ensure!(
        output.status.success(),
        "{}: {}",
        folder.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    documents(&String::from_utf8(output.stdout)?)
}

fn documents(yaml: &str) -> Result<Vec<Value>> {
    Ok(serde_saphyr::from_multiple(yaml)?)
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir(&target)?;
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// All manifests.
fn files() -> Result<Vec<PathBuf>> {
    let mut folders = vec![repository().join("knative"), repository().join("kourier")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "yaml")
            {
                files.push(path);
            }
        }
    }
    Ok(files)
}
