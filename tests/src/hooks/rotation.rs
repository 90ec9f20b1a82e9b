//! Changes while events come: secrets that are replaced, and Hooks that are edited. No event fails for them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use control_plane::{Cluster, until};
use serde_json::{Value, json};

use super::scene::{PATIENCE, SECRET, Scene, Sender, push, rule};
use crate::{case::Case, cases, function::Function};

/// What the Secret holds that replaces the first one.
const NEW: &str = "canary-5kq7 another secret";

/// What is read of a Hook counts for a second; the rest is for a busy machine.
const SOON: Duration = Duration::from_secs(5);

pub(super) fn cases() -> Vec<Case> {
    cases![
        a_secret_is_replaced_without_a_failed_delivery,
        a_secret_whose_content_changes_counts_soon,
        a_changed_hook_counts_soon,
        a_deleted_hook_is_gone_soon_and_a_new_one_of_its_name_is_another,
    ]
}

/// Sends one event after the other until told to stop; every one must be accepted.
async fn send_all(
    sender: &Sender,
    function: &Function,
    name: &str,
    stop: &AtomicBool,
    sent: &AtomicU32,
) -> Result<()> {
    while !stop.load(Ordering::Relaxed) {
        let id = format!("{name}-{}", sent.load(Ordering::Relaxed));
        let body = push(&id)?;
        let answer = sender.send(function, "push", &id, &body).await?;
        ensure!(
            answer.status == 202,
            "the {name} sender was refused at event {id}: {answer:?}"
        );
        sent.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Waits until a sender has sent a few more events.
async fn some_more(what: &str, sent: &AtomicU32) -> Result<()> {
    let before = sent.load(Ordering::Relaxed);
    until(what, PATIENCE, async || {
        Ok(sent.load(Ordering::Relaxed) >= before + 3)
    })
    .await
}

fn refs(names: &[&str]) -> Value {
    let refs: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
    json!({"spec": {"verification": {"secretRefs": refs}}})
}

async fn a_secret_is_replaced_without_a_failed_delivery(cluster: Arc<Cluster>) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    let function = scene.function().await?;
    let mut only_record = rule("build");
    only_record["filter"] = "false".into();
    let more = json!({"quota": {"perMinute": 60_000}});
    let old = scene.github("shop", json!([only_record]), more).await?;
    let new = old.with(NEW);
    scene.secret("shop-new", NEW).await?;
    let body = push("early")?;
    let early = new.send(&function, "push", "early", &body).await?;
    ensure!(early.status == 401, "not yet configured: {early:?}");

    let stops = [AtomicBool::new(false), AtomicBool::new(false)];
    let counts = [AtomicU32::new(0), AtomicU32::new(0)];
    let old_sends = send_all(&old, &function, "old", &stops[0], &counts[0]);
    let rest = async {
        some_more("the old secret is accepted alone", &counts[0]).await?;
        scene
            .objects
            .merge("Hook", "shop", refs(&["shop-new", "shop"]))
            .await?;
        until("the new secret counts", SOON, async || {
            let answer = new
                .send(&function, "push", "first-new", &push("first-new")?)
                .await?;
            ensure!(matches!(answer.status, 202 | 401), "{answer:?}");
            Ok(answer.status == 202)
        })
        .await?;
        let new_sends = send_all(&new, &function, "new", &stops[1], &counts[1]);
        let overlap = async {
            for count in &counts {
                some_more("both secrets are accepted side by side", count).await?;
            }
            tells_both(&scene).await?;
            // The old sender is told the new secret, then the old one is taken out.
            stops[0].store(true, Ordering::Relaxed);
            scene
                .objects
                .merge("Hook", "shop", refs(&["shop-new"]))
                .await?;
            until("the old secret is refused", SOON, async || {
                let answer = old.send(&function, "push", "late", &push("late")?).await?;
                ensure!(matches!(answer.status, 202 | 401), "{answer:?}");
                Ok(answer.status == 401)
            })
            .await?;
            some_more("the new secret goes on alone", &counts[1]).await?;
            stops[1].store(true, Ordering::Relaxed);
            Ok(())
        };
        tokio::try_join!(new_sends, overlap).map(drop)
    };
    tokio::try_join!(old_sends, rest)?;
    let sent: u32 = counts
        .iter()
        .map(|count| count.load(Ordering::Relaxed))
        .sum();
    let deliveries = scene.deliveries("shop").await?;
    let recorded = deliveries.iter().filter(|delivery| {
        let id = delivery["deliveryId"].as_str().unwrap_or_default();
        id.starts_with("old-") || id.starts_with("new-")
    });
    let recorded = u32::try_from(recorded.count())?;
    ensure!(
        recorded == sent,
        "{sent} events were accepted, {recorded} are on record"
    );
    crate::aftermath::discreet(&function)
}

/// The Hook's status knows both secrets, and each Delivery which one proved it.
async fn tells_both(scene: &Scene) -> Result<()> {
    until("the status tells both secrets", PATIENCE, async || {
        let hook = scene.objects.get("Hook", "shop").await?;
        let used = hook["status"]["secrets"].as_array().cloned();
        let mut names: Vec<Value> = used
            .into_iter()
            .flatten()
            .filter(|used| used["lastUsedTime"].is_string())
            .map(|used| used["name"].clone())
            .collect();
        names.sort_by_key(Value::to_string);
        Ok(names == ["shop", "shop-new"])
    })
    .await?;
    for delivery in scene.deliveries("shop").await? {
        let id = delivery["deliveryId"].as_str().unwrap_or_default();
        let expected = match id.split_once('-') {
            Some(("old", _)) => "shop/secret",
            Some(("new", _)) | Some(("first", _)) => "shop-new/secret",
            _ => bail!("whose event is {id}?"),
        };
        ensure!(
            delivery["secret"] == expected,
            "{id} was proven by {}",
            delivery["secret"]
        );
    }
    Ok(())
}

async fn a_secret_whose_content_changes_counts_soon(cluster: Arc<Cluster>) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    let function = scene.function().await?;
    let old = scene.shop().await?;
    old.push(&function, "1").await?;
    scene.secret("shop", NEW).await?;
    let body = push("2")?;
    until("the new content counts", SOON, async || {
        let answer = old.with(NEW).send(&function, "push", "2", &body).await?;
        Ok(answer.status == 202)
    })
    .await?;
    let answer = old.send(&function, "push", "3", &push("3")?).await?;
    ensure!(
        answer.status == 401,
        "the old content still counts: {answer:?}"
    );
    Ok(())
}

async fn a_changed_hook_counts_soon(cluster: Arc<Cluster>) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    let function = scene.function().await?;
    let sender = scene.shop().await?;
    let mut number = 0;
    for (filter, outcome) in [
        ("false", "Filtered"),
        ("true", "Created"),
        ("event.branch == \"x\"", "Filtered"),
    ] {
        let mut changed = rule("build");
        changed["filter"] = filter.into();
        let spec = json!({"spec": {"rules": [changed]}});
        sender.push(&function, &format!("warm-{number}")).await?;
        scene.objects.merge("Hook", "shop", spec).await?;
        let began = Instant::now();
        until("the changed Hook counts", SOON, async || {
            number += 1;
            let told = sender.push(&function, &number.to_string()).await?;
            Ok(told["outcome"] == outcome)
        })
        .await
        .map_err(|error| error.context(format!("{filter} after {:?}", began.elapsed())))?;
    }
    Ok(())
}

async fn a_deleted_hook_is_gone_soon_and_a_new_one_of_its_name_is_another(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    let function = scene.function().await?;
    let sender = scene.shop().await?;
    let first = sender.push(&function, "1").await?;
    scene.objects.delete("Hook", "shop").await?;
    until("the deleted Hook answers like none", SOON, async || {
        let answer = sender.send(&function, "push", "1", &push("1")?).await?;
        Ok(answer.status == 401)
    })
    .await?;
    let kept = scene.delivery("shop").await?;
    ensure!(
        kept["metadata"]["name"] == first["delivery"],
        "the record of its event is gone"
    );
    let spec = json!({
        "provider": "github", "verification": {"secretRefs": [{"name": "shop"}]}, "rules": [rule("build")],
    });
    scene.hook("shop", spec).await?;
    until("the new Hook is there", SOON, async || {
        let answer = sender
            .with(SECRET)
            .send(&function, "push", "1", &push("1")?)
            .await?;
        Ok(answer.status == 202)
    })
    .await?;
    let deliveries = scene.deliveries("shop").await?.len();
    ensure!(
        deliveries == 2,
        "the same event at another Hook: {deliveries} Deliveries"
    );
    Ok(())
}
