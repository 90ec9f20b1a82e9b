//! What the Artisan endpoints do, without HTTP: find the flow, check it, write its objects, store the event, start the run.
//!
//! Everything is decided before the first write: the document is read to its end, names and namespace are checked, a
//! large payload has a place. A second delivery of an event whose run was started changes nothing.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use cluster::{Cluster, Outcome, Patience, Policy};
use deliveries::{
    Deliveries, Flows, Fresh, Stored,
    flow::write,
    payload::{Nature, Packed, Parcel},
    record::{self, Subject},
};
use flows::{
    Emitted, Flow, Payload, Request, Run, Scope,
    name::{Label, object_name},
};
use hooks::{
    Delivery,
    delivery::{FlowRef, Record, RuleRecord, StoredPayload},
};
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

use crate::error::{Error, Route};

/// The word for the format of these events, in Deliveries and metrics.
pub(crate) const FORMAT: &str = "artisan";

/// How often duplicates are counted at most.
const COUNTING: Duration = Duration::from_secs(1);

/// How long it may take to end what cannot come again, when the event's own time may be over.
const LAST_WORD: Duration = Duration::from_secs(5);

/// What is on record of it then.
const DISOWNED: &str = "not started, and its sender was told so";

/// Everything that an event meets.
pub struct Service {
    /// The cluster's client.
    pub client: kube::Client,
    /// How long the API server may take.
    pub patience: Patience,
    /// What may be written where.
    pub policy: Policy,
    /// Where flows are looked up, and how their runs are made.
    pub flows: Arc<Flows>,
    /// Where events are stored. Nothing is young to it: a repeat waits for its run, and is started at once.
    pub deliveries: Deliveries,
    /// Tells the time.
    pub clock: fn() -> Timestamp,
    /// When a duplicate was counted last.
    pub counted: Mutex<Option<Instant>>,
}

/// What is known of an event besides its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Cause<'a> {
    /// The text of the event's identity: the same event has the same text, whenever and wherever it arrives.
    pub identity: &'a str,
    /// Whether the identity was made up just now, so that no earlier delivery can exist.
    pub fresh: bool,
    /// What the sender calls the event; empty where it has no name for it.
    pub delivery_id: &'a str,
    /// Its type, if it is a CloudEvent.
    pub event_type: &'a str,
    /// The media type of its data.
    pub content_type: &'a str,
    /// W3C trace context that the run continues.
    pub traceparent: Option<&'a str>,
}

/// A run that exists and is not waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// Its name.
    pub run: Label,
    /// Its namespace.
    pub namespace: Label,
    /// Whether this call created it.
    pub outcome: Outcome,
}

/// What an event was addressed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// `POST /flow`: the flow comes with the event and names its namespace.
    Document,
    /// `POST /flow/key/{key}/ns/{namespace}`: a stored flow, with a payload.
    Key {
        /// Key in the flow store.
        key: &'a str,
        /// Where it is to run.
        namespace: &'a str,
    },
    /// `POST /flow/name/{name}/ns/{namespace}`: what the cluster stores of a flow, as it is now.
    Name {
        /// The flow's name.
        name: &'a str,
        /// Where it is to run.
        namespace: &'a str,
    },
}

impl<'a> Target<'a> {
    /// What a run is named after, beside its event.
    fn scope(self) -> Scope<'a> {
        match self {
            Self::Document => Scope::Document,
            Self::Key { key, .. } => Scope::Key(key),
            Self::Name { name, .. } => Scope::Name(name),
        }
    }

    /// The route that leads here.
    pub fn route(self) -> Route {
        match self {
            Self::Document => Route::Document,
            Self::Key { .. } => Route::Key,
            Self::Name { .. } => Route::Name,
        }
    }
}

impl Service {
    /// Makes the run of one event, or finds it made.
    ///
    /// # Errors
    /// An [`Error`]; nothing runs then. Where the event was stored before that, it is on record, and the sweep goes on
    /// with what may still succeed; an event without identity is ended, since its sender brings another one.
    pub async fn handle(
        &self,
        target: Target<'_>,
        data: &Bytes,
        cause: Cause<'_>,
    ) -> Result<Started, Error> {
        match target {
            Target::Document => {
                let flow = self.flows.parse(data, None)?;
                let namespace = flow.namespace.clone().ok_or(Error::NoNamespace)?;
                // Nothing is asked about a namespace that is not ours.
                self.policy.check_namespace(&namespace)?;
                let place = self.place(target, &object_name(&flow.name), namespace, cause);
                match self.started_before(&place).await? {
                    Some(started) => Ok(started),
                    None => self.run(place, &flow, data).await,
                }
            }
            Target::Key { key, namespace } => {
                let namespace = self.namespace(namespace)?;
                let place = self.place(target, &object_name(key), namespace, cause);
                // Before the store is asked: a repeated event needs neither it nor what it holds today.
                if let Some(started) = self.started_before(&place).await? {
                    return Ok(started);
                }
                let document = self.flows.document(key).await?;
                let flow = self.flows.parse(&document, Some(&place.namespace))?;
                self.run(place, &flow, data).await
            }
            Target::Name { name, namespace } => {
                let namespace = self.namespace(namespace)?;
                let place = self.place(target, &object_name(name), namespace, cause);
                match self.started_before(&place).await? {
                    Some(started) => Ok(started),
                    None => self.run_stored(place, name).await,
                }
            }
        }
    }

    /// `GET /flow/key/{key}`: the stored flow, without unknown fields and without what must stay secret.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Document`].
    pub async fn read(&self, key: &str) -> Result<Value, Error> {
        let document = self.flows.document(key).await?;
        let document = flows::format::artisan::read(&document).map_err(Error::Document)?;
        Ok(document.redacted())
    }

    /// Where the event's run is, or will be. Its name follows from the addressee and the event alone.
    fn place<'a>(
        &self,
        target: Target<'a>,
        flow: &Label,
        namespace: Label,
        cause: Cause<'a>,
    ) -> Place<'a> {
        let request = Request {
            scope: target.scope(),
            event: cause.identity,
            traceparent: cause.traceparent,
            payload: None,
        };
        Place {
            cluster: Cluster::new(self.client.clone(), self.patience),
            run: request.run_name(flow),
            flow: flow.clone(),
            received: (self.clock)(),
            request,
            namespace,
            target,
            cause,
        }
    }

    /// The namespace of a path, legal and allowed.
    fn namespace(&self, text: &str) -> Result<Label, Error> {
        let namespace: Label = text
            .parse()
            .map_err(|_| Error::NamespaceName(text.to_owned()))?;
        self.policy.check_namespace(&namespace)?;
        Ok(namespace)
    }

    /// The run that an earlier delivery of the event started. Asked first, so that a late redelivery does not write a
    /// flow's older content over its latest, and gets its answer whatever became of the flow and of the run.
    async fn started_before(&self, place: &Place<'_>) -> Result<Option<Started>, Error> {
        if place.cause.fresh {
            return Ok(None);
        }
        let event = place.delivery(StoredPayload::default());
        let found = self.deliveries.find(&place.cluster, &event).await?;
        let created = |found: &Delivery| found.record.outcome == hooks::Outcome::Created;
        let Some(found) = found.filter(created) else {
            return Ok(None);
        };
        self.count(&place.cluster, &found).await;
        Ok(Some(place.started(Outcome::AlreadyExists)))
    }

    /// Counts a duplicate, at best effort.
    async fn count(&self, cluster: &Cluster, delivery: &Delivery) {
        let due = {
            let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
            let due = counted.is_none_or(|at| at.elapsed() >= COUNTING);
            if due {
                *counted = Some(Instant::now());
            }
            due
        };
        if due {
            self.deliveries.count(cluster, delivery).await;
        }
    }

    async fn run(&self, place: Place<'_>, flow: &Flow, data: &Bytes) -> Result<Started, Error> {
        let packed = self.pack(&place, data).await?;
        let stored = &packed.stored;
        let payload = match (place.target, &stored.object) {
            (Target::Document, _) => None,
            // Where it can be fetched is signed when the run is started.
            (_, Some(_)) => Some(Payload::Remote {
                url: "",
                digest: &stored.digest,
                size: stored.size,
            }),
            (_, None) if data.is_empty() => None,
            (_, None) => Some(Payload::Inline(data)),
        };
        let request = Request {
            payload,
            ..place.request
        };
        let emitted = self.flows.emit(flow, &place.namespace, &request, None)?;
        let Emitted { latest, run } = emitted;
        let mut absent = flows::stored::data_secrets(&object_name(&flow.name));
        absent.retain(|name| latest.iter().all(|object| object.name() != name));
        place
            .cluster
            .apply_all(&latest, &absent)
            .await
            .map_err(Error::Cluster)?;
        self.start(place, packed, data, &run).await
    }

    async fn run_stored(&self, place: Place<'_>, name: &str) -> Result<Started, Error> {
        let Place {
            cluster, namespace, ..
        } = &place;
        let snapshot = self
            .flows
            .snapshot(cluster, namespace, name, &place.request);
        let run = snapshot.await?;
        let nothing = Bytes::new();
        let packed = self.pack(&place, &nothing).await?;
        self.start(place, packed, &nothing, &run).await
    }

    /// Finds a place for what came with the event.
    async fn pack(&self, place: &Place<'_>, bytes: &Bytes) -> Result<Packed, Error> {
        let parcel = Parcel {
            namespace: place.namespace.as_ref(),
            delivery: place.run.as_ref(),
            bytes,
            content_type: place.cause.content_type,
            nature: match place.target {
                Target::Document => Nature::Flow,
                Target::Key { .. } | Target::Name { .. } => Nature::Payload,
            },
        };
        Ok(self.deliveries.pack(&place.cluster, parcel).await?)
    }

    /// Stores the event with its run, and starts that.
    async fn start(
        &self,
        place: Place<'_>,
        packed: Packed,
        bytes: &Bytes,
        run: &Run,
    ) -> Result<Started, Error> {
        let mut delivery = place.delivery(packed.stored);
        let mut rule = place.rule();
        let mut kept = write(&delivery, &mut rule, run);
        delivery.record.rules = vec![rule];
        kept.extend(packed.secret);
        let nameless = place.cause.fresh.then(|| delivery.clone());
        let fresh = Fresh {
            delivery,
            kept,
            bytes,
            received: place.received,
            problem: None,
            waits: None,
        };
        let stored = self.deliveries.store(&place.cluster, fresh).await;
        match (place.outcome(stored), nameless) {
            (Err(error), Some(event)) if error.retry_after().is_some() => {
                match self.disown(&event).await {
                    true => Ok(place.started(Outcome::Created)),
                    false => Err(error),
                }
            }
            (outcome, _) => outcome,
        }
    }

    /// Ends an event without identity whose sender is told to post it again: the next one is another event, and must not
    /// start beside it. Whether its run is started after all.
    async fn disown(&self, event: &Delivery) -> bool {
        let deadline = Instant::now() + LAST_WORD;
        let cluster = Cluster::until(self.client.clone(), self.patience.attempt, deadline);
        match self.deliveries.disown(&cluster, event, DISOWNED).await {
            Ok(is_started) => is_started,
            Err(error) => {
                let name = &event.metadata.name;
                tracing::warn!(delivery = name, %error, "the sweep ends what its sender posts again");
                false
            }
        }
    }
}

/// One event, where its run is or will be, and the cluster that it is in.
struct Place<'a> {
    cluster: Cluster,
    target: Target<'a>,
    cause: Cause<'a>,
    request: Request<'a>,
    received: Timestamp,
    flow: Label,
    /// Name of the run, and of the Delivery.
    run: Label,
    namespace: Label,
}

impl Place<'_> {
    /// What the sender is told of what was stored.
    fn outcome(&self, stored: Result<Stored, deliveries::Error>) -> Result<Started, Error> {
        let stored = stored?;
        let record = stored.delivery.record;
        let rule = record.rules.into_iter().next().unwrap_or_default();
        match (rule.outcome, stored.fault) {
            (hooks::Outcome::Created, _) if stored.duplicate => {
                Ok(self.started(Outcome::AlreadyExists))
            }
            (hooks::Outcome::Created, _) => Ok(self.started(Outcome::Created)),
            (_, Some(fault)) => Err(Error::Cluster(fault)),
            (_, None) => Err(Error::NotStarted(rule.reason)),
        }
    }

    fn started(&self, outcome: Outcome) -> Started {
        Started {
            run: self.run.clone(),
            namespace: self.namespace.clone(),
            outcome,
        }
    }

    /// What the event asks for.
    fn rule(&self) -> RuleRecord {
        let (key, name) = match self.target {
            Target::Document => (None, None),
            Target::Key { key, .. } => (Some(key.to_owned()), None),
            Target::Name { name, .. } => (None, Some(name.to_owned())),
        };
        RuleRecord {
            name: self.flow.to_string(),
            flow: Some(FlowRef {
                key,
                name,
                inline: None,
            }),
            run: Some(self.run.to_string()),
            ..RuleRecord::default()
        }
    }

    /// The event's record, without the run.
    fn delivery(&self, payload: StoredPayload) -> Delivery {
        let record = Record {
            provider: FORMAT.to_owned(),
            event_type: self.cause.event_type.to_owned(),
            delivery_id: self.cause.delivery_id.to_owned(),
            key: self.cause.identity.to_owned(),
            received_time: record::rfc3339(self.received),
            payload,
            rules: vec![self.rule()],
            ..Record::default()
        };
        let subject = Subject {
            name: self.run.as_ref(),
            namespace: self.namespace.as_ref(),
            request: &Uuid::new_v4().to_string(),
            service_account: None,
        };
        record::delivery(subject, record, None)
    }
}
