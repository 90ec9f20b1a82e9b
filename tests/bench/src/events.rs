//! Runs per second through the function, beside a bare client that does the same writes; and what the function adds to the
//! latency of one event when nothing else goes on.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use base64::{Engine, prelude::BASE64_STANDARD};
use control_plane::Cluster;
use http::Method;
use system_tests::{
    function::{Function, PASSWORD, USER},
    samples::{Folder, payload, plain, rich},
};

use crate::{
    Arguments,
    hooks::Sender,
    recipe::Recipe,
    record::one_event,
    table::{Table, median, time},
    wire::{Connection, Target},
};

/// Events of each side for the latency at rest.
const SAMPLES: usize = 200;

/// Who sends: through the function, or past it.
#[derive(Clone)]
pub(crate) enum Side {
    Hookrun {
        target: Target,
        path: String,
        body: String,
    },
    /// Through the function that serves Hooks.
    Webhook {
        target: Target,
        sender: Sender,
    },
    Bare {
        target: Target,
        recipe: Recipe,
    },
}

/// No two runs of a measurement share a name.
static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// The next of them.
pub(crate) fn number() -> usize {
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

impl Side {
    fn target(&self) -> &Target {
        match self {
            Self::Hookrun { target, .. }
            | Self::Webhook { target, .. }
            | Self::Bare { target, .. } => target,
        }
    }

    pub(crate) async fn connect(&self) -> Result<Connection> {
        self.target().connect().await
    }

    /// The same at another address.
    pub(crate) fn at(&self, address: SocketAddr) -> Result<Self> {
        let mut side = self.clone();
        let (Self::Hookrun { target, .. }
        | Self::Webhook { target, .. }
        | Self::Bare { target, .. }) = &mut side;
        *target = self.target().moved(address)?;
        Ok(side)
    }

    /// Makes one run.
    pub(crate) async fn event(&self, connection: &mut Connection) -> Result<()> {
        match self {
            Self::Hookrun { path, body, .. } => connection
                .send(Method::POST, path, "application/json", body.clone())
                .await
                .map(drop),
            Self::Webhook { sender, .. } => sender.push(connection, number()).await.map(drop),
            Self::Bare { recipe, .. } => recipe.send(connection, number()).await,
        }
    }

    /// Runs per second over some connections during some time.
    pub(crate) async fn throughput(&self, connections: usize, during: Duration) -> Result<f64> {
        let mut open = Vec::new();
        for _ in 0..connections {
            let mut connection = self.connect().await?;
            // What happens once per connection is no part of it.
            self.event(&mut connection).await?;
            open.push(connection);
        }
        let count = Arc::new(AtomicUsize::new(0));
        let began = Instant::now();
        let workers: Vec<_> = open
            .into_iter()
            .map(|mut connection| {
                let (side, count) = (self.clone(), Arc::clone(&count));
                tokio::spawn(async move {
                    while began.elapsed() < during {
                        side.event(&mut connection).await?;
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        for worker in workers {
            worker.await??;
        }
        Ok(count.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64())
    }
}

/// The function's `Authorization`.
pub(crate) fn credentials() -> String {
    basic(USER, PASSWORD)
}

/// An `Authorization` with a user and a password.
pub(crate) fn basic(user: &str, password: &str) -> String {
    format!(
        "Basic {}",
        BASE64_STANDARD.encode(format!("{user}:{password}"))
    )
}

/// The three ways in that are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    /// `POST /flow/name/…`, of a flow without Secrets.
    Name,
    /// `POST /flow`, without payload; the flow has no Secrets.
    Document,
    /// `POST /flow/key/…`, from a folder, with secrets, a file and a payload.
    Key,
}

impl Door {
    const ALL: [Self; 3] = [Self::Name, Self::Document, Self::Key];

    fn title(self) -> &'static str {
        match self {
            Self::Name => "by name",
            Self::Document => "posted flow",
            Self::Key => "by key, with payload",
        }
    }

    /// Whoever brings events through this door; what they need is stored before.
    async fn side(self, function: &Function, namespace: &str, flows: &Folder) -> Result<Side> {
        let (path, body) = match self {
            Self::Key => {
                flows.put("bench", &rich("bench key", namespace, "1"))?;
                (format!("/flow/key/bench/ns/{namespace}"), payload(1))
            }
            Self::Document => {
                let document = plain("bench document", namespace);
                ("/flow".to_owned(), document.to_string())
            }
            Self::Name => {
                let document = plain("bench name", namespace).to_string();
                let answer = function.post("/flow").body(document).send().await?;
                anyhow::ensure!(answer.status() == 200, "{}", answer.text().await?);
                let path = format!("/flow/name/bench%20name/ns/{namespace}");
                (path, String::new())
            }
        };
        Ok(Side::Hookrun {
            target: Target::plain(function.address(), &credentials())?,
            path,
            body,
        })
    }
}

pub(crate) async fn measure(
    table: &mut Table,
    arguments: &Arguments,
    cluster: &Cluster,
) -> Result<()> {
    let flows = Folder::new()?;
    let mut rows = Vec::new();
    for door in Door::ALL {
        // Objects of one door are not in the way of another.
        let namespace = cluster.namespace("bench").await?;
        let setup = || {
            let setup = Function::on(cluster).run_in(&namespace);
            setup.env("HOOKRUN_FLOW_STORE", &flows.url())
        };
        let (function, title) = (setup().start().await?, door.title());
        let hookrun = door.side(&function, &namespace, &flows).await?;
        let recorded = one_event(cluster, setup(), function.account(), &hookrun);
        let recorded = recorded.await.with_context(|| format!("{door:?}"))?;
        let target = Target::api_server(cluster, &function.account().token)?;
        let bare = |recipe: Recipe| Side::Bare {
            target: target.clone(),
            recipe,
        };
        let writes = Recipe::writes(&recorded)?;
        let written = format!("{title} ({} writes)", writes.len());
        let sides = [hookrun.clone(), bare(writes)];
        compare(table, arguments, &sides, &written).await?;
        if door == Door::Name {
            // Where the rest goes: somebody has to read what is stored.
            let reading = [hookrun, bare(Recipe::requests(&recorded)?)];
            let title = format!("{title}, the bare client reads too");
            compare(table, arguments, &reading, &title).await?;
        }
        let [hookrun, bare] = at_rest(&sides).await?;
        rows.push((title, hookrun, bare));
    }
    for (title, hookrun, bare) in rows {
        tell_rest(table, title, hookrun, bare);
    }
    Ok(())
}

/// The row that [`at_rest`] is measured for.
pub(crate) fn tell_rest(table: &mut Table, title: &str, hookrun: Duration, bare: Duration) {
    table.row(
        format!("latency at rest, {title}"),
        time(hookrun),
        format!("{} bare client", time(bare)),
        format!("+{}", time(hookrun.saturating_sub(bare))),
        "",
    );
}

/// Runs per second of both sides, in turns, a row for each number of connections.
pub(crate) async fn compare(
    table: &mut Table,
    arguments: &Arguments,
    sides: &[Side; 2],
    title: &str,
) -> Result<()> {
    for &connections in &arguments.connections {
        let mut rates = [Vec::new(), Vec::new()];
        for turn in 0..arguments.turns {
            // Each goes first as often as the other.
            for side in if turn % 2 == 0 { [0, 1] } else { [1, 0] } {
                rates[side].push(
                    sides[side]
                        .throughput(connections, arguments.turn())
                        .await?,
                );
            }
        }
        let [hookrun, bare] = rates.each_mut().map(|rates| median(rates));
        table.row(
            format!("runs/s {title}, {connections} connections"),
            format!("{hookrun:.0}"),
            format!("{bare:.0} bare client"),
            format!("{:.2}", hookrun / bare),
            "≥ 0.9",
        );
    }
    Ok(())
}

/// The median time of one event of each side, in turns, one at a time.
pub(crate) async fn at_rest(sides: &[Side; 2]) -> Result<[Duration; 2]> {
    let mut connections = [sides[0].connect().await?, sides[1].connect().await?];
    let mut times = [Vec::new(), Vec::new()];
    for sample in 0..SAMPLES {
        for side in if sample % 2 == 0 { [0, 1] } else { [1, 0] } {
            let began = Instant::now();
            sides[side].event(&mut connections[side]).await?;
            times[side].push(began.elapsed());
        }
    }
    Ok(times.each_mut().map(|times| median(times)))
}
