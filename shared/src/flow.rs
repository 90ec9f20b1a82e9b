//! `Flow`: the one model that every format is lowered to.
//!
//! It exists so that N formats and one back end cost N + 1 conversions. It says *what* is to run, in words that are
//! neither a format's nor Tekton's, and holds only what has been checked: names are [`Label`]s, references point at
//! things that exist, text of a user is told apart from references to values that come later ([`Operand`]).
//!
//! It is never serialized, never reads a clock, and knows neither formats nor Tekton.

use std::{collections::BTreeMap, time::Duration};

use crate::name::Label;

/// Work that can be started: tasks with their order, their data, and who they run as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The name as its author wrote it; object names are derived from it by [`crate::name::object_name`].
    pub name: String,
    /// What the author says about it; empty where nothing is said.
    pub description: String,
    /// The namespace that the document itself asks for, if it does.
    pub namespace: Option<Label>,
    /// Values that a run may be given. Texts in here have no way round Tekton's substitution: a format refuses those
    /// that [`expands`].
    pub parameters: Vec<Parameter>,
    /// The tasks; those without [`Task::dependencies`] start at once and run in parallel.
    pub tasks: Vec<Task>,
    /// Tasks that run after all others, whatever became of them.
    pub finally: Vec<Task>,
    /// Files and secrets that steps read.
    pub data: Vec<DataSet>,
    /// The [`DataSet`] whose folder also shows the event's payload, under the given entry name, to every step.
    pub payload: Option<PayloadFile>,
    /// How long a run may take altogether; `None` leaves it to the cluster.
    pub timeout: Option<Duration>,
    /// Who its runs act as; what is left out is the installation's choice.
    pub identity: Identity,
}

/// Who a run acts as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The ServiceAccount, whose rights and image pull secrets the pods get.
    pub service_account: Option<String>,
    /// The user of the pods' processes.
    pub user: Option<i64>,
    /// The group that owns the pods' folders.
    pub group: Option<i64>,
}

impl Flow {
    /// The steps that ask for full access to their node; whether they may is for the caller to say.
    pub fn privileged(&self) -> impl Iterator<Item = &Step> {
        let tasks = self.tasks.iter().chain(&self.finally);
        tasks
            .flat_map(|task| &task.steps)
            .filter(|step| step.privilege == Privilege::Root)
    }
}

/// How many bytes a Secret of Kubernetes holds, and so a [`DataSet`].
pub const DATA_MAX: usize = 1024 * 1024;

/// Whether Tekton or the kubelet would act upon a text instead of handing it on.
///
/// ```
/// use flows::flow::expands;
///
/// assert!(expands("$(params.name)") && expands("costs 5$$"));
/// assert!(!expands("costs $5, or $HOME"));
/// ```
pub fn expands(text: &str) -> bool {
    text.contains("$(") || text.contains("$$")
}

/// A named value that a run is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Name; letters, digits, `-`, `_`.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// The value of the run that is being made; `None` where only a declaration exists.
    pub value: Option<Value>,
    /// The value where a run gives none.
    pub default: Option<Value>,
}

/// A parameter's value, in the three shapes that Tekton knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// One text.
    Text(String),
    /// A list of texts.
    List(Vec<String>),
    /// Texts by key.
    Map(BTreeMap<String, String>),
}

/// Steps that share one pod, one file system and one identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Unique among [`Flow::tasks`] and [`Flow::finally`].
    pub name: Label,
    /// The author's own name for it where [`Task::name`] had to differ; empty otherwise.
    pub display_name: String,
    /// A repository that is cloned into the working folder before the first step.
    pub source: Option<GitSource>,
    /// Run one after the other; the first that fails ends the task. Never empty.
    pub steps: Vec<Step>,
    /// Tasks that must have ended before this one starts.
    pub dependencies: Vec<Label>,
    /// All must hold, or the task is skipped.
    pub conditions: Vec<Condition>,
    /// Values that a step writes for later tasks.
    pub results: Vec<TaskResult>,
    /// How long one try may take; `None` leaves it to the cluster.
    pub timeout: Option<Duration>,
    /// What a failure of this task means for it and for the others.
    pub on_failure: OnFailure,
}

/// What a failed task does to the run.
///
/// Trying again and going on are alternatives: Tekton refuses a task that asks for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// The run ends as failed; tasks that have not started are not started.
    Stop {
        /// How often the task is tried again before.
        retries: u32,
    },
    /// Other tasks go on as if nothing had happened.
    Continue,
}

/// One container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Unique within its task.
    pub name: Label,
    /// Image reference.
    pub image: String,
    /// Replaces the image's start command; empty keeps it.
    pub command: Vec<Operand>,
    /// Arguments of the start command.
    pub args: Vec<Operand>,
    /// Environment, in the order given; names are unique.
    pub env: Vec<Env>,
    /// The [`DataSet`]s whose folder this step sees.
    pub mounts: Vec<Label>,
    /// Whether the step runs as privileged root instead of the pod's plain user.
    pub privilege: Privilege,
    /// How long the step may take; `None` sets no limit of its own.
    pub timeout: Option<Duration>,
}

/// What a step may do to its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Privilege {
    /// The pod's plain user.
    #[default]
    None,
    /// Privileged root: full access to the node. Only where configuration allows the namespace.
    Root,
}

/// One environment variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Env {
    /// Name; letters, digits, `_`, `-`, `.`, not starting with a digit.
    pub name: String,
    /// Where its value comes from.
    pub value: EnvValue,
}

/// Where an environment variable's value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvValue {
    /// A text or a reference.
    Operand(Operand),
    /// An entry of one of the flow's own data sets.
    Data {
        /// The set's name.
        set: Label,
        /// The entry's name.
        entry: String,
    },
    /// An entry of a Secret that exists in the namespace already.
    Secret(SecretKey),
}

impl EnvValue {
    /// A text, delivered verbatim.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Operand(Operand::Text(text.into()))
    }
}

/// A text, or a reference to a value that is only known later.
///
/// Keeping the two apart is what stops a user's text from being acted upon: emission delivers a
/// [`Operand::Text`] to the container byte for byte, `$(…)` included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    /// Delivered verbatim.
    Text(String),
    /// The value of a [`Parameter`] of the flow.
    Parameter(String),
    /// A value that another task wrote; also makes this task wait for that one.
    Result {
        /// The task that writes it.
        task: Label,
        /// The [`TaskResult`]'s name.
        result: String,
    },
    /// Path of the file to which this task writes the result of that name.
    ResultPath(String),
}

/// A check that decides whether a task runs.
///
/// Its texts have no way round Tekton's substitution: a format refuses those that [`expands`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What is looked at.
    pub input: Comparand,
    /// Whether it must be among the values or must not.
    pub operator: Operator,
    /// The values it is compared with.
    pub values: Vec<Comparand>,
}

/// What a [`Condition`] compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparand {
    /// A text.
    Text(String),
    /// The value of a [`Parameter`] of the flow.
    Parameter(String),
    /// A value that another task wrote; also makes this task wait for that one.
    Result {
        /// The task that writes it.
        task: Label,
        /// The [`TaskResult`]'s name.
        result: String,
    },
}

/// How a [`Condition`] compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// The input is one of the values.
    In,
    /// The input is none of the values.
    NotIn,
}

/// A value that a task hands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskResult {
    /// Name; letters, digits, `-`, `_`.
    pub name: String,
    /// What it is.
    pub description: String,
}

/// A Git repository at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitSource {
    /// Where it is: `https`, `http`, `ssh`, `git` or `user@host:path`.
    pub url: String,
    /// Branch, tag, ref or commit; `None` is the repository's default branch.
    pub revision: Option<String>,
    /// How to log in; `None` leaves it to the service account's own Secrets.
    pub credentials: Option<GitCredentials>,
    /// How many commits of history; `None` takes the configured depth, 0 is all.
    pub depth: Option<u32>,
}

/// Where a user name and a password for a repository come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitCredentials {
    /// The user name; servers that only take a token accept any.
    pub username: EnvValue,
    /// The password or token.
    pub password: EnvValue,
}

/// An entry of a Secret that exists in the namespace already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretKey {
    /// The Secret.
    pub name: String,
    /// The entry.
    pub key: String,
}

/// Files or secret values that a run carries with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataSet {
    /// `creds`, `keys`, `files`: part of the object's name.
    pub name: Label,
    /// Contents by entry name; an empty set is still a set.
    pub entries: BTreeMap<String, Vec<u8>>,
    /// The folder at which steps that mount it see the entries as files; `None` where only environment
    /// variables refer to it.
    pub folder: Option<String>,
}

/// Where the event's payload appears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadFile {
    /// The name of the set beside whose files it appears; the set itself need not exist.
    pub set: Label,
    /// The folder of that set.
    pub folder: String,
    /// The file's name.
    pub entry: String,
}
