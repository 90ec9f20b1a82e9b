//! `hookrun sweeper`: the sweep as a function, for a PingSource to start.
//!
//! An event only says that it is time; what it carries means nothing. One sweep is bounded, and the next goes on.

use std::{process::ExitCode, sync::Arc};

use http::StatusCode;
use runtime::{Response, event::Event, metrics::Metrics, response};
use store::{Error, Swept};

use super::{sink, sweep::Sweeper};
use crate::cli;

/// Name of the function in traces and metrics.
const SERVICE: &str = "hookrun-sweep";

/// Seconds after which a sweep that failed may be tried again.
const RETRY_AFTER: u32 = 10;

/// Runs the command.
pub(crate) async fn run(options: cli::Sweeper) -> anyhow::Result<ExitCode> {
    let sweeper = Arc::new(Sweeper::open(options.sweep)?);
    let metrics = Arc::new(Metrics::new()?);
    let counters = Arc::clone(&metrics);
    let handle = move |_: Vec<Event>| {
        let (sweeper, counters) = (Arc::clone(&sweeper), Arc::clone(&counters));
        async move {
            let (outcome, answer) = answer(sweeper.sweep().await);
            counters.event("sweep", outcome);
            answer
        }
    };
    sink::serve(&options.server, SERVICE, metrics, handle).await
}

/// How a sweep is counted and answered; what it did is logged.
fn answer(swept: Result<Option<Swept>, Error>) -> (&'static str, Response) {
    let error = match swept {
        Ok(None) => {
            tracing::info!("no payload store is configured, so there is nothing to sweep");
            None
        }
        Ok(Some(swept)) => {
            let Swept {
                examined,
                deleted,
                failed,
                complete,
            } = swept;
            tracing::info!(examined, deleted, complete, "swept");
            failed.map(|(_, error)| error)
        }
        Err(error) => Some(error),
    };
    match error {
        None => ("swept", response::empty(StatusCode::OK)),
        Some(error) => {
            tracing::error!(%error, "not everything could be swept");
            let again = response::for_broker(StatusCode::BAD_GATEWAY, Some(RETRY_AFTER));
            ("failed", again)
        }
    }
}

#[cfg(test)]
mod tests {
    use store::Place;

    use super::*;

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
        for (swept, status) in [
            (Ok(None), 200),
            // More may be left: the next ping goes on, there is no hurry.
            (Ok(Some(Swept::default())), 200),
            (Ok(Some(partly)), 503),
            (Err(error()), 503),
        ] {
            assert_eq!(answer(swept).1.status(), status);
        }
    }
}
