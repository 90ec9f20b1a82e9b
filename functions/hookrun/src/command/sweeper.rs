//! `hookrun sweeper`: the sweep as a function, for a PingSource to start.
//!
//! An event only says that it is time; what it carries means nothing. One sweep is bounded, and the next goes on.

use std::{process::ExitCode, sync::Arc};

use http::StatusCode;
use runtime::{Response, event::Event, metrics::Metrics, response};

use super::{
    sink,
    sweep::{Done, Sweeper},
};
use crate::cli;

/// Name of the function in traces and metrics.
const SERVICE: &str = "hookrun-sweep";

/// Seconds after which a sweep that failed may be tried again.
const RETRY_AFTER: u32 = 10;

/// Runs the command.
pub(crate) async fn run(options: cli::Sweeper) -> anyhow::Result<ExitCode> {
    let metrics = Arc::new(Metrics::new()?);
    let sweeper = Arc::new(Sweeper::open(options.sweep, &metrics).await?);
    let counters = Arc::clone(&metrics);
    let handle = move |_: Vec<Event>| {
        let (sweeper, counters) = (Arc::clone(&sweeper), Arc::clone(&counters));
        async move {
            let (outcome, answer) = answer(&sweeper.sweep().await);
            counters.event("sweep", outcome);
            answer
        }
    };
    sink::serve(&options.server, SERVICE, metrics, handle).await
}

/// How a sweep is counted and answered; what it did is logged.
fn answer(done: &Done) -> (&'static str, Response) {
    tracing::info!(done = done.told().join("; "), "swept");
    let failures = done.failures();
    if failures.is_empty() {
        return ("swept", response::empty(StatusCode::OK));
    }
    tracing::error!(
        failures = failures.join("; "),
        "not everything could be swept"
    );
    let again = response::for_broker(StatusCode::BAD_GATEWAY, Some(RETRY_AFTER));
    ("failed", again)
}

#[cfg(test)]
mod tests {
    use store::{Error, Place, Swept};

    use super::*;

    fn payloads(swept: Result<Swept, Error>) -> Done {
        Done {
            payloads: Some(swept),
            ..Done::default()
        }
    }

    fn deliveries(failed: Option<(usize, String)>) -> Done {
        Done {
            deliveries: Some(Ok(hook::Swept {
                failed,
                ..hook::Swept::default()
            })),
            ..Done::default()
        }
    }

    #[test]
    fn only_what_failed_is_to_be_sent_again() {
        let error = || Error::Settings {
            place: Place::Payloads,
            reason: "of the test".to_owned(),
        };
        let partly = Swept {
            failed: Some((3, error())),
            ..Swept::default()
        };
        let waiting = Done {
            deliveries: Some(Ok(hook::Swept {
                waiting: 7,
                ..hook::Swept::default()
            })),
            ..Done::default()
        };
        for (done, status) in [
            (Done::default(), 200),
            // More may be left: the next ping goes on, there is no hurry.
            (payloads(Ok(Swept::default())), 200),
            (payloads(Ok(partly)), 503),
            (payloads(Err(error())), 503),
            (deliveries(None), 200),
            // What waits for a quota is on record, and is not swept sooner by sweeping everything again.
            (waiting, 200),
            (deliveries(Some((1, "of the test".to_owned()))), 503),
        ] {
            assert_eq!(answer(&done).1.status(), status);
        }
    }
}
