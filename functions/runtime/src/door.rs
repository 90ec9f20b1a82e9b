//! Doors: addresses whose senders prove themselves by their body, which has to be read before anybody knows whether they
//! may send it.
//!
//! What comes through one door must not keep others from theirs, however it is sent: only one large body is on its
//! way at a time, the others wait unread; small ones have a part of the reserve (see [`crate::Budget`]); what stops
//! arriving is given up, and a large one sooner, since others wait for its turn; and what takes its time may hold only
//! some of the requests that are handled at once. Time in which nobody reads is not the sender's.
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

/// What has to come of a body through a door: 64 KiB in 5 s.
const STRANGER: Least = Least {
    grace: Duration::from_secs(5),
    bytes: 64 << 10,
};

/// What has to come of a large one while it has the turn: 256 KiB in a second.
const IN_TURN: Least = Least {
    grace: Duration::from_secs(2),
    bytes: 512 << 10,
};

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
    /// The turn of a large body, in the order of asking, and its pace from then on. It is waited for as long as the body
    /// may take, and the body may take as long again.
    pub(crate) async fn turn(&self, pace: &mut Pace) -> Result<OwnedSemaphorePermit, Rejection> {
        let asked = Instant::now();
        let turn = timeout(pace.time, Arc::clone(&self.large).acquire_owned()).await;
        // The semaphore is never closed.
        let turn = turn.ok().and_then(Result::ok).ok_or(Rejection::Crowd)?;
        pace.resume(asked.elapsed(), IN_TURN);
        Ok(turn)
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

/// How fast a body has to come: at this rate on average. What comes faster makes up for what comes later, but never for
/// more than the grace.
#[derive(Clone, Copy, Debug)]
struct Least {
    grace: Duration,
    /// In as much time as the grace.
    bytes: u32,
}

impl Least {
    /// The time that so many bytes may take.
    fn time(&self, bytes: usize) -> Duration {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.bytes);
        self.grace * bytes / self.bytes
    }
}

/// The clocks of a body.
#[derive(Debug)]
pub(crate) struct Pace {
    /// All that it may take, and when that is over.
    time: Duration,
    end: Instant,
    /// What has to come in the meantime, and when it is given up unless more does.
    least: Option<(Least, Instant)>,
}

impl Pace {
    /// From now on; something has to come in the meantime where it comes through a door.
    pub(crate) fn new(time: Duration, door: Option<&Door>) -> Self {
        let now = Instant::now();
        Self {
            time,
            end: now + time,
            least: door.map(|_| (STRANGER, now + STRANGER.grace)),
        }
    }

    /// It is read again, after a time in which it was not.
    fn resume(&mut self, unread: Duration, least: Least) {
        self.end += unread;
        self.least = Some((least, Instant::now() + least.grace));
    }

    /// So many bytes came.
    pub(crate) fn came(&mut self, bytes: usize) {
        if let Some((least, until)) = &mut self.least {
            *until = (*until + least.time(bytes)).min(Instant::now() + least.grace);
        }
    }

    /// The next frame of a body, unless it does not come in time.
    pub(crate) async fn next(&self, body: &mut Body) -> Result<Option<Arrived>, Rejection> {
        let stalls = self.least.map(|(_, until)| until);
        let until = stalls.map_or(self.end, |stalls| stalls.min(self.end));
        let next = timeout_at(until, body.frame()).await;
        next.map_err(|_| match until < self.end {
            true => Rejection::Stalled,
            false => Rejection::TooSlow {
                seconds: self.time.as_secs(),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::pending};

    use http_body_util::channel::Channel;

    use super::*;

    /// What a body may take.
    const TIME: Duration = Duration::from_secs(20);

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
        let turn = async |door: &Door| door.turn(&mut Pace::new(TIME, Some(door))).await;
        let first = turn(&door).await.unwrap();
        let began = Instant::now();
        assert_eq!(turn(&door).await.err(), Some(Rejection::Crowd));
        assert_eq!(began.elapsed().as_secs(), TIME.as_secs());
        assert!(turn(&doors.door()).await.is_ok());
        drop(first);
        assert!(turn(&door).await.is_ok());
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

    async fn read(mut body: Body, mut pace: Pace) -> Result<(), Rejection> {
        while let Some(frame) = pace.next(&mut body).await? {
            pace.came(frame.unwrap().into_data().unwrap().len());
        }
        Ok(())
    }

    fn stranger(time: Duration) -> Pace {
        Pace::new(time, Some(&eight().door()))
    }

    #[tokio::test(start_paused = true)]
    async fn what_stops_arriving_is_given_up_and_what_goes_on_is_not() {
        let Least { grace, bytes } = STRANGER;
        let bytes = bytes as usize;
        let (time, stalled) = (grace * 20, Err(Rejection::Stalled));
        let steady = body(grace / 3, &[bytes / 2; 20], true);
        assert_eq!(read(steady, stranger(time)).await, Ok(()));
        let began = Instant::now();
        let stops = body(grace / 3, &[bytes], false);
        assert_eq!(read(stops, stranger(time)).await, stalled);
        assert_eq!(began.elapsed().as_secs(), (grace / 3 + grace).as_secs());
        let trickle = || body(grace / 9, &[1; 100], true);
        assert_eq!(read(trickle(), stranger(time)).await, stalled);
        // Who has a name has the whole time.
        assert_eq!(read(trickle(), Pace::new(time, None)).await, Ok(()));
        let seconds = TIME.as_secs();
        let slow = read(trickle(), Pace::new(TIME, None)).await;
        assert_eq!(slow, Err(Rejection::TooSlow { seconds }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_body_that_trickles_loses_its_turn_soon() {
        let tenth = Duration::from_millis(100);
        for (rate, expected) in [
            (300 << 10, Ok(())),
            (200 << 10, Err(Rejection::Stalled)),
            (20 << 10, Err(Rejection::Stalled)),
        ] {
            let door = eight().door();
            let mut pace = Pace::new(TIME, Some(&door));
            let _turn = door.turn(&mut pace).await;
            let began = Instant::now();
            let trickle = body(tenth, &[rate / 10; 150], true);
            assert_eq!(read(trickle, pace).await, expected, "{rate}");
            let soon = IN_TURN.grace * 5;
            assert_eq!(began.elapsed() < soon, expected.is_err(), "{rate}");
        }
        // What came at once does not buy a long silence.
        let door = eight().door();
        let mut pace = Pace::new(TIME, Some(&door));
        let _turn = door.turn(&mut pace).await;
        let began = Instant::now();
        let stops = body(Duration::ZERO, &[1 << 20; 8], false);
        assert_eq!(read(stops, pace).await, Err(Rejection::Stalled));
        assert_eq!(began.elapsed().as_secs(), IN_TURN.grace.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_in_which_others_have_the_turn_is_not_the_sender_s() {
        let door = eight().door();
        let turn = door.turn(&mut stranger(TIME)).await.unwrap();
        let held = tokio::spawn(async move {
            tokio::time::sleep(TIME * 3 / 4).await;
            drop(turn);
        });
        let mut pace = Pace::new(TIME, Some(&door));
        let _turn = door.turn(&mut pace).await.unwrap();
        held.await.unwrap();
        let second = Duration::from_secs(1);
        let body = body(second, &[512 << 10; 15], true);
        assert_eq!(read(body, pace).await, Ok(()));
    }
}
