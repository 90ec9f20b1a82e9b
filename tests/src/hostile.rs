//! Senders that mean harm, or know no better: every one gets a clear answer or a closed connection, memory stays flat, nothing
//! panics, and the next honest request is served as if nothing had been.

mod connections;
mod documents;
mod frames;
mod load;

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use control_plane::Cluster;
use http::Method;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    aftermath,
    case::Case,
    function::{Function, PASSWORD, Setup, USER},
    samples::plain,
};

/// The cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    [
        documents::cases(),
        connections::cases(),
        frames::cases(),
        load::cases(),
    ]
    .into_iter()
    .flatten()
    .map(|case| case.within(Duration::from_secs(240)))
    .collect()
}

/// How long a peer waits for what should come at once.
const PATIENCE: Duration = Duration::from_secs(45);

const MIB: u64 = 1 << 20;

/// A function under attack.
struct Target {
    namespace: String,
    function: Function,
}

impl Target {
    /// Starts it, with small clocks, so that the test need not wait for the usual ones.
    async fn start(cluster: &Cluster) -> Result<Self> {
        Self::with(cluster, |setup| setup).await
    }

    async fn with<'a>(
        cluster: &'a Cluster,
        more: impl FnOnce(Setup<'a>) -> Setup<'a>,
    ) -> Result<Self> {
        let namespace = cluster.namespace("hostile").await?;
        let setup = Function::on(cluster)
            .run_in(&namespace)
            .env("HOOKRUN_HEADER_TIME", "1s")
            .env("HOOKRUN_BODY_TIME", "1s");
        let function = more(setup).start().await?;
        let target = Self {
            namespace,
            function,
        };
        // Whatever is made once, the client for the API server among it, is no growth.
        target.is_well("warm").await?;
        Ok(target)
    }

    fn address(&self) -> SocketAddr {
        self.function.address()
    }

    /// The memory that it may have afterwards, if it is to have grown by so much at most.
    fn memory(&self) -> Result<u64> {
        self.function.memory()
    }

    /// Checks that memory did not grow beyond a bound.
    fn is_flat(&self, before: u64, bound: u64) -> Result<()> {
        let after = self.memory()?;
        ensure!(
            after < before + bound,
            "memory went from {} to {} KiB",
            before / 1024,
            after / 1024
        );
        Ok(())
    }

    /// Checks that it serves an honest event, and has said nothing that it should not.
    async fn is_well(&self, event: &str) -> Result<()> {
        let health = self
            .function
            .anonymous(Method::GET, "/healthz")
            .send()
            .await?;
        ensure!(health.status() == 200, "unhealthy: {}", health.status());
        let flow = plain("honest", &self.namespace).to_string();
        let request = self.function.post("/flow").header("idempotency-key", event);
        let answer = request.body(flow).send().await?;
        let status = answer.status();
        ensure!(
            status == 200,
            "an honest event: {status} {}",
            answer.text().await?
        );
        aftermath::discreet(&self.function)
    }

    /// Checks that exactly the honest events became runs.
    async fn nothing_else_ran(&self, cluster: &Cluster, events: &[&str]) -> Result<()> {
        let events: Vec<_> = events.iter().map(|event| (*event).to_owned()).collect();
        aftermath::holds(cluster, &self.namespace, &events).await
    }
}

/// `Authorization: …` of the tests' user.
fn credentials() -> String {
    format!(
        "Authorization: Basic {}\r\n",
        BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"))
    )
}

/// The beginning of a `POST /flow`, up to where headers may follow.
fn post() -> String {
    format!("POST /flow HTTP/1.1\r\nHost: test\r\n{}", credentials())
}

/// Writes bytes and reads until the connection ends. A refusal may come, and the connection end, while we are still writing.
async fn exchange(address: SocketAddr, bytes: &[u8]) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(bytes).await.ok();
    rest(&mut stream).await
}

/// What still comes until the connection ends.
async fn rest(stream: &mut TcpStream) -> Result<String> {
    let mut answer = Vec::new();
    // A reset after the answer is an end, too.
    timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .with_context(|| {
            format!(
                "the connection stays open after {:?}",
                String::from_utf8_lossy(&answer)
            )
        })?
        .ok();
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The status of a raw answer; `None` where the connection was closed without one.
fn status(answer: &str) -> Option<u16> {
    answer.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}
