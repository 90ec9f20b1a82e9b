//! What is counted, for Prometheus to fetch and for the last push before the process ends.
//!
//! Labels are bounded: the template of a route, never its path; a method out of a fixed list; a status. Nothing
//! that a sender chooses becomes a label.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http::{Method, StatusCode};
use prometheus::{
    Encoder as _, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    Opts, Registry, TextEncoder,
};

mod push;

pub use push::{Error as PushError, PushOptions};

/// The content type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The counters of the shell, and the registry in which a function keeps its own.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    duration: HistogramVec,
    in_flight: IntGauge,
    received: IntCounter,
    body: Histogram,
    connections: IntGauge,
    refused_connections: IntCounter,
    memory: IntGauge,
    panics: IntCounter,
    events: IntCounterVec,
    refusals: IntCounterVec,
    /// Counts every change, so that the last push knows whether anything is new since the last scrape.
    changes: AtomicU64,
    scraped: AtomicU64,
    ever_scraped: AtomicBool,
    started: std::time::SystemTime,
}

impl Metrics {
    /// A registry with all counters of the shell at zero.
    ///
    /// # Errors
    /// Never in practice: names are constants, and the registry is new.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let labels = ["route", "method", "code"];
        let requests = IntCounterVec::new(
            Opts::new("hookrun_http_requests_total", "Requests answered."),
            &labels,
        )?;
        let duration = HistogramVec::new(
            HistogramOpts::new(
                "hookrun_http_request_duration_seconds",
                "Time from the head of a request to its answer.",
            )
            .buckets(vec![
                0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
            ]),
            &["route"],
        )?;
        let in_flight =
            IntGauge::new("hookrun_http_requests_in_flight", "Requests being handled.")?;
        let received = IntCounter::new(
            "hookrun_http_request_body_bytes_total",
            "Bytes of request bodies.",
        )?;
        let body = Histogram::with_opts(
            HistogramOpts::new(
                "hookrun_http_request_body_size_bytes",
                "Sizes of request bodies.",
            )
            .buckets(vec![
                0.0,
                1024.0,
                16384.0,
                131_072.0,
                1_048_576.0,
                10_485_760.0,
            ]),
        )?;
        let connections = IntGauge::new("hookrun_http_connections", "Open connections.")?;
        let refused_connections = IntCounter::new(
            "hookrun_http_connections_refused_total",
            "Connections beyond the limit.",
        )?;
        let memory = IntGauge::new(
            "hookrun_memory_budget_used_bytes",
            "Memory taken by bodies, copies included.",
        )?;
        let panics = IntCounter::new("hookrun_panics_total", "Handlers that ended by a defect.")?;
        let events = IntCounterVec::new(
            Opts::new("hookrun_events_total", "Events, by what became of them."),
            &["format", "outcome"],
        )?;
        let refusals = IntCounterVec::new(
            Opts::new(
                "hookrun_refusals_total",
                "Requests that did not prove who sends them.",
            ),
            &["provider", "reason"],
        )?;
        registry.register(Box::new(refusals.clone()))?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(duration.clone()))?;
        registry.register(Box::new(in_flight.clone()))?;
        registry.register(Box::new(received.clone()))?;
        registry.register(Box::new(body.clone()))?;
        registry.register(Box::new(connections.clone()))?;
        registry.register(Box::new(refused_connections.clone()))?;
        registry.register(Box::new(memory.clone()))?;
        registry.register(Box::new(panics.clone()))?;
        registry.register(Box::new(events.clone()))?;
        #[cfg(target_os = "linux")]
        registry.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))?;
        Ok(Self {
            registry,
            requests,
            duration,
            in_flight,
            received,
            body,
            connections,
            refused_connections,
            memory,
            panics,
            events,
            refusals,
            changes: AtomicU64::new(0),
            scraped: AtomicU64::new(0),
            ever_scraped: AtomicBool::new(false),
            started: std::time::SystemTime::now(),
        })
    }

    /// Counts an event. Both labels are constants of the program.
    pub fn event(&self, format: &'static str, outcome: &'static str) {
        self.events.with_label_values(&[format, outcome]).inc();
        self.changed();
    }

    /// Counts a request that did not prove who sends it. Both labels are constants of the program.
    pub fn refused(&self, provider: &'static str, reason: &'static str) {
        self.refusals.with_label_values(&[provider, reason]).inc();
        self.changed();
    }

    /// What `GET /metrics` answers; counts as a scrape.
    pub fn text(&self) -> String {
        self.scraped
            .store(self.changes.load(Ordering::Acquire), Ordering::Release);
        self.ever_scraped.store(true, Ordering::Release);
        let mut buffer = Vec::new();
        match TextEncoder::new().encode(&self.registry.gather(), &mut buffer) {
            Ok(()) => String::from_utf8_lossy(&buffer).into_owned(),
            Err(error) => {
                tracing::error!(%error, "metrics cannot be written");
                String::new()
            }
        }
    }

    /// The whole answer to `GET /metrics`.
    pub fn response(&self) -> crate::Response {
        crate::response::typed(StatusCode::OK, CONTENT_TYPE, self.text())
    }

    /// Whether anything was counted since the last scrape.
    pub fn unscraped(&self) -> bool {
        self.changes.load(Ordering::Acquire) != self.scraped.load(Ordering::Acquire)
    }

    pub(crate) fn answered(&self, route: &str, method: &Method, code: StatusCode, time: Duration) {
        self.requests
            .with_label_values(&[route, method_label(method), code.as_str()])
            .inc();
        self.duration
            .with_label_values(&[route])
            .observe(time.as_secs_f64());
        self.changed();
    }

    /// Counts one more for as long as the guard lives.
    pub(crate) fn in_flight(&self) -> Gauge {
        Gauge::new(&self.in_flight)
    }

    pub(crate) fn connection(&self) -> Gauge {
        Gauge::new(&self.connections)
    }

    pub(crate) fn connection_refused(&self) {
        self.refused_connections.inc();
        self.changed();
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.received.inc_by(bytes as u64);
    }

    pub(crate) fn body(&self, bytes: usize, budget: usize) {
        #[expect(clippy::cast_precision_loss, reason = "a histogram rounds anyway")]
        self.body.observe(bytes as f64);
        self.memory(budget);
    }

    pub(crate) fn memory(&self, used: usize) {
        self.memory.set(i64::try_from(used).unwrap_or(i64::MAX));
    }

    pub(crate) fn panicked(&self) {
        self.panics.inc();
        self.changed();
    }

    fn changed(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }
}

/// One of what is being counted, until dropped.
#[derive(Debug)]
pub(crate) struct Gauge(IntGauge);

impl Gauge {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A sender may invent methods.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_shows_what_was_counted_and_is_remembered() {
        let metrics = Metrics::new().unwrap();
        assert!(!metrics.unscraped());
        let invented = Method::from_bytes(b"BREW").unwrap();
        metrics.answered(
            "/flow/key/{key}",
            &invented,
            StatusCode::IM_A_TEAPOT,
            Duration::from_millis(3),
        );
        metrics.event("artisan", "created");
        assert!(metrics.unscraped());
        let guard = metrics.in_flight();
        let text = metrics.text();
        assert!(text.contains(r#"hookrun_http_requests_total{code="418",method="other",route="/flow/key/{key}"} 1"#), "{text}");
        assert!(text.contains(r#"hookrun_events_total{format="artisan",outcome="created"} 1"#));
        assert!(text.contains("hookrun_http_requests_in_flight 1"));
        #[cfg(target_os = "linux")]
        assert!(text.contains("process_resident_memory_bytes"));
        assert!(!metrics.unscraped());
        drop(guard);
        assert!(metrics.text().contains("hookrun_http_requests_in_flight 0"));
    }
}
