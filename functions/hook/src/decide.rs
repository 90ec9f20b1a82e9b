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
    arrival::Arrival, error::Error, known::Known, registry::Slot, service::Asked, threads::Threads,
};

/// Bytes of memory of a parsed payload that does not wait for larger ones,
const LITTLE: usize = 1 << 20;

/// and of all such together.
const ALL_LITTLE: usize = 8 << 20;

/// Where requests are worked on beside the one thread that everything else is on.
pub(crate) struct Workers {
    threads: Threads,
    /// Bytes of memory for all payloads that are parsed at the moment.
    memory: Arc<Semaphore>,
    /// The same for those that take little.
    little: Arc<Semaphore>,
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
        Self {
            threads: Threads::new(),
            memory: Arc::new(Semaphore::new(providers::content::MOST_MEMORY)),
            little: Arc::new(Semaphore::new(ALL_LITTLE)),
        }
    }

    /// Work on so many bytes of a sender that has yet to prove itself; on another thread unless there are few.
    ///
    /// # Errors
    /// [`Error::Threads`] where none got free until then.
    pub(crate) async fn aside<T: Send + 'static>(
        &self,
        bytes: usize,
        until: Instant,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        if bytes <= AT_ONCE {
            return Ok(work());
        }
        let thread = async { (self.threads.of(&None).await, self.threads.any().await) };
        let thread = timeout_at(until, thread).await;
        let thread = thread.map_err(|_| Error::Threads)?;
        Ok(beside(thread, work).await)
    }

    /// Reads and decides a request, if its turn, and all that it takes, comes until then.
    ///
    /// The place among those of its namespace comes before what all share: who waits for that are two of each namespace
    /// at most, however many it wants.
    ///
    /// # Errors
    /// [`Error::Share`] where others of the same Hook were before it for too long, [`Error::Namespace`] where others of
    /// its namespace were; [`Error::Threads`] and [`Rejection::NoMemory`] where those of others were.
    pub(crate) async fn decide(
        &self,
        slot: &Slot,
        case: Case,
        until: Instant,
    ) -> Result<Verdict, Error> {
        let turn = timeout_at(until, Arc::clone(&slot.deciding).acquire_owned()).await;
        let turn = turn.map_err(|_| Error::Share)?;
        let namespace = Some(slot.place.namespace.clone());
        let place = timeout_at(until, self.threads.of(&namespace)).await;
        let place = place.map_err(|_| Error::Namespace)?;
        let bytes = self.measure(&case, until).await?;
        let room = if bytes > LITTLE {
            &self.memory
        } else {
            &self.little
        };
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let memory = timeout_at(until, Arc::clone(room).acquire_many_owned(bytes)).await;
        let memory = memory.map_err(|_| Rejection::NoMemory)?;
        let thread = timeout_at(until, self.threads.any()).await;
        let thread = thread.map_err(|_| Error::Threads)?;
        let held = (turn, place, memory, thread);
        Ok(beside(held, move || case.decide()).await)
    }

    /// How many bytes of memory a request takes once it is parsed.
    async fn measure(&self, case: &Case, until: Instant) -> Result<usize, Error> {
        let (provider, asked) = (case.provider, Arc::clone(&case.asked));
        let scan = move || providers::content::memory(provider, &asked.request());
        if case.asked.body.len() <= AT_ONCE {
            return Ok(scan());
        }
        let thread = timeout_at(until, self.threads.any()).await;
        Ok(beside(thread.map_err(|_| Error::Threads)?, scan).await)
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
    use tokio::sync::OwnedSemaphorePermit;

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

    /// What the others have is held for as long as the test takes.
    async fn decided(workers: &Workers, bytes: usize) -> Result<Verdict, Error> {
        let (slot, until) = (slot("team", "app"), Instant::now() + SECOND);
        let verdict = workers.decide(&slot, case(bytes), until).await;
        assert_eq!(Instant::now() < until, verdict.is_ok());
        verdict
    }

    async fn threads(workers: &Workers, number: usize) -> Vec<Option<OwnedSemaphorePermit>> {
        let mut held = Vec::new();
        for _ in 0..number {
            held.push(workers.threads.any().await);
        }
        held
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_in_vain_is_told_what_for() {
        let workers = Workers::new();
        assert!(decided(&workers, 2).await.is_ok());

        let busy = slot("team", "app");
        let turn = busy.deciding.acquire().await;
        let waited = workers.decide(&busy, case(2), Instant::now() + SECOND);
        assert!(matches!(waited.await, Err(Error::Share)));
        drop(turn);

        let namespace = "team".parse().ok();
        let others = [
            workers.threads.of(&namespace).await,
            workers.threads.of(&namespace).await,
        ];
        assert!(matches!(decided(&workers, 2).await, Err(Error::Namespace)));
        drop(others);

        let all = threads(&workers, 4).await;
        for bytes in [2, AT_ONCE + 1] {
            assert!(matches!(
                decided(&workers, bytes).await,
                Err(Error::Threads)
            ));
        }
        drop(all);

        let memory = workers.little.acquire_many(8 << 20).await;
        assert!(matches!(
            decided(&workers, 2).await,
            Err(Error::Rejected(Rejection::NoMemory))
        ));
        drop(memory);
        assert!(decided(&workers, AT_ONCE + 1).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_proven_nothing_waits_for_a_thread_no_longer_than_it_may() {
        let workers = Workers::new();
        let all = threads(&workers, 4).await;
        let until = Instant::now() + SECOND;
        let few = workers.aside(AT_ONCE, until, || 7).await;
        assert_eq!(few.ok(), Some(7));
        let many = workers.aside(AT_ONCE + 1, until, || 7).await;
        assert!(matches!(many, Err(Error::Threads)));
        assert_eq!(Instant::now(), until);
        drop(all);
        let many = workers.aside(AT_ONCE + 1, until + SECOND, || 7).await;
        assert_eq!(many.ok(), Some(7));
    }
}
