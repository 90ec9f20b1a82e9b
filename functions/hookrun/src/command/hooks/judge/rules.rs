//! The steps of a rule. Which of them says no is found out by asking for a decision with more and more of the rule in
//! force, so that nothing of the decision is written down twice.

use std::collections::BTreeMap;

use hooks::{Hook, Ids, Outcome, Rule, Seen, delivery::RuleRecord, hook::Allow};
use serde_json::Value;

use super::{Event, RuleJudgement, Says, Step};

/// A step of a rule, and what of the Hook is in force up to it.
struct Stage {
    step: &'static str,
    take: fn(&mut Hook, &Hook),
    /// Whether the rule has it at all.
    present: fn(&Rule, &Event) -> bool,
}

const STAGES: [Stage; 6] = [
    Stage {
        step: "suspend",
        take: |staged, hook| staged.spec.suspend = hook.spec.suspend,
        present: |_, _| false,
    },
    Stage {
        step: "events",
        take: |staged, hook| {
            each(staged, hook, |staged, rule| {
                staged.events.clone_from(&rule.events)
            })
        },
        present: |_, _| true,
    },
    Stage {
        step: "filter",
        take: |staged, hook| {
            each(staged, hook, |staged, rule| {
                staged.filter.clone_from(&rule.filter)
            })
        },
        present: |rule, _| rule.filter.is_some(),
    },
    Stage {
        step: "allow",
        take: |staged, hook| staged.spec.allow = hook.spec.allow.clone(),
        present: |_, event| event.event.get("pullRequest").is_some(),
    },
    Stage {
        step: "params",
        take: |staged, hook| {
            each(staged, hook, |staged, rule| {
                staged.params.clone_from(&rule.params)
            })
        },
        present: |rule, _| !rule.params.is_empty(),
    },
    Stage {
        step: "payload",
        take: |staged, hook| {
            each(staged, hook, |staged, rule| {
                staged.payload.clone_from(&rule.payload)
            })
        },
        present: |rule, _| rule.payload.is_some(),
    },
];

fn each(staged: &mut Hook, hook: &Hook, take: impl Fn(&mut Rule, &Rule)) {
    for (staged, rule) in staged.spec.rules.iter_mut().zip(&hook.spec.rules) {
        take(staged, rule);
    }
}

/// The Hook with nothing in force that could say no.
fn bare(hook: &Hook) -> Hook {
    let mut bare = hook.clone();
    bare.spec.suspend = false;
    bare.spec.allow = Allow {
        forks: true,
        ..Allow::default()
    };
    for rule in &mut bare.spec.rules {
        rule.events.clear();
        rule.filter = None;
        rule.params.clear();
        rule.payload = None;
    }
    bare
}

/// What each rule of the Hook says to the event.
pub(super) fn rules(hook: &Hook, event: &Event) -> Vec<RuleJudgement> {
    let mut staged = bare(hook);
    let decided: Vec<(&Stage, Vec<RuleRecord>)> = STAGES
        .iter()
        .map(|stage| {
            (stage.take)(&mut staged, hook);
            (stage, decide(&staged, event))
        })
        .collect();
    let rules = hook.spec.rules.iter().enumerate();
    rules
        .map(|(at, rule)| rule_judgement(rule, at, event, &decided))
        .collect()
}

fn rule_judgement(
    rule: &Rule,
    at: usize,
    event: &Event,
    decided: &[(&Stage, Vec<RuleRecord>)],
) -> RuleJudgement {
    let mut steps = Vec::new();
    let mut last = RuleRecord::default();
    for (stage, records) in decided {
        last = records.get(at).cloned().unwrap_or_default();
        let goes_on = last.outcome == Outcome::Received;
        if !goes_on || (stage.present)(rule, event) {
            steps.push(step(stage.step, rule, &last));
        }
        if !goes_on {
            break;
        }
    }
    RuleJudgement {
        name: rule.name.clone(),
        outcome: match last.outcome {
            Outcome::Received | Outcome::Created => "Created",
            Outcome::Filtered => "Filtered",
            Outcome::Failed => "Failed",
        },
        params: params(&last),
        reason: last.reason,
        steps,
    }
}

fn step(step: &'static str, rule: &Rule, record: &RuleRecord) -> Step {
    let goes_on = record.outcome == Outcome::Received;
    let reason = match (step, goes_on) {
        (_, false) | ("filter", true) => record.reason.clone(),
        ("events", true) if rule.events.is_empty() => "the rule takes all types".to_owned(),
        ("events", true) => format!("the rule takes {}", rule.events.join(", ")),
        ("params", true) => {
            let params = params(record);
            let told = params
                .iter()
                .map(|(name, value)| format!("{name} = {value}"));
            told.collect::<Vec<_>>().join("\n")
        }
        ("payload", true) => rule.payload.as_ref().map_or_else(String::new, |target| {
            format!("file {:?} in workspace {:?}", target.file, target.workspace)
        }),
        (_, true) => "nothing speaks against it".to_owned(),
    };
    let deciding = step == "filter" || !goes_on;
    Step {
        step,
        says: if goes_on { Says::Yes } else { Says::No },
        reason,
        expression: record.expression.clone().filter(|_| deciding),
        values: if deciding {
            record.values.clone()
        } else {
            BTreeMap::new()
        },
    }
}

/// The parameters of the run that a rule decided on.
fn params(record: &RuleRecord) -> BTreeMap<String, Value> {
    if let Some(Value::Object(params)) = &record.params {
        return params.clone().into_iter().collect();
    }
    let listed = record
        .pipeline_run
        .as_ref()
        .and_then(|run| run["spec"]["params"].as_array());
    let named = listed
        .into_iter()
        .flatten()
        .filter_map(|param| Some((param["name"].as_str()?.to_owned(), param["value"].clone())));
    named.collect()
}

fn decide(hook: &Hook, event: &Event) -> Vec<RuleRecord> {
    // The whole Hook has no mistakes, so that none of its parts has one.
    let Ok(checked) = hooks::check(hook) else {
        return Vec::new();
    };
    let (metadata, key) = (&hook.metadata, &event.facts.key);
    let delivery = hooks::delivery_name(&metadata.name, &metadata.uid, key);
    let query = providers::parameters(&event.query);
    let seen = Seen {
        body: event.json.as_ref().unwrap_or(&Value::Null),
        headers: &event.headers,
        query: &query,
        event: &event.event,
        payload_bytes: event.bytes,
    };
    let ids = Ids {
        key,
        delivery: &delivery,
    };
    hooks::decide(&checked, &seen, &ids)
}
