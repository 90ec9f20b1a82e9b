//! What the API server refused, or why it could not be asked: one type, so that a function maps it to an answer once.

use std::{fmt, time::Duration};

/// A request to the API server that did not succeed, after all repeats that made sense.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{doing}: {message}")]
pub struct Fault {
    /// What kind of failure it is: decides the answer.
    pub kind: Kind,
    /// What was being done, with the object's kind and name.
    pub doing: String,
    /// The API server's own words, or what went wrong on the way to it.
    pub message: String,
    /// How long the API server asked to be left alone, where it said so.
    pub retry_after: Option<Duration>,
}

/// After which a sender may try again, where the API server wishes nothing else.
const MOMENT: Duration = Duration::from_secs(2);

/// After which it may where something in the cluster has to change first. A right that is missing is no fault of the sender's;
/// and an API server that has just started knows no Roles for a moment, and denies everything.
const BLOCKED: Duration = Duration::from_secs(30);

impl Fault {
    /// Seconds after which a sender may try again, where that makes sense at all; never 0.
    pub fn retry_after_seconds(&self) -> u32 {
        let wait = match self.kind {
            Kind::Blocked | Kind::Forbidden | Kind::Refused => BLOCKED,
            _ => self.retry_after.unwrap_or(MOMENT),
        };
        u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).max(1)
    }
}

/// The kinds of [`Fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The object is not valid, or an admission webhook refused it. Repeating it is of no use.
    Refused,
    /// Our ServiceAccount lacks the right, or the API server has only just started and knows no Roles yet.
    Forbidden,
    /// The namespace, the object, or Tekton itself does not exist.
    NotFound,
    /// Something of that name exists that is not ours to take.
    Conflict,
    /// The object is larger than the API server takes.
    TooLarge,
    /// The API server does not accept our credentials.
    Unauthorized,
    /// It could not be done now; later it may.
    Unavailable,
    /// Something in the cluster has to change first: a quota is used up, Tekton is not installed. Worth another try, but
    /// not at once.
    Blocked,
}

impl Kind {
    /// The kind of a refusal with this HTTP status and Kubernetes reason; the reason wins where it is more precise
    /// (an admission webhook refuses with 400 or 403 and a message of its own).
    pub(crate) fn of(status: u16, message: &str) -> Self {
        match status {
            _ if message.starts_with("admission webhook ") => Self::Refused,
            // The quota of the namespace, and what the API server says of a resource whose definition is missing.
            403 if message.contains("exceeded quota") => Self::Blocked,
            404 if message.contains("could not find the requested resource") => Self::Blocked,
            400 | 405 | 406 | 415 | 422 => Self::Refused,
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            404 | 410 => Self::NotFound,
            409 => Self::Conflict,
            413 => Self::TooLarge,
            // etcd's own limit comes through as an internal error, and so does that of the API server's client of it.
            500 if is_beyond_etcd(message) => Self::TooLarge,
            _ => Self::Unavailable,
        }
    }

    /// A word for logs and metrics.
    pub fn slug(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not-found",
            Self::Conflict => "conflict",
            Self::TooLarge => "too-large",
            Self::Unauthorized => "unauthorized",
            Self::Unavailable => "unavailable",
            Self::Blocked => "blocked",
        }
    }
}

/// Whether the API server says that an object, or a page of a list, is more than etcd takes or gives at once.
fn is_beyond_etcd(message: &str) -> bool {
    ["request is too large", "message larger than max"]
        .iter()
        .any(|told| message.contains(told))
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.slug())
    }
}

impl Fault {
    pub(crate) fn new(kind: Kind, doing: &str, message: impl Into<String>) -> Self {
        Self {
            kind,
            doing: doing.to_owned(),
            message: message.into(),
            retry_after: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_larger_than_the_store_takes_is_no_matter_of_time() {
        for (status, message) in [
            (413, "Request entity too large: limit is 3145728"),
            (500, "etcdserver: request is too large"),
            (
                500,
                "rpc error: code = ResourceExhausted desc = trying to send message larger than max (2100247 vs. 2097152)",
            ),
        ] {
            assert_eq!(Kind::of(status, message), Kind::TooLarge, "{message}");
        }
        for message in [
            "etcdserver: request timed out",
            "etcdserver: too many requests",
        ] {
            assert_eq!(Kind::of(500, message), Kind::Unavailable, "{message}");
        }
    }
}
