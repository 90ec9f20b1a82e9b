//! Events for one side of a way in, over several connections, and what becomes of them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::{listener::Peer, site::Site};
use crate::{events::number, wire::Connection};

/// How long an answer may take, and how long no run may come until it is over.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
const QUIET: Duration = Duration::from_secs(15);

/// The pause of a sender after a failure.
const PAUSE: Duration = Duration::from_millis(300);

/// How many events are sent, and how fast.
#[derive(Clone, Copy)]
pub(super) struct Load {
    pub(super) connections: usize,
    pub(super) events: usize,
    /// From one event to the next; without it, each follows the answer to the one before.
    pub(super) every: Option<Duration>,
}

/// What became of a load.
#[derive(Default)]
pub(super) struct Outcome {
    /// The runs that answers spoke of.
    pub(super) acknowledged: Vec<String>,
    /// Answers that were refusals.
    pub(super) refused: usize,
    /// Requests without any answer.
    pub(super) unanswered: usize,
}

/// The headers of a flow.
fn json() -> HeaderMap {
    let json = HeaderValue::from_static("application/json");
    HeaderMap::from_iter([(header::CONTENT_TYPE, json)])
}

impl Peer {
    /// Sends one event; the run that the answer speaks of, `None` if it is a refusal.
    pub(super) async fn event(&self, connection: &mut Connection) -> Result<Option<String>> {
        let (headers, body) = match &self.sender {
            Some(sender) => sender.event(number())?,
            None => (json(), Bytes::from(self.body.clone())),
        };
        let asked = connection.ask_with(Method::POST, &self.path, headers, body);
        let (status, body) = tokio::time::timeout(PATIENCE, asked).await??;
        match status {
            StatusCode::OK | StatusCode::ACCEPTED => {
                let run = (self.run)(&body);
                run.map(Some)
                    .with_context(|| format!("an answer of {} without a run", self.title))
            }
            _ => Ok(None),
        }
    }

    /// Waits until it answers: a pod may have to start for it.
    pub(super) async fn awake(&self, site: &Site) -> Result<()> {
        control_plane::until("it answers", QUIET * 4, async || {
            let Ok(mut connection) = self.target.connect().await else {
                return Ok(false);
            };
            let asked = connection.ask(Method::GET, self.health, "text/plain", Bytes::new());
            let answer = tokio::time::timeout(PATIENCE, asked).await;
            Ok(matches!(answer, Ok(Ok((StatusCode::OK, _)))))
        })
        .await?;
        self.container.ready(site).await
    }

    /// Sends a load; `answered` counts along.
    pub(super) async fn bear(
        self: &Arc<Self>,
        load: Load,
        answered: &Arc<AtomicUsize>,
    ) -> Result<Outcome> {
        let began = Instant::now();
        let next = Arc::new(AtomicUsize::new(0));
        let workers: Vec<_> = (0..load.connections)
            .map(|_| {
                let (peer, next, answered) =
                    (Arc::clone(self), Arc::clone(&next), Arc::clone(answered));
                tokio::spawn(async move { peer.work(load, began, &next, &answered).await })
            })
            .collect();
        let mut all = Outcome::default();
        for worker in workers {
            let outcome = worker.await?;
            all.acknowledged.extend(outcome.acknowledged);
            all.refused += outcome.refused;
            all.unanswered += outcome.unanswered;
        }
        Ok(all)
    }

    /// What one connection does: the next event, as long as there is one.
    async fn work(
        &self,
        load: Load,
        began: Instant,
        next: &AtomicUsize,
        answered: &AtomicUsize,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let mut open = None;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= load.events {
                return outcome;
            }
            if let Some(every) = load.every {
                let due = began + every * u32::try_from(number).unwrap_or(u32::MAX);
                tokio::time::sleep_until(due.into()).await;
            }
            let connection = match open.take() {
                Some(connection) => Ok(connection),
                None => self.target.connect().await,
            };
            let asked = match connection {
                Ok(mut connection) => {
                    let asked = self.event(&mut connection).await;
                    if asked.is_ok() {
                        open = Some(connection);
                    }
                    asked
                }
                Err(error) => Err(error),
            };
            match asked {
                Ok(Some(run)) => {
                    outcome.acknowledged.push(run);
                    answered.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                Ok(None) => outcome.refused += 1,
                Err(_) => outcome.unanswered += 1,
            }
            // Nobody sends the next event into a failure at once.
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until every run that was spoken of exists, or no more come; how many of them do not exist.
    pub(super) async fn settle(&self, outcome: &Outcome) -> Result<usize> {
        let began = Instant::now();
        loop {
            let missing = outcome.acknowledged.len() - self.runs.among(&outcome.acknowledged)?;
            let last = self.runs.last()?.unwrap_or(began).max(began);
            if missing == 0 || last.elapsed() > QUIET {
                return Ok(missing);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
