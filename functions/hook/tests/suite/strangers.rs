//! Those who know no secret, and what they can do to those who do: nothing.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use jiff::Timestamp;
use providers::sign::{Outgoing, sign};
use runtime::{Body, Limits};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

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
    let rejection = async || world.read_hook("chat").await["status"]["lastRejection"].clone();
    assert_ne!(rejection().await, Value::Null);
}

#[tokio::test]
async fn more_than_a_provider_sends_is_413_for_whoever_has_the_secret() {
    let world = Settings::default().start();
    world.secret("chat", SECRET).await;
    let spec = json!({"provider": "slack", "verification": {"secretRefs": [{"name": "chat"}]}});
    world.hook_of("chat", spec).await;
    let slack = providers::provider("slack").unwrap();
    for (bytes, expected) in [
        (slack.body_bytes, StatusCode::ACCEPTED),
        (slack.body_bytes + 1, StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let without = json!({"type": "event", "text": ""}).to_string().len();
        let body = json!({"type": "event", "text": "a".repeat(bytes - without)}).to_string();
        let event = Outgoing {
            event_type: "event",
            id: "1",
            body: body.as_bytes(),
        };
        let now = Timestamp::now().as_second();
        let settings = providers::Settings::default();
        let sent = sign(slack, &settings, SECRET.as_bytes(), &event, now).unwrap();
        let (status, told) = world.send("chat", &sent.headers, &body).await;
        assert_eq!(status, expected, "{bytes}: {told}");
        let mut forged = sent.headers;
        forged.insert("x-slack-signature", "v0=00".parse().unwrap());
        let (status, _) = world.send("chat", &forged, &body).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{bytes}");
    }
    assert_eq!(world.deliveries().await.len(), 1);
}

/// A sender on a connection of its own, which announces more than it sends.
async fn stops(address: SocketAddr, announced: usize, sent: usize) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let path = format!("/hooks/{NAMESPACE}/shop");
    let head = format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {announced}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut body, sent) = (vec![b'x'; 64 << 10], sent);
    for _ in 0..sent / body.len() {
        stream.write_all(&body).await.unwrap();
    }
    body.truncate(sent % body.len());
    stream.write_all(&body).await.unwrap();
    stream
}

/// What a honest sender is answered over HTTP.
async fn pushed(address: SocketAddr, hook: &str, id: &str, bytes: usize) -> String {
    let mut push: Value = serde_json::from_str(PUSH).unwrap();
    push["text"] = "a".repeat(bytes).into();
    let body = push.to_string();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut head = format!(
        "POST /hooks/{NAMESPACE}/{hook} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in &headers(id, &body, SECRET) {
        head += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    stream
        .write_all(format!("{head}\r\n{body}").as_bytes())
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Whoever knows the URL of one Hook sends almost all of a large body, and stops: all others go on.
#[tokio::test(flavor = "multi_thread")]
async fn who_stops_in_the_middle_of_a_large_body_holds_up_nobody_else() {
    let limits = Limits {
        body_bytes: MIB,
        memory_bytes: 40 * MIB,
        ..Limits::default()
    };
    let world = Settings {
        limits,
        ..Settings::default()
    }
    .start();
    world.hook("shop", json!([build()])).await;
    world.hook("other", json!([build()])).await;
    let address = world.serve().await;
    // As much as there is room for, from two senders of one URL; and some that have hardly begun.
    let mut held = vec![stops(address, 6 * MIB, 6 * MIB - 1).await];
    // It waits for its turn, and is not even read.
    let second = tokio::spawn(stops(address, 3 * MIB, 3 * MIB - 1));
    for _ in 0..6 {
        held.push(stops(address, 200 << 10, 150 << 10).await);
    }
    let arrived = 6 * MIB - 1 + 6 * (150 << 10);
    world.received(arrived).await;
    for (number, bytes) in [100, 20 << 10, 200 << 10].into_iter().enumerate() {
        let answer = pushed(address, "other", &number.to_string(), bytes).await;
        assert!(answer.starts_with("HTTP/1.1 202"), "{bytes}: {answer}");
    }
    // Whoever sends no more is given up, and then the next one comes.
    let given_up = async |stream: &mut TcpStream| {
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    };
    assert_eq!(given_up(&mut held[0]).await, "HTTP/1.1 408");
    assert_eq!(given_up(&mut second.await.unwrap()).await, "HTTP/1.1 408");
    let answer = pushed(address, "shop", "1", 300 << 10).await;
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
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
