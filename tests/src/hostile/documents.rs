//! Bodies and paths that are wrong.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use control_plane::Cluster;
use http::Method;
use serde_json::json;

use super::{MIB, Target, credentials, exchange, status};
use crate::{
    case::Case,
    cases,
    samples::{CANARY, Folder, plain},
};

pub(super) fn cases() -> Vec<Case> {
    cases![
        every_bad_document_is_refused_with_its_reason_and_memory_stays_flat,
        every_bad_stored_document_is_refused_with_its_reason,
        every_bad_cloud_event_is_refused_and_never_repeated_by_a_broker,
        paths_with_tricks_lead_nowhere,
    ]
}

/// Documents that no one should accept, each with a name and a part of the reason.
fn documents(namespace: &str) -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let good = plain("bad", namespace);
    let text = good.to_string();
    let edited = |edit: fn(&mut serde_json::Value)| {
        let mut flow = good.clone();
        edit(&mut flow);
        flow.to_string().into_bytes()
    };
    let depth = 10_000;
    vec![
        ("empty", vec![], ""),
        (
            "not UTF-8",
            [b"{\"name\": \"".as_slice(), &[0xff, 0xfe, 0x80], b"\"}"].concat(),
            "",
        ),
        (
            "cut off",
            text.as_bytes()[..text.len() / 2].to_vec(),
            "line",
        ),
        (
            "something behind it",
            format!("{text} {text}").into_bytes(),
            "line",
        ),
        ("YAML", b"name: x\nsteps: []\n".to_vec(), "YAML"),
        ("half a surrogate", br#"{"name": "\ud800"}"#.to_vec(), ""),
        (
            "10,000 arrays deep",
            [vec![b'['; depth], vec![b']'; depth]].concat(),
            "",
        ),
        (
            "10,000 objects deep",
            [r#"{"a":"#.repeat(depth), "1".to_owned(), "}".repeat(depth)]
                .concat()
                .into_bytes(),
            "",
        ),
        (
            "10,000 deep in an unknown field",
            format!(
                r#"{{"x": {}{}, "name": "a"}}"#,
                "[".repeat(depth),
                "]".repeat(depth)
            )
            .into_bytes(),
            "",
        ),
        ("a list", b"[]".to_vec(), ""),
        ("null", b"null".to_vec(), ""),
        ("a text", format!("\"{CANARY}\"").into_bytes(), ""),
        (
            "steps of a wrong type",
            edited(|flow| flow["steps"] = json!({"a": 1})),
            "steps",
        ),
        (
            "a name that is a number",
            edited(|flow| flow["name"] = json!(7)),
            "name",
        ),
        (
            "no steps",
            edited(|flow| flow["steps"] = json!([])),
            "steps",
        ),
        (
            "a step that is null",
            edited(|flow| flow["steps"] = json!([null])),
            "steps[0]",
        ),
        (
            "a variable that is null",
            edited(|flow| flow["steps"][0]["input"]["var"] = json!([null])),
            "var[0]",
        ),
        (
            "a value of a wrong type",
            edited(|flow| flow["steps"][0]["input"]["var"][0]["value"] = json!({"a": CANARY})),
            "value",
        ),
        (
            "a key twice",
            text.replacen("{", r#"{"name": "other", "#, 1).into_bytes(),
            "name",
        ),
        (
            "a key twice in other case",
            text.replacen("{", r#"{"NAME": "other", "#, 1).into_bytes(),
            "name",
        ),
        (
            "a number beyond all bounds",
            format!(r#"{{"x": 1e999999, "steps": [{}]}}"#, "9".repeat(5000)).into_bytes(),
            "",
        ),
        (
            "control characters",
            edited(|flow| flow["steps"][0]["name"] = json!("a\u{0}\n\u{1b}[2Jb")),
            "name",
        ),
    ]
}

async fn every_bad_document_is_refused_with_its_reason_and_memory_stays_flat(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let target = Target::start(&cluster).await?;
    let documents = documents(&target.namespace);
    let mut before = 0;
    for round in 0..12 {
        for (name, document, reason) in &documents {
            let answer = target
                .function
                .post("/flow")
                .body(document.clone())
                .send()
                .await?;
            let status = answer.status().as_u16();
            let text = answer.text().await?;
            ensure!(matches!(status, 400 | 422), "{name}: {status} {text}");
            ensure!(
                !text.trim().is_empty() && text.contains(reason),
                "{name}: no {reason:?} in {text:?}"
            );
            ensure!(
                text.len() < 16 << 10,
                "{name}: {} bytes of answer",
                text.len()
            );
            ensure!(
                !text.contains('\u{1b}') && !text.contains('\u{0}'),
                "{name}: control characters in {text:?}"
            );
        }
        // The first rounds fill what is kept for reuse.
        if round == 1 {
            before = target.memory()?;
        }
    }
    target.is_flat(before, 4 * MIB)?;
    target.is_well("after").await?;
    target.nothing_else_ran(&cluster, &["warm", "after"]).await
}

async fn every_bad_stored_document_is_refused_with_its_reason(cluster: Arc<Cluster>) -> Result<()> {
    let flows = Folder::new()?;
    let target = Target::with(&cluster, |setup| {
        setup.env("HOOKRUN_FLOW_STORE", &flows.url())
    })
    .await?;
    for (name, document, reason) in documents(&target.namespace) {
        flows.put_bytes("bad", &document)?;
        let path = format!("/flow/key/bad/ns/{}", target.namespace);
        for (method, path) in [
            (Method::POST, path.as_str()),
            (Method::GET, "/flow/key/bad"),
        ] {
            let answer = target.function.request(method.clone(), path).send().await?;
            let status = answer.status().as_u16();
            let text = answer.text().await?;
            // What is only shown may be incomplete, but never a failure of ours.
            let expected = if method == Method::GET {
                200..500
            } else {
                400..500
            };
            ensure!(
                expected.contains(&status) || matches!(status, 502),
                "{name}: {method} {path}: {status} {text}"
            );
            ensure!(
                method == Method::GET || text.contains(reason),
                "{name}: no {reason:?} in {text:?}"
            );
        }
    }
    target.is_well("after").await?;
    target.nothing_else_ran(&cluster, &["warm", "after"]).await
}

async fn every_bad_cloud_event_is_refused_and_never_repeated_by_a_broker(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let target = Target::with(&cluster, |setup| setup.env("HOOKRUN_CLUSTER_LOCAL", "true")).await?;
    let structured = "application/cloudevents+json";
    let batch = "application/cloudevents-batch+json";
    let deep = format!(
        r#"{{"specversion":"1.0","id":"1","source":"s","type":"t","data":{}{}}}"#,
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    let bodies = [
        (structured, "".to_owned()),
        (structured, "{".to_owned()),
        (structured, "[]".to_owned()),
        (
            structured,
            r#"{"specversion":"9.9","id":"1","source":"s","type":"t"}"#.to_owned(),
        ),
        (
            structured,
            r#"{"specversion":"1.0","source":"s","type":"t"}"#.to_owned(),
        ),
        (
            structured,
            r#"{"specversion":"1.0","id":"","source":"s","type":"t"}"#.to_owned(),
        ),
        (
            structured,
            r#"{"specversion":"1.0","id":{},"source":[],"type":1}"#.to_owned(),
        ),
        (
            structured,
            r#"{"specversion":"1.0","id":"1","source":"s","type":"t","data_base64":"%%"}"#
                .to_owned(),
        ),
        (structured, deep.clone()),
        (batch, format!("[{deep}]")),
        (batch, "{}".to_owned()),
        (batch, format!("[{}]", vec!["null"; 50].join(","))),
        (batch, format!("[{}]", vec!["{}"; 100_000].join(","))),
    ];
    for (content_type, body) in bodies {
        let request = target
            .function
            .anonymous(Method::POST, "/flow")
            .header("content-type", content_type);
        let answer = request.body(body.clone()).send().await?;
        let status = answer.status().as_u16();
        let told = &body[..body.len().min(80)];
        ensure!(
            (400..500).contains(&status) && ![404, 408, 409, 429].contains(&status),
            "{content_type} {told}: {status}, which a Broker would repeat or take for success"
        );
    }
    target.is_well("after").await?;
    target.nothing_else_ran(&cluster, &["warm", "after"]).await
}

async fn paths_with_tricks_lead_nowhere(cluster: Arc<Cluster>) -> Result<()> {
    let target = Target::start(&cluster).await?;
    let namespace = &target.namespace;
    let name = |name: &str| format!("/flow/name/{name}/ns/{namespace}");
    let paths = [
        "//flow".to_owned(),
        "/./flow".to_owned(),
        "/flow/../flow".to_owned(),
        "/flow/".to_owned(),
        "/flow//".to_owned(),
        "/%66low".to_owned(),
        "/flow%2f".to_owned(),
        "/flow%00".to_owned(),
        "/flow;x=1".to_owned(),
        name("%2e%2e"),
        name("%2e%2e%2f%2e%2e%2fsecrets"),
        name("a%2fb"),
        name("a%252fb"),
        name("%"),
        name("%zz"),
        name("%00"),
        name("%ff%fe"),
        name("a%0d%0ax-injected:%201"),
        name("a%3fdryRun=All"),
        name("a%23b"),
        name(""),
        name(&"a".repeat(8000)),
        format!("/flow/name/honest/ns/{namespace}%2f..%2fdefault"),
        "/flow/name/honest/ns/kube-system".to_owned(),
        "/flow/name/honest/ns/..".to_owned(),
        "/flow/name/honest/ns/%2e%2e".to_owned(),
        "/flow/key/%2e%2e%2f%2e%2e%2fetc%2fpasswd/ns/x".to_owned(),
        "http://elsewhere/flow".to_owned(),
        "*".to_owned(),
        "/\u{e4}".to_owned(),
    ];
    for path in paths {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: test\r\n{}Content-Length: 0\r\nConnection: close\r\n\r\n",
            credentials()
        );
        let answer = exchange(target.address(), request.as_bytes()).await?;
        let status = status(&answer).with_context(|| format!("{path}: no answer: {answer:?}"))?;
        ensure!((400..500).contains(&status), "{path}: {answer}");
        ensure!(!answer.contains("x-injected"), "{path}: {answer}");
    }
    target.is_well("after").await?;
    target.nothing_else_ran(&cluster, &["warm", "after"]).await
}
