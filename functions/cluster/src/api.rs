//! One request to the API server: sent, repeated while that makes sense, bounded in time and size.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header::RETRY_AFTER};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use kube::client::Body;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::{Instant, sleep, timeout_at};

use crate::fault::{Fault, Kind};

/// Larger answers are not read: an object of etcd is at most 1.5 MiB, twice that with managed fields.
const ANSWER_BYTES: usize = 8 << 20;

/// The first wait before a repeat; doubled each time.
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// How long the API server may take.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(next_help_heading = "Kubernetes")]
pub struct Patience {
    /// Time that one request to the API server may take before it is sent again.
    #[arg(long = "api-timeout", env = "HOOKRUN_API_TIMEOUT", value_name = "TIME", default_value = "5s", value_parser = units::duration)]
    pub attempt: Duration,

    /// Time that all requests for one event may take together, repeats included. Then the sender is told to try
    /// again later.
    #[arg(long = "api-deadline", env = "HOOKRUN_API_DEADLINE", value_name = "TIME", default_value = "20s", value_parser = units::duration)]
    pub event: Duration,
}

/// A cluster, seen by one event: all requests share one deadline.
#[derive(Clone)]
pub struct Cluster {
    client: kube::Client,
    attempt: Duration,
    deadline: Instant,
}

/// What the API server says when it refuses.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    message: String,
    details: Option<Details>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    retry_after_seconds: Option<u64>,
}

impl Cluster {
    /// Starts the clock of one event.
    pub fn new(client: kube::Client, patience: Patience) -> Self {
        Self {
            client,
            attempt: patience.attempt,
            deadline: Instant::now() + patience.event,
        }
    }

    /// The same for an event whose clock runs already: all requests end by `deadline`.
    pub fn until(client: kube::Client, attempt: Duration, deadline: Instant) -> Self {
        Self {
            client,
            attempt,
            deadline,
        }
    }

    /// When the event's time is over.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Sends a request that may be repeated, until it is answered for good or the event's time is over.
    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        doing: &str,
        request: impl Fn() -> Result<Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<T, Fault> {
        let mut wait = FIRST_WAIT;
        loop {
            // A process that was stopped for a while must not do late what others have taken over since.
            if Instant::now() >= self.deadline {
                let message = "there was no time left to ask the API server";
                return Err(Fault::new(Kind::Unavailable, doing, message));
            }
            let request =
                request().map_err(|error| Fault::new(Kind::Refused, doing, error.to_string()))?;
            let fault = match self.attempt(doing, request).await {
                Ok(body) => {
                    return serde_json::from_slice(&body).map_err(|error| {
                        Fault::new(
                            Kind::Unavailable,
                            doing,
                            format!("cannot read the API server's answer: {error}"),
                        )
                    });
                }
                Err(fault) if fault.kind != Kind::Unavailable => return Err(fault),
                Err(fault) => fault,
            };
            // The server's own wish counts, unless the event's time would be over: then the sender is told it.
            let pause = fault.retry_after.unwrap_or(wait).max(FIRST_WAIT);
            if pause >= self.deadline.saturating_duration_since(Instant::now()) {
                return Err(fault);
            }
            tracing::debug!(doing, error = %fault.message, "repeating a request to the API server");
            sleep(pause).await;
            wait = (wait * 2).min(Duration::from_secs(2));
        }
    }

    async fn attempt(&self, doing: &str, request: Request<Vec<u8>>) -> Result<Bytes, Fault> {
        let limit = self.deadline.min(Instant::now() + self.attempt);
        let unavailable = |message| Fault::new(Kind::Unavailable, doing, message);
        let exchange = async {
            let response = self.client.send(request.map(Body::from)).await;
            let response = response.map_err(|error| unavailable(chain(&error)))?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES).collect().await;
            let body = body.map_err(|error| match error.is::<LengthLimitError>() {
                // It would be as large the next time.
                true => {
                    let message =
                        format!("the API server's answer has more than {ANSWER_BYTES} bytes");
                    Fault::new(Kind::TooLarge, doing, message)
                }
                false => unavailable(format!("the API server's answer broke off: {error}")),
            })?;
            Ok((parts, body.to_bytes()))
        };
        let late = |_| unavailable("the API server did not answer in time".to_owned());
        let (parts, body) = timeout_at(limit, exchange).await.map_err(late).flatten()?;
        if parts.status.is_success() {
            return Ok(body);
        }
        Err(refusal(doing, parts.status, &parts.headers, &body))
    }
}

/// The [`Fault`] of an answer that is no success.
fn refusal(doing: &str, status: StatusCode, headers: &http::HeaderMap, body: &[u8]) -> Fault {
    // Proxies in front of the API server answer with something else than a Status.
    let told: Status = serde_json::from_slice(body).unwrap_or_default();
    let message = if told.message.is_empty() {
        format!("the API server answered {status}")
    } else {
        told.message
    };
    let header = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let retry_after = header
        .or_else(|| told.details?.retry_after_seconds)
        .map(Duration::from_secs);
    Fault {
        kind: Kind::of(status.as_u16(), &message),
        doing: doing.to_owned(),
        message,
        retry_after,
    }
}

/// An error with its causes on one line: the first level alone often says only "client error".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
