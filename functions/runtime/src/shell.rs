//! Everything between a connection and a handler: path check, routing, admission, authentication, clocks, panics,
//! the span and the counters. A [`tower::Service`], so that a test drives the whole of it without a socket.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Request, StatusCode, header};
use hyper::body::Body as HttpBody;
use tokio::sync::{Semaphore, watch};
use tower::{Service, ServiceExt as _};
use tracing::{Instrument as _, Span};

use crate::body::BoxError;
use crate::call::Reading;
use crate::metrics::Metrics;
use crate::problem::{self, Problem};
use crate::router::{self, BoxFuture, Miss, Table, Target};
use crate::{Body, Call, Limits, Rejection, Response, Router, event, path, response, telemetry};

mod rest;

/// The service that a connection talks to; clones share everything.
#[derive(Clone)]
pub struct Shell(Arc<Shared>);

struct Shared {
    table: Table,
    limits: Limits,
    reading: Reading,
    in_flight: Arc<Semaphore>,
    drains: Semaphore,
    metrics: Arc<Metrics>,
    draining: watch::Sender<bool>,
}

impl std::fmt::Debug for Shell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shell")
            .field("limits", &self.0.limits)
            .finish_non_exhaustive()
    }
}

/// A shell that cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Routes that contradict each other.
    #[error(transparent)]
    Route(#[from] router::Error),
    /// Limits that contradict each other.
    #[error(transparent)]
    Limits(#[from] crate::limits::Error),
    /// Counters that contradict each other.
    #[error("metrics cannot be registered")]
    Metrics(#[from] prometheus::Error),
}

/// Routes that are answered however busy the process is, and that no trace shows.
const HEALTH: [&str; 2] = ["/healthz", "/readyz"];

impl Shell {
    /// Puts the shell around routes, and adds `/healthz` and `/readyz`.
    ///
    /// # Errors
    /// Two routes are the same, a path is not one, or the limits contradict each other.
    pub fn new(router: Router, limits: Limits) -> Result<Self, Error> {
        limits.check()?;
        let metrics = match &router.metrics {
            Some(metrics) => Arc::clone(metrics),
            None => Arc::new(Metrics::new()?),
        };
        let draining = watch::channel(false).0;
        Ok(Self(Arc::new(Shared {
            table: Table::new(with_health(router, &draining))?,
            reading: Reading::new(&limits, Arc::clone(&metrics)),
            in_flight: Arc::new(Semaphore::new(limits.requests.min(Semaphore::MAX_PERMITS))),
            drains: Semaphore::new(rest::AT_ONCE),
            limits,
            metrics,
            draining,
        })))
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.0.metrics
    }

    /// From now on `/readyz` says no, and streams end.
    pub(crate) fn drain(&self) {
        self.0.draining.send_replace(true);
    }

    /// Ends when no handler runs any more, also of connections that are gone.
    pub(crate) async fn idle(&self) {
        let all = u32::try_from(self.0.limits.requests).unwrap_or(u32::MAX);
        // The semaphore is never closed, so there is nothing to do about an error.
        let _ = self.0.in_flight.acquire_many(all).await;
    }

    /// Answers one request.
    pub async fn answer<B>(&self, request: Request<B>) -> Response
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        let method = parts.method.clone();
        let (body, rest) = rest::wrap(&parts, body);
        let (label, mut response) = self.dispatch(parts, body).await;
        if let Some(rest) = rest
            && !self.drained(rest, started).await
        {
            // Nobody waits for more of the body, so this connection cannot carry another request.
            response
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        self.0
            .metrics
            .answered(&label, &method, response.status(), started.elapsed());
        response
    }

    /// Whether the request's body is at its end, after taking what is left of it. Its clock is that of the whole body.
    async fn drained<B>(&self, rest: rest::Rest<B>, started: Instant) -> bool
    where
        B: HttpBody<Data = Bytes>,
    {
        let limits = &self.0.limits;
        let time = limits.body_time.saturating_sub(started.elapsed());
        rest.drained(limits.body_bytes, time, &self.0.drains).await
    }

    /// Finds out whether the request may be handled at all; with the label it is counted under.
    async fn dispatch(&self, parts: Parts, body: Body) -> (String, Response) {
        let shared = &self.0;
        let refuse = Refuse {
            from_broker: event::is_cloud_event(&parts),
        };
        if let Err(rejection) = path::check(parts.uri.path()) {
            return ("none".to_owned(), refuse.problem(&rejection.problem()));
        }
        let target = match shared.table.find(&parts.method, parts.uri.path()) {
            Ok(target) => target,
            Err(Miss::Method(path)) => {
                return (
                    path.to_owned(),
                    response::empty(StatusCode::METHOD_NOT_ALLOWED),
                );
            }
            Err(Miss::Path) => return ("none".to_owned(), refuse.unknown_path()),
        };
        let label = target.label();
        let permit = match Arc::clone(&shared.in_flight).try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) if is_health(&label) => None,
            Err(_) => {
                let most = shared.limits.requests;
                let text = format!("{most} requests are being handled; send it again");
                let problem = Problem::new(problem::BUSY, text).retry_after(1);
                return (label, refuse.problem(&problem));
            }
        };
        let trace = telemetry::Incoming::read(&parts.headers);
        let span = match is_health(&label) {
            true => Span::none(),
            false => telemetry::request_span(&parts, &label, &trace),
        };
        let held = (permit, shared.metrics.in_flight());
        let response = match self
            .handler(target, parts, body)
            .instrument(span.clone())
            .await
        {
            Ok(answer) => self.run(answer, held, &trace, &span, refuse).await,
            Err(response) => response,
        };
        shared.metrics.memory(shared.reading.budget.used());
        telemetry::answered(&span, response.status());
        (label, response)
    }

    /// The handler with its call, if the guard in front of it agrees.
    async fn handler(
        &self,
        target: Target<'_>,
        mut parts: Parts,
        body: Body,
    ) -> Result<BoxFuture<'static, Response>, Response> {
        match target {
            Target::Route(route, params) => {
                if let Some(guard) = &route.guard {
                    guard.check(&mut parts).await?;
                }
                let params = params
                    .into_iter()
                    .map(|(name, text)| Ok((name, path::decode(&text)?)));
                let params: Result<_, Rejection> = params.collect();
                let params = params.map_err(|rejection| rejection.response())?;
                Ok((route.handler)(Call::new(
                    parts,
                    body,
                    params,
                    self.0.reading.clone(),
                )))
            }
            Target::Mounted(_, service) => {
                let draining = self.0.draining.subscribe();
                Ok(Box::pin(async {
                    let Ok(response) = service.oneshot(Request::from_parts(parts, body)).await;
                    response.map(|body| body.until(draining))
                }))
            }
        }
    }

    /// Lets a handler work, for as long as it may.
    async fn run<H: Send + 'static>(
        &self,
        answer: BoxFuture<'static, Response>,
        held: H,
        trace: &telemetry::Incoming,
        span: &Span,
        refuse: Refuse,
    ) -> Response {
        let limit = self.0.limits.request_time;
        let work = async move {
            // The permit lives as long as the handler does, which is longer than a connection that broke off.
            let _held = held;
            tokio::time::timeout(limit, answer).await
        };
        // A task of its own: a panic ends there, and a sender that hangs up does not leave half a job behind.
        match tokio::spawn(trace.scope(work).instrument(span.clone())).await {
            Ok(Ok(response)) => response,
            Ok(Err(_elapsed)) => {
                let seconds = limit.as_secs_f64();
                tracing::error!(parent: span, seconds, "the handler took too long");
                let text =
                    format!("the answer was not ready within {seconds} seconds; send it again");
                refuse.problem(&Problem::new(problem::TIME, text).retry_after(1))
            }
            Err(_panic) => {
                self.0.metrics.panicked();
                tracing::error!(parent: span, "the handler panicked");
                let text = "this is a defect; the log of the function says where";
                refuse.problem(&Problem::new(problem::INTERNAL, text))
            }
        }
    }
}

/// How this sender is told no.
#[derive(Clone, Copy)]
struct Refuse {
    from_broker: bool,
}

impl Refuse {
    fn problem(self, problem: &Problem) -> Response {
        if self.from_broker {
            response::for_broker(problem.kind.status, problem.retry_after)
        } else {
            problem.response()
        }
    }

    fn unknown_path(self) -> Response {
        if self.from_broker {
            response::for_broker(StatusCode::NOT_FOUND, None)
        } else {
            response::text(StatusCode::NOT_FOUND, "404 page not found\n")
        }
    }
}

fn is_health(label: &str) -> bool {
    HEALTH.contains(&label)
}

fn with_health(mut router: Router, draining: &watch::Sender<bool>) -> Router {
    if !Table::has(&router, HEALTH[0]) {
        router = router.get(HEALTH[0], |_| async {
            response::text(StatusCode::OK, "ok\n")
        });
    }
    if !Table::has(&router, HEALTH[1]) {
        let draining = draining.subscribe();
        router = router.get(HEALTH[1], move |_| {
            let draining = *draining.borrow();
            async move {
                if draining {
                    response::text(StatusCode::SERVICE_UNAVAILABLE, "shutting down\n")
                } else {
                    response::text(StatusCode::OK, "ok\n")
                }
            }
        });
    }
    router
}

impl<B> Service<Request<B>> for Shell
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let shell = self.clone();
        Box::pin(async move { Ok(shell.answer(request).await) })
    }
}
