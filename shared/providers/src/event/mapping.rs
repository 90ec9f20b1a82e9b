//! The words in which the tables say where the fields of an event are. Data alone; `read` gives them their meaning.

/// JSON pointers (RFC 6901), tried in this order.
pub(super) type Pointers = &'static [&'static str];

/// What one provider's payloads say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Events {
    /// Of several mappings for a type the first one holds.
    pub(super) mappings: &'static [Mapping],
    /// Places that only payloads about a pull request have, or about what may be one's. The type of an event is often
    /// in a header that nobody signs: a payload that has such a place, under a type that is about no pull request, is
    /// read as one of a type that nobody knows.
    pub(super) proposals: Pointers,
}

/// Payloads without a common shape.
pub(crate) const NO_EVENTS: Events = Events {
    mappings: &[],
    proposals: &[],
};

/// What one provider says in the events of some types.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mapping {
    /// Types of events; a `*` at the end stands for anything.
    pub(super) types: &'static [&'static str],
    /// Holds only where this pointer names this text, whatever its case.
    pub(super) given: Option<(&'static str, &'static str)>,
    pub(super) action: Text,
    pub(super) repository: RepositoryAt,
    /// List of the refs that moved; then `r#ref` is relative to each of its elements.
    pub(super) refs: Option<&'static str>,
    pub(super) r#ref: RefAt,
    pub(super) revision: Pointers,
    pub(super) before: Pointers,
    pub(super) deleted: Deleted,
    pub(super) files: Option<Files>,
    pub(super) author: Text,
    pub(super) sender: Text,
    pub(super) pull_request: Option<PullRequestAt>,
    pub(super) image: Option<ImageAt>,
}

/// A mapping that says nothing; what an entry leaves out is taken from here.
pub(super) const NOTHING: Mapping = Mapping {
    types: &["*"],
    given: None,
    action: Text::Nothing,
    repository: NO_REPOSITORY,
    refs: None,
    r#ref: RefAt::Nothing,
    revision: &[],
    before: &[],
    deleted: Deleted::Never,
    files: None,
    author: Text::Nothing,
    sender: Text::Nothing,
    pull_request: None,
    image: None,
};

impl Mapping {
    /// Whether an event without a pull request is one that was shown to be of the repository itself.
    pub(super) const fn proves_own(&self) -> bool {
        match self.pull_request {
            Some(at) => matches!(at.present, Present::AtOrElsewhere(_)),
            None => false,
        }
    }
}

/// Where a text is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Text {
    Nothing,
    /// The first of these places that holds a text that is not empty, or a whole number.
    At(Pointers),
    /// The text itself.
    Is(&'static str),
    /// What the `*` of the event's type stands for.
    Rest,
    /// The texts of all these places, with `/` between them.
    Joined(Pointers),
    /// The text of this place up to this character.
    Until(char, &'static str),
    /// The text of `at`, if the values of two places are equal.
    IfSame([&'static str; 2], &'static str),
    /// In a list, the text of `at` in the first element whose `key` is `value`.
    Of {
        list: &'static str,
        key: &'static str,
        value: &'static str,
        at: &'static str,
    },
}

/// The first of these places that holds a text or a number.
pub(super) const fn at(pointers: Pointers) -> Text {
    Text::At(pointers)
}

/// Where a repository is told. A name that is not told is the last part of the full name.
#[derive(Clone, Copy, Debug)]
pub(super) struct RepositoryAt {
    pub(super) name: Text,
    pub(super) full_name: Text,
    pub(super) url: Text,
    pub(super) clone_url: Text,
}

pub(super) const NO_REPOSITORY: RepositoryAt = RepositoryAt {
    name: Text::Nothing,
    full_name: Text::Nothing,
    url: Text::Nothing,
    clone_url: Text::Nothing,
};

/// Where a ref is told.
#[derive(Clone, Copy, Debug)]
pub(super) enum RefAt {
    Nothing,
    /// In full: `refs/heads/main`.
    Full(Pointers),
    /// A name, and beside it what it names: `branch` or `tag` in any case, or `true` for a tag.
    Named {
        name: Pointers,
        kind: Pointers,
    },
    /// The name of a branch.
    Branch(Pointers),
    /// The name of a tag.
    Tag(Pointers),
}

/// When a ref was deleted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deleted {
    Never,
    Always,
    /// This place holds `true`.
    True(&'static str),
    /// This place holds this text.
    Is(&'static str, &'static str),
    /// This place holds nothing but zeros, which is Git's name for no object.
    Zero(&'static str),
}

/// Where a push lists the files that it changed, and when that list is complete.
///
/// Each commit has the lists `added`, `modified` and `removed`. A push that makes a ref is never complete: what it is
/// to be compared with is for the reader to choose.
#[derive(Clone, Copy, Debug)]
pub(super) struct Files {
    /// The list of commits.
    pub(super) commits: &'static str,
    /// How long that list is at most at the provider; one of this length may have been cut.
    pub(super) most_commits: usize,
    /// The number of all commits, where the payload tells it; then it decides.
    pub(super) total: Option<&'static str>,
    /// How many files of one commit are listed at most; a commit with so many may have been cut.
    pub(super) most_files: usize,
    /// Where one of these places holds `true`, commits that were dropped are not listed.
    pub(super) unless: Pointers,
}

/// Where a pull request is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct PullRequestAt {
    pub(super) present: Present,
    pub(super) number: Pointers,
    pub(super) title: Pointers,
    pub(super) url: Pointers,
    /// A branch, in full or by its name.
    pub(super) source_branch: Pointers,
    /// A branch, in full or by its name.
    pub(super) target_branch: Pointers,
    pub(super) revision: Pointers,
    pub(super) fork: Fork,
}

pub(super) const NO_PULL_REQUEST: PullRequestAt = PullRequestAt {
    present: Present::Always,
    number: &[],
    title: &[],
    url: &[],
    source_branch: &[],
    target_branch: &[],
    revision: &[],
    fork: Fork::Unknown,
};

/// Events that may be about what a pull request from a fork brings, without telling: a branch that is named may be the
/// fork's. `any` says what every event of that provider tells.
pub(super) const fn elsewhere(
    any: Mapping,
    types: &'static [&'static str],
    source_branch: Pointers,
    revision: Pointers,
) -> Mapping {
    Mapping {
        types,
        pull_request: Some(PullRequestAt {
            source_branch,
            revision,
            ..NO_PULL_REQUEST
        }),
        ..any
    }
}

/// Whether an event is about a pull request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Present {
    /// By its type.
    Always,
    /// If this place holds something.
    At(&'static str),
    /// If this place holds something, or the event is not known to be of the repository itself.
    AtOrElsewhere(&'static str),
}

/// How a payload tells that a pull request comes from a fork.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fork {
    /// Not at all.
    Unknown,
    /// These two places name two repositories; where either is missing, nothing is known.
    Differ(&'static str, &'static str),
    /// The same, but that both are one says something only where this place holds a text.
    DifferOrNamed([&'static str; 2], &'static str),
    /// This place is there if so. That it is missing proves nothing.
    Present(&'static str),
}

/// Where a container image is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct ImageAt {
    /// References such as `registry/repository:tag@digest`, each of which may tell a part.
    pub(super) references: Pointers,
    /// A package URL: `pkg:oci/app@sha256%3A00?repository_url=registry/repository&tag=v1`.
    pub(super) package: Pointers,
    pub(super) registry: Text,
    pub(super) repository: Text,
    pub(super) tag: Text,
    /// List of tags.
    pub(super) tags: Option<&'static str>,
    pub(super) digest: Text,
}

pub(super) const NO_IMAGE: ImageAt = ImageAt {
    references: &[],
    package: &[],
    registry: Text::Nothing,
    repository: Text::Nothing,
    tag: Text::Nothing,
    tags: None,
    digest: Text::Nothing,
};
