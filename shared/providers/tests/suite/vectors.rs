//! Every vector, as it is written down.

use std::collections::BTreeSet;

use providers::{PROVIDERS, Refusal, check, check_secret, content, facts, handshake};

use crate::vector::{all, one};

#[test]
fn every_vector_has_the_outcome_that_it_expects() {
    for vector in all() {
        let outcome = vector.outcome();
        match vector.expect.as_str() {
            "accept" => assert_eq!(outcome, Ok(vector.secret), "{}", vector.id),
            "reject" => assert!(outcome.is_err(), "{}", vector.id),
            "ping" => {
                let request = vector.request();
                let verified = outcome.is_ok();
                let content = verified.then(|| content(vector.provider, &request).unwrap());
                let reply = handshake(vector.provider, &request, content.as_ref());
                assert_eq!(reply.unwrap().status, 200, "{}", vector.id);
                assert_eq!(verified, vector.id != "bitbucket-dc-ping", "{}", vector.id);
            }
            other => panic!("{}: {other}", vector.id),
        }
    }
}

#[test]
fn none_but_pings_are_taken_for_one() {
    for vector in all().into_iter().filter(|vector| vector.expect == "accept") {
        let request = vector.request();
        let content = content(vector.provider, &request).unwrap();
        assert_eq!(
            handshake(vector.provider, &request, None),
            None,
            "{}",
            vector.id
        );
        assert_eq!(
            handshake(vector.provider, &request, Some(&content)),
            None,
            "{}",
            vector.id
        );
    }
}

#[test]
fn every_accepted_vector_has_its_facts() {
    for vector in all().into_iter().filter(|vector| vector.expect == "accept") {
        let request = vector.request();
        let content = content(vector.provider, &request).unwrap();
        let facts = facts(vector.provider, &vector.settings, &request, &content);
        let told = [facts.event_type, facts.delivery_id, facts.key];
        assert_eq!(Some(told), vector.facts, "{}", vector.id);
    }
}

#[test]
fn every_provider_has_a_vector_that_is_accepted() {
    let vectors = all();
    let accepted = vectors.iter().filter(|vector| vector.expect == "accept");
    let seen: BTreeSet<&str> = accepted.map(|vector| vector.provider.name).collect();
    let known: BTreeSet<&str> = PROVIDERS.iter().map(|provider| provider.name).collect();
    assert_eq!(seen, known);
}

#[test]
fn what_is_accepted_is_well_configured() {
    for vector in all().into_iter().filter(|vector| vector.expect == "accept") {
        assert_eq!(
            check(vector.provider, &vector.settings),
            [],
            "{}",
            vector.id
        );
        for secret in &vector.secrets {
            let problem = check_secret(vector.provider, &vector.settings, secret);
            assert_eq!(problem, None, "{}", vector.id);
        }
    }
}

#[test]
fn refusals_say_what_is_wrong() {
    let kinds = [
        ("github-sha1-only", "missing"),
        ("github-reserialised", "mismatch"),
        ("github-truncated", "malformed"),
        ("gitlab-token-prefix", "mismatch"),
        ("gitea-no-secret", "malformed"),
        ("slack-stale", "stale"),
        ("standard-webhooks-stale", "stale"),
        ("standard-webhooks-future", "stale"),
        ("generic-sha1", "not-allowed"),
        ("gar-pubsub-other-account", "not-allowed"),
        ("token-alg-none", "not-allowed"),
        ("token-alg-hs256", "not-allowed"),
    ];
    for (id, kind) in kinds {
        let refusal = one(id).outcome().unwrap_err();
        assert_eq!(refusal.kind(), kind, "{id}: {refusal}");
    }
    assert_eq!(
        one("slack-stale").outcome(),
        Err(Refusal::Stale { seconds: 301 })
    );
}
