//! Spans on their way to a collector: a bounded queue and one task.
//!
//! The SDK's own batch processor wants a thread of its own with a blocking client; a task on the runtime that is
//! there anyway is smaller, and can be awaited at the end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    SdkTracerProvider, Span, SpanData, SpanExporter as _, SpanProcessor,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

const QUEUE: usize = 2048;
const BATCH: usize = 512;
/// A batch is sent when it is full, or after this.
const DELAY: Duration = Duration::from_secs(5);

/// The provider of spans and the task that sends them.
#[derive(Debug)]
pub(super) struct Exporter {
    provider: SdkTracerProvider,
    queue: Arc<Queue>,
    task: JoinHandle<()>,
}

pub(super) fn start(url: &str, service: &str) -> Result<Exporter, ExporterBuildError> {
    // The client's TLS takes the process-wide provider; somebody else may have set it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut exporter = SpanExporter::builder()
        .with_http()
        .with_endpoint(url)
        .build()?;
    let resource = resource(service);
    exporter.set_resource(&resource);
    let (sender, receiver) = mpsc::channel(QUEUE);
    let queue = Arc::new(Queue {
        sender: Mutex::new(Some(sender)),
        lost: AtomicU64::new(0),
    });
    let provider = SdkTracerProvider::builder()
        .with_span_processor(Processor(Arc::clone(&queue)))
        .with_resource(resource);
    let task = tokio::spawn(send(exporter, receiver));
    Ok(Exporter {
        provider: provider.build(),
        queue,
        task,
    })
}

/// Who we are, as OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say, else by the name of the function.
pub(crate) fn resource(service: &str) -> Resource {
    let mut builder = Resource::builder();
    let named = |variable, name: &str| {
        std::env::var(variable).is_ok_and(|text: String| text.contains(name))
    };
    if !named("OTEL_SERVICE_NAME", "") && !named("OTEL_RESOURCE_ATTRIBUTES", "service.name=") {
        builder = builder.with_service_name(service.to_owned());
    }
    builder.build()
}

impl Exporter {
    pub(super) fn provider(&self) -> &SdkTracerProvider {
        &self.provider
    }

    /// Takes no more spans, and waits until the last one is sent.
    pub(super) async fn finish(self) {
        self.queue.close();
        let _ = self.task.await;
        match self.queue.lost.load(Ordering::Relaxed) {
            0 => {}
            lost => tracing::warn!(lost, "spans were lost because the collector is too slow"),
        }
    }
}

#[derive(Debug)]
struct Queue {
    sender: Mutex<Option<mpsc::Sender<SpanData>>>,
    lost: AtomicU64,
}

impl Queue {
    fn close(&self) {
        self.sender
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }
}

#[derive(Debug)]
struct Processor(Arc<Queue>);

impl SpanProcessor for Processor {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        let sender = self.0.sender.lock().unwrap_or_else(PoisonError::into_inner);
        // None after the end, which only spans of the end itself outlive.
        let Some(sender) = sender.as_ref() else {
            return;
        };
        // A collector that does not keep up must not hold up events.
        if sender.try_send(span).is_err() {
            self.0.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The guard awaits the task; blocking here would stop it.
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        self.0.close();
        Ok(())
    }
}

async fn send(exporter: SpanExporter, mut receiver: mpsc::Receiver<SpanData>) {
    let mut open = true;
    while open {
        let mut batch = Vec::new();
        open = receiver.recv_many(&mut batch, BATCH).await > 0;
        let deadline = tokio::time::Instant::now() + DELAY;
        while open && batch.len() < BATCH {
            let room = BATCH - batch.len();
            match tokio::time::timeout_at(deadline, receiver.recv_many(&mut batch, room)).await {
                Ok(0) => open = false,
                Ok(_) => {}
                Err(_elapsed) => break,
            }
        }
        if batch.is_empty() {
            continue;
        }
        if let Err(error) = exporter.export(batch).await {
            tracing::warn!(%error, "spans cannot be sent");
        }
    }
}
