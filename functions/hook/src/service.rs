//! What happens with one request, from top to bottom: find the Hook, read the body, prove the sender, wait for a place,
//! decide, store, start.
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
use providers::{ContentError, Proven, Reply, Request};
use runtime::{Call, Taken, metrics::Metrics, telemetry};
use tokio::time::Instant;

use crate::{
    decide::{Case, Verdict, Workers},
    error::Error,
    keys::{Distrust, Keys},
    known::{Known, Place, Verifier},
    registry::{self, Registry, Slot},
    status::{self, News},
    warning,
};

/// How long a body may take, whatever the process allows (the help of `--body-time` says so). No provider's sender waits
/// for an answer as long as that.
const BODY: Duration = Duration::from_secs(20);

/// How long a body may wait for a thread that looks for the proof in it: as long for every address, since it must not
/// tell whether there is a Hook. It leaves half of their time to most senders.
const PROOF: Duration = Duration::from_secs(4);

/// How much of the time that is left to a verified event may go by while it waits for others; the rest is for deciding
/// on it and storing it. Who waited until the end would be decided on in vain.
const WAITING: f64 = 0.5;

/// Time that a verified event has at least, however long its body was on its way: most senders never come again, also
/// where they do not wait for the answer any more.
const LEAST: Duration = Duration::from_secs(4);

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
    /// Where payloads are parsed and decided on.
    pub(crate) workers: Workers,
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

    /// What came to this address.
    fn asked(&self, parts: &Parts, body: Bytes) -> Asked {
        Asked {
            headers: parts.headers.clone(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            token: (!self.token.is_empty()).then(|| self.token.clone()),
            body,
        }
    }
}

/// One request, as it came. Kept by itself, so that it can be worked on beside the thread that it came on.
#[derive(Default)]
pub(crate) struct Asked {
    headers: HeaderMap,
    query: String,
    /// Never logged.
    token: Option<String>,
    /// The bytes of the body.
    pub(crate) body: Bytes,
}

impl Asked {
    /// As the providers' engine reads it.
    pub(crate) fn request(&self) -> Request<'_> {
        Request {
            headers: &self.headers,
            query: &self.query,
            token: self.token.as_deref(),
            body: &self.body,
        }
    }
}

/// A Hook, and what proves its senders.
struct Found<'a> {
    slot: &'a Arc<Slot>,
    known: &'a Arc<Known>,
    verifier: &'a Verifier,
}

/// When a sender had proven itself, and how.
struct At {
    started: Instant,
    now: Timestamp,
    /// Which of the secrets did.
    secret: Option<usize>,
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
        let bare = address.asked(&call.parts, Bytes::new());
        if let Some((provider, reply)) = unsigned(&bare.request()) {
            return Ok(self.shook(provider, reply));
        }
        let slot = self.slot(address);
        let known = self.known(slot.as_deref()).await.map_err(Error::Hook)?;
        let verifier = known.as_deref().and_then(|known| known.verifier.as_ref());
        let door = match &slot {
            Some(slot) => slot.door.clone(),
            None => self.registry.door(),
        };
        // Nothing is kept for a Hook that does not exist: only counted, since both cost a pass over as many bytes.
        let most = verifier.map_or(0, |_| self.body_bytes);
        let taken = call.take(&door, most, self.body_bytes, BODY).await?;
        let bytes = taken.len();
        let (Some(slot), Some(known), Some(verifier), Taken::Kept(mut payload)) =
            (&slot, &known, verifier, taken)
        else {
            self.pretend(bytes).await?;
            self.metrics.refused("none", "unknown");
            return Err(self.unproven());
        };
        let found = Found {
            slot,
            known,
            verifier,
        };
        let body = payload.bytes().clone();
        let asked = Arc::new(Asked { body, ..bare });
        let now = (self.clock)();
        let secret = self.prove(&found, &asked, now).await?;
        payload.proven();
        let proven = At {
            started,
            now,
            secret,
        };
        self.verified(&asked, &found, proven).await
    }

    /// What everybody is told who proves nothing.
    fn unproven(&self) -> Error {
        if self.registry.is_crowded() {
            return Error::Crowded;
        }
        Error::Unknown
    }

    /// Does what looking for a proof in so many bytes costs.
    async fn pretend(&self, bytes: usize) -> Result<(), Error> {
        let until = Instant::now() + PROOF;
        let pretend = move || providers::pretend(bytes);
        self.workers.pass(bytes, until, pretend).await
    }

    /// The answer to a CloudEvents `OPTIONS` request. A Hook that does not exist welcomes nobody.
    pub(crate) async fn options(&self, address: &Address, headers: &HeaderMap) -> Reply {
        let slot = self.slot(address);
        let known = self.known(slot.as_deref()).await.ok().flatten();
        let verifier = known.as_deref().and_then(|known| known.verifier.as_ref());
        match verifier {
            Some(verifier) => providers::options(&verifier.settings, headers),
            None => providers::options(&providers::Settings::default(), headers),
        }
    }

    /// What is remembered of the name in a path; `None` where no Hook can have it.
    fn slot(&self, address: &Address) -> Option<Arc<Slot>> {
        let namespace: Label = address.namespace.parse().ok()?;
        let name: Label = address.name.parse().ok()?;
        Some(self.registry.slot(Place {
            namespace,
            name: name.to_string(),
        }))
    }

    /// The Hook of a name, if there is one. The cluster is asked nothing about a namespace that is not allowed.
    async fn known(&self, slot: Option<&Slot>) -> registry::Found {
        let Some(slot) = slot else { return Ok(None) };
        if self.policy.check_namespace(&slot.place.namespace).is_err() {
            return Ok(None);
        }
        self.registry.find(slot).await
    }

    async fn verified(
        &self,
        asked: &Arc<Asked>,
        found: &Found<'_>,
        at: At,
    ) -> Result<Outcome, Error> {
        let provider = found.verifier.provider;
        telemetry::record("format", provider.name);
        let limit = provider.body_bytes;
        if asked.body.len() > limit {
            let reason = ContentError::TooLarge { limit };
            // Whoever looks at the Hook sees why.
            self.refuse(found, reason.kind(), &reason.to_string(), at.now);
            return Err(Error::Content(reason));
        }
        let clock = provider.answer_within.mul_f64(0.8).min(self.patience.event);
        let deadline = deadline(at.started, Instant::now(), clock);
        let waiting = waits_until(Instant::now(), deadline);
        let turn = self.registry.enter(found.slot, waiting).await;
        let _turn = turn.ok_or(Error::Share)?;
        let used = at.secret.and_then(|at| found.verifier.refs.get(at));
        let case = Case {
            asked: Arc::clone(asked),
            known: Arc::clone(found.known),
            provider,
            now: at.now,
            secret: used.map(|secret| format!("{}/{}", secret.name, secret.key)),
            traceparent: telemetry::current_traceparent(),
        };
        let decided = match self.workers.decide(found.slot, case, waiting).await? {
            Verdict::Shook(reply) => return Ok(self.shook(provider.name, reply)),
            Verdict::TurnedAway(error) => return Err(Error::Content(error)),
            Verdict::Decided(decided) => *decided,
        };
        let facts = &decided.arrival.facts;
        telemetry::record("event.id", &facts.key);
        telemetry::record("event.type", &facts.event_type);
        let cluster = Cluster::until(self.client.clone(), self.patience.attempt, deadline);
        let news = News::Accepted(used);
        let stored = self
            .take(&cluster, found.slot, found.known, decided)
            .await?;
        // Of the sender's time only what is left over, and little of that.
        let until = deadline.min(Instant::now() + STATUS);
        let rest = Cluster::until(self.client.clone(), self.patience.attempt, until);
        status::tell(&rest, found.slot, found.known, &news, at.now).await;
        warning::note_event(found.slot, found.known, &stored, at.now);
        warning::tell(&rest, found.slot, &found.known.hook.metadata.uid, at.now).await;
        Ok(Outcome::Stored(Box::new(stored)))
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
        asked: &Arc<Asked>,
        now: Timestamp,
    ) -> Result<Option<usize>, Error> {
        let bytes = asked.body.len();
        let (known, request) = (Arc::clone(found.known), Arc::clone(asked));
        let verify = move || {
            let Verifier {
                provider,
                settings,
                secrets,
                ..
            } = known.verifier.as_ref()?;
            let seconds = now.as_second();
            let request = request.request();
            Some(providers::verify(
                provider, settings, secrets, &request, seconds,
            ))
        };
        let until = Instant::now() + PROOF;
        let verified = self.workers.pass(bytes, until, verify).await?;
        let refusal = match verified.ok_or_else(|| self.unproven())? {
            Ok(Proven::Secret(at)) => return Ok(Some(at)),
            Ok(Proven::Token(claim)) => match self.keys.check(&claim, now).await {
                Ok(()) => return Ok(None),
                Err(Distrust::Refused(refusal)) => {
                    // A token is no pass over the body.
                    self.pretend(bytes).await?;
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

/// When the time of an event is over that was verified now, and whose sender waits so long for its answer.
fn deadline(started: Instant, now: Instant, clock: Duration) -> Instant {
    (started + clock).max(now + LEAST.min(clock))
}

/// Until when an event waits for others whose sender waits until the deadline.
fn waits_until(now: Instant, deadline: Instant) -> Instant {
    now + deadline.saturating_duration_since(now).mul_f64(WAITING)
}

/// The answer to a request that asks whether somebody is there, where a provider does not sign that. It is the same for
/// every address: it must not tell which Hooks there are.
fn unsigned(request: &Request<'_>) -> Option<(&'static str, Reply)> {
    let mut providers = providers::PROVIDERS.iter();
    providers.find_map(|one| Some((one.name, providers::handshake(one, request, None)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_long_on_its_way_still_has_time_to_be_stored() {
        let (started, clock) = (Instant::now(), LEAST * 2);
        let after = |passed| deadline(started, started + passed, clock) - started;
        assert_eq!(after(Duration::ZERO), clock);
        assert_eq!(after(LEAST), clock);
        assert_eq!(after(BODY), BODY + LEAST);
        let (passed, little) = (BODY, LEAST / 2);
        let over = deadline(started, started + passed, little);
        assert_eq!(over, started + passed + little);
    }

    #[test]
    fn who_waits_for_others_has_as_much_time_left_as_it_has_waited() {
        let now = Instant::now();
        for seconds in [0, 2, 8] {
            let left = Duration::from_secs(seconds);
            assert_eq!(waits_until(now, now + left), now + left / 2);
        }
        assert_eq!(waits_until(now + BODY, now), now + BODY);
    }
}
