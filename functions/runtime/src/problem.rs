//! Problem details (RFC 9457): the form of every error that no system's own format rules.
//!
//! Each [`Kind`] has a section in `docs/problems/http.md`, which a test compares with [`KINDS`]. A function declares
//! kinds of its own the same way.

use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value};

use crate::Body;
use crate::response::{self, Response};

/// Where the sections of the documents are found; the slug follows.
pub const BASE: &str = "https://hookrun.dev/problems/";

/// A kind of problem: what a program may match on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// The last part of the `type`, and the heading of its section in the document.
    pub slug: &'static str,
    /// The status that it is answered with.
    pub status: StatusCode,
    /// The same words for every occurrence.
    pub title: &'static str,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $status:ident, $slug:literal, $title:literal;)*) => {
        $($(#[$doc])* pub const $name: Kind = Kind { slug: $slug, status: StatusCode::$status, title: $title };)*
        /// All kinds that the shell itself answers with.
        pub const KINDS: &[Kind] = &[$($name),*];
    };
}

kinds! {
    /// The path is not in its one canonical form.
    PATH = BAD_REQUEST, "path-not-canonical", "The path is not in its canonical form";
    /// The body broke off or is not valid HTTP.
    BODY_BROKEN = BAD_REQUEST, "body-incomplete", "The request body is incomplete";
    /// The body did not come in time.
    BODY_TIME = REQUEST_TIMEOUT, "body-timeout", "The request body took too long";
    /// The body is larger than allowed.
    BODY_SIZE = PAYLOAD_TOO_LARGE, "body-too-large", "The request body is too large";
    /// The body has a content coding.
    BODY_CODING = UNSUPPORTED_MEDIA_TYPE, "body-encoded", "Encoded request bodies are not read";
    /// An attribute or header of a CloudEvent is missing or malformed.
    CLOUD_EVENT = BAD_REQUEST, "cloudevent-invalid", "The CloudEvent is not valid";
    /// More events in one batch than allowed.
    BATCH_SIZE = PAYLOAD_TOO_LARGE, "batch-too-long", "The batch has too many events";
    /// `Idempotency-Key` is not usable.
    IDEMPOTENCY_KEY = BAD_REQUEST, "idempotency-key-invalid", "The idempotency key is not valid";
    /// The caller is not known.
    UNAUTHORIZED = UNAUTHORIZED, "unauthorized", "Credentials are missing or wrong";
    /// A page of another origin is behind it.
    FOREIGN = FORBIDDEN, "cross-origin", "Pages of other origins may not call";
    /// The host is a name that anybody can make point here.
    NAME = FORBIDDEN, "host-not-local", "Only an address or localhost may be called";
    /// All requests together hold as much memory as they may.
    MEMORY = SERVICE_UNAVAILABLE, "memory-exhausted", "Too many request bodies at once";
    /// As many requests are handled as may be.
    BUSY = SERVICE_UNAVAILABLE, "too-many-requests-in-flight", "Too many requests at once";
    /// As many connections are open as may be.
    CONNECTIONS = SERVICE_UNAVAILABLE, "too-many-connections", "Too many connections at once";
    /// The answer was not ready in time.
    TIME = SERVICE_UNAVAILABLE, "time-exceeded", "The request took too long";
    /// The identity of callers cannot be checked now.
    KEYS = SERVICE_UNAVAILABLE, "keys-unavailable", "The keys that tokens are checked with cannot be had";
    /// A defect of this program.
    INTERNAL = INTERNAL_SERVER_ERROR, "internal-error", "The request met a defect";
}

/// One occurrence of a problem.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// What kind of problem.
    pub kind: Kind,
    /// What is wrong here, and what to do.
    pub detail: String,
    /// After how many seconds another try makes sense.
    pub retry_after: Option<u32>,
}

impl Problem {
    /// A problem of this kind; `detail` says what is wrong here and what to do.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            retry_after: None,
        }
    }

    /// Adds `Retry-After`.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The JSON document, with the members in fixed order.
    pub fn to_json(&self) -> Value {
        let mut document = Map::new();
        document.insert("type".into(), format!("{BASE}{}", self.kind.slug).into());
        document.insert("title".into(), self.kind.title.into());
        document.insert("status".into(), self.kind.status.as_u16().into());
        document.insert("detail".into(), self.detail.as_str().into());
        Value::Object(document)
    }

    /// The answer.
    pub fn response(&self) -> Response {
        let mut response =
            response::with_status(self.kind.status, Body::full(self.to_json().to_string()));
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_explains_exactly_the_kinds_that_exist() {
        let text = include_str!("../../../docs/problems/http.md");
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

    #[test]
    fn the_document_has_the_members_of_the_standard() {
        let problem = Problem::new(BUSY, "later").retry_after(3);
        assert_eq!(
            problem.to_json(),
            serde_json::json!({
                "type": "https://hookrun.dev/problems/too-many-requests-in-flight",
                "title": "Too many requests at once", "status": 503, "detail": "later",
            })
        );
        assert_eq!(problem.response().headers()["retry-after"], "3");
    }
}
