//! Events for both sides of a way in: one at a time while nothing else goes on, and many at once.
//!
//! What counts is the run, not the answer: an EventListener answers before it has done anything. So everything is told by
//! the API server's own list of runs, for both sides alike.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use super::{
    listener::Peer,
    load::{Load, PATIENCE},
    site::Site,
};
use crate::table::{Table, median, time};

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
            peers[0].limit,
        );
    }
    let [hookrun, listener] = failed;
    for (what, index) in [
        ("not answered or refused", 0),
        ("acknowledged, without a run", 1),
    ] {
        table.row(
            format!("{what}, {door}"),
            format!("{} of {LOADS}", hookrun[index]),
            format!("{} of {LOADS} EventListener", listener[index]),
            "",
            if index == 1 { "0" } else { "" },
        );
    }
    Ok(())
}
