//! One connection from its first byte to its last.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Stage;
use super::answer::{Answer, Streams};
use super::clock::{Busy, Clock};
use super::socket::Socket;
use super::wire::{Protocol, Wire};
use crate::Shell;

const TOO_LATE: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// Streams of one HTTP/2 connection; their handlers are bounded for the whole process anyway.
const STREAMS: u32 = 128;
/// What a peer may send of one body before somebody reads it.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Streams that a peer opened and took back before they were even looked at.
const RESETS: usize = 20;
const PING_TIMEOUT: Duration = Duration::from_secs(20);

pub(super) async fn run(
    stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    shell: Shell,
    mut stage: watch::Receiver<Stage>,
) {
    // Answers are small and complete; waiting for more to send would only delay them.
    let _ = stream.set_nodelay(true);
    let clock = Clock::new(shell.limits());
    let opening = Socket::open(stream, tls);
    let Some(Ok(socket)) = in_time(opening, &clock, &mut stage).await else {
        return;
    };
    let mut wire = Wire::new(socket, clock.clone());
    match protocol(&mut wire, &clock, &mut stage).await {
        Some(Protocol::Http1) => http1(wire, shell, clock, stage).await,
        Some(Protocol::Http2) => Box::pin(http2(wire, shell, clock, stage)).await,
        None => {}
    }
}

/// Until the protocol is known, a connection costs one task and no buffer but that of TLS.
async fn protocol(
    wire: &mut Wire,
    clock: &Clock,
    stage: &mut watch::Receiver<Stage>,
) -> Option<Protocol> {
    match in_time(wire.protocol(), clock, stage).await {
        Some(known) => known.ok().flatten(),
        None => {
            if wire.heard() && *stage.borrow() != Stage::Over {
                wire.say(TOO_LATE);
            }
            None
        }
    }
}

/// What comes of the work, unless the clock runs out or the process ends before.
async fn in_time<T>(
    work: impl Future<Output = T>,
    clock: &Clock,
    stage: &mut watch::Receiver<Stage>,
) -> Option<T> {
    let mut work = pin!(work);
    loop {
        hurry(stage, clock);
        let deadline = clock.deadline().unwrap_or_else(Instant::now);
        tokio::select! {
            biased;
            done = &mut work => return Some(done),
            () = tokio::time::sleep_until(deadline) => return None,
            changed = stage.changed() => {
                if changed.is_err() || *stage.borrow() == Stage::Over {
                    return None;
                }
            }
        }
    }
}

fn hurry(stage: &watch::Receiver<Stage>, clock: &Clock) {
    if *stage.borrow() != Stage::Serving {
        clock.hurry();
    }
}

async fn http1(mut wire: Wire, shell: Shell, clock: Clock, mut stage: watch::Receiver<Stage>) {
    loop {
        match awake(wire, &shell, &clock, stage.clone()).await {
            Some(asleep) => wire = asleep,
            None => return,
        }
        // Between requests: without the buffers of HTTP a connection costs next to nothing, so thousands may wait
        // here. To make the buffers again takes a microsecond of the next request.
        let patience = clock.deadline().unwrap_or_else(Instant::now);
        tokio::select! {
            biased;
            stirs = wire.stirs() => if stirs.is_err() { return },
            () = tokio::time::sleep_until(patience) => return,
            // Whether to drain or to end: nothing is in flight here.
            _ = stage.wait_for(|stage| *stage != Stage::Serving) => return,
        }
    }
}

/// Serves until the connection ends, or has nothing to do; then the bare socket comes back.
async fn awake(
    wire: Wire,
    shell: &Shell,
    clock: &Clock,
    stage: watch::Receiver<Stage>,
) -> Option<Wire> {
    let (limits, naps) = (shell.limits(), wire.naps());
    let mut builder = http1::Builder::new();
    builder
        // Ours knows more phases.
        .header_read_timeout(None)
        .timer(TokioTimer::new())
        .max_headers(limits.header_count)
        .max_buf_size(limits.header_bytes);
    let (answers, shell) = (clock.clone(), shell.clone());
    let service = service_fn(move |request| answer(request, shell.clone(), answers.begin()));
    // On the heap, so that the task of a connection is small while this is not needed.
    let mut connection = Box::new(builder.serve_connection(TokioIo::new(wire), service));
    let end = drive(connection.as_mut(), clock, stage, naps).await;
    let http1::Parts { io, read_buf, .. } = connection.into_parts();
    let mut wire = io.into_inner();
    match end {
        End::Asleep => {
            wire.unread(read_buf);
            if wire.heard() {
                // Half of the next head came with the last request.
                clock.received();
            }
            return Some(wire);
        }
        End::Closed => wire.linger().await,
        End::Expired if clock.is_mid_head() => {
            wire.say(TOO_LATE);
            wire.linger().await;
        }
        End::Expired | End::Over => {}
    }
    None
}

async fn http2(wire: Wire, shell: Shell, clock: Clock, stage: watch::Receiver<Stage>) {
    // Its frames are about all kinds of things, so bytes are no sign of a request's head.
    clock.multiplex();
    let limits = shell.limits();
    let mut builder = http2::Builder::new(Streams {
        patience: limits.idle_time,
    });
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(RESETS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(64 << 10)
        // A peer that is gone without a word is found before its idle time is over.
        .keep_alive_interval((limits.idle_time / 2).max(Duration::from_secs(1)))
        .keep_alive_timeout(PING_TIMEOUT);
    let answers = clock.clone();
    let service = service_fn(move |request| answer(request, shell.clone(), answers.begin()));
    let mut connection = Box::new(builder.serve_connection(TokioIo::new(wire), service));
    if let End::Expired = drive(connection.as_mut(), &clock, stage.clone(), false).await {
        // The peer is told, so that it sends its next request elsewhere. One that is on its way is still answered.
        clock.part();
        Pin::new(connection.as_mut()).graceful_shutdown();
        drive(connection.as_mut(), &clock, stage, false).await;
    }
}

enum End {
    /// Both sides are done, or one of them broke off.
    Closed,
    /// Nothing is to be done.
    Asleep,
    /// The clock ran out.
    Expired,
    /// The process ends.
    Over,
}

/// Lets a connection work until it ends, its clock runs out, or the process ends.
async fn drive<C>(
    connection: &mut C,
    clock: &Clock,
    mut stage: watch::Receiver<Stage>,
    naps: bool,
) -> End
where
    C: GracefulConnection<Error = hyper::Error> + Unpin,
{
    let mut sleep = pin!(tokio::time::sleep(Duration::ZERO));
    let mut draining = *stage.borrow_and_update() != Stage::Serving;
    let mut stopped = false;
    loop {
        let working = poll_fn(|cx| {
            // A head that has begun to come is waited for, since its sender cannot know that it is late.
            if draining && !stopped && !clock.is_mid_head() {
                Pin::new(&mut *connection).graceful_shutdown();
                stopped = true;
            }
            if let Poll::Ready(result) = Pin::new(&mut *connection).poll(cx) {
                if let Err(error) = result {
                    tracing::debug!(%error, "connection");
                }
                return Poll::Ready(End::Closed);
            }
            if draining && !stopped && !clock.is_mid_head() {
                cx.waker().wake_by_ref();
            }
            // Everything that moves the clock also wakes this task, so it is enough to look after each step.
            if naps && !draining && clock.is_quiet() {
                return Poll::Ready(End::Asleep);
            }
            let Some(deadline) = clock.deadline() else {
                return Poll::Pending;
            };
            if sleep.deadline() != deadline {
                sleep.as_mut().reset(deadline);
            }
            sleep.as_mut().poll(cx).map(|()| End::Expired)
        });
        tokio::select! {
            biased;
            end = working => return end,
            changed = stage.changed() => {
                if changed.is_err() || *stage.borrow() == Stage::Over {
                    return End::Over;
                }
                draining = true;
                clock.hurry();
            }
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    shell: Shell,
    busy: Busy,
) -> Result<Response<Answer>, std::convert::Infallible> {
    let response = shell.answer(request).await;
    // Only our own shell sets it.
    if response.headers().contains_key(header::CONNECTION) {
        busy.last();
    }
    Ok(response.map(|body| Answer::new(body, busy)))
}
