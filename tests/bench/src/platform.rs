//! Hookrun as its users have it, on a cluster that stands: beside a bare server in the same kind of Knative Service, and beside
//! the EventListener of Tekton Triggers.
//!
//! What is compared is asked by the same client in turns. Runs are created and admitted as always, but no step of them runs:
//! an admission policy in the namespaces of the runs gives them to a controller that does not exist, since the pods of
//! hundreds of runs would be all that is measured on one machine.
//!
//! Never here: anything on the cluster that stays, or a figure without the peer that was measured beside it.

mod functions;
mod images;
mod install;
mod kill;
mod listener;
mod load;
mod pods;
mod rates;
mod runs;
mod site;
mod webhooks;

use anyhow::{Context, Result};

use crate::{Arguments, table::Table};
use site::Site;

pub(crate) async fn measure(table: &mut Table, arguments: &Arguments) -> Result<()> {
    let archive = arguments
        .image
        .as_deref()
        .context("the archive of the image is missing: --image")?;
    let site = Site::find().await?;
    site.remove().await?;
    let images = images::Images::new(archive, &arguments.bare)?;
    let measured = installed(table, arguments, &site, &images).await;
    // Nothing of it stays, whatever happened; if something does, the figures are no worse for it.
    if let Err(error) = site.remove().await.and_then(|()| images.remove()) {
        eprintln!("not everything is removed: {error:#}");
    }
    measured
}

async fn installed(
    table: &mut Table,
    arguments: &Arguments,
    site: &Site,
    images: &images::Images,
) -> Result<()> {
    images.measure(table)?;
    site.install(images).await?;
    let peers = listener::install(site).await?;

    let [posted, named] = &peers;
    let webhooks = webhooks::install(site).await?;
    functions::memory(table, site, "at rest", posted).await?;
    functions::warm(table, site).await?;
    functions::broker(table, site, &posted[0]).await?;
    rates::at_rest(table, site, posted).await?;
    rates::throughput(table, site, posted).await?;
    functions::feed(site, &posted[0], rates::ALL).await?;
    functions::memory(table, site, &format!("after {} events", rates::ALL), posted).await?;
    rates::at_rest(table, site, named).await?;
    rates::throughput(table, site, named).await?;
    for sides in &webhooks {
        rates::at_rest(table, site, sides).await?;
        rates::throughput(table, site, sides).await?;
    }
    kill::measure(table, site, posted).await?;
    functions::time_to_zero(table, site).await?;
    functions::from_zero(table, site, arguments.starts).await
}
