//! Those who know no secret, and what they can do to those who do: nothing.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use runtime::{Body, Limits};
use serde_json::{Value, json};

use crate::support::{NAMESPACE, PUSH, SECRET, Settings, World, build, headers};

const MIB: usize = 1 << 20;

/// A request with a body that begins and never ends.
fn endless(hook: &str, begin: usize) -> Request<Body> {
    let begin = Frame::data(Bytes::from(vec![b'x'; begin]));
    let frames = stream::iter([Ok::<_, Infallible>(begin)]).chain(stream::pending());
    Request::post(format!("/hooks/{NAMESPACE}/{hook}"))
        .body(Body::stream(StreamBody::new(frames)))
        .unwrap()
}

/// Sends requests that do not end, and waits until what there is of them has arrived.
async fn begin(world: &World, requests: Vec<Request<Body>>) -> Vec<tokio::task::JoinHandle<()>> {
    let sent = requests.into_iter().map(|request| {
        let shell = world.shell.clone();
        tokio::spawn(async move {
            let answer = shell.answer(request).await;
            panic!("answered: {}", answer.status());
        })
    });
    let sent = sent.collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    sent
}

async fn tell(world: &World, hook: &str, body: Vec<u8>) -> (StatusCode, String) {
    let mut request = Request::post(format!("/hooks/{NAMESPACE}/{hook}"))
        .body(Body::full(body))
        .unwrap();
    *request.headers_mut() = headers("1", PUSH, "another secret");
    let answer = world.shell.answer(request).await;
    let (parts, body) = answer.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let text = String::from_utf8(body.to_vec()).unwrap();
    (parts.status, format!("{:?} {text}", parts.headers))
}

#[tokio::test]
async fn bodies_that_never_end_hold_no_place_of_a_hook() {
    let limits = Limits {
        requests: 8,
        ..Limits::default()
    };
    let world = Settings {
        limits,
        ..Settings::default()
    }
    .start();
    world.hook("shop", json!([build()])).await;
    let sent = begin(&world, (0..6).map(|_| endless("shop", 1)).collect()).await;
    let (status, told) = world.push("shop", "1").await;
    assert_eq!(status, StatusCode::ACCEPTED, "{told}");
    assert!(sent.iter().all(|one| !one.is_finished()));
}

#[tokio::test]
async fn bodies_for_nobody_take_no_memory_of_others() {
    let limits = Limits {
        body_bytes: MIB,
        memory_bytes: 4 * MIB,
        ..Limits::default()
    };
    let world = Settings {
        limits,
        ..Settings::default()
    }
    .start();
    world.hook("shop", json!([build()])).await;
    let sent = (0..4).map(|_| endless("nobody", 900 << 10)).collect();
    let sent = begin(&world, sent).await;
    let mut push: Value = serde_json::from_str(PUSH).unwrap();
    push["text"] = "a".repeat(600 << 10).into();
    let body = push.to_string();
    let signed = headers("1", &body, SECRET);
    let (status, told) = world.send("shop", &signed, &body).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{told}");
    assert!(sent.iter().all(|one| !one.is_finished()));
}

#[tokio::test]
async fn more_than_a_provider_sends_is_refused_as_if_there_were_no_hook() {
    let world = Settings::default().start();
    world.secret("chat", SECRET).await;
    let spec = json!({"provider": "slack", "verification": {"secretRefs": [{"name": "chat"}]}});
    world.hook_of("chat", spec).await;
    for bytes in [1, MIB, MIB + 1, 3 * MIB] {
        let chat = tell(&world, "chat", vec![b'x'; bytes]).await;
        assert_eq!(chat.0, StatusCode::UNAUTHORIZED, "{bytes}");
        assert_eq!(chat, tell(&world, "nobody", vec![b'x'; bytes]).await);
    }
    // Whoever looks at the Hook sees why.
    let rejection = async || world.read_hook("chat").await["status"]["lastRejection"].clone();
    assert_ne!(rejection().await, Value::Null);
}

#[tokio::test]
async fn that_there_is_no_hook_costs_as_many_requests_as_a_hook() {
    let world = Settings::default().start();
    world.hook("shop", json!([build()])).await;
    let mut seen = Vec::new();
    for hook in ["shop", "none"] {
        world.fail(None);
        let (status, _) = tell(&world, hook, PUSH.into()).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        let mut gets = world.seen();
        gets.retain(|one| one.starts_with("GET "));
        seen.push(gets.join("\n").replace(hook, "name"));
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0].lines().count(), 2, "{seen:?}");
}

#[tokio::test]
async fn made_up_names_without_end_reset_no_quota_and_are_read_within_bounds() {
    const NAMES: usize = 4_500;
    let world = Settings::default().start();
    world.hook("shop", json!([build()])).await;
    world.edit("shop", json!({"quota": {"perMinute": 1}})).await;
    let (_, told) = world.push("shop", "1").await;
    assert_eq!(told["outcome"], "Created", "{told}");
    world.fail(None);
    let mut turned_away = None;
    for number in 0..NAMES {
        let (status, told) = tell(&world, &format!("name-{number}"), PUSH.into()).await;
        if status == StatusCode::SERVICE_UNAVAILABLE {
            turned_away = Some(told);
        } else {
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{told}");
        }
    }
    let reads = world.seen().len();
    assert!(reads < 2 * (NAMES - 500), "{reads} reads");
    // Nobody learns from it which names are known.
    let turned_away = turned_away.unwrap();
    let forged = tell(&world, "shop", PUSH.into()).await;
    assert_eq!(forged, (StatusCode::SERVICE_UNAVAILABLE, turned_away));
    // A Hook that is known is served, and what it has used up is not given back.
    let (status, told) = world.push("shop", "2").await;
    assert_eq!(status, StatusCode::ACCEPTED, "{told}");
    assert_eq!(told["outcome"], "Received", "{told}");
}

#[tokio::test]
async fn refusals_that_could_not_be_told_are_told_later() {
    let world = Settings::default().start();
    world.hook("shop", json!([build()])).await;
    // Hook and Secret are read; the status is not written.
    world.fail(Some(crate::support::Fault::DeadFrom(2)));
    for _ in 0..3 {
        let (status, _) = tell(&world, "shop", PUSH.into()).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    world.fail(None);
    let (status, _) = world.push("shop", "1").await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let status = &world.read_hook("shop").await["status"];
    assert_eq!(status["rejected"], 3, "{status}");
    assert_eq!(status["lastRejection"]["reason"], "mismatch");
}
