//! The embedded API as its users see it: over its client and over HTTP.

#[allow(unreachable_pub, reason = "there it is a module of a library")]
#[path = "../../../../tests/src/kubernetes_api/mod.rs"]
mod kubernetes_api;

mod folder;
mod limits;

use anyhow::Result;
use embedded::Api;
use tempfile::TempDir;

/// An API on a folder of its own.
fn api() -> Result<(TempDir, Api)> {
    let home = tempfile::tempdir()?;
    let api = Api::open(home.path())?;
    Ok((home, api))
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
