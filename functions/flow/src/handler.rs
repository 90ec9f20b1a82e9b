//! HTTP in, HTTP out: which route is which call of [`Service`], and how its outcome is answered.
//!
//! A plain request is answered as the Artisan runner did, in text. A CloudEvent comes through a Broker, which wants an
//! empty body and repeats certain codes, so its answers are folded by [`response::for_broker`].

use std::sync::Arc;

use bytes::Bytes;
use cluster::Outcome;
use http::{HeaderName, HeaderValue, StatusCode};
use runtime::{
    Call, Payload, Rejection, Response, Router,
    event::{self, Event, Identity, Incoming},
    metrics::Metrics,
    response, telemetry,
};
use tracing::Instrument;

use crate::{
    RUN_HEADER,
    error::{Error, Route},
    openapi,
    service::{Cause, FORMAT, Service, Started, Target},
};

/// What every handler has at hand.
struct State {
    service: Service,
    metrics: Arc<Metrics>,
}

/// The routes of reference §1.2, without the optional pages.
pub fn router(service: Service, metrics: Arc<Metrics>) -> Router {
    let state = Arc::new(State { service, metrics });
    let document = Arc::clone(&state);
    let key = Arc::clone(&state);
    let read = Arc::clone(&state);
    let name = state;
    Router::new()
        .get("/", |_| async { response::text(StatusCode::OK, "OK") })
        .post("/flow", move |call| {
            post_document(Arc::clone(&document), call)
        })
        .post("/flow/key/{flow-key}/ns/{namespace}", move |call| {
            post_key(Arc::clone(&key), call)
        })
        .get("/flow/key/{flow-key}", move |call| {
            get_key(Arc::clone(&read), call)
        })
        .post("/flow/name/{flow-name}/ns/{namespace}", move |call| {
            post_name(Arc::clone(&name), call)
        })
}

/// The page, and the document behind it. `/api` itself stays free, as it was in the original: in the embedded mode it is
/// where kubectl asks what the API server has.
pub fn api_router() -> Router {
    Router::new()
        .get("/api/", |_| async { to_api_page() })
        .get("/api/index.html", |_| async { api_page() })
        .get("/api/doc.json", |_| async {
            response::json(StatusCode::OK, &openapi::document())
        })
}

async fn post_document(state: Arc<State>, mut call: Call) -> Response {
    match read(&mut call).await {
        Ok(read) => each(&state, Target::Document, read).await,
        Err(rejection) => reject(&call, &rejection),
    }
}

async fn post_key(state: Arc<State>, mut call: Call) -> Response {
    match read(&mut call).await {
        Ok(read) => {
            let (key, namespace) = (call.param("flow-key"), call.param("namespace"));
            each(&state, Target::Key { key, namespace }, read).await
        }
        Err(rejection) => reject(&call, &rejection),
    }
}

/// The body means nothing here and is dropped as it comes, unless the event's identity is in it.
async fn post_name(state: Arc<State>, mut call: Call) -> Response {
    let read = if event::is_cloud_event(&call.parts) {
        read(&mut call).await
    } else {
        discard(&mut call).await
    };
    match read {
        Ok(read) => {
            let (name, namespace) = (call.param("flow-name"), call.param("namespace"));
            each(&state, Target::Name { name, namespace }, read).await
        }
        Err(rejection) => reject(&call, &rejection),
    }
}

async fn get_key(state: Arc<State>, call: Call) -> Response {
    match state.service.read(call.param("flow-key")).await {
        Ok(flow) => response::json(StatusCode::OK, &flow),
        Err(error) => refuse(&error, Route::Read),
    }
}

/// What a request brought, with the memory that it is in.
type Read = (Incoming, Option<Payload>);

async fn read(call: &mut Call) -> Result<Read, Rejection> {
    let payload = call.read().await?;
    let incoming = event::read_events(&call.parts, &payload)?;
    Ok((incoming, Some(payload)))
}

async fn discard(call: &mut Call) -> Result<Read, Rejection> {
    let identity = event::key(&call.parts.headers)?;
    call.discard().await?;
    let event = Event {
        identity,
        content_type: None,
        data: Bytes::new(),
        cloud_event: None,
    };
    Ok((Incoming::Plain(event), None))
}

/// Handles what a request brought, and answers in the way of whoever sent it.
async fn each(state: &State, target: Target<'_>, (incoming, _payload): Read) -> Response {
    match incoming {
        Incoming::Plain(event) => match one(state, target, &event).await {
            Ok(started) => accepted(&started),
            Err(error) => refuse(&error, target.route()),
        },
        Incoming::CloudEvent(event) => match one(state, target, &event).await {
            Ok(started) => named(response::empty(StatusCode::OK), &started),
            Err(error) => response::for_broker(error.status(), error.retry_after()),
        },
        Incoming::Batch(events) => {
            // All of them, whatever becomes of one: a repeat then finds most of them done. What may still succeed
            // decides the answer, so that nothing is lost.
            let mut worst: Option<Error> = None;
            for event in &events {
                let span = telemetry::event_span(event);
                if let Err(error) = one(state, target, event).instrument(span).await
                    && worst
                        .as_ref()
                        .is_none_or(|worst| worst.retry_after().is_none())
                {
                    worst = Some(error);
                }
            }
            match worst {
                None => response::empty(StatusCode::OK),
                Some(error) => response::for_broker(error.status(), error.retry_after()),
            }
        }
    }
}

/// One event, on record in span, log and metrics.
async fn one(state: &State, target: Target<'_>, event: &Event) -> Result<Started, Error> {
    telemetry::identify(event);
    let identity = event.identity.to_string();
    let delivery_id = match &event.identity {
        Identity::CloudEvent { id, .. } => id,
        Identity::IdempotencyKey(key) => key,
        Identity::Fresh(_) => "",
    };
    let traceparent = telemetry::current_traceparent();
    let attributes = event.cloud_event.as_ref();
    let cause = Cause {
        identity: &identity,
        fresh: event.identity.is_fresh(),
        delivery_id,
        event_type: attributes.map_or("", |attributes| &attributes.ty),
        content_type: event.content_type.as_deref().unwrap_or_default(),
        traceparent: traceparent.as_deref(),
    };
    let result = state.service.handle(target, &event.data, cause).await;
    let outcome = match &result {
        Ok(started) => {
            telemetry::record("run", started.run.as_str());
            telemetry::record("namespace", started.namespace.as_str());
            match started.outcome {
                Outcome::Created => "created",
                Outcome::AlreadyExists => "already-exists",
            }
        }
        Err(error) => {
            tracing::warn!(error = error.log_text(), "no run");
            error.slug()
        }
    };
    telemetry::record("outcome", outcome);
    state.metrics.event(FORMAT, outcome);
    result
}

fn accepted(started: &Started) -> Response {
    let text = format!("? starting pipeline run {}\n", started.run);
    named(response::text(StatusCode::OK, text), started)
}

/// Adds the header that tells namespace and name of the run.
fn named(mut answer: Response, started: &Started) -> Response {
    if let Ok(value) = HeaderValue::try_from(format!("{}/{}", started.namespace, started.run)) {
        answer
            .headers_mut()
            .insert(HeaderName::from_static(RUN_HEADER), value);
    }
    answer
}

fn refuse(error: &Error, route: Route) -> Response {
    with_retry(
        response::text(error.status(), format!("{}\n", error.text(route))),
        error.retry_after(),
    )
}

/// A request that was refused before anybody looked at its event.
fn reject(call: &Call, rejection: &Rejection) -> Response {
    if event::is_cloud_event(&call.parts) {
        return rejection.broker_response();
    }
    with_retry(
        response::text(
            rejection.status(),
            format!("cannot read request payload: {rejection}\n"),
        ),
        rejection.retry_after(),
    )
}

fn with_retry(mut answer: Response, seconds: Option<u32>) -> Response {
    if let Some(seconds) = seconds {
        answer
            .headers_mut()
            .insert(http::header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}

fn to_api_page() -> Response {
    let mut answer = response::empty(StatusCode::MOVED_PERMANENTLY);
    answer.headers_mut().insert(
        http::header::LOCATION,
        HeaderValue::from_static("/api/index.html"),
    );
    answer
}

/// The page runs its own script and talks to this server; nothing else is allowed to it.
fn api_page() -> Response {
    let mut answer = response::typed(StatusCode::OK, "text/html; charset=utf-8", openapi::PAGE);
    answer.headers_mut().insert(
        http::header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    );
    answer
}
