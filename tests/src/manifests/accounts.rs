//! Roles go to the accounts that need them, and to no other.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{
    build::{everything, render},
    objects::pod,
};
use crate::{
    case::{Case, case},
    support::objects::name,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        people(),
        case(
            "manifests::manifests_bind_each_role_to_the_account_that_makes_its_requests",
            async |cluster| {
                let objects = render(&cluster, "knative/minimal")?;
                let running: BTreeSet<_> = objects
                    .iter()
                    .filter_map(|object| pod(object)?["serviceAccountName"].as_str())
                    .map(|account| format!("hookrun/{account}"))
                    .collect();
                let mut bound = BTreeSet::new();
                for (folder, binding) in everything(&cluster)? {
                    if binding["kind"] != "RoleBinding" {
                        continue;
                    }
                    let [subject] = binding["subjects"]
                        .as_array()
                        .context("subjects")?
                        .as_slice()
                    else {
                        anyhow::bail!("{folder}: {binding:#}");
                    };
                    let text = |field: &str| subject[field].as_str().unwrap_or_default();
                    let account = format!("{}/{}", text("namespace"), text("name"));
                    // Either a function's, or the one as which the Hooks of that namespace act.
                    let hooks = binding["metadata"]["namespace"] == subject["namespace"];
                    ensure!(hooks || running.contains(&account), "{folder}: {binding:#}");
                    bound.insert(format!("{} {account}", name(&binding)));
                }
                let expected = [
                    "hookrun team-blue/hookrun",
                    "hookrun-flow hookrun/hookrun-flow",
                    "hookrun-flow-store hookrun/hookrun-flow",
                    "hookrun-flow-store-hook hookrun/hookrun-hook",
                    "hookrun-flow-store-sweep hookrun/hookrun-sweep",
                    "hookrun-flow-sweep hookrun/hookrun-sweep",
                    "hookrun-hook hookrun/hookrun-hook",
                    "hookrun-sweep hookrun/hookrun-sweep",
                ];
                ensure!(bound.iter().eq(expected), "{bound:?}");
                // What a Hook acts as unless it says otherwise.
                let hook: hooks::HookSpec = serde_json::from_value(json!({"provider": "github"}))?;
                ensure!(hook.service_account_name == "hookrun", "{hook:?}");
                Ok(())
            },
        ),
    ]
}

/// What an administrator may give to people, `hookrun-` before it, with the verbs for Hooks, Deliveries and Secrets.
const PEOPLE: [(&str, [&[&str]; 3]); 3] = [
    ("viewer", [&SEE, &SEE, &[]]),
    (
        "replayer",
        [&SEE, &["create", "get", "list", "watch"], &["get", "patch"]],
    ),
    (
        "editor",
        [
            &[
                "create", "delete", "get", "list", "patch", "update", "watch",
            ],
            &SEE,
            &["create", "get", "patch"],
        ],
    ),
];

/// The verbs of those who look and change nothing.
const SEE: [&str; 3] = ["get", "list", "watch"];

fn people() -> Case {
    case(
        "manifests::manifests_give_people_nothing_by_themselves",
        async |cluster| {
            let mut roles = BTreeMap::new();
            for (folder, object) in everything(&cluster)? {
                // A role of the whole cluster would be one of all namespaces.
                ensure!(
                    object["kind"] != "ClusterRoleBinding"
                        && object["roleRef"]["kind"] != "ClusterRole",
                    "{folder}: {object:#}"
                );
                if object["kind"] == "ClusterRole" {
                    // Aggregated, it would be given to everybody who has `view`.
                    let labels = object["metadata"]["labels"].as_object().context("labels")?;
                    ensure!(labels.len() == 1, "{folder}: {labels:?}");
                    roles.insert(name(&object).to_owned(), granted(&object)?);
                }
            }
            let kinds = ["hooks", "deliveries", "secrets"];
            let expected = PEOPLE.map(|(role, verbs)| {
                let rights = kinds.iter().zip(verbs);
                let rights = rights.flat_map(|(kind, verbs)| {
                    verbs.iter().map(move |verb| format!("{verb} {kind}"))
                });
                (format!("hookrun-{role}"), rights.collect::<BTreeSet<_>>())
            });
            ensure!(roles == BTreeMap::from(expected), "{roles:#?}");
            Ok(())
        },
    )
}

/// The rights of a role: verb and kind.
fn granted(role: &Value) -> Result<BTreeSet<String>> {
    let texts = |rule: &Value, field: &str| -> Result<Vec<String>> {
        serde_json::from_value(rule[field].clone()).with_context(|| format!("{rule:#}"))
    };
    let mut rights = BTreeSet::new();
    for rule in role["rules"].as_array().context("rules")? {
        for kind in texts(rule, "resources")? {
            for verb in texts(rule, "verbs")? {
                rights.insert(format!("{verb} {kind}"));
            }
        }
    }
    Ok(rights)
}
