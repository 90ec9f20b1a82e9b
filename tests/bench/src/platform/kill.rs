//! What is left when the process that turns events into runs is killed while they come.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use control_plane::until;

use super::{
    listener::Peer,
    load::{Load, Outcome},
    site::Site,
};
use crate::table::Table;

/// As fast as answers come; and less than what each can do, so that nothing waits for long.
const LOADS: [(&str, Load); 2] = [
    (
        "killed in a burst",
        Load {
            connections: 16,
            events: 200,
            every: None,
        },
    ),
    (
        "killed at 4 events/s",
        Load {
            connections: 16,
            events: 60,
            every: Some(Duration::from_millis(250)),
        },
    ),
];

pub(super) async fn measure(table: &mut Table, site: &Site, peers: &[Arc<Peer>; 2]) -> Result<()> {
    for (title, load) in LOADS {
        let mut left = Vec::new();
        for peer in peers {
            left.push(one(site, peer, load).await?);
        }
        let [hookrun, listener] = left.as_slice() else {
            anyhow::bail!("two sides are compared");
        };
        let [lost, unknown, failed] =
            [0, 1, 2].map(|index| (&hookrun.0[index], &listener.0[index]));
        for (what, (hookrun, listener), limit) in [
            ("acknowledged, without a run", lost, "0"),
            ("runs without acknowledgement", unknown, ""),
            ("not answered or refused", failed, ""),
        ] {
            table.row(
                format!("{title}: {what}"),
                hookrun,
                format!("{listener} EventListener"),
                "",
                limit,
            );
        }
    }
    Ok(())
}

/// Each with the number that it is a part of.
struct Left([String; 3]);

/// Sends a load and kills the process after a quarter of the answers.
async fn one(site: &Site, peer: &Arc<Peer>, load: Load) -> Result<Left> {
    // Of one that was killed before, the kubelet starts the next only after a while.
    peer.container.renew(site).await?;
    peer.awake(site).await?;
    let before = peer.runs.count()?;
    let answered = Arc::new(AtomicUsize::new(0));
    let kill = async {
        until(
            "a quarter is answered",
            Duration::from_secs(60),
            async || Ok(answered.load(Ordering::Relaxed) >= load.events / 4),
        )
        .await?;
        peer.container.kill(site).await
    };
    let (outcome, killed) = tokio::join!(peer.bear(load, &answered), kill);
    killed?;
    let outcome: Outcome = outcome?;
    let missing = peer.settle(&outcome).await?;
    let acknowledged = outcome.acknowledged.len();
    let made = peer.runs.count()? - before;
    Ok(Left([
        format!("{missing} of {acknowledged}"),
        format!("{} of {made}", made - (acknowledged - missing)),
        format!(
            "{} of {}",
            outcome.refused + outcome.unanswered,
            load.events
        ),
    ]))
}
