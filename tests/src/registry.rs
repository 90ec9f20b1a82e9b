//! An image registry with one image, as far as Tekton's controller asks it: what the image's start command is.
//!
//! A flow's steps have no command of their own, so the controller reads the image's configuration before it makes a pod
//! (OCI Distribution Specification, "Pulling manifests" and "Pulling blobs").

use anyhow::Result;
use bytes::Bytes;
use http::{Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::server::{Body, Close, Server};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// The registry; it ends when dropped.
pub struct Registry(Server);

impl Registry {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// No port can be bound.
    pub async fn start() -> Result<Self> {
        let config = json!({
            "architecture": "amd64", "os": "linux",
            "config": {"Entrypoint": ["/bin/scan"]},
            "rootfs": {"type": "layers", "diff_ids": []},
        });
        let (config, config_digest) = blob(&config);
        let (manifest, _) = blob(&json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "layers": [],
            "config": {"mediaType": CONFIG, "digest": config_digest, "size": config.len()},
        }));
        Server::start(None, move |request: Request<Bytes>| {
            let path = request.uri().path();
            let found = if path == "/v2/" {
                Some(("application/json", Bytes::from_static(b"{}")))
            } else if path.contains("/manifests/") {
                Some((MANIFEST, manifest.clone()))
            } else if path.ends_with(&config_digest) {
                Some((CONFIG, config.clone()))
            } else {
                None
            };
            async move { Ok::<_, Close>(answer(found)) }
        })
        .await
        .map(Self)
    }

    /// The reference of its image.
    #[must_use]
    pub fn image(&self) -> String {
        format!("{}/tools/scan:1", self.0.address())
    }
}

fn blob(content: &Value) -> (Bytes, String) {
    let bytes = Bytes::from(content.to_string());
    let hex: String = Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    (bytes, format!("sha256:{hex}"))
}

fn answer(found: Option<(&'static str, Bytes)>) -> Response<Body> {
    let (status, (content_type, bytes)) = match found {
        Some(found) => (StatusCode::OK, found),
        None => (StatusCode::NOT_FOUND, ("application/json", Bytes::new())),
    };
    let mut response = Response::new(
        Full::new(bytes)
            .map_err(|never| match never {})
            .boxed_unsync(),
    );
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    response
}
