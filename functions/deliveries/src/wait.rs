//! How long a Delivery waits that could not be started: when it is tried again, and when it is given up.
//!
//! Both follow from when it came and how often it was tried, which its metadata tell, so that a list says which ones
//! are due and nobody keeps anything. The longer it has waited, the rarer it is tried: a quota that is used up for good
//! costs a few requests per hour and Delivery, and what came later is not kept from its turn.

use std::time::Duration;

use cluster::{Cluster, Fault, Kind, Part, Planned};
use hooks::{
    Delivery, Outcome,
    delivery::{Record, RuleRecord},
    object::Metadata,
};
use jiff::Timestamp;
use serde_json::json;

use crate::{
    Deliveries,
    carry::{self, AGAIN, Written},
    record,
    resource::{self, DELIVERIES},
};

/// Longest pause between two tries.
const LONGEST: Duration = Duration::from_secs(600);

/// Tries without which nothing is given up, however old it is: perhaps nobody was there to make them.
pub const TRIES: u32 = 5;

/// When a Delivery came; where it does not say, when it was created.
pub fn received(metadata: &Metadata) -> &str {
    let told = metadata.annotations.get(resource::RECEIVED_TIME);
    told.unwrap_or(&metadata.creation_timestamp)
}

/// Whether somebody asked for it beside the function, so that no request is at work on it.
pub fn is_replay(metadata: &Metadata) -> bool {
    metadata.annotations.contains_key(resource::REPLAY_OF)
}

/// Whether an event has no identity: what somebody posted for a flow without a name for it. Its sender was told of its run, or
/// brings it again as another event; so nobody else may start it, or it would run twice. A replay is somebody's wish.
pub fn is_nameless(record: &Record) -> bool {
    record.hook.is_none() && record.delivery_id.is_empty() && record.replay_of.is_none()
}

/// When a Delivery that is still `Received` is to be tried next, in milliseconds since 1970: at the age of `takeover`,
/// at twice that age, at four times, and so on, with pauses of ten minutes at most. The try of the request that brought
/// it does not count. A replay is due at once, and what is old enough to be given up at each sweep.
pub fn due(metadata: &Metadata, takeover: Duration, give_up: Duration) -> i64 {
    // What has no legal time counts as old.
    let received = received(metadata).parse().map(Timestamp::as_millisecond);
    let tries = metadata.annotations.get(resource::ATTEMPTS);
    let tries = tries
        .and_then(|tries| tries.parse().ok())
        .unwrap_or_default();
    let age = match is_replay(metadata) && tries == 0 {
        true => Duration::ZERO,
        false => next(tries, takeover).min(give_up.max(takeover)),
    };
    received
        .unwrap_or_default()
        .saturating_add(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
}

/// The age at which something is tried next that was tried so often.
fn next(tries: u32, takeover: Duration) -> Duration {
    let mut age = takeover;
    for left in (0..tries.saturating_sub(1)).rev() {
        // Each pause is as long as all the time before it.
        if age >= LONGEST {
            return age.saturating_add(LONGEST.saturating_mul(left.saturating_add(1)));
        }
        age = age.saturating_mul(2);
    }
    age
}

impl Deliveries {
    /// Counts a try of which nothing else can be written down, not even why it came to nothing, so that the Delivery is tried
    /// more rarely from now on, and given up one day. It was read as `read` says, when it had been tried `tries` times. What
    /// is on record then; nothing where others have finished it or are at work on it.
    ///
    /// # Errors
    /// A [`Fault`]; the try is not counted then.
    pub async fn count_try(
        &self,
        cluster: &Cluster,
        read: &Metadata,
        tries: u32,
    ) -> Result<Option<Delivery>, Fault> {
        let (namespace, name) = (&read.namespace, &read.name);
        let found: Option<Delivery> = cluster.find(DELIVERIES, namespace, name).await?;
        let waits = |current: &Delivery| {
            current.record.outcome == Outcome::Received
                && carry::is_same_event(&current.metadata, read)
        };
        let Some(mut current) = found.filter(waits) else {
            return Ok(None);
        };
        let attempts = tries.saturating_add(1);
        if current.record.attempts >= attempts {
            // It was written down, and the answer was lost.
            return Ok(Some(current));
        }
        let patch = json!({
            "metadata": {
                "resourceVersion": current.metadata.resource_version,
                "annotations": {resource::ATTEMPTS: attempts.to_string()},
            },
            "attempts": attempts,
        });
        let counted: Result<Written, Fault> = cluster
            .merge(DELIVERIES, namespace, name, Part::Whole, &patch)
            .await;
        match counted {
            Ok(Written { metadata }) => {
                current.metadata = metadata;
                current.record.attempts = attempts;
                Ok(Some(current))
            }
            Err(fault) if matches!(fault.kind, Kind::Conflict | Kind::NotFound) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Gives a Delivery up that is as old as `age` and was tried often enough without being started: its outcome is
    /// `Failed` from now on, and says why. Any other one stays as it is. What is given back is what is on record.
    ///
    /// Brought again by its sender, or replayed, it is evaluated again, as with any other that failed.
    ///
    /// # Errors
    /// A [`Fault`]; the Delivery waits on then.
    pub async fn give_up(
        &self,
        cluster: &Cluster,
        delivery: Delivery,
        age: Duration,
        now: Timestamp,
    ) -> Result<Delivery, Fault> {
        let (record, received) = (&delivery.record, received(&delivery.metadata).to_owned());
        let tries = record.attempts;
        let is_due = record.outcome == Outcome::Received
            && tries >= TRIES
            && !crate::is_younger(&received, now, age);
        if !is_due {
            return Ok(delivery);
        }
        let given_up = |rule: &RuleRecord| {
            let last = rule.reason.trim_end_matches(AGAIN);
            format!(
                "given up after {tries} tries since {received} (HOOKRUN_SWEEP_GIVE_UP); the last one: {last}"
            )
        };
        abandon(cluster, delivery, given_up).await
    }

    /// Ends an event without identity ([`is_nameless`]) that a process left which was killed, or could not write down what
    /// became of it: `Created` where its run is started, else `Failed`, with what its sender or anybody can do. What is given
    /// back is what is on record.
    ///
    /// # Errors
    /// A [`Fault`]; it is still to be ended then.
    pub async fn end_nameless(
        &self,
        cluster: &Cluster,
        delivery: Delivery,
    ) -> Result<Delivery, Fault> {
        let name = delivery.metadata.name.clone();
        let ended = |rule: &RuleRecord| {
            let last = match rule.reason.trim_end_matches(AGAIN) {
                "" => String::new(),
                last => format!(" ({last})"),
            };
            format!(
                "there is no run of it{last}, and the sweep starts none: the event has no identity (Idempotency-Key). If its \
                 sender was told of a run, that was started and is gone; a sender that got no answer posts it again; where \
                 nobody does, replay it (hookrun deliveries replay {name})"
            )
        };
        abandon(cluster, delivery, ended).await
    }

    /// Ends an event whose sender was told that nothing was started, and has no name for it under which it could come
    /// again: what is left of it must not start beside what the sender posts next. Whether its run is started after all.
    ///
    /// # Errors
    /// An [`Error`](crate::Error); nobody knows then what is left of it, and the sweep ends it.
    pub async fn disown(
        &self,
        cluster: &Cluster,
        event: &Delivery,
        reason: &str,
    ) -> Result<bool, crate::Error> {
        let found = self.find(cluster, event).await?;
        let request = |one: &Delivery| one.metadata.annotations.get(resource::REQUEST).cloned();
        let Some(ours) = found.filter(|found| request(found) == request(event)) else {
            return Ok(false);
        };
        let is_created = |one: &Delivery| one.record.outcome == Outcome::Created;
        if ours.record.outcome != Outcome::Received {
            return Ok(is_created(&ours));
        }
        let told = |rule: &RuleRecord| match rule.reason.trim_end_matches(AGAIN) {
            "" => reason.to_owned(),
            last => format!("{reason}: {last}"),
        };
        let ended = ended(cluster, ours, told).await?;
        let is_started = is_created(&ended);
        match carry::write_down(cluster, ended).await {
            Ok(on_record) => Ok(is_created(&on_record)),
            // It runs, whoever writes that down: the sweep does.
            Err(_) if is_started => Ok(true),
            Err(unwritten) => Err(unwritten.fault.into()),
        }
    }
}

/// Ends what waits of a Delivery, for a reason, and writes that down: without what was to be started, where there is no room
/// for both. What is given back is what is on record.
async fn abandon(
    cluster: &Cluster,
    delivery: Delivery,
    reason: impl Fn(&RuleRecord) -> String,
) -> Result<Delivery, Fault> {
    let ended = ended(cluster, delivery, reason).await?;
    let written = match carry::write_down(cluster, ended).await {
        Err(unwritten) if unwritten.fault.kind == Kind::TooLarge => {
            let mut short = unwritten.delivery;
            let rules = short.record.rules.iter_mut();
            rules.for_each(|rule| rule.pipeline_run = None);
            carry::write_down(cluster, short).await
        }
        written => written,
    };
    written.map_err(|unwritten| unwritten.fault)
}

/// A Delivery of which nothing waits any more, yet to be written down: runs that wait with it are taken back, and one that
/// was started meanwhile is `Created`.
async fn ended(
    cluster: &Cluster,
    mut delivery: Delivery,
    reason: impl Fn(&RuleRecord) -> String,
) -> Result<Delivery, Fault> {
    let mut rules = delivery.record.rules.clone();
    for rule in &mut rules {
        if rule.outcome != Outcome::Received {
            continue;
        }
        if is_started(cluster, &delivery, rule).await? {
            rule.outcome = Outcome::Created;
            carry::settle(rule);
        } else {
            rule.outcome = Outcome::Failed;
            rule.reason = reason(rule);
        }
    }
    delivery.record.rules = rules;
    record::conclude(&mut delivery, None);
    Ok(delivery)
}

/// Whether the run of a rule is started after all. A run of it that waits for the rest of what it needs is deleted: nobody
/// would come back to it.
async fn is_started(
    cluster: &Cluster,
    delivery: &Delivery,
    rule: &RuleRecord,
) -> Result<bool, Fault> {
    let Some(run) = &rule.pipeline_run else {
        return Ok(false);
    };
    // What can never have been started by it is none of its business.
    if carry::foreign(delivery, rule, run).is_some() {
        return Ok(false);
    }
    match Planned::stored(run.clone(), Vec::new()) {
        Ok(planned) => cluster.take_back(planned).await,
        Err(_) => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const DAY: Duration = Duration::from_secs(86_400);

    /// The minute of its age at which a Delivery is tried next.
    fn minute(tries: u32, more: &[(&str, &str)], give_up: Duration) -> i64 {
        let own = [
            (resource::RECEIVED_TIME, "1970-01-01T00:00:00Z".to_owned()),
            (resource::ATTEMPTS, tries.to_string()),
        ];
        let more = more.iter().map(|(key, value)| (*key, (*value).to_owned()));
        let annotations = own.into_iter().chain(more);
        let metadata = Metadata {
            annotations: annotations
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
            ..Metadata::default()
        };
        due(&metadata, MINUTE, give_up) / 60_000
    }

    #[test]
    fn the_pauses_grow_up_to_ten_minutes() {
        let minutes: Vec<i64> = (0..9).map(|tries| minute(tries, &[], DAY)).collect();
        assert_eq!(minutes, [1, 1, 2, 4, 8, 16, 26, 36, 46]);
        assert_eq!(minute(u32::MAX, &[], DAY), 24 * 60);
        // A day is some 150 tries.
        assert!(
            (140..160).contains(
                &(0..)
                    .find(|tries| minute(*tries, &[], DAY) == 1440)
                    .unwrap()
            )
        );
    }

    #[test]
    fn what_is_old_enough_to_be_given_up_is_tried_until_it_is() {
        assert_eq!(minute(7, &[], 10 * MINUTE), 10);
    }

    #[test]
    fn a_replay_is_due_at_once_and_then_waits_like_any_other() {
        let replay = [(resource::REPLAY_OF, "old")];
        let minutes = [0, 1, 2, 3].map(|tries| minute(tries, &replay, DAY));
        assert_eq!(minutes, [0, 1, 2, 4]);
    }

    #[test]
    fn what_says_nothing_of_its_time_is_due() {
        let metadata = Metadata {
            annotations: BTreeMap::new(),
            ..Metadata::default()
        };
        assert_eq!(due(&metadata, MINUTE, DAY), 60_000);
    }
}
