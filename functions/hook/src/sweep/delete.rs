//! Deleting what exceeds the retention of a Hook.

use std::collections::BTreeSet;

use ::hooks::{Kept, Outcome, object::Metadata};
use cluster::AsRead;
use deliveries::{
    resource::{self, DELIVERIES},
    wait,
};
use futures_util::future::join_all;
use jiff::Timestamp;

use super::{AT_ONCE, Origin, Sweep};

/// A Delivery as a list of metadata shows it.
pub(super) struct Listed {
    /// What retention needs to know.
    pub(super) kept: Kept,
    pub(super) uid: String,
    /// The edition that was listed.
    pub(super) edition: String,
    /// The first 32 digits of its payload's digest, unless it says nothing about other Deliveries.
    pub(super) digest: Option<u128>,
    /// Whether it says already that its payload came before.
    pub(super) flagged: bool,
}

impl Listed {
    pub(super) fn of(metadata: Metadata, outcome: Option<Outcome>) -> Self {
        let received = wait::received(&metadata).parse::<Timestamp>();
        let annotation = |name: &str| metadata.annotations.get(name).map(String::as_str);
        let bytes = annotation(resource::STORED_BYTES).and_then(|bytes| bytes.parse().ok());
        Self {
            digest: super::flag::digest(&metadata),
            flagged: annotation(resource::SAME_PAYLOAD_AS).is_some(),
            kept: Kept {
                received: received.map(Timestamp::as_millisecond).unwrap_or_default(),
                bytes: bytes.unwrap_or_default(),
                outcome: outcome.unwrap_or(Outcome::Received),
                name: metadata.name,
            },
            uid: metadata.uid,
            edition: metadata.resource_version,
        }
    }
}

impl Sweep<'_> {
    /// Deletes what exceeds the retention of a Hook or flow; the rest is left in the list.
    pub(super) async fn delete(
        &mut self,
        namespace: &str,
        origin: &Origin,
        deliveries: &mut Vec<Listed>,
    ) {
        let retention = match origin {
            Origin::Hook(hook) => self.retentions.get(&(namespace.to_owned(), hook.clone())),
            Origin::Flow(_) => None,
        };
        // Those of a flow, and of a Hook that is gone, stay as long as those of one that says nothing. Where there was no
        // time to list all Hooks, there is none left for deletions either.
        let retention = retention.cloned().unwrap_or_default();
        let kept = deliveries
            .iter()
            .map(|listed| listed.kept.clone())
            .collect();
        let past = ::hooks::retain(kept, &retention, self.now.as_millisecond());
        if past.is_empty() {
            return;
        }
        let names: BTreeSet<&str> = past.iter().map(String::as_str).collect();
        let (mut gone, stay): (Vec<_>, Vec<_>) = std::mem::take(deliveries)
            .into_iter()
            .partition(|listed| names.contains(listed.kept.name.as_str()));
        *deliveries = stay;
        gone.sort_unstable_by(|one, other| {
            (one.kept.received, &one.kept.name).cmp(&(other.kept.received, &other.kept.name))
        });
        for group in gone.chunks(AT_ONCE) {
            if self.swept.deleted >= self.options.sweep_delete || !self.goes_on() {
                self.swept.complete = false;
                return;
            }
            let cluster = self.cluster();
            // As it was listed: one that was revived since, by the same event, is somebody's again.
            let removed = group.iter().map(|one| {
                let as_read = AsRead {
                    uid: &one.uid,
                    edition: &one.edition,
                };
                cluster.remove(DELIVERIES, namespace, &one.kept.name, as_read)
            });
            for result in join_all(removed).await {
                match result {
                    Ok(deleted) => self.swept.deleted += usize::from(deleted),
                    Err(fault) => self.note(fault.to_string()),
                }
            }
        }
    }
}
