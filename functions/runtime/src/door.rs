//! Doors: addresses whose senders prove themselves by their body, which has to be read before anybody knows whether they
//! may send it.
//!
//! What comes through one door must not keep others from theirs, however it is sent: only one large body is on its
//! way at a time, the others wait unread; small ones have a part of the reserve (see [`crate::Budget`]); what stops
//! arriving is given up, and a large one sooner where others wait for its turn; and what takes its time may hold only
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

/// What has to come of a large one while others wait for its turn: 256 KiB in a second.
const IN_TURN: Least = Least {
    grace: Duration::from_secs(2),
    bytes: 512 << 10,
};

/// How long a large body may wait for its turn. It leaves half of their time to most senders.
const TURN: Duration = Duration::from_secs(5);

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
    /// Whoever waits for the turn has a place here, of which there are always enough.
    waiting: Arc<Semaphore>,
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
            waiting: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            slow: Arc::new(Semaphore::new(self.share)),
            all_slow: Arc::clone(&self.slow),
        }
    }
}

impl Door {
    /// The turn of a large body, in the order of asking, and its pace from then on. The time in which it waits is not
    /// its own.
    pub(crate) async fn turn(&self, pace: &mut Pace) -> Result<OwnedSemaphorePermit, Rejection> {
        let asked = Instant::now();
        let waits = self.waiting.try_acquire();
        let turn = timeout(TURN, Arc::clone(&self.large).acquire_owned()).await;
        drop(waits);
        // The semaphore is never closed.
        let turn = turn.ok().and_then(Result::ok).ok_or(Rejection::Crowd)?;
        pace.in_turn(asked.elapsed(), self.clone());
        Ok(turn)
    }

    /// Whether anybody waits for the turn.
    fn is_waited_for(&self) -> bool {
        self.waiting.available_permits() < Semaphore::MAX_PERMITS
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

/// When a body is given up unless more of it comes.
#[derive(Debug)]
struct Meter {
    least: Least,
    until: Instant,
}

impl Meter {
    /// From now on.
    fn new(least: Least) -> Self {
        let until = Instant::now() + least.grace;
        Self { least, until }
    }

    /// So many bytes came.
    fn came(&mut self, bytes: usize) {
        let most = Instant::now() + self.least.grace;
        self.until = (self.until + self.least.time(bytes)).min(most);
    }
}

/// The clocks of a body.
#[derive(Debug)]
pub(crate) struct Pace {
    /// All that it may take, and when that is over.
    time: Duration,
    end: Instant,
    /// Where it comes through a door,
    stranger: Option<Meter>,
    /// and while it has the turn there.
    turn: Option<(Meter, Door)>,
}

impl Pace {
    /// From now on; something has to come in the meantime where it comes through a door.
    pub(crate) fn new(time: Duration, door: Option<&Door>) -> Self {
        Self {
            time,
            end: Instant::now() + time,
            stranger: door.map(|_| Meter::new(STRANGER)),
            turn: None,
        }
    }

    /// It is read in its turn, after a time in which it was not.
    fn in_turn(&mut self, unread: Duration, door: Door) {
        self.end += unread;
        self.stranger = Some(Meter::new(STRANGER));
        self.turn = Some((Meter::new(IN_TURN), door));
    }

    /// So many bytes came.
    pub(crate) fn came(&mut self, bytes: usize) {
        let turn = self.turn.as_mut().map(|(meter, _)| meter);
        for meter in self.stranger.as_mut().into_iter().chain(turn) {
            meter.came(bytes);
        }
    }

    /// The next frame of a body, unless it does not come in time.
    pub(crate) async fn next(&mut self, body: &mut Body) -> Result<Option<Arrived>, Rejection> {
        loop {
            let stalls = self.stranger.as_ref().map(|meter| meter.until);
            let until = stalls.map_or(self.end, |stalls| stalls.min(self.end));
            let turn = self.turn.as_ref().map(|(meter, _)| meter.until);
            let first = turn.map_or(until, |turn| turn.min(until));
            if let Ok(frame) = timeout_at(first, body.frame()).await {
                return Ok(frame);
            }
            match &mut self.turn {
                // Nobody else wants it. Whoever does soon has it soon.
                Some((meter, door)) if first < until && !door.is_waited_for() => {
                    *meter = Meter::new(IN_TURN);
                }
                _ if first < self.end => return Err(Rejection::Stalled),
                _ => {
                    let seconds = self.time.as_secs();
                    return Err(Rejection::TooSlow { seconds });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::pending};

    use http_body_util::channel::Channel;

    use super::*;
    use crate::{Call, call::Reading, metrics::Metrics};

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
        assert_eq!(began.elapsed().as_secs(), TURN.as_secs());
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

    /// What becomes of a body that has the turn, and after how many seconds.
    async fn in_turn(door: &Door, body: Body) -> (Result<(), Rejection>, u64) {
        let mut pace = Pace::new(TIME, Some(door));
        let _turn = door.turn(&mut pace).await.unwrap();
        let began = Instant::now();
        let read = read(body, pace).await;
        (read, began.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_body_that_trickles_loses_its_turn_to_whoever_waits_for_it() {
        let tenth = Duration::from_millis(100);
        for (rate, may_be_kept) in [(300 << 10, true), (200 << 10, false), (20 << 10, false)] {
            let trickle = || body(tenth, &[rate / 10; 150], true);
            let door = eight().door();
            // Alone it may take its time.
            assert_eq!(in_turn(&door, trickle()).await, (Ok(()), 15), "{rate}");
            let other = async {
                tokio::time::sleep(tenth).await;
                let mut pace = Pace::new(TIME, Some(&door));
                loop {
                    // Senders come again.
                    if let Ok(turn) = door.turn(&mut pace).await {
                        return turn;
                    }
                }
            };
            let (first, _turn) = tokio::join!(in_turn(&door, trickle()), other);
            assert_eq!(first.0.is_ok(), may_be_kept, "{rate}: {first:?}");
            assert_eq!(first.1 < 10, !may_be_kept, "{rate}: {first:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_read_through_a_door_has_its_pace() {
        let limits = Limits::default();
        let metrics = Arc::new(Metrics::new().unwrap());
        let tenth = Duration::from_millis(100);
        // Of neither is it said how large they are.
        let all = 100 * (30 << 10);
        for (piece, expected) in [(30 << 10, Ok(all)), (10 << 10, Err(Rejection::Stalled))] {
            let door = eight().door();
            let bytes = body(tenth, &[piece; 100], true);
            let (parts, ()) = http::Request::new(()).into_parts();
            let reading = Reading::new(&limits, Arc::clone(&metrics));
            let mut call = Call::new(parts, bytes, Vec::new(), reading);
            let taken = call.take(&door, 8 << 20, 8 << 20, TIME);
            let other = async {
                tokio::time::sleep(tenth * 30).await;
                while door.turn(&mut stranger(TIME)).await.is_err() {}
            };
            let (taken, ()) = tokio::join!(async { taken.await.map(|taken| taken.len()) }, other);
            assert_eq!(taken, expected, "{piece}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_at_once_does_not_buy_a_long_silence() {
        let stops = || body(Duration::ZERO, &[1 << 20; 8], false);
        let (door, stalled) = (eight().door(), Err(Rejection::Stalled));
        let grace = STRANGER.grace.as_secs();
        assert_eq!(in_turn(&door, stops()).await, (stalled.clone(), grace));
        let mut pace = Pace::new(TIME, Some(&door));
        let other = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            door.turn(&mut pace).await.is_ok()
        };
        let (first, other) = tokio::join!(in_turn(&door, stops()), other);
        assert_eq!((first, other), ((stalled, IN_TURN.grace.as_secs()), true));
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_in_which_others_have_the_turn_is_not_the_sender_s() {
        let door = eight().door();
        let turn = door.turn(&mut stranger(TIME)).await.unwrap();
        let held = tokio::spawn(async move {
            tokio::time::sleep(TURN * 4 / 5).await;
            drop(turn);
        });
        let began = Instant::now();
        let body = body(Duration::from_secs(1), &[512 << 10; 20], true);
        assert_eq!(in_turn(&door, body).await.0, Ok(()));
        assert!(began.elapsed() > TIME);
        held.await.unwrap();
    }
}
