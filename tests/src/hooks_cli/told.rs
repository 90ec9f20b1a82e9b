//! What the commands say: of one Hook, and when something is in the way.

use std::{process::Command, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use control_plane::{Cluster, until};
use serde_json::json;

use super::{Desk, hookrun};
use crate::{case::Case, cases};

pub(super) fn cases() -> Vec<Case> {
    cases![
        a_hook_is_shown_in_full,
        what_is_in_the_way_is_said_in_a_sentence,
    ]
}

async fn a_hook_is_shown_in_full(_: Arc<Cluster>) -> Result<()> {
    let desk = Desk::new().await?;
    desk.hook("main")?;
    let url = desk.dev.url("/hooks/default/github");
    let mut shown = String::new();
    until(
        "somebody has looked at it",
        Duration::from_secs(30),
        async || {
            shown = desk.ok(&["hooks", "show", "github"])?;
            Ok(shown.contains(&url))
        },
    )
    .await
    .with_context(|| shown.clone())?;
    for part in [
        "Hook          default/github",
        "Filter      event.branch == 'main'",
        "Parameter   revision = event.revision",
    ] {
        ensure!(shown.contains(part), "{part} is not in\n{shown}");
    }
    let object = desk.json(&["hooks", "show", "default/github"])?;
    ensure!(
        object["kind"] == "Hook" && object["spec"]["provider"] == json!("github"),
        "{object}"
    );
    Ok(())
}

async fn what_is_in_the_way_is_said_in_a_sentence(cluster: Arc<Cluster>) -> Result<()> {
    let home = tempfile::tempdir()?;
    let errors = |command: &mut Command| -> Result<String> {
        let output = command.output()?;
        ensure!(!output.status.success(), "{output:?}");
        Ok(String::from_utf8(output.stderr)?)
    };
    // Nobody listens there.
    let nobody = "http://127.0.0.1:1";
    let told = errors(hookrun(home.path(), &["hooks", "list"]).env("HOOKRUN_SERVER", nobody))?;
    ensure!(
        told.contains("cannot reach the Kubernetes API at http://127.0.0.1:1 (")
            && told.contains("is `hookrun dev` running?"),
        "{told}"
    );
    let told = errors(&mut hookrun(home.path(), &["hooks", "list"]))?;
    ensure!(
        told.starts_with("error: no cluster is configured: name one with --kubeconfig")
            && told.lines().count() == 1,
        "{told}"
    );
    // What was typed goes before it: the real API server, where this account may do nothing.
    let account = cluster.account("nobody").await?;
    let kubeconfig = cluster.kubeconfig(cluster.url(), &account.token)?;
    let kubeconfig = kubeconfig.display().to_string();
    let list = ["deliveries", "list", "--kubeconfig", &kubeconfig];
    let told = errors(hookrun(home.path(), &list).env("HOOKRUN_SERVER", nobody))?;
    ensure!(
        told.contains("cannot list resource \"deliveries\"") && told.contains("`knative/people`"),
        "{told}"
    );
    ensure!(
        !told.contains("Status {") && told.lines().count() == 1,
        "{told}"
    );
    Ok(())
}
