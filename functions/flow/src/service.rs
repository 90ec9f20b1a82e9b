//! What the Artisan endpoints do, without HTTP: find the flow, check it, write its objects, start the run.
//!
//! Everything is decided before the first write: the document is read to its end, names and namespace are checked, a
//! large payload has a place. A second delivery of an event whose run was started changes nothing.

use std::sync::Arc;

use bytes::Bytes;
use cluster::{Cluster, Outcome, Patience, Policy};
use flows::{
    Emitted, Format, Lowering, Payload, Request, Run, Scope, Settings,
    flow::{DATA_MAX, Flow},
    name::{Label, object_name},
};
use serde_json::Value;
use store::{FlowStore, PayloadStore};

use crate::{
    error::{Error, Route},
    policy,
};

/// Everything that an event meets.
pub struct Service {
    /// The cluster's client.
    pub client: kube::Client,
    /// How long the API server may take.
    pub patience: Patience,
    /// What may be written where.
    pub policy: Policy,
    /// How runs are made.
    pub settings: Settings,
    /// How documents are read.
    pub lowering: Lowering,
    /// Where flows are looked up by key.
    pub flows: Arc<dyn FlowStore>,
    /// Where payloads go that no Secret holds; `None` refuses them.
    pub payloads: Option<Arc<PayloadStore>>,
}

/// What is known of an event besides its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Cause<'a> {
    /// The text of the event's identity: the same event has the same text, whenever and wherever it arrives.
    pub identity: &'a str,
    /// Whether the identity was made up just now, so that no earlier delivery can exist.
    pub fresh: bool,
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

impl Target<'_> {
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
    /// An [`Error`]; nothing runs then.
    pub async fn handle(
        &self,
        target: Target<'_>,
        data: &Bytes,
        cause: Cause<'_>,
    ) -> Result<Started, Error> {
        match target {
            Target::Document => {
                let flow = self.parse(data, None)?;
                let namespace = flow.namespace.clone().ok_or(Error::NoNamespace)?;
                // Nothing is asked about a namespace that is not ours.
                self.policy.check_namespace(&namespace)?;
                let place = self.place(Scope::Document, &object_name(&flow.name), namespace, cause);
                match self.started_before(&place, cause).await? {
                    Some(started) => Ok(started),
                    None => self.run(place, &flow, &Bytes::new(), cause).await,
                }
            }
            Target::Key { key, namespace } => {
                let namespace = self.namespace(namespace)?;
                let place = self.place(Scope::Key(key), &object_name(key), namespace, cause);
                // Before the store is asked: a repeated event needs neither it nor what it holds today.
                if let Some(started) = self.started_before(&place, cause).await? {
                    return Ok(started);
                }
                let document = self.flows.get(key).await.map_err(Error::Store)?;
                let flow = self.parse(&document, Some(&place.namespace))?;
                self.run(place, &flow, data, cause).await
            }
            Target::Name { name, namespace } => {
                let namespace = self.namespace(namespace)?;
                let place = self.place(Scope::Name(name), &object_name(name), namespace, cause);
                match self.started_before(&place, cause).await? {
                    Some(started) => Ok(started),
                    None => self.run_stored(place, name, cause).await,
                }
            }
        }
    }

    /// Where the event's run is, or will be. Its name follows from the addressee and the event alone.
    fn place<'a>(
        &self,
        scope: Scope<'a>,
        flow: &Label,
        namespace: Label,
        cause: Cause<'a>,
    ) -> Place<'a> {
        Place {
            cluster: Cluster::new(self.client.clone(), self.patience),
            run: request(scope, cause, None).run_name(flow),
            namespace,
            scope,
        }
    }

    async fn run_stored(
        &self,
        place: Place<'_>,
        name: &str,
        cause: Cause<'_>,
    ) -> Result<Started, Error> {
        let stored = place
            .cluster
            .stored(place.namespace.as_ref(), name)
            .await
            .map_err(|fault| match fault.kind {
                cluster::Kind::NotFound => Error::Unknown(fault),
                _ => Error::Cluster(fault),
            })?;
        self.policy
            .check_privileged(&place.namespace, policy::privileged_steps(&stored))?;
        let request = request(place.scope, cause, None);
        let run = flows::stored::snapshot(name, stored, &place.namespace, &request, &self.settings)
            .map_err(Error::Stored)?;
        place.start(&run).await
    }

    /// `GET /flow/key/{key}`: the stored flow, without unknown fields and without what must stay secret.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Document`].
    pub async fn read(&self, key: &str) -> Result<Value, Error> {
        let document = self.flows.get(key).await.map_err(Error::Store)?;
        let document = flows::format::artisan::read(&document).map_err(Error::Document)?;
        Ok(document.redacted())
    }

    fn parse(&self, document: &[u8], namespace: Option<&Label>) -> Result<Flow, Error> {
        let lowering = Lowering {
            namespace: namespace.cloned(),
            ..self.lowering.clone()
        };
        flows::parse(Format::Artisan, document, &lowering).map_err(Error::Document)
    }

    /// The namespace of a path, legal and allowed.
    fn namespace(&self, text: &str) -> Result<Label, Error> {
        let namespace: Label = text
            .parse()
            .map_err(|_| Error::NamespaceName(text.to_owned()))?;
        self.policy.check_namespace(&namespace)?;
        Ok(namespace)
    }

    async fn run(
        &self,
        place: Place<'_>,
        flow: &Flow,
        payload: &Bytes,
        cause: Cause<'_>,
    ) -> Result<Started, Error> {
        let privileged = flow.privileged().map(|step| step.name.as_ref());
        self.policy.check_privileged(&place.namespace, privileged)?;
        if payload.len() > DATA_MAX && self.payloads.is_none() {
            return Err(Error::PayloadTooLarge {
                size: payload.len(),
                limit: DATA_MAX,
            });
        }
        let reference = self.store_payload(&place, payload).await?;
        let payload = match &reference {
            Some(reference) => Some(Payload::Remote {
                url: &reference.url,
                digest: &reference.digest,
                size: reference.size,
            }),
            None if payload.is_empty() => None,
            None => Some(Payload::Inline(payload)),
        };
        let request = request(place.scope, cause, payload);
        let Emitted { latest, run } = flows::emit(flow, &place.namespace, &request, &self.settings);
        let mut absent = flows::stored::data_secrets(&object_name(&flow.name));
        absent.retain(|name| latest.iter().all(|object| object.name() != name));
        place
            .cluster
            .apply_all(&latest, &absent)
            .await
            .map_err(Error::Cluster)?;
        place.start(&run).await
    }

    /// A run that an earlier delivery of the event started. Asked first, so that a late redelivery does not write a
    /// flow's older content over its latest, and gets its answer whatever became of the flow.
    async fn started_before(
        &self,
        place: &Place<'_>,
        cause: Cause<'_>,
    ) -> Result<Option<Started>, Error> {
        if cause.fresh {
            return Ok(None);
        }
        let Place {
            cluster,
            run,
            namespace,
            ..
        } = place;
        let started = cluster
            .is_started(namespace.as_ref(), run.as_ref(), cause.identity)
            .await
            .map_err(Error::Cluster)?;
        Ok(started.then(|| Started {
            run: run.clone(),
            namespace: namespace.clone(),
            outcome: Outcome::AlreadyExists,
        }))
    }

    /// Puts a payload that no Secret holds into the object store.
    async fn store_payload(
        &self,
        place: &Place<'_>,
        payload: &Bytes,
    ) -> Result<Option<store::Reference>, Error> {
        let Some(payloads) = self.payloads.as_ref().filter(|_| payload.len() > DATA_MAX) else {
            return Ok(None);
        };
        payloads
            .put(
                place.namespace.as_ref(),
                place.run.as_ref(),
                payload.clone(),
            )
            .await
            .map(Some)
            .map_err(Error::Payload)
    }
}

/// Where one event's run is or will be, and the cluster that it is in.
struct Place<'a> {
    cluster: Cluster,
    scope: Scope<'a>,
    run: Label,
    namespace: Label,
}

impl Place<'_> {
    async fn start(self, run: &Run) -> Result<Started, Error> {
        let outcome = self.cluster.start(run).await.map_err(Error::Cluster)?;
        Ok(Started {
            run: self.run,
            namespace: self.namespace,
            outcome,
        })
    }
}

fn request<'a>(scope: Scope<'a>, cause: Cause<'a>, payload: Option<Payload<'a>>) -> Request<'a> {
    Request {
        scope,
        event: cause.identity,
        traceparent: cause.traceparent,
        payload,
    }
}
