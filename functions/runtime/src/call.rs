//! One request on its way through a handler.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header;
use http::request::Parts;
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use tokio::time::timeout;

use crate::body::Share;
use crate::metrics::Metrics;
use crate::{Body, Budget, Limits, Payload, Rejection};

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
        let budget = Budget::new(limits.memory_bytes);
        Self {
            cap: limits.body_bytes,
            time: limits.body_time,
            budget,
            metrics,
        }
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

    /// Reads the body, which may have as many bytes as the limits of the process say. A second call gives an empty payload.
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
        let headers = &self.parts.headers;
        if headers
            .get_all(header::CONTENT_ENCODING)
            .iter()
            .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
        {
            return Err(Rejection::Encoded);
        }
        let announced = self.body.size_hint();
        if announced.lower() > cap as u64 {
            return Err(Rejection::TooLarge { limit: cap });
        }
        let mut body = std::mem::take(&mut self.body);
        let budget = self.reading.budget.clone();
        // The share grows with what really arrived: a length that is only announced takes nothing from others.
        // The buffer has its final size at once, which costs address space, not memory.
        let exact = announced
            .exact()
            .and_then(|size| usize::try_from(size).ok());
        let work = async {
            let mut share = Share::default();
            let mut bytes = BytesMut::new();
            let mut first = Bytes::new();
            while let Some(frame) = body.frame().await {
                let Ok(data) = frame.map_err(|_| Rejection::Incomplete)?.into_data() else {
                    continue;
                };
                if bytes.len() + first.len() + data.len() > cap {
                    return Err(Rejection::TooLarge { limit: cap });
                }
                share.join(budget.take(data.len()).ok_or(Rejection::NoMemory)?);
                self.reading.metrics.received(data.len());
                if first.is_empty() && bytes.is_empty() {
                    // Most bodies are one frame, which needs no second buffer.
                    first = data;
                    continue;
                }
                if bytes.is_empty() {
                    bytes.reserve(exact.unwrap_or(0).max(first.len() + data.len()));
                    bytes.extend_from_slice(&std::mem::take(&mut first));
                }
                bytes.extend_from_slice(&data);
            }
            let bytes = if first.is_empty() {
                bytes.freeze()
            } else {
                first
            };
            self.reading.metrics.body(bytes.len(), budget.used());
            Ok(Payload::new(bytes, share))
        };
        let result = timeout(self.reading.time, work).await;
        let result = result.unwrap_or(Err(Rejection::TooSlow {
            seconds: self.reading.time.as_secs(),
        }));
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
