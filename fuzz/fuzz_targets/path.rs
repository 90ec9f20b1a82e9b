//! Any path, through the check, the router and the decoding of variables; and any `traceparent`.

#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use libfuzzer_sys::fuzz_target;
use runtime::{Limits, Router, Shell, path, response, telemetry::TraceParent};

static SHELL: LazyLock<Shell> = LazyLock::new(|| {
    let router = Router::new()
        .get("/flow/key/{key}", |call| async move {
            response::text(StatusCode::OK, call.param("key"))
        })
        .get("/flow/key/{key}/ns/{namespace}", |call| async move {
            response::text(
                StatusCode::OK,
                format!("{}/{}", call.param("key"), call.param("namespace")),
            )
        });
    Shell::new(router, Limits::default()).expect("constant")
});

static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().build().expect("a runtime")
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(parent) = text.parse::<TraceParent>() {
        assert_eq!(parent.to_string().parse(), Ok(parent));
    }
    let Ok(request) = Request::get(text).body(Empty::<Bytes>::new()) else {
        return;
    };
    let route = request.uri().path().to_owned();
    let answer = RUNTIME.block_on(SHELL.answer(request));
    let status = answer.status();
    let body = RUNTIME
        .block_on(answer.into_body().collect())
        .expect("it is in memory")
        .to_bytes();
    let body = std::str::from_utf8(&body).expect("text");
    match status {
        StatusCode::OK if route.starts_with("/flow/key/") => {
            assert!(path::check(&route).is_ok());
            assert!(
                !body.is_empty() && body.matches('/').count() <= 1,
                "{body:?}"
            );
            assert!(!body.chars().any(char::is_control), "{body:?}");
            assert!(
                !body.split('/').any(|part| matches!(part, "" | "." | "..")),
                "{body:?}"
            );
        }
        StatusCode::OK => assert!(matches!(route.as_str(), "/healthz" | "/readyz"), "{route}"),
        StatusCode::NOT_FOUND => assert!(path::check(&route).is_ok()),
        StatusCode::BAD_REQUEST => assert!(path::check(&route).is_err()),
        other => panic!("{other} for {route:?}"),
    }
});
