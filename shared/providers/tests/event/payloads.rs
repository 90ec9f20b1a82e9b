//! Walks `tests/payloads/<provider>`: each payload, as the provider sends it, is beside the event that it becomes.
//!
//! Of what is expected, `type` is given, since most providers tell it in a header. `UPDATE_FIXTURES=1` rewrites the
//! rest; for a new payload, write `{"type": "…"}` beside it first.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
};

use http::HeaderMap;
use providers::{Event, PROVIDERS, Request, content, event, provider::Proof};
use serde_json::Value;

use crate::forks;

/// Providers whose payloads have no common shape, so that only the type of their events is known.
const ANY_SHAPE: &[&str] = &[
    "basic",
    "bearer",
    "cloudevents",
    "cloudsmith",
    "dependency-track",
    "generic-hmac",
    "knative-broker",
    "pagerduty",
    "standard-webhooks",
];

struct Case {
    provider: String,
    payload: PathBuf,
    expected: PathBuf,
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/payloads");
    let of_provider = |folder: PathBuf| {
        let provider = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let files = entries(&folder).into_iter();
        let payloads = files.filter(|path| !path.to_str().unwrap().ends_with(".event.json"));
        payloads
            .map(|payload| Case {
                provider: provider.clone(),
                expected: payload.with_extension("event.json"),
                payload,
            })
            .collect::<Vec<_>>()
    };
    entries(&folder).into_iter().flat_map(of_provider).collect()
}

/// The event that a payload becomes, out of the envelope that it travels in.
fn read(case: &Case, event_type: &str) -> Event {
    let provider =
        providers::provider(&case.provider).expect("the folder is named after a provider");
    let mut headers = HeaderMap::new();
    let structured = fs::read_to_string(&case.payload)
        .unwrap()
        .contains("\"specversion\"");
    let media_type = if structured {
        "application/cloudevents+json"
    } else {
        "application/json"
    };
    headers.insert("content-type", media_type.parse().unwrap());
    let body = fs::read(&case.payload).unwrap();
    let request = Request {
        headers: &headers,
        query: "",
        token: None,
        body: &body,
    };
    let content = content(provider, &request).unwrap();
    event::of(provider.name, event_type, content.json.as_ref())
}

#[test]
fn payloads_become_these_events() {
    let mut wrong = vec![];
    for case in cases() {
        let expected = fs::read_to_string(&case.expected)
            .unwrap_or_else(|_| panic!("{} is missing", case.expected.display()));
        let expected: Value = serde_json::from_str(&expected).unwrap();
        let event = read(&case, expected["type"].as_str().unwrap());
        let actual = serde_json::to_value(&event).unwrap();
        if actual == expected {
            continue;
        }
        let pretty = serde_json::to_string_pretty(&actual).unwrap() + "\n";
        if env::var_os("UPDATE_FIXTURES").is_some() {
            fs::write(&case.expected, pretty).unwrap();
        } else {
            wrong.push(format!("{} became {pretty}", case.payload.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_event_reads_back() {
    for case in cases() {
        let text = fs::read_to_string(&case.expected).unwrap();
        let event: Event = serde_json::from_str(&text).unwrap();
        let again: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            serde_json::to_value(&event).unwrap(),
            again,
            "{}",
            case.expected.display()
        );
    }
}

#[test]
fn every_provider_with_a_shape_of_its_own_has_payloads() {
    let with: BTreeSet<String> = cases().into_iter().map(|case| case.provider).collect();
    for provider in PROVIDERS {
        let any = ANY_SHAPE.contains(&provider.name);
        assert_ne!(any, with.contains(provider.name), "{}", provider.name);
    }
}

/// A payload and a type that belong to different providers, or to different events of one: the type is often in a header
/// that nobody signs, so that whoever holds one signed payload claims any type for it.
#[test]
fn foreign_payloads_do_no_harm() {
    let read = |path: &Path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let cases: Vec<(String, Value, Value)> = cases()
        .into_iter()
        .map(|case| (case.provider, read(&case.payload), read(&case.expected)))
        .collect();
    let signed = |name: &str| {
        let proofs = providers::provider(name).unwrap().proofs;
        proofs
            .iter()
            .any(|proof| matches!(proof, Proof::Signature(_)))
    };
    let mut kept = 0;
    for (owner, body, meant) in &cases {
        let sent = cases.iter().map(|(provider, _, event)| {
            let event_type = event["type"].as_str().unwrap();
            (provider, event_type)
        });
        let named = forks::TYPES.iter().copied().flatten();
        let named = named.flat_map(|(_, types)| types.iter().copied());
        for (provider, event_type) in sent.chain(named.map(|event_type| (owner, event_type))) {
            let event = event::of(provider, event_type, Some(body));
            assert_eq!(event.r#type, event_type);
            let proposal = &meant["pullRequest"];
            if provider == owner && signed(owner) && proposal.is_object() {
                let context = format!("{owner}: {proposal} as {event_type}");
                let told = event.pull_request.expect(&context);
                // What is known of a fork may become unknown, and never the repository's own.
                let own = told.fork == Some(false);
                assert!(!own || proposal["fork"] == false, "{context}");
                kept += 1;
            }
        }
    }
    assert!(kept > 1000, "{kept}");
}
