//! Webhook providers: where the proof of a request is, what its identity is, and what its payload says.
//!
//! One table, [`PROVIDERS`], describes every provider as data; one engine reads it. Adding a provider is one entry and
//! its vectors in `tests/vectors.json`. The order of work on a request is: [`handshake()`] without content (unsigned
//! connection tests), [`verify()`], [`content()`], [`handshake()`] with content, [`facts()`], [`event()`].
//!
//! There is no async, no I/O, no clock, no randomness, no environment and no logging in here: time is an argument.

pub mod content;
pub mod event;
pub mod facts;
pub mod glob;
pub mod handshake;
pub mod kept;
pub mod page;
pub mod provider;
pub mod samples;
pub mod secrets;
pub mod settings;
pub mod sign;
mod table;
pub mod verify;

mod header;
mod key;

pub use content::{Content, ContentError, content};
pub use event::{Changed, Event};
pub use facts::{Facts, Identity, facts};
pub use glob::matches_glob;
pub use handshake::{Reply, handshake, options};
pub use kept::{kept_headers, kept_query, parameters};
pub use page::page;
pub use provider::Provider;
pub use secrets::{check_secret, check_together, needs_secret};
pub use settings::{Hmac, HmacOptions, Problem, Settings, Token, check};
pub use table::PROVIDERS;
pub use verify::{Proven, Refusal, TokenClaim, pretend, verify};

/// One request, as it came.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// All headers. Names compare without case, and a header that comes twice is seen twice.
    pub headers: &'a http::HeaderMap,
    /// Text after `?`, without it; empty if there is none.
    pub query: &'a str,
    /// Last segment of the path, for providers whose only proof it is. Never log it.
    pub token: Option<&'a str>,
    /// The bytes that arrived. Whoever reads them keeps to [`Provider::body_bytes`].
    pub body: &'a [u8],
}

/// The entry of the table with this name, such as `github`.
#[must_use]
pub fn provider(name: &str) -> Option<&'static Provider> {
    PROVIDERS.iter().find(|provider| provider.name == name)
}

/// What a verified event says, in words that are the same for all providers.
#[must_use]
pub fn event(provider: &Provider, facts: &Facts, content: &Content<'_>) -> Event {
    event::of(provider.name, &facts.event_type, content.json.as_ref())
}
