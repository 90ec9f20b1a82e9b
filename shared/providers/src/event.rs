//! What a payload says, in words that are the same for all providers: so that a filter reads `event.branch == "main"`
//! whichever provider sent it.
//!
//! Each provider has a table of event types and of the places in the payload where the fields of an [`Event`] are
//! (`event/table`), which its entry names; one engine reads the tables (`event/read.rs`). A provider or type without an
//! entry gives an event that knows its type alone.
//!
//! Never: a field that the payload does not tell. What is not told, or not told for certain, is absent, so that a
//! filter that asks for it says no; only changed files differ, see [`Changed`]. Nothing in here is proof of anything:
//! which parts of a request are signed is the verification's business.

mod image;
pub(crate) mod mapping;
mod read;
pub(crate) mod table;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Content, Facts, Provider, glob::Glob};

pub use read::of;

/// What a verified request's payload says.
#[must_use]
pub fn event(provider: &Provider, facts: &Facts, content: &Content<'_>) -> Event {
    of(provider.name, &facts.event_type, content.json.as_ref())
}

/// Entries that a list may have in [`Event::to_record`].
const RECORDED_ENTRIES: usize = 256;

/// The fields of an [`Event`] as JSON, those within others with a dot.
pub const FIELDS: [&str; 30] = [
    "type",
    "action",
    "repository.name",
    "repository.fullName",
    "repository.url",
    "repository.cloneUrl",
    "ref",
    "refs",
    "branch",
    "tag",
    "revision",
    "before",
    "changed",
    "deleted",
    "author",
    "sender",
    "pullRequest.number",
    "pullRequest.title",
    "pullRequest.url",
    "pullRequest.sourceBranch",
    "pullRequest.targetBranch",
    "pullRequest.revision",
    "pullRequest.author",
    "pullRequest.fork",
    "image.registry",
    "image.repository",
    "image.tag",
    "image.tags",
    "image.digest",
    "image.reference",
];

/// What a payload says.
///
/// As JSON its fields are in camel case, and absent ones are left out. Texts of more than 4,096 bytes are taken for
/// absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Event {
    /// What happened, as the provider calls it: `push`, `Merge Request Hook`, `pullrequest:created`.
    pub r#type: String,
    /// What was done, where the provider tells it beside the type: `opened`, `open`, `created`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The repository that it is about; of a pull request, the one that it is to be merged into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<Repository>,
    /// The ref that moved, in full: `refs/heads/main`, `refs/tags/v1`. Where several moved at once, the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#ref: Option<String>,
    /// All refs that moved. Bitbucket and Azure DevOps tell of all that one push moves in one event.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refs: Vec<String>,
    /// Name of the branch, where `ref` is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Name of the tag, where `ref` is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The commit that there is now; of a pull request, the newest of its source. Bitbucket Cloud shortens those.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The commit that `ref` was at before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Paths of the files that were changed, in order, each once; absent where the payload does not list all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed: Option<Vec<String>>,
    /// Whether `ref` was deleted.
    pub deleted: bool,
    /// Account of whoever opened the pull request, or the issue, that it is about. The authors of commits are not told
    /// here: who makes a commit writes any name into it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Account of whoever did it. Login names; at Bitbucket Cloud, which has none, the UUID with its braces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// The pull request, or merge request, that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull_request: Option<PullRequest>,
    /// The container image that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
}

/// A repository of code, or of packages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Repository {
    /// The last part of `full_name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// With owner, group or project: `acme/app`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full_name: Option<String>,
    /// Its page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What Git clones over HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clone_url: Option<String>,
}

/// A pull request, or merge request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PullRequest {
    /// Its number in the repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// What its author calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Its page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Branch that it brings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_branch: Option<String>,
    /// Branch that it is to be merged into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_branch: Option<String>,
    /// Newest commit of its source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Account of whoever opened it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Whether its source is another repository than its target; absent where the payload does not tell. Whoever
    /// decides by it has to take "not told" for a fork.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fork: Option<bool>,
}

/// A container image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Image {
    /// Host of the registry, with its port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry: Option<String>,
    /// Path in the registry: `acme/app`.
    pub repository: String,
    /// The tag; where several were set at once, the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// All tags that were set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// `sha256:` and hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// What to pull: `registry/repository@digest`, `:tag` where no digest is known. Absent where the registry is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

/// Whether an event changed a file that a pattern matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// At least one.
    Yes,
    /// None.
    No,
    /// The payload does not list all changed files, or the pattern is none. A filter has to let this pass: a run that
    /// was not needed is seen, one that is missing is not.
    Unknown,
}

impl Event {
    /// Whether a changed file is matched by the pattern, which is as in `.gitignore`: see [`Glob`].
    #[must_use]
    pub fn changed(&self, pattern: &str) -> Changed {
        match (&self.changed, Glob::new(pattern)) {
            (Some(paths), Ok(glob)) if paths.iter().any(|path| glob.matches(path)) => Changed::Yes,
            (Some(_), Ok(_)) => Changed::No,
            (None, _) | (_, Err(_)) => Changed::Unknown,
        }
    }

    /// The event as JSON for a record of it: without lists of more than 256 entries, since a record is kept by etcd.
    #[must_use]
    pub fn to_record(&self) -> Value {
        let mut short = self.clone();
        short.changed = short
            .changed
            .filter(|paths| paths.len() <= RECORDED_ENTRIES);
        if short.refs.len() > RECORDED_ENTRIES {
            short.refs.clear();
        }
        // Only maps with other keys than texts cannot be written, and there are none.
        serde_json::to_value(short).unwrap_or_default()
    }
}
