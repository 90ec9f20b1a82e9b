//! Reads the tables: from a payload and the mapping of its type to an [`Event`].
//!
//! Whatever the payload is, this ends without a fault: a place that does not exist, or holds something else than the
//! mapping expects, is a field that is not told.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    Event, Image, PullRequest, Repository, image,
    mapping::{
        Deleted, Events, Files, Fork, ImageAt, Mapping, Pointers, Present, PullRequestAt, RefAt,
        RepositoryAt, Text,
    },
};

/// Longest text that is taken from a payload, in bytes.
const TEXT_BYTES: usize = 4096;
/// Most bytes of all paths of changed files together; beyond, nobody waits for patterns to be compared with them, and
/// the files are not known.
const PATHS_BYTES: usize = 256 << 10;

/// What a payload says: `provider` as in the table of providers, `event_type` as the provider calls it, `body` the
/// event as JSON, where it is any, out of its envelope.
#[must_use]
pub fn of(provider: &str, event_type: &str, body: Option<&Value>) -> Event {
    let told = crate::provider(provider)
        .zip(body)
        .and_then(|(provider, payload)| told(&provider.events, event_type, payload));
    Event {
        r#type: event_type.to_owned(),
        ..told.unwrap_or_default()
    }
}

/// What the payload of an event says, whose type somebody claims.
fn told(events: &Events, event_type: &str, payload: &Value) -> Option<Event> {
    let event = |event_type| {
        events.mappings.iter().find_map(|mapping| {
            let rest = rest(mapping.types, event_type)?;
            let reader = Reader { payload, rest };
            let holds = reader.holds(mapping);
            holds.then(|| (reader.event(mapping), mapping.proves_own()))
        })
    };
    let (claimed, proven) = event(event_type)?;
    let own = claimed.pull_request.is_none();
    let is_there = |pointer: &&str| {
        payload
            .pointer(pointer)
            .is_some_and(|found| !found.is_null())
    };
    if own && !proven && events.proposals.iter().any(is_there) {
        return event("").map(|(event, _)| event);
    }
    Some(claimed)
}

/// What the `*` in one of the types stands for; `None` if the type is another one.
fn rest<'a>(types: &[&str], event_type: &'a str) -> Option<&'a str> {
    types
        .iter()
        .find_map(|known| match known.strip_suffix('*') {
            Some(start) => event_type.strip_prefix(start),
            None => (*known == event_type).then_some(""),
        })
}

/// One payload.
#[derive(Clone, Copy)]
struct Reader<'a> {
    payload: &'a Value,
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn holds(self, mapping: &Mapping) -> bool {
        mapping.given.is_none_or(|(pointer, expected)| {
            let text = self.at(pointer);
            text.is_some_and(|text| text.eq_ignore_ascii_case(expected))
        })
    }

    fn event(self, mapping: &Mapping) -> Event {
        let author = self.text(mapping.author);
        let pull_request = mapping.pull_request.and_then(|at| {
            let told = self.pull_request(&at)?;
            Some(PullRequest {
                author: author.clone(),
                ..told
            })
        });
        // The branch of a pull request may be another repository's: it is told there, and never as the event's own.
        let refs = match pull_request {
            Some(_) => Vec::new(),
            None => self.refs(mapping),
        };
        let r#ref = refs.first().cloned();
        let part = |start: &str| {
            let name = r#ref.as_deref()?.strip_prefix(start)?;
            (!name.is_empty()).then(|| name.to_owned())
        };
        let revision = self.object(mapping.revision);
        Event {
            r#type: String::new(),
            action: self.text(mapping.action),
            repository: self.repository(mapping.repository),
            branch: part("refs/heads/"),
            tag: part("refs/tags/"),
            r#ref,
            refs,
            revision: revision.or_else(|| pull_request.as_ref()?.revision.clone()),
            before: self.object(mapping.before),
            changed: mapping.files.and_then(|at| self.changed(&at, mapping)),
            deleted: self.deleted(mapping.deleted),
            author,
            sender: self.text(mapping.sender),
            pull_request,
            image: mapping.image.and_then(|at| self.image(&at)),
        }
    }

    fn at(self, pointer: &str) -> Option<String> {
        let text = match self.payload.pointer(pointer)? {
            Value::String(text) if !text.is_empty() && text.len() <= TEXT_BYTES => text.clone(),
            Value::Number(number) if number.is_i64() || number.is_u64() => number.to_string(),
            _ => return None,
        };
        Some(text)
    }

    fn first(self, pointers: Pointers) -> Option<String> {
        pointers.iter().find_map(|pointer| self.at(pointer))
    }

    fn is_true(self, pointer: &str) -> bool {
        self.payload.pointer(pointer) == Some(&Value::Bool(true))
    }

    fn text(self, text: Text) -> Option<String> {
        match text {
            Text::Nothing => None,
            Text::At(pointers) => self.first(pointers),
            Text::Is(text) => Some(text.to_owned()),
            Text::Rest => Some(self.rest.to_owned()).filter(|rest| !rest.is_empty()),
            Text::Joined(pointers) => {
                let parts: Option<Vec<String>> =
                    pointers.iter().map(|pointer| self.at(pointer)).collect();
                Some(parts?.join("/"))
            }
            Text::Until(end, pointer) => {
                let text = self.at(pointer)?;
                let start = text.split(end).next().unwrap_or_default();
                (!start.is_empty()).then(|| start.to_owned())
            }
            Text::IfSame([one, other], pointer) => {
                let same = self.at(one)? == self.at(other)?;
                same.then(|| self.at(pointer)).flatten()
            }
            Text::Of {
                list,
                key,
                value,
                at,
            } => self.elements(list).find_map(|element| {
                let found = element.at(key)? == value;
                found.then(|| element.at(at)).flatten()
            }),
        }
    }

    fn elements(self, list: &str) -> impl Iterator<Item = Reader<'a>> {
        let list = self.payload.pointer(list).and_then(Value::as_array);
        let rest = self.rest;
        let reader = move |payload| Reader { payload, rest };
        list.into_iter().flatten().map(reader)
    }

    /// The name of a Git object. Zeros name none; Flux writes `main@sha1:…`, and `latest@sha256:…` for an artifact.
    fn object(self, pointers: Pointers) -> Option<String> {
        let text = self.first(pointers)?;
        let name = text.rsplit('@').next().unwrap_or_default();
        let name = name.strip_prefix("sha1:").unwrap_or(name);
        let names_one = !is_zero(name) && !name.contains('/');
        names_one.then(|| name.to_owned())
    }

    fn refs(self, mapping: &Mapping) -> Vec<String> {
        match mapping.refs {
            Some(list) => self
                .elements(list)
                .filter_map(|element| element.r#ref(mapping.r#ref))
                .collect(),
            None => self.r#ref(mapping.r#ref).into_iter().collect(),
        }
    }

    fn r#ref(self, at: RefAt) -> Option<String> {
        let branch = |name| format!("refs/heads/{name}");
        let tag = |name| format!("refs/tags/{name}");
        match at {
            RefAt::Nothing => None,
            RefAt::Full(pointers) => self
                .first(pointers)
                .filter(|name| name.starts_with("refs/")),
            RefAt::Branch(pointers) => self.first(pointers).map(branch),
            RefAt::Tag(pointers) => self.first(pointers).map(tag),
            RefAt::Named { name, kind } => {
                let name = self.first(name)?;
                let kind = kind.iter().find_map(|kind| self.payload.pointer(kind))?;
                match kind {
                    Value::Bool(true) => Some(tag(name)),
                    Value::Bool(false) => Some(branch(name)),
                    Value::String(kind) if kind.eq_ignore_ascii_case("branch") => {
                        Some(branch(name))
                    }
                    Value::String(kind) if kind.eq_ignore_ascii_case("tag") => Some(tag(name)),
                    _ => None,
                }
            }
        }
    }

    fn deleted(self, at: Deleted) -> bool {
        match at {
            Deleted::Never => false,
            Deleted::Always => true,
            Deleted::True(pointer) => self.is_true(pointer),
            Deleted::Is(pointer, text) => self.at(pointer).as_deref() == Some(text),
            Deleted::Zero(pointer) => self.at(pointer).is_some_and(|name| is_zero(&name)),
        }
    }

    fn repository(self, at: RepositoryAt) -> Option<Repository> {
        let full_name = self.text(at.full_name);
        let last = full_name
            .as_deref()
            .and_then(|name| name.rsplit('/').next());
        let repository = Repository {
            name: self.text(at.name).or_else(|| last.map(str::to_owned)),
            full_name,
            url: self.text(at.url),
            clone_url: self.text(at.clone_url),
        };
        (repository != Repository::default()).then_some(repository)
    }

    fn pull_request(self, at: &PullRequestAt) -> Option<PullRequest> {
        let differ = |one, other| Some(self.at(one)? != self.at(other)?);
        let fork = match at.fork {
            Fork::Unknown => None,
            Fork::Differ(one, other) => differ(one, other),
            Fork::DifferOrNamed([one, other], named) => {
                differ(one, other).filter(|differ| *differ || self.at(named).is_some())
            }
            Fork::Present(pointer) => self.is_there(pointer).then_some(true),
        };
        let branch = |pointers| {
            let name = self.first(pointers)?;
            let short = name.strip_prefix("refs/heads/").unwrap_or(&name);
            Some(short.to_owned())
        };
        let present = match at.present {
            Present::Always => true,
            Present::At(pointer) => self.is_there(pointer),
            Present::AtOrElsewhere(pointer) => self.is_there(pointer) || fork != Some(false),
        };
        present.then(|| PullRequest {
            number: self.first(at.number).and_then(|number| number.parse().ok()),
            title: self.first(at.title),
            url: self.first(at.url),
            source_branch: branch(at.source_branch),
            target_branch: branch(at.target_branch),
            revision: self.object(at.revision),
            author: None,
            fork,
        })
    }

    fn is_there(self, pointer: &str) -> bool {
        self.payload
            .pointer(pointer)
            .is_some_and(|value| !value.is_null())
    }

    fn image(self, at: &ImageAt) -> Option<Image> {
        let references = at.references.iter().filter_map(|pointer| self.at(pointer));
        let packages = at.package.iter().filter_map(|pointer| self.at(pointer));
        let told = image::Parts {
            registry: self.text(at.registry),
            repository: self.text(at.repository),
            tag: self.text(at.tag),
            digest: self.text(at.digest),
        };
        let parts = references
            .map(|text| image::reference(&text))
            .chain(packages.filter_map(|text| image::package(&text)))
            .fold(told, image::Parts::or);
        let tags = at
            .tags
            .map(|list| self.elements(list).filter_map(|tag| tag.at("")).collect());
        parts.image(tags.unwrap_or_default())
    }

    /// The files that a push changed, if the payload lists all of them.
    fn changed(self, at: &Files, mapping: &Mapping) -> Option<Vec<String>> {
        let commits = self.payload.pointer(at.commits)?.as_array()?;
        let all = match at.total {
            Some(total) => self.payload.pointer(total)?.as_u64()? == commits.len() as u64,
            None => commits.len() < at.most_commits,
        };
        let known = all
            && !commits.is_empty()
            && !at.unless.iter().any(|pointer| self.is_true(pointer))
            && self.object(mapping.before).is_some()
            && self.object(mapping.revision).is_some();
        if !known {
            return None;
        }
        let mut paths = BTreeSet::new();
        for commit in commits {
            let files = files(commit)?;
            if files.len() >= at.most_files {
                return None;
            }
            paths.extend(files);
        }
        let bytes: usize = paths.iter().map(|path| path.len()).sum();
        (bytes <= PATHS_BYTES).then(|| paths.into_iter().map(str::to_owned).collect())
    }
}

/// The files of a commit; `None` if it does not list them.
fn files(commit: &Value) -> Option<Vec<&str>> {
    let mut files = Vec::new();
    for list in ["added", "modified", "removed"] {
        for file in commit.get(list)?.as_array()? {
            files.push(file.as_str()?);
        }
    }
    Some(files)
}

fn is_zero(name: &str) -> bool {
    name.bytes().all(|byte| byte == b'0')
}
