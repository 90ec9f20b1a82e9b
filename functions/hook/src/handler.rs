//! HTTP in, HTTP out: the two routes of a Hook, and how what a request came to is answered.

use std::sync::Arc;

use deliveries::record::outcome_text;
use http::Method;
use runtime::{Call, Response, Router, event, telemetry};

use crate::{
    answer,
    error::Error,
    service::{Address, Outcome, Service},
};

/// The path of a Hook, and the same with a token behind it.
const PATHS: [&str; 2] = [
    "/hooks/{namespace}/{name}",
    "/hooks/{namespace}/{name}/{token}",
];

/// The routes of all Hooks. They ask for no password: every Hook says how its senders prove themselves.
pub fn router(service: Arc<Service>) -> Router {
    PATHS.into_iter().fold(Router::new(), |router, path| {
        let (posts, asks) = (Arc::clone(&service), Arc::clone(&service));
        router
            .post(path, move |call| post(Arc::clone(&posts), call))
            .route(Method::OPTIONS, path, move |call| {
                options(Arc::clone(&asks), call)
            })
    })
}

async fn options(service: Arc<Service>, call: Call) -> Response {
    let address = Address::of(&call);
    let headers = call.parts.headers;
    answer::reply(service.options(&address, &headers).await)
}

async fn post(service: Arc<Service>, mut call: Call) -> Response {
    let from_broker = event::is_cloud_event(&call.parts);
    let address = Address::of(&call);
    let error = match service.receive(&address, &mut call).await {
        Ok(Outcome::Reply(reply)) => return answer::reply(reply),
        Ok(Outcome::Stored(stored)) => {
            let record = &stored.delivery.record;
            telemetry::record("namespace", &stored.delivery.metadata.namespace);
            telemetry::record("outcome", outcome_text(record.outcome));
            let runs = record.rules.iter().filter_map(|rule| rule.run.as_deref());
            telemetry::record("run", &runs.collect::<Vec<_>>().join(" "));
            let provider = providers::provider(&record.provider);
            let provider = provider.map_or("none", |provider| provider.name);
            let counted = if stored.duplicate {
                "duplicate"
            } else {
                outcome_text(record.outcome)
            };
            service.metrics.event(provider, counted);
            return answer::stored(&stored, from_broker);
        }
        Err(error) => error,
    };
    let problem = error.problem();
    // A flood of made-up names is no flood of lines.
    if problem.kind.status.is_server_error() && !matches!(error, Error::Crowded) {
        tracing::warn!(%error, "an event was not stored");
    }
    telemetry::record("outcome", error.slug());
    error.response(from_broker)
}
