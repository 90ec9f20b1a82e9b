//! Reading headers: a header that proves something must come exactly once.

use http::HeaderMap;

use crate::Request;

/// How often a header came.
pub(crate) enum Seen<'a> {
    /// Not at all.
    Never,
    /// Once, with these bytes.
    Once(&'a [u8]),
    /// More than once, which no sender does.
    Repeated,
}

/// The header `name`, which may be written in any case.
pub(crate) fn seen<'a>(headers: &'a HeaderMap, name: &str) -> Seen<'a> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Seen::Never,
        (Some(value), None) => Seen::Once(value.as_bytes()),
        (Some(_), Some(_)) => Seen::Repeated,
    }
}

/// The header `name` as text, if it came once and is text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    match seen(headers, name) {
        Seen::Once(value) => std::str::from_utf8(value).ok(),
        Seen::Never | Seen::Repeated => None,
    }
}

/// Whether the body is form-encoded, as its sender says. Nobody signs that header: a body that begins as JSON does, and
/// as no form can, is none, or whoever captured it could have it read as something else.
pub(crate) fn is_form(request: &Request<'_>) -> bool {
    let first = request.body.trim_ascii_start().first();
    media_type(request.headers) == "application/x-www-form-urlencoded"
        && !matches!(first, Some(b'{' | b'['))
}

/// The media type of the body in lower case, without parameters; empty if its sender does not say.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let value = text(headers, "content-type").unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default();
    media_type.trim().to_ascii_lowercase()
}
