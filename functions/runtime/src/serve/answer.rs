//! An answer on its way to a peer that may not want it.
//!
//! What the socket does not take, the clock of the connection sees. But a peer of HTTP/2 can take nothing of one stream
//! (a window of zero) while its connection is alive: then nobody asks the body for its next frame. The task that
//! hyper gives each stream has a clock for this; when it runs out, the stream is reset and its connection goes on. A
//! body that has nothing to give yet (a watch) is not waited for by anybody, so it may stay open.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::rt::Executor;
use tokio::time::{Instant, Sleep};

use super::clock::Busy;
use crate::Body;
use crate::body::BoxError;

tokio::task_local! {
    /// Of the stream that the task is for; HTTP/1 has none.
    static OFFER: Offer;
}

/// Since when something is ready that the peer has not taken.
#[derive(Clone, Debug, Default)]
struct Offer(Arc<Mutex<Option<Instant>>>);

impl Offer {
    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of an answer; the connection is busy until it is handed over.
pub(super) struct Answer {
    body: Body,
    offer: Option<Offer>,
    _busy: Busy,
}

impl Answer {
    /// Must be called in the task of the stream.
    pub(super) fn new(body: Body, busy: Busy) -> Self {
        let offer = OFFER.try_with(Offer::clone).ok();
        if let Some(offer) = &offer {
            offer.set(Some(Instant::now()));
        }
        Self {
            body,
            offer,
            _busy: busy,
        }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Some(offer) = &self.offer {
            offer.set(polled.is_ready().then(Instant::now));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Runs the streams of HTTP/2 connections, each for as long as its peer takes what it offers.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    /// How long an offer stands.
    pub(super) patience: Duration,
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let offer = Offer::default();
        let stream = Stream {
            work: Box::pin(stream),
            offer: offer.clone(),
            patience: self.patience,
            sleep: None,
        };
        tokio::spawn(OFFER.scope(offer, stream));
    }
}

struct Stream<F> {
    work: Pin<Box<F>>,
    offer: Offer,
    patience: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl<F: Future<Output = ()>> Future for Stream<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.work.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        // Only the work moves the offer, so it is enough to look after each of its steps.
        let Some(since) = self.offer.since() else {
            self.sleep = None;
            return Poll::Pending;
        };
        let deadline = since + self.patience;
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        ready!(sleep.as_mut().poll(cx));
        tracing::debug!("a peer does not take its answer");
        Poll::Ready(())
    }
}
