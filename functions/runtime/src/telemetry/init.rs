//! Logs and traces, set up once per process.

use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{
    Layer as _,
    filter::{FilterExt as _, FilterFn, LevelFilter, ParseError, Targets, filter_fn},
    layer::Filter,
};

use super::export::{self, Exporter};

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
}

/// What is seen from outside.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Telemetry")]
pub struct TelemetryOptions {
    /// How log lines on standard error look.
    #[arg(long, env = "HOOKRUN_LOG_FORMAT", value_name = "FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,

    /// What is logged: a level, or levels by module, such as `info,runtime=debug`. By default without the lines of the
    /// Kubernetes client about single attempts: what matters of them is in ours.
    #[arg(
        long = "log",
        env = "HOOKRUN_LOG",
        value_name = "FILTER",
        default_value = "info,kube_client::client::builder=off"
    )]
    pub log: String,

    /// Send traces, and at the end of the process its metrics, to this OTLP endpoint (HTTP, protobuf). The other
    /// OTEL_ variables apply as OpenTelemetry defines them.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,

    /// Send traces to this URL instead.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", value_name = "URL")]
    pub otlp_traces_endpoint: Option<String>,

    /// Send metrics to this URL instead.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", value_name = "URL")]
    pub otlp_metrics_endpoint: Option<String>,
}

impl TelemetryOptions {
    /// Where traces go, if anywhere.
    pub fn traces_url(&self) -> Option<String> {
        url(
            self.otlp_traces_endpoint.as_deref(),
            self.otlp_endpoint.as_deref(),
            "v1/traces",
        )
    }

    /// Where metrics go, if anywhere.
    pub fn metrics_url(&self) -> Option<String> {
        url(
            self.otlp_metrics_endpoint.as_deref(),
            self.otlp_endpoint.as_deref(),
            "v1/metrics",
        )
    }
}

/// An endpoint of its own is taken as it is, the common one gets the path of the signal.
fn url(own: Option<&str>, common: Option<&str>, path: &str) -> Option<String> {
    let set = |text: &&str| !text.is_empty();
    let own = own.filter(set).map(str::to_owned);
    own.or_else(|| {
        common
            .filter(set)
            .map(|common| format!("{}/{path}", common.trim_end_matches('/')))
    })
}

/// Telemetry that cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The filter makes no sense.
    #[error("HOOKRUN_LOG: `{text}` is not a filter; write it like `info` or `info,runtime=debug`")]
    Filter {
        /// What was given.
        text: String,
        /// Why not.
        source: ParseError,
    },
    /// The exporter does not like its configuration.
    #[error("traces cannot be exported")]
    Exporter(#[source] opentelemetry_otlp::ExporterBuildError),
    /// Somebody else was first.
    #[error("logs are already set up")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Keeps telemetry alive; [`Guard::flush`] sends what is left.
#[derive(Debug)]
pub struct Guard(Option<Exporter>);

/// Sets up logs, and traces where an endpoint is configured. Must be called within a tokio runtime.
///
/// # Errors
/// The filter or the exporter's configuration is wrong, or it was called before.
pub fn init(options: &TelemetryOptions, service: &str) -> Result<Guard, Error> {
    let filter: Targets = options.log.parse().map_err(|source| Error::Filter {
        text: options.log.clone(),
        source,
    })?;
    let lines = match options.log_format {
        LogFormat::Json => tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .with_writer(std::io::stderr)
            .boxed(),
        LogFormat::Text => tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .boxed(),
    };
    let lines = lines.with_filter(with_events(filter));
    let exporter = options
        .traces_url()
        .map(|url| export::start(&url, service))
        .transpose()
        .map_err(Error::Exporter)?;
    // Spans of the shell and of functions; those of libraries would trace our own export.
    let traces = exporter.as_ref().map(|exporter| {
        tracing_opentelemetry::layer()
            .with_tracer(exporter.provider().tracer("hookrun"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_filter(event_spans())
    });
    tracing_subscriber::registry()
        .with(lines)
        .with(traces)
        .try_init()?;
    std::panic::set_hook(Box::new(panicked));
    Ok(Guard(exporter))
}

/// The spans that the shell and functions make, one per event.
fn event_spans() -> FilterFn<impl Fn(&Metadata<'_>) -> bool> {
    filter_fn(|metadata: &Metadata<'_>| metadata.is_span() && metadata.name() == "event")
        .with_max_level_hint(LevelFilter::INFO)
}

/// The filter decides about lines only: a warning without its event would help nobody, so the spans always stay.
fn with_events<S: Subscriber>(lines: Targets) -> impl Filter<S> {
    lines.or(event_spans())
}

/// A panic is one log line like all others. Its text only where it is a constant of the program: a formatted one may
/// quote what was being worked on.
fn panicked(info: &std::panic::PanicHookInfo<'_>) {
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    let text = info.payload().downcast_ref::<&'static str>().copied();
    tracing::error!(location, text, "panic");
}

impl Guard {
    /// Sends what was not sent yet, for as long as the time allows.
    pub async fn flush(self, time: Duration) {
        if let Some(exporter) = self.0
            && tokio::time::timeout(time, exporter.finish()).await.is_err()
        {
            tracing::warn!("some spans could not be sent in time");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::event::{Event, Identity};
    use crate::telemetry::event_span;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_tells_its_event_whatever_is_filtered() {
        for filter in ["warn", "error", "off,runtime::telemetry::init=error"] {
            let written = Written::default();
            let writer = written.clone();
            let lines = tracing_subscriber::fmt::layer()
                .json()
                .flatten_event(true)
                .with_span_list(false)
                .with_writer(move || writer.clone())
                .with_filter(with_events(filter.parse().unwrap()));
            tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
                let event = Event {
                    identity: Identity::IdempotencyKey("7".to_owned()),
                    content_type: None,
                    data: bytes::Bytes::new(),
                    cloud_event: None,
                };
                event_span(&event).in_scope(|| {
                    tracing::info!("hidden");
                    tracing::error!("shown");
                });
            });
            let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
            let line: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(line["message"], "shown", "{filter}");
            assert_eq!(line["span"]["event.id"], "idempotency-key 7", "{filter}");
        }
    }

    #[test]
    fn the_endpoint_of_a_signal_is_taken_as_it_is() {
        assert_eq!(
            url(None, Some("http://o:4318/"), "v1/traces").as_deref(),
            Some("http://o:4318/v1/traces")
        );
        assert_eq!(
            url(Some("http://t/x"), Some("http://o"), "v1/traces").as_deref(),
            Some("http://t/x")
        );
        assert_eq!(url(Some(""), Some(""), "v1/traces"), None);
    }
}
