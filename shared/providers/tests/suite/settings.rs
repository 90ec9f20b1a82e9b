//! Configurations that make no sense are told of before the first request.

use providers::{
    Hmac, HmacOptions, Problem, Settings, Token, check, check_secret, check_together, needs_secret,
    provider,
};

fn places(problems: &[Problem]) -> Vec<&str> {
    problems
        .iter()
        .map(|problem| problem.place.as_str())
        .collect()
}

fn wrong(change: impl FnOnce(&mut HmacOptions)) -> Vec<String> {
    let mut options = HmacOptions::default();
    change(&mut options);
    let problems = Hmac::new(options).unwrap_err();
    assert!(problems.iter().all(|problem| !problem.message.is_empty()));
    problems.into_iter().map(|problem| problem.place).collect()
}

#[test]
fn the_default_signature_makes_sense() {
    assert!(Hmac::new(HmacOptions::default()).is_ok());
}

#[test]
fn signatures_that_make_no_sense_are_told_of() {
    assert_eq!(
        wrong(|it| it.algorithms = vec!["md5".into()]),
        ["hmac.algorithms"]
    );
    assert_eq!(wrong(|it| it.algorithms.clear()), ["hmac.algorithms"]);
    assert_eq!(wrong(|it| it.prefix = String::new()), ["hmac.algorithms"]);
    assert_eq!(
        wrong(|it| it.encoding = "hexadecimal".into()),
        ["hmac.encoding"]
    );
    assert_eq!(
        wrong(|it| it.signed = "{timestamp}.{body}".into()),
        ["hmac.timestampHeader"]
    );
    assert_eq!(
        wrong(|it| it.signed = "{id}.{body}".into()),
        ["hmac.idHeader"]
    );
    for signed in ["", "body", "{body}{body}"] {
        assert_eq!(
            wrong(|it| it.signed = signed.into()),
            ["hmac.signed"],
            "{signed}"
        );
    }
    for signed in ["{body", "{secret}{body}", "{{body}}"] {
        assert_eq!(
            wrong(|it| it.signed = signed.into()),
            ["hmac.signed"],
            "{signed}"
        );
    }
    assert_eq!(
        wrong(|it| it.timestamp_header = Some("X-Time".into())),
        ["hmac.timestampHeader"]
    );
    assert_eq!(wrong(|it| it.header = "no header".into()), ["hmac.header"]);
    assert_eq!(
        wrong(|it| it.event_pointer = Some("type".into())),
        ["hmac.eventPointer"]
    );
    assert_eq!(
        wrong(|it| it.tolerance_seconds = 100_000),
        ["hmac.toleranceSeconds"]
    );
    for seconds in [0, 86_401] {
        assert_eq!(
            wrong(|it| it.duplicate_seconds = Some(seconds)),
            ["hmac.duplicateSeconds"]
        );
    }
}

#[test]
fn a_secret_that_counts_for_nothing_beside_another_one_is_told_of() {
    let signing = b"whsec_dGhlIHNlY3JldCBvZiB0aGUgdGVzdHMsIHdob2xl".to_vec();
    let plain = b"a plain token".to_vec();
    let idle = |name: &str, settings: &Settings, secrets: &[&Vec<u8>]| {
        let secrets: Vec<Vec<u8>> = secrets.iter().map(|secret| (*secret).clone()).collect();
        let found = check_together(provider(name).unwrap(), settings, &secrets);
        for (at, why) in &found {
            assert!(why.contains("`verification.legacy: true`"), "{at}: {why}");
        }
        found.into_iter().map(|(at, _)| at).collect::<Vec<_>>()
    };
    let (none, legacy) = (
        Settings::default(),
        Settings {
            legacy: true,
            ..Settings::default()
        },
    );
    assert_eq!(idle("gitlab", &none, &[&plain, &signing]), [0]);
    assert_eq!(idle("gitlab", &none, &[&signing, &plain, &signing]), [1]);
    assert_eq!(idle("gitlab", &legacy, &[&plain, &signing]), [0; 0]);
    assert_eq!(idle("gitlab", &none, &[&plain, &plain]), [0; 0]);
    assert_eq!(idle("github", &none, &[&plain, &plain]), [0; 0]);
    let token = Settings {
        token: Some(Token {
            audience: "a".into(),
            account: "b".into(),
            issuer: Some("c".into()),
        }),
        ..Settings::default()
    };
    assert_eq!(idle("knative-broker", &token, &[&plain]), [0]);
    assert_eq!(idle("knative-broker", &none, &[&plain]), [0; 0]);
    let chosen = Settings {
        header: Some("X-Key".into()),
        ..Settings::default()
    };
    assert_eq!(idle("azure-devops", &chosen, &[&plain]), [0; 0]);
}

#[test]
fn a_token_of_a_path_is_what_a_url_carries_as_it_is() {
    let hub = provider("docker-hub").unwrap();
    let wrong = |secret: &str| check_secret(hub, &Settings::default(), secret.as_bytes());
    assert_eq!(wrong("0123456789abcdefABCDEF-._~"), None);
    for secret in [
        "short",
        "0123456789abcde/",
        "0123456789abcde+",
        "0123456789abcde=",
        "0123456789abcde%",
        "0123456789abcde ",
        "0123456789abcde\u{e9}",
    ] {
        let told = wrong(secret).expect(secret);
        assert!(told.contains("`-._~`") && !told.contains(secret), "{told}");
    }
}

#[test]
fn all_problems_are_told_of_at_once() {
    let places = wrong(|it| {
        it.algorithms = vec!["md5".into(), "sha3".into()];
        it.encoding = String::new();
        it.signed = String::new();
        it.header = String::new();
    });
    assert_eq!(
        places,
        [
            "hmac.algorithms",
            "hmac.algorithms",
            "hmac.encoding",
            "hmac.signed",
            "hmac.header"
        ]
    );
}

#[test]
fn settings_have_to_fit_the_provider() {
    let header = Settings {
        header: Some("X-Token".to_owned()),
        ..Settings::default()
    };
    let hmac = Settings {
        hmac: Hmac::new(HmacOptions::default()).ok(),
        ..Settings::default()
    };
    let token = |issuer: Option<&str>| Settings {
        token: Some(Token {
            audience: "a".to_owned(),
            account: "b".to_owned(),
            issuer: issuer.map(str::to_owned),
        }),
        ..Settings::default()
    };
    let empty = Settings {
        token: Some(Token::default()),
        ..Settings::default()
    };
    let cases: [(&str, &Settings, &[&str]); 13] = [
        ("github", &Settings::default(), &[]),
        ("github", &header, &["header"]),
        ("acr", &header, &[]),
        ("github", &hmac, &["hmac"]),
        ("generic-hmac", &hmac, &[]),
        ("github", &token(None), &["token"]),
        ("gar-pubsub", &Settings::default(), &["token"]),
        ("gar-pubsub", &token(None), &[]),
        ("gar-pubsub", &token(Some("i")), &["token.issuer"]),
        ("gar-pubsub", &empty, &["token.audience", "token.account"]),
        ("knative-broker", &Settings::default(), &[]),
        ("knative-broker", &token(None), &["token.issuer"]),
        ("knative-broker", &token(Some("i")), &[]),
    ];
    for (name, settings, expected) in cases {
        assert_eq!(
            places(&check(provider(name).unwrap(), settings)),
            expected,
            "{name}"
        );
    }
    let no_header = Settings {
        header: Some("not a header".to_owned()),
        ..Settings::default()
    };
    assert_eq!(
        places(&check(provider("acr").unwrap(), &no_header)),
        ["header"]
    );
}

#[test]
fn secrets_have_to_fit_the_provider_and_are_never_told() {
    let cases: [(&str, &str, bool); 20] = [
        ("github", "hunter2", true),
        ("github", "", false),
        ("github", "hunter2\n", false),
        ("gitlab", "hunter2", true),
        // 7, 23, 24, 64 and 65 bytes.
        ("gitlab", "whsec_aHVudGVyMg==", false),
        ("gitlab", "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=", false),
        ("gitlab", "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz", true),
        (
            "standard-webhooks",
            "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMw==",
            true,
        ),
        (
            "standard-webhooks",
            "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ=",
            false,
        ),
        ("gitlab", "whsec_", false),
        ("gitlab", "whsec_hunter2!", false),
        ("standard-webhooks", "hunter2", false),
        ("standard-webhooks", "whsec_", false),
        (
            "standard-webhooks",
            "whpk_scJrkHS9x2TNxqZr/bxsqbH501Fhnbx/ZL5v2WCQ3ys=",
            true,
        ),
        ("standard-webhooks", "whpk_aHVudGVyMg==", false),
        ("basic", "hunter2", false),
        ("basic", "user:hunter2", true),
        ("quay", "hunter2", false),
        ("quay", "hunter2hunter2hunter2", true),
        ("gar-pubsub", "hunter2", false),
    ];
    for (name, secret, fine) in cases {
        let problem = check_secret(
            provider(name).unwrap(),
            &Settings::default(),
            secret.as_bytes(),
        );
        assert_eq!(problem.is_none(), fine, "{name}: {problem:?}");
        assert!(!problem.unwrap_or_default().contains("hunter2"));
    }
}

#[test]
fn only_a_signed_token_makes_a_secret_needless() {
    let token = Settings {
        token: Some(Token::default()),
        ..Settings::default()
    };
    let plain = Settings::default();
    let cases = [
        ("github", &plain, true),
        ("github", &token, true),
        ("gar-pubsub", &plain, false),
        ("gar-pubsub", &token, false),
        ("knative-broker", &plain, true),
        ("knative-broker", &token, false),
    ];
    for (name, settings, needed) in cases {
        assert_eq!(
            needs_secret(provider(name).unwrap(), settings),
            needed,
            "{name}"
        );
    }
}

#[test]
fn a_problem_says_its_place() {
    let problems = Hmac::new(HmacOptions {
        encoding: "oct".to_owned(),
        ..HmacOptions::default()
    });
    let text = problems.unwrap_err()[0].to_string();
    assert_eq!(
        text,
        "hmac.encoding: `oct` is not known; use `hex` or `base64`"
    );
}

#[test]
fn what_proves_a_sender_is_in_no_header_that_is_kept() {
    let places = |name: &str, settings: &Settings| {
        let found = check(provider(name).unwrap(), settings);
        places(&found)
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    for (name, header) in [
        ("bearer", "User-Agent"),
        ("bearer", "Idempotency-Key"),
        ("cloudevents", "CE-Subject"),
        ("acr", "content-type"),
    ] {
        let settings = |header: &str| Settings {
            header: Some(header.to_owned()),
            ..Settings::default()
        };
        assert_eq!(places(name, &settings(header)), ["header"], "{header}");
        assert!(places(name, &settings("X-Token")).is_empty());
    }
    let settings = |header: &str| {
        let options = HmacOptions {
            header: header.to_owned(),
            ..HmacOptions::default()
        };
        Settings {
            hmac: Some(Hmac::new(options).unwrap()),
            ..Settings::default()
        }
    };
    assert_eq!(
        places("generic-hmac", &settings("User-Agent")),
        ["hmac.header"]
    );
    assert!(places("generic-hmac", &settings("X-Signature")).is_empty());
}
