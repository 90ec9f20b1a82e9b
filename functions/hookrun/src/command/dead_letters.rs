//! `hookrun dead-letters`: tells of events that could not be delivered, in the log and in a counter.
//!
//! A Broker hands an event here when its Trigger's receiver refused it for good, or for too long. Whose event it was, for
//! whom, and how it was refused is logged; its data never is, and is not kept.

use std::{process::ExitCode, sync::Arc};

use http::StatusCode;
use runtime::{event::Event, metrics::Metrics, response, telemetry};
use tracing::Instrument as _;

use super::sink;
use crate::cli;

/// Name of the function in traces and metrics.
const SERVICE: &str = "hookrun-dead-letters";

/// Runs the command.
pub(crate) async fn run(options: cli::DeadLetters) -> anyhow::Result<ExitCode> {
    let metrics = Arc::new(Metrics::new()?);
    let counters = Arc::clone(&metrics);
    let handle = move |events: Vec<Event>| {
        let counters = Arc::clone(&counters);
        async move {
            for event in &events {
                counters.event("dead-letter", "told");
                tell(event).instrument(telemetry::event_span(event)).await;
            }
            response::empty(StatusCode::OK)
        }
    };
    sink::serve(&options.server, SERVICE, metrics, handle).await
}

/// One line, within the span that says which event it is.
async fn tell(event: &Event) {
    let extension = |name: &str| {
        let attributes = event.cloud_event.as_ref()?;
        attributes.extensions.get(name).map(String::as_str)
    };
    // Eventing adds these two to the event; a sender may have done so as well.
    tracing::error!(
        receiver = extension("knativeerrordest"),
        status = extension("knativeerrorcode"),
        bytes = event.data.len(),
        "an event was not delivered"
    );
}
