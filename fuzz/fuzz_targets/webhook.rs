//! Any request to any provider's Hook, from its signature to the event that it is: a byte for the provider, header
//! lines, an empty line, the body.

#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use providers::{PROVIDERS, Proven, Request, Settings, Token};

/// What somebody could guess is no secret: seeds are signed with the first, nothing with the second.
const SECRETS: [&str; 2] = ["fuzz-secret", "another-secret"];

/// The time that is signed in the seeds.
const NOW: i64 = 1_700_000_000;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else {
        return;
    };
    let provider = &PROVIDERS[usize::from(*first) % PROVIDERS.len()];
    let middle = rest.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = middle.map_or((rest, &b""[..]), |middle| {
        (&rest[..middle], &rest[middle + 2..])
    });
    let headers = headers(head);
    let request = Request {
        headers: &headers,
        query: "",
        token: headers.get("token").and_then(|token| token.to_str().ok()),
        body,
    };
    let settings = Settings {
        legacy: first & 128 != 0,
        token: Some(Token {
            audience: "us".to_owned(),
            account: "them".to_owned(),
            issuer: Some("https://issuer".to_owned()),
        }),
        ..Settings::default()
    };
    let verify = |secret: &str| {
        let secrets = [secret.as_bytes().to_vec()];
        providers::verify(provider, &settings, &secrets, &request, NOW)
    };
    let proven = verify(SECRETS[0]);
    match &proven {
        Ok(Proven::Secret(at)) => {
            assert_eq!(*at, 0);
            assert!(
                verify(SECRETS[1]).is_err(),
                "{}: {headers:?}",
                provider.name
            );
        }
        Ok(Proven::Token(claim)) => assert!(!claim.token.is_empty() && !claim.issuers.is_empty()),
        Err(refusal) => {
            let text = refusal.to_string();
            assert!(text.len() < 1_000 && !text.contains(SECRETS[0]), "{text}");
        }
    }
    // As if it were verified: most of what is found is behind that.
    let Ok(content) = providers::content(provider, &request) else {
        return;
    };
    let _ = providers::handshake(provider, &request, Some(&content));
    let facts = providers::facts(provider, &settings, &request, &content);
    assert!(
        facts.key.len() <= 600 && facts.event_type.len() <= 256 && facts.delivery_id.len() <= 256
    );
    assert_eq!(
        facts,
        providers::facts(provider, &settings, &request, &content)
    );
    let event = providers::event(provider, &facts, &content);
    assert!(event.to_record().is_object());
});

fn headers(lines: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n').take(64) {
        let colon = line.iter().position(|byte| *byte == b':');
        let colon = colon.unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default().trim_ascii();
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(&line[..colon]),
            HeaderValue::from_bytes(value),
        ) {
            headers.append(name, value);
        }
    }
    headers
}
