//! ConfigMaps: keys, size, `immutable`.

use super::{check_immutable, check_key};
use crate::{failure::Invalid, object::entries};
use serde_json::Value;

const LIMIT: usize = 1024 * 1024;

pub(super) fn validate(new: &Value, old: Option<&Value>, problems: &mut Vec<Invalid>) {
    let mut size = 0;
    for (key, value) in entries(&new["data"]) {
        check_key("data", key, problems);
        if new["binaryData"].get(key).is_some() {
            let why = "duplicate of key present in binaryData";
            problems.push(Invalid::text(format!("data[{key}]"), key, why));
        }
        size += value.as_str().map_or(0, str::len);
    }
    for (key, value) in entries(&new["binaryData"]) {
        check_key("binaryData", key, problems);
        size += value.as_str().map_or(0, str::len) / 4 * 3;
    }
    if size > LIMIT {
        problems.push(Invalid::too_long("", LIMIT));
    }
    check_immutable(new, old, &["data", "binaryData"], problems);
}
