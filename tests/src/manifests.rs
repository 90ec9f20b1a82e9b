//! Manifests and image say what the executable understands: arguments, variables, ports, users.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use control_plane::Cluster;
use serde_json::{Value, json};

use crate::{
    case::{Case, case},
    function::{executable, repository},
    support::objects::{name, named},
};

/// What `kubectl apply -k` is given, each on its own.
const KUSTOMIZATIONS: [&str; 11] = [
    "knative/crds",
    "knative/minimal",
    "knative/full",
    "knative/namespace",
    "knative/flows",
    "kourier",
    "examples/install/functions",
    "examples/install/namespace",
    "examples/install/name",
    "examples/install/hooks",
    "examples/tenants",
];

/// What is listed only by those who want it: a folder of resources, and a component upon it.
const ON_DEMAND: [(&str, &str); 2] = [
    ("kourier/name", "kourier/cert-manager"),
    ("kourier/name", "kourier/tls-elsewhere"),
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
                let rendered: BTreeSet<String> = everything(&cluster)?
                    .iter()
                    .map(|(_, object)| identity(object))
                    .collect();
                for file in files()? {
                    for object in documents(&fs::read_to_string(&file)?)
                        .with_context(|| file.display().to_string())?
                    {
                        // Kustomizations, and the patches and settings that they name.
                        let Some(api_version) = object["apiVersion"].as_str() else {
                            continue;
                        };
                        ensure!(
                            api_version.starts_with("kustomize.config.k8s.io/")
                                || rendered.contains(&identity(&object)),
                            "no kustomization has {}",
                            identity(&object)
                        );
                    }
                }
                Ok(())
            },
        ),
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
                let expected = ["dead-letters", "flow", "hook", "sweep", "sweeper"];
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
                                && container["resources"]["limits"]["memory"].is_string(),
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
            "manifests::manifests_that_a_cluster_without_knative_knows_are_admitted",
            async |cluster| {
                let namespace = cluster.namespace("manifests").await?;
                for (folder, mut object) in everything(&cluster)? {
                    let (group, plural) = match object["kind"].as_str().unwrap_or_default() {
                        "Role" => ("apis/rbac.authorization.k8s.io/v1", "roles"),
                        "RoleBinding" => ("apis/rbac.authorization.k8s.io/v1", "rolebindings"),
                        "ServiceAccount" => ("api/v1", "serviceaccounts"),
                        "ConfigMap" => ("api/v1", "configmaps"),
                        "CronJob" => ("apis/batch/v1", "cronjobs"),
                        "NetworkPolicy" => ("apis/networking.k8s.io/v1", "networkpolicies"),
                        "CustomResourceDefinition" => {
                            ("apis/apiextensions.k8s.io/v1", "customresourcedefinitions")
                        }
                        _ => continue,
                    };
                    let place = if object["kind"] == "CustomResourceDefinition" {
                        String::new()
                    } else {
                        object["metadata"]["namespace"] = namespace.clone().into();
                        format!("/namespaces/{namespace}")
                    };
                    // Strict: a misspelt field is an error, not a warning. One account is there already.
                    let request = http::Request::patch(format!(
                        "/{group}{place}/{plural}/{}?dryRun=All&fieldValidation=Strict&fieldManager=test&force=true",
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
                for (folder, images, fetching) in [("minimal", 3, 1), ("full", 5, 2)] {
                    let objects = render_folder(&cluster, &copy.path().join(folder))?;
                    let found = with_image(&objects, "registry.example.com/team/other:9.8.7")?;
                    ensure!(found == (images, fetching), "{folder}: {found:?}");
                }
                // And so does a folder of one's own.
                let objects = render(&cluster, "examples/install/functions")?;
                let found = with_image(&objects, "registry.example.com/hookrun:0.1.0")?;
                ensure!(found == (3, 1), "{found:?}");
                Ok(())
            },
        ),
        case(
            "manifests::manifests_let_functions_be_given_the_stores_that_they_use",
            async |cluster| {
                let objects = render(&cluster, "knative/full")?;
                let payloads = &STORES[1..];
                for (service, stores) in [
                    ("hookrun-flow", &STORES[..]),
                    ("hookrun-flow-events", &STORES[..]),
                    ("hookrun-hook", payloads),
                    ("hookrun-sweep", payloads),
                ] {
                    let service = find(&objects, "Service", service)?;
                    let container = &pod(service).context("a pod")?["containers"][0];
                    for secret in stores {
                        let source = json!({"secretRef": {"name": secret, "optional": true}});
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
            "manifests::manifests_give_a_function_the_memory_and_the_time_that_it_is_told_of",
            async |cluster| {
                let objects = render(&cluster, "knative/full")?;
                let services: Vec<_> = all(&objects, "Service").collect();
                ensure!(services.len() == 5, "{} Services", services.len());
                for service in services {
                    check_limits(service).with_context(|| name(service).to_owned())?;
                }
                // What the answer waits for ends before the answer is due.
                let sweep = find(&objects, "Service", "hookrun-sweep")?;
                ensure!(
                    seconds(sweep, "HOOKRUN_SWEEP_TIME")?
                        + seconds(sweep, "HOOKRUN_PAYLOAD_SWEEP_TIMEOUT")?
                        + 10
                        <= seconds(sweep, "HOOKRUN_REQUEST_TIME")?
                );
                // The largest webhook of any provider fits into the memory for bodies, where each counts four times.
                let hook = find(&objects, "Service", "hookrun-hook")?;
                let largest = providers::PROVIDERS
                    .iter()
                    .map(|provider| provider.body_bytes)
                    .max()
                    .context("providers")?;
                let memory = number(variable(hook, "HOOKRUN_MEMORY_BYTES")?, "MiB")? << 20;
                ensure!(
                    (largest * 4) as u64 <= memory,
                    "{largest} bytes, {memory} bytes"
                );
                // The Broker waits for the answer of whoever is the last to give up.
                let delivery = &find(&objects, "Broker", "default")?["spec"]["delivery"];
                ensure!(delivery["timeout"] == "PT100S", "{delivery:#}");
                Ok(())
            },
        ),
        case(
            "manifests::only_the_flow_and_the_hook_function_are_reached_from_outside",
            async |cluster| {
                let visibility = |service: &Value| {
                    service["metadata"]["labels"]["networking.knative.dev/visibility"].clone()
                };
                for folder in ["knative/minimal", "knative/full"] {
                    for service in all(&render(&cluster, folder)?, "Service") {
                        let outside = ["hookrun-flow", "hookrun-hook"].contains(&name(service));
                        let local = visibility(service) == "cluster-local";
                        ensure!(outside != local, "{folder}: {service:#}");
                    }
                }
                // Where they have names of their own, those may be the only way.
                for service in all(&render(&cluster, "examples/install/functions")?, "Service") {
                    ensure!(visibility(service) == "cluster-local", "{service:#}");
                }
                Ok(())
            },
        ),
        case(
            "manifests::events_go_to_services_that_are_there_and_take_them",
            async |cluster| {
                let objects = render(&cluster, "knative/full")?;
                let sinks = [
                    &find(&objects, "Broker", "default")?["spec"]["delivery"]["deadLetterSink"],
                    &find(&objects, "PingSource", "hookrun-sweep")?["spec"]["sink"],
                    &find(&objects, "Trigger", "hookrun-flow")?["spec"]["subscriber"],
                ];
                for sink in sinks {
                    let reference = &sink["ref"];
                    ensure!(
                        reference["apiVersion"] == "serving.knative.dev/v1",
                        "{sink:#}"
                    );
                    let service = reference["name"].as_str().unwrap_or_default();
                    let service = find(&objects, "Service", service)?;
                    let settings =
                        settings(&objects, &pod(service).context("a pod")?["containers"][0])?;
                    ensure!(
                        settings
                            .iter()
                            .any(|(name, _)| name == "HOOKRUN_CLUSTER_LOCAL"
                                || name == "HOOKRUN_OIDC_AUDIENCE"),
                        "nobody may send events to {}",
                        name(service)
                    );
                }
                Ok(())
            },
        ),
        case(
            "manifests::triggers_are_let_in_by_the_service_that_they_name",
            async |cluster| {
                let objects = render(&cluster, "knative/full")?;
                let example = fs::read_to_string(repository().join("examples/trigger.yaml"))?;
                let [ours, other] = [
                    find(&objects, "Trigger", "hookrun-flow")?.clone(),
                    documents(&example)?.remove(0),
                ];
                let service = find(&objects, "Service", "hookrun-flow-events")?;
                let settings =
                    settings(&objects, &pod(service).context("a pod")?["containers"][0])?;
                let value = |name: &str| {
                    let setting = settings.iter().find(|(setting, _)| setting == name);
                    setting
                        .map(|(_, value)| value.as_str())
                        .context("a setting")
                };
                // Eventing's name for the account of a Trigger.
                let account = |trigger: &Value| {
                    let namespace = trigger["metadata"]["namespace"]
                        .as_str()
                        .unwrap_or_default();
                    let name = name(trigger);
                    format!(
                        "system:serviceaccount:{namespace}:{name}-oidc-eventing.knative.dev-trigger"
                    )
                };
                for trigger in [&ours, &other] {
                    let subscriber = &trigger["spec"]["subscriber"];
                    ensure!(
                        subscriber["ref"]["name"] == service["metadata"]["name"],
                        "{trigger:#}"
                    );
                    ensure!(
                        subscriber["audience"] == value("HOOKRUN_OIDC_AUDIENCE")?,
                        "{trigger:#}"
                    );
                    // Settings of its own would be without the dead letter sink.
                    ensure!(trigger["spec"]["delivery"].is_null(), "{trigger:#}");
                }
                ensure!(value("HOOKRUN_OIDC_SUBJECTS")? == account(&ours));
                // Whoever applies the example is told what to add.
                ensure!(example.contains(&account(&other)), "{example}");
                Ok(())
            },
        ),
        case(
            "manifests::manifests_bind_each_role_to_the_account_that_makes_its_requests",
            async |cluster| {
                let objects = render(&cluster, "knative/minimal")?;
                let running: BTreeSet<_> = objects
                    .iter()
                    .filter_map(|object| pod(object)?["serviceAccountName"].as_str())
                    .map(|account| format!("hookrun/{account}"))
                    .collect();
                let mut bound = BTreeSet::new();
                for (folder, binding) in everything(&cluster)? {
                    if binding["kind"] != "RoleBinding" {
                        continue;
                    }
                    let [subject] = binding["subjects"]
                        .as_array()
                        .context("subjects")?
                        .as_slice()
                    else {
                        anyhow::bail!("{folder}: {binding:#}");
                    };
                    let text = |field: &str| subject[field].as_str().unwrap_or_default();
                    let account = format!("{}/{}", text("namespace"), text("name"));
                    // Either a function's, or the one as which the Hooks of that namespace act.
                    let hooks = binding["metadata"]["namespace"] == subject["namespace"];
                    ensure!(hooks || running.contains(&account), "{folder}: {binding:#}");
                    bound.insert(format!("{} {account}", name(&binding)));
                }
                let expected = [
                    "hookrun team-blue/hookrun",
                    "hookrun-flow hookrun/hookrun-flow",
                    "hookrun-flow-store hookrun/hookrun-flow",
                    "hookrun-hook hookrun/hookrun-hook",
                    "hookrun-sweep hookrun/hookrun-sweep",
                ];
                ensure!(bound.iter().eq(expected), "{bound:?}");
                // What a Hook acts as unless it says otherwise.
                let hook: hooks::HookSpec = serde_json::from_value(json!({"provider": "github"}))?;
                ensure!(hook.service_account_name == "hookrun", "{hook:?}");
                Ok(())
            },
        ),
        case(
            "manifests::manifests_of_a_name_agree_and_point_at_the_service",
            async |cluster| {
                let functions = render(&cluster, "knative/minimal")?;
                let mut names = BTreeSet::new();
                for (folder, objects) in builds(&cluster)? {
                    for mapping in all(&objects, "DomainMapping") {
                        names.insert(name(mapping).to_owned());
                        // Without the claim Knative does not let the namespace have the name.
                        let claim = find(&objects, "ClusterDomainClaim", name(mapping))?;
                        ensure!(
                            claim["spec"]["namespace"] == mapping["metadata"]["namespace"]
                                && claim["metadata"]["namespace"].is_null(),
                            "{folder}: {claim:#}"
                        );
                        let service = mapping["spec"]["ref"]["name"].as_str().unwrap_or_default();
                        let service = find(&functions, "Service", service)?;
                        ensure!(
                            service["metadata"]["namespace"] == mapping["metadata"]["namespace"],
                            "{folder}: {mapping:#}"
                        );
                        // A redirect to where there is no certificate would be an end.
                        let redirected = mapping["metadata"]["annotations"]["networking.knative.dev/http-protocol"]
                            == "redirected";
                        let tls = &mapping["spec"]["tls"]["secretName"];
                        ensure!(redirected == tls.is_string(), "{folder}: {mapping:#}");
                        for certificate in all(&objects, "Certificate") {
                            let spec = &certificate["spec"];
                            ensure!(
                                spec["secretName"] == *tls
                                    && spec["dnsNames"] == json!([name(mapping)]),
                                "{folder}: {certificate:#}"
                            );
                        }
                    }
                }
                let expected = [
                    "blue.hookrun.example.com",
                    "flows.example.com",
                    "green.hookrun.example.com",
                    "hookrun.example.com",
                    "hooks.example.com",
                ];
                ensure!(names.iter().eq(expected), "{names:?}");
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
        let used = settings
            .iter()
            .any(|(_, value)| mount["mountPath"] == **value);
        ensure!(used, "nothing reads {mount}");
    }
    Ok(())
}

/// The memory of a function adds up to its limit, its times follow on each other, and a busy pod gets company.
fn check_limits(service: &Value) -> Result<()> {
    let pod = pod(service).context("a pod")?;
    let container = &pod["containers"][0];
    // In KiB: bodies, heads (32 KiB each), what a request holds besides, the process.
    let requests = number(variable(service, "HOOKRUN_REQUESTS")?, "")?;
    let sum = (number(variable(service, "HOOKRUN_MEMORY_BYTES")?, "MiB")? << 10)
        + number(variable(service, "HOOKRUN_CONNECTIONS")?, "")? * 32
        + (requests << 11)
        + (64 << 10);
    let limit = container["resources"]["limits"]["memory"]
        .as_str()
        .context("a limit")?;
    let limit = number(limit, "Mi")? << 10;
    ensure!(sum <= limit, "{sum} KiB are more than {limit} KiB");
    // Whatever is accepted is finished before the time for draining is over, and the last telemetry goes out before the
    // pod's time is: a pod of a Knative Service gets timeoutSeconds to end.
    let request = seconds(service, "HOOKRUN_REQUEST_TIME")?;
    let drain = seconds(service, "HOOKRUN_DRAIN_TIME")?;
    let whole = pod["timeoutSeconds"].as_u64().context("timeoutSeconds")?;
    ensure!(request < drain, "{request} s of {drain} s");
    ensure!(drain + 10 <= whole, "{drain} s of {whole} s");
    // The function sheds; the platform neither queues nor counts for it, and starts another pod before this one is full.
    ensure!(pod["containerConcurrency"] == 0, "{pod:#}");
    let annotation = |name: &str| {
        let annotations = &service["spec"]["template"]["metadata"]["annotations"];
        let value = &annotations[format!("autoscaling.knative.dev/{name}")];
        number(value.as_str().context("an annotation")?, "")
    };
    let target = annotation("target")? * annotation("target-utilization-percentage")? / 100;
    ensure!(target < requests, "{target} of {requests}");
    Ok(())
}

/// The variable of the only container of a Service.
fn variable<'a>(service: &'a Value, variable: &str) -> Result<&'a str> {
    let env = &pod(service).context("a pod")?["containers"][0]["env"];
    named(env, variable)["value"]
        .as_str()
        .with_context(|| format!("{variable} is missing: {env:#}"))
}

fn seconds(service: &Value, name: &str) -> Result<u64> {
    number(variable(service, name)?, "s")
}

fn number(text: &str, unit: &str) -> Result<u64> {
    Ok(text.strip_suffix(unit).context("its unit")?.parse()?)
}

/// What a container is told by variables: its own, and those of the ConfigMaps that are generated beside it.
fn settings(objects: &[Value], container: &Value) -> Result<Vec<(String, String)>> {
    let mut settings = Vec::new();
    for source in container["envFrom"].as_array().into_iter().flatten() {
        let Some(map) = source["configMapRef"]["name"].as_str() else {
            continue;
        };
        let map = find(objects, "ConfigMap", map)?;
        for (name, value) in map["data"].as_object().context("data")? {
            settings.push((name.clone(), value.as_str().context("text")?.to_owned()));
        }
    }
    for variable in container["env"].as_array().into_iter().flatten() {
        let text = |field: &str| variable[field].as_str().context("text").map(str::to_owned);
        settings.push((text("name")?, text("value")?));
    }
    Ok(settings)
}

/// How many containers there are, and how many of them name an image to fetch with. Both are always that image.
fn with_image(objects: &[Value], image: &str) -> Result<(usize, usize)> {
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

/// The pod that an object starts, if it starts one.
fn pod(object: &Value) -> Option<&Value> {
    let template = match object["kind"].as_str()? {
        "Service" => &object["spec"]["template"],
        "CronJob" => &object["spec"]["jobTemplate"]["spec"]["template"],
        _ => return None,
    };
    Some(&template["spec"])
}

/// All containers, with the objects that start them.
fn containers(objects: &[Value]) -> Result<Vec<(&Value, &Value)>> {
    let mut found = Vec::new();
    for object in objects {
        let Some(pod) = pod(object) else { continue };
        let containers = pod["containers"].as_array().context("containers")?;
        found.extend(containers.iter().map(|container| (object, container)));
    }
    Ok(found)
}

fn all<'a>(objects: &'a [Value], kind: &str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |object| object["kind"] == kind)
}

fn find<'a>(objects: &'a [Value], kind: &str, wanted: &str) -> Result<&'a Value> {
    all(objects, kind)
        .find(|object| name(object) == wanted)
        .with_context(|| format!("no {kind} {wanted}"))
}

/// Kind and name.
fn identity(object: &Value) -> String {
    let kind = object["kind"].as_str().unwrap_or_default();
    format!("{kind} {}", name(object))
}

/// Everything that can be built, by where it comes from.
fn builds(cluster: &Cluster) -> Result<Vec<(String, Vec<Value>)>> {
    let mut builds = Vec::new();
    for folder in KUSTOMIZATIONS {
        builds.push((folder.to_owned(), render(cluster, folder)?));
    }
    for (resource, component) in ON_DEMAND {
        builds.push((
            component.to_owned(),
            render_together(cluster, resource, component)?,
        ));
    }
    Ok(builds)
}

/// Every object that can be built, with where it comes from.
fn everything(cluster: &Cluster) -> Result<Vec<(String, Value)>> {
    let objects = builds(cluster)?.into_iter().flat_map(|(folder, objects)| {
        objects
            .into_iter()
            .map(move |object| (folder.clone(), object))
    });
    Ok(objects.collect())
}

/// What a folder of one's own makes of a folder and a component of the repository.
fn render_together(cluster: &Cluster, resource: &str, component: &str) -> Result<Vec<Value>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().canonicalize()?;
    // Kustomizations name each other by relative paths only.
    let up = "../".repeat(path.components().count() - 1);
    let ours = repository().canonicalize()?;
    let at = |part: &str| {
        format!(
            "{up}{}/{part}",
            ours.display().to_string().trim_start_matches('/')
        )
    };
    let kustomization = json!({"resources": [at(resource)], "components": [at(component)]});
    fs::write(path.join("kustomization.yaml"), kustomization.to_string())?;
    render_folder(cluster, &path)
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
