//! Any bytes as a flow document: reading, checking, telling where problems are, emitting.

#![no_main]

use flows::{Format, Lowering, Payload, Request, Scope, Settings, emit, format::artisan, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(document) = artisan::read(bytes) {
        let redacted = document.redacted().to_string();
        let again = artisan::read(redacted.as_bytes()).expect("what people read can be read");
        assert_eq!(again.redacted().to_string(), redacted);
    }
    match parse(Format::Artisan, bytes, &Lowering::default()) {
        Err(problems) => {
            let source = String::from_utf8_lossy(bytes);
            for problem in problems.iter() {
                assert!(!problem.to_string().contains('\n'), "{problem:?}");
                problem.position(&source);
            }
        }
        Ok(flow) => {
            let namespace = flow.namespace.clone().expect("checked");
            for payload in [None, Some(Payload::Inline(b"x"))] {
                let request = Request {
                    scope: Scope::Document,
                    event: "e",
                    traceparent: None,
                    payload,
                };
                let one = emit(&flow, &namespace, &request, &Settings::default());
                assert_eq!(one, emit(&flow, &namespace, &request, &Settings::default()));
                assert_eq!(
                    one.run.object.spec.status.is_some(),
                    !one.run.copies.is_empty()
                );
            }
        }
    }
});
