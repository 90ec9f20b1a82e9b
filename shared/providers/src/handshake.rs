//! Requests that only ask whether somebody is there: answered without storing or starting anything.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::Value;

use crate::facts::value;
use crate::header::text;
use crate::provider::Provider;
use crate::settings::Settings;
use crate::{Content, Request};

/// Longest text that an answer repeats, in bytes. A challenge of Slack has about 50.
const LONGEST_ECHO: usize = 1024;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: String,
}

/// The answer to a request that only asks whether somebody is there. Ask without content before verification (some
/// providers do not sign these), and with content after it.
#[must_use]
pub fn handshake(
    provider: &Provider,
    request: &Request<'_>,
    content: Option<&Content<'_>>,
) -> Option<Reply> {
    let nothing = Content::default();
    let body = content.unwrap_or(&nothing);
    let asked = provider.handshakes.iter().find(|handshake| {
        let allowed = content.is_some() || !handshake.verified;
        allowed && value(handshake.field, request, body).as_deref() == Some(handshake.equals)
    })?;
    let Some(pointer) = asked.echo else {
        let body = r#"{"outcome":"Handshake"}"#.to_owned();
        return Some(reply("application/json", body));
    };
    let echo = body
        .json
        .as_ref()?
        .pointer(pointer)
        .and_then(Value::as_str)?;
    (echo.len() <= LONGEST_ECHO).then(|| reply("text/plain; charset=utf-8", echo.to_owned()))
}

fn reply(content_type: &'static str, body: String) -> Reply {
    let mut headers = HeaderMap::new();
    headers.insert(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static(content_type),
    );
    Reply {
        status: StatusCode::OK,
        headers,
        body,
    }
}

/// The answer to a CloudEvents `OPTIONS` request (HTTP 1.1 Web Hooks for Event Delivery 1.0.2, section 4): only origins
/// that the configuration names are welcome; for any other one the two `WebHook-Allowed-` headers are absent, which its
/// sender has to read as "no". `WebHook-Request-Callback` is ignored: no address from a request is ever called.
#[must_use]
pub fn options(settings: &Settings, headers: &HeaderMap) -> Reply {
    let mut answer = HeaderMap::new();
    answer.insert(
        http::header::ALLOW,
        HeaderValue::from_static("OPTIONS, POST"),
    );
    let known = text(headers, "webhook-request-origin")
        .filter(|origin| {
            settings
                .allowed_origins
                .iter()
                .any(|known| known.eq_ignore_ascii_case(origin))
        })
        .and_then(|origin| HeaderValue::from_str(origin).ok());
    if let Some(origin) = known {
        let any = HeaderValue::from_static("*");
        let rate = settings.allowed_rate.map_or(any, HeaderValue::from);
        answer.insert(HeaderName::from_static("webhook-allowed-origin"), origin);
        answer.insert(HeaderName::from_static("webhook-allowed-rate"), rate);
    }
    Reply {
        status: StatusCode::OK,
        headers: answer,
        body: String::new(),
    }
}
