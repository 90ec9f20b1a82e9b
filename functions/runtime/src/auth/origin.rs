//! What a browser sends on behalf of a page that is not ours.
//!
//! A browser reaches what its user reaches: a server on loopback that asks for no password, or one whose password the
//! user has typed before. So a request that a foreign page caused is refused before anybody looks at credentials.
//! Browsers say so in `Sec-Fetch-Site` and `Origin`, which no page can change; programs send neither.

use std::net::IpAddr;

use http::HeaderName;
use http::header::{HOST, ORIGIN};
use http::request::Parts;
use http::uri::Authority;

const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether the request comes from a page of another origin, for all that its browser says.
pub(super) fn is_foreign(parts: &Parts) -> bool {
    let sites = parts.headers.get_all(SITE);
    let mut origins = parts.headers.get_all(ORIGIN).iter();
    sites
        .iter()
        .any(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"))
        || origins.any(|origin| {
            origin
                .to_str()
                .map_or(true, |origin| !is_of(origin, &hosts(parts)))
        })
}

/// Whether the request is for a name that somebody else can make point at this machine, which then counts as the
/// page's own origin (DNS rebinding). Addresses and `localhost` cannot be made to point anywhere else.
pub(super) fn is_for_other_name(parts: &Parts) -> bool {
    hosts(parts).iter().any(|host| !host.is_some_and(is_local))
}

/// All that the request says about its host; `None` is what cannot be read.
fn hosts(parts: &Parts) -> Vec<Option<&str>> {
    // HTTP/2 has it in the URI, as has a request that was meant for a proxy.
    let target = parts.uri.authority().map(|target| Some(target.as_str()));
    let headers = parts.headers.get_all(HOST);
    headers
        .iter()
        .map(|host| host.to_str().ok())
        .chain(target)
        .collect()
}

fn is_of(origin: &str, hosts: &[Option<&str>]) -> bool {
    let Some((scheme, origin)) = origin.split_once("://") else {
        return false;
    };
    // Proxies write the port of the scheme, browsers leave it out.
    let port = match scheme {
        "https" => ":443",
        _ => ":80",
    };
    let plain = |host: &str| host.strip_suffix(port).unwrap_or(host).to_ascii_lowercase();
    !hosts.is_empty()
        && hosts
            .iter()
            .all(|host| host.is_some_and(|host| plain(host) == plain(origin)))
}

fn is_local(host: &str) -> bool {
    host.parse::<Authority>().is_ok_and(|authority| {
        let host = authority.host().to_ascii_lowercase();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.ends_with(".localhost") || address.parse::<IpAddr>().is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn parts(uri: &str, headers: &[(HeaderName, &str)]) -> Parts {
        let mut request = Request::post(uri);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn what_our_own_pages_and_programs_send_is_not_foreign() {
        for headers in [
            &[(HOST, "h:8080")][..],
            &[],
            &[(HOST, "h:8080"), (ORIGIN, "http://h:8080")],
            &[(HOST, "h"), (ORIGIN, "https://H"), (SITE, "same-origin")],
            &[(HOST, "h:443"), (ORIGIN, "https://h")],
            &[(HOST, "h"), (SITE, "none")],
        ] {
            assert!(!is_foreign(&parts("/flow", headers)), "{headers:?}");
        }
        let stream = parts("http://h:8080/flow", &[(ORIGIN, "http://h:8080")]);
        assert!(!is_foreign(&stream), "HTTP/2 has no Host");
    }

    #[test]
    fn what_other_pages_send_is() {
        for headers in [
            &[(HOST, "h"), (SITE, "cross-site")][..],
            &[(HOST, "h"), (SITE, "same-site")],
            &[(HOST, "h"), (SITE, "same-origin"), (SITE, "cross-site")],
            &[(HOST, "h"), (SITE, "")],
            &[(HOST, "h"), (ORIGIN, "null")],
            &[(HOST, "h"), (ORIGIN, "")],
            &[(HOST, "h"), (ORIGIN, "http://evil.example")],
            &[(HOST, "h:8080"), (ORIGIN, "http://h:8081")],
            &[(HOST, "h:443"), (ORIGIN, "http://h")],
            &[(HOST, "h"), (ORIGIN, "http://h"), (ORIGIN, "http://e")],
            &[(HOST, "h"), (HOST, "e"), (ORIGIN, "http://h")],
            &[(ORIGIN, "http://h")],
        ] {
            assert!(is_foreign(&parts("/flow", headers)), "{headers:?}");
        }
    }

    #[test]
    fn only_names_that_cannot_point_elsewhere_are_local() {
        for host in [
            "127.0.0.1:8080",
            "localhost",
            "LocalHost:1",
            "a.localhost:2",
            "[::1]:8080",
            "10.0.0.1",
        ] {
            assert!(!is_for_other_name(&parts("/", &[(HOST, host)])), "{host}");
        }
        for host in [
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "notlocalhost",
            "",
        ] {
            assert!(is_for_other_name(&parts("/", &[(HOST, host)])), "{host}");
        }
        assert!(!is_for_other_name(&parts("/", &[])), "no socket in between");
        let both = parts("http://evil.example/", &[(HOST, "localhost")]);
        assert!(is_for_other_name(&both));
    }
}
