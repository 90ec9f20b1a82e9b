//! Manifests and image say what the executable understands: arguments, variables, ports, users.

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};

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
                            object["kind"] == "Kustomization" || rendered.contains(&what),
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
                let mapping = render(&cluster, "kourier")?.remove(0);
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

/// What `kubectl kustomize` makes of a folder.
fn render(cluster: &Cluster, folder: &str) -> Result<Vec<Value>> {
    let output = Command::new(cluster.programs().path("kubectl"))
        .arg("kustomize")
        .arg(repository().join(folder))
        .output()?;
    ensure!(
        output.status.success(),
        "{folder}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    documents(&String::from_utf8(output.stdout)?)
}

fn documents(yaml: &str) -> Result<Vec<Value>> {
    Ok(serde_saphyr::from_multiple(yaml)?)
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
