//! Captured requests and saved Deliveries, tried without a cluster.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use control_plane::Cluster;
use serde_json::{Value, json};

use super::{Desk, hookrun};
use crate::{case::Case, cases, function::repository};

pub(super) fn cases() -> Vec<Case> {
    cases![
        captured_requests_are_tested_without_a_cluster,
        a_saved_delivery_is_explained_with_the_payload_of_a_file,
    ]
}

async fn captured_requests_are_tested_without_a_cluster(_: Arc<Cluster>) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let run = |arguments: &[&str]| hookrun(folder.path(), arguments).output();
    let hook = run(&[
        "hooks",
        "new",
        "github",
        "--events",
        "push",
        "--filter",
        "event.changed('services/api/**')",
        "--param",
        "revision=event.revision",
    ])?;
    std::fs::write(folder.path().join("hook.yaml"), &hook.stdout)?;
    let case =
        |name: &str, value: Value| std::fs::write(folder.path().join(name), value.to_string());
    let sample = repository().join("shared/providers/tests/payloads/github/push.json");
    let sample = std::fs::read_to_string(sample)?;
    std::fs::write(folder.path().join("api.json"), &sample)?;
    std::fs::write(
        folder.path().join("docs.json"),
        sample.replace("services/api", "docs"),
    )?;
    let sample: Value = serde_json::from_str(&sample)?;
    let event = json!({"X-GitHub-Event": "push", "X-GitHub-Delivery": "1"});
    case(
        "api.yaml",
        json!({
            "request": {"headers": event, "bodyFile": "api.json"},
            "sign": true,
            "expect": {"outcome": "Created", "rules": [{"name": "build", "outcome": "Created", "params": {"revision": sample["after"]}}]},
        }),
    )?;
    case(
        "docs.yaml",
        json!({
            "request": {"headers": event, "bodyFile": "docs.json"},
            "sign": true,
            "expect": {"outcome": "Filtered", "rules": [{"name": "build", "outcome": "Filtered", "reason": "filter"}]},
        }),
    )?;
    case(
        "forged.yaml",
        json!({
            "request": {
                "headers": {"X-GitHub-Event": "push", "X-Hub-Signature-256": format!("sha256={}", "0".repeat(64))},
                "bodyFile": "api.json",
            },
            "expect": {"outcome": "Refused", "reason": "mismatch"},
        }),
    )?;
    let path = folder.path().to_str().context("a path")?;
    let passed = run(&["hooks", "test", path])?;
    let text = String::from_utf8(passed.stdout)?;
    ensure!(
        passed.status.code() == Some(0) && text.contains("3 passed, 0 failed"),
        "{text}"
    );

    case(
        "wrong.yaml",
        json!({
            "request": {"headers": event, "bodyFile": "docs.json"},
            "sign": true,
            "expect": {"outcome": "Created"},
        }),
    )?;
    let failed = run(&["hooks", "test", path])?;
    let text = String::from_utf8(failed.stdout)?;
    ensure!(
        failed.status.code() == Some(1) && text.contains("wrong ... FAILED"),
        "{text}"
    );
    ensure!(
        text.contains("the outcome is Filtered, expected Created"),
        "{text}"
    );

    case("wrong.yaml", json!({"request": {}, "expected": {}}))?;
    let unread = run(&["hooks", "test", path])?;
    let errors = String::from_utf8(unread.stderr)?;
    ensure!(
        unread.status.code() == Some(2) && errors.contains("wrong.yaml"),
        "{errors}"
    );
    Ok(())
}

async fn a_saved_delivery_is_explained_with_the_payload_of_a_file(_: Arc<Cluster>) -> Result<()> {
    let desk = Desk::new().await?;
    desk.hook("main")?;
    let name = desk.send(&[])?;
    let path = |name: &str| desk.folder.path().join(name).display().to_string();
    let (saved, payload, other) = (path("saved.yaml"), path("payload.json"), path("other.json"));
    let mut delivery = desk.json(&["deliveries", "show", &name])?;
    // As one whose payload is too large for it.
    let stored = delivery["payload"].as_object_mut().context("a payload")?;
    stored.remove("gzip");
    stored.insert("secretName".to_owned(), "elsewhere".into());
    std::fs::write(&saved, delivery.to_string())?;
    std::fs::write(
        &payload,
        desk.ok(&["deliveries", "show", &name, "--payload"])?,
    )?;
    std::fs::write(&other, "{}")?;
    let explain = ["hooks", "explain", "github", &saved];
    for (more, code, part) in [
        (&[][..], 2, "or give --payload"),
        (&["--payload", &other], 2, "is not the payload of Delivery"),
        (&["--payload", &payload], 0, ""),
    ] {
        let output = desk.run(&[&explain[..], more].concat())?;
        let errors = String::from_utf8(output.stderr)?;
        ensure!(
            output.status.code() == Some(code) && errors.contains(part),
            "{more:?}: {errors}"
        );
    }
    Ok(())
}
