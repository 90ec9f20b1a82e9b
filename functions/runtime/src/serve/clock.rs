//! What a connection is doing, and until when it may go on doing it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::Limits;

/// The clock of one connection, shared by its socket, its requests and its driver.
#[derive(Clone, Debug)]
pub(super) struct Clock(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    header_time: Duration,
    idle_time: Duration,
    phase: Phase,
    /// Whether requests come in frames, among others.
    multiplexed: bool,
    /// Whether an answer said that it is the last one.
    closing: bool,
    /// Since when the peer has not taken what we write.
    stalled: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Opened, without a complete request yet.
    Fresh(Instant),
    /// Between two requests.
    Idle(Instant),
    /// Some of a request's head has come.
    Head(Instant),
    /// So many requests are being answered.
    Busy(usize),
}

impl Clock {
    pub(super) fn new(limits: &Limits) -> Self {
        Self(Arc::new(Mutex::new(State {
            header_time: limits.header_time,
            idle_time: limits.idle_time,
            phase: Phase::Fresh(Instant::now()),
            multiplexed: false,
            closing: false,
            stalled: None,
        })))
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Bytes came in.
    pub(super) fn received(&self) {
        self.with(|state| {
            if matches!(state.phase, Phase::Idle(_)) && !state.multiplexed {
                state.phase = Phase::Head(Instant::now());
            }
        });
    }

    /// From now on bytes say nothing about requests: there is one, or the connection is idle. A head that comes in
    /// pieces for ever ends with the idle time, which no byte extends.
    pub(super) fn multiplex(&self) {
        self.with(|state| {
            state.multiplexed = true;
            state.phase = Phase::Idle(Instant::now());
        });
    }

    /// A moment more, to say goodbye.
    pub(super) fn part(&self) {
        self.with(|state| {
            state.idle_time = state.idle_time.min(Duration::from_secs(1));
            if let Phase::Idle(since) = &mut state.phase {
                *since = Instant::now();
            }
        });
    }

    /// A write went through, or did not.
    pub(super) fn wrote(&self, through: bool) {
        self.with(|state| {
            if through {
                state.stalled = None;
            } else {
                state.stalled.get_or_insert_with(Instant::now);
            }
        });
    }

    /// A request is complete but for its body; it is being answered until the guard goes.
    pub(super) fn begin(&self) -> Busy {
        self.with(|state| {
            state.phase = match state.phase {
                Phase::Busy(n) => Phase::Busy(n + 1),
                _ => Phase::Busy(1),
            };
        });
        Busy(self.clone())
    }

    /// No more patience for a connection on which nothing has come yet.
    pub(super) fn hurry(&self) {
        self.with(|state| state.header_time = state.header_time.min(Duration::from_secs(1)));
    }

    /// Whether some of a request has come, but not all of its head.
    pub(super) fn is_mid_head(&self) -> bool {
        self.with(|state| matches!(state.phase, Phase::Fresh(_) | Phase::Head(_)))
    }

    /// Whether a connection is between two requests, with nothing left to write, and not about to be closed.
    pub(super) fn is_quiet(&self) -> bool {
        self.with(|state| {
            matches!(state.phase, Phase::Idle(_)) && state.stalled.is_none() && !state.closing
        })
    }

    /// When to give up, as it stands now.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.with(|state| match (state.phase, state.stalled) {
            (Phase::Fresh(since) | Phase::Head(since), _) => Some(since + state.header_time),
            (Phase::Idle(since), _) => Some(since + state.idle_time),
            (Phase::Busy(_), Some(since)) => Some(since + state.idle_time),
            (Phase::Busy(_), None) => None,
        })
    }
}

/// One request that is being answered, until its last byte is handed over.
#[derive(Debug)]
pub(super) struct Busy(Clock);

impl Busy {
    /// The answer says that the connection ends with it.
    pub(super) fn last(&self) {
        self.0.with(|state| state.closing = true);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.with(|state| {
            state.phase = match state.phase {
                Phase::Busy(n) if n > 1 => Phase::Busy(n - 1),
                _ => Phase::Idle(Instant::now()),
            };
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_phase_has_its_own_patience() {
        let limits = Limits::default();
        let clock = Clock::new(&limits);
        let opened = Instant::now();
        assert_eq!(clock.deadline(), Some(opened + limits.header_time));
        tokio::time::advance(Duration::from_secs(1)).await;
        clock.received();
        assert_eq!(
            clock.deadline(),
            Some(opened + limits.header_time),
            "bytes do not buy time"
        );
        let (one, two) = (clock.begin(), clock.begin());
        assert_eq!(clock.deadline(), None);
        clock.wrote(false);
        assert_eq!(clock.deadline(), Some(Instant::now() + limits.idle_time));
        clock.wrote(true);
        drop(one);
        assert_eq!(clock.deadline(), None);
        drop(two);
        assert_eq!(clock.deadline(), Some(Instant::now() + limits.idle_time));
        clock.received();
        assert_eq!(clock.deadline(), Some(Instant::now() + limits.header_time));
    }

    #[tokio::test(start_paused = true)]
    async fn frames_are_no_heads() {
        let limits = Limits::default();
        let clock = Clock::new(&limits);
        clock.multiplex();
        let since = Instant::now();
        tokio::time::advance(Duration::from_secs(1)).await;
        clock.received();
        assert!(!clock.is_mid_head());
        assert_eq!(clock.deadline(), Some(since + limits.idle_time));
        clock.part();
        let moment = Duration::from_secs(1);
        assert_eq!(clock.deadline(), Some(Instant::now() + moment));
        let busy = clock.begin();
        assert_eq!(clock.deadline(), None, "it crossed the goodbye");
        drop(busy);
        assert_eq!(clock.deadline(), Some(Instant::now() + moment));
    }
}
