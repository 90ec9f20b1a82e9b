//! The process: how large, how soon it answers, and what it holds.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use control_plane::{Cluster, Process};
use system_tests::{
    function::{Function, PASSWORD, USER},
    samples::plain,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    Arguments,
    events::{Side, credentials},
    table::{Table, mebibytes, median, time},
    wire::Target,
};

/// Starts of each side.
const STARTS: usize = 31;

/// Connections over which the events before the second look at memory come.
const CONNECTIONS: usize = 16;

pub(crate) async fn measure(
    table: &mut Table,
    arguments: &Arguments,
    cluster: &Cluster,
) -> Result<()> {
    let size = std::fs::metadata(&arguments.hookrun)
        .with_context(|| arguments.hookrun.display().to_string())?
        .len();
    table.row(
        "executable",
        format!("{:.1} MB", size as f64 / 1e6),
        "",
        "",
        "about 10 MB",
    );

    let [hookrun, bare] = starts(arguments, cluster).await?;
    table.row(
        "exec to first answer",
        time(hookrun),
        format!("{} bare hyper server", time(bare)),
        format!("{:.2}", hookrun.as_secs_f64() / bare.as_secs_f64()),
        "≤ 15 ms, ≤ 1.5",
    );

    let namespace = cluster.namespace("bench").await?;
    let function = Function::on(cluster).run_in(&namespace).start().await?;
    table.row(
        "memory at rest",
        mebibytes(function.memory()?),
        "",
        "",
        "≤ 12 MiB",
    );
    let side = Side::Hookrun {
        target: Target::plain(function.address(), &credentials())?,
        path: "/flow".to_owned(),
        body: plain("bench memory", &namespace).to_string(),
    };
    let share = arguments.events.div_ceil(CONNECTIONS);
    let workers: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let side = side.clone();
            tokio::spawn(async move {
                let mut connection = side.connect().await?;
                for _ in 0..share {
                    side.event(&mut connection).await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for worker in workers {
        worker.await??;
    }
    table.row(
        format!("memory after {} events", share * CONNECTIONS),
        mebibytes(function.memory()?),
        "",
        "",
        "≤ 20 MiB",
    );
    Ok(())
}

/// The most memory that a process has held so far, in bytes (resident set).
pub(crate) fn peak(process: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let line = line.context("the system does not tell the peak of the resident memory")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// The median time from exec to the first answer: of the function, and of the bare server.
async fn starts(arguments: &Arguments, cluster: &Cluster) -> Result<[Duration; 2]> {
    let account = cluster.account("bench").await?;
    let kubeconfig = cluster.kubeconfig(cluster.url(), &account.token)?;
    let hookrun = |port: u16| {
        let mut command = Command::new(&arguments.hookrun);
        command
            .args(["flow", "--port", &port.to_string()])
            .env_clear()
            .env("KUBECONFIG", &kubeconfig)
            .env("HOOKRUN_NAMESPACES", &account.namespace)
            .env("OX_HTTP_UNAME", USER)
            .env("OX_HTTP_PWD", PASSWORD);
        command
    };
    let bare = |port: u16| {
        let mut command = Command::new(&arguments.bare);
        command.arg(port.to_string()).env_clear();
        command
    };
    let log = cluster.logs().join("start.log");
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..STARTS {
        times[0].push(start(hookrun, "/healthz", &log).await?);
        times[1].push(start(bare, "/", &log).await?);
    }
    Ok(times.each_mut().map(|times| median(times)))
}

/// Starts a server on a free port and asks it until it answers.
async fn start(command: impl Fn(u16) -> Command, path: &str, log: &Path) -> Result<Duration> {
    // Free a moment ago; nobody else is likely to have taken it.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut command = command(port);
    command.stdin(Stdio::null());
    let began = Instant::now();
    // The watcher that `Process` starts beside the program takes a part of a millisecond, on both sides.
    let mut process = Process::start("server", command, log)?;
    let mut stream = loop {
        match TcpStream::connect(address).await {
            Ok(stream) => break stream,
            Err(_) if began.elapsed() < Duration::from_secs(10) => {
                if let Some(status) = process.ended()? {
                    bail!("the server ended ({status}): {}", process.output());
                }
                tokio::time::sleep(Duration::from_micros(50)).await;
            }
            Err(error) => return Err(error).context(process.output()),
        }
    };
    let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = [0; 1024];
    let count = stream.read(&mut answer).await?;
    let took = began.elapsed();
    ensure!(
        answer[..count].starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&answer[..count])
    );
    process.kill()?;
    Ok(took)
}
