//! The image that plays everybody else: steps of flows, a git server, an object store, a sender in the cluster.
//!
//! A flow's steps name no command, so Tekton's controller asks the image's registry for it, and from then on the pod names the
//! image by digest. The own cluster has no registry, so we answer for one, and give the node the image under that digest.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read,
    path::Path,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use control_plane::{Image, Programs, Standing, find_program};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use system_tests::server::{Close, Server, answer};
use tar::{Builder, Header};

use crate::settings::Settings;

/// The node of the own cluster reaches this machine here, and nothing else.
const REGISTRY: &str = "10.199.0.1:5000";
/// The image's name in that registry.
const REPOSITORY: &str = "e2e/tools";
/// The image's name for pods that name their command.
const LOCAL: &str = "dev.local/hookrun-e2e-tools:1";

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// What a step of a flow does stands in its variable `SCRIPT`.
const ENTRYPOINT: [&str; 3] = ["/bin/sh", "-euc", "eval \"$SCRIPT\""];

/// The image, where it can be had.
pub(crate) struct Tools {
    /// For steps of flows, which start as the image says.
    pub(crate) step: String,
    /// For pods that name their command.
    pub(crate) pod: String,
    _registry: Option<Server>,
}

impl Tools {
    /// Makes the image and gives it to the own cluster; another cluster pulls what the settings name.
    ///
    /// # Errors
    /// A program that goes into the image is missing, or the node does not take it.
    pub(crate) async fn provide(settings: &Settings, folder: &Path) -> Result<Self> {
        let made = folder.join("tools.tar");
        image()?.write(&made)?;
        if let Some(name) = &settings.tools {
            return Ok(Self {
                step: name.clone(),
                pod: name.clone(),
                _registry: None,
            });
        }
        let oci = Oci::of(&made)?;
        let archive = folder.join("tools-oci.tar");
        oci.write(&archive)?;
        Standing::default().load(&archive)?;
        fs::remove_file(archive)?;
        Ok(Self {
            step: format!("{REGISTRY}/{REPOSITORY}:1"),
            pod: LOCAL.to_owned(),
            _registry: Some(oci.serve().await?),
        })
    }
}

/// Busybox, git, and a server of objects.
fn image() -> Result<Image> {
    let git = find_program("git").context("the program git is missing")?;
    // git looks for its own programs where it was built to look.
    let output = std::process::Command::new(&git)
        .arg("--exec-path")
        .output()
        .context("git does not start")?;
    let programs = String::from_utf8(output.stdout)?.trim().to_owned();
    let script = |image: Image, name: &str| {
        let path = format!("{programs}/{name}");
        image.file(&path, &path)
    };
    let store = Programs::build(&["versitygw"])?.path("versitygw");
    let image = Image::new(LOCAL, &ENTRYPOINT)
        .file(store, "/usr/local/bin/versitygw")
        .program(&git)?
        .program(format!("{programs}/git").as_ref())?
        .program(format!("{programs}/git-remote-http").as_ref())?
        .program(format!("{programs}/git-sh-i18n--envsubst").as_ref())?
        .busybox()?
        .link(&format!("{programs}/git-submodule--helper"), "git")
        .env("GIT_TEMPLATE_DIR", "");
    Ok(["git-submodule", "git-sh-setup", "git-sh-i18n"]
        .into_iter()
        .fold(image, script))
}

/// The image as a registry has it: blobs by digest.
struct Oci {
    manifest: Vec<u8>,
    blobs: BTreeMap<String, Bytes>,
}

impl Oci {
    /// Reads what [`Image::write`] wrote.
    fn of(archive: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(File::open(archive)?).entries()? {
            let mut entry = entry?;
            let name = entry.path()?.display().to_string();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            files.insert(name, Bytes::from(bytes));
        }
        let mut take = |name: &Value| {
            let name = name.as_str().unwrap_or_default();
            files
                .remove(name)
                .with_context(|| format!("the archive has no {name:?}"))
        };
        let list: Value = serde_json::from_slice(&take(&json!("manifest.json"))?)?;
        let configuration = take(&list[0]["Config"])?;
        let layer = take(&list[0]["Layers"][0])?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": described(CONFIG, &configuration),
            "layers": [described(LAYER, &layer)],
        });
        Ok(Self {
            manifest: manifest.to_string().into_bytes(),
            blobs: [configuration, layer]
                .into_iter()
                .map(|blob| (digest(&blob), blob))
                .collect(),
        })
    }

    /// Writes an archive that gives a node the image under each of its names.
    fn write(&self, archive: &Path) -> Result<()> {
        let mut tar = Builder::new(File::create(archive)?);
        let names = [
            LOCAL.to_owned(),
            format!("{REGISTRY}/{REPOSITORY}@{}", digest(&self.manifest)),
        ];
        let manifests = names.map(|name| {
            let mut described = described(MANIFEST, &self.manifest);
            described["annotations"] = json!({"io.containerd.image.name": name});
            described
        });
        let index = json!({"schemaVersion": 2, "manifests": manifests}).to_string();
        let layout = json!({"imageLayoutVersion": "1.0.0"}).to_string();
        let blob = |bytes: &[u8]| format!("blobs/{}", digest(bytes).replace(':', "/"));
        let files = [
            ("oci-layout".to_owned(), layout.as_bytes()),
            ("index.json".to_owned(), index.as_bytes()),
            (blob(&self.manifest), self.manifest.as_slice()),
        ];
        for (name, bytes) in files.into_iter().chain(
            self.blobs
                .values()
                .map(|bytes| (blob(bytes), bytes.as_ref())),
        ) {
            let mut header = Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, bytes)?;
        }
        tar.into_inner()?;
        Ok(())
    }

    /// Answers for the registry (OCI Distribution Specification, "Pulling manifests" and "Pulling blobs").
    async fn serve(self) -> Result<Server> {
        let manifest = Bytes::from(self.manifest);
        let blobs = std::sync::Arc::new(self.blobs);
        Server::start_at(REGISTRY, None, move |request: Request<Bytes>| {
            let path = request.uri().path();
            let last = path.rsplit('/').next().unwrap_or_default();
            let found = if path == "/v2/" {
                Some(("application/json", Bytes::from_static(b"{}")))
            } else if path.contains("/manifests/") {
                Some((MANIFEST, manifest.clone()))
            } else {
                blobs
                    .get(last)
                    .map(|blob| ("application/octet-stream", blob.clone()))
            };
            async move {
                Ok::<_, Close>(match found {
                    Some((kind, bytes)) => answer(StatusCode::OK, kind, bytes),
                    None => answer(StatusCode::NOT_FOUND, "application/json", Bytes::new()),
                })
            }
        })
        .await
        .with_context(|| format!("no registry at {REGISTRY}"))
    }
}

fn described(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(bytes), "size": bytes.len()})
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", crate::world::hex(&Sha256::digest(bytes)))
}
