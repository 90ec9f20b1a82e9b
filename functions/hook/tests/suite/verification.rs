//! Who is let in, and what the others learn.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD};
use http::{HeaderMap, Method, Request, StatusCode};
use jiff::Timestamp;
use runtime::Body;
use serde_json::{Value, json};

use crate::faults::sweeping;
use crate::support::{NAMESPACE, PUSH, Published, SECRET, Settings, World, build, headers};

async fn told(world: &World, path: &str, headers: &HeaderMap, body: &str) -> (StatusCode, String) {
    let mut request = Request::post(path)
        .body(Body::full(body.as_bytes().to_vec()))
        .unwrap();
    request.headers_mut().clone_from(headers);
    let answer = world.shell.answer(request).await;
    let (parts, body) = answer.into_parts();
    let body = http_body_util::BodyExt::collect(body).await.unwrap();
    let text = String::from_utf8(body.to_bytes().to_vec()).unwrap();
    (parts.status, format!("{:?} {text}", parts.headers))
}

#[tokio::test]
async fn whatever_is_wrong_the_answer_is_the_same_and_nothing_is_stored() {
    let world = Settings::default().start();
    world.hook("shop", json!([build()])).await;
    world
        .hook_of(
            "lost",
            json!({"provider": "github", "verification": {"secretRefs": [{"name": "none"}]}}),
        )
        .await;
    world
        .hook_of(
            "odd",
            json!({"provider": "nobody", "verification": {"secretRefs": [{"name": "shop"}]}}),
        )
        .await;
    let good = headers("1", PUSH, SECRET);
    let forged = headers("1", PUSH, "another secret");
    let mut bare = good.clone();
    bare.remove("x-hub-signature-256");
    let mut twice = good.clone();
    twice.append("x-hub-signature-256", good["x-hub-signature-256"].clone());
    let own = |hook: &str| format!("/hooks/{NAMESPACE}/{hook}");
    world.fail(None);
    let mut answers = Vec::new();
    for (path, headers, body) in [
        (own("shop"), &forged, PUSH),
        (own("shop"), &bare, PUSH),
        (own("shop"), &twice, PUSH),
        (own("shop"), &good, "{}"),
        (own("none"), &good, PUSH),
        (own("lost"), &good, PUSH),
        (own("odd"), &good, PUSH),
        (own("No Name"), &good, PUSH),
        ("/hooks/elsewhere/shop".to_owned(), &good, PUSH),
        (format!("{}/token", own("none")), &good, PUSH),
    ] {
        let path = path.replace(' ', "%20");
        answers.push(told(&world, &path, headers, body).await);
    }
    for answer in &answers {
        assert_eq!(answer, &answers[0]);
    }
    assert_eq!(answers[0].0, StatusCode::UNAUTHORIZED);
    assert_eq!(world.writes(), Vec::<String>::new());
    assert_eq!(world.deliveries().await.len(), 0);
    let elsewhere = world.seen().iter().any(|seen| seen.contains("elsewhere"));
    assert!(
        !elsewhere,
        "the cluster was asked about a namespace that is not allowed"
    );
}

#[tokio::test]
async fn what_is_answered_without_a_proof_is_answered_everywhere() {
    let world = Settings::default().start();
    world.hook("shop", json!([build()])).await;
    let spec =
        json!({"provider": "bitbucket-dc", "verification": {"secretRefs": [{"name": "shop"}]}});
    world.hook_of("forge", spec).await;
    let mut ping = HeaderMap::new();
    ping.insert("x-event-key", "diagnostics:ping".parse().unwrap());
    world.fail(None);
    let mut answers = Vec::new();
    for hook in ["forge", "shop", "nobody", "No%20Name"] {
        answers.push(told(&world, &format!("/hooks/{NAMESPACE}/{hook}"), &ping, "{}").await);
    }
    assert_eq!(answers[0].0, StatusCode::OK, "{answers:?}");
    for answer in &answers {
        assert_eq!(answer, &answers[0]);
    }
    assert_eq!(world.seen(), Vec::<String>::new());
}

#[tokio::test]
async fn a_flood_of_forgeries_is_few_reads_and_at_most_one_write() {
    let world = Settings::default().start();
    world.hook("shop", json!([build()])).await;
    let forged = headers("1", PUSH, "another secret");
    world.fail(None);
    for _ in 0..200 {
        let (status, _) = world.send("shop", &forged, PUSH).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        let (status, _) = world.send("nobody", &forged, PUSH).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    // The status is written beside the answers.
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let seen = world.seen();
    let writes = seen.iter().filter(|one| !one.starts_with("GET ")).count();
    assert_eq!(writes, 1, "{seen:?}");
    // Hook and Secret, also of the name that nobody has: once for each second that this took.
    assert!(seen.len() <= 1 + 4 * 5, "{seen:?}");
    let status = &world.read_hook("shop").await["status"];
    assert_eq!(status["lastRejection"]["reason"], "mismatch");
    assert!(status["rejected"].as_u64().unwrap() >= 1);
}

#[tokio::test]
async fn a_secret_is_replaced_without_a_failed_event() {
    let world = Settings::default().start();
    world.hook("shop", json!([build()])).await;
    world.secret("new", "the new secret").await;
    let refs = |names: &[&str]| {
        let refs: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
        json!({"verification": {"secretRefs": refs}})
    };
    world.edit("shop", refs(&["new", "shop"])).await;
    let send = async |id: &str, secret: &str| {
        let (status, _) = world.send("shop", &headers(id, PUSH, secret), PUSH).await;
        status
    };
    assert_eq!(send("1", SECRET).await, StatusCode::ACCEPTED);
    assert_eq!(send("2", "the new secret").await, StatusCode::ACCEPTED);
    world.edit("shop", refs(&["new"])).await;
    assert_eq!(send("3", SECRET).await, StatusCode::UNAUTHORIZED);
    assert_eq!(send("4", "the new secret").await, StatusCode::ACCEPTED);
    let deliveries = world.deliveries().await;
    let mut used: Vec<_> = deliveries
        .iter()
        .map(|one| one["secret"].as_str().unwrap())
        .collect();
    used.sort_unstable();
    assert_eq!(used, ["new/secret", "new/secret", "shop/secret"]);
}

#[tokio::test]
async fn a_token_in_the_path_is_the_proof_of_those_who_have_no_other() {
    let world = Settings::default().start();
    world
        .secret("hub", "0123456789abcdef0123456789abcdef")
        .await;
    world
        .hook_of(
            "hub",
            json!({
                "provider": "docker-hub",
                "verification": {"secretRefs": [{"name": "hub"}]},
                "rules": [{"name": "scan", "pipelineRef": {"name": "scan"}}],
            }),
        )
        .await;
    let body = r#"{"push_data": {"tag": "v1"}, "repository": {"repo_name": "acme/app"}}"#;
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/json".parse().unwrap());
    let own = format!("/hooks/{NAMESPACE}/hub");
    let good = format!("{own}/0123456789abcdef0123456789abcdef");
    let (status, answer) = told(&world, &good, &headers, body).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    // The same body is the same event, since nothing else tells.
    let (_, again) = told(&world, &good, &headers, body).await;
    assert!(again.contains(r#""duplicate":true"#), "{again}");
    for wrong in [
        own.clone(),
        format!("{own}/0123456789abcdef0123456789abcdee"),
    ] {
        let (status, _) = told(&world, &wrong, &headers, body).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{wrong}");
    }
}

#[tokio::test]
async fn a_secret_that_counts_for_nothing_keeps_its_hook_from_being_ready() {
    let world = Settings::default().start();
    world.secret("plain", "a plain token").await;
    world
        .secret("signing", "whsec_dGhlIHNlY3JldCBvZiB0aGUgdGVzdHMsIHdob2xl")
        .await;
    let spec = json!({
        "provider": "gitlab",
        "verification": {"secretRefs": [{"name": "signing"}, {"name": "plain"}]},
        "rules": [build()],
    });
    world.hook_of("shop", spec).await;
    let mut headers = HeaderMap::new();
    headers.insert("x-gitlab-token", "a plain token".parse().unwrap());
    let (status, _) = told(&world, &format!("/hooks/{NAMESPACE}/shop"), &headers, PUSH).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let ready = async || {
        let swept = world.service.sweep(&sweeping(), Timestamp::now()).await;
        assert_eq!(swept.unwrap().failed, None);
        let hook = world.read_hook("shop").await;
        let ready = &hook["status"]["conditions"][0];
        format!("{} {}", ready["status"], ready["message"])
    };
    let told = ready().await;
    let named = r#"secretRefs[1]: entry \"secret\" of Secret \"plain\""#;
    assert!(
        told.starts_with("\"False\"") && told.contains(named) && told.contains("legacy"),
        "{told}"
    );
    world
        .edit("shop", json!({"verification": {"legacy": true}}))
        .await;
    let told = ready().await;
    assert!(!told.contains("plain"), "{told}");
}

#[tokio::test]
async fn a_batch_of_events_is_turned_away_and_nothing_is_stored() {
    let world = Settings::default().start();
    world.secret("events", "a token of some length").await;
    world
        .hook_of(
            "events",
            json!({"provider": "cloudevents", "verification": {"secretRefs": [{"name": "events"}]}}),
        )
        .await;
    let path = format!("/hooks/{NAMESPACE}/events");
    let mut headers = HeaderMap::new();
    headers.insert(
        "authorization",
        "Bearer a token of some length".parse().unwrap(),
    );
    for media_type in [
        "application/cloudevents-batch+json",
        "application/cloudevents+avro",
    ] {
        headers.insert("content-type", media_type.parse().unwrap());
        let (status, answer) = told(&world, &path, &headers, "[]").await;
        assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{answer}");
    }
    headers.insert("authorization", "Bearer another".parse().unwrap());
    let (status, _) = told(&world, &path, &headers, "[]").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(world.deliveries().await.len(), 0);
}

#[tokio::test]
async fn only_origins_that_are_named_are_welcome() {
    let world = Settings::default().start();
    world.secret("events", "a token of some length").await;
    world
        .hook_of(
            "events",
            json!({"provider": "cdevents", "verification": {
                "secretRefs": [{"name": "events"}],
                "allowedOrigins": ["events.example.invalid"], "allowedRate": 100,
            }}),
        )
        .await;
    for (hook, origin, allowed) in [
        ("events", "events.example.invalid", true),
        ("events", "other.example.invalid", false),
        ("none", "events.example.invalid", false),
    ] {
        let request = Request::builder()
            .method(Method::OPTIONS)
            .uri(format!("/hooks/{NAMESPACE}/{hook}"))
            .header("webhook-request-origin", origin)
            .body(Body::empty())
            .unwrap();
        let answer = world.shell.answer(request).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let told = answer.headers().get("webhook-allowed-origin").is_some();
        assert_eq!(told, allowed, "{hook} {origin}");
    }
}

#[tokio::test]
async fn other_methods_are_405() {
    let world = Settings::default().start();
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::PATCH] {
        let request = Request::builder()
            .method(method)
            .uri(format!("/hooks/{NAMESPACE}/shop"))
            .body(Body::empty())
            .unwrap();
        let answer = world.shell.answer(request).await;
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
}

/// A vector of the providers' tests.
fn vector(id: &str) -> Value {
    let all = include_str!("../../../../shared/providers/tests/vectors.json");
    let all: Vec<Value> = serde_json::from_str(all).unwrap();
    all.into_iter().find(|vector| vector["id"] == id).unwrap()
}

/// The keys that the tokens of the vectors are signed with.
const KEYS: &str = r#"{"keys": [{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "test-kid-1", "n": "qgYpCyWwjfSkRlUKHP9Y7iu-9wJK_iCaqxjuPONK91xXAwZXTgSlWlJnE3oM3kXkLk2BoIS2CHv52ZnXGesNXE7ru1rYa_8ymr6IdX6YhwrpLp1A4tuQeUeNvjkCddCk28tdARKbsojb02zcltApgO2ZJNS84Y3-Ghx2jRuxC0n1RE3PokkMj2LVQ8He9rTza_AJLbg0QmRjy6QTcAeRr2q5RnmHa3Y9rFpr_8SA5N_DPuPDhLTi2xCq8fu9EikEzk33SMDe_uL5meQU1CAiAFoj35ZT0FioeQPFf162iPcGDltJahg7jS_P4wujG15wftRys6Dki0XSz0sEpzp_SQ", "e": "AQAB"}]}"#;

/// The spec of a Hook that takes the tokens of a vector.
fn images(vector: &Value) -> Value {
    json!({
        "provider": "gar-pubsub", "verification": vector["settings"],
        "rules": [{"name": "scan", "pipelineRef": {"name": "scan"}}],
    })
}

/// What a hook that takes tokens of Pub/Sub answers to a vector.
async fn pub_sub(world: &World, vector: &Value) -> StatusCode {
    let mut headers = HeaderMap::new();
    let token = vector["headers"]["Authorization"].as_str().unwrap();
    headers.insert("authorization", token.parse().unwrap());
    headers.insert("content-type", "application/json".parse().unwrap());
    let body = vector["body"].as_str().unwrap();
    let (status, _) = world.send("images", &headers, body).await;
    status
}

#[tokio::test]
async fn a_token_is_let_in_for_its_account_alone() {
    let good = vector("gar-pubsub");
    let keys = Published {
        keys: Some(serde_json::from_str(KEYS).unwrap()),
        ..Published::default()
    };
    let world = Settings {
        keys: keys.clone(),
        clock: || Timestamp::from_second(1_700_000_060).unwrap(),
        ..Settings::default()
    }
    .start();
    world.hook_of("images", images(&good)).await;
    assert_eq!(pub_sub(&world, &good).await, StatusCode::ACCEPTED);
    let other = vector("gar-pubsub-other-account");
    assert_eq!(pub_sub(&world, &other).await, StatusCode::UNAUTHORIZED);
    // A key that nobody knows is no reason to ask again and again.
    let mut unknown = good.clone();
    let token = good["headers"]["Authorization"].as_str().unwrap();
    let (head, rest) = token
        .strip_prefix("Bearer ")
        .unwrap()
        .split_once('.')
        .unwrap();
    let head = URL_SAFE_NO_PAD.decode(head).unwrap();
    let head = String::from_utf8(head)
        .unwrap()
        .replace("test-kid-1", "test-kid-2");
    let unknown_key = format!("Bearer {}.{rest}", URL_SAFE_NO_PAD.encode(head));
    unknown["headers"]["Authorization"] = unknown_key.into();
    // It may be a new one, so its sender comes again; a signature that is wrong is wrong for good.
    for _ in 0..5 {
        let told = pub_sub(&world, &unknown).await;
        assert_eq!(told, StatusCode::SERVICE_UNAVAILABLE);
    }
    let mut forged = good.clone();
    let signature = token.rsplit_once('.').unwrap().1;
    let wrong: String = signature.chars().rev().collect();
    forged["headers"]["Authorization"] = token.replace(signature, &wrong).into();
    assert_eq!(pub_sub(&world, &forged).await, StatusCode::UNAUTHORIZED);
    assert_eq!(
        *keys.asked.lock().unwrap(),
        ["https://www.googleapis.com/oauth2/v3/certs"]
    );
    assert_eq!(world.deliveries().await.len(), 1);
}

#[tokio::test]
async fn a_token_waits_for_keys_that_cannot_be_had() {
    let good = vector("gar-pubsub");
    let world = Settings {
        clock: || Timestamp::from_second(1_700_000_060).unwrap(),
        ..Settings::default()
    }
    .start();
    world.hook_of("images", images(&good)).await;
    assert_eq!(
        pub_sub(&world, &good).await,
        StatusCode::SERVICE_UNAVAILABLE
    );
    // That keys are missing learns nobody who does not know what the Hook asks for.
    let other = vector("gar-pubsub-other-account");
    assert_eq!(pub_sub(&world, &other).await, StatusCode::UNAUTHORIZED);
}
