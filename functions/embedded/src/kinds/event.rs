//! Events: they lie in the namespace of what they tell about.

use crate::{failure::Invalid, object};
use serde_json::Value;

pub(super) fn validate(new: &Value, _old: Option<&Value>, problems: &mut Vec<Invalid>) {
    let involved = new["involvedObject"]["namespace"]
        .as_str()
        .unwrap_or_default();
    let own = object::meta(new, "namespace");
    let cluster_scoped = involved.is_empty() && own == "default";
    if involved != own && !cluster_scoped {
        let why = "does not match event.namespace";
        problems.push(Invalid::text("involvedObject.namespace", involved, why));
    }
}
