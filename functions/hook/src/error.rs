//! Why an event was not stored, and the one place where that becomes an answer.
//!
//! What a sender is told of a Hook that does not exist and of a proof that is wrong is the same, to the byte. All kinds
//! have a section in `docs/problems/hooks.md`, which a test compares with [`KINDS`].

use cluster::{Fault, Kind as FaultKind};
use deliveries::payload;
use http::{HeaderValue, StatusCode, header::WWW_AUTHENTICATE};
use providers::ContentError;
use runtime::{
    Rejection, Response,
    problem::{self, Kind, Problem},
    response,
};

/// Seconds after which a sender may try again where nobody says better.
const RETRY_AFTER: u32 = 2;

/// The event is stored nowhere.
pub const NOT_STORED: Kind = Kind {
    slug: "event-not-stored",
    status: StatusCode::SERVICE_UNAVAILABLE,
    title: "The event could not be stored",
};

/// One Hook has as many requests in flight as it may.
pub const SHARE: Kind = Kind {
    slug: "hook-busy",
    status: StatusCode::SERVICE_UNAVAILABLE,
    title: "The hook has too many requests at once",
};

/// The event is larger than what there is room for.
pub const PAYLOAD: Kind = Kind {
    slug: "payload-too-large",
    status: StatusCode::PAYLOAD_TOO_LARGE,
    title: "The payload is too large",
};

/// The body is of a media type that is not read.
pub const FORMAT: Kind = Kind {
    slug: "payload-format",
    status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
    title: "Payloads of this format are not read",
};

/// All kinds that only this function answers with.
pub const KINDS: &[Kind] = &[NOT_STORED, SHARE, PAYLOAD, FORMAT];

/// Why an event was not stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// There is no such Hook, or the sender has not proven itself.
    #[error("there is no such hook, or the proof of the request is missing or wrong")]
    Unknown,
    /// The same, while it could not be found out whether there is such a Hook.
    #[error("the event could not be stored now; send it again")]
    Crowded,
    /// The body could not be read.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The body of a verified event is not taken.
    #[error(transparent)]
    Content(ContentError),
    /// The Hook has its share of requests in flight.
    #[error("this hook has as many requests in flight as it may; send it again")]
    Share,
    /// The Hooks of its namespace have their share of what decides.
    #[error(
        "the hooks of this namespace have as many events decided on as they may; send it again"
    )]
    Namespace,
    /// No thread got free in time.
    #[error("all threads that read events are busy; send it again")]
    Threads,
    /// It could not be stored, or nobody knows.
    #[error(transparent)]
    NotStored(#[from] deliveries::Error),
    /// There is nowhere to put the payload.
    #[error(transparent)]
    Payload(#[from] payload::Error),
    /// Keys that prove senders cannot be had now.
    #[error("the keys that prove senders cannot be had now: {reason}")]
    Keys {
        /// Why.
        reason: String,
        /// Seconds until another try makes sense.
        retry_after: u32,
    },
    /// The Hook could not be read.
    #[error("{0}")]
    Hook(std::sync::Arc<Fault>),
}

impl Error {
    /// The problem that a sender is told. Nothing in it tells more of the cluster than that it could not be asked.
    pub(crate) fn problem(&self) -> Problem {
        let later = |seconds| {
            let text = "the event could not be stored now; send it again";
            Problem::new(NOT_STORED, text).retry_after(seconds)
        };
        match self {
            Self::Unknown => Problem::new(problem::UNAUTHORIZED, self.to_string()),
            Self::Rejected(rejection) => rejection.problem(),
            Self::Content(error @ (ContentError::Encoded(_) | ContentError::Format(_))) => {
                Problem::new(FORMAT, error.to_string())
            }
            Self::Content(error) => Problem::new(PAYLOAD, error.to_string()),
            Self::Crowded => later(RETRY_AFTER),
            Self::Threads => Problem::new(problem::BUSY, self.to_string()).retry_after(RETRY_AFTER),
            Self::Share | Self::Namespace => Problem::new(SHARE, self.to_string()).retry_after(1),
            Self::NotStored(deliveries::Error::Busy | deliveries::Error::Taken(_)) => {
                Problem::new(NOT_STORED, self.to_string()).retry_after(RETRY_AFTER)
            }
            Self::Payload(payload::Error::TooLarge { .. }) => {
                Problem::new(PAYLOAD, self.to_string())
            }
            Self::Payload(payload::Error::Cluster(fault))
            | Self::NotStored(deliveries::Error::Cluster(fault)) => {
                if fault.kind == FaultKind::TooLarge {
                    return Problem::new(
                        PAYLOAD,
                        "the event does not fit into one object of the cluster",
                    );
                }
                later(fault.retry_after_seconds())
            }
            Self::Payload(_) => later(RETRY_AFTER),
            Self::Hook(fault) => later(fault.retry_after_seconds()),
            Self::Keys { retry_after, .. } => {
                Problem::new(problem::KEYS, "send it again").retry_after(*retry_after)
            }
        }
    }

    /// A word for metrics.
    pub(crate) fn slug(&self) -> &'static str {
        self.problem().kind.slug
    }

    /// The answer; folded for an event that came through a Broker.
    pub(crate) fn response(&self, from_broker: bool) -> Response {
        let problem = self.problem();
        let mut answer = if from_broker {
            response::for_broker(problem.kind.status, problem.retry_after)
        } else {
            problem.response()
        };
        if let Self::Unknown = self {
            // Which proof is wanted is configured, and nobody's business.
            let scheme = HeaderValue::from_static(r#"Webhook realm="hookrun""#);
            answer.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_explains_exactly_the_kinds_that_exist() {
        let text = include_str!("../../../docs/problems/hooks.md");
        let explained: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("## "))
            .collect();
        let known: Vec<_> = KINDS
            .iter()
            .map(|kind| format!("{} ({})", kind.slug, kind.status.as_u16()))
            .collect();
        assert_eq!(explained, known);
    }
}
