//! `hookrun deliveries replay`: events run again, each as a new Delivery.
//!
//! The create of the new Delivery is the whole deed: it says what is to be started, under names that follow from the
//! replay's identity, and the sweep starts it. A command that is ended before has done nothing, one that is ended later
//! has left nothing undone.

use std::{process::ExitCode, time::Duration};

use anyhow::{anyhow, ensure};
use cluster::SECRETS;
use deliveries::{
    record,
    resource::{DELIVERIES, HOOKS},
};
use futures_util::StreamExt;
use hooks::{Delivery, Hook, Outcome, delivery::HookRef, object::Metadata};
use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    list::{HEADER, row},
    select::{LeftOut, Mark, marks, not_replayed, read, within, word},
};
use crate::{
    cli::deliveries::{Replay, Selection},
    command::{
        complain,
        objects::{Objects, none},
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
    let objects = Objects::connect(&options.objects).await?;
    let Some(meant) = meant(&objects, options).await? else {
        return Ok(ExitCode::from(NOTHING));
    };
    if let Some((chosen, left_out)) = &meant.range {
        say(&told(*chosen, *left_out));
    }
    // That all of them were replayed already is an end, too.
    let replayed_before = meant
        .range
        .is_some_and(|(_, left_out)| left_out.replayed > 0);
    let id = options
        .id
        .clone()
        .unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let Replayed { mut new, complete } = replay_all(&objects, meant.marks, &id, options).await;
    if new.is_empty() && complete && !replayed_before {
        say(
            "nothing is replayed: --hook, --outcome, --event, --since and --until select no Delivery",
        );
        return Ok(ExitCode::from(NOTHING));
    }
    let ended = match options.wait.filter(|_| !options.dry_run) {
        Some(time) => wait(&objects, &mut new, Instant::now() + time).await,
        None => Ended {
            in_time: true,
            gone: 0,
        },
    };
    print(options.output.form, &new, || match new.as_slice() {
        [] => String::new(),
        new => text(new, options.dry_run),
    })?;
    Ok(match (complete && ended.gone == 0, ended.in_time) {
        (false, _) => ExitCode::from(NOT_ALL),
        (true, false) => {
            say("not everything is carried out yet; the sweep goes on");
            ExitCode::from(NOT_ENDED)
        }
        (true, true) => ExitCode::SUCCESS,
    })
}

/// The Deliveries that are to be replayed.
struct Meant {
    /// Which they are, the oldest first, as they came.
    marks: Vec<Mark>,
    /// Of a range: how many they are, and what was left out.
    range: Option<(usize, LeftOut)>,
}

/// The Deliveries that the options mean; nothing where one of them names none.
async fn meant(objects: &Objects, options: &Replay) -> anyhow::Result<Option<Meant>> {
    let Some(hook) = &options.hook else {
        let mut marks = Vec::new();
        for name in &options.names {
            let (namespace, name) = objects.place(name);
            // What does not exist is told before anything is replayed.
            let found: Option<Delivery> = objects.find(DELIVERIES, namespace, name).await?;
            if found.is_none() {
                complain(&none(DELIVERIES, namespace, name));
                return Ok(None);
            }
            marks.push(Mark::named(namespace, name));
        }
        return Ok(Some(Meant { marks, range: None }));
    };
    let labels = Selection::default().labels(Some(hook));
    let all = marks(objects, Some(objects.namespace()), &labels).await?;
    let mut marks = within(&all, &options.range, Timestamp::now());
    marks.reverse();
    let left_out = match options.again {
        true => LeftOut::default(),
        false => not_replayed(&mut marks, &all, options.id.as_deref()),
    };
    let range = Some((marks.len(), left_out));
    Ok(Some(Meant { marks, range }))
}

/// What a range came to, for people.
fn told(chosen: usize, LeftOut { replays, replayed }: LeftOut) -> String {
    let chosen = match chosen {
        0 => "no Delivery is selected".to_owned(),
        1 => "1 Delivery is selected".to_owned(),
        many => format!("{many} Deliveries are selected"),
    };
    match replays + replayed {
        0 => chosen,
        _ => format!(
            "{chosen}; left out are {replays} that are replays themselves and {replayed} that were replayed already (--again takes them, too)"
        ),
    }
}

/// What became of the Deliveries that were to be replayed.
struct Replayed {
    new: Vec<Delivery>,
    /// Whether none of them failed.
    complete: bool,
}

async fn replay_all(objects: &Objects, marks: Vec<Mark>, id: &str, options: &Replay) -> Replayed {
    let (mut new, mut complete) = (Vec::new(), true);
    let now = Timestamp::now();
    let mut found = std::pin::pin!(read(objects, marks));
    while let Some(old) = found.next().await {
        let old = match old {
            Ok(old) if options.range.means(&old, now) => old,
            Ok(_) => continue,
            // The others can be replayed all the same.
            Err(error) => {
                complete = false;
                complain(&error);
                continue;
            }
        };
        let name = &old.metadata.name;
        match replay(objects, &old, id, options).await {
            Ok(delivery) => {
                if !options.dry_run {
                    // At once: whoever ends the command while it waits knows what to look at.
                    say(&format!("{name} is replayed as {}", delivery.metadata.name));
                }
                new.push(delivery);
            }
            Err(error) => {
                complete = false;
                complain(&error.context(format!("{name} is not replayed")));
            }
        }
    }
    Replayed { new, complete }
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
        // Nobody has ever used an identity that is made up just now.
        let before = match &options.id {
            Some(_) => objects.find(DELIVERIES, namespace, &new.metadata.name),
            None => return Ok(new),
        };
        return match before.await? {
            Some(before) => replayed_before(old, &new, before),
            None => Ok(new),
        };
    }
    payload::copied(&mut new, &bytes, &options.store).await?;
    let created = objects
        .create(DELIVERIES, namespace, serde_json::to_value(&new)?)
        .await?;
    let stored: Delivery = objects
        .get(DELIVERIES, namespace, &new.metadata.name)
        .await?;
    let stored = match created {
        true => stored,
        false => replayed_before(old, &new, stored)?,
    };
    share_payload(objects, &stored).await?;
    Ok(stored)
}

/// What is stored under the name of a replay, if it is that replay.
fn replayed_before(old: &Delivery, new: &Delivery, stored: Delivery) -> anyhow::Result<Delivery> {
    let name = &new.metadata.name;
    ensure!(
        stored.record.replay_of == new.record.replay_of,
        "Delivery {name:?} exists, and is another one"
    );
    let old = &old.metadata.name;
    say(&format!(
        "{old} has been replayed before under this --id, as {name}"
    ));
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
    let doing = || {
        format!(
            "{} is stored, but Secret {name:?} with its payload vanishes with the old Delivery",
            metadata.name
        )
    };
    patched
        .map(drop)
        .map_err(|error| objects.fault(doing(), &error))
}

/// What became of those that were waited for.
#[derive(Debug, PartialEq, Eq)]
struct Ended {
    /// Whether nobody is left to be waited for.
    in_time: bool,
    /// How many were deleted before they had an outcome.
    gone: usize,
}

/// Looks at the Deliveries until each has an outcome. What cannot be read is looked at again until the time is over; what is
/// gone is not waited for.
async fn wait(objects: &Objects, deliveries: &mut [Delivery], deadline: Instant) -> Ended {
    let mut ended = Ended {
        in_time: false,
        gone: 0,
    };
    for delivery in deliveries {
        let mut trouble = None;
        while delivery.record.outcome == Outcome::Received {
            if Instant::now() >= deadline {
                trouble.iter().for_each(complain);
                return ended;
            }
            sleep(PAUSE).await;
            let Metadata {
                namespace, name, ..
            } = &delivery.metadata;
            match objects.find(DELIVERIES, namespace, name).await {
                Ok(Some(found)) => {
                    *delivery = found;
                    trouble = None;
                }
                Ok(None) => {
                    let gone = none(DELIVERIES, namespace, name);
                    complain(&gone.context("a replay was deleted before it was carried out"));
                    ended.gone += 1;
                    break;
                }
                Err(error) => trouble = Some(error),
            }
        }
    }
    ended.in_time = true;
    ended
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
        // What is stored has a UID.
        let is_new = delivery.metadata.uid.is_empty();
        delivery.record.rules.iter().map(move |rule| {
            let would = match rule.outcome {
                _ if !is_new => "replayed before",
                Outcome::Received => "would start",
                other => word(other),
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use clap::Parser;
    use deliveries::payload::{Nature, Parcel, pack};
    use hooks::delivery::RuleRecord;
    use http::{Request, Response};
    use kube::client::Body;

    use super::*;
    use crate::{
        cli::{Cli, Command, deliveries::Deliveries},
        command::deliveries::list::tests::delivery,
    };

    /// What is to be done, as it is typed behind `hookrun deliveries replay`.
    fn typed(arguments: &[&str]) -> Replay {
        let words = ["hookrun", "deliveries", "replay"].iter().chain(arguments);
        match Cli::parse_from(words).command {
            Command::Deliveries {
                command: Deliveries::Replay(options),
            } => options,
            other => panic!("another command: {other:?}"),
        }
    }

    /// An API server that cannot read the Delivery `broken`, has none called `gone`, and has any other one that it is asked
    /// for: of a flow.
    fn server(old: Delivery) -> Objects {
        let service = tower::service_fn(move |request: Request<Body>| {
            let name = request.uri().path().rsplit('/').next().unwrap_or_default();
            let gone =
                json!({"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404});
            let mut found = old.clone();
            found.metadata.name = name.to_owned();
            let found = serde_json::to_vec(&found);
            let (status, body) = match name {
                "broken" => (500, b"{}".to_vec()),
                "gone" => (404, gone.to_string().into_bytes()),
                _ => (200, found.expect("it can be written")),
            };
            let answer = Response::builder().status(status).body(Body::from(body));
            async move { answer }
        });
        Objects::played(kube::Client::new(service, "team"))
    }

    /// A Delivery of a flow with a small payload.
    async fn posted() -> Delivery {
        let mut old = delivery("old", Outcome::Failed, "2026-01-02T03:04:00Z");
        old.record.hook = None;
        let bytes = Bytes::from_static(b"{}");
        let parcel = Parcel {
            namespace: "team",
            delivery: "old",
            bytes: &bytes,
            content_type: "application/json",
            nature: Nature::Payload,
        };
        old.record.payload = pack(None, parcel).await.expect("a small payload").stored;
        old
    }

    #[tokio::test]
    async fn a_cluster_that_does_not_answer_is_not_one_without_this_delivery() {
        let objects = server(posted().await);
        let nothing = meant(&objects, &typed(&["one", "gone"])).await;
        assert!(nothing.expect("an answer").is_none());
        let one = meant(&objects, &typed(&["one"])).await;
        assert!(one.expect("an answer").is_some());
        assert!(meant(&objects, &typed(&["broken"])).await.is_err());
    }

    #[tokio::test]
    async fn nobody_waits_for_what_is_gone() {
        let objects = server(posted().await);
        let mut waited = ["gone", "other"].map(|name| {
            let mut delivery = delivery(name, Outcome::Received, "2026-01-02T03:04:00Z");
            delivery.metadata.namespace = "team".to_owned();
            delivery
        });
        let deadline = Instant::now() + Duration::from_secs(60);
        let ended = wait(&objects, &mut waited, deadline).await;
        let expected = Ended {
            in_time: true,
            gone: 1,
        };
        assert_eq!(ended, expected);
        assert_eq!(waited[1].record.outcome, Outcome::Failed);
    }

    #[tokio::test]
    async fn what_was_replayed_before_would_not_start() {
        let old = posted().await;
        let of = |uid: &str, origin: &str| {
            let mut stored = old.clone();
            stored.metadata.uid = uid.to_owned();
            stored.record.replay_of = Some(origin.to_owned());
            stored.record.rules.push(RuleRecord::default());
            stored
        };
        let dry = typed(&["--dry-run", "--id", "once", "old"]);
        let before = replay(&server(of("1", "old")), &old, "once", &dry).await;
        let before = text(&[before.expect("it is there")], true);
        assert!(before.contains("replayed before"), "{before}");
        let other = replay(&server(of("1", "other")), &old, "once", &dry).await;
        assert!(other.is_err(), "{other:?}");
        let new = text(&[of("", "old")], true);
        assert!(new.contains("would start"), "{new}");
    }

    #[tokio::test]
    async fn one_that_cannot_be_read_keeps_no_other_one_from_its_replay() {
        let old = posted().await;
        let options = typed(&["--dry-run", "one", "broken", "other"]);
        let marks = options.names.iter().map(|name| Mark::named("team", name));
        let replayed = replay_all(&server(old), marks.collect(), "id", &options).await;
        let of: Vec<_> = replayed
            .new
            .iter()
            .filter_map(|new| new.record.replay_of.as_deref())
            .collect();
        assert_eq!((of, replayed.complete), (vec!["one", "other"], false));
    }

    #[test]
    fn a_range_says_how_many_it_is_and_what_it_leaves_out() {
        let left_out = LeftOut {
            replays: 2,
            replayed: 1,
        };
        let text = told(12, left_out);
        assert!(
            text.starts_with("12 Deliveries are selected; left out are 2 "),
            "{text}"
        );
        assert!(text.contains("and 1 that were replayed already"), "{text}");
        assert_eq!(told(1, LeftOut::default()), "1 Delivery is selected");
    }
}
