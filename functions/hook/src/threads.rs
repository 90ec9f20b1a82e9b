//! Threads beside the one that everything else is on, and who may have how many of them at once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use flows::Label;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Threads at work at once. The system shares the processor among them and the one that everything else is on, so that
/// one costly decision delays no other one by its whole time.
const THREADS: usize = 4;

/// Most of them for one namespace, and for all senders together who have yet to prove themselves.
const SHARE: usize = THREADS / 2;

/// All of them.
pub(crate) struct Threads {
    all: Arc<Semaphore>,
    /// What each may take of them who has one, or waits for one.
    shares: Mutex<HashMap<Whose, Weak<Semaphore>>>,
}

/// Who wants a thread: a namespace, or senders who have yet to prove themselves.
pub(crate) type Whose = Option<Label>;

impl Threads {
    /// All of them, with nothing to do.
    pub(crate) fn new() -> Self {
        Self {
            all: Arc::new(Semaphore::new(THREADS)),
            shares: Mutex::default(),
        }
    }

    /// A place among those of the same namespace, in the order of asking. Whoever has one may ask for [`Self::any`]: so
    /// a namespace that wants many threads waits for its own, and has no more than its share before those of others.
    pub(crate) async fn of(&self, whose: &Whose) -> Option<OwnedSemaphorePermit> {
        // The semaphores are never closed.
        self.share(whose).acquire_owned().await.ok()
    }

    /// Any thread, in the order of asking.
    pub(crate) async fn any(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.all).acquire_owned().await.ok()
    }

    /// It lives as long as somebody has a part of it or waits for one: as many are kept as there are requests.
    fn share(&self, whose: &Whose) -> Arc<Semaphore> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        shares.retain(|_, share| share.strong_count() > 0);
        if let Some(share) = shares.get(whose).and_then(Weak::upgrade) {
            return share;
        }
        let share = Arc::new(Semaphore::new(SHARE));
        shares.insert(whose.clone(), Arc::downgrade(&share));
        share
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    fn whose(namespace: &str) -> Whose {
        namespace.parse().ok()
    }

    /// As many threads as can be had at once.
    fn taken(threads: &Threads, whose: &Whose) -> Vec<[OwnedSemaphorePermit; 2]> {
        let one = || {
            let share = threads.of(whose).now_or_never()??;
            Some([share, threads.any().now_or_never()??])
        };
        std::iter::from_fn(one).collect()
    }

    #[test]
    fn a_busy_namespace_leaves_half_of_the_threads_to_others() {
        let threads = Threads::new();
        let busy = taken(&threads, &whose("busy"));
        assert_eq!(busy.len(), SHARE);
        let strangers = taken(&threads, &None);
        assert_eq!(strangers.len(), THREADS - SHARE);
        assert!(taken(&threads, &whose("quiet")).is_empty());
        drop(busy);
        assert_eq!(taken(&threads, &whose("quiet")).len(), SHARE);
    }

    #[test]
    fn a_share_is_the_same_as_long_as_somebody_has_a_part_of_it_and_then_forgotten() {
        let threads = Threads::new();
        let first = threads.of(&whose("busy")).now_or_never().flatten().unwrap();
        let again = taken(&threads, &whose("busy"));
        assert_eq!(again.len(), SHARE - 1);
        drop((first, again));
        for number in 0..100 {
            assert_eq!(taken(&threads, &whose(&format!("n-{number}"))).len(), SHARE);
        }
        assert_eq!(threads.shares.lock().unwrap().len(), 1);
    }
}
