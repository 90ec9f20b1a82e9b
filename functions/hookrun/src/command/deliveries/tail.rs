//! `hookrun deliveries tail`: Deliveries as they come, and again when their outcome changes.

use std::{collections::HashMap, process::ExitCode, time::Duration};

use futures_util::StreamExt;
use hook::resource::DELIVERIES;
use hooks::{Delivery, Outcome};
use jiff::Timestamp;
use kube::{
    Api,
    api::{DynamicObject, ListParams, WatchEvent, WatchParams},
};
use tokio::time::sleep;

use super::list::{HEADER, row};
use crate::{
    cli::{common::Form, deliveries::Tail},
    command::{
        objects::{Objects, typed},
        output, say,
    },
};

/// Time between two tries when the API server does not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// Widths of all columns but the last. What comes later is not known yet, so they are fixed.
const WIDTHS: [usize; 6] = [40, 16, 24, 9, 4, 10];

/// Runs the command.
pub(super) async fn run(options: &Tail) -> anyhow::Result<ExitCode> {
    let objects = Objects::connect(&options.objects).await?;
    let namespace = (!options.all_namespaces).then(|| objects.namespace());
    let api = objects.api(DELIVERIES, namespace);
    // Those of any outcome are watched: one that was received a moment ago gets another one.
    let hook = options
        .hook
        .as_deref()
        .map(|hook| format!("{}={hook}", hooks::run::HOOK));
    let labels = hook.unwrap_or_default();
    let mut told = HashMap::new();
    let mut from = api
        .list(&ListParams::default().labels(&labels).limit(1))
        .await?
        .metadata
        .resource_version;
    if options.output.form == Form::Text {
        output::write(line(&HEADER.map(str::to_owned)).as_bytes())?;
    }
    loop {
        match follow(&api, &labels, &mut from, options, &mut told).await? {
            Ended::Quietly => {}
            Ended::For(reason) => {
                say(&format!("cannot see Deliveries, trying again: {reason}"));
                sleep(PAUSE).await;
                if let Ok(list) = api
                    .list(&ListParams::default().labels(&labels).limit(1))
                    .await
                {
                    from = list.metadata.resource_version;
                }
            }
        }
    }
}

/// How a watch ended.
enum Ended {
    /// After its time; the next one goes on where it was.
    Quietly,
    /// For this reason.
    For(String),
}

/// Tells what comes until the watch ends.
async fn follow(
    api: &Api<DynamicObject>,
    labels: &str,
    from: &mut Option<String>,
    options: &Tail,
    told: &mut HashMap<String, Outcome>,
) -> anyhow::Result<Ended> {
    let watch = WatchParams::default().labels(labels).timeout(240);
    let version = from.clone().unwrap_or_default();
    let events = match api.watch(&watch, &version).await {
        Ok(events) => events,
        Err(error) => return Ok(Ended::For(chain(error))),
    };
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                from.clone_from(&object.metadata.resource_version);
                tell(&typed(object)?, options, told)?;
            }
            Ok(WatchEvent::Deleted(object)) => {
                from.clone_from(&object.metadata.resource_version);
                told.remove(&object.metadata.uid.unwrap_or_default());
            }
            Ok(WatchEvent::Bookmark(bookmark)) => *from = Some(bookmark.metadata.resource_version),
            Ok(WatchEvent::Error(status)) => return Ok(Ended::For(status.message)),
            Err(error) => return Ok(Ended::For(chain(error))),
        }
    }
    Ok(Ended::Quietly)
}

fn chain(error: kube::Error) -> String {
    format!("{:#}", anyhow::Error::from(error))
}

/// Tells a Delivery, unless it was told with this outcome before.
fn tell(
    delivery: &Delivery,
    options: &Tail,
    told: &mut HashMap<String, Outcome>,
) -> anyhow::Result<()> {
    let outcome = delivery.record.outcome;
    let known = told.insert(delivery.metadata.uid.clone(), outcome);
    let now = Timestamp::now();
    if known == Some(outcome) || !options.selection.means(delivery, now) {
        return Ok(());
    }
    let text = match options.output.form {
        Form::Text => line(&row(delivery, options.all_namespaces, now)),
        // One document per line, so that a program can read on.
        Form::Json => serde_json::to_string(delivery)? + "\n",
        Form::Yaml => format!("---\n{}", serde_saphyr::to_string(delivery)?),
    };
    output::write(text.as_bytes())
}

fn line(cells: &[String; 7]) -> String {
    let widths = WIDTHS.iter().copied().chain([0]);
    let padded = cells
        .iter()
        .zip(widths)
        .map(|(cell, width)| format!("{cell:width$}"));
    padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
}
