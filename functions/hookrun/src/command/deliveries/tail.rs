//! `hookrun deliveries tail`: Deliveries as they come, and again when their outcome changes.

use std::{collections::HashMap, process::ExitCode, time::Duration};

use deliveries::resource::{DELIVERIES, OUTCOME};
use futures_util::StreamExt;
use hooks::Delivery;
use jiff::Timestamp;
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, ListParams, ObjectList, WatchEvent, WatchParams},
    core::PartialObjectMeta,
};
use tokio::time::sleep;

use super::{
    list::{HEADER, row},
    select::word,
};
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
    let listed = known(&api, &labels).await;
    let listed = listed.map_err(|error| objects.fault("cannot list deliveries", &error))?;
    let mut from = listed.metadata.resource_version;
    let mut told: Told = listed.items.iter().filter_map(mark).collect();
    if options.output.form == Form::Text {
        output::write(line(&HEADER.map(str::to_owned)).as_bytes())?;
    }
    let mut trouble = String::new();
    loop {
        let followed = follow(&api, &labels, &mut from, options, &mut told).await?;
        match followed.map(|error| objects.fault("cannot see Deliveries", &error).to_string()) {
            None => trouble.clear(),
            Some(reason) => {
                if trouble != reason {
                    say(&format!("{reason}; trying again"));
                    trouble = reason;
                }
                sleep(PAUSE).await;
                // What came meanwhile was not watched.
                if let Some(version) = catch_up(&objects, &api, &labels, options, &mut told).await?
                {
                    from = Some(version);
                }
            }
        }
    }
}

/// The outcome that each Delivery was last told with, by UID.
type Told = HashMap<String, String>;

/// What is there now, without its content.
async fn known(
    api: &Api<DynamicObject>,
    labels: &str,
) -> kube::Result<ObjectList<PartialObjectMeta<DynamicObject>>> {
    let selected = ListParams::default().labels(labels);
    api.list_metadata(&selected).await
}

/// UID and outcome of a Delivery.
fn mark(object: &PartialObjectMeta<DynamicObject>) -> Option<(String, String)> {
    let outcome = object.labels().get(OUTCOME).cloned().unwrap_or_default();
    Some((object.uid()?, outcome))
}

/// Tells what has changed since the last time; the version up to which that is so, or nothing if it cannot be seen now.
async fn catch_up(
    objects: &Objects,
    api: &Api<DynamicObject>,
    labels: &str,
    options: &Tail,
    told: &mut Told,
) -> anyhow::Result<Option<String>> {
    let Ok(listed) = known(api, labels).await else {
        return Ok(None);
    };
    for object in &listed.items {
        let is_told = mark(object).is_none_or(|(uid, outcome)| told.get(&uid) == Some(&outcome));
        if is_told {
            continue;
        }
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        if let Ok(Some(delivery)) = objects.find(DELIVERIES, &namespace, &name).await {
            tell(&delivery, options, told)?;
        }
    }
    Ok(listed.metadata.resource_version)
}

/// Tells what comes until the watch ends after its time, or gives the reason why it ended before.
async fn follow(
    api: &Api<DynamicObject>,
    labels: &str,
    from: &mut Option<String>,
    options: &Tail,
    told: &mut Told,
) -> anyhow::Result<Option<kube::Error>> {
    let watch = WatchParams::default().labels(labels).timeout(240);
    let version = from.clone().unwrap_or_default();
    let events = match api.watch(&watch, &version).await {
        Ok(events) => events,
        Err(error) => return Ok(Some(error)),
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
            Ok(WatchEvent::Error(status)) => return Ok(Some(kube::Error::Api(status))),
            Err(error) => return Ok(Some(error)),
        }
    }
    Ok(None)
}

/// Tells a Delivery, unless it was told with this outcome before.
fn tell(delivery: &Delivery, options: &Tail, told: &mut Told) -> anyhow::Result<()> {
    let outcome = word(delivery.record.outcome);
    let known = told.insert(delivery.metadata.uid.clone(), outcome.to_owned());
    let now = Timestamp::now();
    if known.as_deref() == Some(outcome) || !options.selection.means(delivery, now) {
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
