//! Any pattern and any path, a line feed between them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use providers::{glob::Glob, matches_glob};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let (pattern, path) = text.split_once('\n').unwrap_or((text, "a"));
    let Ok(glob) = Glob::new(pattern) else {
        assert!(!matches_glob(pattern, path));
        return;
    };
    let matches = glob.matches(path);
    assert_eq!(matches, matches_glob(pattern, path));
    // What matches a folder matches all that is in it, unless the answer is turned around.
    if matches && !pattern.starts_with('!') && !path.is_empty() && !path.ends_with('/') {
        assert!(glob.matches(&format!("{path}/x")), "{pattern:?} {path:?}");
    }
    if !pattern.starts_with('!')
        && let Ok(turned) = Glob::new(&format!("!{pattern}"))
    {
        assert_eq!(turned.matches(path), !matches, "{pattern:?} {path:?}");
    }
});
