//! From a listening socket to requests, and to an orderly end.
//!
//! One task per connection, all of them bounded: in number, in the time they may take for anything, and in the
//! memory that they may make this process hold. HTTP/1.1 and HTTP/2 with prior knowledge on one port, or both in TLS.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::{Limits, Router, Shell};

pub use tls::{Certificates, TlsOptions};

mod answer;
mod clock;
mod connection;
mod refuse;
mod socket;
mod tls;
mod wire;

/// Where to listen.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Listening")]
pub struct ListenOptions {
    /// Port to listen on. `PORT`, which Knative sets, comes next; without any it is 8080.
    #[arg(long, env = "OX_HTTP_PORT", value_name = "PORT")]
    port: Option<u16>,

    /// What the platform says.
    #[arg(long, env = "PORT", default_value_t = 8080, hide = true)]
    platform_port: u16,
}

impl ListenOptions {
    /// The port: the flag, else `OX_HTTP_PORT`, else `PORT`, else 8080.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(self.platform_port)
    }
}

/// Listens on all addresses of both families, or of the one that there is.
///
/// # Errors
/// The port is taken, or may not be used.
pub async fn listen(port: u16) -> io::Result<TcpListener> {
    match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
        Err(_) => TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await,
        listener => listener,
    }
}

/// Ends at SIGTERM, with which a platform ends a container, or SIGINT, with which a person does.
pub async fn sigterm() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        tracing::error!("signals cannot be received; only SIGKILL will end this process");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

/// Serves the routes until `shutdown` ends, then finishes what is in flight.
///
/// # Errors
/// The routes or the limits contradict each other. Nothing that a peer does ends it.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    run(listener, None, router, limits, shutdown).await
}

/// The same with TLS, for a function that is called past the gateway. A handshake has the time of a request's head, and
/// its connection counts from its first byte.
///
/// # Errors
/// As [`serve()`].
pub async fn serve_tls(
    listener: TcpListener,
    certificates: Certificates,
    router: Router,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    run(listener, Some(certificates), router, limits, shutdown).await
}

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Serving,
    /// Finish what is in flight.
    Draining,
    /// Time is up.
    Over,
}

async fn run(
    listener: TcpListener,
    certificates: Option<Certificates>,
    router: Router,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let shell = Shell::new(router, limits.clone())
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
    let server = Server {
        shell: shell.clone(),
        certificates,
        slots: Arc::new(Semaphore::new(
            limits.connections.min(Semaphore::MAX_PERMITS),
        )),
        refusals: Arc::new(Semaphore::new(refuse::AT_ONCE)),
        stage: watch::channel(Stage::Serving).0,
    };
    accept_until(&listener, &server, shutdown).await;

    tracing::info!(seconds = limits.drain_time.as_secs(), "draining");
    shell.drain();
    server.stage.send_replace(Stage::Draining);
    // Whoever was let into the queue by the kernel before is served like the rest; new ones are turned away by it.
    server.accept_queued(&listener).await;
    drop(listener);
    if tokio::time::timeout(limits.drain_time, async {
        tokio::join!(server.closed(), shell.idle())
    })
    .await
    .is_err()
    {
        tracing::warn!("requests were still in flight when the time for draining was over");
    }
    server.stage.send_replace(Stage::Over);
    // They only have to notice.
    let _ = tokio::time::timeout(Duration::from_secs(1), server.closed()).await;
    Ok(())
}

async fn accept_until(listener: &TcpListener, server: &Server, shutdown: impl Future<Output = ()>) {
    let mut shutdown = std::pin::pin!(shutdown);
    let mut failures = 0_u32;
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                failures = 0;
                server.take(stream);
            }
            // The peer is gone already; that says nothing about the next one.
            Err(error) if is_of_the_peer(&error) => {}
            // No descriptors or no memory: others must close first, and asking again at once would only burn time.
            Err(error) => {
                if failures.is_power_of_two() || failures == 0 {
                    tracing::error!(%error, failures, "connections cannot be accepted");
                }
                failures = failures.saturating_add(1);
                tokio::select! {
                    () = &mut shutdown => return,
                    () = tokio::time::sleep(Duration::from_millis(50)) => {}
                }
            }
        }
    }
}

fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

struct Server {
    shell: Shell,
    /// With them, everybody has to speak TLS.
    certificates: Option<Certificates>,
    slots: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    stage: watch::Sender<Stage>,
}

impl Server {
    fn take(&self, stream: TcpStream) {
        match Arc::clone(&self.slots).try_acquire_owned() {
            Ok(slot) => {
                let gauge = self.shell.metrics().connection();
                let tls = self.certificates.as_ref().map(Certificates::config);
                let work = connection::run(stream, tls, self.shell.clone(), self.stage.subscribe());
                tokio::spawn(async move {
                    let held: (OwnedSemaphorePermit, _) = (slot, gauge);
                    work.await;
                    drop(held);
                });
            }
            Err(_) => {
                self.shell.metrics().connection_refused();
                // Somebody who waits for a handshake could not read the answer.
                if self.certificates.is_none() {
                    refuse::refuse(stream, &self.refusals);
                }
            }
        }
    }

    async fn accept_queued(&self, listener: &TcpListener) {
        const QUEUE: usize = 1024;
        const MOMENT: Duration = Duration::from_millis(1);
        for _ in 0..QUEUE {
            // Whoever is in the queue is handed out at once.
            let Ok(Ok((stream, _))) = tokio::time::timeout(MOMENT, listener.accept()).await else {
                return;
            };
            self.take(stream);
        }
    }

    /// Ends when no connection is open.
    async fn closed(&self) {
        let all = u32::try_from(self.shell.limits().connections).unwrap_or(u32::MAX);
        // The semaphore is never closed, so there is nothing to do about an error.
        let _ = self.slots.acquire_many(all).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Program {
        #[command(flatten)]
        listen: ListenOptions,
    }

    #[test]
    fn a_flag_wins_over_what_the_platform_says() {
        let port = |args: &[&str]| {
            Program::parse_from([&["program"], args].concat())
                .listen
                .port()
        };
        assert_eq!(port(&[]), 8080);
        assert_eq!(port(&["--platform-port", "9"]), 9);
        assert_eq!(port(&["--port", "7", "--platform-port", "9"]), 7);
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_said_at_once() {
        let first = listen(0).await.unwrap();
        let port = first.local_addr().unwrap().port();
        assert_eq!(
            listen(port).await.unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
    }
}
