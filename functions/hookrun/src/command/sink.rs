//! What `hookrun sweeper` and `hookrun dead-letters` share: functions that take CloudEvents at `/` and give nothing back.
//!
//! They know no cluster, so Eventing's tokens cannot be checked here (`HOOKRUN_OIDC_AUDIENCE` is an error at start): who
//! reaches them is a matter of the network, and what they do may be done by anybody there.

use std::{process::ExitCode, sync::Arc};

use runtime::{
    Call, Options, Rejection, Response, Router,
    event::{self, Event, Incoming},
    metrics::Metrics,
    telemetry,
};

use super::serve;

/// Serves one handler until the platform asks to stop.
///
/// # Errors
/// The options contradict each other, or the port is taken.
pub(crate) async fn serve<H, R>(
    options: &Options,
    name: &'static str,
    metrics: Arc<Metrics>,
    handle: H,
) -> anyhow::Result<ExitCode>
where
    H: Fn(Vec<Event>) -> R + Send + Sync + 'static,
    R: Future<Output = Response> + Send + 'static,
{
    let guard = telemetry::init(&options.telemetry, name)?;
    let gate = options.auth.gate(None)?;
    let router = router(handle).guarded(Arc::new(gate));
    let listener = serve::listen(options.listen.port()).await?;
    serve::until(
        options,
        name,
        listener,
        router,
        &metrics,
        runtime::sigterm(),
    )
    .await?;
    guard.flush(serve::FAREWELL).await;
    Ok(ExitCode::SUCCESS)
}

/// The only route.
fn router<H, R>(handle: H) -> Router
where
    H: Fn(Vec<Event>) -> R + Send + Sync + 'static,
    R: Future<Output = Response> + Send + 'static,
{
    let handle = Arc::new(handle);
    Router::new().post("/", move |mut call| {
        let handle = Arc::clone(&handle);
        async move {
            match read(&mut call).await {
                Ok(events) => handle(events).await,
                Err(rejection) => rejection.broker_response(),
            }
        }
    })
}

async fn read(call: &mut Call) -> Result<Vec<Event>, Rejection> {
    let payload = call.read().await?;
    Ok(match event::read_events(&call.parts, &payload)? {
        Incoming::Plain(event) | Incoming::CloudEvent(event) => vec![event],
        Incoming::Batch(events) => events,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Mutex;

    use http::{Request, StatusCode};
    use runtime::{Body, Limits, Shell, response};

    use super::*;

    /// What a handler answers to a request.
    pub(crate) async fn answer<H, R>(handle: H, request: Request<&'static str>) -> StatusCode
    where
        H: Fn(Vec<Event>) -> R + Send + Sync + 'static,
        R: Future<Output = Response> + Send + 'static,
    {
        let shell = Shell::new(router(handle), Limits::default()).unwrap();
        let request = request.map(|text| Body::full(text.as_bytes().to_vec()));
        shell.answer(request).await.status()
    }

    /// A CloudEvent in binary mode, with one more attribute.
    pub(crate) fn event(attribute: &str, value: &str) -> Request<&'static str> {
        Request::post("/")
            .header("ce-specversion", "1.0")
            .header("ce-id", "7")
            .header("ce-source", "/tests")
            .header("ce-type", "dev.hookrun.test")
            .header(format!("ce-{attribute}"), value)
            .body("data")
            .unwrap()
    }

    #[tokio::test]
    async fn every_event_of_a_request_reaches_the_handler() {
        let batch = r#"[
            {"specversion": "1.0", "id": "1", "source": "/tests", "type": "a"},
            {"specversion": "1.0", "id": "2", "source": "/tests", "type": "b"}
        ]"#;
        let batch = Request::post("/")
            .header("content-type", "application/cloudevents-batch+json")
            .body(batch)
            .unwrap();
        for (request, count) in [(event("subject", "x"), 1), (batch, 2)] {
            let seen = Arc::new(Mutex::new(0));
            let counted = Arc::clone(&seen);
            let handle = move |events: Vec<Event>| {
                *counted.lock().unwrap() += events.len();
                async { response::empty(StatusCode::OK) }
            };
            assert_eq!(answer(handle, request).await, StatusCode::OK);
            assert_eq!(*seen.lock().unwrap(), count);
        }
    }

    #[tokio::test]
    async fn what_is_no_event_is_refused_for_good() {
        let handle = |_| async { response::empty(StatusCode::OK) };
        let broken = Request::post("/")
            .header("ce-specversion", "1.0")
            .body("")
            .unwrap();
        assert_eq!(answer(handle, broken).await, StatusCode::BAD_REQUEST);
    }
}
