//! `hookrun hooks list`: which Hooks there are, and how they are doing.

use std::process::ExitCode;

use deliveries::resource::HOOKS;
use hooks::{Hook, hook::Condition};
use jiff::Timestamp;

use crate::{
    cli::hooks::List,
    command::{
        objects::Objects,
        output::{age, plain, print, table},
    },
};

/// Characters of a cell that is cut: of a type of provider, and of why the last request was rejected.
const CELL: usize = 40;

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
    let header = [
        "NAMESPACE",
        "NAME",
        "PROVIDER",
        "RULES",
        "LAST EVENT",
        "REJECTED",
        "URL",
        "READY",
    ];
    table(header, &rows)
}

fn row(hook: &Hook, now: Timestamp) -> [String; 8] {
    let status = hook.status.clone().unwrap_or_default();
    let last = status
        .last_event_time
        .as_deref()
        .map_or_else(String::new, |time| age(time, now));
    let why = status.last_rejection.as_ref();
    let why = why.map_or_else(String::new, |last| format!(" ({})", last.reason));
    [
        // Names and paths are to be copied, and the last column is what somebody looks for: none of them is cut.
        hook.metadata.namespace.clone(),
        hook.metadata.name.clone(),
        plain(&hook.spec.provider, CELL),
        hook.spec.rules.len().to_string(),
        last,
        plain(&format!("{}{why}", status.rejected), CELL),
        plain(&url(hook), usize::MAX),
        plain(&ready(hook), usize::MAX),
    ]
}

/// Its URL; the path of it where the function does not know its own (`HOOKRUN_HOOK_URL`).
pub(super) fn url(hook: &Hook) -> String {
    let (namespace, name) = (&hook.metadata.namespace, &hook.metadata.name);
    let status = hook.status.as_ref();
    let told = status.and_then(|status| status.url.clone().or(status.path.clone()));
    told.unwrap_or_else(|| format!("/hooks/{namespace}/{name}"))
}

/// Whether a condition holds, as a word. What nobody has checked yet does not hold, and is no mistake either.
pub(super) fn holds(condition: &Condition) -> &'static str {
    match condition.status.as_str() {
        "True" => "yes",
        "False" => "no",
        _ => "unknown",
    }
}

/// Whether its events start anything, and why not.
fn ready(hook: &Hook) -> String {
    let conditions = hook.status.as_ref().map(|status| &status.conditions);
    let mut conditions = conditions.into_iter().flatten();
    let ready = conditions.find(|condition| condition.r#type == "Ready");
    let ready = match ready {
        None => "unknown".to_owned(),
        Some(ready) if ready.status == "True" => holds(ready).to_owned(),
        Some(ready) => format!("{}: {}", holds(ready), ready.message),
    };
    match hook.spec.suspend {
        true => format!("suspended; {ready}"),
        false => ready,
    }
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
            line.ends_with("/hooks/team/shop  suspended; unknown"),
            "{line}"
        );
    }

    /// What the last column says of a Hook with this condition.
    fn shown(status: &str, message: &str) -> String {
        let condition = Condition {
            r#type: "Ready".to_owned(),
            status: status.to_owned(),
            message: message.to_owned(),
            ..Condition::default()
        };
        let mut hook = Hook::default();
        hook.status.get_or_insert_default().conditions = vec![condition];
        ready(&hook)
    }

    #[test]
    fn why_a_hook_is_not_ready_is_not_cut() {
        let why = "there is no Pipeline ".repeat(20);
        assert_eq!(shown("False", &why), format!("no: {why}"));
    }

    #[test]
    fn what_nobody_has_checked_is_not_called_a_mistake() {
        assert_eq!(
            shown("Unknown", "the sweep will"),
            "unknown: the sweep will"
        );
    }
}
