//! Who may ask: programs on this machine, and no page of another origin through somebody's browser.
//!
//! There is no authentication here, only a loopback address. Two things get past that: a page that sends requests to
//! it (browsers then name the page's origin), and a page whose own host name is made to point at it (then the request is
//! for that name). Addresses and `localhost` cannot be made to point anywhere else.

use crate::failure::{Failure, Result};
use http::{
    header::{HOST, ORIGIN},
    request::Parts,
    uri::Authority,
};
use std::net::IpAddr;

/// Refuses what a foreign page sent.
pub(crate) fn check(parts: &Parts) -> Result<()> {
    let text = |name| match parts.headers.get(name) {
        None => Ok(None),
        Some(value) => match value.to_str() {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(Failure::foreign_origin()),
        },
    };
    // HTTP/2 and requests without a socket in between have no `Host`.
    let asked = match text(HOST)? {
        Some(host) => Some(host),
        None => parts.uri.authority().map(Authority::as_str),
    };
    if !asked.is_none_or(is_fixed) {
        return Err(Failure::foreign_origin());
    }
    match (text(ORIGIN)?, asked) {
        (None, _) => Ok(()),
        (Some(origin), Some(asked)) if same_host(origin, asked) => Ok(()),
        (Some(_), _) => Err(Failure::foreign_origin()),
    }
}

fn is_fixed(host: &str) -> bool {
    host.parse::<Authority>().is_ok_and(|authority| {
        let host = authority.host();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
    })
}

fn same_host(origin: &str, host: &str) -> bool {
    origin
        .split_once("://")
        .is_some_and(|(_, origin)| origin == host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn answers(host: &str, origin: Option<&str>) -> bool {
        let mut request = Request::get("/api").header(HOST, host);
        if let Some(origin) = origin {
            request = request.header(ORIGIN, origin);
        }
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        check(&parts).is_ok()
    }

    #[test]
    fn programs_and_our_own_pages_are_answered() {
        for host in ["127.0.0.1:8080", "localhost:8080", "[::1]:8080", "10.0.0.1"] {
            assert!(answers(host, None), "{host}");
            assert!(answers(host, Some(&format!("http://{host}"))), "{host}");
        }
    }

    #[test]
    fn other_pages_are_not() {
        for (host, origin) in [
            ("127.0.0.1:8080", Some("http://127.0.0.1:8081")),
            ("127.0.0.1:8080", Some("null")),
            ("evil.example:8080", None),
            ("evil.example:8080", Some("http://evil.example:8080")),
            ("127.0.0.1.evil.example", None),
            ("", None),
        ] {
            assert!(!answers(host, origin), "{host} {origin:?}");
        }
    }
}
