//! `hookrun admission`: the admission webhook, assembled.

use std::{process::ExitCode, sync::Arc};

use admission::Options;
use runtime::{
    metrics::Metrics,
    serve::{Certificates, serve_tls},
    telemetry,
};

use super::serve;

/// Name of the function in traces and metrics.
const SERVICE: &str = "hookrun-admission";

/// Runs the command.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Options { server, tls } = options;
    let guard = telemetry::init(&server.telemetry, SERVICE)?;
    let certificates = Certificates::read(tls)?;
    let metrics = Arc::new(Metrics::new()?);
    let router = admission::router(Arc::clone(&metrics))
        .merge(serve::counted_for_some(&server, &metrics)?)
        .metrics(Arc::clone(&metrics));
    let listener = serve::listen(server.listen.port()).await?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    let limits = server.limits.clone();
    serve_tls(listener, certificates, router, limits, runtime::sigterm()).await?;
    serve::push(&server, SERVICE, &metrics).await;
    guard.flush(serve::FAREWELL).await;
    Ok(ExitCode::SUCCESS)
}
