//! What the functions may do in the cluster: exactly what the files of `tests/rbac` list, and nothing that they do not need.
//! That the hook function and the sweep need all of theirs is shown in `hooks/rights.rs`; who else may do something at all
//! is seen to in `manifests.rs`.
//!
//! All other cases run with the same Role, so that a missing right fails them.

use std::{collections::BTreeSet, fs, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use control_plane::{Account, Cluster, until};
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{Method, Request};
use serde_json::{Value, json};

use crate::{
    case::{Case, case},
    faults::{Action, Faults, Rule},
    function::{Function, repository},
    support::{Scene, ask, objects::Objects},
};

const ROLE: &str = "knative/namespace/role.yaml";

/// Every Role of the manifests, and the list of the rights that it gives.
const ROLES: [(&str, &str); 6] = [
    (ROLE, "tests/rbac/hookrun-flow.txt"),
    (
        "knative/hooks/hook-role.yaml",
        "tests/rbac/hookrun-hook.txt",
    ),
    (
        "knative/hooks/sweep-role.yaml",
        "tests/rbac/hookrun-sweep.txt",
    ),
    (
        "knative/namespace/sweep-role.yaml",
        "tests/rbac/hookrun-flow-sweep.txt",
    ),
    ("knative/hooks/account-role.yaml", "tests/rbac/hookrun.txt"),
    (
        "knative/flows/role.yaml",
        "tests/rbac/hookrun-flow-store.txt",
    ),
];

/// The cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    vec![
        case(
            "rbac::rights_of_every_role_are_the_committed_ones",
            async |cluster| {
                for (role, list) in ROLES {
                    check_rights(&cluster, role, list).await.context(role)?;
                }
                Ok(())
            },
        ),
        case(
            "rbac::rights_of_the_flow_function_are_all_needed",
            async |cluster| {
                let all = grants()?;
                tour(&cluster, &all).await.context("with all rights")?;
                let tours = all.iter().map(|right| {
                    let rest = all
                        .iter()
                        .filter(|other| *other != right)
                        .cloned()
                        .collect::<Vec<_>>();
                    let cluster = &cluster;
                    async move {
                        match tour(cluster, &rest).await {
                            Ok(()) => bail!("nothing needs the right to {right:?}"),
                            Err(error) => ensure!(
                                ["is forbidden: User", r#""fault":"forbidden""#]
                                    .iter()
                                    .any(|told| format!("{error:#}").contains(told)),
                                "without {right:?} something else went wrong: {error:#}"
                            ),
                        }
                        Ok(())
                    }
                });
                stream::iter(tours)
                    .buffer_unordered(4)
                    .try_collect::<()>()
                    .await
            },
        )
        .within(Duration::from_secs(300)),
    ]
}

/// Whether an account with a Role may do what the list says: nothing else, and nothing in its own namespace.
async fn check_rights(cluster: &Cluster, role: &str, list: &str) -> Result<()> {
    let namespace = cluster.namespace("rights").await?;
    let account = cluster.account("hookrun-flow").await?;
    // What every account may do, everywhere.
    let common = rules(cluster, &namespace, &account).await?;
    cluster
        .grant(&repository().join(role), &namespace, &account)
        .await?;
    let expected: BTreeSet<String> = fs::read_to_string(repository().join(list))?
        .lines()
        .map(str::to_owned)
        .collect();
    let mut found = BTreeSet::new();
    until(
        "the rights are known",
        Duration::from_secs(30),
        async || {
            found = &rules(cluster, &namespace, &account).await? - &common;
            Ok(!found.is_empty())
        },
    )
    .await?;
    ensure!(
        found == expected,
        "{list}: {:#?}",
        found.symmetric_difference(&expected).collect::<Vec<_>>()
    );
    // And none in its own namespace, where its password lies.
    let own = rules(cluster, &account.namespace, &account).await?;
    ensure!(own == common, "{own:#?}");
    Ok(())
}

/// A right: API group, resource, verb.
type Right = (String, String, String);

/// The rights of the Role.
fn grants() -> Result<Vec<Right>> {
    let role: Value = serde_saphyr::from_str(&fs::read_to_string(repository().join(ROLE))?)?;
    let texts = |value: &Value| -> Vec<String> {
        let list = value.as_array().cloned().unwrap_or_default();
        list.iter()
            .filter_map(|text| text.as_str().map(str::to_owned))
            .collect()
    };
    let mut rights = Vec::new();
    for rule in role["rules"].as_array().context("rules")? {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for verb in texts(&rule["verbs"]) {
                    rights.push((group.clone(), resource.clone(), verb));
                }
            }
        }
    }
    Ok(rights)
}

/// What the API server says that the account may do in the namespace, one line per resource and verb.
async fn rules(cluster: &Cluster, namespace: &str, account: &Account) -> Result<BTreeSet<String>> {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    });
    let request = Request::post("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews")
        .header("content-type", "application/json")
        .body(review.to_string().into_bytes())?;
    let answer: Value = cluster
        .client(&account.token)
        .await?
        .request(request)
        .await?;
    ensure!(answer["status"]["incomplete"] == false, "{answer:#}");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut rights = BTreeSet::new();
    for rule in list(&answer["status"]["resourceRules"]) {
        for group in list(&rule["apiGroups"]) {
            for resource in list(&rule["resources"]) {
                for verb in list(&rule["verbs"]) {
                    let [group, resource, verb] =
                        [&group, &resource, &verb].map(|text| text.as_str().unwrap_or_default());
                    let dot = if group.is_empty() { "" } else { "." };
                    rights.insert(format!("{resource}{dot}{group} {verb}"));
                }
            }
        }
    }
    Ok(rights)
}

/// All that the function ever does in a cluster, with these rights. Every answer must be a success.
async fn tour(cluster: &Cluster, rights: &[Right]) -> Result<()> {
    let namespace = cluster.namespace("tour").await?;
    let account = cluster.account("hookrun-flow").await?;
    let rules: Vec<Value> = rights
        .iter()
        .map(|(group, resource, verb)| json!({"apiGroups": [group], "resources": [resource], "verbs": [verb]}))
        .collect();
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "tour"}, "rules": rules});
    let manifest = cluster.folder().join(format!("{namespace}.yaml"));
    fs::write(&manifest, serde_saphyr::to_string(&role)?)?;
    cluster.grant(&manifest, &namespace, &account).await?;

    let faults = Faults::start(cluster).await?;
    let function = Function::on(cluster)
        .run_in(&namespace)
        .account(&account)
        .through(&faults)
        .start()
        .await?;
    let objects = Objects::of(cluster.admin(), &namespace);
    let scene = Scene {
        namespace,
        objects,
        function,
    };
    let flow = |token: &str| scene.secret_flow("scan", token);

    // Objects that the Artisan runner left are taken over; a new flow, a repeat, a run by name.
    leave_behind(&scene.objects).await?;
    scene.post_as("1", &flow("one")).await?.run()?;
    scene.post_as("1", &flow("one")).await?.run()?;
    scene
        .post_as("2", &scene.secret_flow("new", "one"))
        .await?
        .run()?;
    ask(scene.function.post(&scene.name("scan"))).await?.run()?;
    // A run that is refused what it owns is taken back, and tried anew when the event comes again.
    let refused = Action::Answer(http::StatusCode::UNPROCESSABLE_ENTITY, None);
    let of_run = |action| Rule::of("/secrets", action).method(Method::POST).skip(2);
    faults.add(of_run(refused).times(1));
    scene.post_as("3", &flow("two")).await?.refused(422, "")?;
    faults.heal();
    scene.post_as("3", &flow("three")).await?.run()?;
    // A copy that belongs to nobody is in the way.
    let failure = Action::Answer(http::StatusCode::INTERNAL_SERVER_ERROR, Some(60));
    faults.add(of_run(failure));
    scene.post_as("4", &flow("four")).await?.refused(503, "")?;
    faults.heal();
    let pending = pending(&scene.objects).await?;
    scene
        .objects
        .create(&secret(&format!("{pending}-creds-secret")))
        .await?;
    scene.post_as("4", &flow("four")).await?.run()?;
    // All of that is on record; whoever may not write it down says so in the log.
    for delivery in scene.objects.all("Delivery").await? {
        ensure!(delivery["outcome"] == "Created", "{}", scene.function.log());
    }
    Ok(())
}

async fn pending(objects: &Objects) -> Result<String> {
    let runs = objects.all("PipelineRun").await?;
    let run = runs
        .iter()
        .find(|run| run["spec"]["status"] == "PipelineRunPending")
        .context("a pending run")?;
    Ok(crate::support::objects::name(run).to_owned())
}

fn secret(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"OLD": "old"}})
}

async fn leave_behind(objects: &Objects) -> Result<()> {
    let tekton = |kind: &str, name: &str, spec: Value| json!({"apiVersion": "tekton.dev/v1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    for object in [
        // With fields that the flow does not have, so that there is something to remove.
        tekton(
            "Task",
            "scan-build-task",
            json!({"params": [{"name": "a"}], "steps": [{"name": "old", "image": "old"}]}),
        ),
        tekton(
            "Pipeline",
            "scan-pl",
            json!({"tasks": [{"name": "old", "taskRef": {"name": "old"}}], "finally": [{"name": "last", "taskRef": {"name": "old"}}]}),
        ),
        secret("scan-creds-secret"),
    ] {
        objects.apply_as("artisan-runner", &object).await?;
    }
    Ok(())
}
