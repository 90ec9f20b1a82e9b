//! `hookrun flow`: the function, assembled, and what every function does to be served. What `hookrun dev` adds is in
//! `dev.rs`.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use flow::Options;
use runtime::{
    Router,
    auth::KeySource,
    metrics::{Metrics, PushOptions},
    router::BoxFuture,
    telemetry,
};
use tokio::net::TcpListener;

/// Name of the service in traces and metrics.
const SERVICE: &str = "hookrun-flow";

/// How long the last metrics and spans may take after the last request.
pub(crate) const FAREWELL: Duration = Duration::from_secs(3);

/// Runs the command.
pub(crate) async fn flow(options: Options) -> anyhow::Result<ExitCode> {
    let guard = telemetry::init(&options.server.telemetry, SERVICE)?;
    let client = cluster::connect(&options.connection).await?;
    let listener = listen(options.server.listen.port()).await?;
    serve(
        &options,
        client,
        listener,
        Router::new(),
        runtime::sigterm(),
    )
    .await?;
    guard.flush(FAREWELL).await;
    Ok(ExitCode::SUCCESS)
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
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let metrics = Arc::new(Metrics::new()?);
    let keys: Arc<dyn KeySource> = Arc::new(ApiServer(client.clone()));
    let gate = options.server.auth.gate(Some(keys))?;
    let service = flow::service(options, client, &store::Credentials::from_env())?;
    let mut router = flow::router(service, Arc::clone(&metrics));
    if options.api_page {
        router = router.merge(flow::api_router());
    }
    if options.metrics {
        let metrics = Arc::clone(&metrics);
        router = router.get("/metrics", move |_| {
            let answer = metrics.response();
            async move { answer }
        });
    }
    let router = router.guarded(Arc::new(gate)).merge(others);
    let server = &options.server;
    until(server, SERVICE, listener, router, &metrics, shutdown).await
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
async fn push(options: &runtime::Options, service: &str, metrics: &Metrics) {
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

/// The API server publishes the keys that sign its tokens.
struct ApiServer(kube::Client);

impl KeySource for ApiServer {
    fn fetch<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<bytes::Bytes, String>> {
        Box::pin(async move {
            let request = http::Request::get(path)
                .body(Vec::new())
                .map_err(|error| error.to_string())?;
            let answer = self.0.request_text(request);
            match tokio::time::timeout(Duration::from_secs(5), answer).await {
                Ok(Ok(text)) => Ok(text.into()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("the API server did not answer in time".to_owned()),
            }
        })
    }
}
