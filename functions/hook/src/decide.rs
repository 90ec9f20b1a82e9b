//! What a verified request says, and what the rules of its Hook say to that. Reading and deciding take the processor,
//! for up to seconds where payloads are large or filters are costly: so they happen beside the one thread that everybody
//! else's requests, probes and clocks are on, for one event of a Hook at a time, and the memory for what is parsed is held
//! for no longer than that.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use deliveries::aside::{AT_ONCE, aside};
use hooks::{Hook, Ids, Outcome, Seen, delivery::RuleRecord};
use jiff::Timestamp;
use providers::{Content, ContentError, Facts, Provider, Reply, Settings};
use runtime::Rejection;
use serde_json::{Value, json};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};
use uuid::Uuid;

use crate::{
    arrival::Arrival, error::Error, known::Known, registry::Slot, service::Asked, shares::Shares,
};

/// Threads at work at once. The system shares the processor among them and the one that everything else is on, so that
/// one costly decision delays no other one by its whole time.
const THREADS: usize = 4;

/// Most of them that only pass over bodies, whose senders may have proven nothing.
const PASSING: usize = 2;

/// Bytes of memory of a parsed payload that does not wait for larger ones,
const LITTLE: usize = 1 << 20;

/// and of all such together.
const ALL_LITTLE: usize = 8 << 20;

/// Little payloads of one namespace that are decided on at once,
const LITTLE_OF_ONE: usize = 2;

/// and larger ones: with both it leaves a thread to others.
const LARGE_OF_ONE: usize = 1;

/// Where requests are worked on beside the one thread that everything else is on.
pub(crate) struct Workers {
    threads: Arc<Semaphore>,
    passing: Arc<Semaphore>,
    little: Room,
    large: Room,
}

/// Where payloads of a size are parsed.
struct Room {
    /// What each namespace may have in it. That comes before what all share, so that few of each wait for that, however
    /// many it wants.
    shares: Shares,
    /// Bytes of memory for all that are parsed at the moment.
    memory: Arc<Semaphore>,
}

/// A verified request that is to be decided on.
pub(crate) struct Case {
    pub(crate) asked: Arc<Asked>,
    pub(crate) known: Arc<Known>,
    pub(crate) provider: &'static Provider,
    pub(crate) now: Timestamp,
    /// Which secret matched, as `name/key`.
    pub(crate) secret: Option<String>,
    /// W3C trace context that the runs continue.
    pub(crate) traceparent: Option<String>,
}

/// What a verified request came to.
pub(crate) enum Verdict {
    /// It only asked whether somebody is there.
    Shook(Reply),
    /// Its sender can send it in another way.
    TurnedAway(ContentError),
    /// It is an event.
    Decided(Box<Decided>),
}

/// An event, and what each rule says to it.
pub(crate) struct Decided {
    pub(crate) arrival: Arrival,
    pub(crate) rules: Vec<RuleRecord>,
    /// The same, should it be the event of the window before ([`providers::Facts`]).
    pub(crate) earlier: Option<Vec<RuleRecord>>,
}

impl Workers {
    /// All of them, with nothing to do.
    pub(crate) fn new() -> Self {
        let room = |of_one, bytes| Room {
            shares: Shares::new(of_one),
            memory: Arc::new(Semaphore::new(bytes)),
        };
        Self {
            threads: Arc::new(Semaphore::new(THREADS)),
            passing: Arc::new(Semaphore::new(PASSING)),
            little: room(LITTLE_OF_ONE, ALL_LITTLE),
            large: room(LARGE_OF_ONE, providers::content::MOST_MEMORY),
        }
    }

    /// One pass over so many bytes; on another thread unless there are few.
    ///
    /// # Errors
    /// [`Error::Threads`] where none got free until then.
    pub(crate) async fn pass<T: Send + 'static>(
        &self,
        bytes: usize,
        until: Instant,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        if bytes <= AT_ONCE {
            return Ok(work());
        }
        let one = [&self.passing, &self.threads].map(Arc::clone);
        let [passing, thread] = one.map(|of| timeout_at(until, of.acquire_owned()));
        let passing = passing.await.map_err(|_| Error::Threads)?;
        let thread = thread.await.map_err(|_| Error::Threads)?;
        Ok(beside((passing, thread), work).await)
    }

    /// Reads and decides a request, if its turn, and all that it takes, comes until then.
    ///
    /// # Errors
    /// What was missing: [`Error::Share`] where others of the same Hook were before it for too long, [`Error::Namespace`]
    /// where others of its namespace were, and [`Rejection::NoMemory`] or [`Error::Threads`] where anybody's were.
    pub(crate) async fn decide(
        &self,
        slot: &Slot,
        case: Case,
        until: Instant,
    ) -> Result<Verdict, Error> {
        let turn = timeout_at(until, Arc::clone(&slot.deciding).acquire_owned()).await;
        let turn = turn.map_err(|_| Error::Share)?;
        let (provider, asked) = (case.provider, Arc::clone(&case.asked));
        let scan = move || providers::content::memory(provider, &asked.request());
        let bytes = self.pass(case.asked.body.len(), until, scan).await?;
        let room = if bytes > LITTLE {
            &self.large
        } else {
            &self.little
        };
        let place = timeout_at(until, room.shares.place(&slot.place.namespace)).await;
        let place = place.map_err(|_| Error::Namespace)?;
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let memory = Arc::clone(&room.memory).acquire_many_owned(bytes);
        let memory = timeout_at(until, memory).await;
        let memory = memory.map_err(|_| Rejection::NoMemory)?;
        let thread = timeout_at(until, Arc::clone(&self.threads).acquire_owned()).await;
        let thread = thread.map_err(|_| Error::Threads)?;
        let held = (turn, place, memory, thread);
        Ok(beside(held, move || case.decide()).await)
    }
}

/// Work on another thread, which holds something as long as it is at it, whoever waits for it.
async fn beside<T: Send + 'static>(
    held: impl Send + 'static,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    aside(move || {
        let _held = held;
        work()
    })
    .await
}

impl Case {
    fn decide(self) -> Verdict {
        let asked = Arc::clone(&self.asked);
        let request = asked.request();
        let (content, unreadable) = match providers::content(self.provider, &request) {
            Ok(content) => (content, None),
            Err(error) if error.turned_away().is_some() => return Verdict::TurnedAway(error),
            // On record, since whoever sent it will not send anything better.
            Err(error) => (unread(&asked.body), Some(error.to_string())),
        };
        if let Some(reply) = providers::handshake(self.provider, &request, Some(&content)) {
            return Verdict::Shook(reply);
        }
        let known = Arc::clone(&self.known);
        let problem = not_ready(&known).or(unreadable);
        let facts = self.facts(&content);
        let (arrival, json) = self.arrival(facts, content, problem);
        let ruling = Ruling {
            known: &known,
            event: serde_json::to_value(&arrival.event).unwrap_or_default(),
            arrival: &arrival,
            json: json.as_ref(),
        };
        let rules = ruling.under(&arrival.facts.key);
        let earlier = arrival.facts.earlier.as_deref();
        let earlier = earlier.map(|key| ruling.under(key));
        Verdict::Decided(Box::new(Decided {
            arrival,
            rules,
            earlier,
        }))
    }

    /// What the event is; its key is not empty.
    fn facts(&self, content: &Content<'_>) -> Facts {
        let nothing = Settings::default();
        let settings = self.known.verifier.as_ref();
        let settings = settings.map_or(&nothing, |verifier| &verifier.settings);
        let facts = providers::facts(self.provider, settings, &self.asked.request(), content);
        facts.at(self.now.as_second())
    }

    /// The event, and its payload, if that is JSON.
    fn arrival(
        self,
        mut facts: Facts,
        content: Content<'_>,
        problem: Option<String>,
    ) -> (Arrival, Option<Value>) {
        let request = self.asked.request();
        let id = Uuid::new_v4().to_string();
        if facts.key.is_empty() {
            // Nothing tells it from a legitimate repetition, so it is an event of its own.
            facts.key = format!("request {id}");
        }
        let content_type = request.headers.get(http::header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let arrival = Arrival {
            request: id,
            received: self.now,
            event: providers::event(self.provider, &facts, &content),
            facts,
            headers: providers::kept_headers(self.provider, request.headers),
            query: providers::kept_query(request.query),
            secret: self.secret,
            content_type: providers::kept_query(content_type.unwrap_or_default()),
            bytes: match content.bytes {
                Cow::Borrowed(bytes) => self.asked.body.slice_ref(bytes),
                Cow::Owned(bytes) => bytes.into(),
            },
            problem,
            traceparent: self.traceparent,
        };
        (arrival, content.json)
    }
}

/// The content of a body that cannot be read.
fn unread(body: &Bytes) -> Content<'_> {
    Content {
        bytes: body.as_ref().into(),
        ..Content::default()
    }
}

/// Why the Hook cannot decide anything.
fn not_ready(known: &Known) -> Option<String> {
    let problems = known.checked.as_ref().as_ref().err()?;
    Some(format!("the Hook is not ready: {}", problems.join("; ")))
}

/// What the rules of a Hook are asked about.
struct Ruling<'a> {
    known: &'a Known,
    arrival: &'a Arrival,
    event: Value,
    json: Option<&'a Value>,
}

impl Ruling<'_> {
    /// What each rule says to the event, should this be its key.
    fn under(&self, key: &str) -> Vec<RuleRecord> {
        let Hook { metadata, spec, .. } = &self.known.hook;
        let failed = |reason: &str| {
            let rules = spec.rules.iter().map(|rule| RuleRecord {
                name: rule.name.clone(),
                outcome: Outcome::Failed,
                reason: reason.to_owned(),
                ..RuleRecord::default()
            });
            rules.collect()
        };
        let checked = match (self.known.checked.as_ref(), &self.arrival.problem) {
            (Ok(checked), None) => checked,
            (_, problem) => return failed(problem.as_deref().unwrap_or("the Hook is not ready")),
        };
        let seen = Seen {
            body: self.json.unwrap_or(&Value::Null),
            headers: &self.arrival.headers,
            query: &self.arrival.parameters(),
            event: &self.event,
            payload_bytes: self.arrival.bytes.len() as u64,
        };
        let delivery = &hooks::delivery_name(&metadata.name, &metadata.uid, key);
        let mut rules = hooks::decide(checked, &seen, &Ids { key, delivery });
        if let Some(traceparent) = &self.arrival.traceparent {
            let context = json!({"traceparent": traceparent}).to_string();
            for run in rules
                .iter_mut()
                .filter_map(|rule| rule.pipeline_run.as_mut())
            {
                run["metadata"]["annotations"][flows::label::SPAN_CONTEXT] =
                    Value::from(context.as_str());
            }
        }
        rules
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use runtime::{Doors, Limits};

    use super::*;
    use crate::{known::Place, status::Address};

    const SECOND: Duration = Duration::from_secs(1);

    fn slot(namespace: &str, name: &str) -> Slot {
        let place = Place {
            namespace: namespace.parse().unwrap(),
            name: name.to_owned(),
        };
        let address = Address::of(&place, None);
        Slot::new(place, address, 1, Doors::new(&Limits::default()).door())
    }

    fn case(bytes: usize) -> Case {
        let mut asked = Asked::default();
        asked.body = format!("{{}}{}", " ".repeat(bytes - 2)).into();
        let known = Known {
            hook: Hook::default(),
            checked: Arc::new(Err(Vec::new())),
            verifier: None,
            problems: Vec::new(),
        };
        Case {
            asked: Arc::new(asked),
            known: Arc::new(known),
            provider: providers::provider("github").unwrap(),
            now: Timestamp::UNIX_EPOCH,
            secret: None,
            traceparent: None,
        }
    }

    /// What an event comes to that waits for a second at most.
    async fn decided(workers: &Workers, namespace: &str, bytes: usize) -> Result<Verdict, Error> {
        let (slot, until) = (slot(namespace, "app"), Instant::now() + SECOND);
        let verdict = workers.decide(&slot, case(bytes), until).await;
        assert_eq!(Instant::now() < until, verdict.is_ok());
        verdict
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_in_vain_is_told_what_for() {
        let workers = Workers::new();
        assert!(decided(&workers, "team", 2).await.is_ok());

        let busy = slot("team", "app");
        let turn = busy.deciding.acquire().await;
        let waited = workers.decide(&busy, case(2), Instant::now() + SECOND);
        assert!(matches!(waited.await, Err(Error::Share)));
        drop(turn);

        let memory = workers.little.memory.acquire_many(8 << 20).await;
        let waited = decided(&workers, "team", 2).await;
        assert!(matches!(waited, Err(Error::Rejected(Rejection::NoMemory))));
        drop(memory);

        let threads = workers.threads.acquire_many(4).await;
        for bytes in [2, AT_ONCE + 1] {
            let waited = decided(&workers, "team", bytes).await;
            assert!(matches!(waited, Err(Error::Threads)));
        }
        drop(threads);
        assert!(decided(&workers, "team", AT_ONCE + 1).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_namespace_leaves_threads_to_others_and_its_large_payloads_leave_some_to_little_ones()
     {
        let workers = Workers::new();
        let busy = "busy".parse().unwrap();
        let large = workers.large.shares.place(&busy).await;
        assert!(decided(&workers, "busy", 2).await.is_ok());
        let little = [
            workers.little.shares.place(&busy).await,
            workers.little.shares.place(&busy).await,
        ];
        let threads = workers.threads.acquire_many(3).await;
        let waited = decided(&workers, "busy", 2).await;
        assert!(matches!(waited, Err(Error::Namespace)));
        assert!(decided(&workers, "quiet", 2).await.is_ok());
        drop((large, little, threads));
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_proven_nothing_waits_for_a_thread_no_longer_than_it_may() {
        let workers = Workers::new();
        let others = workers.passing.acquire_many(2).await;
        let until = Instant::now() + SECOND;
        let few = workers.pass(AT_ONCE, until, || 7).await;
        assert_eq!(few.ok(), Some(7));
        let many = workers.pass(AT_ONCE + 1, until, || 7).await;
        assert!(matches!(many, Err(Error::Threads)));
        assert_eq!(Instant::now(), until);
        assert!(decided(&workers, "team", 2).await.is_ok());
        drop(others);
        let many = workers.pass(AT_ONCE + 1, until + SECOND, || 7).await;
        assert_eq!(many.ok(), Some(7));
    }
}
