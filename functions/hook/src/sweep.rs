//! What is done from time to time: Deliveries that a crash or a quota left `Received` are finished, those past their
//! retention deleted, and every Hook is looked at, so that its status says whether it is ready.
//!
//! Bounded in number and time, and safe twice at once: whatever a sweep does, a redelivery may do at the same moment. It
//! goes by the clock and by what is in the cluster, and keeps nothing from one time to the next.

use std::collections::BTreeMap;

use cluster::{Cluster, Fault, Kind, Listing, Page, Resource};
use deliveries::{
    is_younger,
    record::outcome_text,
    resource::{self, DELIVERIES, HOOKS, PIPELINES},
    rights,
};
use futures_util::future::join_all;
use hooks::{Delivery, Hook, Kept, Outcome, hook::Retention, object::Metadata, run::HOOK};
use jiff::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    SweepOptions,
    known::{Known, Place},
    service::Service,
    status,
};

/// Deliveries on one page of a list that shows their metadata alone.
const PAGE: usize = 500;

/// Hooks on one page, which shows them whole.
const HOOKS_PAGE: usize = 100;

/// Hooks that are looked at by every sweep; of more, each in its minute of the hour.
const ALWAYS: usize = 200;

/// What is done at the same time.
const AT_ONCE: usize = 8;

/// Milliseconds of a minute.
const MINUTE: i64 = 60_000;

/// What a sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Deliveries looked at.
    pub examined: usize,
    /// Deliveries that were left `Received` and have an outcome now.
    pub finished: usize,
    /// Deliveries deleted, by this sweep or by one at the same time.
    pub deleted: usize,
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
    /// What each Hook keeps, by namespace and name.
    retentions: BTreeMap<(String, String), Retention>,
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
            retentions: BTreeMap::new(),
            swept: Swept {
                complete: true,
                ..Swept::default()
            },
        };
        let scopes: Vec<Option<&str>> = match self.policy.namespaces.names() {
            Some(names) => names.iter().map(|name| Some(name.as_str())).collect(),
            None => vec![None],
        };
        let (mut some, mut refused) = (false, None);
        for namespace in scopes {
            if !sweep.goes_on() {
                break;
            }
            match sweep.namespace(namespace).await {
                Ok(()) => some = true,
                Err(fault) => {
                    let place =
                        namespace.map_or_else(String::new, |name| format!("namespace {name}: "));
                    sweep.note(format!("{place}{fault}"));
                    refused = Some(fault);
                }
            }
        }
        match refused {
            Some(fault) if !some => Err(fault),
            _ => Ok(sweep.swept),
        }
    }
}

impl Sweep<'_> {
    fn cluster(&self) -> Cluster {
        Cluster::new(self.service.client.clone(), self.service.patience)
    }

    /// One page, with fewer objects where they are large: what one tenant writes must not keep the others' from being seen.
    async fn page<T: DeserializeOwned>(
        &self,
        resource: Resource,
        mut listing: Listing<'_>,
    ) -> Result<Page<T>, Fault> {
        loop {
            match self.cluster().list(resource, &listing).await {
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

    /// Its Hooks first, since they say what is kept.
    async fn namespace(&mut self, namespace: Option<&str>) -> Result<(), Fault> {
        self.hooks(namespace).await?;
        self.deliveries(namespace).await
    }

    /// Looks at all Hooks, page by page.
    async fn hooks(&mut self, namespace: Option<&str>) -> Result<(), Fault> {
        let mut from = String::new();
        loop {
            let listing = Listing {
                namespace,
                limit: HOOKS_PAGE,
                from: &from,
                ..Listing::default()
            };
            let Page { items, next } = self.page::<Value>(HOOKS, listing).await?;
            for group in items.chunks(AT_ONCE) {
                let always = self.swept.hooks < ALWAYS;
                let looked = join_all(group.iter().map(|hook| self.hook(hook, always))).await;
                for (result, object) in looked.into_iter().zip(group) {
                    self.swept.hooks += 1;
                    self.remember(object);
                    if let Err(fault) = result {
                        self.note(fault.to_string());
                    }
                }
            }
            match next {
                Some(next) if self.goes_on() => from = next,
                _ => return Ok(()),
            }
        }
    }

    fn remember(&mut self, object: &Value) {
        let retention = serde_json::from_value(object["spec"]["retention"].clone());
        let text = |field: &str| {
            object["metadata"][field]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let key = (text("namespace"), text("name"));
        self.retentions.insert(key, retention.unwrap_or_default());
    }

    /// Brings the status of one Hook up to date, where it may be out of date.
    async fn hook(&self, object: &Value, always: bool) -> Result<(), Fault> {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
        let Ok(namespace) = text("namespace").parse() else {
            return Ok(());
        };
        let place = Place {
            namespace,
            name: text("name").to_owned(),
        };
        if !always && !is_due(object, &place, self.now) {
            return Ok(());
        }
        let cluster = self.cluster();
        let known = Known::of(&cluster, &place, object.clone(), None).await?;
        let around = around(&cluster, self.service, &place, &known.hook).await?;
        let (status, news) = status::settled(&place, &known, Some(&around), self.now);
        if news {
            status::write(&cluster, &place, &json!({"status": status})).await?;
        }
        Ok(())
    }

    /// Finishes and deletes Deliveries, page by page. Lists are in the order of namespaces.
    async fn deliveries(&mut self, namespace: Option<&str>) -> Result<(), Fault> {
        let mut from = String::new();
        let mut kept = BTreeMap::new();
        let mut current = String::new();
        loop {
            let listing = Listing {
                namespace,
                limit: PAGE,
                from: &from,
                metadata_only: true,
                ..Listing::default()
            };
            let Page { items, next } = self.page::<Item>(DELIVERIES, listing).await?;
            let mut left = Vec::new();
            for Item { metadata } in items {
                self.swept.examined += 1;
                if metadata.namespace != current {
                    self.delete(&current, std::mem::take(&mut kept)).await;
                    current.clone_from(&metadata.namespace);
                }
                let outcome = outcome(&metadata);
                let received = received(&metadata);
                if outcome.is_none_or(|outcome| outcome == Outcome::Received)
                    && (is_replay(&metadata)
                        || !is_younger(received, self.now, self.service.deliveries.takeover))
                {
                    left.push(metadata.clone());
                }
                let hook = metadata.labels.get(HOOK).cloned().unwrap_or_default();
                let entry: &mut Vec<(Kept, String)> = kept.entry(hook).or_default();
                entry.push((as_kept(&metadata, outcome, received), metadata.uid));
            }
            self.finish(left).await;
            match next {
                Some(next) if self.goes_on() => from = next,
                // A part of a Hook's Deliveries does not tell what exceeds its retention.
                Some(_) => return Ok(()),
                None => break,
            }
        }
        self.delete(&current, kept).await;
        Ok(())
    }

    /// Carries out what was left.
    async fn finish(&mut self, left: Vec<Metadata>) {
        for group in left.chunks(AT_ONCE) {
            if self.swept.finished >= self.options.sweep_finish || !self.goes_on() {
                self.swept.complete = false;
                return;
            }
            let finished = join_all(group.iter().map(|metadata| self.finish_one(metadata))).await;
            for result in finished {
                match result {
                    Ok(finished) => self.swept.finished += usize::from(finished),
                    Err(why) => self.note(why),
                }
            }
        }
    }

    /// Reads a Delivery again, and carries it out if it is still to be done.
    async fn finish_one(
        &self,
        Metadata {
            namespace, name, ..
        }: &Metadata,
    ) -> Result<bool, String> {
        let cluster = self.cluster();
        let found = cluster.find::<Delivery>(DELIVERIES, namespace, name).await;
        let Some(delivery) = found.map_err(|fault| fault.to_string())? else {
            return Ok(false);
        };
        let waits = delivery.record.outcome == Outcome::Received
            && delivery.metadata.deletion_timestamp.is_none()
            && (is_replay(&delivery.metadata)
                || !self.service.deliveries.is_young(&delivery, self.now));
        if !waits {
            return Ok(false);
        }
        let carried = self.service.deliveries.carry_out(&cluster, delivery, None);
        let delivery = carried.await.delivery;
        let record = &delivery.record;
        if record.outcome == Outcome::Received {
            return Err(format!("Delivery {namespace}/{name}: {}", record.reason));
        }
        let outcome = outcome_text(record.outcome);
        tracing::info!(
            namespace,
            delivery = name,
            outcome,
            "finished what was left"
        );
        Ok(true)
    }

    /// Deletes what exceeds the retention of each Hook of a namespace.
    async fn delete(&mut self, namespace: &str, kept: BTreeMap<String, Vec<(Kept, String)>>) {
        let now = self.now.as_millisecond();
        for (hook, deliveries) in kept {
            let (deliveries, uids): (Vec<_>, Vec<_>) = deliveries.into_iter().unzip();
            let names = deliveries.iter().map(|kept| kept.name.clone());
            let uids: BTreeMap<String, String> = names.zip(uids).collect();
            let retention = self.retentions.get(&(namespace.to_owned(), hook));
            // Those of a Hook that is gone stay as long as those of one that says nothing. Where there was no time to list all
            // Hooks, there is none left for deletions either.
            let retention = retention.cloned().unwrap_or_default();
            let past = hooks::retain(deliveries, &retention, now);
            for group in past.chunks(AT_ONCE) {
                if self.swept.deleted >= self.options.sweep_delete || !self.goes_on() {
                    self.swept.complete = false;
                    return;
                }
                let cluster = self.cluster();
                let removed = group.iter().map(|name| {
                    let uid = uids.get(name).map_or("", String::as_str);
                    cluster.remove(DELIVERIES, namespace, name, uid)
                });
                for result in join_all(removed).await {
                    match result {
                        Ok(_) => self.swept.deleted += 1,
                        Err(fault) => self.note(fault.to_string()),
                    }
                }
            }
        }
    }
}

/// Whether the status of a Hook may be out of date: it is about another edition, it says that something is wrong, or it is
/// this Hook's minute of the hour.
fn is_due(object: &Value, place: &Place, now: Timestamp) -> bool {
    let status = &object["status"];
    let conditions = status["conditions"].as_array();
    let ready = conditions.is_some_and(|conditions| {
        let mut conditions = conditions.iter();
        conditions.any(|one| one["type"] == "Ready" && one["status"] == "True")
    });
    let minute = now.as_millisecond().div_euclid(MINUTE).rem_euclid(60);
    let own: i64 = place.name.bytes().map(i64::from).sum::<i64>() % 60;
    !ready || status["observedGeneration"] != object["metadata"]["generation"] || minute == own
}

/// What is wrong around a Hook: Pipelines that do not exist or do not take the payload, rights that are lacking.
async fn around(
    cluster: &Cluster,
    service: &Service,
    place: &Place,
    hook: &Hook,
) -> Result<Vec<String>, Fault> {
    let namespace = place.namespace.as_str();
    let mut wrong = Vec::new();
    let account = &hook.spec.service_account_name;
    if !hook.spec.rules.is_empty()
        && !service
            .deliveries
            .rights
            .may_start(cluster, namespace, account)
            .await?
    {
        let lacking = rights::lacking(namespace, account);
        wrong.push(format!("spec.serviceAccountName: {lacking}"));
    }
    for (at, rule) in hook.spec.rules.iter().enumerate() {
        let Some(name) = rule.pipeline_ref.as_ref().map(|pipeline| &pipeline.name) else {
            continue;
        };
        let pipeline: Option<Value> = cluster.find(PIPELINES, namespace, name).await?;
        let Some(pipeline) = pipeline else {
            wrong.push(format!(
                "spec.rules[{at}].pipelineRef: there is no Pipeline {name:?} in namespace {namespace:?}; create it"
            ));
            continue;
        };
        let workspaces = pipeline["spec"]["workspaces"].as_array();
        let declared = |workspace: &str| {
            workspaces.is_some_and(|declared| declared.iter().any(|one| one["name"] == workspace))
        };
        if let Some(target) = rule
            .payload
            .as_ref()
            .filter(|target| !declared(&target.workspace))
        {
            wrong.push(format!(
                "spec.rules[{at}].payload.workspace: Pipeline {name:?} does not declare the workspace {:?}; declare it there",
                target.workspace
            ));
        }
    }
    Ok(wrong)
}

/// Whether somebody asked for it beside the function, so that no request is at work on it.
fn is_replay(metadata: &Metadata) -> bool {
    metadata.annotations.contains_key(resource::REPLAY_OF)
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

/// When a Delivery came; where it does not say, when it was created.
fn received(metadata: &Metadata) -> &str {
    let told = metadata.annotations.get(resource::RECEIVED_TIME);
    told.unwrap_or(&metadata.creation_timestamp)
}

fn as_kept(metadata: &Metadata, outcome: Option<Outcome>, received: &str) -> Kept {
    let bytes = metadata.annotations.get(resource::PAYLOAD_BYTES);
    let received = received.parse::<Timestamp>().map(Timestamp::as_millisecond);
    Kept {
        name: metadata.name.clone(),
        received: received.unwrap_or_default(),
        bytes: bytes
            .and_then(|bytes| bytes.parse().ok())
            .unwrap_or_default(),
        outcome: outcome.unwrap_or(Outcome::Received),
    }
}
