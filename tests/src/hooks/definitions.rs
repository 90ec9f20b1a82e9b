//! The definitions of both resources, as the API server and kubectl see them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, bail, ensure};
use control_plane::Cluster;
use http::Request;
use serde_json::{Value, json};

use super::scene::{
    DEFINITIONS, Scene, Sender, accepted, condition, definitions, install, push, rule,
};
use crate::{case::Case, cases, kubectl::Kubectl, support::objects::name};

pub(super) fn cases() -> Vec<Case> {
    cases![
        the_api_server_accepts_the_definitions_without_reserve,
        the_committed_definitions_are_those_of_the_types,
        kubectl_shows_the_columns_and_selects_by_field,
        what_the_schema_forbids_is_refused_with_its_place,
        what_the_function_writes_keeps_all_its_fields,
    ]
}

async fn the_api_server_accepts_the_definitions_without_reserve(
    cluster: Arc<Cluster>,
) -> Result<()> {
    install(&cluster).await?;
    for plural in ["hooks", "deliveries"] {
        let uri = format!("{DEFINITIONS}/{plural}.hookrun.dev");
        let request = Request::get(uri).body(Vec::new())?;
        let found: Value = cluster.admin().request(request).await?;
        for (kind, status) in [("Established", "True"), ("NamesAccepted", "True")] {
            let condition = condition(&found, kind);
            ensure!(condition["status"] == status, "{plural}: {condition}");
        }
        let structural = condition(&found, "NonStructuralSchema");
        ensure!(structural["status"] != "True", "{plural}: {structural}");
    }
    Ok(())
}

async fn the_committed_definitions_are_those_of_the_types(_: Arc<Cluster>) -> Result<()> {
    let committed = definitions()?;
    for definition in hooks::crds() {
        let name = name(&definition);
        let same = |one: &Value| one["spec"] == definition["spec"];
        ensure!(
            committed.iter().any(same),
            "knative/crds holds no {name} like that of the types: `cargo xtask generate` writes it"
        );
    }
    Ok(())
}

/// kubectl in the namespace of a scene, with the rights of an administrator.
fn kubectl(scene: &Scene) -> Result<(Kubectl, tempfile::TempDir)> {
    kubectl_of(scene, &scene.cluster.folder().join("admin.kubeconfig"))
}

/// kubectl in the namespace of a scene, with somebody's rights.
pub(super) fn kubectl_of(scene: &Scene, kubeconfig: &Path) -> Result<(Kubectl, tempfile::TempDir)> {
    let home = tempfile::tempdir()?;
    let kubeconfig = kubeconfig.to_str().context("a strange folder")?;
    let kubectl = Kubectl {
        program: scene.cluster.programs().path("kubectl"),
        connection: vec!["--kubeconfig".to_owned(), kubeconfig.to_owned()],
        home: PathBuf::from(home.path()),
        namespace: scene.namespace.clone(),
    };
    Ok((kubectl, home))
}

async fn kubectl_shows_the_columns_and_selects_by_field(cluster: Arc<Cluster>) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    let function = scene.function().await?;
    let mut filtered = rule("release");
    filtered["filter"] = "event.branch == \"release\"".into();
    let sender = scene.shop().await?;
    let told = sender.push(&function, "1").await?;
    let other = scene
        .github("other", json!([filtered]), json!({}))
        .await?
        .push(&function, "2")
        .await?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (delivery, run) = (text(&told["delivery"]), text(&told["runs"][0]["run"]));
    let other = text(&other["delivery"]);
    let (kubectl, home) = kubectl(&scene)?;
    tokio::task::spawn_blocking(move || {
        let _home = home;
        kubectl.shows(
            &["get", "hooks,deliveries"],
            &[
                &["NAME", "PROVIDER", "READY", "WHY", "LAST", "EVENT", "AGE"],
                &["hook.hookrun.dev/other", "github", "Unknown", "NotChecked"],
                &["hook.hookrun.dev/shop", "github", "Unknown", "NotChecked"],
                &["NAME", "HOOK", "EVENT", "OUTCOME", "RUN", "AGE", "REASON"],
                &[
                    &format!("delivery.hookrun.dev/{other}"),
                    "other",
                    "push",
                    "Filtered",
                ],
                &[
                    &format!("delivery.hookrun.dev/{delivery}"),
                    "shop",
                    "push",
                    "Created",
                    &run,
                ],
            ],
        )?;
        for (field, expected) in [
            ("outcome=Created", &delivery),
            ("outcome=Filtered", &other),
            ("hook.name=shop", &delivery),
            ("hook.name=other,eventType=push", &other),
        ] {
            let arguments = ["get", "deliveries", "--field-selector", field, "-o", "name"];
            let output = kubectl.ok(&arguments, "")?;
            ensure!(
                output.trim() == format!("delivery.hookrun.dev/{expected}"),
                "{field} selects {output:?} and not {expected}"
            );
        }
        for short in ["hk", "dv", "hookrun"] {
            kubectl.ok(&["get", short], "")?;
        }
        let explained = kubectl.ok(&["explain", "hook.spec.rules.filter"], "")?;
        ensure!(explained.contains("CEL expression"), "{explained}");
        Ok(())
    })
    .await?
}

async fn what_the_schema_forbids_is_refused_with_its_place(cluster: Arc<Cluster>) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    let with = |rules: Value| json!({"provider": "github", "rules": rules});
    let long = format!("true{}", " ".repeat(4096));
    let rules = |count: usize| -> Value {
        let named = |at| json!({"name": format!("r{at}"), "pipelineRef": {"name": "p"}});
        (0..count).map(named).collect::<Vec<_>>().into()
    };
    let cases = [
        (
            with(json!([{"name": "a", "pipelineRef": {"name": "p"}, "flow": {"key": "k"}}])),
            "exactly one of pipelineRef, pipelineRun and flow",
        ),
        (
            with(json!([{"name": "a", "pipelineRef": {"name": "p"}, "pipelineRun": {"spec": {}}}])),
            "exactly one of pipelineRef, pipelineRun and flow",
        ),
        (
            with(json!([{"name": "a"}])),
            "exactly one of pipelineRef, pipelineRun and flow",
        ),
        (
            with(json!([{"name": "a", "flow": {"key": "k", "inline": {}}}])),
            "exactly one of key and inline",
        ),
        (
            with(json!([{"name": "a", "flow": {"key": "k"}, "filter": long}])),
            "spec.rules[0].filter",
        ),
        (
            with(
                json!([{"name": "a", "flow": {"key": "k"}, "params": [{"name": "p", "expression": long}]}]),
            ),
            "spec.rules[0].params[0].expression",
        ),
        (
            with(json!([{"name": "a", "flow": {"key": "k"}}, {"name": "a", "flow": {"key": "l"}}])),
            "spec.rules[1]",
        ),
        (with(rules(65)), "spec.rules"),
        (with(rules(5_000)), "spec.rules"),
        (
            json!({"provider": "github", "verification": {"secretRefs": (0..5).map(|at| json!({"name": format!("s{at}")})).collect::<Vec<_>>()}}),
            "spec.verification.secretRefs",
        ),
        (json!({"rules": []}), "spec.provider"),
        (
            json!({"provider": "github", "quota": {"perMinute": -1}}),
            "spec.quota.perMinute",
        ),
    ];
    for (spec, place) in cases {
        match scene.hook("refused", spec.clone()).await {
            Ok(_) => bail!("accepted: {:.300}", spec.to_string()),
            Err(error) => {
                let text = format!("{error:#}");
                ensure!(
                    text.contains(place),
                    "refused without {place:?}: {text:.600}"
                );
            }
        }
    }
    scene.hook("accepted", with(rules(64))).await?;
    Ok(())
}

async fn what_the_function_writes_keeps_all_its_fields(cluster: Arc<Cluster>) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    let function = scene.function().await?;
    let mut strict = rule("build");
    strict["filter"] = "event.branch == \"main\"".into();
    strict["params"] = json!([{"name": "revision", "expression": "event.revision"}]);
    let sender = scene.github("shop", json!([strict]), json!({})).await?;
    let body = push("1")?;
    let sender = Sender {
        path: format!("{}?a=b+c", sender.path),
        ..sender
    };
    accepted(&sender.send(&function, "push", "1", &body).await?)?;
    let written = scene.delivery("shop").await?;
    let known: hooks::Delivery = serde_json::from_value(written.clone())?;
    let mut again = serde_json::to_value(&known)?;
    // The API server has more metadata than the types know.
    again["metadata"] = written["metadata"].clone();
    ensure!(
        again == written,
        "the schema or the types lose something:\n{written:#}\n{again:#}"
    );
    ensure!(written["query"] == "a=b+c", "query: {}", written["query"]);
    let rule = &written["rules"][0];
    for place in [
        "/pipelineRun/spec/managedBy",
        "/pipelineRun/spec/params/0/value",
        "/values/event.branch",
    ] {
        ensure!(rule.pointer(place).is_some(), "no {place} in {rule:#}");
    }
    ensure!(
        written.pointer("/event/repository/fullName").is_some(),
        "event: {}",
        written["event"]
    );
    Ok(())
}
