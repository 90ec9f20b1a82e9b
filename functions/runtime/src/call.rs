//! One request on its way through a handler.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header;
use http::request::Parts;
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::body::Taken;
use crate::budget::{SMALL, Share};
use crate::door::Pace;
use crate::metrics::Metrics;
use crate::{Body, Budget, Door, Limits, Payload, Rejection};

/// A request that found its handler: its head, its path variables, and a body that is still to be read.
#[derive(Debug)]
pub struct Call {
    /// Method, URI, headers and extensions.
    pub parts: Parts,
    body: Body,
    params: Vec<(String, String)>,
    reading: Reading,
}

/// What governs the reading of bodies; one per process.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) cap: usize,
    pub(crate) time: Duration,
    pub(crate) budget: Budget,
    pub(crate) metrics: Arc<Metrics>,
}

impl Reading {
    pub(crate) fn new(limits: &Limits, metrics: Arc<Metrics>) -> Self {
        let budget = Budget::new(limits);
        Self {
            cap: limits.body_bytes,
            time: limits.body_time,
            budget,
            metrics,
        }
    }

    /// Reads a body to its end within the time. Its share of the budget grows with what really arrived: a length that is
    /// only announced takes nothing from others.
    async fn body(
        &self,
        body: &mut Body,
        Sizes { keep, cap }: Sizes,
        time: Duration,
        door: Option<&Door>,
    ) -> Result<Taken, Rejection> {
        let exact = body.size_hint().exact();
        let exact = exact.and_then(|size| usize::try_from(size).ok());
        let mut held = Held::default();
        let mut pace = Pace::new(time, door);
        // What is announced to be large waits before a byte of it is read.
        let announced = exact.unwrap_or_default();
        held.ask(door, announced, &mut pace).await?;
        let mut seen = 0_usize;
        while let Some(frame) = pace.next(body).await? {
            let Ok(data) = frame.map_err(|_| Rejection::Incomplete)?.into_data() else {
                continue;
            };
            pace.came(data.len());
            seen = seen.saturating_add(data.len());
            if seen > cap {
                return Err(Rejection::TooLarge { limit: cap });
            }
            self.metrics.received(data.len());
            held.ask(door, seen, &mut pace).await?;
            if seen > keep {
                held.forget();
                if !self.budget.has(seen) {
                    return Err(Rejection::NoMemory);
                }
                continue;
            }
            let grown = self.budget.grow(&mut held.share, seen, door);
            grown.ok_or(Rejection::NoMemory)?;
            held.push(data, exact);
        }
        self.metrics.body(seen, self.budget.used());
        if seen > keep {
            return Ok(Taken::Dropped(seen));
        }
        Ok(Taken::Kept(held.payload()))
    }
}

/// How much of a body is kept, and how much it may have.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    keep: usize,
    cap: usize,
}

/// What has arrived of a body, with its share of the budget.
#[derive(Default)]
struct Held {
    share: Share,
    turn: Option<OwnedSemaphorePermit>,
    first: Bytes,
    bytes: BytesMut,
}

impl Held {
    /// Waits for its turn at the door as soon as it is large.
    async fn ask(
        &mut self,
        door: Option<&Door>,
        size: usize,
        pace: &mut Pace,
    ) -> Result<(), Rejection> {
        if let Some(door) = door.filter(|_| size > SMALL && self.turn.is_none()) {
            self.turn = Some(door.turn(pace).await?);
        }
        Ok(())
    }

    /// Drops what has arrived. The turn stays: the rest still comes.
    fn forget(&mut self) {
        let turn = self.turn.take();
        *self = Self {
            turn,
            ..Self::default()
        };
    }

    /// Most bodies are one frame, which needs no second buffer. The buffer of others has its final size at once, which
    /// costs address space, not memory.
    fn push(&mut self, data: Bytes, exact: Option<usize>) {
        if self.first.is_empty() && self.bytes.is_empty() {
            self.first = data;
            return;
        }
        if self.bytes.is_empty() {
            let first = std::mem::take(&mut self.first);
            let size = exact.unwrap_or(0).max(first.len() + data.len());
            self.bytes.reserve(size);
            self.bytes.extend_from_slice(&first);
        }
        self.bytes.extend_from_slice(&data);
    }

    fn payload(self) -> Payload {
        let bytes = if self.first.is_empty() {
            self.bytes.freeze()
        } else {
            self.first
        };
        Payload::new(bytes, self.share, self.turn)
    }
}

impl Call {
    pub(crate) fn new(
        parts: Parts,
        body: Body,
        params: Vec<(String, String)>,
        reading: Reading,
    ) -> Self {
        Self {
            parts,
            body,
            params,
            reading,
        }
    }

    /// A path variable, percent-decoded once; empty if the route has none of that name.
    pub fn param(&self, name: &str) -> &str {
        self.params
            .iter()
            .find(|(key, _)| key == name)
            .map_or("", |(_, value)| value)
    }

    /// A header, if it is there once and is text.
    pub fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        let mut values = self.parts.headers.get_all(name).iter();
        values
            .next()
            .filter(|_| values.next().is_none())?
            .to_str()
            .ok()
    }

    /// Reads the body, which may have as many bytes as the limits of the process say. A second call gives an empty
    /// payload.
    ///
    /// # Errors
    /// As [`Self::read_up_to`].
    pub async fn read(&mut self) -> Result<Payload, Rejection> {
        self.read_up_to(self.reading.cap).await
    }

    /// Reads the body on a route with a cap of its own; the budget of the process counts as everywhere. A second call
    /// gives an empty payload.
    ///
    /// # Errors
    /// The body is encoded, too large (known from its announced length before a byte is read), too slow, broken,
    /// or cannot be had in memory now.
    pub async fn read_up_to(&mut self, cap: usize) -> Result<Payload, Rejection> {
        let sizes = Sizes { keep: cap, cap };
        match self.bounded(sizes, self.reading.time, None).await? {
            Taken::Kept(payload) => Ok(payload),
            // No body within the cap is dropped.
            Taken::Dropped(_) => Err(Rejection::TooLarge { limit: cap }),
        }
    }

    /// Reads the body of a sender that has yet to prove itself, through its door, and keeps it if it has at most `keep`
    /// bytes; a longer one is dropped as it comes. It has no more than `time`, beside a few seconds in which it
    /// may wait for its turn.
    ///
    /// Whoever sends cannot tell which of both happened: what is dropped takes no part of the budget, but is refused
    /// where there would be no room to keep it.
    ///
    /// # Errors
    /// As [`Self::read_up_to`]; and too many bodies are slow at the moment.
    pub async fn take(
        &mut self,
        door: &Door,
        keep: usize,
        cap: usize,
        time: Duration,
    ) -> Result<Taken, Rejection> {
        let time = time.min(self.reading.time);
        self.bounded(Sizes { keep, cap }, time, Some(door)).await
    }

    async fn bounded(
        &mut self,
        sizes: Sizes,
        time: Duration,
        door: Option<&Door>,
    ) -> Result<Taken, Rejection> {
        let Sizes { cap, .. } = sizes;
        let headers = &self.parts.headers;
        if headers
            .get_all(header::CONTENT_ENCODING)
            .iter()
            .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
        {
            return Err(Rejection::Encoded);
        }
        if self.body.size_hint().lower() > cap as u64 {
            return Err(Rejection::TooLarge { limit: cap });
        }
        let mut body = std::mem::take(&mut self.body);
        let reading = self.reading.body(&mut body, sizes, time, door);
        let result = match door {
            Some(door) => door.watch(reading).await,
            None => reading.await,
        };
        if result.is_err() {
            // What is left of it is of no use; the connection is closed by whoever owns it.
            self.body = body;
        }
        result
    }

    /// Reads the body up to the cap and drops it, for a sender that writes everything before it reads.
    ///
    /// # Errors
    /// The body is too large, too slow or broken.
    pub async fn discard(&mut self) -> Result<(), Rejection> {
        let cap = self.reading.cap;
        if self.body.size_hint().lower() > cap as u64 {
            return Err(Rejection::TooLarge { limit: cap });
        }
        let body = &mut self.body;
        let metrics = &self.reading.metrics;
        let work = async {
            let mut seen = 0_usize;
            while let Some(frame) = body.frame().await {
                if let Ok(data) = frame.map_err(|_| Rejection::Incomplete)?.into_data() {
                    seen = seen.saturating_add(data.len());
                    metrics.received(data.len());
                }
                if seen > cap {
                    return Err(Rejection::TooLarge { limit: cap });
                }
            }
            Ok(())
        };
        let limit = Rejection::TooSlow {
            seconds: self.reading.time.as_secs(),
        };
        timeout(self.reading.time, work).await.unwrap_or(Err(limit))
    }

    /// The request as it came, for a service of its own; limits on the body are then that service's business.
    pub fn into_request(self) -> http::Request<Body> {
        http::Request::from_parts(self.parts, self.body)
    }
}
