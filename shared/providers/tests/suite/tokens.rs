//! Signed tokens: what is read of them here, and what their claims have to be once their signature is checked.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use providers::provider::AccountClaim;
use providers::{Proven, Refusal, TokenClaim};
use serde_json::{Value, json};

use crate::vector::{claims, one};

const NOW: i64 = 1_700_000_060;

fn claim(id: &str) -> TokenClaim {
    match one(id).verify().unwrap() {
        Proven::Token(claim) => claim,
        Proven::Secret(_) => panic!("{id} is no token"),
    }
}

#[test]
fn a_push_of_google_says_what_is_still_to_be_checked() {
    let claim = claim("gar-pubsub");
    assert_eq!(
        claim.issuers,
        ["https://accounts.google.com", "accounts.google.com"]
    );
    assert_eq!(claim.audience, "https://hooks.example.invalid/gar");
    assert_eq!(
        claim.account,
        "pusher@test-project.iam.gserviceaccount.example.invalid"
    );
    assert_eq!(
        (claim.algorithm, claim.account_claim),
        ("RS256", AccountClaim::VerifiedEmail)
    );
    let sent = one("gar-pubsub").headers["authorization"]
        .to_str()
        .unwrap()
        .to_owned();
    assert_eq!(sent, format!("Bearer {}", claim.token));
}

#[test]
fn a_cluster_signs_with_keys_of_either_kind_and_google_with_one() {
    let head = |algorithm: &str| {
        let header = format!(r#"{{"alg":"{algorithm}","kid":"k"}}"#);
        format!("Bearer {}.e30.c2ln", URL_SAFE_NO_PAD.encode(header))
    };
    for (id, accepted) in [
        ("gar-pubsub", &["RS256"][..]),
        ("knative-broker-token", &["RS256", "ES256"]),
    ] {
        for algorithm in ["RS256", "ES256", "PS256", "HS256", "none", "rs256", ""] {
            let mut vector = one(id);
            vector.set("authorization", head(algorithm).as_bytes());
            let claim = match vector.verify() {
                Ok(Proven::Token(claim)) => Some(claim.algorithm),
                _ => None,
            };
            let expected = accepted.iter().copied().find(|known| *known == algorithm);
            assert_eq!(claim, expected, "{id} {algorithm}");
        }
    }
}

fn with(change: impl FnOnce(&mut Value)) -> Result<(), Refusal> {
    let claim = claim("gar-pubsub");
    let mut claims = claims(&claim.token);
    change(&mut claims);
    claim.permits(&claims, NOW)
}

fn without(name: &str) -> Result<(), Refusal> {
    with(|claims| drop(claims.as_object_mut().unwrap().remove(name)))
}

#[test]
fn every_claim_is_needed() {
    assert_eq!(with(|_| {}), Ok(()));
    for name in ["iss", "aud", "email", "email_verified", "exp"] {
        assert!(without(name).is_err(), "{name}");
    }
    // Neither issued nor valid from a time that is told.
    assert_eq!(without("iat"), Ok(()));
}

#[test]
fn every_claim_has_to_be_right() {
    let wrong = [
        ("iss", json!("https://accounts.google.com/")),
        ("aud", json!("https://hooks.example.invalid/other")),
        ("aud", json!([])),
        ("aud", json!({"https://hooks.example.invalid/gar": true})),
        (
            "email",
            json!("stranger@other.iam.gserviceaccount.example.invalid"),
        ),
        ("email", json!("")),
        ("email_verified", json!(false)),
        ("email_verified", json!("true")),
        ("exp", json!(NOW - 61)),
        ("exp", json!("1700003600")),
        ("exp", json!(i64::MIN)),
        ("iat", json!(NOW + 61)),
        ("nbf", json!(NOW + 61)),
    ];
    for (name, value) in wrong {
        let told = value.to_string();
        assert!(
            with(|claims| claims[name] = value).is_err(),
            "{name}: {told}"
        );
    }
}

#[test]
fn clocks_may_differ_a_little_and_one_of_several_audiences_is_enough() {
    let right = [
        ("iss", json!("accounts.google.com")),
        ("aud", json!(["other", "https://hooks.example.invalid/gar"])),
        ("exp", json!(NOW - 60)),
        ("exp", json!(i64::MAX)),
        ("iat", json!(NOW + 60)),
        ("nbf", json!(NOW + 60)),
    ];
    for (name, value) in right {
        let told = value.to_string();
        assert_eq!(
            with(|claims| claims[name] = value),
            Ok(()),
            "{name}: {told}"
        );
    }
}

#[test]
fn a_broker_is_known_by_its_service_account() {
    let claim = claim("knative-broker-token");
    assert_eq!(claim.account_claim, AccountClaim::Subject);
    assert_eq!(claim.issuers, ["https://kubernetes.default.svc"]);
    let mut claims = claims(&claim.token);
    claims["sub"] = json!("system:serviceaccount:other:mt-broker-filter");
    assert!(claim.permits(&claims, NOW).is_err());
}

#[test]
fn what_is_no_token_is_refused_before_a_key_is_looked_for() {
    let token = claim("gar-pubsub").token;
    let signature = token.rsplit('.').next().unwrap();
    let wrong = [
        String::new(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        format!("Basic {token}"),
        format!("Bearer {}", token.replace('.', "")),
        format!("Bearer {}", token.trim_end_matches(signature)),
        format!("Bearer {token}.a"),
        format!("Bearer e30.e30.{signature}"),
        format!("Bearer {token}{}", "a".repeat(8192)),
    ];
    for value in wrong {
        let mut vector = one("gar-pubsub");
        vector.set("authorization", value.as_bytes());
        assert!(vector.verify().is_err(), "{value}");
    }
    let mut twice = one("gar-pubsub");
    let value = twice.headers["authorization"].clone();
    twice.headers.append("authorization", value);
    assert!(matches!(twice.verify(), Err(Refusal::Repeated(_))));
}

#[test]
fn a_hook_that_does_not_say_which_account_lets_nobody_in() {
    let mut vector = one("gar-pubsub");
    vector.settings.token.as_mut().unwrap().account = String::new();
    assert!(matches!(vector.verify(), Err(Refusal::NotConfigured(_))));
    vector.settings.token = None;
    assert!(matches!(vector.verify(), Err(Refusal::NotConfigured(_))));
    let mut broker = one("knative-broker-token");
    broker.settings.token.as_mut().unwrap().issuer = None;
    assert!(matches!(broker.verify(), Err(Refusal::NotConfigured(_))));
}

#[test]
fn a_broker_with_a_token_needs_no_secret_and_does_not_accept_one_instead() {
    let mut vector = one("knative-broker-path");
    vector.settings = one("knative-broker-token").settings;
    assert!(matches!(vector.verify(), Err(Refusal::Missing(_))));
}

/// A Hook names the issuer of its cluster, and whatever it names, the keys stay where the table has them.
#[test]
fn where_keys_are_is_said_by_the_table_alone() {
    assert_eq!(
        claim("gar-pubsub").keys,
        Some("https://www.googleapis.com/oauth2/v3/certs")
    );
    let mut broker = one("knative-broker-token");
    let token = broker.settings.token.as_mut().unwrap();
    token.issuer = Some("https://accounts.google.com".to_owned());
    let Ok(Proven::Token(claim)) = broker.verify() else {
        panic!("it is a token");
    };
    assert_eq!(claim.keys, None);
}
