//! Requests that only ask whether somebody is there.

use http::{HeaderMap, HeaderValue};
use providers::{Content, Settings, content, handshake, options};

use crate::vector::one;

#[test]
fn slack_gets_its_challenge_back_after_the_signature() {
    let vector = one("slack-challenge");
    let request = vector.request();
    assert_eq!(handshake(vector.provider, &request, None), None);
    let content = content(vector.provider, &request).unwrap();
    let reply = handshake(vector.provider, &request, Some(&content)).unwrap();
    assert_eq!(
        reply.body,
        "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"
    );
    assert_eq!(reply.headers["content-type"], "text/plain; charset=utf-8");
}

#[test]
fn a_challenge_that_is_no_challenge_is_an_event() {
    let mut vector = one("slack-challenge");
    for challenge in [
        "1".to_owned(),
        "null".to_owned(),
        format!("\"{}\"", "a".repeat(2000)),
    ] {
        vector.body =
            format!(r#"{{"type":"url_verification","challenge":{challenge}}}"#).into_bytes();
        let request = vector.request();
        let content = content(vector.provider, &request).unwrap();
        assert_eq!(
            handshake(vector.provider, &request, Some(&content)),
            None,
            "{challenge}"
        );
    }
}

#[test]
fn github_pings_count_only_when_verified() {
    let vector = one("github-ping");
    let request = vector.request();
    assert_eq!(handshake(vector.provider, &request, None), None);
    assert!(handshake(vector.provider, &request, Some(&Content::default())).is_some());
}

#[test]
fn the_connection_test_of_bitbucket_is_not_signed() {
    let mut vector = one("bitbucket-dc-ping");
    assert!(handshake(vector.provider, &vector.request(), None).is_some());
    // Only where it is known of, and only for that event.
    assert_eq!(
        handshake(one("bitbucket-cloud").provider, &vector.request(), None),
        None
    );
    vector.set("x-event-key", b"repo:refs_changed");
    assert_eq!(handshake(vector.provider, &vector.request(), None), None);
}

fn asked(origin: &'static str) -> HeaderMap {
    let settings = Settings {
        allowed_origins: vec!["events.example.invalid".to_owned()],
        allowed_rate: Some(100),
        ..Settings::default()
    };
    let mut headers = HeaderMap::new();
    headers.insert("webhook-request-origin", HeaderValue::from_static(origin));
    headers.insert("webhook-request-rate", HeaderValue::from_static("120"));
    headers.insert(
        "webhook-request-callback",
        HeaderValue::from_static("https://events.example.invalid/yes"),
    );
    let reply = options(&settings, &headers);
    assert_eq!((reply.status.as_u16(), reply.body.as_str()), (200, ""));
    reply.headers
}

#[test]
fn a_known_origin_is_allowed() {
    let headers = asked("events.example.invalid");
    assert_eq!(headers["allow"], "OPTIONS, POST");
    assert_eq!(headers["webhook-allowed-origin"], "events.example.invalid");
    assert_eq!(headers["webhook-allowed-rate"], "100");
}

#[test]
fn any_other_origin_is_not() {
    for origin in [
        "other.example.invalid",
        "",
        "*",
        "events.example.invalid.other",
        "events.example.invalid ",
    ] {
        let headers = asked(origin);
        assert_eq!(headers["allow"], "OPTIONS, POST");
        assert_eq!(headers.len(), 1, "{origin}");
    }
    assert_eq!(
        options(&Settings::default(), &HeaderMap::new())
            .headers
            .len(),
        1
    );
}

#[test]
fn without_a_rate_any_rate_is_allowed() {
    let settings = Settings {
        allowed_origins: vec!["Events.example.invalid".to_owned()],
        ..Settings::default()
    };
    let mut headers = HeaderMap::new();
    headers.insert(
        "webhook-request-origin",
        HeaderValue::from_static("events.example.invalid"),
    );
    assert_eq!(
        options(&settings, &headers).headers["webhook-allowed-rate"],
        "*"
    );
}
