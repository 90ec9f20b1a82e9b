//! The manifests, installed as their users do: an overlay of their own around `knative/` and `kourier/`, and `kubectl apply -k`.
//!
//! The overlays say what differs here, as `examples/install` shows it: namespaces, image, settings, credentials, certificate.
//! Everything bears the label [`LABEL`], by which it is removed.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use control_plane::{Image, Standing, until};
use serde_json::{Value, json};
use system_tests::function;
use uuid::Uuid;

use crate::{
    payloads,
    settings::Settings,
    tools::Tools,
    world::{CLOSED, FLOWS, Kubectl, PRIVILEGED, QUEUE, RUNS},
};

/// On everything that is installed.
pub(crate) const LABEL: &str = "hookrun.dev/e2e";

/// Whoever may post flows.
pub(crate) const USER: &str = "e2e";

/// Namespaces of the two installations.
pub(crate) const MAIN: &str = "hookrun-e2e";
pub(crate) const STORM: &str = "hookrun-e2e-storm";

/// The function's public Service, as the manifests call it.
pub(crate) const FLOW: &str = "hookrun-flow";
/// The one that only the cluster reaches.
pub(crate) const EVENTS: &str = "hookrun-flow-events";
/// The one that outside services call.
pub(crate) const HOOK: &str = "hookrun-hook";

/// The names under which the main installation is reached with TLS: the flow function, the hook function.
const NAME: &str = "hookrun.e2e.example.com";
const HOOKS: &str = "hooks.e2e.example.com";

/// One installation, as it is reached from outside.
#[derive(Debug)]
pub(crate) struct Site {
    /// The function's host name.
    pub(crate) host: String,
    /// The certificate to trust, where the name has TLS.
    pub(crate) certificate: Option<String>,
    /// The password of [`USER`].
    pub(crate) password: String,
}

/// Everything that is installed.
#[derive(Debug)]
pub(crate) struct Sites {
    /// The flow function, with its name.
    pub(crate) main: Site,
    /// The hook function of the same installation, with its name.
    pub(crate) hooks: Site,
    /// The flow function once more, with narrow limits.
    pub(crate) storm: Site,
}

/// Installs the functions twice, with everything around it, and waits until it is ready.
///
/// # Errors
/// Something is refused or does not get ready.
pub(crate) async fn install(
    settings: &Settings,
    tools: &Tools,
    kubectl: &Kubectl,
    folder: &Path,
) -> Result<Sites> {
    let began = Instant::now();
    refuse_others(kubectl).await?;
    remove(kubectl).await?;
    eprintln!(
        "e2e: nothing is left of earlier installations, after {:.0} s",
        began.elapsed().as_secs_f32()
    );
    let image = image(settings, folder)?;
    let overlays = Overlays {
        folder: folder.join("manifests"),
        kubectl,
    };
    let mut namespaces = Vec::new();
    for namespace in [MAIN, STORM, RUNS, PRIVILEGED, QUEUE, CLOSED, FLOWS] {
        namespaces.push(json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": {LABEL: "true"}},
        }));
    }
    // Hundreds of runs that only have to exist would keep the machine busy for long.
    namespaces.push(json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none", "namespace": QUEUE},
        "spec": {"hard": {"pods": "0"}},
    }));
    kubectl
        .run(
            &["apply", "-f", "-"],
            Some(&json!({"apiVersion": "v1", "kind": "List", "items": namespaces}).to_string()),
        )
        .await?;

    let accounts = [MAIN, STORM]
        .map(|namespace| json!({"kind": "ServiceAccount", "name": FLOW, "namespace": namespace}));
    for (part, namespace) in [
        ("namespace", RUNS),
        ("namespace", PRIVILEGED),
        ("namespace", QUEUE),
        ("namespace", CLOSED),
        ("flows", FLOWS),
    ] {
        let subjects = json!([{"op": "replace", "path": "/subjects", "value": accounts}]);
        let home = json!([{"op": "replace", "path": "/subjects/0/namespace", "value": MAIN}]);
        let overlay = json!({
            "namespace": namespace,
            "resources": [at(&format!("knative/{part}"))],
            "patches": [
                {"target": {"kind": "RoleBinding", "name": "hookrun-flow|hookrun-flow-store"}, "patch": subjects.to_string()},
                {"target": {"kind": "RoleBinding", "name": ".*-(hook|sweep)"}, "patch": home.to_string()},
            ],
        });
        overlays
            .apply(&format!("{part}-{namespace}"), overlay)
            .await?;
    }

    // Those of the hook function and of the sweep; the account that Hooks act as is found by its namespace.
    let home = json!([{"op": "replace", "path": "/subjects/0/namespace", "value": MAIN}]);
    let overlay = json!({
        "namespace": RUNS,
        "resources": [at("knative/hooks")],
        "patches": [{"target": {"kind": "RoleBinding", "name": "hookrun-(hook|sweep)"}, "patch": home.to_string()}],
    });
    overlays.apply("hooks-rights", overlay).await?;

    let password = Uuid::new_v4().to_string();
    let site = |namespace: &str, base: &str| -> Result<Value> {
        let (image, tag) = named(&image)?;
        // How flows run is the same, whoever starts them.
        let runs = [
            format!("HOOKRUN_PRIVILEGED_NAMESPACES={PRIVILEGED}"),
            format!("HOOKRUN_CLONE_IMAGE={}", tools.pod),
        ];
        let namespaces = [RUNS, PRIVILEGED, QUEUE].join(",");
        let flow = [&[format!("HOOKRUN_NAMESPACES={namespaces}")], &runs[..]].concat();
        let hook = [
            format!("HOOKRUN_NAMESPACES={RUNS}"),
            format!("HOOKRUN_HOOK_URL=https://{HOOKS}"),
        ];
        let hook = [&hook, &runs[..]].concat();
        Ok(json!({
            "namespace": namespace,
            "resources": [at(base)],
            "images": [{"name": "hookrun", "newName": image, "newTag": tag}],
            "configMapGenerator": [
                {"name": FLOW, "behavior": "merge", "literals": flow},
                {"name": HOOK, "behavior": "merge", "literals": hook},
            ],
            "secretGenerator": [
                {
                    "name": "hookrun-flow-credentials",
                    "type": "kubernetes.io/basic-auth",
                    "literals": [format!("username={USER}"), format!("password={password}")],
                    "options": {"disableNameSuffixHash": true},
                },
                {
                    "name": "hookrun-flow-store",
                    "literals": ["HOOKRUN_FLOW_STORE=kubernetes", format!("HOOKRUN_FLOW_STORE_NAMESPACE={FLOWS}")],
                    "options": {"disableNameSuffixHash": true},
                },
            ],
        }))
    };
    // With the image that its step starts.
    let (hookrun, tag) = named(&image)?;
    let overlay = json!({
        "namespace": RUNS,
        "resources": [at("knative/tasks")],
        "images": [{"name": "hookrun", "newName": hookrun, "newTag": tag}],
    });
    overlays.apply("tasks", overlay).await?;

    let mut main = site(MAIN, "knative/full")?;
    // The other one has none, and refuses what only a store could take.
    main["secretGenerator"]
        .as_array_mut()
        .context("a list")?
        .push(json!({
            "name": "hookrun-payload-store",
            "literals": payloads::environment(&password),
            "options": {"disableNameSuffixHash": true},
        }));
    main["components"] = json!([at("knative/by-name")]);
    // Eventing sends no tokens, as long as nobody has switched that on.
    main["configMapGenerator"]
        .as_array_mut()
        .context("a list")?
        .push(json!({
            "name": EVENTS, "behavior": "replace", "literals": ["HOOKRUN_CLUSTER_LOCAL=true"],
        }));
    overlays.apply("main", main).await?;
    let mut storm = site(STORM, "knative/minimal")?;
    // Narrow, so that one machine can send more than it takes.
    let narrow = json!([
        {"op": "replace", "path": "/spec/template/metadata/annotations/autoscaling.knative.dev~1max-scale", "value": "1"},
        {"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--requests=8"},
    ]);
    // It has no rights in any namespace that holds Hooks.
    let suspended = json!([{"op": "add", "path": "/spec/suspend", "value": true}]);
    storm["patches"] = json!([
        {"target": {"kind": "Service", "name": FLOW}, "patch": narrow.to_string()},
        {"target": {"kind": "CronJob"}, "patch": suspended.to_string()},
    ]);
    overlays.apply("storm", storm).await?;
    let certificate = overlays.names().await?;

    for (namespace, service) in [(MAIN, FLOW), (MAIN, EVENTS), (MAIN, HOOK), (STORM, FLOW)] {
        ready(
            kubectl,
            namespace,
            &format!("services.serving.knative.dev/{service}"),
        )
        .await?;
    }
    for name in [NAME, HOOKS] {
        let what = format!("domainmappings.serving.knative.dev/{name}");
        ready(kubectl, MAIN, &what).await?;
    }
    let established = ["wait", "--for=condition=Established", "--timeout=60s"];
    kubectl
        .run(&[&established[..], &DEFINITIONS].concat(), None)
        .await?;
    let what = format!("services.serving.knative.dev/{FLOW}");
    let url = kubectl
        .run(
            &[
                "--namespace",
                STORM,
                "get",
                &what,
                "--output",
                "jsonpath={.status.url}",
            ],
            None,
        )
        .await?;
    let host = url.rsplit('/').next().unwrap_or_default().to_owned();
    let site = |name: &str| Site {
        host: name.to_owned(),
        certificate: Some(certificate.clone()),
        password: password.clone(),
    };
    Ok(Sites {
        main: site(NAME),
        hooks: site(HOOKS),
        storm: Site {
            host,
            certificate: None,
            password: password.clone(),
        },
    })
}

/// Waits until something of Knative is ready; tells why it is not.
async fn ready(kubectl: &Kubectl, namespace: &str, what: &str) -> Result<()> {
    let wait = [
        "--namespace",
        namespace,
        "wait",
        "--for=condition=Ready",
        "--timeout=180s",
        what,
    ];
    let Err(error) = kubectl.run(&wait, None).await else {
        return Ok(());
    };
    let see = ["--namespace", namespace, "get", "--output", "yaml", what];
    let seen = kubectl.run(&see, None).await.unwrap_or_default();
    let pods = kubectl
        .run(&["--namespace", namespace, "get", "pods,events"], None)
        .await
        .unwrap_or_default();
    Err(error).context(format!(
        "{what} in {namespace} does not get ready:\n{seen}\n{pods}"
    ))
}

/// What makes the cluster know Hooks and Deliveries. With them go all objects of their kinds, in all namespaces.
const DEFINITIONS: [&str; 2] = [
    "customresourcedefinitions/hooks.hookrun.dev",
    "customresourcedefinitions/deliveries.hookrun.dev",
];

/// Fails where somebody else has installed Hookrun: what they have would go with what is removed here.
async fn refuse_others(kubectl: &Kubectl) -> Result<()> {
    let selector = format!("{LABEL}!=true");
    let list = [
        "get",
        "customresourcedefinitions",
        "--selector",
        &selector,
        "--output",
        "name",
    ];
    let found = kubectl.run(&list, None).await?;
    let theirs = found.lines().any(|line| line.ends_with(".hookrun.dev"));
    ensure!(
        !theirs,
        "somebody else has installed Hookrun on this cluster, and the tests would delete their Hooks and Deliveries; use another one"
    );
    Ok(())
}

/// Removes what an installation left, also one that was interrupted.
///
/// # Errors
/// Something stays.
pub(crate) async fn remove(kubectl: &Kubectl) -> Result<()> {
    let selector = format!("{LABEL}=true");
    let kinds = "namespaces,clusterdomainclaims.networking.internal.knative.dev,clusterroles,clusterrolebindings,\
                 validatingwebhookconfigurations,customresourcedefinitions";
    let delete = [
        "delete",
        kinds,
        "--selector",
        &selector,
        "--ignore-not-found",
        "--wait=false",
    ];
    kubectl.run(&delete, None).await?;
    until(
        "everything installed before is gone",
        Duration::from_secs(180),
        async || {
            let left = kubectl
                .run(
                    &["get", kinds, "--selector", &selector, "--output", "name"],
                    None,
                )
                .await?;
            Ok(left.trim().is_empty())
        },
    )
    .await
}

/// The image under test: the one that was named, or one around the executable beside the tests.
fn image(settings: &Settings, folder: &Path) -> Result<String> {
    if let Some(image) = &settings.image {
        return Ok(image.clone());
    }
    ensure!(settings.own(), "HOOKRUN_E2E_IMAGE is not set");
    let executable = function::executable().canonicalize()?;
    let archive = folder.join("hookrun-debug.tar");
    let name = "dev.local/hookrun-debug:1";
    Image::new(name, &["/hookrun"])
        .program(&executable)?
        .link("/hookrun", &executable.display().to_string())
        .write(&archive)?;
    Standing::default().load(&archive)?;
    fs::remove_file(archive)?;
    Ok(name.to_owned())
}

/// Name and tag of an image.
fn named(image: &str) -> Result<(&str, &str)> {
    image
        .rsplit_once(':')
        .with_context(|| format!("the image {image} has no tag"))
}

/// A part of the repository, as an overlay names it.
fn at(part: &str) -> String {
    // target/e2e/manifests/<overlay>
    format!("../../../../{part}")
}

/// The overlays around the manifests.
struct Overlays<'a> {
    folder: PathBuf,
    kubectl: &'a Kubectl,
}

impl Overlays<'_> {
    /// Writes an overlay and applies it.
    async fn apply(&self, overlay: &str, mut content: Value) -> Result<()> {
        let folder = self.folder.join(overlay);
        fs::create_dir_all(&folder)?;
        content["apiVersion"] = "kustomize.config.k8s.io/v1beta1".into();
        content["kind"] = "Kustomization".into();
        content["labels"] = json!([{"pairs": {LABEL: "true"}}]);
        fs::write(
            folder.join("kustomization.yaml"),
            serde_json::to_vec_pretty(&content)?,
        )?;
        let folder = folder.display().to_string();
        self.kubectl
            .run(&["apply", "--kustomize", &folder], None)
            .await
            .map(drop)
    }

    /// Gives the main installation its names with TLS; the certificate to trust there.
    async fn names(&self) -> Result<String> {
        let made = rcgen::generate_simple_self_signed([NAME, HOOKS].map(str::to_owned))?;
        let certificate = made.cert.pem();
        let claim = json!([{"op": "replace", "path": "/spec/namespace", "value": MAIN}]);
        for (part, name) in [("name", NAME), ("hooks", HOOKS)] {
            let rename = json!([{"op": "replace", "path": "/metadata/name", "value": name}]);
            let overlay = json!({
                "namespace": MAIN,
                "resources": [at(&format!("kourier/{part}")), at("kourier/network-policy")],
                "secretGenerator": [{
                    "name": "hookrun-tls",
                    "type": "kubernetes.io/tls",
                    "literals": [format!("tls.crt={certificate}"), format!("tls.key={}", made.signing_key.serialize_pem())],
                    "options": {"disableNameSuffixHash": true},
                }],
                "patches": [
                    {"target": {"kind": "ClusterDomainClaim"}, "patch": claim.to_string()},
                    {"target": {"kind": "DomainMapping|ClusterDomainClaim"}, "patch": rename.to_string()},
                ],
            });
            self.apply(part, overlay).await?;
        }
        Ok(certificate)
    }
}
