//! What this instance may do: which namespaces may hold runs, and where a step may be privileged.
//!
//! Configuration decides, never a document: a flow names its namespace and its privileged steps, and whoever may post a
//! flow could otherwise reach everything that the ServiceAccount reaches.

use flows::{flow::Flow, name::Label};

use crate::error::Error;

/// Namespaces by name, or all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespaces {
    all: bool,
    names: Vec<String>,
}

impl Namespaces {
    /// Reads a list of names; `*` stands for every namespace.
    pub fn new<T: Into<String>>(names: impl IntoIterator<Item = T>) -> Self {
        let names: Vec<String> = names
            .into_iter()
            .map(|name| name.into().trim().to_owned())
            .filter(|name| !name.is_empty())
            .collect();
        Self {
            all: names.iter().any(|name| name == "*"),
            names,
        }
    }

    fn contains(&self, namespace: &Label) -> bool {
        self.all || self.names.iter().any(|name| name == namespace.as_ref())
    }
}

/// What may be written where.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Namespaces that may hold runs.
    pub namespaces: Namespaces,
    /// Namespaces in which steps may run as privileged root.
    pub privileged: Namespaces,
}

impl Policy {
    /// Whether runs may be made in the namespace.
    ///
    /// # Errors
    /// [`Error::Namespace`], which names the setting that would allow it.
    pub fn check_namespace(&self, namespace: &Label) -> Result<(), Error> {
        if self.namespaces.contains(namespace) {
            return Ok(());
        }
        Err(Error::Namespace(namespace.to_string()))
    }

    /// Whether this flow may run in the namespace, as far as privileged steps are concerned.
    ///
    /// # Errors
    /// [`Error::Privileged`], which names the steps and the setting that would allow them.
    pub fn check_privileged<'a>(
        &self,
        namespace: &Label,
        steps: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), Error> {
        let steps: Vec<&str> = steps.into_iter().collect();
        if steps.is_empty() || self.privileged.contains(namespace) {
            return Ok(());
        }
        Err(Error::Privileged {
            namespace: namespace.to_string(),
            steps: steps.join(", "),
        })
    }

    /// Both checks for a flow.
    ///
    /// # Errors
    /// As [`Policy::check_namespace`] and [`Policy::check_privileged`].
    pub fn check(&self, flow: &Flow, namespace: &Label) -> Result<(), Error> {
        self.check_namespace(namespace)?;
        self.check_privileged(namespace, flow.privileged().map(|step| step.name.as_ref()))
    }
}
