//! What is left of a request's body when the answer is ready.
//!
//! Proxies in front of a function (Kourier, the activator, queue-proxy) pass a body on while they wait for the answer. When
//! the answer comes first and the connection ends over the rest, each of them may see the end of the connection before
//! it sees the answer, and then the sender reads a 502 or 503 of theirs instead of ours. So a rest that this function
//! would have accepted is taken and dropped before the answer goes out: bounded in bytes, in time, and in how many do
//! so at once. Never what a sender announced beyond the cap, or holds back until it is told to go on.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Version, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::Body;
use crate::body::BoxError;

/// Bodies that are drained at the same time; each of them holds one read buffer of its connection.
pub(super) const AT_ONCE: usize = 128;
/// Time for one of them; its sender could have had its answer before.
const TIME: Duration = Duration::from_secs(10);

/// Where the body is.
enum Place<B> {
    /// With the handler, which has not read it to its end.
    Held,
    /// Read to its end.
    Read,
    /// Given up by the handler, after so many bytes.
    Left(Pin<Box<B>>, usize),
}

/// The way back for a body that a handler gave up.
pub(super) struct Rest<B> {
    place: Arc<Mutex<Place<B>>>,
    /// The sender waits for a word before it sends the body.
    asks: bool,
}

/// Hands a body to a handler. Only HTTP/1 has a connection to lose, and only a request with a body can leave a rest.
pub(super) fn wrap<B>(parts: &Parts, body: B) -> (Body, Option<Rest<B>>)
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    if body.is_end_stream() {
        return (Body::empty(), None);
    }
    if parts.version >= Version::HTTP_2 {
        return (Body::stream(body), None);
    }
    let place = Arc::new(Mutex::new(Place::Held));
    let rest = Rest {
        place: Arc::clone(&place),
        asks: parts.headers.contains_key(header::EXPECT),
    };
    let lent = Lent {
        body: Some(Box::pin(body)),
        seen: 0,
        place,
    };
    (Body::stream(lent), Some(rest))
}

impl<B> Rest<B>
where
    B: HttpBody<Data = Bytes>,
{
    /// Whether the body is at its end, for which what is left of `most` bytes is taken and dropped, for at most so long.
    pub(super) async fn drained(self, most: usize, time: Duration, drains: &Semaphore) -> bool {
        let place = std::mem::replace(&mut *lock(&self.place), Place::Held);
        let (mut body, mut seen) = match place {
            Place::Read => return true,
            Place::Held => return false,
            Place::Left(body, seen) => (body, seen),
        };
        let left = most.saturating_sub(seen) as u64;
        if self.asks || seen > most || body.size_hint().lower() > left {
            return false;
        }
        let Ok(_permit) = drains.try_acquire() else {
            return false;
        };
        let taking = async {
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else { return false };
                seen = seen.saturating_add(length(&frame));
                if seen > most {
                    return false;
                }
            }
            true
        };
        timeout(time.min(TIME), taking).await.unwrap_or(false)
    }
}

fn lock<B>(place: &Mutex<Place<B>>) -> std::sync::MutexGuard<'_, Place<B>> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

fn length(frame: &Frame<Bytes>) -> usize {
    frame.data_ref().map_or(0, Bytes::len)
}

/// A body in the hands of a handler, which comes back when it is dropped.
struct Lent<B> {
    /// There until it is dropped.
    body: Option<Pin<Box<B>>>,
    /// Bytes that the handler has had of it.
    seen: usize,
    place: Arc<Mutex<Place<B>>>,
}

impl<B> Drop for Lent<B> {
    fn drop(&mut self) {
        let mut place = lock(&self.place);
        if let (Place::Held, Some(body)) = (&*place, self.body.take()) {
            *place = Place::Left(body, self.seen);
        }
    }
}

impl<B: HttpBody<Data = Bytes>> HttpBody for Lent<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        let polled = body.as_mut().poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            this.seen = this.seen.saturating_add(length(frame));
        }
        if matches!(polled, Poll::Ready(None)) || body.is_end_stream() {
            *lock(&this.place) = Place::Read;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(SizeHint::default, |body| body.size_hint())
    }
}
