//! Secrets: `stringData` becomes `data`; keys, size and the keys that a type asks for are checked; `immutable` holds.

use super::{check_immutable, check_key};
use crate::{
    failure::Invalid,
    object::{self, entries},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

const LIMIT: usize = 1024 * 1024;

pub(super) fn default(secret: &mut Value) {
    let plain = secret
        .as_object_mut()
        .and_then(|secret| secret.remove("stringData"));
    if let Some(Value::Object(plain)) = plain {
        let data = object::child(secret, "data");
        for (key, text) in plain {
            let text = text.as_str().unwrap_or_default();
            data.insert(key, STANDARD.encode(text).into());
        }
    }
    if secret["type"].as_str().unwrap_or_default().is_empty() {
        secret["type"] = "Opaque".into();
    }
}

pub(super) fn validate(new: &Value, old: Option<&Value>, problems: &mut Vec<Invalid>) {
    let decoded = |value: &Value| STANDARD.decode(value.as_str().unwrap_or_default());
    let mut size = 0;
    for (key, value) in entries(&new["data"]) {
        check_key("data", key, problems);
        size += decoded(value).map_or(0, |bytes| bytes.len());
    }
    if size > LIMIT {
        problems.push(Invalid::too_long("data", LIMIT));
    }
    let kind = new["type"].as_str().unwrap_or_default();
    let has = |key: &str| new["data"].get(key).is_some();
    let required = |key: &str| Invalid::required(format!("data[{key}]"), "");
    match kind {
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
            problems.extend(["username", "password"].map(required));
        }
        "kubernetes.io/ssh-auth" => require(&["ssh-privatekey"], has, problems),
        "kubernetes.io/tls" => require(&["tls.crt", "tls.key"], has, problems),
        "kubernetes.io/dockerconfigjson" => json_at(".dockerconfigjson", new, problems),
        "kubernetes.io/dockercfg" => json_at(".dockercfg", new, problems),
        _ => {}
    }
    if let Some(old) = old
        && old["type"] != new["type"]
    {
        problems.push(Invalid::text("type", kind, "field is immutable"));
    }
    check_immutable(new, old, &["data"], problems);
}

fn require(keys: &[&str], has: impl Fn(&str) -> bool, problems: &mut Vec<Invalid>) {
    let missing = keys.iter().filter(|key| !has(key));
    problems.extend(missing.map(|key| Invalid::required(format!("data[{key}]"), "")));
}

fn json_at(key: &str, secret: &Value, problems: &mut Vec<Invalid>) {
    let field = format!("data[{key}]");
    let Some(value) = secret["data"].get(key) else {
        problems.push(Invalid::required(field, ""));
        return;
    };
    let bytes = STANDARD
        .decode(value.as_str().unwrap_or_default())
        .unwrap_or_default();
    if serde_json::from_slice::<Value>(&bytes).is_err() {
        let why = "it is not JSON";
        problems.push(Invalid::text(field, "<secret contents redacted>", why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn plain_text_becomes_data_and_wins() {
        let mut secret =
            json!({"data": {"a": "eA==", "b": "eQ=="}, "stringData": {"a": "z"}, "metadata": {}});
        default(&mut secret);
        let expected =
            json!({"data": {"a": "eg==", "b": "eQ=="}, "type": "Opaque", "metadata": {}});
        assert_eq!(secret, expected);
    }

    #[test]
    fn keys_size_and_type_are_checked() {
        let big = STANDARD.encode(vec![0; LIMIT + 1]);
        for (secret, expected) in [
            (json!({"data": {"a b": ""}}), "data[a b]: Invalid value"),
            (
                json!({"data": {"..": ""}}),
                "data[..]: Invalid value: \"..\": must not be '..'",
            ),
            (json!({"data": {"a": big}}), "data: Too long"),
            (
                json!({"type": "kubernetes.io/tls", "data": {"tls.crt": ""}}),
                "data[tls.key]: Required value",
            ),
            (
                json!({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "eA=="}}),
                "data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\"",
            ),
        ] {
            let mut problems = vec![];
            validate(&secret, None, &mut problems);
            let [problem] = &problems[..] else {
                panic!("one problem expected: {problems:?}");
            };
            assert!(problem.to_string().starts_with(expected), "{problem}");
        }
    }

    #[test]
    fn an_immutable_secret_keeps_its_data_and_its_mark() {
        let old = json!({"immutable": true, "data": {"a": ""}});
        let mut problems = vec![];
        validate(&json!({"data": {"b": ""}}), Some(&old), &mut problems);
        assert_eq!(problems.len(), 2, "{problems:?}");
        problems.clear();
        validate(&old, Some(&old), &mut problems);
        assert_eq!(problems, []);
    }
}
