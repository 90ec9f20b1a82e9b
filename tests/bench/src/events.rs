//! Runs per second through the function, beside a bare client that does the same writes; and what the function adds to the
//! latency of one event when nothing else goes on.

use std::{
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
use serde_json::Value;
use system_tests::{
    function::{Function, PASSWORD, USER},
    samples::{Folder, payload, plain, rich},
};

use crate::{
    Arguments,
    hooks::Sender,
    recipe::{Door, Recipe},
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
    pub(crate) async fn connect(&self) -> Result<Connection> {
        match self {
            Self::Hookrun { target, .. }
            | Self::Webhook { target, .. }
            | Self::Bare { target, .. } => target.connect().await,
        }
    }

    /// Makes one run.
    pub(crate) async fn event(&self, connection: &mut Connection) -> Result<()> {
        match self {
            Self::Hookrun { path, body, .. } => connection
                .send(Method::POST, path, "application/json", body.clone())
                .await
                .map(drop),
            Self::Webhook { sender, .. } => sender.push(connection, number()).await.map(drop),
            Self::Bare { recipe, .. } => {
                let name = recipe.name(number());
                recipe.send(connection, &name).await
            }
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

/// Both sides of a door, in a namespace of their own.
async fn sides(
    cluster: &Cluster,
    function: &Function,
    namespace: &str,
    flows: &Folder,
    door: Door,
) -> Result<[Side; 2]> {
    let payload = payload(1);
    let document: Value = match door {
        Door::Key => rich("bench key", namespace, "1"),
        Door::Document => plain("bench document", namespace),
        Door::Name => plain("bench name", namespace),
    };
    let (path, body) = match door {
        Door::Key => {
            flows.put("bench", &document)?;
            (format!("/flow/key/bench/ns/{namespace}"), payload.clone())
        }
        Door::Document => ("/flow".to_owned(), document.to_string()),
        Door::Name => {
            let answer = function
                .post("/flow")
                .body(document.to_string())
                .send()
                .await?;
            anyhow::ensure!(answer.status() == 200, "{}", answer.text().await?);
            (
                format!("/flow/name/bench%20name/ns/{namespace}"),
                String::new(),
            )
        }
    };
    let hookrun = Side::Hookrun {
        target: Target::plain(function.address(), &credentials())?,
        path,
        body,
    };
    let bare = Side::Bare {
        target: Target::api_server(cluster, &function.account().token)?,
        recipe: Recipe::of(cluster, door, &document, namespace, payload.as_bytes()).await?,
    };
    Ok([hookrun, bare])
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
        let function = Function::on(cluster)
            .run_in(&namespace)
            .env("HOOKRUN_FLOW_STORE", &flows.url())
            .start()
            .await?;
        let sides = sides(cluster, &function, &namespace, &flows, door)
            .await
            .with_context(|| format!("{door:?}"))?;
        let Side::Bare { target, recipe } = &sides[1] else {
            anyhow::bail!("the second side is the bare client");
        };
        let writes = recipe.len();
        compare(
            table,
            arguments,
            &sides,
            &format!("{} ({writes} writes)", door.title()),
        )
        .await?;
        if door == Door::Name {
            // Where the rest goes: somebody has to read what is stored.
            let recipe = recipe.reading(&namespace, "bench name");
            let reading = Side::Bare {
                target: target.clone(),
                recipe,
            };
            let sides = [sides[0].clone(), reading];
            compare(
                table,
                arguments,
                &sides,
                &format!("{}, the bare client reads too", door.title()),
            )
            .await?;
        }
        let [hookrun, bare] = at_rest(&sides).await?;
        rows.push((door, hookrun, bare));
    }
    for (door, hookrun, bare) in rows {
        tell_rest(table, door.title(), hookrun, bare);
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
