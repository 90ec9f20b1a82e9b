//! Any `Authorization` header, in front of an instance that takes passwords and tokens. The one of `token` is valid.

#![no_main]

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use clap::Parser;
use http::{HeaderValue, Request, StatusCode};
use libfuzzer_sys::fuzz_target;
use runtime::{
    auth::{AuthOptions, Gate, KeySource},
    router::{BoxFuture, Guard as _},
};

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    auth: AuthOptions,
}

struct Keys;

impl KeySource for Keys {
    fn fetch<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Bytes, String>> {
        let keys = include_bytes!("../../functions/runtime/tests/rs256/jwks.json");
        Box::pin(async { Ok(Bytes::from_static(keys)) })
    }
}

static GATE: LazyLock<Gate> = LazyLock::new(|| {
    let options = Program::parse_from([
        "fuzz",
        "--http-password=sesame",
        "--oidc-audience=us",
        "--oidc-issuer=https://issuer",
    ]);
    options.auth.gate(Some(Arc::new(Keys))).expect("constant")
});

static CLOCK: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().build().expect("a runtime")
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(value) = HeaderValue::from_bytes(bytes) else {
        return;
    };
    for event in [false, true] {
        let mut request = Request::post("/").header("authorization", &value);
        if event {
            request = request.header("ce-specversion", "1.0");
        }
        let mut parts = request.body(()).expect("constant").into_parts().0;
        match CLOCK.block_on(GATE.check(&mut parts)) {
            Ok(()) => {
                // `admin:sesame`, or for an event the one token that the keys have signed.
                let password = bytes.windows(12).any(|part| part == b"YWRtaW46c2Vz");
                let bearer = bytes.len() > 7 && bytes[..7].eq_ignore_ascii_case(b"bearer ");
                assert!(password || (event && bearer));
            }
            Err(answer) => assert!(
                matches!(
                    answer.status(),
                    StatusCode::UNAUTHORIZED | StatusCode::SERVICE_UNAVAILABLE
                ),
                "{answer:?}"
            ),
        }
    }
});
