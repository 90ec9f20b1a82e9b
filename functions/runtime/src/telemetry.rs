//! Seen from outside: logs, and one span per event that carries the trace of its sender to the run.
//!
//! Nothing secret and no payload is ever a field. Without an endpoint no exporter exists, and costs nothing.

use http::StatusCode;
use http::request::Parts;
use tracing::Span;
use tracing::field::Empty;

use crate::event::Event;

mod context;
mod export;
mod init;

pub use context::{Incoming, TraceParent, current_traceparent};
pub(crate) use export::resource;
pub use init::{Error, Guard, LogFormat, TelemetryOptions, init};

/// The span of one request. All its fields are declared here, and filled as they become known.
pub(crate) fn request_span(parts: &Parts, route: &str, incoming: &Incoming) -> Span {
    let span = tracing::info_span!(
        "event",
        otel.name = format_args!("{} {route}", parts.method),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = %parts.method,
        http.route = route,
        http.response.status_code = Empty,
        caller = Empty,
        event.id = Empty,
        event.type = Empty,
        format = Empty,
        flow = Empty,
        namespace = Empty,
        run = Empty,
        outcome = Empty,
    );
    incoming.attach(&span);
    span
}

/// The span of one event of a batch, below that of the request.
pub fn event_span(event: &Event) -> Span {
    let span = tracing::info_span!(
        "event",
        event.id = %event.identity,
        event.type = Empty,
        format = Empty,
        flow = Empty,
        namespace = Empty,
        run = Empty,
        outcome = Empty,
    );
    if let Some(attributes) = &event.cloud_event {
        span.record("event.type", attributes.ty.as_str());
    }
    span
}

/// Writes the identity of the event into the current span, and so into every log line that follows.
pub fn identify(event: &Event) {
    let span = Span::current();
    span.record("event.id", tracing::field::display(&event.identity));
    if let Some(attributes) = &event.cloud_event {
        span.record("event.type", attributes.ty.as_str());
    }
}

/// Fills one of the declared fields of the current span: `caller`, `event.id`, `format`, `flow`, `namespace`, `run`, `outcome`.
pub fn record(field: &'static str, value: &str) {
    Span::current().record(field, value);
}

pub(crate) fn answered(span: &Span, status: StatusCode) {
    // Health checks have none, and are nobody's news.
    if span.is_none() {
        return;
    }
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    tracing::info!(parent: span, status = status.as_u16(), "answered");
}
