//! Refusals that are particular to one kind of proof: paths, lists, signed ids, schemes.

use http::HeaderValue;
use providers::Refusal;

use crate::derived::{refused, sample};
use crate::vector::{Vector, all, one};

#[test]
fn the_token_of_a_path_has_to_be_exact() {
    let mut seen = 0;
    for vector in all()
        .into_iter()
        .filter(|vector| vector.expect == "accept" && vector.token.is_some())
    {
        let token = vector.token.clone().unwrap();
        let wrong = [
            None,
            Some(String::new()),
            Some(token.to_uppercase()),
            Some(format!("{token} ")),
            Some(token[1..].to_owned()),
        ];
        for token in wrong {
            let what = format!("{token:?}");
            refused(
                &Vector {
                    token,
                    ..vector.clone()
                },
                &what,
            );
        }
        seen += 1;
    }
    assert_eq!(seen, 3);
}

#[test]
fn lists_of_signatures_are_bounded_and_strict() {
    let sample = sample(one("standard-webhooks-v1"));
    let many = vec!["v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="; 16].join(" ");
    for value in [
        format!("{many} {}", sample.value),
        format!("{}  {}", sample.value, sample.value),
    ] {
        refused(&sample.with(value.as_bytes()), &value);
    }
    let unknown = sample.with(b"v2,AAAA");
    assert!(matches!(unknown.outcome(), Err(Refusal::NotAllowed(_))));
    // Neither kind of signature counts with the other kind of key.
    let mut swapped = one("standard-webhooks-v1a");
    swapped.secrets = sample.vector.secrets.clone();
    refused(&swapped, "v1a with a shared secret");
}

#[test]
fn a_signed_id_has_to_come_once() {
    for name in ["standard-webhooks-v1", "gitlab-signing"] {
        let mut vector = one(name);
        vector
            .headers
            .append("webhook-id", HeaderValue::from_static("msg_other"));
        assert!(matches!(vector.outcome(), Err(Refusal::Repeated(_))));
        vector.headers.remove("webhook-id");
        assert!(matches!(vector.outcome(), Err(Refusal::Missing(_))));
        vector.set("webhook-id", b"msg_other");
        assert_eq!(vector.outcome(), Err(Refusal::Mismatch));
    }
}

#[test]
fn words_of_schemes_may_have_any_case_and_nothing_else_may() {
    for (id, word, secret) in [
        ("bearer", "BEARER", "test-bearer-token-a"),
        ("basic", "bAsIc", "dGVzdGVyOnDDpXNzOndvcmQ="),
    ] {
        let mut vector = one(id);
        vector.set("authorization", format!("{word} {secret}").as_bytes());
        assert_eq!(vector.outcome(), Ok(0), "{id}");
        for wrong in [
            format!("{word}  {secret}"),
            secret.to_owned(),
            format!("{word}{secret}"),
            word.to_owned(),
        ] {
            vector.set("authorization", wrong.as_bytes());
            refused(&vector, &wrong);
        }
    }
    let mut vector = one("basic");
    // Not UTF-8, and no colon.
    for wrong in ["Basic /////w==", "Basic dGVzdGVy"] {
        vector.set("authorization", wrong.as_bytes());
        assert_eq!(vector.outcome().unwrap_err().kind(), "malformed", "{wrong}");
    }
}
