//! The question whether somebody may do something. There are no rights here, so the answer is always yes.

use crate::failure::Invalid;
use serde_json::{Value, json};

pub(crate) fn allow(review: &mut Value) {
    let reason = "the embedded API has no authorization";
    review["status"] = json!({"allowed": true, "reason": reason});
}

pub(super) fn validate(review: &Value, _old: Option<&Value>, problems: &mut Vec<Invalid>) {
    let spec = &review["spec"];
    if spec["resourceAttributes"].is_object() == spec["nonResourceAttributes"].is_object() {
        let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        problems.push(Invalid::value("spec.resourceAttributes", "null", why));
    }
    let user = spec["user"].as_str().unwrap_or_default();
    let groups = spec["groups"].as_array().map_or(0, Vec::len);
    if user.is_empty() && groups == 0 {
        let why = "at least one of user or group must be specified";
        problems.push(Invalid::text("spec.user", "", why));
    }
}

/// What is asked about one namespace is never about anything outside of all of them.
pub(super) fn validate_local(review: &Value, old: Option<&Value>, problems: &mut Vec<Invalid>) {
    if review["spec"]["nonResourceAttributes"].is_object() {
        let why = "disallowed on this kind of request";
        problems.push(Invalid::forbidden("spec.nonResourceAttributes", why));
    }
    validate(review, old, problems);
}
