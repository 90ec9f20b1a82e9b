//! Which Hooks there are: read by name when an event needs one, kept for a second.
//!
//! A flood of requests must not become a flood of reads: for one Hook one read is under way at a time and everybody
//! waits for it, that there is no Hook of a name is kept as long as a Hook is, and names that nobody has heard of are
//! read as far as [`Strangers`] lets them. What is kept is bounded, and made-up names go first. Nothing in here matters
//! for long: an empty registry gives the same answers, and a quota that is whole.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use cluster::{Cluster, Fault, Patience};
use runtime::{Door, Doors, Limits};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout_at},
};
use url::Url;

use crate::{
    known::{Known, Place},
    notes::Notes,
    quota::Bucket,
    status::Address,
    strangers::Strangers,
};

/// How long what was read counts.
const AGE: Duration = Duration::from_secs(1);

/// Names that are remembered at most, whether there is a Hook or not.
const NAMES: usize = 4096;

/// After this time without a request nothing is lost when a Hook is forgotten: its quota is whole again.
const MINUTE: Duration = Duration::from_secs(60);

/// How long one read may take, repeats included: some senders wait for three seconds altogether.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was read, or why nothing could be.
pub(crate) type Found = Result<Option<Arc<Known>>, Arc<Fault>>;

/// All names that were asked for lately.
pub(crate) struct Registry {
    client: kube::Client,
    patience: Patience,
    slots: Mutex<HashMap<Place, Entry>>,
    strangers: Strangers,
    /// Where outside services find the function.
    base: Option<Url>,
    doors: Doors,
    /// How many requests one Hook may have in flight.
    share: usize,
    /// For requests beyond their Hook's share.
    waiting: Semaphore,
}

/// A name, and when it was last asked for.
struct Entry {
    slot: Arc<Slot>,
    used: Instant,
}

/// One name, and what this process remembers of it.
pub(crate) struct Slot {
    /// The name.
    pub(crate) place: Place,
    /// Where senders find it.
    pub(crate) address: Address,
    /// Where bodies come in, whether there is a Hook behind it or not.
    pub(crate) door: Door,
    read: tokio::sync::Mutex<Option<(Instant, Found)>>,
    /// Whether there was such a Hook when it was read last.
    is_hook: AtomicBool,
    in_flight: Semaphore,
    /// Whose event is decided on: one at a time.
    pub(crate) deciding: Arc<Semaphore>,
    /// What may still be started this minute.
    pub(crate) bucket: Mutex<Bucket>,
    /// What is to be told in the Hook's status, and when it last was.
    pub(crate) notes: Mutex<Notes>,
}

impl Registry {
    /// An empty registry of a process with these limits.
    pub(crate) fn new(
        client: kube::Client,
        patience: Patience,
        limits: &Limits,
        base: Option<Url>,
    ) -> Self {
        let requests = limits.requests;
        let share = (requests / 4).max(1);
        Self {
            client,
            patience: Patience {
                event: patience.event.min(PATIENCE),
                ..patience
            },
            slots: Mutex::default(),
            strangers: Strangers::new(requests),
            base,
            doors: Doors::new(limits),
            share,
            waiting: Semaphore::new((requests / 2).max(1)),
        }
    }

    /// What is remembered of a name.
    pub(crate) fn slot(&self, place: Place) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= NAMES && !slots.contains_key(&place) {
            make_room(&mut slots);
        }
        let entry = slots.entry(place).or_insert_with_key(|place| Entry {
            slot: Arc::new(Slot::new(
                place.clone(),
                self.address(place),
                self.share,
                self.door(),
            )),
            used: Instant::now(),
        });
        entry.used = Instant::now();
        Arc::clone(&entry.slot)
    }

    /// Where senders find a Hook.
    pub(crate) fn address(&self, place: &Place) -> Address {
        Address::of(place, self.base.as_ref())
    }

    /// A door to nowhere, for what cannot be the name of a Hook.
    pub(crate) fn door(&self) -> Door {
        self.doors.door()
    }

    /// A place among the requests of a Hook, as long as it is held; in the order of asking. `None` where none got free
    /// until the deadline, or too many wait already: others need room, too.
    pub(crate) async fn enter<'a>(
        &self,
        slot: &'a Slot,
        deadline: Instant,
    ) -> Option<SemaphorePermit<'a>> {
        if let Ok(turn) = slot.in_flight.try_acquire() {
            return Some(turn);
        }
        let _waiting = self.waiting.try_acquire().ok()?;
        timeout_at(deadline, slot.in_flight.acquire())
            .await
            .ok()?
            .ok()
    }

    /// Whether names that nobody has heard of are not all asked for at the moment.
    pub(crate) fn is_crowded(&self) -> bool {
        self.strangers.are_crowded()
    }

    /// The Hook of a name as it was at most a second ago, or that there is none; the latter also where a name that
    /// nobody has heard of cannot be asked for now ([`Self::is_crowded`]).
    ///
    /// # Errors
    /// The API server could not be asked; for a second everybody gets the same answer.
    pub(crate) async fn find(&self, slot: &Slot) -> Found {
        let known = slot.is_hook.load(Ordering::Relaxed);
        let turn = match known {
            true => None,
            false => self.strangers.enter(),
        };
        if turn.is_none() && !known {
            return Ok(None);
        }
        let mut read = slot.read.lock().await;
        if let Some((at, found)) = read.as_ref()
            && at.elapsed() < AGE
        {
            return found.clone();
        }
        if !known && !self.strangers.may_ask() {
            return Ok(None);
        }
        let lane = match known {
            true => None,
            false => self.strangers.lane().await,
        };
        let before = match read.as_ref() {
            Some((_, Ok(Some(known)))) => Some(Arc::clone(known)),
            _ => None,
        };
        let cluster = Cluster::new(self.client.clone(), self.patience);
        let found = Known::read(&cluster, &slot.place, before.as_deref()).await;
        drop(lane);
        let found = found.map(|known| known.map(Arc::new)).map_err(Arc::new);
        if let Ok(found) = &found {
            slot.is_hook.store(found.is_some(), Ordering::Relaxed);
            if found.is_some() && !known {
                self.strangers.found();
            }
        }
        *read = Some((Instant::now(), found.clone()));
        found
    }
}

impl Slot {
    /// A name that nobody has asked for yet; so many requests of its Hook may be in flight.
    pub(crate) fn new(place: Place, address: Address, share: usize, door: Door) -> Self {
        Self {
            place,
            address,
            door,
            read: tokio::sync::Mutex::default(),
            is_hook: AtomicBool::new(false),
            in_flight: Semaphore::new(share),
            deciding: Arc::new(Semaphore::new(1)),
            bucket: Mutex::default(),
            notes: Mutex::default(),
        }
    }
}

/// Forgets names that nobody has; where that is not enough, Hooks that were not asked for lately, and then all that are
/// not in use, which are as few as requests in flight.
fn make_room(slots: &mut HashMap<Place, Entry>) {
    let in_use = |entry: &Entry| Arc::strong_count(&entry.slot) > 1;
    let is_hook = |entry: &Entry| entry.slot.is_hook.load(Ordering::Relaxed);
    slots.retain(|_, entry| in_use(entry) || is_hook(entry));
    if slots.len() >= NAMES {
        slots.retain(|_, entry| in_use(entry) || entry.used.elapsed() < MINUTE);
    }
    if slots.len() >= NAMES {
        slots.retain(|_, entry| in_use(entry));
    }
}
