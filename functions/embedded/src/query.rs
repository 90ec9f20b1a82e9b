//! The parameters of a request's URL, read once.

use crate::failure::{Failure, Invalid, Result};

/// All parameters that mean something here; others are ignored, as the real server does.
#[derive(Debug, Default)]
pub(crate) struct Query {
    pub(crate) label_selector: String,
    pub(crate) field_selector: String,
    pub(crate) limit: usize,
    pub(crate) continue_token: String,
    pub(crate) resource_version: String,
    pub(crate) resource_version_match: String,
    pub(crate) watch: bool,
    pub(crate) allow_watch_bookmarks: bool,
    pub(crate) send_initial_events: bool,
    pub(crate) timeout_seconds: Option<u64>,
    pub(crate) field_manager: String,
    pub(crate) field_validation: String,
    pub(crate) force: bool,
    pub(crate) dry_run: Vec<String>,
    pub(crate) propagation_policy: Option<String>,
    pub(crate) orphan_dependents: Option<bool>,
    pub(crate) include_object: String,
}

/// What happens to fields that a kind does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

/// Whether a write happens, or is only tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Real,
    DryRun,
}

impl Query {
    pub(crate) fn parse(query: &str) -> Result<Self> {
        let mut parsed = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "labelSelector" => parsed.label_selector = value.into_owned(),
                "fieldSelector" => parsed.field_selector = value.into_owned(),
                "limit" => parsed.limit = number::<usize>(&value)?,
                "continue" => parsed.continue_token = value.into_owned(),
                "resourceVersion" => parsed.resource_version = value.into_owned(),
                "resourceVersionMatch" => parsed.resource_version_match = value.into_owned(),
                "watch" => parsed.watch = switch(&value),
                "allowWatchBookmarks" => parsed.allow_watch_bookmarks = switch(&value),
                "sendInitialEvents" => parsed.send_initial_events = switch(&value),
                "timeoutSeconds" => parsed.timeout_seconds = Some(number(&value)?),
                "fieldManager" => parsed.field_manager = value.into_owned(),
                "fieldValidation" => parsed.field_validation = value.into_owned(),
                "force" => parsed.force = switch(&value),
                "dryRun" => parsed.dry_run.push(value.into_owned()),
                "propagationPolicy" => parsed.propagation_policy = Some(value.into_owned()),
                "orphanDependents" => parsed.orphan_dependents = Some(switch(&value)),
                "includeObject" => parsed.include_object = value.into_owned(),
                _ => {}
            }
        }
        Ok(parsed)
    }

    /// Whether a write is only tried; `options` is the name of the options in a refusal.
    pub(crate) fn mode(&self, options: &str) -> Result<Mode> {
        match &self.dry_run[..] {
            [] => Ok(Mode::Real),
            [all] if all == "All" => Ok(Mode::DryRun),
            other => {
                let value = format!("{other:?}");
                let problem = Invalid::unsupported("dryRun", value, &["All"]);
                Err(Failure::invalid_options(options, &[problem]))
            }
        }
    }

    pub(crate) fn field_validation(&self, options: &str) -> Result<FieldValidation> {
        match &*self.field_validation {
            "Ignore" => Ok(FieldValidation::Ignore),
            "" | "Warn" => Ok(FieldValidation::Warn),
            "Strict" => Ok(FieldValidation::Strict),
            other => {
                let known = ["", "Ignore", "Strict", "Warn"];
                let value = format!("{other:?}");
                let problem = Invalid::unsupported("fieldValidation", value, &known);
                Err(Failure::invalid_options(options, &[problem]))
            }
        }
    }

    /// The resource version that a list or watch asks for: none, "any" as 0, or a number.
    pub(crate) fn revision(&self) -> Result<Option<u64>> {
        match &*self.resource_version {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                Failure::bad_request(format!(
                    "invalid resource version: resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
                ))
            }),
        }
    }
}

/// Go's idea of a boolean in a URL: anything but these is true.
fn switch(value: &str) -> bool {
    !matches!(value, "false" | "0")
}

fn number<N: std::str::FromStr>(value: &str) -> Result<N> {
    value.parse().map_err(|_| {
        Failure::bad_request(format!(
            "strconv.ParseInt: parsing {value:?}: invalid syntax"
        ))
    })
}
