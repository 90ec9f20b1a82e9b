//! Any text as a token (JWT) and any JSON as its claims, a line feed between them: nothing but the claims that were
//! asked for is permitted.

#![no_main]

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use libfuzzer_sys::fuzz_target;
use providers::{Proven, Request, Settings, Token, provider, verify};
use serde_json::Value;

const NOW: i64 = 1_700_000_000;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let (token, claims) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(value) = HeaderValue::from_str(&format!("Bearer {token}")) else {
        return;
    };
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, value);
    let request = Request {
        headers: &headers,
        query: "",
        token: None,
        body: b"{}",
    };
    let settings = Settings {
        token: Some(Token {
            audience: "us".to_owned(),
            account: "them".to_owned(),
            issuer: Some("https://issuer".to_owned()),
        }),
        ..Settings::default()
    };
    for name in ["gar-pubsub", "knative-broker"] {
        let provider = provider(name).expect("it is in the table");
        let claim = match verify(provider, &settings, &[], &request, NOW) {
            Ok(Proven::Token(claim)) => claim,
            Ok(Proven::Secret(_)) => panic!("{name}: there is no secret"),
            Err(_) => continue,
        };
        // Three parts, and nothing that could be a key of somebody else.
        assert!(
            claim.token == token && token.split('.').count() == 3,
            "{token}"
        );
        let Ok(claims) = serde_json::from_str::<Value>(claims) else {
            continue;
        };
        if claim.permits(&claims, NOW).is_ok() {
            let issuer = claims["iss"].as_str().expect("an issuer");
            assert!(claim.issuers.iter().any(|known| known == issuer));
            assert!(claims["aud"].to_string().contains("\"us\""));
            let account = if name == "gar-pubsub" { "email" } else { "sub" };
            assert_eq!(claims[account], "them");
            assert!(claims["exp"].is_number());
        }
    }
});
