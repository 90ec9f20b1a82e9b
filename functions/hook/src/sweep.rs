//! What is done from time to time: Deliveries that a crash or a quota left `Received` are finished, those past their
//! retention deleted, those whose payload came before flagged, and every Hook is looked at, so that its status says
//! whether it is ready.
//!
//! Bounded in number and time, and safe twice at once: whatever a sweep does, a redelivery may do at the same moment. It
//! goes by the clock and by what is in the cluster, and keeps nothing from one time to the next.

mod delete;
mod finish;
mod flag;
mod hooks;

use std::{collections::BTreeMap, time::Duration};

use ::hooks::{Outcome, hook::Retention, object::Metadata, run::HOOK};
use cluster::{Cluster, Fault, Kind, Listing, Page, Resource};
use deliveries::{
    record::outcome_text,
    resource::{self, DELIVERIES},
};
use jiff::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::Instant;

use self::{delete::Listed, finish::Left};
use crate::{SweepOptions, service::Service};

/// Deliveries on one page of a list that shows their metadata alone.
const PAGE: usize = 500;

/// Deliveries that are kept in mind to be finished; with more of them, they are not all of them put in order.
const QUEUE: usize = 50_000;

/// What is done at the same time.
const AT_ONCE: usize = 8;

/// What a sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Deliveries looked at.
    pub examined: usize,
    /// Deliveries that were left `Received` and have an outcome now.
    pub finished: usize,
    /// Deliveries that were tried in vain and wait for another try; they say what for.
    pub waiting: usize,
    /// Deliveries deleted by this sweep.
    pub deleted: usize,
    /// Deliveries flagged because their payload came before.
    pub flagged: usize,
    /// Hooks looked at.
    pub hooks: usize,
    /// What could not be done, and why the last of it.
    pub failed: Option<(usize, String)>,
    /// Whether everything was looked at; otherwise another sweep has work left.
    pub complete: bool,
}

/// A Delivery as a list of metadata shows it.
#[derive(Deserialize)]
struct Item {
    metadata: Metadata,
}

/// One sweep under way.
struct Sweep<'a> {
    service: &'a Service,
    options: &'a SweepOptions,
    now: Timestamp,
    deadline: Instant,
    /// Half of the time: until then what was left is finished, and from then on nobody waits for the rest of a list of it.
    hurry: Instant,
    /// What each Hook keeps, by namespace and name.
    retentions: BTreeMap<(String, String), Retention>,
    /// Deliveries that are to be finished.
    left: Vec<Left>,
    /// How many were tried.
    tried: usize,
    swept: Swept,
}

impl Service {
    /// One bounded sweep over the namespaces that are allowed. `now` is the time that ages count from. A namespace that cannot
    /// be swept, for want of a right there, does not keep the others from it: [`Swept::failed`] tells of it.
    ///
    /// # Errors
    /// Nothing could be listed in any namespace; what was done before stays done.
    pub async fn sweep(&self, options: &SweepOptions, now: Timestamp) -> Result<Swept, Fault> {
        let mut sweep = Sweep {
            service: self,
            options,
            now,
            deadline: Instant::now() + options.sweep_time,
            hurry: Instant::now() + options.sweep_time / 2,
            retentions: BTreeMap::new(),
            left: Vec::new(),
            tried: 0,
            swept: Swept {
                complete: true,
                ..Swept::default()
            },
        };
        let mut scopes: Vec<Option<&str>> = match self.policy.namespaces.names() {
            Some(names) => names.iter().map(|name| Some(name.as_str())).collect(),
            None => vec![None],
        };
        let first = first(scopes.len(), now);
        scopes.rotate_left(first);
        let asked = sweep.left_in(&scopes).await;
        sweep.finish(sweep.hurry).await;
        let (mut some, mut refused) = (false, None);
        for (namespace, asked) in scopes.into_iter().zip(asked) {
            if !sweep.goes_on() {
                break;
            }
            match sweep.namespace(namespace, asked).await {
                Ok(()) => some = true,
                Err(fault) => {
                    let place =
                        namespace.map_or_else(String::new, |name| format!("namespace {name}: "));
                    sweep.note(format!("{place}{fault}"));
                    refused = Some(fault);
                }
            }
        }
        sweep.finish(sweep.deadline).await;
        match refused {
            Some(fault) if !some => Err(fault),
            _ => Ok(sweep.swept),
        }
    }
}

impl Sweep<'_> {
    fn cluster(&self) -> Cluster {
        self.cluster_for(self.service.patience.event)
    }

    fn cluster_for(&self, time: Duration) -> Cluster {
        let service = self.service;
        let deadline = Instant::now() + time;
        Cluster::until(service.client.clone(), service.patience.attempt, deadline)
    }

    /// One page, with fewer objects where they are large: what one tenant writes must not keep the others' from being seen.
    /// All requests for it take no longer than `time`.
    async fn page<T: DeserializeOwned>(
        &self,
        time: Duration,
        resource: Resource,
        mut listing: Listing<'_>,
    ) -> Result<Page<T>, Fault> {
        let cluster = self.cluster_for(time);
        loop {
            match cluster.list(resource, &listing).await {
                Err(fault) if fault.kind == Kind::TooLarge && listing.limit > 1 => {
                    listing.limit = (listing.limit / 8).max(1);
                }
                page => return page,
            }
        }
    }

    /// Whether there is time left; if not, the next sweep has work left.
    fn goes_on(&mut self) -> bool {
        let goes_on = Instant::now() < self.deadline;
        self.swept.complete &= goes_on;
        goes_on
    }

    fn note(&mut self, why: String) {
        let count = self.swept.failed.take().map_or(0, |(count, _)| count);
        self.swept.failed = Some((count + 1, why));
    }

    /// Finds out what is left to be finished, everywhere before anything else is done anywhere: however much there is to
    /// look at in one place, what waits in another has its turn. Gives back where that was possible; elsewhere it is found
    /// among all Deliveries.
    async fn left_in(&mut self, scopes: &[Option<&str>]) -> Vec<bool> {
        let mut asked = Vec::new();
        for namespace in scopes {
            let goes_on = self.goes_on();
            asked.push(goes_on && self.received(*namespace).await.is_ok());
        }
        asked
    }

    /// Lists the Deliveries that are labelled `Received`, page by page. After an error none of them is in mind: they are found
    /// among all Deliveries then.
    async fn received(&mut self, namespace: Option<&str>) -> Result<(), Fault> {
        let labels = format!("{}={}", resource::OUTCOME, outcome_text(Outcome::Received));
        let mut from = String::new();
        let mut before = self.left.len();
        loop {
            let listing = Listing {
                namespace,
                labels: &labels,
                limit: PAGE,
                from: &from,
                metadata_only: true,
            };
            // Once: an API server that needs longer to select them than to show all is not asked again and again.
            let once = self.service.patience.attempt;
            let page = match self.page::<Item>(once, DELIVERIES, listing).await {
                Ok(page) => page,
                Err(fault) => {
                    self.left.truncate(before);
                    return Err(fault);
                }
            };
            for Item { metadata } in &page.items {
                let left = self.left(metadata);
                self.left.extend(left);
            }
            self.hurry().await;
            before = before.min(self.left.len());
            match page.next {
                Some(next) if self.goes_on() => from = next,
                _ => return Ok(()),
            }
        }
    }

    /// Finishes what was seen so far, where there is too much of it or too little time to see the rest before.
    async fn hurry(&mut self) {
        if self.left.len() >= QUEUE || Instant::now() >= self.hurry {
            self.finish(self.deadline).await;
        }
    }

    /// Its Hooks first, since they say what is kept. `asked` is whether what is labelled `Received` was seen before.
    async fn namespace(&mut self, namespace: Option<&str>, asked: bool) -> Result<(), Fault> {
        self.hooks(namespace).await?;
        self.deliveries(namespace, asked).await
    }

    /// Lists the Deliveries, page by page, and does with them what is to be done. Lists are in the order of namespaces.
    async fn deliveries(&mut self, namespace: Option<&str>, asked: bool) -> Result<(), Fault> {
        let whole = self.service.patience.event;
        let mut from = String::new();
        let (mut current, mut listed) = (String::new(), BTreeMap::new());
        loop {
            let listing = Listing {
                namespace,
                limit: PAGE,
                from: &from,
                metadata_only: true,
                ..Listing::default()
            };
            let Page { items, next } = self.page::<Item>(whole, DELIVERIES, listing).await?;
            for Item { metadata } in items {
                self.swept.examined += 1;
                if metadata.namespace != current {
                    self.settle(&current, std::mem::take(&mut listed)).await;
                    current.clone_from(&metadata.namespace);
                }
                let outcome = outcome(&metadata);
                if outcome.is_none_or(|outcome| outcome == Outcome::Received && !asked) {
                    let left = self.left(&metadata);
                    self.left.extend(left);
                }
                let origin = Origin::of(&metadata);
                let deliveries: &mut Vec<Listed> = listed.entry(origin).or_default();
                deliveries.push(Listed::of(metadata, outcome));
            }
            if !asked {
                self.hurry().await;
            }
            match next {
                Some(next) if self.goes_on() => from = next,
                // A part of a Hook's Deliveries does not tell what exceeds its retention.
                Some(_) => return Ok(()),
                None => break,
            }
        }
        self.settle(&current, listed).await;
        Ok(())
    }

    /// What is done once all Deliveries of a namespace are known, by their origins.
    async fn settle(&mut self, namespace: &str, listed: BTreeMap<Origin, Vec<Listed>>) {
        for (origin, mut deliveries) in listed {
            self.delete(namespace, &origin, &mut deliveries).await;
            // What was posted for a flow is another event each time, also where it is the same.
            if let Origin::Hook(_) = origin {
                self.flag(namespace, deliveries).await;
            }
        }
    }
}

/// What Deliveries have in common of which each has its retention and its turn.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Origin {
    /// A Hook, by name.
    Hook(String),
    /// A flow that was posted, or for which something was.
    Flow(String),
}

impl Origin {
    fn of(metadata: &Metadata) -> Self {
        let label = |name: &str| metadata.labels.get(name).cloned();
        match label(HOOK) {
            Some(hook) => Self::Hook(hook),
            None => Self::Flow(label(flows::label::FLOW).unwrap_or_default()),
        }
    }
}

/// Which of so many places a sweep begins with: another one each time, whatever the pauses between sweeps, so that the
/// last ones have their turn also where there is more to do than one sweep can.
fn first(places: usize, now: Timestamp) -> usize {
    // By the golden ratio: times that are evenly apart are spread evenly.
    let turn = now
        .as_second()
        .unsigned_abs()
        .wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let place = (u128::from(turn) * places as u128) >> 64;
    usize::try_from(place).unwrap_or_default()
}

fn outcome(metadata: &Metadata) -> Option<Outcome> {
    let text = metadata.labels.get(resource::OUTCOME)?;
    [
        Outcome::Received,
        Outcome::Created,
        Outcome::Filtered,
        Outcome::Failed,
    ]
    .into_iter()
    .find(|outcome| outcome_text(*outcome) == text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_place_is_the_first_one_before_long() {
        for pause in [60, 120, 300, 3600] {
            for places in [1, 2, 5, 12, 60] {
                let sweeps = 0..4 * i64::try_from(places).unwrap();
                let times = sweeps
                    .map(|sweep| Timestamp::from_second(1_800_000_000 + sweep * pause).unwrap());
                let begun: BTreeSet<usize> = times.map(|now| first(places, now)).collect();
                assert_eq!(begun, (0..places).collect(), "every {pause} seconds");
            }
        }
        assert_eq!(first(0, Timestamp::UNIX_EPOCH), 0);
    }
}
