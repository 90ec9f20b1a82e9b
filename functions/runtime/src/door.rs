//! Doors: addresses whose senders prove themselves by their body, which has to be read before anybody knows whether they
//! may send it.
//!
//! What comes through one door must not keep others from theirs, however it is sent: only one large body is on its
//! way at a time, the others wait unread; small ones have a part of the reserve (see [`crate::Budget`]); what stops
//! arriving is given up; and what takes its time may hold only some of the requests that are handled at once.
//!
//! A door tells nobody whether there is something behind it: everything counts for each address that is asked for.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Frame;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout, timeout_at},
};

use crate::{Body, Limits, Rejection, body::BoxError};

/// Time after which a body counts as slow. The providers send from computing centres.
const QUICK: Duration = Duration::from_secs(2);

/// In this time something has to come of a body,
const WINDOW: Duration = Duration::from_secs(5);

/// namely so many bytes, or its end.
const WINDOW_BYTES: usize = 64 << 10;

/// Parts of the reserve for small bodies, of which each door has one.
const PARTS: usize = 4;

/// All doors of a process.
#[derive(Debug)]
pub struct Doors {
    slow: Arc<Semaphore>,
    share: usize,
    reserve: usize,
}

/// One address. Clones are the same door.
#[derive(Clone, Debug)]
pub struct Door {
    /// Bytes of the reserve that its small bodies may take.
    pub(crate) reserve: Arc<Semaphore>,
    large: Arc<Semaphore>,
    slow: Arc<Semaphore>,
    all_slow: Arc<Semaphore>,
}

impl Doors {
    /// Of a process with these limits. Slow bodies may hold half of its requests, those of one door an eighth.
    pub fn new(limits: &Limits) -> Self {
        Self {
            slow: Arc::new(Semaphore::new((limits.requests / 2).max(1))),
            share: (limits.requests / 8).max(1),
            reserve: limits.reserve() / PARTS,
        }
    }

    /// A new door.
    pub fn door(&self) -> Door {
        Door {
            reserve: Arc::new(Semaphore::new(self.reserve)),
            large: Arc::new(Semaphore::new(1)),
            slow: Arc::new(Semaphore::new(self.share)),
            all_slow: Arc::clone(&self.slow),
        }
    }
}

impl Door {
    /// The turn of a large body, in the order of asking.
    pub(crate) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        Arc::clone(&self.large).acquire_owned().await.ok()
    }

    /// What a reading comes to, as long as there is room for slow ones.
    pub(crate) async fn watch<T>(
        &self,
        reading: impl Future<Output = Result<T, Rejection>>,
    ) -> Result<T, Rejection> {
        let mut reading = std::pin::pin!(reading);
        if let Ok(read) = timeout(QUICK, &mut reading).await {
            return read;
        }
        let _own = self.slow.try_acquire().map_err(|_| Rejection::Crowd)?;
        let _all = self.all_slow.try_acquire().map_err(|_| Rejection::Crowd)?;
        reading.await
    }
}

/// A frame, or why there are no more.
pub(crate) type Arrived = Result<Frame<Bytes>, BoxError>;

/// How fast a body comes.
#[derive(Debug)]
pub(crate) struct Pace {
    since: Instant,
    bytes: usize,
}

impl Pace {
    /// From now on.
    pub(crate) fn new() -> Self {
        Self {
            since: Instant::now(),
            bytes: 0,
        }
    }

    /// So many bytes came.
    pub(crate) fn came(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes >= WINDOW_BYTES {
            *self = Self::new();
        }
    }

    /// The next frame of a body, unless too little came in the meantime.
    pub(crate) async fn next(&mut self, body: &mut Body) -> Result<Option<Arrived>, Rejection> {
        let next = timeout_at(self.since + WINDOW, body.frame()).await;
        next.map_err(|_| Rejection::Stalled)
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::pending};

    use http_body_util::channel::Channel;

    use super::*;

    fn eight() -> Doors {
        Doors::new(&Limits {
            requests: 8,
            ..Limits::default()
        })
    }

    /// A body that never ends, of which nobody is told before its time.
    async fn endless(door: Door) -> Result<(), Rejection> {
        door.watch(pending()).await
    }

    async fn are_waiting(tasks: &[tokio::task::JoinHandle<Result<(), Rejection>>]) -> usize {
        tokio::time::sleep(QUICK * 2).await;
        tasks.iter().filter(|task| !task.is_finished()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn slow_bodies_hold_half_of_all_requests_and_of_one_door_an_eighth() {
        let doors = eight();
        let same = doors.door();
        let tasks: Vec<_> = (0..3)
            .map(|_| tokio::spawn(endless(same.clone())))
            .collect();
        assert_eq!(are_waiting(&tasks).await, 1);
        let others: Vec<_> = (0..7)
            .map(|_| tokio::spawn(endless(doors.door())))
            .collect();
        assert_eq!(are_waiting(&others).await, 3);
        assert_eq!(same.watch(async { Ok(7) }).await, Ok(7), "quick ones come");
        for task in tasks.iter().chain(&others) {
            task.abort();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn large_bodies_come_one_after_the_other() {
        let doors = eight();
        let door = doors.door();
        let first = door.turn().await.unwrap();
        assert!(timeout(WINDOW, door.turn()).await.is_err());
        assert!(timeout(WINDOW, doors.door().turn()).await.is_ok());
        drop(first);
        assert!(timeout(WINDOW, door.turn()).await.is_ok());
    }

    /// A body whose pieces come so long after one another, and then nothing, or its end.
    fn body(pause: Duration, pieces: &[usize], ends: bool) -> Body {
        let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
        let pieces = pieces.to_vec();
        tokio::spawn(async move {
            for size in pieces {
                tokio::time::sleep(pause).await;
                // Nobody may be left who wants it.
                let _ = sender.send_data(vec![b'x'; size].into()).await;
            }
            if !ends {
                pending::<()>().await;
            }
        });
        Body::stream(body)
    }

    async fn read(mut body: Body) -> Result<(), Rejection> {
        let mut pace = Pace::new();
        while let Some(frame) = pace.next(&mut body).await? {
            pace.came(frame.unwrap().into_data().unwrap().len());
        }
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn what_stops_arriving_is_given_up_and_what_goes_on_is_not() {
        let steady = [WINDOW_BYTES / 2; 20];
        assert_eq!(read(body(WINDOW / 3, &steady, true)).await, Ok(()));
        let (began, stalled) = (Instant::now(), Err(Rejection::Stalled));
        assert_eq!(
            read(body(WINDOW / 3, &[WINDOW_BYTES], false)).await,
            stalled
        );
        assert_eq!(began.elapsed().as_secs(), (WINDOW / 3 + WINDOW).as_secs());
        assert_eq!(read(body(WINDOW / 9, &[1; 100], true)).await, stalled);
    }
}
