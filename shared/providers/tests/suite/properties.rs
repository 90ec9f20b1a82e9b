//! What holds for everything that can come in.

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use providers::provider::{Proof, Time};
use providers::{
    PROVIDERS, Proven, Provider, Request, Settings, Token, content, facts, handshake, provider,
    verify,
};

/// Headers that the entry of a provider looks at.
fn names(provider: &Provider) -> Vec<&'static str> {
    let mut names = vec![
        "content-type",
        "content-encoding",
        "ce-specversion",
        "X-Signature",
    ];
    names.extend(provider.headers);
    for proof in provider.proofs {
        match proof {
            Proof::Signature(signature) => {
                names.push(signature.header);
                names.extend(signature.id_header);
                if let Some(Time::Header(name)) = signature.time {
                    names.push(name);
                }
            }
            Proof::Value(value) => names.push(value.header),
            Proof::Configured | Proof::PathToken | Proof::Jwt(_) => names.push("Authorization"),
        }
    }
    names
}

/// A value that looks a little like what is expected.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let start = "(sha256=|sha1=|v0=|v1,|v1a,|t=1700000000,v1=|Bearer |Basic |application/|)";
    let rest = "([0-9a-fA-F]{64}|[A-Za-z0-9+/]{43}=|[a-z0-9.]{0,40}|1700000000|x-www-form-urlencoded\
                |json|cloudevents\\+json)";
    let text = proptest::string::bytes_regex(&format!("{start}{rest}")).unwrap();
    prop_oneof![3 => text, 1 => prop::collection::vec(any::<u8>(), 0..64)]
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let word = r#"(\{|\}|\[|\]|,|:|"|\\|"(type|id|message|data|secret|event|source)"|payload=|&|%7B|1|true|null)"#;
    let text = proptest::string::bytes_regex(&format!("{word}{{0,40}}")).unwrap();
    prop_oneof![3 => text, 1 => prop::collection::vec(any::<u8>(), 0..256)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whoever does not know the secret proves nothing, and whatever comes in ends without a fault.
    #[test]
    fn nobody_gets_in_by_chance(
        entry in prop::sample::select(PROVIDERS),
        values in prop::collection::vec((any::<prop::sample::Index>(), value()), 0..8),
        token in prop::option::of("[a-z0-9]{0,20}"),
        body in body(),
        legacy: bool,
        now in prop_oneof![Just(1_700_000_000_i64), any::<i64>()],
    ) {
        let names = names(&entry);
        let mut headers = HeaderMap::new();
        for (index, value) in &values {
            let name: HeaderName = index.get(&names).parse().unwrap();
            if let Ok(value) = HeaderValue::from_bytes(value) {
                headers.append(name, value);
            }
        }
        let request = Request { headers: &headers, query: "", token: token.as_deref(), body: &body };
        let token = Some(Token { audience: "a".into(), account: "b".into(), issuer: Some("c".into()) });
        let settings = Settings { legacy, token, ..Settings::default() };
        let secrets = [
            b"user:a secret that nobody knows".to_vec(),
            b"whsec_YSBzZWNyZXQgdGhhdCBub2JvZHkga25vd3M=".to_vec(),
        ];
        let proven = verify(&entry, &settings, &secrets, &request, now);
        prop_assert!(!matches!(proven, Ok(Proven::Secret(_))));
        let _ = handshake(&entry, &request, None);
        if let Ok(content) = content(&entry, &request) {
            let _ = handshake(&entry, &request, Some(&content));
            let told = facts(&entry, &settings, &request, &content);
            prop_assert!(told.key.len() <= 512 && told.event_type.len() <= 256 && told.delivery_id.len() <= 256);
            prop_assert_eq!(&told, &facts(&entry, &settings, &request, &content));
        }
    }

    /// Senders write media types in any case, and what a body takes is found out before it is read.
    #[test]
    fn the_case_of_a_media_type_changes_nothing(
        entry in prop::sample::select(PROVIDERS),
        media_type in prop::sample::select(vec![
            "application/json",
            "application/cloudevents+json",
            "application/cloudevents-batch+json",
            "application/x-www-form-urlencoded",
        ]),
        upper in prop::collection::vec(any::<bool>(), 40),
        body in body(),
    ) {
        let mixed: String = media_type
            .chars()
            .zip(&upper)
            .map(|(c, upper)| if *upper { c.to_ascii_uppercase() } else { c })
            .collect();
        let read = |media_type: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("content-type", media_type.parse().unwrap());
            let request = Request { headers: &headers, query: "", token: None, body: &body };
            let read = content(&entry, &request).map(|found| (found.json, found.attributes, found.bytes.into_owned()));
            (providers::content::memory(&entry, &request), read)
        };
        prop_assert_eq!(read(media_type), read(&mixed));
    }

    /// Different identities never get the same key, whatever is in them.
    #[test]
    fn keys_are_unambiguous(one_pair in ("[ -~]{1,8}", "[ -~]{1,8}"), other_pair in ("[ -~]{1,8}", "[ -~]{1,8}")) {
        let key = |(subscription, notification): &(String, String)| {
            let azure = provider("azure-devops").unwrap();
            let body = serde_json::json!({"subscriptionId": subscription, "notificationId": notification}).to_string();
            let request = Request { headers: &HeaderMap::new(), query: "", token: None, body: body.as_bytes() };
            let content = content(azure, &request).unwrap();
            facts(azure, &Settings::default(), &request, &content).key
        };
        prop_assert_eq!(key(&one_pair) == key(&other_pair), one_pair == other_pair);
    }
}
