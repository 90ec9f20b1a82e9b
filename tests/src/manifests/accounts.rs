//! Roles go to the accounts that need them, and to no other.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use serde_json::json;

use super::{
    build::{everything, render},
    objects::pod,
};
use crate::{
    case::{Case, case},
    support::objects::name,
};

pub(super) fn cases() -> Vec<Case> {
    vec![case(
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
    )]
}
