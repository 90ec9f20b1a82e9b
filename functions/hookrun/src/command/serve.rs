//! `hookrun flow` and `hookrun hook`: the functions, assembled, and what every function does to be served. What
//! `hookrun dev` adds is in `dev.rs`.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use flow::Options;
use runtime::{
    Router,
    auth::{self, KeySource},
    metrics::{Metrics, PushOptions},
    router::BoxFuture,
    telemetry,
};
use tokio::net::TcpListener;

/// Names of the services in traces and metrics.
const FLOW: &str = "hookrun-flow";
const HOOK: &str = "hookrun-hook";

/// How long the last metrics and spans may take after the last request.
pub(crate) const FAREWELL: Duration = Duration::from_secs(3);

/// Runs the command.
pub(crate) async fn flow(options: Options) -> anyhow::Result<ExitCode> {
    let guard = telemetry::init(&options.server.telemetry, FLOW)?;
    let client = cluster::connect(&options.connection).await?;
    let listener = listen(options.server.listen.port()).await?;
    let metrics = Arc::new(Metrics::new()?);
    let shutdown = runtime::sigterm();
    serve(&options, client, listener, Router::new(), metrics, shutdown).await?;
    guard.flush(FAREWELL).await;
    Ok(ExitCode::SUCCESS)
}

/// Runs the command `hook`.
pub(crate) async fn hook(options: hook::Options) -> anyhow::Result<ExitCode> {
    let server = &options.server;
    let guard = telemetry::init(&server.telemetry, HOOK)?;
    let client = cluster::connect(&options.connection).await?;
    let listener = listen(server.listen.port()).await?;
    let metrics = Arc::new(Metrics::new()?);
    let credentials = store::Credentials::from_env();
    let surroundings = hook::Surroundings {
        patience: options.patience,
        policy: options.policy.policy(client.default_namespace()),
        payloads: options.payload_store.open(&credentials)?.map(Arc::new),
        flows: Some((
            options
                .flow_store
                .open(&credentials, store::connected(client.clone())),
            options.run.clone(),
        )),
        cluster_keys: Arc::new(ApiServer(client.clone())),
        web_keys: Arc::new(Web),
        clock: jiff::Timestamp::now,
        limits: server.limits.clone(),
        metrics: Arc::clone(&metrics),
        client,
    };
    let service = hook::service(&options.hooks, surroundings)?;
    let router = hook::router(Arc::new(service)).merge(counted_for_some(server, &metrics)?);
    until(server, HOOK, listener, router, &metrics, runtime::sigterm()).await?;
    guard.flush(FAREWELL).await;
    Ok(ExitCode::SUCCESS)
}

/// What a function whose callers are strangers shows of what it counts: `GET /metrics` for those who know the password,
/// and nothing if there is none.
///
/// # Errors
/// The options of authentication contradict each other.
pub(crate) fn counted_for_some(
    options: &runtime::Options,
    metrics: &Arc<Metrics>,
) -> Result<Router, auth::Error> {
    match options.auth.gate(None) {
        Ok(gate) => Ok(metrics_page(metrics).guarded(Arc::new(gate))),
        Err(auth::Error::NoPassword) => {
            tracing::info!("/metrics is not served, since no password is set (OX_HTTP_PWD)");
            Ok(Router::new())
        }
        Err(error) => Err(error),
    }
}

/// `GET /metrics`.
fn metrics_page(metrics: &Arc<Metrics>) -> Router {
    let metrics = Arc::clone(metrics);
    Router::new().get("/metrics", move |_| {
        let answer = metrics.response();
        async move { answer }
    })
}

/// Listens, or says on which port it cannot.
pub(crate) async fn listen(port: u16) -> anyhow::Result<TcpListener> {
    runtime::listen(port)
        .await
        .with_context(|| format!("cannot listen on port {port}"))
}

/// Serves the flow function, and whatever else is given, until `shutdown`.
pub(crate) async fn serve(
    options: &Options,
    client: kube::Client,
    listener: TcpListener,
    others: Router,
    metrics: Arc<Metrics>,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let keys: Arc<dyn KeySource> = Arc::new(ApiServer(client.clone()));
    let gate = options.server.auth.gate(Some(keys))?;
    let service = flow::service(options, client, &store::Credentials::from_env())?;
    let mut router = flow::router(service, Arc::clone(&metrics));
    if options.api_page {
        router = router.merge(flow::api_router());
    }
    if options.metrics {
        router = router.merge(metrics_page(&metrics));
    }
    let router = router.guarded(Arc::new(gate)).merge(others);
    let server = &options.server;
    until(server, FLOW, listener, router, &metrics, shutdown).await
}

/// Serves a function until `shutdown`, and sends the last of its metrics.
pub(crate) async fn until(
    options: &runtime::Options,
    service: &str,
    listener: TcpListener,
    router: Router,
    metrics: &Arc<Metrics>,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    tracing::info!(address = %listener.local_addr()?, "listening");
    let router = router.metrics(Arc::clone(metrics));
    runtime::serve(listener, router, options.limits.clone(), shutdown).await?;
    push(options, service, metrics).await;
    Ok(())
}

/// Sends what no scrape has seen, where an endpoint is configured.
pub(crate) async fn push(options: &runtime::Options, service: &str, metrics: &Metrics) {
    let Some(url) = options.telemetry.metrics_url() else {
        return;
    };
    let destination = PushOptions {
        url,
        service: service.to_owned(),
        time: FAREWELL,
    };
    if let Err(error) = metrics.push_unscraped(&destination).await {
        tracing::warn!(%error, "the last metrics could not be sent");
    }
}

/// How long keys may take.
const KEYS_TIME: Duration = Duration::from_secs(5);

/// How large a set of keys may be: Google's has two kilobytes.
const KEYS_BYTES: usize = 256 << 10;

/// Others publish the keys of their tokens on the web. The client is made anew each time, which is rare.
pub(crate) struct Web;

impl Web {
    async fn get(url: &str) -> Result<bytes::Bytes, reqwest::Error> {
        let redirects = reqwest::redirect::Policy::none();
        let client = reqwest::Client::builder()
            .redirect(redirects)
            .timeout(KEYS_TIME);
        let request = client.build()?.get(url).send();
        let mut answer = request.await?.error_for_status()?;
        let mut bytes = bytes::BytesMut::new();
        while let Some(chunk) = answer.chunk().await? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > KEYS_BYTES {
                // The reader refuses what is too long.
                break;
            }
        }
        Ok(bytes.freeze())
    }
}

impl KeySource for Web {
    fn fetch<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<bytes::Bytes, String>> {
        Box::pin(async move {
            Self::get(url)
                .await
                .map_err(|error| format!("{url}: {error}"))
        })
    }
}

/// The API server publishes the keys that sign its tokens.
pub(crate) struct ApiServer(pub(crate) kube::Client);

impl KeySource for ApiServer {
    fn fetch<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<bytes::Bytes, String>> {
        Box::pin(async move {
            let request = http::Request::get(path)
                .body(Vec::new())
                .map_err(|error| error.to_string())?;
            let answer = self.0.request_text(request);
            match tokio::time::timeout(KEYS_TIME, answer).await {
                Ok(Ok(text)) => Ok(text.into()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("the API server did not answer in time".to_owned()),
            }
        })
    }
}
