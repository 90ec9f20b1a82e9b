//! Events for both sides of a way in: one at a time while nothing else goes on, and many at once.
//!
//! What counts is the run, not the answer: an EventListener answers before it has done anything. So everything is told by
//! the API server's own list of runs, for both sides alike.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{Method, StatusCode};

use super::{listener::Peer, site::Site};
use crate::{
    table::{Table, median, time},
    wire::Connection,
};

/// Events of each side for the time at rest, and the pause after each, which is longer than any limit of their number takes.
const SAMPLES: usize = 30;
const PAUSE: Duration = Duration::from_millis(300);

/// Events of one turn of a load, its turns, and connections at once.
const EVENTS: usize = 100;
const TURNS: usize = 3;
const CONNECTIONS: [usize; 2] = [1, 16];

/// Events of all loads of each side, and all events that it has had then.
const LOADS: usize = EVENTS * TURNS * CONNECTIONS.len();
pub(super) const ALL: usize = 1 + SAMPLES + LOADS;

/// How long an answer may take, and how long no run may come until it is over.
const PATIENCE: Duration = Duration::from_secs(30);
const QUIET: Duration = Duration::from_secs(15);

/// How many events are sent, and how fast.
#[derive(Clone, Copy)]
pub(super) struct Load {
    pub(super) connections: usize,
    pub(super) events: usize,
    /// From one event to the next; without it, each follows the answer to the one before.
    pub(super) every: Option<Duration>,
}

/// What became of a load.
#[derive(Default)]
pub(super) struct Outcome {
    /// The runs that answers spoke of.
    pub(super) acknowledged: Vec<String>,
    /// Answers that were refusals.
    pub(super) refused: usize,
    /// Requests without any answer.
    pub(super) unanswered: usize,
}

impl Peer {
    /// Sends one event; the run that the answer speaks of, `None` if it is a refusal.
    async fn event(&self, connection: &mut Connection) -> Result<Option<String>> {
        let body = Bytes::from(self.body.clone());
        let asked = connection.ask(Method::POST, &self.path, "application/json", body);
        let (status, body) = tokio::time::timeout(PATIENCE, asked).await??;
        match status {
            StatusCode::OK | StatusCode::ACCEPTED => {
                let run = (self.run)(&body);
                run.map(Some)
                    .with_context(|| format!("an answer of {} without a run", self.title))
            }
            _ => Ok(None),
        }
    }

    /// Waits until it answers: a pod may have to start for it.
    pub(super) async fn awake(&self, site: &Site) -> Result<()> {
        control_plane::until("it answers", QUIET * 4, async || {
            let Ok(mut connection) = self.target.connect().await else {
                return Ok(false);
            };
            let asked = connection.ask(Method::GET, "/healthz", "text/plain", Bytes::new());
            Ok(matches!(tokio::time::timeout(PATIENCE, asked).await, Ok(Ok((status, _))) if !status.is_server_error()))
        })
        .await?;
        self.container.ready(site).await
    }

    /// Sends a load; `answered` counts along.
    pub(super) async fn bear(
        self: &Arc<Self>,
        load: Load,
        answered: &Arc<AtomicUsize>,
    ) -> Result<Outcome> {
        let began = Instant::now();
        let next = Arc::new(AtomicUsize::new(0));
        let workers: Vec<_> = (0..load.connections)
            .map(|_| {
                let (peer, next, answered) =
                    (Arc::clone(self), Arc::clone(&next), Arc::clone(answered));
                tokio::spawn(async move { peer.work(load, began, &next, &answered).await })
            })
            .collect();
        let mut all = Outcome::default();
        for worker in workers {
            let outcome = worker.await?;
            all.acknowledged.extend(outcome.acknowledged);
            all.refused += outcome.refused;
            all.unanswered += outcome.unanswered;
        }
        Ok(all)
    }

    /// What one connection does: the next event, as long as there is one.
    async fn work(
        &self,
        load: Load,
        began: Instant,
        next: &AtomicUsize,
        answered: &AtomicUsize,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let mut open = None;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= load.events {
                return outcome;
            }
            if let Some(every) = load.every {
                let due = began + every * u32::try_from(number).unwrap_or(u32::MAX);
                tokio::time::sleep_until(due.into()).await;
            }
            let connection = match open.take() {
                Some(connection) => Ok(connection),
                None => self.target.connect().await,
            };
            let asked = match connection {
                Ok(mut connection) => {
                    let asked = self.event(&mut connection).await;
                    if asked.is_ok() {
                        open = Some(connection);
                    }
                    asked
                }
                Err(error) => Err(error),
            };
            match asked {
                Ok(Some(run)) => {
                    outcome.acknowledged.push(run);
                    answered.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                Ok(None) => outcome.refused += 1,
                Err(_) => outcome.unanswered += 1,
            }
            // Nobody sends the next event into a failure at once.
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until every run that was spoken of exists, or no more come; how many of them do not exist.
    pub(super) async fn settle(&self, outcome: &Outcome) -> Result<usize> {
        let began = Instant::now();
        loop {
            let missing = outcome.acknowledged.len() - self.runs.among(&outcome.acknowledged)?;
            let last = self.runs.last()?.unwrap_or(began).max(began);
            if missing == 0 || last.elapsed() > QUIET {
                return Ok(missing);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// The time from an event to its run, one event at a time.
pub(super) async fn at_rest(table: &mut Table, site: &Site, peers: &[Arc<Peer>; 2]) -> Result<()> {
    let mut connections = Vec::new();
    for peer in peers {
        peer.awake(site).await?;
        connections.push(peer.target.connect().await?);
    }
    let mut times = [Vec::new(), Vec::new()];
    for sample in 0..=SAMPLES {
        for side in if sample % 2 == 0 { [0, 1] } else { [1, 0] } {
            let peer = &peers[side];
            let count = peer.runs.count()?;
            let began = Instant::now();
            let run = peer.event(&mut connections[side]).await?;
            ensure!(run.is_some(), "{} refused an event", peer.title);
            let came = peer.runs.more_than(count, PATIENCE).await?;
            // What happens once per connection is no part of it.
            if sample > 0 {
                times[side].push(came.saturating_duration_since(began));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    let [hookrun, listener] = times.each_mut().map(|times| median(times));
    table.row(
        format!("event to run, {}", peers[0].door),
        time(hookrun),
        format!("{} EventListener", time(listener)),
        format!("{:.2}", hookrun.as_secs_f64() / listener.as_secs_f64()),
        "",
    );
    Ok(())
}

/// Runs per second, and what was not answered.
pub(super) async fn throughput(
    table: &mut Table,
    site: &Site,
    peers: &[Arc<Peer>; 2],
) -> Result<()> {
    let door = peers[0].door;
    let mut failed = [[0, 0]; 2];
    for connections in CONNECTIONS {
        let load = Load {
            connections,
            events: EVENTS,
            every: None,
        };
        let mut rates = [Vec::new(), Vec::new()];
        for turn in 0..TURNS {
            // Each goes first as often as the other, or nearly so.
            for side in if turn % 2 == 0 { [0, 1] } else { [1, 0] } {
                let peer = &peers[side];
                // After a long turn of the other side, its pod may be gone.
                peer.awake(site).await?;
                let before = peer.runs.count()?;
                let began = Instant::now();
                let outcome = peer.bear(load, &Arc::default()).await?;
                let missing = peer.settle(&outcome).await?;
                let made = peer.runs.count()? - before;
                let took = peer
                    .runs
                    .last()?
                    .unwrap_or(began)
                    .saturating_duration_since(began);
                ensure!(made > 0, "{} made no run of {EVENTS} events", peer.title);
                rates[side].push(made as f64 / took.as_secs_f64());
                failed[side][0] += outcome.refused + outcome.unanswered;
                failed[side][1] += missing;
            }
        }
        let [hookrun, listener] = rates.each_mut().map(|rates| median(rates));
        table.row(
            format!("runs/s {door}, {connections} connections"),
            format!("{hookrun:.0}"),
            format!("{listener:.0} EventListener"),
            format!("{:.1}", hookrun / listener),
            "",
        );
    }
    let events = LOADS;
    let [hookrun, listener] = failed;
    for (what, index) in [
        ("not answered or refused", 0),
        ("acknowledged, without a run", 1),
    ] {
        table.row(
            format!("{what}, {door}"),
            format!("{} of {events}", hookrun[index]),
            format!("{} of {events} EventListener", listener[index]),
            "",
            if index == 1 { "0" } else { "" },
        );
    }
    Ok(())
}
