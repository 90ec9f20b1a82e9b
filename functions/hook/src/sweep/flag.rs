//! Flagging what brought the same payload as an earlier Delivery of the same Hook under another identity: a wish to run
//! it again, or a forgery of one. It is shown, not suppressed.
//!
//! The process that takes an event flags what it remembers. This is what several processes, and restarts, cannot
//! remember: the list of Deliveries tells it.

use std::collections::HashMap;

use ::hooks::{Outcome, object::Metadata};
use cluster::{Fault, Kind, Part};
use deliveries::{
    payload,
    resource::{self, DELIVERIES},
    wait,
};
use futures_util::future::join_all;
use serde_json::json;

use super::{AT_ONCE, Sweep, delete::Listed};

/// Digits of a digest by which payloads are compared.
const DIGITS: usize = 32;

/// What a payload is compared by; `None` for a replay, which names what it repeats, and for an empty payload.
pub(super) fn digest(metadata: &Metadata) -> Option<u128> {
    let digest = metadata.annotations.get(resource::PAYLOAD_DIGEST)?;
    if wait::is_replay(metadata) || *digest == payload::digest(&[]) {
        return None;
    }
    let digits = digest.strip_prefix("sha256:")?.get(..DIGITS)?;
    u128::from_str_radix(digits, 16).ok()
}

/// Pairs of a Delivery that is to be flagged and the earliest one with the same payload. What has no outcome yet is left
/// to who works on it, and flagged the next time.
fn repeated(mut deliveries: Vec<Listed>) -> Vec<(Listed, String)> {
    deliveries.sort_unstable_by(|one, other| {
        (one.kept.received, &one.kept.name).cmp(&(other.kept.received, &other.kept.name))
    });
    let mut first: HashMap<u128, String> = HashMap::new();
    let mut repeated = Vec::new();
    for listed in deliveries {
        let Some(digest) = listed.digest else {
            continue;
        };
        match first.get(&digest) {
            None => drop(first.insert(digest, listed.kept.name)),
            Some(_) if listed.flagged || listed.kept.outcome == Outcome::Received => {}
            Some(first) => repeated.push((listed, first.clone())),
        }
    }
    repeated
}

impl Sweep<'_> {
    /// Flags the Deliveries of one Hook, given all that it has.
    pub(super) async fn flag(&mut self, namespace: &str, deliveries: Vec<Listed>) {
        for group in repeated(deliveries).chunks(AT_ONCE) {
            if self.swept.flagged >= self.options.sweep_finish || !self.goes_on() {
                self.swept.complete = false;
                return;
            }
            let flagged = group
                .iter()
                .map(|(listed, first)| self.flag_one(namespace, listed, first));
            for result in join_all(flagged).await {
                match result {
                    Ok(flagged) => self.swept.flagged += usize::from(flagged),
                    Err(fault) => self.note(fault.to_string()),
                }
            }
        }
    }

    /// Writes it over the edition that was listed; whether it was that one. Another one is looked at by the next sweep.
    async fn flag_one(&self, namespace: &str, listed: &Listed, first: &str) -> Result<bool, Fault> {
        let patch = json!({
            "metadata": {
                "resourceVersion": listed.edition,
                "annotations": {resource::SAME_PAYLOAD_AS: first},
            },
            "samePayloadAs": first,
        });
        let name = &listed.kept.name;
        let cluster = self.cluster();
        let written: Result<serde::de::IgnoredAny, Fault> = cluster
            .merge(DELIVERIES, namespace, name, Part::Whole, &patch)
            .await;
        match written {
            Ok(_) => Ok(true),
            Err(fault) if matches!(fault.kind, Kind::Conflict | Kind::NotFound) => Ok(false),
            Err(fault) => Err(fault),
        }
    }
}

#[cfg(test)]
mod tests {
    use ::hooks::Kept;

    use super::*;

    fn listed(name: &str, received: i64, digest: Option<u128>, outcome: Outcome) -> Listed {
        Listed {
            kept: Kept {
                name: name.to_owned(),
                received,
                bytes: 0,
                outcome,
            },
            uid: String::new(),
            edition: String::new(),
            digest,
            flagged: false,
        }
    }

    fn pairs(deliveries: Vec<Listed>) -> Vec<(String, String)> {
        let pairs = repeated(deliveries).into_iter();
        pairs
            .map(|(listed, first)| (listed.kept.name, first))
            .collect()
    }

    #[test]
    fn later_ones_are_flagged_with_the_earliest() {
        let made = Outcome::Created;
        let all = || {
            vec![
                listed("c", 3, Some(1), made),
                listed("a", 1, Some(1), made),
                listed("other", 2, Some(2), Outcome::Failed),
                listed("b", 2, Some(1), Outcome::Filtered),
            ]
        };
        let pair = |one: &str, other: &str| (one.to_owned(), other.to_owned());
        assert_eq!(pairs(all()), [pair("b", "a"), pair("c", "a")]);
        let mut done = all();
        done[0].flagged = true;
        assert_eq!(pairs(done), [pair("b", "a")]);
    }

    #[test]
    fn what_is_in_progress_and_what_says_nothing_is_left_alone() {
        let deliveries = vec![
            listed("a", 1, Some(1), Outcome::Received),
            listed("b", 2, Some(1), Outcome::Received),
            listed("c", 3, Some(1), Outcome::Created),
            listed("d", 4, None, Outcome::Created),
            listed("e", 5, None, Outcome::Created),
        ];
        assert_eq!(pairs(deliveries), [("c".to_owned(), "a".to_owned())]);
    }

    #[test]
    fn replays_and_empty_payloads_are_compared_with_nothing() {
        let metadata = |digest: &str, more: &[&str]| {
            let own = [(resource::PAYLOAD_DIGEST, digest)];
            let more = more.iter().map(|name| (*name, "x"));
            Metadata {
                annotations: own
                    .into_iter()
                    .chain(more)
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect(),
                ..Metadata::default()
            }
        };
        let some = payload::digest(b"x");
        assert!(digest(&metadata(&some, &[])).is_some());
        assert_eq!(digest(&metadata(&some, &[resource::REPLAY_OF])), None);
        assert_eq!(digest(&metadata(&payload::digest(&[]), &[])), None);
        assert_eq!(digest(&metadata("md5:x", &[])), None);
    }
}
