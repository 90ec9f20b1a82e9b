//! What a Hook makes of a request, step by step, without a cluster: the way of an event through the function, with the
//! same packages, and a word after each step.

mod rules;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use hooks::Delivery;
use providers::{Content, Facts, Proven, Provider, Settings};
use serde::Serialize;
use serde_json::Value;

use super::{
    capture::{Captured, Request},
    source::Source,
};

/// What became of a request, and why.
#[derive(Debug, Default, Serialize)]
pub(super) struct Judgement {
    /// One word: `Created`, `Filtered`, `Failed`, `Refused`, `Handshake` or `Invalid`.
    pub(super) outcome: &'static str,
    /// The steps of the whole request, up to the one that says no.
    pub(super) steps: Vec<Step>,
    /// What each rule says.
    pub(super) rules: Vec<RuleJudgement>,
}

/// One step.
#[derive(Debug, Default, Serialize)]
pub(super) struct Step {
    /// What it is called.
    pub(super) step: &'static str,
    /// What it says.
    pub(super) says: Says,
    /// Why, in a sentence.
    pub(super) reason: String,
    /// The expression that decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expression: Option<String>,
    /// The values that it saw.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) values: BTreeMap<String, String>,
}

/// What a step says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Says {
    /// Go on.
    #[default]
    Yes,
    /// This is the end.
    No,
    /// Nothing could be found out here; the function would.
    NotChecked,
    /// Nor could it, for want of a secret.
    NoSecret,
}

/// What one rule says.
#[derive(Debug, Serialize)]
pub(super) struct RuleJudgement {
    /// Name of the rule.
    pub(super) name: String,
    /// `Created`, `Filtered` or `Failed`.
    pub(super) outcome: &'static str,
    /// Why, in a sentence.
    pub(super) reason: String,
    /// Its steps, up to the one that says no.
    pub(super) steps: Vec<Step>,
    /// The parameters of the run.
    pub(super) params: BTreeMap<String, Value>,
}

/// A verified event.
struct Event {
    facts: Facts,
    json: Option<Value>,
    event: Value,
    headers: BTreeMap<String, String>,
    query: String,
    bytes: u64,
}

impl Judgement {
    fn step(&mut self, step: &'static str, says: Says, reason: impl Into<String>) {
        self.steps.push(Step {
            step,
            says,
            reason: reason.into(),
            ..Step::default()
        });
    }

    fn ends(
        mut self,
        outcome: &'static str,
        step: &'static str,
        reason: impl Into<String>,
    ) -> Self {
        self.step(step, Says::No, reason);
        self.outcome = outcome;
        self
    }

    /// The sentence that matters most.
    pub(super) fn reason(&self) -> String {
        let step = self.steps.iter().find(|step| step.says == Says::No);
        let mut rules = self
            .rules
            .iter()
            .filter(|rule| rule.outcome == self.outcome);
        let rule = rules
            .next()
            .map(|rule| format!("rule {}: {}", rule.name, rule.reason));
        step.map(|step| step.reason.clone())
            .or(rule)
            .unwrap_or_default()
    }
}

/// What the Hook makes of what was captured.
pub(super) fn judge(source: &Source, captured: &Captured) -> Judgement {
    let mut judgement = Judgement::default();
    let hook = &source.hook;
    let checked = match hooks::check(hook) {
        Ok(checked) => checked,
        Err(problems) => {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            return judgement.ends("Invalid", "hook", problems.join("\n"));
        }
    };
    let Some(provider) = providers::provider(&hook.spec.provider) else {
        return judgement.ends(
            "Invalid",
            "hook",
            "spec.provider: there is no such provider",
        );
    };
    judgement.step(
        "hook",
        Says::Yes,
        format!("it has no mistakes; its provider is {}", provider.title),
    );
    let event = match captured {
        Captured::Request(request) => match come_in(
            judgement,
            provider,
            checked.settings(),
            &source.secrets,
            request,
        ) {
            Ok((known, event)) => {
                judgement = known;
                event
            }
            Err(judgement) => return judgement,
        },
        Captured::Delivery(delivery, payload) => {
            let by = delivery.record.secret.as_deref().unwrap_or("a token");
            judgement.step(
                "verification",
                Says::Yes,
                format!("it was verified by {by} when it came"),
            );
            recorded(delivery, payload)
        }
    };
    judgement.step("event", Says::Yes, described(&event));
    judgement.rules = rules::rules(hook, &event);
    let has = |outcome: &&str| judgement.rules.iter().any(|rule| rule.outcome == *outcome);
    judgement.outcome = ["Failed", "Created"]
        .into_iter()
        .find(has)
        .unwrap_or("Filtered");
    judgement
}

/// From the request to the event: verification, handshakes, content.
fn come_in(
    mut judgement: Judgement,
    provider: &'static Provider,
    settings: &Settings,
    secrets: &[(String, Vec<u8>)],
    request: &Request,
) -> Result<(Judgement, Event), Judgement> {
    const STEP: &str = "verification";
    let sent = request.as_sent();
    if providers::handshake(provider, &sent, None).is_some() {
        return Err(handshake(judgement));
    }
    let bytes: Vec<Vec<u8>> = secrets.iter().map(|(_, secret)| secret.clone()).collect();
    let wrong = secrets.iter().find_map(|(name, secret)| {
        let wrong = providers::check_secret(provider, settings, secret)?;
        Some(format!("secret {name}: {wrong}"))
    });
    if let Some(wrong) = wrong {
        return Err(judgement.ends("Refused", STEP, wrong));
    }
    if bytes.is_empty() && settings.token.is_none() {
        let text =
            "no secret is given: put a Secret behind the Hook in its file, or use --secret-file";
        judgement.step(STEP, Says::NoSecret, text);
    } else {
        match providers::verify(provider, settings, &bytes, &sent, request.time()) {
            Ok(Proven::Secret(at)) => {
                let name = secrets.get(at).map_or("", |(name, _)| name);
                judgement.step(STEP, Says::Yes, format!("secret {name} matches"));
            }
            Ok(Proven::Token(claim)) => judgement.step(
                STEP,
                Says::NotChecked,
                format!(
                    "the token says what it has to; its signature is checked with the keys of {}",
                    claim.issuers.join(" or ")
                ),
            ),
            Err(refusal) => {
                let mut reason = format!("{}: {refusal}", refusal.kind());
                for (at, wrong) in providers::check_together(provider, settings, &bytes) {
                    let name = secrets.get(at).map_or("", |(name, _)| name);
                    reason += &format!("; secret {name}: {wrong}");
                }
                return Err(judgement.ends("Refused", STEP, reason));
            }
        }
    }
    let content = match providers::content(provider, &sent) {
        Ok(content) => content,
        Err(error) => {
            let outcome = error.turned_away().map_or("Failed", |_| "Refused");
            let reason = format!("{}: {error}", error.kind());
            return Err(judgement.ends(outcome, "content", reason));
        }
    };
    if providers::handshake(provider, &sent, Some(&content)).is_some() {
        return Err(handshake(judgement));
    }
    let facts = providers::facts(provider, settings, &sent, &content).at(request.time());
    let event = arrived(provider, facts, content, request);
    Ok((judgement, event))
}

fn handshake(judgement: Judgement) -> Judgement {
    judgement.ends(
        "Handshake",
        "handshake",
        "it only asks whether somebody is there, and is answered without starting anything",
    )
}

fn arrived(provider: &Provider, facts: Facts, content: Content<'_>, request: &Request) -> Event {
    let event = providers::event(provider, &facts, &content);
    Event {
        event: serde_json::to_value(event).unwrap_or_default(),
        facts,
        bytes: content.bytes.len() as u64,
        json: content.json,
        headers: providers::kept_headers(provider, &request.headers),
        query: providers::kept_query(&request.query),
    }
}

/// The event that a Delivery records.
fn recorded(delivery: &Delivery, payload: &[u8]) -> Event {
    let record = &delivery.record;
    let json: Option<Value> = serde_json::from_slice(payload).ok();
    Event {
        event: event_of(delivery, json.as_ref()),
        facts: Facts {
            event_type: record.event_type.clone(),
            delivery_id: record.delivery_id.clone(),
            key: record.key.clone(),
            ..Facts::default()
        },
        json,
        headers: record.headers.clone(),
        query: record.query.clone(),
        bytes: payload.len() as u64,
    }
}

/// What the payload of a Delivery says, whole: a record leaves long lists out.
fn event_of(delivery: &Delivery, json: Option<&Value>) -> Value {
    let record = &delivery.record;
    match providers::provider(&record.provider) {
        Some(provider) => {
            let event = providers::event::of(provider.name, &record.event_type, json);
            serde_json::to_value(event).unwrap_or_default()
        }
        None => record.event.clone().unwrap_or_default(),
    }
}

fn described(event: &Event) -> String {
    let text = |pointer: &str| {
        event.event.pointer(pointer).map(|value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    };
    let named = [
        ("type", "/type"),
        ("action", "/action"),
        ("repository", "/repository/fullName"),
        ("branch", "/branch"),
        ("tag", "/tag"),
        ("pull request", "/pullRequest/number"),
        ("image", "/image/repository"),
    ];
    let told = named
        .into_iter()
        .filter_map(|(name, pointer)| Some(format!("{name} {}", text(pointer)?)));
    let mut told: Vec<String> = told.filter(|told| told != "type ").collect();
    if !event.facts.delivery_id.is_empty() {
        told.push(format!("delivery {}", event.facts.delivery_id));
    }
    told.join(", ")
}
