use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use runtime::metrics::Metrics;
use runtime::{Limits, Response, Router, response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::support::{Server, limits, until, within};

async fn connect(server: &Server) -> (SendRequest<Full<Bytes>>, JoinHandle<hyper::Result<()>>) {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    (sender, tokio::spawn(connection))
}

fn request(path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post(format!("http://h{path}"))
        .version(Version::HTTP_2)
        .body(Full::new(body.into()))
        .unwrap()
}

fn router() -> Router {
    Router::new()
        .post("/read/{name}", |mut call| async move {
            match call.read().await {
                Ok(payload) => response::text(
                    StatusCode::OK,
                    format!("{} {}", call.param("name"), payload.len()),
                ),
                Err(rejection) => Response::from(&rejection),
            }
        })
        .post("/wait", |_| async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            response::text(StatusCode::OK, "finished")
        })
}

#[tokio::test]
async fn many_streams_share_one_connection() {
    let server = Server::start(router(), limits()).await;
    let (sender, _) = connect(&server).await;
    let asked = (0..50).map(|index| {
        let mut sender = sender.clone();
        async move {
            let response = sender
                .send_request(request(&format!("/read/{index}"), vec![b'x'; 100_000]))
                .await
                .unwrap();
            (
                index,
                response.into_body().collect().await.unwrap().to_bytes(),
            )
        }
    });
    for asked in asked.map(tokio::spawn).collect::<Vec<_>>() {
        let (index, answer) = within(asked).await.unwrap();
        assert_eq!(answer, format!("{index} 100000"));
    }
}

#[tokio::test]
async fn caps_hold_here_too() {
    let server = Server::start(
        router(),
        Limits {
            body_bytes: 1000,
            ..limits()
        },
    )
    .await;
    let (mut sender, _) = connect(&server).await;
    let response = within(sender.send_request(request("/read/x", vec![b'x'; 100_000])))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let mut flooded = request("/read/x", "");
    flooded
        .headers_mut()
        .insert("x", "y".repeat(40 << 10).parse().unwrap());
    match within(sender.send_request(flooded)).await {
        Ok(response) => assert_eq!(
            response.status(),
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
        ),
        Err(error) => assert!(!error.is_timeout(), "{error}"),
    }
    let (mut sender, _) = connect(&server).await;
    assert_eq!(
        within(sender.send_request(request("/nothing", "")))
            .await
            .unwrap()
            .status(),
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn streams_that_are_taken_back_at_once_leave_nothing_behind() {
    let metrics = Arc::new(Metrics::new().unwrap());
    let server = Server::start(router().metrics(Arc::clone(&metrics)), limits()).await;
    for _ in 0..20 {
        let (sender, connection) = connect(&server).await;
        for _ in 0..100 {
            let mut sender = sender.clone();
            let asking = sender.send_request(request("/wait", "x"));
            // Sent, and taken back.
            let _ = tokio::time::timeout(Duration::from_micros(1), asking).await;
        }
        connection.abort();
    }
    until(|| metrics.text().contains("hookrun_http_requests_in_flight 0")).await;
    until(|| metrics.text().contains("hookrun_http_connections 0")).await;
    let (mut sender, _) = connect(&server).await;
    assert_eq!(
        within(sender.send_request(request("/read/x", "")))
            .await
            .unwrap()
            .status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn an_idle_connection_is_told_to_go() {
    let limits = Limits {
        header_time: Duration::from_millis(100),
        idle_time: Duration::from_millis(200),
        ..limits()
    };
    let server = Server::start(router(), limits).await;
    let (mut sender, connection) = connect(&server).await;
    assert_eq!(
        within(sender.send_request(request("/read/x", "")))
            .await
            .unwrap()
            .status(),
        StatusCode::OK
    );
    let _ = within(connection).await.unwrap();
    // The preface alone is no request either.
    let (_sender, connection) = connect(&server).await;
    let _ = within(connection).await.unwrap();
}

/// The types of the frames in whole.
fn frames(mut bytes: &[u8]) -> Vec<u8> {
    let mut types = Vec::new();
    while let [a, b, c, kind, rest @ ..] = bytes {
        types.push(*kind);
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        bytes = rest.get(5 + length..).unwrap_or_default();
    }
    types
}

#[tokio::test]
async fn pings_are_no_requests_and_an_idle_peer_hears_goodbye() {
    const GOAWAY: u8 = 7;
    let limits = Limits {
        header_time: Duration::from_millis(50),
        idle_time: Duration::from_millis(500),
        ..limits()
    };
    let idle_time = limits.idle_time;
    let server = Server::start(router(), limits).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let started = Instant::now();
    let begin = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    stream.write_all(begin).await.unwrap();
    let mut heard = Vec::new();
    within(async {
        while !frames(&heard).contains(&GOAWAY) {
            let ping = b"\0\0\x08\x06\0\0\0\0\0PINGPING";
            let _ = stream.write_all(ping).await;
            let mut bytes = [0; 1024];
            let reading = stream.read(&mut bytes);
            if let Ok(read) = tokio::time::timeout(Duration::from_millis(20), reading).await {
                let read = read.unwrap();
                assert_ne!(read, 0, "it ended without a word");
                heard.extend_from_slice(&bytes[..read]);
            }
        }
    })
    .await;
    assert!(started.elapsed() >= idle_time, "{:?}", started.elapsed());
    // It does not answer the last ping, and is not waited for.
    while within(stream.read(&mut [0; 1024]))
        .await
        .is_ok_and(|n| n > 0)
    {}
}

#[tokio::test]
async fn a_stream_whose_answer_is_not_taken_is_reset_and_the_others_go_on() {
    let limits = Limits {
        idle_time: Duration::from_millis(200),
        ..limits()
    };
    let server = Server::start(router(), limits).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(0)
        .handshake::<_, Full<Bytes>>(TokioIo::new(stream))
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let stuck = within(sender.send_request(request("/read/x", "")))
        .await
        .unwrap();
    assert_eq!(stuck.status(), StatusCode::OK);
    // Its answer takes until after the first one is given up, and then is not taken either.
    let mut other = sender.clone();
    let other = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(150)).await;
        other.send_request(request("/wait", "")).await
    });
    assert!(within(stuck.into_body().collect()).await.is_err());
    let other = within(other).await.unwrap().unwrap();
    assert_eq!(other.status(), StatusCode::OK);
    assert!(within(other.into_body().collect()).await.is_err());
    // Nothing keeps it busy.
    let _ = within(connection).await.unwrap();
}

#[tokio::test]
async fn a_stream_that_has_nothing_to_say_yet_is_not_given_up() {
    let limits = Limits {
        idle_time: Duration::from_millis(50),
        ..limits()
    };
    let watch = tower::service_fn(|_: Request<runtime::Body>| async {
        let (mut sender, body) = http_body_util::channel::Channel::<Bytes>::new(1);
        tokio::spawn(async move {
            for part in ["one ", "two ", "three"] {
                tokio::time::sleep(Duration::from_millis(200)).await;
                sender.send_data(part.into()).await.unwrap();
            }
        });
        Ok::<_, std::convert::Infallible>(http::Response::new(body))
    });
    let server = Server::start(Router::new().mount("/apis", watch), limits).await;
    let (mut sender, _) = connect(&server).await;
    let response = within(sender.send_request(request("/apis", "")))
        .await
        .unwrap();
    let answer = within(response.into_body().collect()).await.unwrap();
    assert_eq!(answer.to_bytes(), "one two three");
}

#[tokio::test]
async fn what_is_in_flight_is_finished_at_the_end() {
    let mut server = Server::start(router(), limits()).await;
    let (mut sender, connection) = connect(&server).await;
    let asked = sender.send_request(request("/wait", ""));
    let asked = tokio::spawn(asked);
    tokio::time::sleep(Duration::from_millis(30)).await;
    server.stop();
    let response = within(asked).await.unwrap().unwrap();
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "finished"
    );
    let _ = within(connection).await.unwrap();
    server.ended().await;
}
