//! Which Hooks there are: read by name when an event needs one, kept for a second.
//!
//! A flood of requests must not become a flood of reads: for one Hook one read is under way at a time and everybody
//! waits for it, that there is no Hook of a name is kept as long as a Hook is, and names that nobody has heard of share
//! a few lanes. What is kept is bounded. Nothing in here matters: an empty registry gives the same answers.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cluster::{Cluster, Fault, Patience};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use crate::{
    known::{Known, Place},
    notes::Notes,
    quota::Bucket,
};

/// How long what was read counts.
const AGE: Duration = Duration::from_secs(1);

/// Names that are remembered at most, whether there is a Hook or not.
const NAMES: usize = 4096;

/// How long one read may take, repeats included: some senders wait for three seconds altogether.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was read, or why nothing could be.
type Found = Result<Option<Arc<Known>>, Arc<Fault>>;

/// All names that were asked for lately.
pub(crate) struct Registry {
    client: kube::Client,
    patience: Patience,
    slots: Mutex<HashMap<Place, Arc<Slot>>>,
    /// For names that no Hook is known by.
    strangers: Semaphore,
    /// How many requests one Hook may have in flight.
    share: usize,
}

/// One name, and what this process remembers of it.
pub(crate) struct Slot {
    /// The name.
    pub(crate) place: Place,
    read: tokio::sync::Mutex<Option<(Instant, Found)>>,
    in_flight: Arc<Semaphore>,
    /// What may still be started this minute.
    pub(crate) bucket: Mutex<Bucket>,
    /// What is to be told in the Hook's status, and when it last was.
    pub(crate) notes: Mutex<Notes>,
}

impl Registry {
    /// An empty registry of a process that handles so many requests at once.
    pub(crate) fn new(client: kube::Client, patience: Patience, requests: usize) -> Self {
        let share = (requests / 4).max(1);
        Self {
            client,
            patience: Patience {
                event: patience.event.min(PATIENCE),
                ..patience
            },
            slots: Mutex::default(),
            strangers: Semaphore::new(share),
            share,
        }
    }

    /// What is remembered of a name.
    pub(crate) fn slot(&self, place: Place) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= NAMES && !slots.contains_key(&place) {
            // Those in use are as few as requests in flight.
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        let slot = slots.entry(place).or_insert_with_key(|place| {
            Arc::new(Slot {
                place: place.clone(),
                read: tokio::sync::Mutex::default(),
                in_flight: Arc::new(Semaphore::new(self.share)),
                bucket: Mutex::default(),
                notes: Mutex::default(),
            })
        });
        Arc::clone(slot)
    }

    /// The Hook of a name as it was at most a second ago, or that there is none.
    ///
    /// # Errors
    /// The API server could not be asked; for a second everybody gets the same answer.
    pub(crate) async fn find(&self, slot: &Slot) -> Found {
        let mut read = slot.read.lock().await;
        if let Some((at, found)) = read.as_ref()
            && at.elapsed() < AGE
        {
            return found.clone();
        }
        let before = match read.as_ref() {
            Some((_, Ok(Some(known)))) => Some(Arc::clone(known)),
            _ => None,
        };
        let lane = match before {
            Some(_) => None,
            None => self.strangers.acquire().await.ok(),
        };
        let cluster = Cluster::new(self.client.clone(), self.patience);
        let found = Known::read(&cluster, &slot.place, before.as_deref()).await;
        drop(lane);
        let found = found.map(|known| known.map(Arc::new)).map_err(Arc::new);
        *read = Some((Instant::now(), found.clone()));
        found
    }
}

impl Slot {
    /// A place among the requests of this Hook, as long as it is held; `None` where it has its share already.
    pub(crate) fn enter(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.in_flight).try_acquire_owned().ok()
    }
}
