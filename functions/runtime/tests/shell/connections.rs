use std::io::{BufRead as _, BufReader};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::StatusCode;
use runtime::metrics::Metrics;
use runtime::{Limits, Router, response};
use tokio::sync::Notify;

use crate::support::{Peer, Server, alone, limits, status, until, within};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

fn router() -> Router {
    Router::new().get("/", |_| async { response::text(StatusCode::OK, "OK") })
}

fn quick() -> Limits {
    Limits {
        header_time: Duration::from_millis(100),
        idle_time: Duration::from_millis(400),
        ..limits()
    }
}

#[tokio::test]
async fn a_connection_without_a_word_is_closed() {
    let server = Server::start(router(), quick()).await;
    assert_eq!(server.connect().await.rest().await, "");
}

#[tokio::test]
async fn a_drip_of_bytes_buys_no_time() {
    let server = Server::start(router(), quick()).await;
    // One for each protocol: the second could still become HTTP/2.
    for text in [
        "GET / HTTP/1.1\r\nHost: h\r\nX: ",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r",
    ] {
        let mut peer = server.connect().await;
        let started = Instant::now();
        for byte in text.bytes().chain(std::iter::repeat(b'x')) {
            if !peer.try_say(&[byte]).await || started.elapsed() > Duration::from_secs(5) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(started.elapsed() < Duration::from_secs(5), "{text:?}");
    }
    let mut peer = server.connect().await;
    peer.say("GET / HTTP/1.1\r\n").await;
    assert_eq!(status(&peer.rest().await), 408);
    let mut peer = server.connect().await;
    peer.say("PRI").await;
    assert_eq!(status(&peer.rest().await), 408);
}

#[tokio::test]
async fn a_connection_between_requests_has_more_patience_and_a_started_head_has_not() {
    let server = Server::start(router(), quick()).await;
    let mut peer = server.connect().await;
    peer.say(GET).await;
    peer.answer().await;
    // Longer than a head may take.
    tokio::time::sleep(Duration::from_millis(200)).await;
    peer.say(GET).await;
    assert_eq!(status(&peer.answer().await), 200);
    let idle = Instant::now();
    assert_eq!(peer.rest().await, "");
    assert!(
        idle.elapsed() >= Duration::from_millis(350),
        "{:?}",
        idle.elapsed()
    );

    let mut peer = server.connect().await;
    peer.say(GET).await;
    peer.answer().await;
    let started = Instant::now();
    peer.say("GET").await;
    assert_eq!(status(&peer.rest().await), 408);
    assert!(
        started.elapsed() < Duration::from_millis(390),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn half_of_the_next_request_may_come_with_the_last() {
    let server = Server::start(router(), limits()).await;
    let mut peer = server.connect().await;
    peer.say(&format!("{GET}{GET}GET / HT")).await;
    assert_eq!(status(&peer.answer().await), 200);
    assert_eq!(status(&peer.answer().await), 200);
    let used = cpu();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(cpu() - used < 15, "asking again and again");
    peer.say("TP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(status(&peer.answer().await), 200);

    let server = Server::start(router(), quick()).await;
    let mut peer = server.connect().await;
    peer.say(&format!("{GET}GET / HT")).await;
    assert_eq!(status(&peer.answer().await), 200);
    assert_eq!(status(&peer.rest().await), 408);
}

#[tokio::test]
async fn header_floods_are_431() {
    let server = Server::start(router(), limits()).await;
    let many = "X: y\r\n".repeat(101);
    assert_eq!(
        status(
            &server
                .ask(&format!("GET / HTTP/1.1\r\nHost: h\r\n{many}\r\n"))
                .await
        ),
        431
    );
    let long = "y".repeat(40 << 10);
    assert_eq!(
        status(
            &server
                .ask(&format!("GET / HTTP/1.1\r\nHost: h\r\nX: {long}\r\n\r\n"))
                .await
        ),
        431
    );
    let mut peer = server.connect().await;
    while peer
        .try_say(b"Z: zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz\r\n")
        .await
    {
        tokio::task::yield_now().await;
    }
    assert_eq!(status(&server.ask(GET).await), 200);
}

#[tokio::test]
async fn not_http_is_400() {
    let server = Server::start(router(), limits()).await;
    for text in [
        "\u{16}\u{3}\u{1}",
        "GET /\r\n\r\n",
        "GET / HTTP/1.1\r\nHost h\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
    ] {
        let mut peer = server.connect().await;
        peer.say(&format!("{text}\r\n\r\n")).await;
        let answer = peer.rest().await;
        assert!(
            answer.is_empty() || status(&answer) == 400,
            "{text:?}: {answer}"
        );
    }
}

#[tokio::test]
async fn connections_beyond_the_limit_get_a_short_answer() {
    let server = Server::start(
        router(),
        Limits {
            connections: 2,
            ..limits()
        },
    )
    .await;
    let mut held = [server.connect().await, server.connect().await];
    for peer in &mut held {
        peer.say(GET).await;
        assert_eq!(status(&peer.answer().await), 200);
    }
    let mut third = server.connect().await;
    third.say(GET).await;
    let answer = third.rest().await;
    assert_eq!(status(&answer), 503);
    assert!(
        answer.contains("Retry-After: 1\r\n") && answer.contains("problems/too-many-connections"),
        "{answer}"
    );
    drop(held);
    within(async {
        loop {
            let mut peer = server.connect().await;
            peer.say(GET).await;
            if status(&peer.answer().await) == 200 {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn requests_beyond_the_limit_are_503_and_health_is_not() {
    let go_on = Arc::new(Notify::new());
    let running = Arc::new(AtomicUsize::new(0));
    let (wait, count) = (Arc::clone(&go_on), Arc::clone(&running));
    let router = Router::new().get("/wait", move |_| {
        let (wait, count) = (Arc::clone(&wait), Arc::clone(&count));
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            wait.notified().await;
            response::empty(StatusCode::OK)
        }
    });
    let server = Server::start(
        router,
        Limits {
            requests: 1,
            ..limits()
        },
    )
    .await;
    let mut first = server.connect().await;
    first.say("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n").await;
    until(|| running.load(Ordering::SeqCst) == 1).await;
    let answer = server.get("/wait").await;
    assert_eq!(status(&answer), 503);
    assert!(
        answer.contains("retry-after: 1\r\n")
            && answer.contains("problems/too-many-requests-in-flight"),
        "{answer}"
    );
    assert_eq!(status(&server.get("/healthz").await), 200);
    go_on.notify_one();
    assert_eq!(status(&first.answer().await), 200);
}

#[tokio::test]
async fn a_handler_that_takes_too_long_is_ended() {
    let router = Router::new().get("/", |_| std::future::pending());
    let server = Server::start(
        router,
        Limits {
            request_time: Duration::from_millis(50),
            ..limits()
        },
    )
    .await;
    let answer = server.ask(GET).await;
    assert_eq!(status(&answer), 503);
    assert!(answer.contains("problems/time-exceeded"), "{answer}");
}

#[tokio::test]
async fn a_sender_that_hangs_up_does_not_stop_the_work() {
    let (go_on, done) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let (wait, count) = (Arc::clone(&go_on), Arc::clone(&done));
    let router = Router::new().get("/", move |_| {
        let (wait, count) = (Arc::clone(&wait), Arc::clone(&count));
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            wait.notified().await;
            count.fetch_add(1, Ordering::SeqCst);
            response::empty(StatusCode::OK)
        }
    });
    let metrics = Arc::new(Metrics::new().unwrap());
    let server = Server::start(router.metrics(Arc::clone(&metrics)), limits()).await;
    let mut peer = server.connect().await;
    peer.say(GET).await;
    until(|| done.load(Ordering::SeqCst) == 1).await;
    drop(peer);
    until(|| metrics.text().contains("hookrun_http_connections 0")).await;
    go_on.notify_one();
    until(|| done.load(Ordering::SeqCst) == 2).await;
}

#[tokio::test]
async fn a_large_answer_arrives_whole_even_when_the_connection_ends_with_it() {
    let big = "x".repeat(20 << 20);
    let router = Router::new().post("/", move |_| {
        let big = big.clone();
        async move { response::text(StatusCode::OK, big) }
    });
    let server = Server::start(router, limits()).await;
    let mut peer = server.connect().await;
    peer.say("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        .await;
    let answer = peer.rest().await;
    assert!(answer.contains("connection: close"));
    assert_eq!(answer.split_once("\r\n\r\n").unwrap().1.len(), 20 << 20);
}

#[tokio::test]
async fn a_reader_that_stops_reading_is_given_up() {
    let big = bytes::Bytes::from(vec![b'x'; 64 << 20]);
    let router = Router::new().get("/", move |_| {
        let big = big.clone();
        async move { response::typed(StatusCode::OK, "text/plain", big) }
    });
    let metrics = Arc::new(Metrics::new().unwrap());
    let server = Server::start(router.metrics(Arc::clone(&metrics)), quick()).await;
    let mut peer = server.connect().await;
    peer.say(GET).await;
    peer.head().await;
    until(|| metrics.text().contains("hookrun_http_connections 0")).await;
}

/// Resident memory of this process in KiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Opens idle connections until its standard input ends; half of them have said something.
#[tokio::test]
#[ignore = "started by server_of_idle_peers, with file descriptors of its own"]
async fn idle_peers() {
    let Ok(address) = std::env::var("PEERS_OF") else {
        return;
    };
    let count: usize = std::env::var("PEERS").unwrap().parse().unwrap();
    let mut peers = Vec::with_capacity(count);
    for index in 0..count {
        let mut peer = Peer(tokio::net::TcpStream::connect(&address).await.unwrap());
        if index % 2 == 0 {
            peer.say(GET).await;
            assert_eq!(status(&peer.answer().await), 200);
        }
        peers.push(peer);
    }
    println!("\nconnected");
    std::io::stdin().lines().for_each(drop);
}

/// A server for them, with nothing else in its process that takes memory.
#[tokio::test]
#[ignore = "started by ten_thousand_idle_connections_cost_little, with memory of its own"]
async fn server_of_idle_peers() {
    let Ok(count) = std::env::var("PEERS") else {
        return;
    };
    let count: usize = count.parse().unwrap();
    let metrics = Arc::new(Metrics::new().unwrap());
    let limits = Limits {
        connections: count + 10,
        header_time: Duration::from_secs(120),
        ..limits()
    };
    let server = Server::start(router().metrics(Arc::clone(&metrics)), limits).await;
    assert_eq!(status(&server.get("/").await), 200);
    let before = resident();

    let descriptors = u32::try_from(count + 200).unwrap();
    let mut peers = alone("connections::idle_peers", descriptors)
        .env("PEERS_OF", server.address.to_string())
        .spawn()
        .unwrap();
    let lines = BufReader::new(peers.stdout.take().unwrap()).lines();
    let connected = tokio::task::spawn_blocking(move || {
        lines.map_while(Result::ok).any(|line| line == "connected")
    });
    assert!(connected.await.unwrap());
    let open = format!("hookrun_http_connections {count}");
    until(|| metrics.text().contains(&open)).await;
    let each = (resident().saturating_sub(before) * 1024) / count;
    let started = Instant::now();
    assert_eq!(
        status(&server.get("/").await),
        200,
        "others are still served"
    );
    assert!(started.elapsed() < Duration::from_secs(5));
    println!("\n{count} connections, {each} bytes each");
    assert!(each < 8 << 10);
    drop(peers.stdin.take());
    let _ = peers.wait();
    until(|| metrics.text().contains("hookrun_http_connections 0")).await;
}

#[test]
fn ten_thousand_idle_connections_cost_little() {
    let most = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let most = most.lines().find(|line| line.starts_with("Max open files"));
    let most = most.and_then(|line| line.split_whitespace().nth(4)?.parse().ok());
    let most: usize = most.unwrap_or(1024);
    let count = most.saturating_sub(500).min(10_000);
    if count < 10_000 {
        eprintln!("only {count} connections: a process may open no more than {most} files here");
    }
    let descriptors = u32::try_from(count + 400).unwrap();
    let output = alone("connections::server_of_idle_peers", descriptors)
        .env("PEERS", count.to_string())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}\n{log}"
    );
}

/// Lets file descriptors run out under a server.
#[tokio::test]
#[ignore = "started by running_out_of_descriptors_passes, with file descriptors of its own"]
async fn without_descriptors() {
    if std::env::var("DESCRIPTORS").is_err() {
        return;
    }
    let server = Server::start(router(), limits()).await;
    let mut files = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        files.push(file);
    }
    // One for our end of the connection; none is left for the other end.
    files.pop();
    let mut peer = server.connect().await;
    peer.say(GET).await;
    assert!(
        tokio::time::timeout(Duration::from_millis(300), peer.answer())
            .await
            .is_err()
    );
    let used = cpu();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(cpu() - used < 15, "asking again and again");
    drop(files);
    assert_eq!(status(&peer.answer().await), 200);
}

/// Processor time of this thread, in hundredths of a second; test and server share it.
fn cpu() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    fields.get(11..13).map_or(0, |times| {
        times
            .iter()
            .filter_map(|time| time.parse::<u64>().ok())
            .sum()
    })
}

#[test]
fn running_out_of_descriptors_passes() {
    let output = alone("connections::without_descriptors", 64)
        .env("DESCRIPTORS", "64")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
