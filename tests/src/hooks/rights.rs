//! Each of the rights in `knative/hooks` is used, by requests that the function and the sweep make with them: what a Role
//! grants beyond that would be granted for nothing.

use std::{collections::BTreeSet, fs, process::Command, sync::Arc};

use anyhow::{Context, Result, ensure};
use control_plane::{Account, Cluster, until};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::scene::{PATIENCE, Scene, rule, rule_with_payload};
use crate::{
    case::Case,
    cases,
    faults::{Action, Faults, Rule, Seen},
    function::{executable, repository},
    support::objects::name,
};

pub(super) fn cases() -> Vec<Case> {
    cases![
        the_function_makes_exactly_the_requests_that_its_role_grants,
        the_sweep_makes_exactly_the_requests_that_its_role_grants,
    ]
}

/// The age at which what was left is taken over, and the time for one event, which is less.
const TIMES: [&str; 2] = ["--hook-takeover=6s", "--api-deadline=5s"];

/// A payload that its run does not get: the run is taken back, and the event ends `Failed`.
fn refused() -> Rule {
    let action = Action::Answer(StatusCode::UNPROCESSABLE_ENTITY, None);
    Rule::of("/secrets", action).method(Method::POST).times(1)
}

async fn the_function_makes_exactly_the_requests_that_its_role_grants(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    let faults = Faults::start(&cluster).await?;
    let mut setup = scene.setup().through(&faults);
    for argument in TIMES {
        setup = setup.arg(argument);
    }
    let function = setup.start().await?;

    // Stored, started, told of in the status; sent again, and counted.
    let rules = json!([rule_with_payload("all")]);
    let sender = scene.github("hook", rules, json!({})).await?;
    for duplicate in [false, true] {
        let told = sender.push(&function, "1").await?;
        ensure!(
            told["outcome"] == "Created" && told["duplicate"] == duplicate,
            "{told:#}"
        );
    }
    // Decided anew.
    let mut never = rule("never");
    never["filter"] = "false".into();
    let filtered = scene.github("never", json!([never]), json!({})).await?;
    for _ in 0..2 {
        let told = filtered.push(&function, "1").await?;
        ensure!(told["outcome"] == "Filtered", "{told:#}");
    }
    // Taken back.
    faults.add(refused());
    let told = sender.push(&function, "2").await?;
    ensure!(told["outcome"] == "Failed", "{told:#}");
    // Left by an interruption, and then something is in the way.
    let action = Action::Answer(StatusCode::INTERNAL_SERVER_ERROR, Some(60));
    faults.add(Rule::of("/secrets", action).method(Method::POST));
    let told = sender.push(&function, "3").await?;
    ensure!(told["outcome"] == "Received", "{told:#}");
    faults.heal();
    in_the_way(&scene, &told).await?;
    until("a redelivery finishes it", PATIENCE, async || {
        Ok(sender.push(&function, "3").await?["outcome"] == "Created")
    })
    .await?;
    uses_all(&faults, "knative/hooks/hook-role.yaml")
}

async fn the_sweep_makes_exactly_the_requests_that_its_role_grants(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let scene = Scene::new(&cluster).await?;
    let faults = Faults::start(&cluster).await?;
    let account = cluster.account("hookrun-sweep").await?;
    let role = "knative/hooks/sweep-role.yaml";
    let manifest = repository().join(role);
    cluster.grant(&manifest, &scene.namespace, &account).await?;
    let function = scene.function().await?;

    // Nothing is started at once, and the last event of those that were is enough.
    let mut nothing = rule("nothing");
    nothing["events"] = json!(["never"]);
    nothing["pipelineRun"] = Value::Null;
    nothing["pipelineRef"] = json!({"name": "nothing"});
    let rules = json!([rule_with_payload("all"), nothing]);
    let bounds = json!({"quota": {"perMinute": 0}, "retention": {"count": 1, "minHours": 0}});
    let sender = scene.github("hook", rules, bounds).await?;

    let taken_back = sender.push(&function, "1").await?;
    faults.add(refused());
    finish(&scene, &faults, &account, &taken_back, "Failed").await?;
    // Something is in the way of the next one.
    let told = sender.push(&function, "2").await?;
    in_the_way(&scene, &told).await?;
    finish(&scene, &faults, &account, &told, "Created").await?;
    // The first one is past its retention, and that there is no such Pipeline is told of.
    until("only one is left", PATIENCE, async || {
        sweep(&scene, &faults, &account)?;
        Ok(scene.deliveries("hook").await?.len() == 1)
    })
    .await?;
    uses_all(&faults, role)
}

/// Sweeps until a Delivery has an outcome.
async fn finish(
    scene: &Scene,
    faults: &Faults,
    account: &Account,
    told: &Value,
    outcome: &str,
) -> Result<()> {
    let delivery = told["delivery"].as_str().context("a Delivery")?;
    until("a sweep finishes it", PATIENCE, async || {
        sweep(scene, faults, account)?;
        let delivery = scene.objects.get("Delivery", delivery).await?;
        ensure!(
            ["Received", outcome].contains(&delivery["outcome"].as_str().unwrap_or_default()),
            "{delivery:#}"
        );
        Ok(delivery["outcome"] == outcome)
    })
    .await
}

/// The command, as the CronJob calls it.
fn sweep(scene: &Scene, faults: &Faults, account: &Account) -> Result<()> {
    let kubeconfig = scene.cluster.kubeconfig(&faults.url(), &account.token)?;
    let output = Command::new(executable())
        .env_clear()
        .env("HOOKRUN_NAMESPACES", &scene.namespace)
        .env("KUBECONFIG", kubeconfig)
        .args(["sweep", "--deliveries"])
        .args(TIMES)
        .output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{errors}");
    Ok(())
}

/// A Secret of somebody else with the name of the one that the run of an event is to own.
async fn in_the_way(scene: &Scene, told: &Value) -> Result<()> {
    let delivery = told["delivery"].as_str().context("a Delivery")?;
    let delivery = scene.objects.get("Delivery", delivery).await?;
    let secret = &delivery["rules"][0]["payload"]["secretName"];
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret}});
    scene.objects.create(&secret).await.map(drop)
}

/// Fails unless the requests are those that a Role grants, no more and no fewer, and none was forbidden.
pub(crate) fn uses_all(faults: &Faults, role: &str) -> Result<()> {
    let seen = faults.seen();
    for request in &seen {
        ensure!(request.status != Some(StatusCode::FORBIDDEN), "{request}");
    }
    let used: BTreeSet<String> = seen
        .iter()
        .filter(|request| request.status.is_some())
        .filter_map(right)
        .collect();
    let granted = granted(role)?;
    ensure!(
        used == granted,
        "{role}: granted in vain: {:?}, used without being listed: {:?}",
        granted.difference(&used).collect::<Vec<_>>(),
        used.difference(&granted).collect::<Vec<_>>()
    );
    Ok(())
}

/// The right that a request in a namespace needs.
fn right(Seen { method, target, .. }: &Seen) -> Option<String> {
    let path = target.split('?').next()?;
    let (group, rest) = match path.strip_prefix("/api/v1/namespaces/") {
        Some(rest) => ("", rest),
        None => path.strip_prefix("/apis/")?.split_once('/')?,
    };
    let parts: Vec<&str> = rest.split('/').collect();
    let parts = match group {
        "" => parts.get(1..)?,
        // The version, and `namespaces`.
        _ => parts.get(3..)?,
    };
    let resource = match parts {
        [plural, _, part] => format!("{plural}/{part}"),
        [plural, ..] => (*plural).to_owned(),
        [] => return None,
    };
    let verb = match (method.as_str(), parts.len()) {
        ("GET", 1) => "list",
        ("GET", _) => "get",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", _) => "delete",
        _ => return None,
    };
    Some(format!("{resource} {group} {verb}"))
}

/// What a Role grants.
fn granted(role: &str) -> Result<BTreeSet<String>> {
    let role: Value = serde_saphyr::from_str(&fs::read_to_string(repository().join(role))?)?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut rights = BTreeSet::new();
    for rule in list(&role["rules"]) {
        for group in list(&rule["apiGroups"]) {
            for resource in list(&rule["resources"]) {
                for verb in list(&rule["verbs"]) {
                    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                    rights.insert([&resource, &group, &verb].map(text).join(" "));
                }
            }
        }
    }
    ensure!(!rights.is_empty(), "{} grants nothing", name(&role));
    Ok(rights)
}
