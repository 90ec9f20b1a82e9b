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

/// The name under which the main installation is reached with TLS.
const NAME: &str = "hookrun.e2e.example.com";

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

/// Installs the function twice, with everything around it, and waits until it is ready.
///
/// # Errors
/// Something is refused or does not get ready.
pub(crate) async fn install(
    settings: &Settings,
    tools: &Tools,
    kubectl: &Kubectl,
    folder: &Path,
) -> Result<(Site, Site)> {
    let began = Instant::now();
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
        let overlay = json!({
            "namespace": namespace,
            "resources": [at(&format!("knative/{part}"))],
            "patches": [{"target": {"kind": "RoleBinding"}, "patch": subjects.to_string()}],
        });
        overlays
            .apply(&format!("{part}-{namespace}"), overlay)
            .await?;
    }

    let password = Uuid::new_v4().to_string();
    let site = |namespace: &str, base: &str| -> Result<Value> {
        let (image, tag) = image
            .rsplit_once(':')
            .with_context(|| format!("the image {image} has no tag"))?;
        let common = [
            format!("HOOKRUN_NAMESPACES={}", [RUNS, PRIVILEGED, QUEUE].join(",")),
            format!("HOOKRUN_PRIVILEGED_NAMESPACES={PRIVILEGED}"),
            format!("HOOKRUN_CLONE_IMAGE={}", tools.pod),
        ];
        Ok(json!({
            "namespace": namespace,
            "resources": [at(base)],
            "images": [{"name": "hookrun", "newName": image, "newTag": tag}],
            "configMapGenerator": [{"name": FLOW, "behavior": "merge", "literals": common}],
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
    let mut main = site(MAIN, "knative/full")?;
    main["components"] = json!([at("knative/flow/by-name")]);
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
    storm["patches"] = json!([{"target": {"kind": "Service", "name": FLOW}, "patch": json!([
        {"op": "replace", "path": "/spec/template/metadata/annotations/autoscaling.knative.dev~1max-scale", "value": "1"},
        {"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--requests=8"},
    ]).to_string()}]);
    overlays.apply("storm", storm).await?;
    let certificate = overlays.name().await?;

    for (namespace, service) in [(MAIN, FLOW), (MAIN, EVENTS), (STORM, FLOW)] {
        ready(
            kubectl,
            namespace,
            &format!("services.serving.knative.dev/{service}"),
        )
        .await?;
    }
    ready(
        kubectl,
        MAIN,
        &format!("domainmappings.serving.knative.dev/{NAME}"),
    )
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
    let main = Site {
        host: NAME.to_owned(),
        certificate: Some(certificate),
        password: password.clone(),
    };
    Ok((
        main,
        Site {
            host,
            certificate: None,
            password,
        },
    ))
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

/// Removes what an installation left, also one that was interrupted.
///
/// # Errors
/// Something stays.
pub(crate) async fn remove(kubectl: &Kubectl) -> Result<()> {
    let selector = format!("{LABEL}=true");
    let kinds = "namespaces,clusterdomainclaims.networking.internal.knative.dev,clusterroles,clusterrolebindings,\
                 validatingwebhookconfigurations";
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

    /// Gives the main installation a name with TLS; the certificate to trust there.
    async fn name(&self) -> Result<String> {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
        let certificate = made.cert.pem();
        let rename = json!([{"op": "replace", "path": "/metadata/name", "value": NAME}]);
        let claim = json!([{"op": "replace", "path": "/spec/namespace", "value": MAIN}]);
        let overlay = json!({
            "namespace": MAIN,
            "resources": [at("kourier/name"), at("kourier/network-policy")],
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
        self.apply("name", overlay).await?;
        Ok(certificate)
    }
}
