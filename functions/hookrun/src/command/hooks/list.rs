//! `hookrun hooks list`: which Hooks there are, and how they are doing.

use std::process::ExitCode;

use deliveries::resource::HOOKS;
use hooks::Hook;
use jiff::Timestamp;

use crate::{
    cli::hooks::List,
    command::{
        objects::Objects,
        output::{age, plain, print, table},
    },
};

/// Characters of a cell.
const CELL: usize = 60;

/// Runs the command.
pub(super) async fn run(options: &List) -> anyhow::Result<ExitCode> {
    let objects = Objects::connect(&options.objects).await?;
    let namespace = (!options.all_namespaces).then(|| objects.namespace());
    let hooks: Vec<Hook> = objects.list(HOOKS, namespace, "").await?;
    print(options.output.form, &hooks, || {
        text(&hooks, Timestamp::now())
    })?;
    Ok(ExitCode::SUCCESS)
}

fn text(hooks: &[Hook], now: Timestamp) -> String {
    let rows: Vec<_> = hooks.iter().map(|hook| row(hook, now)).collect();
    if rows.is_empty() {
        return "there are no Hooks; `hookrun hooks new` writes one\n".to_owned();
    }
    table(
        [
            "NAMESPACE",
            "NAME",
            "PROVIDER",
            "RULES",
            "READY",
            "LAST EVENT",
            "REFUSED",
            "PATH",
        ],
        &rows,
    )
}

fn row(hook: &Hook, now: Timestamp) -> [String; 8] {
    let status = hook.status.clone().unwrap_or_default();
    let ready = status
        .conditions
        .iter()
        .find(|condition| condition.r#type == "Ready");
    let ready = ready.map_or_else(
        || "unknown".to_owned(),
        |ready| match ready.status.as_str() {
            "True" => "yes".to_owned(),
            _ => format!("no: {}", ready.message),
        },
    );
    let ready = if hook.spec.suspend {
        format!("{ready} (suspended)")
    } else {
        ready
    };
    let last = status
        .last_event_time
        .as_deref()
        .map_or_else(String::new, |time| age(time, now));
    let why = status.last_rejection.as_ref();
    let why = why.map_or_else(String::new, |last| format!(" ({})", last.reason));
    let (namespace, name) = (&hook.metadata.namespace, &hook.metadata.name);
    let row = [
        namespace.clone(),
        name.clone(),
        hook.spec.provider.clone(),
        hook.spec.rules.len().to_string(),
        ready,
        last,
        format!("{}{why}", status.rejected),
        status
            .path
            .unwrap_or_else(|| format!("/hooks/{namespace}/{name}")),
    ];
    row.map(|cell| plain(&cell, CELL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_that_nobody_has_looked_at_is_listed_too() {
        let mut hook = Hook::default();
        hook.metadata.namespace = "team".to_owned();
        hook.metadata.name = "shop".to_owned();
        hook.spec.suspend = true;
        let text = text(&[hook], Timestamp::UNIX_EPOCH);
        let line = text.lines().nth(1).expect("a line");
        assert!(
            line.contains("unknown (suspended)") && line.ends_with("/hooks/team/shop"),
            "{line}"
        );
    }
}
