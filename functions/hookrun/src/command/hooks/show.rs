//! `hookrun hooks show`: what a Hook does, and everything that was found out about it.

use std::{fmt::Write as _, process::ExitCode};

use deliveries::resource::HOOKS;
use hooks::{
    Hook,
    hook::{Condition, HookStatus, Rule, SecretRef},
};
use jiff::Timestamp;

use super::list::{holds, url};
use crate::{
    cli::hooks::Show,
    command::{
        objects::Objects,
        output::{age, fact, print},
    },
};

/// Runs the command.
pub(super) async fn run(options: &Show) -> anyhow::Result<ExitCode> {
    let objects = Objects::connect(&options.objects).await?;
    let (namespace, name) = objects.place(&options.name);
    let hook: Hook = objects.get(HOOKS, namespace, name).await?;
    print(options.output.form, &hook, || text(&hook, Timestamp::now()))?;
    Ok(ExitCode::SUCCESS)
}

fn text(hook: &Hook, now: Timestamp) -> String {
    let Hook { metadata, spec, .. } = hook;
    let status = hook.status.clone().unwrap_or_default();
    let mut text = String::new();
    let mut line = |name: &str, value: &str| fact(&mut text, "", name, value);
    line("Hook", &format!("{}/{}", metadata.namespace, metadata.name));
    line("Provider", &spec.provider);
    line("URL", &url(hook));
    line("Runs as", &spec.service_account_name);
    if spec.suspend {
        line("Suspended", "yes: events are stored, and start nothing");
    }
    if status.conditions.is_empty() {
        line("Ready", "unknown: nobody has looked at it yet");
    }
    for condition in &status.conditions {
        line(&condition.r#type, &said(condition, now));
    }
    if status.observed_generation != metadata.generation && !status.conditions.is_empty() {
        line("", "this is about an older edition of it");
    }
    for reference in &spec.verification.secret_refs {
        line("Secret", &used(reference, &status, now));
    }
    let last = status.last_event_time.as_deref();
    line(
        "Last event",
        &last.map_or_else(|| "none yet".to_owned(), |time| ago(time, now)),
    );
    let why = status.last_rejection.as_ref();
    let why = why.map_or_else(String::new, |last| {
        format!(", the last one {}: {}", ago(&last.time, now), last.reason)
    });
    line("Rejected", &format!("{}{why}", status.rejected));
    for rule in &spec.rules {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "Rule {}", rule.name);
        about(&mut text, rule);
    }
    text
}

fn ago(time: &str, now: Timestamp) -> String {
    format!("{time} ({} ago)", age(time, now))
}

fn said(condition: &Condition, now: Timestamp) -> String {
    let Condition {
        reason,
        message,
        last_transition_time,
        ..
    } = condition;
    let since = age(last_transition_time, now);
    let word = holds(condition);
    let colon = if message.is_empty() { "" } else { ": " };
    format!("{word} ({reason}, for {since}){colon}{message}")
}

fn used(reference: &SecretRef, status: &HookStatus, now: Timestamp) -> String {
    let SecretRef { name, key } = reference;
    let mut uses = status.secrets.iter();
    let found = uses.find(|found| found.name == *name && found.key == *key);
    match found {
        Some(found) => format!(
            "{name}/{key}, last used {}",
            ago(&found.last_used_time, now)
        ),
        None => format!("{name}/{key}, not used yet"),
    }
}

fn about(text: &mut String, rule: &Rule) {
    let mut line = |name: &str, value: &str| fact(text, "  ", name, value);
    let events = match rule.events.as_slice() {
        [] => "all".to_owned(),
        events => events.join(", "),
    };
    line("Events", &events);
    if let Some(filter) = &rule.filter {
        line("Filter", filter);
    }
    line("Starts", &starts(rule));
    for param in &rule.params {
        line(
            "Parameter",
            &format!("{} = {}", param.name, param.expression),
        );
    }
    if let Some(payload) = &rule.payload {
        let what = payload.expression.as_deref();
        let what = what.map_or_else(String::new, |what| format!(": {what}"));
        let (file, workspace) = (&payload.file, &payload.workspace);
        line(
            "Payload",
            &format!("file {file} of workspace {workspace}{what}"),
        );
    }
}

fn starts(rule: &Rule) -> String {
    let key = rule.flow.as_ref().map(|flow| flow.key.as_deref());
    match (&rule.pipeline_ref, key) {
        (Some(pipeline), _) => format!("Pipeline {}", pipeline.name),
        (None, Some(Some(key))) => format!("the flow with the key {key}"),
        (None, Some(None)) => "a flow that is written out in the rule".to_owned(),
        (None, None) => "a PipelineRun that is written out in the rule".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_that_is_known_of_a_hook_is_shown_in_full() {
        let why = "spec.rules[0].pipelineRef: there is no Pipeline \"build\" in namespace \"team\"; create it, or name another one";
        let hook = json!({
            "apiVersion": hooks::API_VERSION, "kind": "Hook",
            "metadata": {"name": "shop", "namespace": "team", "uid": "u", "generation": 3},
            "spec": {
                "provider": "github",
                "verification": {"secretRefs": [{"name": "new"}, {"name": "old"}]},
                "rules": [{
                    "name": "build", "events": ["push"], "filter": "event.branch == 'main'",
                    "pipelineRef": {"name": "build"},
                    "params": [{"name": "revision", "expression": "event.revision"}],
                    "payload": {"workspace": "event", "file": "push.json"},
                }],
            },
            "status": {
                "observedGeneration": 2,
                "conditions": [{
                    "type": "Ready", "status": "False", "reason": "NotFound", "message": why,
                    "lastTransitionTime": "2026-01-02T03:00:00Z",
                }],
                "secrets": [{"name": "old", "key": "secret", "lastUsedTime": "2026-01-02T02:04:00Z"}],
                "lastEventTime": "2026-01-02T03:03:00Z",
                "rejected": 4,
                "lastRejection": {"reason": "mismatch", "time": "2026-01-02T03:03:30Z"},
            },
        });
        let hook: Hook = serde_json::from_value(hook).expect("a Hook");
        let shown = text(&hook, "2026-01-02T03:04:00Z".parse().expect("a time"));
        for line in [
            "Hook          team/shop",
            "URL           /hooks/team/shop",
            &format!("Ready         no (NotFound, for 4m): {why}"),
            "              this is about an older edition of it",
            "Secret        new/secret, not used yet",
            "Secret        old/secret, last used 2026-01-02T02:04:00Z (60m ago)",
            "Last event    2026-01-02T03:03:00Z (60s ago)",
            "Rejected      4, the last one 2026-01-02T03:03:30Z (30s ago): mismatch",
            "Rule build",
            "  Events      push",
            "  Filter      event.branch == 'main'",
            "  Starts      Pipeline build",
            "  Parameter   revision = event.revision",
            "  Payload     file push.json of workspace event",
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
        }
    }
}
