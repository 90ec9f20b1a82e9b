//! Building manifests, as `kubectl apply -k` does.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};
use control_plane::Cluster;
use serde_json::{Value, json};

use crate::function::repository;

/// What `kubectl apply -k` is given, each on its own.
const KUSTOMIZATIONS: [&str; 12] = [
    "knative/crds",
    "knative/minimal",
    "knative/full",
    "knative/namespace",
    "knative/flows",
    "knative/people",
    "kourier",
    "examples/install/functions",
    "examples/install/namespace",
    "examples/install/name",
    "examples/install/hooks",
    "examples/tenants",
];

/// What is listed only by those who want it: a folder of resources, and components upon it, of which the last one names it.
const ON_DEMAND: [(&str, &[&str]); 4] = [
    ("kourier/name", &["kourier/cert-manager"]),
    ("kourier/name", &["kourier/tls-elsewhere"]),
    ("knative/base", &["knative/admission"]),
    (
        "knative/base",
        &["knative/admission", "knative/admission/cert-manager"],
    ),
];

/// Everything that can be built, by where it comes from.
pub(super) fn builds(cluster: &Cluster) -> Result<Vec<(String, Vec<Value>)>> {
    let mut builds = Vec::new();
    for folder in KUSTOMIZATIONS {
        builds.push((folder.to_owned(), render(cluster, folder)?));
    }
    for (resource, components) in ON_DEMAND {
        let objects = render_together(cluster, resource, components)?;
        builds.push((
            (*components.last().unwrap_or(&resource)).to_owned(),
            objects,
        ));
    }
    Ok(builds)
}

/// Every object that can be built, with where it comes from.
pub(super) fn everything(cluster: &Cluster) -> Result<Vec<(String, Value)>> {
    let objects = builds(cluster)?.into_iter().flat_map(|(folder, objects)| {
        objects
            .into_iter()
            .map(move |object| (folder.clone(), object))
    });
    Ok(objects.collect())
}

/// What a folder of one's own makes of a folder and components of the repository.
pub(super) fn render_together(
    cluster: &Cluster,
    resource: &str,
    components: &[&str],
) -> Result<Vec<Value>> {
    render_own(cluster, |at| {
        let components: Vec<String> = components.iter().map(|component| at(component)).collect();
        json!({"resources": [at(resource)], "components": components})
    })
}

/// What a folder of one's own makes of a kustomization, which is told how the repository's folders are called there.
pub(super) fn render_own(
    cluster: &Cluster,
    kustomization: impl FnOnce(&dyn Fn(&str) -> String) -> Value,
) -> Result<Vec<Value>> {
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
    let kustomization = kustomization(&at).to_string();
    fs::write(path.join("kustomization.yaml"), kustomization)?;
    render_folder(cluster, &path)
}

/// What `kubectl kustomize` makes of a folder of the repository.
pub(crate) fn render(cluster: &Cluster, folder: &str) -> Result<Vec<Value>> {
    render_folder(cluster, &repository().join(folder))
}

/// What `kubectl kustomize` makes of a folder.
pub(super) fn render_folder(cluster: &Cluster, folder: &Path) -> Result<Vec<Value>> {
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

pub(crate) fn documents(yaml: &str) -> Result<Vec<Value>> {
    Ok(serde_saphyr::from_multiple(yaml)?)
}

pub(super) fn copy_folder(from: &Path, to: &Path) -> Result<()> {
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
pub(super) fn files() -> Result<Vec<PathBuf>> {
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
