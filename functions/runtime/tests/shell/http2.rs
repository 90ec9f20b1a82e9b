use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use runtime::metrics::Metrics;
use runtime::{Limits, Response, Router, response};
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
