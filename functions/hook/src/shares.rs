//! What each namespace may have of something at once, so that none of them has it all.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use flows::Label;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// As many places for each namespace.
pub(crate) struct Shares {
    places: usize,
    /// Of those that have a place, or wait for one.
    of: Mutex<HashMap<Label, Weak<Semaphore>>>,
}

impl Shares {
    /// So many places for each namespace, all of them free.
    pub(crate) fn new(places: usize) -> Self {
        Self {
            places,
            of: Mutex::default(),
        }
    }

    /// A place among those of a namespace, in the order of asking.
    pub(crate) async fn place(&self, namespace: &Label) -> Option<OwnedSemaphorePermit> {
        // The semaphores are never closed.
        self.share(namespace).acquire_owned().await.ok()
    }

    /// It lives as long as somebody has a place or waits for one: there are no more of them than requests.
    fn share(&self, namespace: &Label) -> Arc<Semaphore> {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        of.retain(|_, share| share.strong_count() > 0);
        if let Some(share) = of.get(namespace).and_then(Weak::upgrade) {
            return share;
        }
        let share = Arc::new(Semaphore::new(self.places));
        of.insert(namespace.clone(), Arc::downgrade(&share));
        share
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    /// As many places as can be had at once.
    fn taken(shares: &Shares, namespace: &str) -> Vec<OwnedSemaphorePermit> {
        let namespace = namespace.parse().unwrap();
        let one = || shares.place(&namespace).now_or_never().flatten();
        std::iter::from_fn(one).collect()
    }

    #[test]
    fn each_namespace_has_its_places_whatever_others_take() {
        let shares = Shares::new(2);
        let mut busy = taken(&shares, "busy");
        assert_eq!(busy.len(), 2);
        assert_eq!(taken(&shares, "quiet").len(), 2);
        assert!(taken(&shares, "busy").is_empty());
        busy.pop();
        assert_eq!(taken(&shares, "busy").len(), 1);
    }

    #[test]
    fn who_has_no_place_is_forgotten() {
        let shares = Shares::new(2);
        for number in 0..100 {
            assert_eq!(taken(&shares, &format!("n-{number}")).len(), 2);
        }
        assert_eq!(shares.of.lock().unwrap().len(), 1);
    }
}
