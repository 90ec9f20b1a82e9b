//! Any JSON as the payload of any event of any provider: two lines with its name and the type, then the payload.

#![no_main]

use libfuzzer_sys::fuzz_target;
use providers::event::of;
use serde_json::Value;

/// Texts that are longer are taken for absent.
const LONGEST: usize = 4096;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let mut lines = text.splitn(3, '\n');
    let (Some(name), Some(kind), Some(payload)) = (lines.next(), lines.next(), lines.next()) else {
        return;
    };
    let payload: Option<Value> = serde_json::from_str(payload).ok();
    let event = of(name, kind, payload.as_ref());
    assert_eq!(event, of(name, kind, payload.as_ref()));
    for text in [
        &event.branch,
        &event.tag,
        &event.revision,
        &event.author,
        &event.sender,
    ] {
        assert!(
            text.as_ref()
                .is_none_or(|text| !text.is_empty() && text.len() <= LONGEST)
        );
    }
    assert!(event.branch.is_none() || event.tag.is_none(), "{event:?}");
    let written = serde_json::to_value(&event).expect("it can be written");
    assert_eq!(serde_json::from_value(written).ok().as_ref(), Some(&event));
    assert!(event.to_record().is_object());
    let _ = event.changed("services/**");
});
