//! The kinds of problems: what each says, and the name by which programs know it.
//!
//! A kind's fields hold the culprit; its text tells what to do about it. Adding one means a section in
//! `docs/problems/` and a fixture in `tests/<format>/err/`; a test counts them.

use super::{Position, Quoted};

/// What is wrong at a place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Kind {
    // The text.
    /// There is nothing.
    #[error("the document is empty: send the flow as JSON")]
    Empty,
    /// Bytes that are no text.
    #[error("byte {offset} is not UTF-8: send the flow as JSON in UTF-8")]
    NotUtf8 {
        /// How many bytes before it are fine.
        offset: usize,
    },
    /// A YAML document.
    #[error(
        "this looks like YAML, JSON is expected: convert it first, for example with `art flow merge -o json`"
    )]
    Yaml,
    /// Broken JSON.
    #[error("{message} at line {}, column {}: not valid JSON", position.line, position.column)]
    Syntax {
        /// What the reader met.
        message: String,
        /// Where it gave up.
        position: Position,
    },
    /// More problems than are told.
    #[error("and {count} more problems, not listed")]
    MoreProblems {
        /// How many are left out.
        count: usize,
    },

    // The shape.
    /// A number where a text belongs, and the like.
    #[error("expected {expected}, found {found}")]
    WrongType {
        /// What belongs there.
        expected: &'static str,
        /// What is there, shortened.
        found: String,
    },
    /// `null` in a list.
    #[error("`null` is no element: remove it, or write the element that was meant")]
    NullElement,
    /// Two fields that differ at most in case.
    #[error("the field is given twice (as {} before): field names ignore case, keep one", Quoted(.before))]
    DuplicateField {
        /// How the first one was spelled.
        before: String,
    },

    // The flow.
    /// A flow without a name.
    #[error("a flow needs a `name`: the names of its objects are made from it")]
    MissingName,
    /// A name of thousands of characters.
    #[error("the name has {length} bytes, at most {limit} are allowed: shorten it")]
    NameTooLong {
        /// How many it has.
        length: usize,
        /// How many it may have.
        limit: usize,
    },
    /// A name that Tekton would rewrite.
    #[error(
        "the name holds `$(`, which Tekton would replace where the name is a parameter: remove it"
    )]
    NameWithVariable,
    /// Nowhere to run.
    #[error("the label `namespace` is missing or blank: say in which namespace the flow runs")]
    MissingNamespace,
    /// A namespace that cannot exist.
    #[error("{} cannot be a namespace: use 1 to 63 of a-z, 0-9 and -, starting and ending with a letter or a digit", Quoted(.namespace))]
    IllegalNamespace {
        /// What was given.
        namespace: String,
    },
    /// Nothing to do.
    #[error("a flow needs at least one step")]
    MissingSteps,

    // A step.
    /// A step without a name.
    #[error("a step needs a `name`: its container is called by it")]
    MissingStepName,
    /// A name that no container can have.
    #[error("{} cannot be a step's name: use 1 to 58 of a-z, 0-9 and -, starting and ending with a letter or a digit", Quoted(.name))]
    IllegalStepName {
        /// What was given.
        name: String,
    },
    /// Two steps of one name.
    #[error("step {first} is already called {}: give each step a name of its own", Quoted(.name))]
    DuplicateStepName {
        /// The name.
        name: String,
        /// The index of the first step of that name.
        first: usize,
    },
    /// A step without an image.
    #[error("a step needs a `runtime`: the image that its container is started from")]
    MissingRuntime,
    /// Not an image reference.
    #[error("{} is not an image reference: write [registry/]path[:tag][@digest], the path in lower case", Quoted(.image))]
    IllegalImage {
        /// What was given, after the runtime prefix was put before it.
        image: String,
    },

    // What a step reads.
    /// Neither create, merge nor read.
    #[error("{} is not a source: write `create`, `merge` or `read`, or leave it out", Quoted(.given))]
    UnknownSource {
        /// What was given.
        given: String,
    },
    /// `source` says what to do with a package, and there is none.
    #[error("`source` needs a `package`: name the package, or leave `source` out")]
    SourceWithoutPackage,
    /// A package of which nothing would be run.
    #[error("`package` needs a `function` to run, unless `source` is `merge`: name the function")]
    PackageWithoutFunction,
    /// A function that would never be run.
    #[error(
        "`merge` opens the package and runs nothing: move the function to a step with source `read`, or leave it out"
    )]
    MergeWithFunction,
    /// Files are used that no step makes.
    #[error(
        "`{step_source}` needs files, and no step has source `create`: begin with a `create` step"
    )]
    SourceWithoutCreate {
        /// `merge` or `read`.
        step_source: &'static str,
    },
    /// Files are used before a step makes them.
    #[error(
        "`{step_source}` comes before the first `create` (step {create}): put the `create` step first"
    )]
    SourceBeforeCreate {
        /// `merge` or `read`.
        step_source: &'static str,
        /// The index of the first step that creates.
        create: usize,
    },
    /// One package, two ways of use.
    #[error("package {} is used with a source and, by step {other}, without one: use it in one way", Quoted(.package))]
    PackageUsedTwoWays {
        /// The package.
        package: String,
        /// The index of the step that uses it without a source.
        other: usize,
    },
    /// Two sources that would overwrite each other.
    #[error(
        "`create` empties the folder that step {other} runs its function in: do not mix `create` with steps that have only a function"
    )]
    CreateWithGit {
        /// The index of the first step that has only a function.
        other: usize,
    },

    // Git.
    /// A function without a place to be found in.
    #[error(
        "step {step} has a function and no package, so it is read from Git: give `git_uri` (or `git.git_uri`)"
    )]
    MissingGit {
        /// The index of the first such step.
        step: usize,
    },
    /// Not a repository that a step may clone.
    #[error("{} is not a repository's URL: use https, http, ssh, git or user@host:path", Quoted(.url))]
    IllegalGitUrl {
        /// What was given, without what might be a password.
        url: String,
    },
    /// Not a branch, tag or commit.
    #[error("{} is not a branch, tag or commit", Quoted(.revision))]
    IllegalRevision {
        /// What was given.
        revision: String,
    },
    /// Two places of one source.
    #[error("`git_uri` and `git.git_uri` differ: keep one of them")]
    TwoGitUrls,
    /// A password that the protocol has no use for.
    #[error(
        "a login works over http and https only: use such a URL, or leave `git_login` and `git_password` out and give the service account an SSH key"
    )]
    LoginWithoutHttp,

    // Inputs.
    /// An input without a name.
    #[error("{what} needs a name")]
    MissingInputName {
        /// Which input.
        what: &'static str,
    },
    /// A name that is Hookrun's to give.
    #[error("{} begins with OXART_, which is kept for the runtime: choose another name", Quoted(.name))]
    ReservedName {
        /// What was given.
        name: String,
    },
    /// A name that no environment variable can have.
    #[error("{} cannot be an environment variable: use letters, digits, `_`, `-` and `.`, and do not begin with a digit or `..`", Quoted(.name))]
    IllegalVariableName {
        /// What was given.
        name: String,
    },
    /// A name that no entry of a Secret can have.
    #[error("{} cannot be a file's name in a Secret: use 1 to 253 letters, digits, `-`, `_` and `.`, no `/`, and do not begin with `..`", Quoted(.entry))]
    IllegalEntryName {
        /// What was given, or what was made of it.
        entry: String,
    },
    /// A text that no process can be given.
    #[error("the value holds a NUL character, which no environment variable can: use a file input")]
    NulInValue,
    /// A text that is too long for a process.
    #[error(
        "the value has {length} bytes; an environment variable holds {limit}: use a file input"
    )]
    ValueTooLong {
        /// How many it has.
        length: usize,
        /// How many it may have.
        limit: usize,
    },
    /// More than a Secret holds.
    #[error(
        "the flow's {set} have {size} bytes together; a Secret holds {limit}: move large contents elsewhere"
    )]
    DataTooLarge {
        /// Which set.
        set: String,
        /// How many bytes.
        size: usize,
        /// How many it may have.
        limit: usize,
    },

    // What is stored in the cluster.
    /// A part of a stored pipeline that is not what Tekton stores.
    #[error("the stored object is not what Tekton v1 stores: expected {expected}")]
    NotTekton {
        /// What belongs there.
        expected: &'static str,
    },
    /// A task that is gone.
    #[error("the pipeline uses task {}, which does not exist: post the flow again", Quoted(.task))]
    TaskNotFound {
        /// The task's name.
        task: String,
    },
    /// A Secret that is gone.
    #[error("the flow uses the Secret {}, which does not exist: post the flow again", Quoted(.secret))]
    SecretNotFound {
        /// The Secret's name.
        secret: String,
    },
    /// A parameter that a run by name cannot fill.
    #[error("parameter {} has no default, and a run by name gives only `deployment-name`: give it a default", Quoted(.parameter))]
    ParameterWithoutValue {
        /// The parameter's name.
        parameter: String,
    },
    /// A workspace that a run by name cannot bind.
    #[error("workspace {} must be given to each run, which a run by name cannot do: make it optional", Quoted(.workspace))]
    WorkspaceWithoutVolume {
        /// The workspace's name.
        workspace: String,
    },
}

impl Kind {
    /// The name by which programs and `docs/problems/` know this kind; never changes.
    pub fn slug(&self) -> &'static str {
        match self {
            Self::Empty => "empty-document",
            Self::NotUtf8 { .. } => "not-utf-8",
            Self::Yaml => "yaml-document",
            Self::Syntax { .. } => "json-syntax",
            Self::MoreProblems { .. } => "more-problems",
            Self::WrongType { .. } => "wrong-type",
            Self::NullElement => "null-element",
            Self::DuplicateField { .. } => "duplicate-field",
            Self::MissingName => "missing-name",
            Self::NameTooLong { .. } => "name-too-long",
            Self::NameWithVariable => "name-with-variable",
            Self::MissingNamespace => "missing-namespace",
            Self::IllegalNamespace { .. } => "illegal-namespace",
            Self::MissingSteps => "missing-steps",
            Self::MissingStepName => "missing-step-name",
            Self::IllegalStepName { .. } => "illegal-step-name",
            Self::DuplicateStepName { .. } => "duplicate-step-name",
            Self::MissingRuntime => "missing-runtime",
            Self::IllegalImage { .. } => "illegal-image",
            Self::UnknownSource { .. } => "unknown-source",
            Self::SourceWithoutPackage => "source-without-package",
            Self::PackageWithoutFunction => "package-without-function",
            Self::MergeWithFunction => "merge-with-function",
            Self::SourceWithoutCreate { .. } => "source-without-create",
            Self::SourceBeforeCreate { .. } => "source-before-create",
            Self::PackageUsedTwoWays { .. } => "package-used-two-ways",
            Self::CreateWithGit { .. } => "create-with-git",
            Self::MissingGit { .. } => "missing-git",
            Self::IllegalGitUrl { .. } => "illegal-git-url",
            Self::IllegalRevision { .. } => "illegal-revision",
            Self::TwoGitUrls => "two-git-urls",
            Self::LoginWithoutHttp => "login-without-http",
            Self::MissingInputName { .. } => "missing-input-name",
            Self::ReservedName { .. } => "reserved-name",
            Self::IllegalVariableName { .. } => "illegal-variable-name",
            Self::IllegalEntryName { .. } => "illegal-entry-name",
            Self::NulInValue => "nul-in-value",
            Self::ValueTooLong { .. } => "value-too-long",
            Self::DataTooLarge { .. } => "data-too-large",
            Self::NotTekton { .. } => "not-tekton",
            Self::TaskNotFound { .. } => "task-not-found",
            Self::SecretNotFound { .. } => "secret-not-found",
            Self::ParameterWithoutValue { .. } => "parameter-without-value",
            Self::WorkspaceWithoutVolume { .. } => "workspace-without-volume",
        }
    }
}
