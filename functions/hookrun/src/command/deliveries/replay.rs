//! `hookrun deliveries replay`: events run again, each as a new Delivery.
//!
//! The create of the new Delivery is the whole deed: it says what is to be started, under names that follow from the
//! replay's identity, and the sweep starts it. A command that is ended before has done nothing, one that is ended later
//! has left nothing undone.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, anyhow, ensure};
use cluster::SECRETS;
use deliveries::{
    record,
    resource::{DELIVERIES, HOOKS},
};
use hooks::{Delivery, Hook, Outcome, delivery::HookRef};
use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    list::{HEADER, newest_first, row},
    select::word,
};
use crate::{
    cli::deliveries::Replay,
    command::{
        complain,
        objects::Objects,
        output::{print, table},
        payload, say,
    },
};

// The exit codes, as the help of the command lists them.
const NOT_ALL: u8 = 1;
const NOTHING: u8 = 2;
const NOT_ENDED: u8 = 3;

/// Time between two looks at what is waited for.
const PAUSE: Duration = Duration::from_millis(500);

/// Runs the command.
pub(super) async fn run(options: &Replay) -> anyhow::Result<ExitCode> {
    let found = async {
        let objects = Objects::connect(&options.objects).await?;
        let meant = meant(&objects, options).await?;
        anyhow::Ok((objects, meant))
    };
    let (objects, meant) = match found.await {
        Ok(found) => found,
        Err(error) => {
            complain(&error);
            return Ok(ExitCode::from(NOTHING));
        }
    };
    if meant.is_empty() {
        say("no Delivery is selected");
        return Ok(ExitCode::from(NOTHING));
    }
    let id = options
        .id
        .clone()
        .unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let mut new = Vec::new();
    for old in &meant {
        match replay(&objects, old, &id, options).await {
            Ok(delivery) => new.push(delivery),
            Err(error) => {
                complain(&error.context(format!("{} is not replayed", old.metadata.name)))
            }
        }
    }
    let complete = new.len() == meant.len();
    let ended = match options.wait.filter(|_| !options.dry_run) {
        Some(time) => wait(&objects, &mut new, Instant::now() + time).await?,
        None => true,
    };
    print(options.output.form, &new, || text(&new, options.dry_run))?;
    Ok(match (complete, ended) {
        (false, _) => ExitCode::from(NOT_ALL),
        (true, false) => {
            say("not everything is carried out yet; the sweep goes on");
            ExitCode::from(NOT_ENDED)
        }
        (true, true) => ExitCode::SUCCESS,
    })
}

/// The Deliveries that are to be replayed, the oldest first, as they came.
async fn meant(objects: &Objects, options: &Replay) -> anyhow::Result<Vec<Delivery>> {
    let Some(hook) = &options.hook else {
        let mut named = Vec::new();
        for name in &options.names {
            let (namespace, name) = objects.place(name);
            named.push(objects.get(DELIVERIES, namespace, name).await?);
        }
        return Ok(named);
    };
    let labels = options.selection.labels(Some(hook));
    let mut selected: Vec<Delivery> = objects
        .list(DELIVERIES, Some(objects.namespace()), &labels)
        .await?;
    let now = Timestamp::now();
    selected.retain(|delivery| options.selection.means(delivery, now));
    newest_first(&mut selected);
    selected.reverse();
    Ok(selected)
}

async fn replay(
    objects: &Objects,
    old: &Delivery,
    id: &str,
    options: &Replay,
) -> anyhow::Result<Delivery> {
    let namespace = &old.metadata.namespace;
    let bytes = payload::stored(objects, old, &options.store).await?;
    let mut new = match &old.record.hook {
        None => record::replay_of_flow(old, id, Timestamp::now()),
        Some(HookRef { name, .. }) => {
            let hook: Hook = objects.get(HOOKS, namespace, name).await?;
            hook::replay(old, &bytes, &hook, id, Timestamp::now()).map_err(|problems| {
                let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
                anyhow!("the Hook is not ready: {}", problems.join("; "))
            })?
        }
    };
    if options.dry_run {
        return Ok(new);
    }
    payload::copied(&mut new, &bytes, &options.store).await?;
    let created = objects
        .create(DELIVERIES, namespace, serde_json::to_value(&new)?)
        .await?;
    let stored: Delivery = objects
        .get(DELIVERIES, namespace, &new.metadata.name)
        .await?;
    ensure!(
        created || stored.record.replay_of == new.record.replay_of,
        "Delivery {:?} exists, and is another one",
        new.metadata.name
    );
    if !created {
        say(&format!(
            "{} has been replayed before under this --id",
            old.metadata.name
        ));
    }
    share_payload(objects, &stored).await?;
    Ok(stored)
}

/// Keeps the Secret that holds the payload as long as the new Delivery is there, too.
async fn share_payload(objects: &Objects, delivery: &Delivery) -> anyhow::Result<()> {
    let (metadata, Some(name)) = (&delivery.metadata, &delivery.record.payload.secret_name) else {
        return Ok(());
    };
    let secret: Value = objects.get(SECRETS, &metadata.namespace, name).await?;
    let mut owners = secret["metadata"]["ownerReferences"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    if owners
        .iter()
        .any(|owner| owner["uid"] == metadata.uid.as_str())
    {
        return Ok(());
    }
    owners.push(json!({
        "apiVersion": hooks::API_VERSION, "kind": "Delivery", "name": metadata.name, "uid": metadata.uid,
    }));
    let version = &secret["metadata"]["resourceVersion"];
    let patch = json!({"metadata": {"resourceVersion": version, "ownerReferences": owners}});
    let api = objects.api(SECRETS, Some(&metadata.namespace));
    let patched = api
        .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
        .await;
    patched.map(drop).with_context(|| {
        format!(
            "{} is stored, but Secret {name:?} with its payload vanishes with the old Delivery",
            metadata.name
        )
    })
}

/// Looks at the Deliveries until each has an outcome; whether that came in time.
async fn wait(
    objects: &Objects,
    deliveries: &mut [Delivery],
    deadline: Instant,
) -> anyhow::Result<bool> {
    for delivery in deliveries {
        while delivery.record.outcome == Outcome::Received {
            if Instant::now() >= deadline {
                return Ok(false);
            }
            sleep(PAUSE).await;
            let metadata = &delivery.metadata;
            *delivery = objects
                .get(DELIVERIES, &metadata.namespace, &metadata.name)
                .await?;
        }
    }
    Ok(true)
}

fn text(deliveries: &[Delivery], dry_run: bool) -> String {
    if !dry_run {
        let now = Timestamp::now();
        let rows: Vec<_> = deliveries
            .iter()
            .map(|delivery| row(delivery, false, now))
            .collect();
        return table(HEADER, &rows);
    }
    let rows = deliveries.iter().flat_map(|delivery| {
        let origin = delivery.record.replay_of.clone().unwrap_or_default();
        delivery.record.rules.iter().map(move |rule| {
            let would = if rule.outcome == Outcome::Received {
                "would start"
            } else {
                word(rule.outcome)
            };
            [
                origin.clone(),
                rule.name.clone(),
                would.to_owned(),
                rule.reason.clone(),
            ]
        })
    });
    let rows: Vec<_> = rows.collect();
    table(["REPLAY OF", "RULE", "OUTCOME", "REASON"], &rows)
}
