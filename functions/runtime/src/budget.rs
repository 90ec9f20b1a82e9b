//! The memory that all bodies together may take, and what of it is kept for small ones.
//!
//! Whoever sends a large body may stop in the middle of it. What it holds by then must not keep others from sending what
//! most of them send: bodies up to 256 KiB have a reserve that no large one touches, and those that come through one
//! [`Door`] have their part of that reserve and no more.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Door, Limits};

/// How many bytes of memory one byte of payload is counted as.
///
/// On its way into the cluster a payload exists as itself (1), as base64 in the object that carries it (4/3) and
/// as base64 in the JSON that is sent (4/3), all at the same moment: 3.67, rounded up.
pub const COPIES: usize = 4;

/// Most bytes of a body that may take its memory from the reserve. Events of most providers have less than a tenth.
pub(crate) const SMALL: usize = 256 << 10;

/// Bytes of memory that are kept for small bodies.
const RESERVE: usize = 16 << 20;

/// The bytes of payload that the whole process may hold at once.
#[derive(Clone, Debug)]
pub struct Budget {
    free: Arc<Semaphore>,
    /// What is not kept for small bodies.
    wide: Arc<Semaphore>,
    total: usize,
}

impl Limits {
    /// Bytes of memory that are kept for small bodies; fewer where the largest body would not fit beside them.
    pub fn reserve(&self) -> usize {
        let largest = self.body_bytes.saturating_mul(COPIES);
        RESERVE.min(self.memory_bytes.saturating_sub(largest))
    }
}

impl Budget {
    /// The budget that the limits describe; a payload takes [`COPIES`] times its size.
    pub fn new(limits: &Limits) -> Self {
        let total = limits.memory_bytes.min(Semaphore::MAX_PERMITS);
        let wide = total.saturating_sub(limits.reserve());
        Self {
            free: Arc::new(Semaphore::new(total)),
            wide: Arc::new(Semaphore::new(wide)),
            total,
        }
    }

    /// Bytes of memory that are taken at the moment.
    pub fn used(&self) -> usize {
        self.total.saturating_sub(self.free.available_permits())
    }

    /// Whether a payload of so many bytes could be had now.
    pub(crate) fn has(&self, payload: usize) -> bool {
        let bytes = payload.saturating_mul(COPIES);
        let wide = payload <= SMALL || bytes <= self.wide.available_permits();
        wide && bytes <= self.free.available_permits()
    }

    /// Makes a share large enough for a payload that has grown to `size` bytes, or gives nothing if that cannot be had
    /// now; the share is of no use then.
    pub(crate) fn grow(&self, share: &mut Share, size: usize, door: Option<&Door>) -> Option<()> {
        let bytes = size.checked_mul(COPIES)?;
        let more = bytes.checked_sub(permits(&share.free))?;
        join(&mut share.free, take(&self.free, more)?);
        if size > SMALL {
            let more = bytes.checked_sub(permits(&share.wide))?;
            join(&mut share.wide, take(&self.wide, more)?);
            share.own = None;
            return Some(());
        }
        let Some(door) = door else { return Some(()) };
        match take(&door.reserve, more) {
            Some(own) => join(&mut share.own, own),
            None => join(&mut share.wide, take(&self.wide, more)?),
        }
        Some(())
    }
}

/// A part of the budget, given back when dropped.
#[derive(Debug, Default)]
pub(crate) struct Share {
    free: Option<OwnedSemaphorePermit>,
    /// What of it is not from the reserve.
    wide: Option<OwnedSemaphorePermit>,
    /// What of it is from the door's part of the reserve.
    own: Option<OwnedSemaphorePermit>,
}

fn take(from: &Arc<Semaphore>, bytes: usize) -> Option<OwnedSemaphorePermit> {
    let bytes = u32::try_from(bytes).ok()?;
    Arc::clone(from).try_acquire_many_owned(bytes).ok()
}

fn permits(of: &Option<OwnedSemaphorePermit>) -> usize {
    of.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
}

fn join(mine: &mut Option<OwnedSemaphorePermit>, more: OwnedSemaphorePermit) {
    match mine {
        Some(mine) => mine.merge(more),
        None => *mine = Some(more),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Doors, Payload};

    const MIB: usize = 1 << 20;

    /// Room for so many bytes beside the reserve.
    fn limits(wide: usize) -> Limits {
        Limits {
            body_bytes: wide,
            memory_bytes: wide * COPIES + RESERVE,
            ..Limits::default()
        }
    }

    fn taken(budget: &Budget, size: usize, door: Option<&Door>) -> Option<Share> {
        let mut share = Share::default();
        budget.grow(&mut share, size, door).map(|()| share)
    }

    #[test]
    fn a_budget_is_given_back_when_the_payload_goes() {
        let limits = Limits {
            body_bytes: 100,
            memory_bytes: 100 * COPIES,
            ..Limits::default()
        };
        let budget = Budget::new(&limits);
        let mut share = taken(&budget, 40, None).unwrap();
        budget.grow(&mut share, 60, None).unwrap();
        assert_eq!(budget.used(), 60 * COPIES);
        assert!(taken(&budget, 41, None).is_none());
        let payload = Payload::new(bytes::Bytes::from_static(b"x"), share, None);
        assert_eq!(budget.used(), 60 * COPIES);
        drop(payload);
        assert_eq!(budget.used(), 0);
        assert!(taken(&budget, 100, None).is_some());
    }

    #[test]
    fn sizes_beyond_any_machine_are_refused() {
        let limits = Limits {
            memory_bytes: usize::MAX,
            ..Limits::default()
        };
        assert!(taken(&Budget::new(&limits), usize::MAX, None).is_none());
    }

    #[test]
    fn large_bodies_leave_the_reserve_to_small_ones() {
        let budget = Budget::new(&limits(4 * MIB));
        let large = taken(&budget, 4 * MIB, None).unwrap();
        assert!(!budget.has(SMALL + 1) && taken(&budget, SMALL + 1, None).is_none());
        assert!(budget.has(SMALL));
        let mut small = taken(&budget, SMALL, None).unwrap();
        // It grows beyond what the reserve is for.
        assert!(budget.grow(&mut small, SMALL + 1, None).is_none());
        drop((small, large));
        assert_eq!(budget.used(), 0);
        assert!(taken(&budget, 4 * MIB, None).is_some());
    }

    #[test]
    fn one_door_cannot_use_up_what_is_kept_for_small_bodies() {
        let limits = limits(MIB);
        let (budget, doors) = (Budget::new(&limits), Doors::new(&limits));
        let (one, other) = (doors.door(), doors.door());
        let shares: Vec<_> = std::iter::from_fn(|| taken(&budget, SMALL, Some(&one))).collect();
        // All that is not reserved, and a part of the reserve.
        assert_eq!(shares.len(), 4 + 4);
        assert!(taken(&budget, SMALL, Some(&other)).is_some());
        drop(shares);
        assert!(taken(&budget, MIB, Some(&one)).is_some());
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn the_largest_body_always_fits() {
        for memory in [4 * MIB, 5 * MIB, 128 * MIB] {
            let limits = Limits {
                body_bytes: MIB,
                memory_bytes: memory,
                ..Limits::default()
            };
            assert!(Budget::new(&limits).has(MIB), "{memory}");
        }
    }
}
