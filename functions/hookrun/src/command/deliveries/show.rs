//! `hookrun deliveries show`: everything that is on record of an event.

use std::{fmt::Write as _, process::ExitCode};

use deliveries::resource::DELIVERIES;
use hooks::{
    Delivery,
    delivery::{Record, RuleRecord},
};
use jiff::Timestamp;

use super::select::word;
use crate::{
    cli::deliveries::Show,
    command::{
        objects::Objects,
        output::{self, age, fact, plain, print},
        payload,
    },
};

/// Characters of a line.
const LINE: usize = 400;

/// Runs the command.
pub(super) async fn run(options: &Show) -> anyhow::Result<ExitCode> {
    let objects = Objects::connect(&options.objects).await?;
    let (namespace, name) = objects.place(&options.name);
    let delivery: Delivery = objects.get(DELIVERIES, namespace, name).await?;
    if options.payload {
        output::write(&payload::stored(&objects, &delivery, &options.store).await?)?;
    } else {
        print(options.output.form, &delivery, || {
            text(&delivery, Timestamp::now())
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What a Delivery says, for people.
fn text(delivery: &Delivery, now: Timestamp) -> String {
    let record = &delivery.record;
    let mut text = String::new();
    for (name, value) in facts(delivery, now) {
        if !value.is_empty() {
            line(&mut text, "", name, &value);
        }
    }
    for (name, value) in &record.headers {
        line(&mut text, "", "Header", &format!("{name}: {value}"));
    }
    for rule in &record.rules {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "Rule {}", rule.name);
        about(&mut text, rule);
    }
    text
}

fn facts(
    Delivery {
        metadata, record, ..
    }: &Delivery,
    now: Timestamp,
) -> Vec<(&'static str, String)> {
    let Record { hook, payload, .. } = record;
    let optional = |text: &Option<String>| text.clone().unwrap_or_default();
    let kept = match (&payload.secret_name, &payload.object) {
        (Some(secret), _) => format!(", in Secret {secret}"),
        (_, Some(object)) => format!(", in the payload store as {object}"),
        _ => String::new(),
    };
    let text = |pointer: &str| {
        let found = record
            .event
            .as_ref()
            .and_then(|event| event.pointer(pointer));
        found
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    vec![
        (
            "Delivery",
            format!("{}/{}", metadata.namespace, metadata.name),
        ),
        (
            "Hook",
            hook.as_ref().map_or_else(String::new, |hook| {
                format!("{}, generation {}", hook.name, hook.generation)
            }),
        ),
        (
            "Flow",
            match (hook, record.rules.first()) {
                (None, Some(flow)) => flow.name.clone(),
                _ => String::new(),
            },
        ),
        ("Provider", record.provider.clone()),
        ("Event", record.event_type.clone()),
        ("Action", text("/action")),
        ("Repository", text("/repository/fullName")),
        ("Branch", text("/branch")),
        ("Revision", text("/revision")),
        ("Delivery id", record.delivery_id.clone()),
        ("Key", record.key.clone()),
        (
            "Received",
            format!(
                "{} ({} ago)",
                record.received_time,
                age(&record.received_time, now)
            ),
        ),
        ("Secret", optional(&record.secret)),
        (
            "Payload",
            format!(
                "{} bytes of {}, {}{kept}",
                payload.size,
                or(&payload.content_type, "no type"),
                payload.digest
            ),
        ),
        ("Query", record.query.clone()),
        ("Outcome", word(record.outcome).to_owned()),
        ("Reason", record.reason.clone()),
        ("Attempts", record.attempts.to_string()),
        ("Duplicates", record.duplicates.to_string()),
        (
            "Took",
            record
                .duration_milliseconds
                .map_or_else(String::new, |took| format!("{took} ms")),
        ),
        ("Replay of", optional(&record.replay_of)),
        ("Same payload", optional(&record.same_payload_as)),
    ]
}

fn or<'a>(text: &'a str, other: &'a str) -> &'a str {
    if text.is_empty() { other } else { text }
}

fn about(text: &mut String, rule: &RuleRecord) {
    line(text, "  ", "Outcome", word(rule.outcome));
    let optional = [
        ("Reason", Some(&rule.reason)),
        ("Expression", rule.expression.as_ref()),
    ];
    for (name, value) in optional {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            line(text, "  ", name, value);
        }
    }
    for (path, value) in &rule.values {
        line(text, "  ", "", &format!("{path} = {value}"));
    }
    if let Some(run) = &rule.run {
        line(text, "  ", "Run", run);
    }
    let params = rule
        .pipeline_run
        .as_ref()
        .and_then(|run| run["spec"]["params"].as_array());
    for param in params.into_iter().flatten() {
        let name = param["name"].as_str().unwrap_or_default();
        line(
            text,
            "  ",
            "Parameter",
            &format!("{name} = {}", param["value"]),
        );
    }
    if let Some(payload) = &rule.payload {
        line(
            text,
            "  ",
            "Payload",
            &format!("file {} of Secret {}", payload.file, payload.secret_name),
        );
    }
}

fn line(text: &mut String, indent: &str, name: &str, value: &str) {
    fact(text, indent, name, &plain(value, LINE));
}

#[cfg(test)]
mod tests {
    use hooks::Outcome;

    use super::*;
    use crate::command::deliveries::list::tests::delivery;

    #[test]
    fn the_expression_that_decided_and_the_values_that_it_saw_are_shown() {
        let now: Timestamp = "2026-01-02T03:05:00Z".parse().expect("a time");
        let shown = text(
            &delivery("d", Outcome::Filtered, "2026-01-02T03:04:00Z"),
            now,
        );
        for line in [
            "Delivery      team/d",
            "Outcome       Filtered",
            "Received      2026-01-02T03:04:00Z (60s ago)",
            "Rule build",
            "  Expression  event.branch == 'main'",
            "              event.branch = \"dev\"",
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
        }
    }
}
