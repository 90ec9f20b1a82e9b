//! Any form-encoded body, of every provider: a form gives at most the event that it holds.

#![no_main]

use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};
use libfuzzer_sys::fuzz_target;
use providers::{PROVIDERS, Request};

fuzz_target!(|body: &[u8]| {
    let mut headers = HeaderMap::new();
    let form = HeaderValue::from_static("application/x-www-form-urlencoded; charset=utf-8");
    headers.insert(CONTENT_TYPE, form);
    let request = Request {
        headers: &headers,
        query: "",
        token: None,
        body,
    };
    for provider in PROVIDERS {
        match providers::content(provider, &request) {
            Ok(content) => {
                // What is written out is as long as it came, and JSON escapes of its characters.
                assert!(
                    content.bytes.len() <= 8 * body.len() + 64,
                    "{}",
                    provider.name
                );
                for secret in provider.drop {
                    let json = content.json.as_ref();
                    assert!(
                        json.and_then(|json| json.get(*secret)).is_none(),
                        "{secret}"
                    );
                }
            }
            Err(error) => {
                let text = error.to_string();
                assert!(!text.is_empty() && text.len() < 1_000, "{text}");
            }
        }
    }
});
