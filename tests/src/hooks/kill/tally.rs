//! Where processes die, and how often each place has been one.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result};
use control_plane::Killer;
use http::Method;

use crate::faults::{Action, Rule, Seen};

/// What a process was doing when it died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// An event came for the first time, to a process that knew nothing yet.
    Event,
    /// The same, with a payload that needs a Secret of its own.
    LargeEvent,
    /// An event came again, so late that what an earlier process had left was taken over.
    Redelivery,
    /// A sweep.
    Sweep,
    /// Several events at once; the moment is nobody's choice.
    Load,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Event => "event",
            Self::LargeEvent => "large event",
            Self::Redelivery => "redelivery",
            Self::Sweep => "sweep",
            Self::Load => "load",
        })
    }
}

/// One request of a process to the API server: the how manieth of its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    method: Method,
    plural: String,
    nth: usize,
}

impl Step {
    /// All steps of a process, from the requests that it made. All of them concern objects of one namespace.
    pub(super) fn all(seen: &[Seen]) -> Result<Vec<Self>> {
        let mut steps: Vec<Self> = Vec::new();
        for request in seen {
            let plural = plural(&request.target).with_context(|| request.to_string())?;
            let same = |step: &&Self| step.method == request.method && step.plural == plural;
            let nth = steps.iter().filter(same).count();
            steps.push(Self {
                method: request.method.clone(),
                plural: plural.to_owned(),
                nth,
            });
        }
        Ok(steps)
    }

    /// Whether it is this kind of request.
    pub(super) fn is(&self, method: &Method, plural: &str) -> bool {
        self.method == *method && self.plural == plural
    }

    /// Whether it is the first of its kind.
    pub(super) fn is_first(&self) -> bool {
        self.nth == 0
    }
}

/// What kind of objects a request is about.
fn plural(target: &str) -> Option<&str> {
    let (_, rest) = target.split_once("/namespaces/")?;
    let (_, rest) = rest.split_once('/')?;
    rest.split(['/', '?']).next()
}

/// Where a process is to die.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// At which of its requests.
    pub(super) step: Step,
    /// Whether the API server executes that first.
    pub(super) after: bool,
}

impl Place {
    /// Both places of each step.
    pub(super) fn around(steps: &[Step]) -> Vec<Self> {
        let both = |step: &Step| {
            [false, true].map(|after| Self {
                step: step.clone(),
                after,
            })
        };
        steps.iter().flat_map(both).collect()
    }

    /// The same place, at another request of its kind.
    pub(super) fn at(&self, nth: usize) -> Self {
        let mut place = self.clone();
        place.step.nth = nth;
        place
    }

    /// The fault that kills there, in this namespace.
    pub(super) fn fault(&self, namespace: &str, killer: Killer) -> Rule {
        let part = format!("/namespaces/{namespace}/{}", self.step.plural);
        let rule = Rule::of(&part, Action::Kill(killer))
            .method(self.step.method.clone())
            .skip(self.step.nth)
            .times(1);
        if self.after { rule.after() } else { rule }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let when = if self.after { "after" } else { "before" };
        write!(f, "{when} {} {}", self.step.method, self.step.plural)
    }
}

/// How many processes died where.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<BTreeMap<(Way, String), usize>>);

impl Tally {
    /// Counts one death.
    pub(super) fn count(&self, way: Way, place: &impl fmt::Display) {
        let mut deaths = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *deaths.entry((way, place.to_string())).or_default() += 1;
    }

    /// Deaths at one place.
    pub(super) fn at(&self, way: Way, place: &impl fmt::Display) -> usize {
        let deaths = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        deaths
            .get(&(way, place.to_string()))
            .copied()
            .unwrap_or_default()
    }

    /// All deaths.
    pub(super) fn total(&self) -> usize {
        let deaths = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        deaths.values().sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let deaths = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for ((way, place), count) in &*deaths {
            writeln!(f, "{count:6}  {way}: {place}")?;
        }
        Ok(())
    }
}
