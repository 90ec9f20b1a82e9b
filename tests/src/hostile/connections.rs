//! Connections that are opened, fed too slowly, or never closed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use control_plane::{Cluster, until};
use futures_util::future::{join_all, try_join_all};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{MIB, PATIENCE, Target, exchange, post, rest, status};
use crate::{case::Case, cases};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = cases![
        a_head_that_comes_too_slowly_is_cut_off_and_others_are_served_meanwhile,
        a_body_that_comes_too_slowly_is_cut_off_and_others_are_served_meanwhile,
        floods_of_headers_are_refused,
        what_is_not_http_is_refused_or_cut_off,
    ];
    cases.extend(
        cases![ten_thousand_idle_connections_are_borne_and_cut_off]
            .into_iter()
            .map(Case::alone),
    );
    cases
}

/// Slow peers at once.
const SLOW: usize = 200;

/// Sends `first`, then a byte now and then, until the connection ends; gives what was answered, and when it ended.
async fn drip(target: &Target, first: &str) -> Result<(String, Duration)> {
    let mut stream = TcpStream::connect(target.address()).await?;
    let began = Instant::now();
    stream.write_all(first.as_bytes()).await?;
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    while began.elapsed() < PATIENCE {
        let pause = Duration::from_millis(100);
        match tokio::time::timeout(pause, stream.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => {
                return Ok((
                    String::from_utf8_lossy(&answer).into_owned(),
                    began.elapsed(),
                ));
            }
            Ok(Ok(count)) => answer.extend_from_slice(&buffer[..count]),
            // Writing into a connection that was closed shows at the next read.
            Err(_) => drop(stream.write_all(b"x").await),
        }
    }
    anyhow::bail!("a slow peer is still connected after {PATIENCE:?}")
}

async fn slow_peers(cluster: &Cluster, first: &str, statuses: &[u16]) -> Result<()> {
    let target = Target::start(cluster).await?;
    let before = target.memory()?;
    let slow = try_join_all((0..SLOW).map(|_| drip(&target, first)));
    let honest = async {
        // While all of them are at it.
        for number in 0..5 {
            target.is_well(&format!("meanwhile-{number}")).await?;
        }
        anyhow::Ok(())
    };
    let (slow, honest) = tokio::join!(slow, honest);
    honest?;
    for (answer, took) in slow? {
        ensure!(took < Duration::from_secs(8), "cut off only after {took:?}");
        if let Some(status) = status(&answer) {
            ensure!(statuses.contains(&status), "{answer}");
        }
    }
    target.is_flat(before, 16 * MIB)?;
    target.is_well("after").await
}

async fn a_head_that_comes_too_slowly_is_cut_off_and_others_are_served_meanwhile(
    cluster: Arc<Cluster>,
) -> Result<()> {
    slow_peers(
        &cluster,
        "POST /flow HTTP/1.1\r\nHost: test\r\nX-Slow: ",
        &[408],
    )
    .await
}

async fn a_body_that_comes_too_slowly_is_cut_off_and_others_are_served_meanwhile(
    cluster: Arc<Cluster>,
) -> Result<()> {
    slow_peers(
        &cluster,
        &format!("{}Content-Length: 100000\r\n\r\n{{", post()),
        &[408],
    )
    .await
}

async fn floods_of_headers_are_refused(cluster: Arc<Cluster>) -> Result<()> {
    let target = Target::start(&cluster).await?;
    let mut before = 0;
    for round in 0..5 {
        let many = "X-Flood: 1\r\n".repeat(5000);
        let long = format!("X-Flood: {}\r\n", "a".repeat(1 << 20));
        let endless = "a".repeat(4 << 20);
        let line = format!(
            "POST /{} HTTP/1.1\r\nHost: test\r\n\r\n",
            "a".repeat(1 << 20)
        );
        for (name, request) in [
            ("many", format!("{}{many}\r\n", post())),
            ("long", format!("{}{long}\r\n", post())),
            ("endless", format!("{}X-Flood: {endless}", post())),
            ("a long path", line),
        ] {
            let requests = (0..10).map(|_| exchange(target.address(), request.as_bytes()));
            for answer in try_join_all(requests).await? {
                let status = status(&answer);
                // It may be closed before we have read: we are still writing.
                ensure!(
                    matches!(status, None | Some(400 | 414 | 431)),
                    "{name}: {answer}"
                );
            }
        }
        if round == 1 {
            before = target.memory()?;
        }
    }
    target.is_flat(before, 8 * MIB)?;
    target.is_well("after").await
}

async fn what_is_not_http_is_refused_or_cut_off(cluster: Arc<Cluster>) -> Result<()> {
    let target = Target::start(&cluster).await?;
    let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    let honest = crate::samples::plain("smuggled", &target.namespace).to_string();
    let smuggled = format!(
        "{}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{}Content-Length: {}\r\nConnection: close\r\n\r\n{honest}",
        post(),
        post(),
        honest.len()
    );
    for (name, bytes) in [
        ("a TLS greeting", hello.to_vec()),
        ("noise", (0..4096_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect()),
        ("HTTP/0.9", b"GET /\r\n\r\n".to_vec()),
        ("HTTP/3.0", b"GET / HTTP/3.0\r\nHost: test\r\nConnection: close\r\n\r\n".to_vec()),
        ("no host", b"POST /flow HTTP/1.1\r\nConnection: close\r\n\r\n".to_vec()),
        ("two lengths", format!("{}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", post()).into_bytes()),
        ("a negative length", format!("{}Content-Length: -1\r\n\r\n", post()).into_bytes()),
        ("an endless length", format!("{}Content-Length: 99999999999999999999999\r\n\r\n", post()).into_bytes()),
        ("a bad chunk", format!("{}Transfer-Encoding: chunked\r\n\r\nzz\r\n", post()).into_bytes()),
        ("a huge chunk", format!("{}Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx", post()).into_bytes()),
        ("spaces in a name", format!("{}X Y : 1\r\n\r\n", post()).into_bytes()),
        ("a folded header", format!("{}X: 1\r\n 2\r\nConnection: close\r\n\r\n", post()).into_bytes()),
        ("CONNECT", b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n".to_vec()),
        ("an upgrade", b"GET / HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n\r\n".to_vec()),
        ("a smuggled request", smuggled.into_bytes()),
    ] {
        let answer = exchange(target.address(), &bytes).await.context(name)?;
        if let Some(status) = status(&answer) {
            ensure!((400..500).contains(&status), "{name}: {answer}");
        }
    }
    // Half a body, then the end.
    let mut stream = TcpStream::connect(target.address()).await?;
    stream
        .write_all(format!("{}Content-Length: 1000\r\n\r\n{{\"name\": ", post()).as_bytes())
        .await?;
    stream.shutdown().await?;
    let answer = rest(&mut stream).await?;
    ensure!(
        matches!(status(&answer), None | Some(400)),
        "half a body: {answer}"
    );

    target.is_well("after").await?;
    target.nothing_else_ran(&cluster, &["warm", "after"]).await
}

/// Connections that do nothing.
const IDLE: usize = 10_000;

async fn ten_thousand_idle_connections_are_borne_and_cut_off(cluster: Arc<Cluster>) -> Result<()> {
    // Each end of a connection is a file, ours and, by inheritance, the function's.
    let most = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(most),
            maximum: Some(most),
        },
    )?;
    let count = IDLE.min(usize::try_from(most.saturating_sub(1000))?);
    if count < IDLE {
        eprintln!(
            "only {count} of {IDLE} idle connections: raise the hard limit of open files (ulimit -Hn), which is {most}"
        );
    }
    let target = Target::with(&cluster, |setup| {
        setup
            .env("HOOKRUN_HEADER_TIME", "30s")
            .env("HOOKRUN_CONNECTIONS", &(IDLE + 500).to_string())
    })
    .await?;
    let mut before = target.memory()?;
    for round in 0..2 {
        let connections = idle(&target, count).await?;
        target
            .is_well(&format!("with all of them, {round}"))
            .await?;
        let held = target.memory()?;
        let each = held.saturating_sub(before) / count as u64;
        ensure!(each < 16 << 10, "an idle connection costs {each} bytes");
        // The first lot leaves by itself; the second one is closed by the function in its time.
        match round {
            0 => drop(connections),
            _ => drop(
                try_join_all(
                    connections
                        .into_iter()
                        .map(|mut stream| async move { rest(&mut stream).await }),
                )
                .await?,
            ),
        }
        until("the connections are closed", PATIENCE, async || {
            Ok(files(&target)? < 200)
        })
        .await?;
        target
            .is_well(&format!("after all of them, {round}"))
            .await?;
        match round {
            0 => before = target.memory()?,
            _ => target.is_flat(before, 8 * MIB)?,
        }
    }
    // More than it will hold: whoever is too much is told, or cut off, and those who were there first are served.
    let small = Target::with(&cluster, |setup| setup.env("HOOKRUN_CONNECTIONS", "100")).await?;
    let mut refused = 0;
    let mut streams = join_all((0..300).map(|_| TcpStream::connect(small.address()))).await;
    for stream in streams.iter_mut().flatten() {
        let answer = rest(stream).await?;
        refused += usize::from(status(&answer) == Some(503));
        ensure!(
            matches!(status(&answer), None | Some(408 | 503)),
            "{answer}"
        );
    }
    ensure!(refused > 0, "nobody was told");
    small.is_well("after").await
}

/// Opens connections, no more at once than fit into the queue of a listener: the kernel leaves a peer beyond that in the belief
/// that it is connected.
async fn idle(target: &Target, count: usize) -> Result<Vec<TcpStream>> {
    const AT_ONCE: usize = 200;
    let mut open = Vec::new();
    let others = files(target)?;
    while open.len() < count {
        let connections =
            (0..AT_ONCE.min(count - open.len())).map(|_| TcpStream::connect(target.address()));
        open.extend(try_join_all(connections).await?);
        // Connections of honest peers may have been closed meanwhile.
        let expected = open.len() + others.saturating_sub(20);
        until("they are accepted", PATIENCE, async || {
            Ok(files(target)? >= expected)
        })
        .await
        .with_context(|| format!("{} of {expected} files", files(target).unwrap_or_default()))?;
    }
    Ok(open)
}

/// How many files the function has open.
fn files(target: &Target) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{}/fd", target.function.id()))?.count())
}
