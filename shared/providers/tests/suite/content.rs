//! The event inside a body, and what makes it the same as another one.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue};
use providers::{
    Content, ContentError, Facts, Hmac, HmacOptions, Identity, Request, content, facts, provider,
};
use serde_json::json;

use crate::vector::{Vector, all, one};

fn read(vector: &Vector) -> Result<Content<'_>, ContentError> {
    content(vector.provider, &vector.request())
}

fn known(vector: &Vector) -> Facts {
    facts(
        vector.provider,
        &vector.settings,
        &vector.request(),
        &read(vector).unwrap(),
    )
}

#[test]
fn a_form_gives_the_same_event_as_json() {
    for (form, plain) in [("github-form", "github-json"), ("gitea-form", "gitea-json")] {
        let (form, plain) = (one(form), one(plain));
        assert_eq!(read(&form).unwrap(), read(&plain).unwrap());
        assert_eq!(read(&form).unwrap().bytes, plain.body);
    }
}

#[test]
fn json_is_handed_on_byte_for_byte() {
    let untouched = [
        "github",
        "gitlab",
        "stripe",
        "generic-hmac",
        "standard-webhooks",
        "bearer",
    ];
    for vector in all().into_iter().filter(|vector| vector.expect == "accept") {
        if untouched.contains(&vector.provider.name) && vector.id != "github-form" {
            assert!(
                matches!(read(&vector).unwrap().bytes, Cow::Borrowed(bytes) if bytes == vector.body)
            );
        }
    }
}

#[test]
fn slack_sends_fields_and_payloads_and_its_old_token_is_dropped() {
    let command = one("slack-command");
    let expected = json!({"team_id": "T0TEST", "command": "/deploy", "text": "prod v1.2.3", "user_id": "U0TEST"});
    let told = read(&command).unwrap();
    assert_eq!(told.json, Some(expected.clone()));
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&told.bytes).unwrap(),
        expected
    );
    let action = one("slack-action");
    let told = read(&action).unwrap();
    let json = told.json.as_ref().unwrap();
    assert_eq!(json.pointer("/actions/0/value"), Some(&json!("prod")));
    assert_eq!(json.get("token"), None);
    assert!(
        !String::from_utf8(told.bytes.into_owned())
            .unwrap()
            .contains("unused")
    );
}

#[test]
fn an_old_gitea_does_not_get_its_secret_stored() {
    let mut vector = one("gitea-json");
    vector.body = br#"{"secret":"hunter2","ref":"refs/heads/main"}"#.to_vec();
    let told = read(&vector).unwrap();
    assert_eq!(told.bytes, br#"{"ref":"refs/heads/main"}"#.as_slice());
    assert_eq!(told.json, Some(json!({"ref": "refs/heads/main"})));
}

#[test]
fn envelopes_are_taken_off() {
    let pub_sub = one("gar-pubsub");
    let told = read(&pub_sub).unwrap();
    assert_eq!(
        told.json.as_ref().unwrap()["tag"],
        "europe-docker.example.invalid/p/r/app:v1"
    );
    assert_eq!(told.attributes["messageId"], "9000000000000001");
    for id in [
        "cloudevents-structured",
        "harbor-cloudevents",
        "cdevents-binary",
        "knative-broker-path",
    ] {
        let vector = one(id);
        let told = read(&vector).unwrap();
        for name in ["specversion", "id", "source", "type"] {
            assert!(told.attributes.contains_key(name), "{id}: {name}");
        }
        assert!(told.json.unwrap().get("specversion").is_none());
    }
}

#[test]
fn attributes_of_a_message_cannot_replace_its_identity() {
    let mut vector = one("gar-pubsub");
    vector.body =
        br#"{"message":{"data":"e30=","attributes":{"messageId":"1","subscription":"s","a":"b"}}}"#
            .to_vec();
    let told = read(&vector).unwrap();
    assert_eq!(
        told.attributes.into_iter().collect::<Vec<_>>(),
        [("a".to_owned(), "b".to_owned())]
    );
    assert_eq!(known(&vector).identity, Identity::Digest);
}

#[test]
fn the_values_of_the_binary_mode_are_percent_encoded() {
    let mut vector = one("cdevents-binary");
    vector.set("ce-source", b"/caf%C3%A9");
    assert_eq!(read(&vector).unwrap().attributes["source"], "/caf\u{e9}");
}

#[test]
fn envelopes_that_are_wrong_are_refused() {
    let structured = one("cloudevents-structured");
    let bodies = [
        r#"{"specversion":"1.0","id":"1","source":"/a"}"#,
        r#"{"specversion":"0.3","id":"1","source":"/a","type":"t"}"#,
        r#"{"specversion":"1.0","id":"","source":"/a","type":"t"}"#,
        r#"{"specversion":"1.0","id":"1","source":"/a","type":"t","data":1,"data_base64":"AA=="}"#,
        r#"{"specversion":"1.0","id":"1","source":"/a","type":"t","data_base64":"?"}"#,
        r#"{"specversion":"1.0","id":"1","source":"/a","type":"t","data_base64":1}"#,
        "[]",
    ];
    for body in bodies {
        let vector = Vector {
            body: body.into(),
            ..structured.clone()
        };
        assert!(
            matches!(read(&vector), Err(ContentError::Envelope(_))),
            "{body}"
        );
    }
    for media_type in [
        "application/cloudevents-batch+json",
        "application/cloudevents+avro",
    ] {
        let mut vector = structured.clone();
        vector.set("content-type", media_type.as_bytes());
        let refused = read(&vector).unwrap_err();
        assert!(matches!(refused, ContentError::Format(_)), "{media_type}");
        let status = refused.turned_away().map(|status| status.as_u16());
        assert_eq!(status, Some(415), "{media_type}");
    }
    let mut binary = one("cdevents-binary");
    binary
        .headers
        .append("ce-id", http::HeaderValue::from_static("other"));
    assert!(matches!(read(&binary), Err(ContentError::Envelope(_))));
    for body in [r#"{"message":{"data":"?"}}"#, "{}", r#"{"message":1}"#] {
        let vector = Vector {
            body: body.into(),
            ..one("gar-pubsub")
        };
        assert!(
            matches!(read(&vector), Err(ContentError::Envelope(_))),
            "{body}"
        );
    }
}

#[test]
fn data_of_an_event_may_be_missing_or_binary() {
    let mut vector = one("cloudevents-structured");
    vector.body = br#"{"specversion":"1.0","id":"1","source":"/a","type":"t"}"#.to_vec();
    assert_eq!(read(&vector).unwrap().json, None);
    vector.body =
        br#"{"specversion":"1.0","id":"1","source":"/a","type":"t","data_base64":"/w=="}"#.to_vec();
    assert_eq!(read(&vector).unwrap().bytes, [0xff].as_slice());
    vector.body =
        br#"{"specversion":"1.0","id":"1","source":"/a","type":"t","data_base64":"e30="}"#.to_vec();
    assert_eq!(read(&vector).unwrap().json, Some(json!({})));
}

#[test]
fn bodies_that_cannot_be_read_are_refused() {
    let mut github = one("github-json");
    let too_deep = "[".repeat(100) + &"]".repeat(100);
    for (body, kind) in [
        ("", "not-json"),
        ("{", "not-json"),
        ("{} {}", "not-json"),
        (too_deep.as_str(), "too-complex"),
    ] {
        github.body = body.into();
        assert_eq!(read(&github).unwrap_err().kind(), kind, "{body}");
    }
    github.body = vec![b' '; github.provider.body_bytes + 1];
    let limit = github.provider.body_bytes;
    assert_eq!(read(&github), Err(ContentError::TooLarge { limit }));
    let mut form = one("github-form");
    for body in ["", "a=b", "payload=1&payload=2", "payload"] {
        form.body = body.into();
        assert!(read(&form).is_err(), "{body}");
    }
    let mut gitlab = one("gitlab-token");
    gitlab.set("content-type", b"application/x-www-form-urlencoded");
    gitlab.body = b"payload=%7B%7D".to_vec();
    assert_eq!(read(&gitlab), Err(ContentError::NoForms("gitlab")));
}

#[test]
fn a_compressed_body_is_refused() {
    let mut vector = one("github-json");
    vector.set("content-encoding", b"identity");
    assert!(read(&vector).is_ok());
    vector.set("content-encoding", b"gzip");
    assert_eq!(read(&vector).unwrap_err().kind(), "encoded");
    vector.headers.append(
        "content-encoding",
        http::HeaderValue::from_static("identity"),
    );
    assert_eq!(read(&vector).unwrap_err().kind(), "encoded");
}

#[test]
fn what_need_not_be_json_may_be_anything() {
    let mut vector = one("generic-sha256");
    vector.body = b"\xff\x00 not JSON".to_vec();
    let told = read(&vector).unwrap();
    assert_eq!(
        (told.json, told.bytes),
        (None, Cow::Borrowed(vector.body.as_slice()))
    );
}

#[test]
fn identities_say_where_they_come_from() {
    for (id, identity) in [
        ("github-json", Identity::Named),
        ("flux-alert", Identity::Digest),
        ("bearer", Identity::None),
        ("harbor", Identity::Digest),
        ("harbor-cloudevents", Identity::Named),
    ] {
        assert_eq!(known(&one(id)).identity, identity, "{id}");
    }
}

#[test]
fn a_redelivery_has_the_same_key_and_another_event_another() {
    let first = one("github-json");
    let mut second = first.clone();
    second.set("x-github-event", b"pull_request");
    assert_eq!(known(&first).key, known(&second).key);
    second.set("x-github-hook-id", b"1002");
    assert_ne!(known(&first).key, known(&second).key);
    second.headers.remove("x-github-delivery");
    assert_eq!(known(&second).identity, Identity::Digest);
    // A header that comes twice names nothing.
    let mut twice = first.clone();
    twice
        .headers
        .append("x-github-delivery", http::HeaderValue::from_static("other"));
    assert_eq!(known(&twice).identity, Identity::Digest);
}

#[test]
fn gitlab_before_idempotency_keys_has_two_ids_for_one_event() {
    let mut vector = one("gitlab-token");
    vector.headers.remove("idempotency-key");
    let expected = "x-gitlab-event-uuid=00000000-0000-4000-8000-0000000000b1&\
                    x-gitlab-webhook-uuid=00000000-0000-4000-8000-0000000000b2";
    assert_eq!(known(&vector).key, expected);
}

#[test]
fn keys_and_texts_are_bounded() {
    let mut vector = one("stripe");
    let id = "\u{e9}".repeat(4000);
    vector.body = json!({"id": id, "type": id}).to_string().into_bytes();
    let long = known(&vector);
    assert!(
        long.key.starts_with("key-sha256:") && long.key.len() < 100,
        "{}",
        long.key
    );
    assert_eq!((long.event_type.len(), long.delivery_id.len()), (256, 256));
    vector.body = json!({"id": id.clone() + "x", "type": 7})
        .to_string()
        .into_bytes();
    let other = known(&vector);
    assert_ne!(other.key, long.key);
    assert_eq!(other.event_type, "7");
    // Neither text nor a number: nothing is told.
    vector.body = br#"{"id":{"a":1},"type":null}"#.to_vec();
    assert_eq!(known(&vector).identity, Identity::Digest);
}

#[test]
fn what_quay_repeats_is_known_for_a_while_and_a_second_push_is_another_event() {
    let quay = one("quay");
    let at = |now: i64| known(&quay).at(now);
    // Windows of a minute begin at 1,699,999,980 and 1,700,000,040.
    let first = at(1_700_000_039);
    let is_again = |now: i64| {
        let again = at(now);
        again.key == first.key || again.earlier.as_ref() == Some(&first.key)
    };
    assert_eq!(first.identity, Identity::Digest);
    assert!(is_again(1_700_000_039 + 40), "the repetition after 30 s");
    assert!(is_again(1_699_999_980) && is_again(1_700_000_099));
    assert!(!is_again(1_700_000_100) && !is_again(1_700_000_039 + 120));
    assert!(first.key.starts_with("sha256:") && first.key.len() < 512);
}

#[test]
fn identical_bodies_of_any_sender_are_events_of_their_own_unless_the_hook_says_for_how_long_not() {
    let mut vector = one("generic-sha256");
    let told = known(&vector).at(1_700_000_000);
    assert_eq!(
        (told.key.as_str(), told.identity),
        ("", Identity::None),
        "whoever records it makes one up"
    );
    let options = HmacOptions {
        duplicate_seconds: Some(300),
        ..HmacOptions::default()
    };
    vector.settings.hmac = Some(Hmac::new(options).unwrap());
    let told = known(&vector).at(1_700_000_000);
    let (again, later) = (
        known(&vector).at(1_700_000_000 + 299),
        known(&vector).at(1_700_000_000 + 600),
    );
    assert!(again.key == told.key || again.earlier.as_ref() == Some(&told.key));
    assert!(later.key != told.key && later.earlier.as_ref() != Some(&told.key));
}

#[test]
fn a_body_with_a_time_of_its_own_is_the_same_event_for_ever() {
    let hub = one("dockerhub");
    let told = known(&hub);
    assert_eq!(told.clone().at(0), told.at(1_700_000_000));
}

/// The header is not signed: whoever captured such a request could send it again with another one.
#[test]
fn what_begins_as_json_is_never_read_as_a_form() {
    let body = br#" {"text":"&payload={\"ref\":\"refs/heads/main\"}&command=/deploy","ref":"x"}"#;
    for provider in ["github", "gitea", "slack", "cloudsmith"] {
        let mut headers = http::HeaderMap::new();
        let form = http::HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert("content-type", form);
        let request = Request {
            headers: &headers,
            query: "",
            token: None,
            body,
        };
        let provider = providers::provider(provider).unwrap();
        let told = content(provider, &request).unwrap();
        assert_eq!(told.json.unwrap()["ref"], "x", "{}", provider.name);
        assert_eq!(told.bytes, body.as_slice());
    }
}

/// What is hidden costs no more memory than it can, and what is not costs what it does.
#[test]
fn how_an_event_is_wrapped_changes_little_of_the_memory_that_it_takes() {
    let commits = |count| json!({"commits": vec![json!({"id": "a".repeat(40)}); count]});
    let memory = |name: &str, media_type: &'static str, body: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static(media_type));
        let body = body.as_bytes();
        let request = Request {
            headers: &headers,
            query: "",
            token: None,
            body,
        };
        providers::content::memory(provider(name).unwrap(), &request)
    };
    let event = commits(100);
    let plain = memory("github", "application/json", &event.to_string());
    let form: String = form_urlencoded::Serializer::new(String::new())
        .append_pair("payload", &event.to_string())
        .finish();
    let form = memory("github", "application/x-www-form-urlencoded", &form);
    let wrapped = json!({"specversion": "1.0", "data": event}).to_string();
    let wrapped = memory("cloudevents", "application/cloudevents+json", &wrapped);
    for other in [form, wrapped] {
        assert!((plain..plain * 3 / 2).contains(&other), "{plain}, {other}");
    }
    // The worst that there is.
    let worst = format!("[{}0]", r#"{"":0},"#.repeat(1000));
    let plain = memory("github", "application/json", &worst);
    let hidden = json!({"data_base64": STANDARD.encode(&worst)}).to_string();
    assert!(memory("cloudevents", "application/cloudevents+json", &hidden) > plain);
    let fields = "a=&".repeat(1000);
    assert!(memory("slack", "application/x-www-form-urlencoded", &fields) > 100 * fields.len());
}
