//! Who may do what: a Hook gains nothing that its ServiceAccount may not do, and nobody learns which Hooks there are.

use std::sync::Arc;

use anyhow::{Result, ensure};
use control_plane::{Cluster, until};
use http::Method;
use serde_json::json;

use super::scene::{PATIENCE, SECRET, Scene, Sender, accepted, push, rule};
use crate::{
    case::Case,
    cases,
    function::Function,
    support::{Answer, ask},
};

pub(super) fn cases() -> Vec<Case> {
    cases![
        a_hook_whose_account_may_not_create_runs_fails_and_names_the_right,
        every_refusal_is_the_same_answer,
        a_namespace_that_is_not_allowed_has_no_hooks,
        a_hook_reads_no_secret_of_another_namespace,
    ]
}

async fn a_hook_whose_account_may_not_create_runs_fails_and_names_the_right(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    let function = scene.function().await?;
    cluster.service_account(&scene.namespace, "weak").await?;
    let more = json!({"serviceAccountName": "weak"});
    let sender = scene.github("shop", json!([rule("build")]), more).await?;
    let told = sender.push(&function, "1").await?;
    let reason = told["reason"].as_str().unwrap_or_default();
    ensure!(
        told["outcome"] == "Failed" && reason.contains("\"weak\"") && reason.contains("Role"),
        "{told:#}"
    );
    ensure!(scene.runs("shop").await?.is_empty(), "there is a run");
    scene.allow("weak").await?;
    until(
        "with the right, the same event starts a run",
        PATIENCE,
        async || Ok(sender.push(&function, "1").await?["outcome"] == "Created"),
    )
    .await?;
    let runs = scene.runs("shop").await?.len();
    ensure!(runs == 1, "{runs} runs");
    Ok(())
}

/// All of an answer that a sender could tell apart: status, headers without times and identities of the request, body.
fn seen(answer: &Answer) -> String {
    let mut headers: Vec<String> = answer
        .headers
        .iter()
        .filter(|(name, _)| !["date", "traceparent"].contains(&name.as_str()))
        .map(|(name, value)| format!("{name}: {value:?}"))
        .collect();
    headers.sort();
    format!("{} {headers:?} {}", answer.status, answer.text)
}

async fn every_refusal_is_the_same_answer(cluster: Arc<Cluster>) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    let function = scene.function().await?;
    let sender = scene.shop().await?;
    // A Hook without a Secret, one whose Secret is empty, and one that nobody can be verified for.
    scene.hook("bare", json!({"provider": "github"})).await?;
    scene.secret("empty", "").await?;
    let empty = json!({"provider": "github", "verification": {"secretRefs": [{"name": "empty"}]}});
    scene.hook("empty", empty).await?;
    scene
        .hook("odd", json!({"provider": "no-such-provider"}))
        .await?;
    let body = push("1")?;
    let unknown = at(&scene, "unknown")
        .send(&function, "push", "1", &body)
        .await?;
    ensure!(unknown.status == 401, "{unknown:?}");
    let path = |path: &str| Sender {
        path: path.to_owned(),
        ..sender.clone()
    };
    let others = [
        ("another secret", sender.with("another secret")),
        ("a Hook without a Secret", at(&scene, "bare")),
        ("an empty secret", at(&scene, "empty")),
        ("an unknown provider", at(&scene, "odd")),
        (
            "an unknown namespace",
            path("/hooks/no-such-namespace/shop"),
        ),
        ("a name that cannot be one", path("/hooks/UPPER_case/Shop")),
        ("a token that is not asked for", at(&scene, "unknown/token")),
    ];
    for (what, other) in others {
        let answer = other.send(&function, "push", "1", &body).await?;
        ensure!(
            seen(&answer) == seen(&unknown),
            "{what}: {} differs from {}",
            seen(&answer),
            seen(&unknown)
        );
    }
    let plain = ask(function.anonymous(Method::POST, &sender.path).body("{}")).await?;
    ensure!(seen(&plain) == seen(&unknown), "no signature: {plain:?}");
    ensure!(
        scene.deliveries("shop").await?.is_empty(),
        "something is stored"
    );
    accepted(&sender.send(&function, "push", "1", &body).await?)?;
    crate::aftermath::discreet(&function)
}

fn at(scene: &Scene, hook: &str) -> Sender {
    scene.sender(hook, SECRET)
}

async fn a_namespace_that_is_not_allowed_has_no_hooks(cluster: Arc<Cluster>) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    let sender = scene.shop().await?;
    // It has the rights there, and is told not to use them.
    let elsewhere = Function::hooks(&cluster)
        .account(&scene.account)
        .run_in("elsewhere")
        .start()
        .await?;
    let body = push("1")?;
    let answer = sender.send(&elsewhere, "push", "1", &body).await?;
    let unknown = at(&scene, "unknown")
        .send(&elsewhere, "push", "1", &body)
        .await?;
    ensure!(
        answer.status == 401 && seen(&answer) == seen(&unknown),
        "{answer:?}"
    );
    ensure!(
        scene.deliveries("shop").await?.is_empty(),
        "something is stored"
    );
    let function = scene.function().await?;
    accepted(&sender.send(&function, "push", "1", &body).await?)?;
    Ok(())
}

async fn a_hook_reads_no_secret_of_another_namespace(cluster: Arc<Cluster>) -> Result<()> {
    let (ours, theirs) = (Scene::new(&cluster).await?, Scene::new(&cluster).await?);
    theirs.secret("shared", SECRET).await?;
    let function = ours.function().await?;
    for (hook, reference) in [
        ("same-name", "shared".to_owned()),
        ("path", format!("../{}/shared", theirs.namespace)),
    ] {
        let spec = json!({
            "provider": "github",
            "verification": {"secretRefs": [{"name": reference}]},
            "rules": [rule("build")],
        });
        if ours.hook(hook, spec).await.is_err() {
            continue;
        }
        let answer = at(&ours, hook)
            .send(&function, "push", "1", &push("1")?)
            .await?;
        ensure!(
            answer.status == 401 || answer.status == 503,
            "{hook}: {answer:?}"
        );
        ensure!(
            ours.deliveries(hook).await?.is_empty(),
            "{hook}: something is stored"
        );
    }
    Ok(())
}
