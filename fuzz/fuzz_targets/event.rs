//! Any request as an event: header lines, an empty line, the body.

#![no_main]

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use libfuzzer_sys::fuzz_target;
use runtime::{
    Payload,
    event::{BATCH, Incoming, read_events},
};

fuzz_target!(|bytes: &[u8]| {
    let middle = bytes.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = middle.map_or((bytes, &b""[..]), |middle| {
        (&bytes[..middle], &bytes[middle + 2..])
    });
    let mut parts = Request::post("/")
        .body(())
        .expect("constant")
        .into_parts()
        .0;
    for line in head.split(|byte| *byte == b'\n') {
        let colon = line
            .iter()
            .position(|byte| *byte == b':')
            .unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default().trim_ascii();
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(&line[..colon]),
            HeaderValue::from_bytes(value),
        ) {
            parts.headers.append(name, value);
        }
    }
    let payload = Payload::from(Bytes::copy_from_slice(body));
    let events = match read_events(&parts, &payload) {
        Ok(Incoming::Plain(event)) => {
            assert!(event.cloud_event.is_none() && event.data == body);
            return;
        }
        Ok(Incoming::CloudEvent(event)) => vec![event],
        Ok(Incoming::Batch(events)) => events,
        Err(rejection) => {
            let text = rejection.to_string();
            assert!(
                text.len() < 500 && rejection.status().is_client_error(),
                "{text}"
            );
            return;
        }
    };
    assert!(events.len() <= BATCH);
    for event in events {
        let attributes = event.cloud_event.expect("all of them are CloudEvents");
        let text = event.identity.to_string();
        assert_eq!(
            text,
            format!("cloudevent {} {}", attributes.source, attributes.id)
        );
        assert!(
            !text.chars().any(char::is_control) && !attributes.source.contains(' '),
            "{text:?}"
        );
        assert!(event.data.len() <= body.len());
    }
});
