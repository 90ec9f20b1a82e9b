//! Data sets as Secrets: the flow's own, and the texts that must travel beside them.
//!
//! Tekton and the kubelet act upon `$(…)` and `$$` wherever a text stands in a pod's description. A value that comes
//! from a Secret is delivered as it is. So such texts join the credentials, under names that no one else uses; and so
//! do logins, which have no place in a description at all.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::clone;
use crate::flow::{DataSet, Env, EnvValue, Flow, Operand, Step, Task, expands};

/// The set that texts join; made where the flow has none.
const CARRIER: &str = "creds";

/// How much of a variable's name an entry's name keeps: together they stay below 253.
const KEPT: usize = 150;

/// The flow's data as it is written.
pub(super) struct Data<'a> {
    sets: Vec<Set<'a>>,
    /// Entry names of the carried texts.
    carried: HashMap<Slot<'a>, String>,
}

/// Where a text stands: task and step, and what it is there.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Slot<'a> {
    /// The task's name.
    pub(super) task: &'a str,
    /// The step's name; empty for the step that clones.
    pub(super) step: &'a str,
    /// What the text is.
    pub(super) part: Part<'a>,
}

/// What a text is in its step.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Part<'a> {
    /// The value of a variable.
    Env(&'a str),
    /// A part of the command.
    Command(usize),
    /// An argument.
    Arg(usize),
    /// The repository's URL, login included.
    Url,
    /// The revision to clone.
    Revision,
    /// The user name for the repository.
    Username,
    /// The password for the repository.
    Password,
}

/// One set and what joined it.
pub(super) struct Set<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// Where steps see it, if they do.
    pub(super) folder: Option<&'a str>,
    entries: BTreeMap<Cow<'a, str>, &'a [u8]>,
}

impl Set<'_> {
    /// Contents in base64, without one entry that gives way.
    pub(super) fn encoded(&self, without: Option<&str>) -> BTreeMap<String, String> {
        let kept = self
            .entries
            .iter()
            .filter(|(name, _)| Some(name.as_ref()) != without);
        kept.map(|(name, value)| (name.to_string(), BASE64_STANDARD.encode(value)))
            .collect()
    }
}

impl<'a> Data<'a> {
    /// The flow's sets in their order, and all texts that have to travel with them.
    pub(super) fn gather(flow: &'a Flow) -> Self {
        let mut sets: Vec<_> = flow.data.iter().map(Set::from).collect();
        let texts: Vec<_> = flow
            .tasks
            .iter()
            .chain(&flow.finally)
            .flat_map(texts_of)
            .collect();
        if !texts.is_empty() && !sets.iter().any(|set| set.name == CARRIER) {
            sets.insert(
                0,
                Set {
                    name: CARRIER,
                    folder: None,
                    entries: BTreeMap::new(),
                },
            );
        }
        let mut carried = HashMap::new();
        if let Some(set) = sets.iter_mut().find(|set| set.name == CARRIER) {
            for (slot, text) in texts {
                let entry = free_entry(&slot, &set.entries);
                set.entries
                    .insert(Cow::Owned(entry.clone()), text.as_bytes());
                carried.insert(slot, entry);
            }
        }
        Self { sets, carried }
    }

    /// All sets.
    pub(super) fn sets(&self) -> impl Iterator<Item = &Set<'a>> {
        self.sets.iter()
    }

    /// The set of a name.
    pub(super) fn set(&self, name: &str) -> Option<&Set<'a>> {
        self.sets.iter().find(|set| set.name == name)
    }

    /// The sets that some step uses, as folder or by entry.
    pub(super) fn used(&self, used: &HashSet<String>) -> impl Iterator<Item = &Set<'a>> {
        self.sets.iter().filter(|set| used.contains(set.name))
    }

    /// Set and entry of a text that must not stand in a pod's description.
    pub(super) fn carried(&self, slot: &Slot<'_>) -> Option<(&'static str, String)> {
        self.carried.get(slot).map(|entry| (CARRIER, entry.clone()))
    }
}

impl<'a> From<&'a DataSet> for Set<'a> {
    fn from(
        DataSet {
            name,
            entries,
            folder,
        }: &'a DataSet,
    ) -> Self {
        let entries = entries
            .iter()
            .map(|(name, value)| (Cow::Borrowed(name.as_str()), value.as_slice()));
        Self {
            name: name.as_str(),
            folder: folder.as_deref(),
            entries: entries.collect(),
        }
    }
}

/// Every text of a task that has to travel with the data.
fn texts_of(task: &Task) -> impl Iterator<Item = (Slot<'_>, &str)> {
    let steps = task.steps.iter().flat_map(
        |Step {
             name,
             command,
             args,
             env,
             ..
         }| {
            let env = env
                .iter()
                .filter_map(|Env { name, value }| Some((Part::Env(name), literal(value)?)));
            let command = command
                .iter()
                .enumerate()
                .map(|(at, operand)| (Part::Command(at), operand));
            let args = args
                .iter()
                .enumerate()
                .map(|(at, operand)| (Part::Arg(at), operand));
            let operands = command
                .chain(args)
                .filter_map(|(part, operand)| Some((part, text(operand)?)));
            let texts = env.chain(operands).filter(|(_, text)| expands(text));
            texts.map(|(part, text)| {
                (
                    Slot {
                        task: task.name.as_str(),
                        step: name.as_str(),
                        part,
                    },
                    text,
                )
            })
        },
    );
    let source = task.source.iter().flat_map(|source| {
        let login = source.credentials.as_ref();
        let has_login = clone::has_login(&source.url);
        [
            (Part::Url, Some(source.url.as_str()), has_login),
            (Part::Revision, source.revision.as_deref(), false),
            (
                Part::Username,
                login.and_then(|login| literal(&login.username)),
                true,
            ),
            (
                Part::Password,
                login.and_then(|login| literal(&login.password)),
                true,
            ),
        ]
    });
    let source = source.filter_map(|(part, text, secret)| Some((part, text?, secret)));
    let source = source.filter(|(_, text, secret)| *secret || expands(text));
    steps.chain(source.map(|(part, text, _)| {
        (
            Slot {
                task: task.name.as_str(),
                step: "",
                part,
            },
            text,
        )
    }))
}

/// A text that is written here, not referred to.
fn literal(value: &EnvValue) -> Option<&str> {
    match value {
        EnvValue::Operand(operand) => text(operand),
        EnvValue::Data { .. } | EnvValue::Secret(_) => None,
    }
}

fn text(operand: &Operand) -> Option<&str> {
    match operand {
        Operand::Text(text) => Some(text),
        Operand::Parameter(_) | Operand::Result { .. } | Operand::ResultPath(_) => None,
    }
}

/// An entry's name that no other entry has.
fn free_entry(
    Slot {
        task: _,
        step,
        part,
    }: &Slot<'_>,
    taken: &BTreeMap<Cow<'_, str>, &[u8]>,
) -> String {
    let name = match part {
        // The characters of a variable's name are those of an entry's.
        Part::Env(name) => format!("env.{step}.{}", name.get(..KEPT).unwrap_or(name)),
        Part::Command(at) => format!("command.{step}.{at}"),
        Part::Arg(at) => format!("arg.{step}.{at}"),
        Part::Url => "git.url".to_owned(),
        Part::Revision => "git.revision".to_owned(),
        Part::Username => "git.username".to_owned(),
        Part::Password => "git.password".to_owned(),
    };
    let mut free = name.clone();
    let mut count = 1;
    while taken.contains_key(free.as_str()) {
        count += 1;
        free = format!("{name}.{count}");
    }
    free
}
