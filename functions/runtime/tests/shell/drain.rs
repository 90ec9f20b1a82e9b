use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::StatusCode;
use runtime::{Limits, Router, response};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::support::{Server, limits, status, until};

struct Waiting {
    go_on: Arc<Notify>,
    running: Arc<AtomicBool>,
    router: Router,
}

fn waiting() -> Waiting {
    let (go_on, running) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
    let (wait, began) = (Arc::clone(&go_on), Arc::clone(&running));
    let router = Router::new().get("/wait", move |_| {
        let (wait, began) = (Arc::clone(&wait), Arc::clone(&began));
        async move {
            began.store(true, Ordering::SeqCst);
            wait.notified().await;
            response::text(StatusCode::OK, "finished")
        }
    });
    Waiting {
        go_on,
        running,
        router,
    }
}

#[tokio::test]
async fn what_is_in_flight_is_finished_and_nothing_new_is_taken() {
    let Waiting {
        go_on,
        running,
        router,
    } = waiting();
    let mut server = Server::start(router, limits()).await;
    let mut busy = server.connect().await;
    busy.say("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n").await;
    until(|| running.load(Ordering::SeqCst)).await;
    let mut idle = server.connect().await;
    idle.say("GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(status(&idle.answer().await), 200);

    server.stop();
    assert_eq!(
        idle.rest().await,
        "",
        "a connection without a request is closed"
    );
    let address = server.address;
    until(|| std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err()).await;
    go_on.notify_one();
    let answer = busy.rest().await;
    assert!(
        answer.contains("connection: close\r\n") && answer.ends_with("finished"),
        "{answer}"
    );
    server.ended().await;
}

#[tokio::test]
async fn the_end_comes_even_if_something_hangs() {
    let Waiting {
        go_on: _,
        running,
        router,
    } = waiting();
    let mut server = Server::start(
        router,
        Limits {
            drain_time: Duration::from_millis(100),
            ..limits()
        },
    )
    .await;
    let mut busy = server.connect().await;
    busy.say("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n").await;
    until(|| running.load(Ordering::SeqCst)).await;
    let started = Instant::now();
    server.stop();
    server.ended().await;
    assert!(started.elapsed() >= Duration::from_millis(100));
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn work_whose_sender_hung_up_is_waited_for() {
    let Waiting {
        go_on,
        running,
        router,
    } = waiting();
    let mut server = Server::start(router, limits()).await;
    let mut busy = server.connect().await;
    busy.say("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n").await;
    until(|| running.load(Ordering::SeqCst)).await;
    drop(busy);
    server.stop();
    let ended = tokio::spawn(server.ended());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!ended.is_finished());
    go_on.notify_one();
    ended.await.unwrap();
}

#[tokio::test]
async fn whoever_is_in_the_queue_is_still_served() {
    let mut server = Server::start(Router::new(), limits()).await;
    let address = server.address;
    // Nothing runs between the connect and the stop: the server has not accepted it yet.
    let stream = std::net::TcpStream::connect(address).unwrap();
    server.stop();
    stream.set_nonblocking(true).unwrap();
    let mut peer = crate::support::Peer(TcpStream::from_std(stream).unwrap());
    peer.say("GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(status(&peer.rest().await), 200);
    server.ended().await;
}

#[tokio::test]
async fn a_stream_that_never_ends_does_not_hold_up_the_end() {
    let watch = tower::service_fn(|_: http::Request<runtime::Body>| async {
        let (mut sender, body) = http_body_util::channel::Channel::<bytes::Bytes>::new(1);
        tokio::spawn(async move {
            let _ = sender.send_data(bytes::Bytes::from_static(b"first")).await;
            std::future::pending::<()>().await;
        });
        Ok::<_, std::convert::Infallible>(http::Response::new(body))
    });
    let mut server = Server::start(Router::new().mount("/apis", watch), limits()).await;
    let mut peer = server.connect().await;
    peer.say("GET /apis/x?watch=true HTTP/1.1\r\nHost: h\r\n\r\n")
        .await;
    peer.head().await;
    server.stop();
    assert_eq!(peer.rest().await, "5\r\nfirst\r\n0\r\n\r\n");
    server.ended().await;
}
