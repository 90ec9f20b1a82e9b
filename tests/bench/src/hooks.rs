//! Webhooks, on an API server with Tekton's admission: what an event costs, whether the number of Hooks matters to it, what
//! strangers and large bodies do to the process, and what the sweep takes.
//!
//! The sender signs as GitHub does, with the product's own table of providers.
//!
//! Never here: a figure of events that did not start a run. An answer that says anything else ends the measurement.

mod flood;
mod large;
mod many;
mod scene;
mod sender;
mod sweep;

use anyhow::Result;
use control_plane::Cluster;

use crate::{
    Arguments,
    events::{Side, at_rest, compare, tell_rest},
    recipe::Recipe,
    record::one_event,
    table::Table,
    wire::Target,
};
use scene::Scene;

pub(crate) use scene::{PIPELINE, hook, install, secret};
pub(crate) use sender::Sender;

/// The Hook of all measurements that need one alone.
const HOOK: &str = "shop";

pub(crate) async fn measure(
    table: &mut Table,
    arguments: &Arguments,
    cluster: &Cluster,
) -> Result<()> {
    let bare = webhook_to_run(table, arguments, cluster).await?;
    many::measure(table, arguments, cluster, &bare).await?;
    flood::measure(table, arguments, cluster).await?;
    large::measure(table, cluster).await?;
    sweep::measure(table, arguments, cluster).await
}

/// Webhooks through the function, beside a bare client that makes the same writes, which is given back.
async fn webhook_to_run(
    table: &mut Table,
    arguments: &Arguments,
    cluster: &Cluster,
) -> Result<Side> {
    let scene = Scene::new(cluster).await?;
    scene.hook(HOOK).await?;
    let function = scene.function().start().await?;
    let target = Target::open(function.address())?;
    let sender = scene.sender(HOOK)?;
    let webhook = Side::Webhook { target, sender };
    let recorded = one_event(cluster, scene.function(), function.account(), &webhook).await?;
    let recipe = Recipe::writes(&recorded)?;
    let title = format!("webhook ({} writes)", recipe.len());
    let bare = Side::Bare {
        target: Target::api_server(cluster, &function.account().token)?,
        recipe,
    };
    let sides = [webhook, bare];
    compare(table, arguments, &sides, &title).await?;
    let [hookrun, bare] = at_rest(&sides).await?;
    tell_rest(table, "webhook", hookrun, bare);
    let [_, bare] = sides;
    Ok(bare)
}
