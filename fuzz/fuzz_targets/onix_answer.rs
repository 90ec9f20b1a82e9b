//! Any bytes as what Onix answers: the flow in it, or a text that repeats nothing of it.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

// The module alone: it is pure, and the package around it would bring HTTP, TLS and Kubernetes along.
#[path = "../../functions/store/src/onix/answer.rs"]
mod answer;

fuzz_target!(|bytes: &[u8]| {
    let body = Bytes::copy_from_slice(bytes);
    match answer::meta(&body) {
        Ok(meta) => {
            assert!(meta.starts_with(b"{") && meta.ends_with(b"}"), "{meta:?}");
            serde_json::from_slice::<&RawValue>(&meta).expect("an object");
            assert!(
                meta == "{}" || bytes.windows(meta.len()).any(|part| part == meta),
                "{meta:?}"
            );
        }
        Err(reason) => assert!(reason.len() < 120 && !reason.contains('\n'), "{reason}"),
    }
});
