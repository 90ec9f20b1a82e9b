//! What requests cost that name a Hook nobody has heard of. Anybody can make up names, without end, and each of them
//! has to be asked for once.
//!
//! So they have turns, lanes and a rate of their own, and what they use up is kept from strangers alone: a Hook that
//! was read before is served as if nothing had been.
//!
//! While they are crowded, an event of a Hook that this process has not read yet may be told to come again (503).
//! Whoever proves nothing is told the same then, whether there is such a Hook or not.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

use crate::quota::Bucket;

/// Names asked for in vain, per minute. As many at once, then fifty in a second.
const MISSES: u32 = 3_000;

/// How long it is told that there were too many.
const CROWDED: Duration = Duration::from_secs(1);

/// Those who ask for names that no Hook is known by.
pub(crate) struct Strangers {
    turns: Semaphore,
    lanes: Semaphore,
    misses: Mutex<Bucket>,
    crowded: Mutex<Option<Instant>>,
}

impl Strangers {
    /// Of a process that handles so many requests at once: a quarter of them is left to Hooks that are known, and as
    /// many names are read at a time. Who comes when a thousand Hooks are read for the first time waits in a queue.
    pub(crate) fn new(requests: usize) -> Self {
        let quarter = (requests / 4).max(1);
        Self {
            turns: Semaphore::new(requests.saturating_sub(quarter).max(1)),
            lanes: Semaphore::new(quarter),
            misses: Mutex::default(),
            crowded: Mutex::default(),
        }
    }

    /// A place among the requests that ask or wait; none if all are taken.
    pub(crate) fn enter(&self) -> Option<SemaphorePermit<'_>> {
        let turn = self.turns.try_acquire().ok();
        self.note(self.turns.available_permits() == 0);
        turn
    }

    /// Whether one more name may be asked for. Whoever finds a Hook says so with [`Self::found`].
    pub(crate) fn may_ask(&self) -> bool {
        let mut misses = self.misses.lock().unwrap_or_else(PoisonError::into_inner);
        let allowed = misses.take(MISSES, Instant::now());
        self.note(misses.is_empty(MISSES));
        allowed
    }

    /// The name was not made up.
    pub(crate) fn found(&self) {
        let mut misses = self.misses.lock().unwrap_or_else(PoisonError::into_inner);
        misses.give_back();
    }

    /// A lane to the API server, in the order of asking.
    pub(crate) async fn lane(&self) -> Option<SemaphorePermit<'_>> {
        self.lanes.acquire().await.ok()
    }

    /// Whether somebody was turned away a moment ago, or the next one would have been.
    pub(crate) fn are_crowded(&self) -> bool {
        let crowded = self.crowded.lock().unwrap_or_else(PoisonError::into_inner);
        crowded.is_some_and(|at| at.elapsed() < CROWDED)
    }

    fn note(&self, crowded: bool) {
        if crowded {
            let mut at = self.crowded.lock().unwrap_or_else(PoisonError::into_inner);
            *at = Some(Instant::now());
        }
    }
}
