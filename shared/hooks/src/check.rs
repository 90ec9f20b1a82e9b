//! What can be said about a Hook before an event comes: everything that is wrong with it, at once.

mod rule;

use std::{collections::BTreeSet, fmt};

use providers::{Hmac, HmacOptions, Settings, Token};

use crate::{
    Hook,
    expression::{Expression, Patterns},
    hook::{HmacSettings, MAX_PER_MINUTE, Rule, Verification},
    name::is_label,
    retention,
};

/// Rules of one Hook.
const MAX_RULES: usize = 64;
/// Bytes that the PipelineRuns of all rules may have together: they are part of the record of an event, which has to
/// fit into an object.
const MAX_TEMPLATES: usize = 256 << 10;
/// Secrets of one Hook.
const MAX_SECRETS: usize = 4;

/// One thing that is wrong with a Hook, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct Problem {
    /// The place as a JSON path, such as `spec.rules[2].filter`.
    pub place: String,
    /// What kind it is, for programs.
    pub kind: Kind,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(place: impl Into<String>, kind: Kind, message: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            kind,
            message: message.into(),
        }
    }
}

/// Kinds of problems. The name is one word, as the reason of a condition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A name that cannot be one.
    InvalidName,
    /// A name that was given twice.
    DuplicateName,
    /// A provider that is not in the table.
    UnknownProvider,
    /// Verification that does not fit the provider.
    InvalidVerification,
    /// None, or more than one, of fields of which one is needed.
    NotExactlyOne,
    /// More of something than is allowed.
    TooMany,
    /// An expression that is no CEL, exceeds its bounds, or names what does not exist.
    InvalidExpression,
    /// A PipelineRun that says more or less than it may.
    InvalidPipelineRun,
    /// A payload target that cannot be one.
    InvalidPayload,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A Hook without problems, and its expressions, parsed.
#[derive(Debug)]
pub struct Checked {
    pub(crate) hook: Hook,
    /// Beside `hook.spec.rules`, one for each.
    pub(crate) rules: Vec<Expressions>,
    pub(crate) settings: Settings,
}

impl Checked {
    /// The Hook.
    pub fn hook(&self) -> &Hook {
        &self.hook
    }

    /// What the Hook configures for the verification of its provider.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = (&Rule, &Expressions)> {
        self.hook.spec.rules.iter().zip(&self.rules)
    }
}

/// The expressions of a rule.
#[derive(Debug, Default)]
pub(crate) struct Expressions {
    pub(crate) filter: Option<Expression>,
    /// Beside the rule's `params`, one for each.
    pub(crate) params: Vec<Expression>,
    pub(crate) payload: Option<Expression>,
}

/// What the rules of a Hook have in common.
struct Common<'a> {
    /// The only account whose rights are asked for before a run starts.
    account: &'a str,
    patterns: Patterns,
}

/// Checks a Hook.
///
/// # Errors
/// Everything that is wrong with it. What only the cluster knows (Secrets, the ServiceAccount and its rights, whether a
/// Pipeline declares the workspace) is found out elsewhere.
pub fn check(hook: &Hook) -> Result<Checked, Vec<Problem>> {
    let mut problems = Vec::new();
    if !is_label(&hook.metadata.name) {
        problems.push(Problem::new(
            "metadata.name",
            Kind::InvalidName,
            "it is part of a URL and of names of runs: 1 to 63 of a-z, 0-9 and `-`, no `-` at its ends",
        ));
    }
    let settings = verification(hook, &mut problems);
    let rules = &hook.spec.rules;
    if rules.len() > MAX_RULES {
        let message = format!("a Hook may have {MAX_RULES} rules; split it");
        problems.push(Problem::new("spec.rules", Kind::TooMany, message));
    }
    let templates = rules.iter().filter_map(|rule| rule.pipeline_run.as_ref());
    let bytes: usize = templates.map(|run| run.to_string().len()).sum();
    if bytes > MAX_TEMPLATES {
        let message = format!(
            "the PipelineRuns of all rules have {bytes} bytes, and may have {MAX_TEMPLATES}; refer to Pipelines by name"
        );
        problems.push(Problem::new("spec.rules", Kind::TooMany, message));
    }
    problems.extend(limits(hook));
    let mut names = BTreeSet::new();
    let mut common = Common {
        account: &hook.spec.service_account_name,
        patterns: Patterns::default(),
    };
    let mut expressions = Vec::with_capacity(rules.len());
    for (at, rule) in rules.iter().enumerate().take(MAX_RULES) {
        let place = format!("spec.rules[{at}]");
        if !names.insert(&rule.name) {
            let message = format!("another rule is called `{}`, too", rule.name);
            let place = format!("{place}.name");
            problems.push(Problem::new(place, Kind::DuplicateName, message));
        }
        expressions.push(rule::check(rule, &place, &mut common, &mut problems));
    }
    if problems.is_empty() {
        Ok(Checked {
            hook: hook.clone(),
            rules: expressions,
            settings,
        })
    } else {
        Err(problems)
    }
}

/// What a Hook sets for itself, of what others need, too.
fn limits(hook: &Hook) -> impl Iterator<Item = Problem> {
    let (kept, quota) = (&hook.spec.retention, &hook.spec.quota);
    let limits: [(&str, u64, u64); 5] = [
        (
            "retention.count",
            kept.count.into(),
            retention::MAX_COUNT.into(),
        ),
        (
            "retention.minHours",
            kept.min_hours.into(),
            retention::MAX_HOURS.into(),
        ),
        (
            "retention.days",
            kept.days.into(),
            retention::MAX_DAYS.into(),
        ),
        ("retention.bytes", kept.bytes, retention::MAX_BYTES),
        (
            "quota.perMinute",
            quota.per_minute.into(),
            MAX_PER_MINUTE.into(),
        ),
    ];
    let beyond = limits.into_iter().filter(|(_, wanted, most)| wanted > most);
    beyond.map(|(place, wanted, most)| {
        let message =
            format!("{wanted} is more than {most}, which is the most that a Hook may have");
        Problem::new(format!("spec.{place}"), Kind::TooMany, message)
    })
}

/// Checks how senders prove who they are.
fn verification(hook: &Hook, problems: &mut Vec<Problem>) -> Settings {
    const PLACE: &str = "spec.verification";
    let wanted = &hook.spec.verification;
    let configured = match settings(wanted) {
        Ok(configured) => configured,
        Err(found) => {
            problems.extend(found);
            // The rest of it is checked all the same.
            let rest = Verification {
                hmac: None,
                ..wanted.clone()
            };
            settings(&rest).unwrap_or_default()
        }
    };
    if wanted.secret_refs.len() > MAX_SECRETS {
        problems.push(Problem::new(
            format!("{PLACE}.secretRefs"),
            Kind::TooMany,
            format!("{MAX_SECRETS} secrets are accepted at once"),
        ));
    }
    let Some(provider) = providers::provider(&hook.spec.provider) else {
        let message = format!(
            "there is no provider `{}`; `hookrun hooks new` lists them",
            hook.spec.provider
        );
        problems.push(Problem::new(
            "spec.provider",
            Kind::UnknownProvider,
            message,
        ));
        return configured;
    };
    for found in providers::check(provider, &configured) {
        let place = format!("{PLACE}.{}", found.place);
        problems.push(Problem::new(
            place,
            Kind::InvalidVerification,
            found.message,
        ));
    }
    // A chosen header replaces every other proof, also one that needs no secret.
    let needed = configured.header.is_some() || providers::needs_secret(provider, &configured);
    if wanted.secret_refs.is_empty() && needed {
        problems.push(Problem::new(
            format!("{PLACE}.secretRefs"),
            Kind::InvalidVerification,
            format!("`{}` proves itself with a secret; name one", provider.name),
        ));
    }
    configured
}

/// What a Hook configures beyond its provider, as the provider table takes it.
///
/// # Errors
/// Everything that is wrong with the HMAC scheme.
pub fn settings(verification: &Verification) -> Result<Settings, Vec<Problem>> {
    let hmac = verification
        .hmac
        .as_ref()
        .map(|hmac| Hmac::new(options(hmac)));
    let hmac = hmac.transpose().map_err(|found| {
        let problem = |found: providers::Problem| {
            let place = format!("spec.verification.{}", found.place);
            Problem::new(place, Kind::InvalidVerification, found.message)
        };
        found.into_iter().map(problem).collect::<Vec<_>>()
    })?;
    Ok(Settings {
        legacy: verification.legacy,
        header: verification.header.clone(),
        hmac,
        token: verification.token.as_ref().map(|token| Token {
            audience: token.audience.clone(),
            account: token.account.clone(),
            issuer: token.issuer.clone(),
        }),
        allowed_origins: verification.allowed_origins.clone(),
        allowed_rate: verification.allowed_rate,
    })
}

fn options(hmac: &HmacSettings) -> HmacOptions {
    HmacOptions {
        header: hmac.header.clone(),
        algorithms: hmac.algorithms.clone(),
        prefix: hmac.prefix.clone(),
        encoding: hmac.encoding.clone(),
        signed: hmac.signed.clone(),
        timestamp_header: hmac.timestamp_header.clone(),
        tolerance_seconds: hmac.tolerance_seconds,
        id_header: hmac.id_header.clone(),
        event_header: hmac.event_header.clone(),
        event_pointer: hmac.event_pointer.clone(),
        duplicate_seconds: hmac.duplicate_seconds,
    }
}
