//! Why a request was refused before a function looked at it, and the answer that follows.

use http::StatusCode;

use crate::problem::{self, Kind, Problem};
use crate::{Response, response};

/// A request that the shell itself refuses: its path, its body, or the event in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The path could be read in two ways.
    #[error("the path {0}; send it in its shortest form, percent-encoded once")]
    Path(&'static str),
    /// More bytes than allowed.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// What is allowed (`HOOKRUN_BODY_BYTES`).
        limit: usize,
    },
    /// The clock of the body ran out.
    #[error("the body did not arrive within {seconds} seconds")]
    TooSlow {
        /// What is allowed (`HOOKRUN_BODY_TIME`).
        seconds: u64,
    },
    /// Too little of it came for a while.
    #[error("the body stopped arriving, or comes too slowly")]
    Stalled,
    /// Too many bodies take their time.
    #[error("too many bodies are slow to arrive at the moment; send it again")]
    Crowd,
    /// The connection ended, or the framing is wrong.
    #[error("the body broke off or is not valid HTTP")]
    Incomplete,
    /// All requests together hold as much as they may.
    #[error("too many bodies are in memory at the moment; send it again")]
    NoMemory,
    /// `Content-Encoding` other than `identity`.
    #[error("the body has a Content-Encoding; send it unencoded")]
    Encoded,
    /// What claims to be a CloudEvent is not one.
    #[error("{0}")]
    CloudEvent(String),
    /// A batch with more events than allowed.
    #[error("the batch has more than {limit} events; send it in parts")]
    LongBatch {
        /// What is allowed.
        limit: usize,
    },
    /// `Idempotency-Key` cannot identify anything.
    #[error("Idempotency-Key must be given once, with 1 to {limit} printable ASCII characters")]
    IdempotencyKey {
        /// Length allowed.
        limit: usize,
    },
}

impl Rejection {
    /// The kind of problem that this is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Path(_) => problem::PATH,
            Self::TooLarge { .. } => problem::BODY_SIZE,
            Self::TooSlow { .. } | Self::Stalled => problem::BODY_TIME,
            Self::Crowd => problem::BUSY,
            Self::Incomplete => problem::BODY_BROKEN,
            Self::NoMemory => problem::MEMORY,
            Self::Encoded => problem::BODY_CODING,
            Self::CloudEvent(_) => problem::CLOUD_EVENT,
            Self::LongBatch { .. } => problem::BATCH_SIZE,
            Self::IdempotencyKey { .. } => problem::IDEMPOTENCY_KEY,
        }
    }

    /// The status for a caller who reads problems.
    pub fn status(&self) -> StatusCode {
        self.kind().status
    }

    /// After how many seconds another try makes sense, if it does.
    pub fn retry_after(&self) -> Option<u32> {
        // A body that was slow or broke off may well arrive the next time.
        matches!(
            self,
            Self::NoMemory | Self::Crowd | Self::TooSlow { .. } | Self::Stalled | Self::Incomplete
        )
        .then_some(1)
    }

    /// The whole problem.
    pub fn problem(&self) -> Problem {
        let problem = Problem::new(self.kind(), self.to_string());
        match self.retry_after() {
            Some(seconds) if self.status() == StatusCode::SERVICE_UNAVAILABLE => {
                problem.retry_after(seconds)
            }
            _ => problem,
        }
    }

    /// The answer as a problem document.
    pub fn response(&self) -> Response {
        self.problem().response()
    }

    /// The answer for an event that came through a Broker; see [`response::for_broker`].
    pub fn broker_response(&self) -> Response {
        response::for_broker(self.status(), self.retry_after())
    }
}

impl From<&Rejection> for Response {
    fn from(rejection: &Rejection) -> Self {
        rejection.response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_succeed_later_is_repeated_by_a_broker_and_the_rest_is_not() {
        assert_eq!(
            Rejection::NoMemory.broker_response().status(),
            StatusCode::SERVICE_UNAVAILABLE
        );
        assert_eq!(
            Rejection::TooSlow { seconds: 1 }.broker_response().status(),
            StatusCode::SERVICE_UNAVAILABLE
        );
        assert_eq!(
            Rejection::TooLarge { limit: 1 }.broker_response().status(),
            StatusCode::PAYLOAD_TOO_LARGE
        );
        assert_eq!(Rejection::NoMemory.response().headers()["retry-after"], "1");
    }
}
