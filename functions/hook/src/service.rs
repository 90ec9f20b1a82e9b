//! What happens with one request, from top to bottom: find the Hook, read the body, prove the sender, wait for a place,
//! store, start.
//!
//! Nothing is read, stored or started for a sender that has not proven itself, beyond the Hook and its Secrets, which
//! are asked for at most once a second. Such a sender holds no place of the Hook, and no memory where there is no Hook.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cluster::{Cluster, Patience, Policy};
use deliveries::{Deliveries, Stored};
use flows::Label;
use http::{HeaderMap, request::Parts};
use jiff::Timestamp;
use providers::{Content, ContentError, Proven, Provider, Reply, Request};
use runtime::{Call, Rejection, Taken, metrics::Metrics, telemetry};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout_at},
};
use uuid::Uuid;

use crate::{
    arrival::Arrival,
    error::Error,
    keys::{Distrust, Keys},
    known::{Known, Place, Verifier},
    registry::{Registry, Slot},
    status::{self, News},
    warning,
};

/// How long a body may take. No provider's sender waits for an answer as long as that.
const BODY: Duration = Duration::from_secs(20);

/// How long a status may take that nobody waits for.
const STATUS: Duration = Duration::from_secs(1);

/// Everything that an event meets.
pub struct Service {
    pub(crate) client: kube::Client,
    pub(crate) patience: Patience,
    pub(crate) policy: Policy,
    pub(crate) deliveries: Deliveries,
    pub(crate) registry: Registry,
    pub(crate) keys: Keys,
    pub(crate) clock: fn() -> Timestamp,
    pub(crate) metrics: Arc<Metrics>,
    /// Most bytes of a body.
    pub(crate) body_bytes: usize,
    /// Bytes of memory for all payloads that are parsed at the moment.
    pub(crate) parsed: Semaphore,
}

/// What a request came to.
pub(crate) enum Outcome {
    /// It only asked whether somebody is there.
    Reply(Reply),
    /// It is on record.
    Stored(Box<Stored>),
}

/// What a path says.
pub(crate) struct Address {
    namespace: String,
    name: String,
    /// Never logged.
    token: String,
}

impl Address {
    /// The address of a request.
    pub(crate) fn of(call: &Call) -> Self {
        let [namespace, name, token] =
            ["namespace", "name", "token"].map(|part| call.param(part).to_owned());
        Self {
            namespace,
            name,
            token,
        }
    }

    /// The request to this address.
    fn request<'a>(&'a self, parts: &'a Parts, body: &'a [u8]) -> Request<'a> {
        Request {
            headers: &parts.headers,
            query: parts.uri.query().unwrap_or_default(),
            token: (!self.token.is_empty()).then_some(&self.token),
            body,
        }
    }
}

/// A Hook, and the request's place among those of it.
struct Found<'a> {
    slot: &'a Arc<Slot>,
    known: &'a Arc<Known>,
    verifier: &'a Verifier,
}

impl Service {
    /// Handles one request.
    ///
    /// # Errors
    /// An [`Error`]; the event is not stored then, or nobody knows.
    pub(crate) async fn receive(
        &self,
        address: &Address,
        call: &mut Call,
    ) -> Result<Outcome, Error> {
        let started = Instant::now();
        let slot = self.slot(address);
        let known = match &slot {
            Some(slot) => self.registry.find(slot).await.map_err(Error::Hook)?,
            None => None,
        };
        let verifier = known.as_deref().and_then(|known| known.verifier.as_ref());
        // What the provider never sends is not kept, and nothing for a Hook that does not exist: only counted, since
        // both cost a pass over as many bytes.
        let most = verifier.map_or(0, |verifier| verifier.provider.body_bytes);
        let taken = call.take(most, self.body_bytes, BODY).await?;
        let (Some(slot), Some(known), Some(verifier)) = (&slot, &known, verifier) else {
            providers::pretend(taken.len());
            self.metrics.refused("none", "unknown");
            return Err(self.unproven());
        };
        let found = Found {
            slot,
            known,
            verifier,
        };
        let Taken::Kept(payload) = taken else {
            providers::pretend(taken.len());
            let reason = ContentError::TooLarge { limit: most };
            self.refuse(&found, reason.kind(), &reason.to_string(), (self.clock)());
            return Err(self.unproven());
        };
        let request = address.request(&call.parts, &payload);
        self.verified(&request, payload.bytes(), &found, started)
            .await
    }

    /// What everybody is told who proves nothing.
    fn unproven(&self) -> Error {
        if self.registry.is_crowded() {
            return Error::Crowded;
        }
        Error::Unknown
    }

    /// The answer to a CloudEvents `OPTIONS` request. A Hook that does not exist welcomes nobody.
    pub(crate) async fn options(&self, address: &Address, headers: &HeaderMap) -> Reply {
        let known = match self.slot(address) {
            Some(slot) => self.registry.find(&slot).await.ok().flatten(),
            None => None,
        };
        let verifier = known.as_deref().and_then(|known| known.verifier.as_ref());
        match verifier {
            Some(verifier) => providers::options(&verifier.settings, headers),
            None => providers::options(&providers::Settings::default(), headers),
        }
    }

    /// What is remembered of the Hook that a path names; `None` where there can be no such Hook.
    fn slot(&self, address: &Address) -> Option<Arc<Slot>> {
        let namespace: Label = address.namespace.parse().ok()?;
        let name: Label = address.name.parse().ok()?;
        let allowed = self.policy.check_namespace(&namespace).is_ok();
        allowed.then(|| {
            self.registry.slot(Place {
                namespace,
                name: name.to_string(),
            })
        })
    }

    async fn verified(
        &self,
        request: &Request<'_>,
        body: &Bytes,
        found: &Found<'_>,
        started: Instant,
    ) -> Result<Outcome, Error> {
        let provider = found.verifier.provider;
        telemetry::record("format", provider.name);
        if let Some(reply) = providers::handshake(provider, request, None) {
            return Ok(self.shook(provider.name, reply));
        }
        let now = (self.clock)();
        let secret = self.prove(found, request, now).await?;
        let clock = provider.answer_within.mul_f64(0.8).min(self.patience.event);
        let deadline = started + clock;
        let turn = self.registry.enter(found.slot, deadline).await;
        let _turn = turn.ok_or(Error::Share)?;
        let room = self.room(provider, request, deadline).await?;
        let (content, problem) = match providers::content(provider, request) {
            Ok(content) => (content, None),
            Err(error) if error.turned_away().is_some() => return Err(Error::Content(error)),
            // On record, since whoever sent it will not send anything better.
            Err(error) => (unread(request), Some(error.to_string())),
        };
        if let Some(reply) = providers::handshake(provider, request, Some(&content)) {
            return Ok(self.shook(provider.name, reply));
        }
        let problem = not_ready(found.known).or(problem);
        let mut arrival = arrival(found, request, content, body, now);
        arrival.problem = problem;
        arrival.room = Some(room);
        arrival.secret = secret.map(|at| {
            let reference = found.verifier.refs.get(at);
            reference.map_or_else(String::new, |secret| {
                format!("{}/{}", secret.name, secret.key)
            })
        });
        telemetry::record("event.id", &arrival.facts.key);
        telemetry::record("event.type", &arrival.facts.event_type);
        let cluster = Cluster::until(self.client.clone(), self.patience.attempt, deadline);
        let used = secret.and_then(|at| found.verifier.refs.get(at));
        let news = News::Accepted(used);
        let stored = self
            .take(&cluster, found.slot, found.known, arrival)
            .await?;
        // Of the sender's time only what is left over, and little of that.
        let until = deadline.min(Instant::now() + STATUS);
        let rest = Cluster::until(self.client.clone(), self.patience.attempt, until);
        status::tell(&rest, found.slot, found.known, &news, now).await;
        warning::note_event(found.slot, found.known, &stored, now);
        warning::tell(&rest, found.slot, &found.known.hook.metadata.uid, now).await;
        Ok(Outcome::Stored(Box::new(stored)))
    }

    /// Room for the parsed payload, which takes many times its bytes; in the order of asking.
    async fn room(
        &self,
        provider: &Provider,
        request: &Request<'_>,
        deadline: Instant,
    ) -> Result<SemaphorePermit<'_>, Error> {
        let bytes = providers::content::memory(provider, request);
        let room = self
            .parsed
            .acquire_many(u32::try_from(bytes).unwrap_or(u32::MAX));
        match timeout_at(deadline, room).await {
            Ok(Ok(room)) => Ok(room),
            _ => Err(Rejection::NoMemory.into()),
        }
    }

    fn shook(&self, provider: &'static str, reply: Reply) -> Outcome {
        self.metrics.event(provider, "handshake");
        telemetry::record("outcome", "handshake");
        Outcome::Reply(reply)
    }

    /// Which secret proved the sender; none where a token did.
    async fn prove(
        &self,
        found: &Found<'_>,
        request: &Request<'_>,
        now: Timestamp,
    ) -> Result<Option<usize>, Error> {
        let Verifier {
            provider,
            settings,
            secrets,
            ..
        } = found.verifier;
        let refusal = match providers::verify(provider, settings, secrets, request, now.as_second())
        {
            Ok(Proven::Secret(at)) => return Ok(Some(at)),
            Ok(Proven::Token(claim)) => match self.keys.check(&claim, now).await {
                Ok(()) => return Ok(None),
                Err(Distrust::Refused(refusal)) => {
                    // A token is no pass over the body.
                    providers::pretend(request.body.len());
                    refusal
                }
                Err(Distrust::Keys {
                    reason,
                    retry_after,
                }) => {
                    return Err(Error::Keys {
                        reason,
                        retry_after,
                    });
                }
            },
            Err(refusal) => refusal,
        };
        self.refuse(found, refusal.kind(), &refusal.to_string(), now);
        Err(self.unproven())
    }

    /// Counts a refusal, and tells of it in the Hook's status once in a while. The answer does not wait for that: it
    /// must not tell by its time that there is such a Hook.
    fn refuse(&self, found: &Found<'_>, kind: &'static str, reason: &str, now: Timestamp) {
        self.metrics.refused(found.verifier.provider.name, kind);
        tracing::debug!(
            hook = found.slot.place.name,
            reason,
            "a request was refused"
        );
        status::note_refusal(found.slot, kind, now);
        warning::note_refusal(found.slot, found.known, kind, now);
        let (slot, known) = (Arc::clone(found.slot), Arc::clone(found.known));
        let cluster = Cluster::until(
            self.client.clone(),
            self.patience.attempt,
            Instant::now() + STATUS,
        );
        tokio::spawn(async move {
            status::tell(&cluster, &slot, &known, &News::Other, now).await;
            warning::tell(&cluster, &slot, &known.hook.metadata.uid, now).await;
        });
    }
}

/// The content of a body that cannot be read.
fn unread<'a>(request: &Request<'a>) -> Content<'a> {
    Content {
        bytes: request.body.into(),
        ..Content::default()
    }
}

/// Why the Hook cannot decide anything.
fn not_ready(known: &Known) -> Option<String> {
    let problems = known.checked.as_ref().as_ref().err()?;
    Some(format!("the Hook is not ready: {}", problems.join("; ")))
}

fn arrival(
    found: &Found<'_>,
    request: &Request<'_>,
    content: Content<'_>,
    body: &Bytes,
    now: Timestamp,
) -> Arrival<'static> {
    let Verifier {
        provider, settings, ..
    } = found.verifier;
    let facts = providers::facts(provider, settings, request, &content);
    let mut facts = facts.at(now.as_second());
    let id = Uuid::new_v4().to_string();
    if facts.key.is_empty() {
        // Nothing tells it from a legitimate repetition, so it is an event of its own.
        facts.key = format!("request {id}");
    }
    let content_type = request.headers.get(http::header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    Arrival {
        request: id,
        received: now,
        event: providers::event(provider, &facts, &content),
        facts,
        headers: providers::kept_headers(provider, request.headers),
        query: providers::kept_query(request.query),
        secret: None,
        content_type: providers::kept_query(content_type.unwrap_or_default()),
        bytes: match content.bytes {
            std::borrow::Cow::Borrowed(bytes) => body.slice_ref(bytes),
            std::borrow::Cow::Owned(bytes) => bytes.into(),
        },
        json: content.json,
        room: None,
        problem: None,
        traceparent: telemetry::current_traceparent(),
    }
}
