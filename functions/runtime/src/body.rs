//! Bodies, and the bytes that were read from them.
//!
//! [`Body`] is the one body type of requests and responses. [`Payload`] is a body that was read completely; it holds
//! its share of the process-wide [`Budget`] until it is dropped, so what all requests together keep in memory is
//! bounded however many there are.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, watch};

pub use crate::budget::{Budget, COPIES};

use crate::budget::Share;

/// What a body may fail with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request or of a response: nothing, bytes, or a stream.
#[derive(Default)]
pub struct Body(Inner);

#[derive(Default)]
enum Inner {
    #[default]
    Empty,
    Full(Bytes),
    Stream(UnsyncBoxBody<Bytes, BoxError>),
}

impl Body {
    /// No bytes at all.
    pub const fn empty() -> Self {
        Self(Inner::Empty)
    }

    /// Bytes that are already in memory.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() {
            Self::empty()
        } else {
            Self(Inner::Full(bytes))
        }
    }

    /// Frames that come as they are produced, such as a watch.
    pub fn stream<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if body.is_end_stream() {
            Self::empty()
        } else {
            Self(Inner::Stream(body.map_err(Into::into).boxed_unsync()))
        }
    }
}

impl Body {
    /// Ends a stream early when the process is told to end: a watch would never do so by itself.
    pub(crate) fn until(self, mut draining: watch::Receiver<bool>) -> Self {
        let Inner::Stream(body) = self.0 else {
            return self;
        };
        let end = Box::pin(async move {
            // An error means that nobody is left who could say so.
            let _ = draining.wait_for(|draining| *draining).await;
        });
        Self(Inner::Stream(Until { body, end }.boxed_unsync()))
    }
}

struct Until {
    body: UnsyncBoxBody<Bytes, BoxError>,
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl HttpBody for Until {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        // What is there already still goes out.
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        self.end.as_mut().poll(cx).map(|()| None)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // A length that was announced could not be kept.
        SizeHint::default()
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Inner::Empty => f.write_str("Body(empty)"),
            Inner::Full(bytes) => write!(f, "Body({} bytes)", bytes.len()),
            Inner::Stream(_) => f.write_str("Body(stream)"),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::full(bytes)
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Inner::Empty => Poll::Ready(None),
            Inner::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.0 = Inner::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Inner::Stream(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Empty => true,
            Inner::Full(_) => false,
            Inner::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Empty => SizeHint::with_exact(0),
            Inner::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Inner::Stream(body) => body.size_hint(),
        }
    }
}

/// A request body that was read completely, within all limits.
///
/// Keep it alive for as long as its bytes, or copies of them, are in memory: it holds their share of the budget.
#[derive(Debug, Default)]
pub struct Payload {
    bytes: Bytes,
    _share: Share,
    /// The turn of a large body, until its sender has proven itself.
    turn: Option<OwnedSemaphorePermit>,
}

impl Payload {
    pub(crate) fn new(bytes: Bytes, share: Share, turn: Option<OwnedSemaphorePermit>) -> Self {
        Self {
            bytes,
            _share: share,
            turn,
        }
    }

    /// Its sender has proven itself: the next large body may come through the same [`crate::Door`].
    pub fn proven(&mut self) {
        self.turn = None;
    }

    /// The bytes; cheap to clone, but a clone does not hold the budget.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Whether the request had no body, or an empty one.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl std::ops::Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// What came of a body of which only so much was to be kept.
#[derive(Debug)]
pub enum Taken {
    /// All of it.
    Kept(Payload),
    /// It was longer and is gone; how many bytes it had.
    Dropped(usize),
}

impl Taken {
    /// How many bytes arrived.
    pub fn len(&self) -> usize {
        match self {
            Self::Kept(payload) => payload.len(),
            Self::Dropped(bytes) => *bytes,
        }
    }

    /// Whether nothing arrived.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// For tests of handlers: bytes outside any budget.
impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self::new(bytes, Share::default(), None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_says_its_size() {
        assert_eq!(Body::full("abc").size_hint().exact(), Some(3));
        assert!(Body::full("").is_end_stream());
        let stream = Body::stream(http_body_util::Full::new(Bytes::from_static(b"abc")));
        assert_eq!(stream.collect().await.unwrap().to_bytes(), "abc");
    }
}
