//! The embedded API as its users see it: over its client and over HTTP.

#[allow(unreachable_pub, reason = "there it is a module of a library")]
#[path = "../../../../tests/src/kubernetes_api/mod.rs"]
mod kubernetes_api;

mod folder;
mod limits;
mod ours;

use anyhow::Result;
use bytes::Bytes;
use embedded::Api;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt;

/// An API on a folder of its own.
fn api() -> Result<(TempDir, Api)> {
    let home = tempfile::tempdir()?;
    let api = Api::open(home.path())?;
    Ok((home, api))
}

/// Sends a request as it goes over the wire.
async fn ask(api: &Api, request: Request<Full<Bytes>>) -> Result<(StatusCode, Value)> {
    let response = api.clone().oneshot(request).await?;
    let code = response.status();
    let bytes = response.into_body().collect().await?.to_bytes();
    Ok((code, serde_json::from_slice(&bytes).unwrap_or_default()))
}

/// The suite that also runs against the real API server.
#[tokio::test(flavor = "multi_thread")]
async fn it_does_what_is_expected_of_a_kubernetes_api() -> Result<()> {
    let mut failed = vec![];
    for (name, expectation) in kubernetes_api::expectations() {
        let (_home, api) = api()?;
        let remote = kubernetes_api::Remote {
            client: api.client(),
            namespace: "default".to_owned(),
        };
        if let Err(error) = expectation(remote).await {
            failed.push(format!("{name}: {error:#}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    Ok(())
}
