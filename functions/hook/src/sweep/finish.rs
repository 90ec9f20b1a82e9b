//! Carrying out what was left `Received`: by a crash, by a quota, or because it could not be started.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use ::hooks::{Delivery, Outcome, object::Metadata};
use cluster::{Cluster, Fault};
use deliveries::{carry::Noted, record::outcome_text, resource::DELIVERIES, wait};
use futures_util::future::join_all;
use tokio::time::Instant;

use super::{AT_ONCE, Origin, Sweep};
use crate::warning;

/// How long it may take to write down what a try came to, whatever the try has taken.
const LAST_WORD: Duration = Duration::from_secs(5);

/// What became of a Delivery that was due.
enum Finish {
    /// It has an outcome.
    Done,
    /// It waits for another try.
    Waits,
    /// Others have finished it, or are at work on it.
    Elsewhere,
}

/// A Delivery that is due.
pub(super) struct Left {
    namespace: String,
    name: String,
    /// Whose turn it is.
    origin: Origin,
    /// Since when, in milliseconds since 1970.
    due: i64,
}

impl Sweep<'_> {
    /// A Delivery without outcome, if it is due.
    pub(super) fn left(&self, metadata: &Metadata) -> Option<Left> {
        let due = self.due(metadata);
        (due <= self.now.as_millisecond()).then(|| Left {
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone(),
            origin: Origin::of(metadata),
            due,
        })
    }

    fn due(&self, metadata: &Metadata) -> i64 {
        let takeover = self.service.deliveries.takeover;
        wait::due(metadata, takeover, self.options.sweep_give_up)
    }

    /// Carries out what was left, in a fair order; what there is no time for before `until` is left on.
    pub(super) async fn finish(&mut self, until: Instant) {
        let mut left: VecDeque<Left> = in_turn(std::mem::take(&mut self.left)).into();
        while !left.is_empty() {
            if self.tried >= self.options.sweep_finish || !self.goes_on() {
                self.swept.complete = false;
                return;
            }
            if Instant::now() >= until {
                self.left = left.into();
                return;
            }
            let group: Vec<Left> = left.drain(..AT_ONCE.min(left.len())).collect();
            self.tried += group.len();
            let finished = join_all(group.iter().map(|left| self.finish_one(left))).await;
            for result in finished {
                match result {
                    Ok(Finish::Done) => self.swept.finished += 1,
                    Ok(Finish::Waits) => self.swept.waiting += 1,
                    Ok(Finish::Elsewhere) => {}
                    Err(fault) => self.note(fault.to_string()),
                }
            }
        }
    }

    /// Reads a Delivery again, and carries it out if it is still to be done.
    async fn finish_one(
        &self,
        Left {
            namespace, name, ..
        }: &Left,
    ) -> Result<Finish, Fault> {
        let cluster = self.cluster();
        let found = cluster.find::<Delivery>(DELIVERIES, namespace, name);
        let waits = |delivery: &Delivery| {
            delivery.record.outcome == Outcome::Received
                && delivery.metadata.deletion_timestamp.is_none()
                && self.due(&delivery.metadata) <= self.now.as_millisecond()
        };
        let Some(delivery) = found.await?.filter(waits) else {
            return Ok(Finish::Elsewhere);
        };
        let Some(delivery) = self.go_on(&cluster, delivery).await? else {
            return Ok(Finish::Elsewhere);
        };
        if delivery.record.outcome == Outcome::Received {
            return Ok(Finish::Waits);
        }
        warning::tell_of_delivery(self.service, &delivery, self.now).await;
        let outcome = outcome_text(delivery.record.outcome);
        tracing::info!(
            namespace,
            delivery = name,
            outcome,
            "finished what was left"
        );
        Ok(Finish::Done)
    }

    /// Tries a Delivery once more, and gives it up where it was tried for long enough. What is on record of it then; nothing
    /// where others are at work on it. Also a try of which nothing can be written down counts: one that is tried in vain for
    /// ever would be the first of its Hook in every sweep.
    async fn go_on(
        &self,
        cluster: &Cluster,
        delivery: Delivery,
    ) -> Result<Option<Delivery>, Fault> {
        let deliveries = &self.service.deliveries;
        let (read, tries) = (delivery.metadata.clone(), delivery.record.attempts);
        let tried = self.try_once(cluster, delivery).await;
        let rest = self.cluster_for(LAST_WORD);
        let noted = match tried {
            Ok((Noted::Elsewhere, _)) => return Ok(None),
            Ok((Noted::Unwritten, tried)) => deliveries.note(&rest, tried).await,
            Ok((Noted::Written, tried)) => Ok(tried),
            Err(fault) => Err(fault),
        };
        let (tried, fault) = match noted {
            Ok(tried) => (tried, None),
            Err(fault) => match deliveries.count_try(&rest, &read, tries).await {
                Ok(Some(counted)) => (counted, Some(fault)),
                Ok(None) => return Ok(None),
                Err(_) => return Err(fault),
            },
        };
        let age = self.options.sweep_give_up;
        let left = deliveries.give_up(&rest, tried, age, self.now).await?;
        match fault {
            Some(fault) if left.record.outcome == Outcome::Received => Err(fault),
            _ => Ok(Some(left)),
        }
    }

    /// Carries a Delivery out, or ends it where its sender brings it again under another name; and whether that is on record.
    /// After an error, it is not.
    async fn try_once(
        &self,
        cluster: &Cluster,
        delivery: Delivery,
    ) -> Result<(Noted, Delivery), Fault> {
        let deliveries = &self.service.deliveries;
        if wait::is_nameless(&delivery.record) {
            let ended = deliveries.end_nameless(cluster, delivery).await?;
            return Ok((Noted::Written, ended));
        }
        let carried = deliveries.carry_out(cluster, delivery, None).await;
        Ok((carried.noted, carried.delivery))
    }
}

/// One of each Hook, then the next one of each: so nobody's many keep others' few from their turn. Of one Hook, what is
/// due for the longest time is the first: so what came first is started first, and what is tried in vain goes to the end.
fn in_turn(mut left: Vec<Left>) -> Vec<Left> {
    left.sort_unstable_by(|one, other| (one.due, &one.name).cmp(&(other.due, &other.name)));
    let mut turns: HashMap<(String, Origin), usize> = HashMap::new();
    let turn = |left: Left| {
        let turn = turns
            .entry((left.namespace.clone(), left.origin.clone()))
            .or_default();
        *turn += 1;
        (*turn, left)
    };
    let mut left: Vec<(usize, Left)> = left.into_iter().map(turn).collect();
    left.sort_by_key(|(turn, _)| *turn);
    left.into_iter().map(|(_, left)| left).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hook_has_its_turn_and_the_oldest_is_the_first() {
        let left = |hook: &str, due: i64| Left {
            namespace: "team".to_owned(),
            name: format!("{hook}-{due}"),
            origin: Origin::Hook(hook.to_owned()),
            due,
        };
        let mut all: Vec<Left> = (1..=4).rev().map(|due| left("busy", due)).collect();
        all.extend([left("rare", 9), left("other", 3), left("other", 2)]);
        let names: Vec<String> = in_turn(all).into_iter().map(|left| left.name).collect();
        let expected = [
            "busy-1", "other-2", "rare-9", "busy-2", "other-3", "busy-3", "busy-4",
        ];
        assert_eq!(names, expected);
    }
}
