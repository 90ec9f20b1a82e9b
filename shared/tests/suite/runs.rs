//! Where a run differs from the latest content: names, payloads, digests.

use flows::{
    Emitted, Format, Label, Lowering, Payload, Request, Scope, Settings, emit, label, parse,
};
use serde_json::Value;

const DOCUMENT: &str = r#"{"name": "Shop CI", "labels": {"namespace": "blue"}, "steps": [
    {"name": "a", "runtime": "i", "package": "p", "function": "f", "input": {"secret": [{"name": "S", "value": "v"}]}}]}"#;

fn emitted(document: &str, change: impl FnOnce(&mut Request<'_>)) -> Emitted {
    let flow = parse(Format::Artisan, document.as_bytes(), &Lowering::default()).unwrap();
    let mut request = Request {
        scope: Scope::Document,
        event: "one",
        traceparent: None,
        payload: None,
    };
    change(&mut request);
    let namespace: Label = "blue".parse().unwrap();
    emit(&flow, &namespace, &request, &Settings::default())
}

fn annotation<'a>(emitted: &'a Emitted, key: &str) -> &'a str {
    &emitted.run.object.metadata.annotations[key]
}

#[test]
fn the_same_event_gives_the_same_run_though_the_stored_flow_was_renamed() {
    let key = |request: &mut Request<'_>| request.scope = Scope::Key("art_flow_Shop CI");
    let one = emitted(DOCUMENT, key);
    let other = emitted(&DOCUMENT.replace("Shop CI", "Renamed"), key);
    assert_eq!(one.run.name, other.run.name);
    assert!(one.run.name.as_str().starts_with("shop-ci-pr-"));
    assert_ne!(
        annotation(&one, label::SNAPSHOT),
        annotation(&other, label::SNAPSHOT)
    );
}

#[test]
fn equal_events_of_different_addressees_give_different_runs() {
    let scopes = [
        Scope::Document,
        Scope::Key("Shop CI"),
        Scope::Key("ART_FLOW_Shop CI"),
        Scope::Name("Shop CI"),
    ];
    let names: std::collections::BTreeSet<_> = scopes
        .iter()
        .map(|scope| emitted(DOCUMENT, |request| request.scope = *scope).run.name)
        .collect();
    assert_eq!(names.len(), scopes.len());
}

#[test]
fn a_payload_and_a_trace_are_not_part_of_a_name() {
    let plain = emitted(DOCUMENT, |_| ());
    let other = emitted(DOCUMENT, |request| {
        request.payload = Some(Payload::Inline(b"\xff\0binary"));
        request.traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    });
    assert_eq!(plain.run.name, other.run.name);
    assert_ne!(
        annotation(&plain, label::SNAPSHOT),
        annotation(&other, label::SNAPSHOT)
    );
    assert_eq!(
        annotation(&other, label::SPAN_CONTEXT),
        r#"{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}"#
    );
    assert_eq!(plain.latest, other.latest);
}

#[test]
fn a_url_that_is_signed_anew_is_the_same_payload() {
    let remote = |url, digest| {
        emitted(DOCUMENT, |request| {
            request.payload = Some(Payload::Remote {
                url,
                digest,
                size: 7,
            })
        })
    };
    let one = remote("https://h/o?signature=1", "sha256:00");
    assert_eq!(
        annotation(&one, label::SNAPSHOT),
        annotation(
            &remote("https://h/o?signature=2", "sha256:00"),
            label::SNAPSHOT
        )
    );
    assert_ne!(
        annotation(&one, label::SNAPSHOT),
        annotation(
            &remote("https://h/o?signature=1", "sha256:01"),
            label::SNAPSHOT
        )
    );
}

#[test]
fn copies_vanish_with_their_run() {
    let Emitted { run, .. } = emitted(DOCUMENT, |_| ());
    let name = run.name.clone();
    let [copy] = <[_; 1]>::try_from(run.copies).unwrap();
    let copy: Value = serde_json::from_slice(&copy.owned_by(&name, "some-uid").to_json()).unwrap();
    let owner = copy.pointer("/metadata/ownerReferences/0").unwrap();
    assert_eq!(owner["kind"], "PipelineRun");
    assert_eq!(owner["name"], name.as_str());
    assert_eq!(owner["uid"], "some-uid");
    assert_eq!(copy["immutable"], true);
    assert_eq!(copy["metadata"]["labels"][label::RUN], name.as_str());
}
