use std::time::Duration;

use http::StatusCode;
use runtime::{Limits, Response, Router, response};

use crate::support::{Server, limits, status};

fn router() -> Router {
    Router::new()
        .post("/read", |mut call| async move {
            match call.read().await {
                Ok(payload) => response::text(StatusCode::OK, format!("{} bytes", payload.len())),
                Err(rejection) => Response::from(&rejection),
            }
        })
        .post("/discard", |mut call| async move {
            match call.discard().await {
                Ok(()) => response::empty(StatusCode::OK),
                Err(rejection) => Response::from(&rejection),
            }
        })
        .post("/ignore", |_| async {
            response::text(StatusCode::OK, "ignored")
        })
}

fn small() -> Limits {
    Limits {
        body_bytes: 1000,
        memory_bytes: 4000,
        ..limits()
    }
}

#[tokio::test]
async fn a_body_up_to_the_cap_is_read() {
    let server = Server::start(router(), small()).await;
    let post = |path, length: usize| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{}",
            "x".repeat(length)
        )
    };
    assert!(
        server
            .ask(&post("/read", 1000))
            .await
            .ends_with("\r\n\r\n1000 bytes")
    );
    assert!(
        server
            .ask(&post("/read", 0))
            .await
            .ends_with("\r\n\r\n0 bytes")
    );
    assert_eq!(status(&server.ask(&post("/discard", 1000)).await), 200);
}

#[tokio::test]
async fn an_announced_excess_is_refused_before_a_byte_of_it() {
    let server = Server::start(router(), small()).await;
    for path in ["/read", "/discard"] {
        let mut peer = server.connect().await;
        peer.say(&format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n")).await;
        let answer = peer.answer().await;
        assert_eq!(status(&answer), 413);
        assert!(
            answer.contains("connection: close\r\n") && answer.contains("problems/body-too-large"),
            "{answer}"
        );
        assert_eq!(peer.rest().await, "");
    }
}

#[tokio::test]
async fn a_sender_that_asks_first_is_told_to_go_on() {
    let server = Server::start(router(), small()).await;
    let mut peer = server.connect().await;
    peer.say("POST /read HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        .await;
    assert_eq!(status(&peer.head().await), 100);
    peer.say("abc").await;
    assert!(peer.answer().await.ends_with("\r\n\r\n3 bytes"));
}

#[tokio::test]
async fn an_excess_that_nobody_announced_is_noticed_on_the_way() {
    let server = Server::start(router(), small()).await;
    for path in ["/read", "/discard"] {
        let mut peer = server.connect().await;
        peer.say(&format!(
            "POST {path} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        ))
        .await;
        for _ in 0..11 {
            peer.say(&format!("64\r\n{}\r\n", "x".repeat(100))).await;
        }
        assert_eq!(status(&peer.answer().await), 413);
    }
}

#[tokio::test]
async fn a_sender_that_writes_everything_first_can_read_its_refusal() {
    let server = Server::start(router(), small()).await;
    let body = "x".repeat(8 << 20);
    let request = format!(
        "POST /read HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    // The whole of it is written before anything is read.
    assert_eq!(status(&server.ask(&request).await), 413);
}

#[tokio::test]
async fn a_slow_body_is_408() {
    let server = Server::start(
        router(),
        Limits {
            body_time: Duration::from_millis(50),
            ..small()
        },
    )
    .await;
    for path in ["/read", "/discard"] {
        let mut peer = server.connect().await;
        peer.say(&format!(
            "POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nx"
        ))
        .await;
        let answer = peer.answer().await;
        assert_eq!(status(&answer), 408, "{answer}");
        assert_eq!(peer.rest().await, "");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_400() {
    let server = Server::start(router(), small()).await;
    let mut peer = server.connect().await;
    peer.say("POST /read HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        .await;
    assert_eq!(status(&peer.answer().await), 400);
}

#[tokio::test]
async fn an_encoded_body_is_415() {
    let server = Server::start(router(), small()).await;
    let request =
        "POST /read HTTP/1.1\r\nHost: h\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx";
    assert_eq!(status(&server.ask(request).await), 415);
}

#[tokio::test]
async fn a_body_that_is_held_back_and_not_read_ends_the_connection_and_nothing_else() {
    let server = Server::start(router(), small()).await;
    let mut peer = server.connect().await;
    peer.say(
        "POST /ignore HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
    )
    .await;
    let answer = peer.answer().await;
    assert!(
        answer.contains("connection: close\r\n") && answer.ends_with("ignored"),
        "{answer}"
    );
    peer.say("hello").await;
    assert_eq!(peer.rest().await, "");
}

/// A proxy that still sends when the connection ends may never see the answer.
#[tokio::test]
async fn a_body_that_nobody_reads_is_taken_before_the_answer() {
    let server = Server::start(router(), small()).await;
    let mut peer = server.connect().await;
    peer.say("POST /ignore HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n")
        .await;
    peer.say(&"x".repeat(999)).await;
    assert!(
        tokio::time::timeout(Duration::from_millis(50), peer.head())
            .await
            .is_err(),
        "answered before the body was there"
    );
    // The rest of it, and the next request on the same connection.
    peer.say("xPOST /read HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab")
        .await;
    let first = peer.answer().await;
    assert!(
        first.ends_with("ignored") && !first.contains("connection: close"),
        "{first}"
    );
    assert!(peer.answer().await.ends_with("2 bytes"));
}

#[tokio::test]
async fn no_more_is_taken_than_a_body_may_have() {
    let server = Server::start(router(), small()).await;
    let mut peer = server.connect().await;
    let chunk = format!("64\r\n{}\r\n", "x".repeat(100));
    peer.say("POST /ignore HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    peer.say(&chunk.repeat(11)).await;
    let answer = peer.answer().await;
    assert!(
        answer.contains("connection: close\r\n") && answer.ends_with("ignored"),
        "{answer}"
    );
}

#[tokio::test]
async fn all_bodies_together_stay_within_the_budget() {
    let server = Server::start(router(), small()).await;
    let mut first = server.connect().await;
    first
        .say(
            "POST /read HTTP/1.1\r\nHost: h\r\nContent-Length: 600\r\nExpect: 100-continue\r\n\r\n",
        )
        .await;
    first.head().await;
    first.say(&"x".repeat(599)).await;
    let second = format!(
        "POST /read HTTP/1.1\r\nHost: h\r\nContent-Length: 900\r\n\r\n{}",
        "x".repeat(900)
    );
    let answer = loop {
        let answer = server.ask(&second).await;
        // Until the first one's bytes have arrived.
        if status(&answer) != 200 {
            break answer;
        }
    };
    assert_eq!(status(&answer), 503);
    assert!(
        answer.contains("retry-after: 1\r\n") && answer.contains("problems/memory-exhausted"),
        "{answer}"
    );
    first.say("x").await;
    assert_eq!(status(&first.answer().await), 200);
    assert_eq!(status(&server.ask(&second).await), 200);
}
