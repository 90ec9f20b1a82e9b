//! Whether the number of Hooks matters to one event: it should not.

use std::time::{Duration, Instant};

use anyhow::Result;
use control_plane::Cluster;

use super::scene::{Scene, hook};
use crate::{
    Arguments,
    events::number,
    table::{Table, median, time},
    wire::{Connection, Target},
};

/// Hooks with which it begins.
const FEW: usize = 10;

/// Events of each measurement.
const SAMPLES: usize = 200;

pub(super) async fn measure(
    table: &mut Table,
    arguments: &Arguments,
    cluster: &Cluster,
) -> Result<()> {
    let scene = Scene::new(cluster).await?;
    let function = scene.function().start().await?;
    let mut connection = Target::open(function.address())?.connect().await?;
    let create = async |numbers| {
        scene
            .create_all("hooks", numbers, |at| hook(&name(at)))
            .await
    };
    let few = FEW.min(arguments.hooks);
    create(0..few).await?;
    // The first event of a Hook leaves more behind than those after it.
    events(&scene, &mut connection, (0..few).collect()).await?;
    let in_turn: Vec<usize> = (0..few).cycle().take(SAMPLES).collect();
    let with_few = events(&scene, &mut connection, in_turn.clone()).await?;
    create(few..arguments.hooks).await?;
    let with_all = events(&scene, &mut connection, in_turn).await?;
    let ratio = |one: Duration| format!("{:.2}", one.as_secs_f64() / with_few.as_secs_f64());
    let beside = format!("{} with {few}", time(with_few));
    table.row(
        format!("one webhook with {} Hooks stored", arguments.hooks),
        time(with_all),
        &beside,
        ratio(with_all),
        "flat: ≤ 1.2",
    );
    let others: Vec<usize> = (few..arguments.hooks).take(SAMPLES).collect();
    if !others.is_empty() {
        let first = events(&scene, &mut connection, others).await?;
        let figure = "the same, each to a Hook that had none before";
        table.row(figure, time(first), &beside, ratio(first), "");
    }
    Ok(())
}

fn name(number: usize) -> String {
    format!("hook-{number}")
}

/// The median time of one event, an event for each of these Hooks.
async fn events(
    scene: &Scene<'_>,
    connection: &mut Connection,
    hooks: Vec<usize>,
) -> Result<Duration> {
    let mut times = Vec::new();
    for at in hooks {
        let sender = scene.sender(&name(at))?;
        let began = Instant::now();
        sender.push(connection, number()).await?;
        times.push(began.elapsed());
    }
    Ok(median(&mut times))
}
