//! Whether the number of Hooks matters to one event: it should not. What it matters to the API server alone is told by a
//! bare client, in turns.

use std::time::{Duration, Instant};

use anyhow::Result;
use control_plane::Cluster;

use super::scene::{Scene, hook};
use crate::{
    Arguments,
    events::{Side, number},
    table::{Table, median, time},
    wire::{Connection, Target},
};

/// Hooks with which it begins.
const FEW: usize = 10;

/// Events of each measurement.
const SAMPLES: usize = 200;

/// `bare` makes the writes of one event.
pub(super) async fn measure(
    table: &mut Table,
    arguments: &Arguments,
    cluster: &Cluster,
    bare: &Side,
) -> Result<()> {
    let scene = Scene::new(cluster).await?;
    let function = scene.function().start().await?;
    let mut sides = Sides {
        scene: &scene,
        connection: Target::open(function.address())?.connect().await?,
        bare,
        bare_connection: bare.connect().await?,
    };
    let create = async |numbers| {
        scene
            .create_all("hooks", numbers, |at| hook(&name(at)))
            .await
    };
    let few = FEW.min(arguments.hooks);
    create(0..few).await?;
    // The first event of a Hook leaves more behind than those after it.
    sides.events((0..few).collect()).await?;
    let in_turn: Vec<usize> = (0..few).cycle().take(SAMPLES).collect();
    let with_few = sides.events(in_turn.clone()).await?;
    create(few..arguments.hooks).await?;
    let with_all = sides.events(in_turn).await?;
    let mut row = |figure: &str, all: Duration, beside: Duration, limit: &str| {
        let ratio = all.as_secs_f64() / beside.as_secs_f64();
        let beside = format!("{} with {few}", time(beside));
        table.row(figure, time(all), beside, format!("{ratio:.2}"), limit);
    };
    let figure = format!("one webhook with {} Hooks stored", arguments.hooks);
    row(&figure, with_all[0], with_few[0], "flat: ≤ 1.2");
    let figure = "the writes of one, by a bare client";
    row(figure, with_all[1], with_few[1], "what the API server adds");
    let others: Vec<usize> = (few..arguments.hooks).take(SAMPLES).collect();
    if !others.is_empty() {
        let [first, _] = sides.events(others).await?;
        let figure = "one webhook, each to a Hook that had none before";
        row(figure, first, with_few[0], "");
    }
    Ok(())
}

fn name(number: usize) -> String {
    format!("hook-{number}")
}

/// The function, and who makes the same writes without it.
struct Sides<'a> {
    scene: &'a Scene<'a>,
    connection: Connection,
    bare: &'a Side,
    bare_connection: Connection,
}

impl Sides<'_> {
    /// The median times of one event of each side, an event for each of these Hooks.
    async fn events(&mut self, hooks: Vec<usize>) -> Result<[Duration; 2]> {
        let mut times = [Vec::new(), Vec::new()];
        for at in hooks {
            let sender = self.scene.sender(&name(at))?;
            let began = Instant::now();
            sender.push(&mut self.connection, number()).await?;
            times[0].push(began.elapsed());
            let began = Instant::now();
            self.bare.event(&mut self.bare_connection).await?;
            times[1].push(began.elapsed());
        }
        Ok(times.each_mut().map(|times| median(times)))
    }
}
