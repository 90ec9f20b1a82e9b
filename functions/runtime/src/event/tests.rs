use http::{HeaderValue, Method, Request};
use proptest::prelude::*;

use super::*;

fn request(headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(Method::POST);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn read(headers: &[(&str, &str)], body: impl Into<Bytes>) -> Result<Incoming, Rejection> {
    read_events(&request(headers), &Payload::from(body.into()))
}

fn event(incoming: Result<Incoming, Rejection>) -> Event {
    match incoming.unwrap() {
        Incoming::CloudEvent(event) | Incoming::Plain(event) => event,
        Incoming::Batch(events) => panic!("a batch of {}", events.len()),
    }
}

fn reason(incoming: Result<Incoming, Rejection>) -> String {
    incoming.unwrap_err().to_string()
}

/// The example of `flux-and-knative-events.md` §11.
const BINARY: [(&str, &str); 9] = [
    ("Ce-Specversion", "1.0"),
    ("Ce-Id", "4b0c"),
    ("Ce-Type", "dev.knative.apiserver.ref.update"),
    ("Ce-Source", "https://10.96.0.1:443"),
    (
        "Ce-Subject",
        "/apis/source.toolkit.fluxcd.io/v1/namespaces/team-a/gitrepositories/app",
    ),
    ("Ce-Time", "2026-03-02T09:15:08.123456Z"),
    ("Ce-Kind", "GitRepository"),
    ("Kn-Namespace", "team-a"),
    ("Content-Type", "application/json"),
];

fn structured(attributes: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t"{attributes}}}"#)
}

const STRUCTURED_TYPE: [(&str, &str); 1] = [(
    "Content-Type",
    "application/cloudevents+json; charset=utf-8",
)];
const BATCH_TYPE: [(&str, &str); 1] = [("Content-Type", "Application/CloudEvents-Batch+JSON")];

#[test]
fn a_binary_event_has_its_attributes_in_headers_and_its_data_untouched() {
    let event = event(read(&BINARY, r#"{ "b":1.0, "a":1e400 }"#));
    assert_eq!(event.data, r#"{ "b":1.0, "a":1e400 }"#);
    assert_eq!(event.content_type.as_deref(), Some("application/json"));
    assert_eq!(
        event.identity.to_string(),
        "cloudevent https://10.96.0.1:443 4b0c"
    );
    let attributes = event.cloud_event.unwrap();
    assert_eq!(attributes.ty, "dev.knative.apiserver.ref.update");
    assert_eq!(
        attributes.time.as_deref(),
        Some("2026-03-02T09:15:08.123456+00:00")
    );
    assert_eq!(
        attributes.extensions.into_iter().collect::<Vec<_>>(),
        [("kind".into(), "GitRepository".into())]
    );
}

#[test]
fn structured_data_keeps_its_bytes() {
    let body = Bytes::from(structured(
        r#","data": { "b":1.0, "a":123456789012345678901234567890, "a":2 } "#,
    ));
    let event = event(read(&STRUCTURED_TYPE, body.clone()));
    assert_eq!(
        event.data,
        r#"{ "b":1.0, "a":123456789012345678901234567890, "a":2 }"#
    );
    assert!(
        body.as_ptr_range().contains(&event.data.as_ptr()),
        "and its place in memory"
    );
}

#[test]
fn structured_data_may_be_text_or_base64() {
    let of = |attributes| event(read(&STRUCTURED_TYPE, structured(attributes))).data;
    assert_eq!(
        of(r#","datacontenttype":"text/plain","data":"a\n\u00fc""#),
        "a\nü"
    );
    assert_eq!(
        of(r#","datacontenttype":"application/x","data_base64":"AAH/""#),
        &[0, 1, 255][..]
    );
    assert_eq!(of(r#","data_base64":"e30=""#), "{}");
    assert_eq!(of(r#","data":"text""#), "\"text\"", "JSON stays JSON");
    assert_eq!(of(r#","data":null"#), "");
    assert_eq!(of(""), "");
    let old = r#"{"specversion":"0.3","id":"1","source":"/s","type":"t","datacontentencoding":"Base64","data":"e30="}"#;
    assert_eq!(event(read(&STRUCTURED_TYPE, old)).data, "{}");
}

#[test]
fn deep_data_is_only_carried() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(
        event(read(
            &STRUCTURED_TYPE,
            structured(&format!(r#","data":{deep}"#))
        ))
        .data,
        deep
    );
    let attribute = structured(&format!(r#","x":{deep}"#));
    assert!(reason(read(&STRUCTURED_TYPE, attribute)).contains("recursion"));
}

#[test]
fn a_batch_is_read_as_a_whole() {
    let body = format!(
        "[{}, {}]",
        structured(r#","data":1"#),
        structured(r#","data":2"#).replace(r#""id":"1""#, r#""id":"2""#)
    );
    let Incoming::Batch(events) = read(&BATCH_TYPE, body).unwrap() else {
        panic!("no batch")
    };
    let texts: Vec<_> = events
        .iter()
        .map(|event| event.identity.to_string())
        .collect();
    assert_eq!(texts, ["cloudevent /s 1", "cloudevent /s 2"]);
    assert_eq!(read(&BATCH_TYPE, "[]"), Ok(Incoming::Batch(Vec::new())));
    let long = format!("[{}]", vec![structured(""); BATCH + 1].join(","));
    assert_eq!(
        read(&BATCH_TYPE, long),
        Err(Rejection::LongBatch { limit: BATCH })
    );
    assert!(reason(read(&BATCH_TYPE, structured(""))).contains("not a JSON array"));
    assert!(reason(read(&BATCH_TYPE, format!("[{}", structured("")))).contains("not a JSON array"));
    assert!(reason(read(&BATCH_TYPE, "[1]")).contains("object"));
}

#[test]
fn what_is_wrong_is_named() {
    let without = |name: &str| {
        BINARY
            .into_iter()
            .filter(|(header, _)| *header != name)
            .collect::<Vec<_>>()
    };
    let with = |name: &'static str, value: &'static str| {
        let mut headers = without(name);
        headers.push((name, value));
        read(&headers, "")
    };
    assert!(reason(read(&without("Ce-Id"), "")).contains("id"));
    assert!(reason(read(&without("Ce-Source"), "")).contains("source"));
    assert!(reason(read(&without("Ce-Type"), "")).contains("type"));
    assert!(reason(with("Ce-Specversion", "2.0")).contains("2.0"));
    assert!(reason(with("Ce-Time", "yesterday")).starts_with("this is not a valid CloudEvent: "));
    assert!(reason(with("Ce-Id", "")).contains("id is empty"));
    assert!(reason(with("Ce-Source", "a b")).contains("space"));
    let mut twice = BINARY.to_vec();
    twice.push(("Ce-Id", "another"));
    assert!(reason(read(&twice, "")).contains("ce-id is there more than once"));
    for (attributes, part) in [
        (r#","id":"2""#, "id is there twice"),
        (r#","data":1,"data_base64":"""#, "both"),
        (r#","data":1,"data":2"#, "data is there twice"),
        (r#","data_base64":"*""#, "base64"),
        (r#","data_base64":1"#, "base64"),
        (
            r#","datacontenttype":"text/plain","data":{}"#,
            "not a string",
        ),
        (r#","x":{}"#, "CloudEvent"),
        (r#","time":1"#, "CloudEvent"),
        (",", "CloudEvent"),
    ] {
        assert!(
            reason(read(&STRUCTURED_TYPE, structured(attributes))).contains(part),
            "{attributes}"
        );
    }
    assert!(read(&STRUCTURED_TYPE, &b"\xff"[..]).is_err());
    assert!(read(&STRUCTURED_TYPE, "").is_err());
    let long = structured("").replace("/s", &"s".repeat(SOURCE_LENGTH + 1));
    assert!(reason(read(&STRUCTURED_TYPE, long)).contains("source is longer than"));
    let line = structured("").replace(r#""1""#, r#""a\nb""#);
    assert!(reason(read(&STRUCTURED_TYPE, line)).contains("control"));
    let many: String = (0..ATTRIBUTES)
        .map(|index| format!(r#","x{index}":1"#))
        .collect();
    assert!(reason(read(&STRUCTURED_TYPE, structured(&many))).contains("more than"));
}

#[test]
fn a_plain_body_is_known_by_its_key() {
    let incoming = read(
        &[("Idempotency-Key", "7c 9"), ("Content-Type", "text/plain")],
        "x",
    )
    .unwrap();
    let Incoming::Plain(event) = incoming else {
        panic!("not plain")
    };
    assert_eq!(event.identity.to_string(), "idempotency-key 7c 9");
    assert_eq!(
        (event.content_type.as_deref(), event.data.as_ref()),
        (Some("text/plain"), &b"x"[..])
    );
    let [one, two] =
        [read(&[], "x"), read(&[], "x")].map(|incoming| self::event(incoming).identity);
    assert!(one.is_fresh() && one != two);
    let long = "k".repeat(KEY_LENGTH + 1);
    for headers in [
        &[("Idempotency-Key", "")][..],
        &[("Idempotency-Key", "a"), ("Idempotency-Key", "a")],
        &[("Idempotency-Key", &long)],
        &[("Idempotency-Key", "a\tb")],
    ] {
        assert_eq!(
            read(headers, ""),
            Err(Rejection::IdempotencyKey { limit: KEY_LENGTH })
        );
    }
}

#[test]
fn only_a_post_brings_events() {
    let mut parts = request(&BINARY);
    assert!(is_cloud_event(&parts));
    parts.method = Method::GET;
    assert!(!is_cloud_event(&parts));
}

proptest! {
    #[test]
    fn any_bytes_end_as_an_event_or_a_reason(
        kind in 0..4_u8,
        body in proptest::collection::vec(any::<u8>(), 0..200),
        headers in proptest::collection::vec(("ce-[a-z]{1,4}|ce-id|ce-type|ce-source|ce-time|ce-dataschema", proptest::collection::vec(any::<u8>(), 0..20)), 0..8),
    ) {
        let types = ["application/cloudevents+json", "application/cloudevents-batch+json", "text/plain", "application/cloudevents+jsonx"];
        let mut parts = request(&[("content-type", types[usize::from(kind)]), ("ce-specversion", "1.0")]);
        for (name, value) in headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(&value)) {
                parts.headers.append(name, value);
            }
        }
        let result = read_events(&parts, &Payload::from(Bytes::from(body)));
        if let Err(rejection) = result {
            prop_assert!(rejection.to_string().len() < 500);
        }
    }

    #[test]
    fn any_member_of_a_structured_event_ends_as_an_event_or_a_reason(value in "\"[^\"]{0,9}\"|null|-?[0-9]{1,30}|[0-9]\\.[0-9]e[0-9]{1,3}|true|\\[\\]|\\{\\}", name in "id|type|source|time|subject|dataschema|schemaurl|datacontenttype|data|data_base64|x|datacontentencoding|specversion") {
        let body = structured("").replacen('{', &format!("{{\"{name}\":{value},"), 1);
        let _ = read(&STRUCTURED_TYPE, body);
    }
}
