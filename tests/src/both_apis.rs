//! The embedded API beside the real one: the same expectations of both, by requests and by kubectl.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use bytes::Bytes;
use control_plane::Cluster;
use http::Request;
use http_body_util::{BodyExt, Full};
use tower::ServiceExt;

use crate::{
    case::{Case, case},
    kubectl::{self, Kubectl, Scenario},
    kubernetes_api::{self, Expectation, Remote},
    server::Server,
};

/// Every expectation and every scenario, on both.
#[must_use]
pub fn cases() -> Vec<Case> {
    let mut cases = vec![];
    for (name, expectation) in kubernetes_api::expectations() {
        cases.push(case(format!("both_apis::real::{name}"), move |cluster| {
            real(cluster, expectation)
        }));
        cases.push(case(format!("both_apis::embedded::{name}"), move |_| {
            embedded(expectation)
        }));
    }
    for (name, scenario) in kubectl::scenarios() {
        cases.push(case(
            format!("both_apis::real::kubectl::{name}"),
            move |cluster| kubectl_on_real(cluster, scenario),
        ));
        cases.push(case(
            format!("both_apis::embedded::kubectl::{name}"),
            move |cluster| kubectl_on_embedded(cluster, scenario),
        ));
    }
    cases
}

async fn real(cluster: Arc<Cluster>, expectation: Expectation) -> Result<()> {
    let namespace = cluster.namespace("api").await?;
    let client = cluster.admin();
    expectation(Remote { client, namespace }).await
}

async fn embedded(expectation: Expectation) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let client = embedded::Api::open(folder.path())?.client();
    let namespace = "default".to_owned();
    expectation(Remote { client, namespace }).await
}

async fn kubectl_on_real(cluster: Arc<Cluster>, scenario: Scenario) -> Result<()> {
    let namespace = cluster.namespace("kubectl").await?;
    let kubeconfig = cluster.folder().join("admin.kubeconfig");
    let kubeconfig = kubeconfig.to_str().context("a strange folder")?.to_owned();
    play(
        &cluster,
        vec!["--kubeconfig".to_owned(), kubeconfig],
        namespace,
        scenario,
    )
    .await
}

async fn kubectl_on_embedded(cluster: Arc<Cluster>, scenario: Scenario) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let api = embedded::Api::open(folder.path())?;
    let server = Server::start(None, move |request: Request<Bytes>| {
        let api = api.clone();
        async move {
            let response = api.oneshot(request.map(Full::new)).await;
            Ok(response
                .unwrap_or_else(|never| match never {})
                .map(|body| body.map_err(|never| match never {}).boxed_unsync()))
        }
    })
    .await?;
    play(
        &cluster,
        vec!["--server".to_owned(), server.url()],
        "default".to_owned(),
        scenario,
    )
    .await
}

async fn play(
    cluster: &Cluster,
    connection: Vec<String>,
    namespace: String,
    scenario: Scenario,
) -> Result<()> {
    let home = tempfile::tempdir()?;
    let kubectl = Kubectl {
        program: cluster.programs().path("kubectl"),
        connection,
        home: PathBuf::from(home.path()),
        namespace,
    };
    tokio::task::spawn_blocking(move || scenario(&kubectl)).await?
}
