//! What an instance may do: which namespaces may hold what it makes, and where a step may be privileged.
//!
//! Configuration decides, never an event or a document: whoever may send one could otherwise reach everything that the
//! ServiceAccount reaches.

use flows::name::Label;

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

    /// Whether the namespace is one of them.
    pub fn contains(&self, namespace: &Label) -> bool {
        self.all || self.names.iter().any(|name| name == namespace.as_ref())
    }

    /// All of them by name; `None` where every namespace is one of them.
    pub fn names(&self) -> Option<&[String]> {
        (!self.all).then_some(&self.names)
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

/// What is not allowed, and the setting that would allow it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The namespace is not allowed.
    #[error("namespace {0:?} may not hold runs: ask the operator to add it to HOOKRUN_NAMESPACES")]
    Namespace(String),
    /// A privileged step where none may be.
    #[error(
        "privileged steps, or what could hide some ({steps}), may not run in namespace {namespace:?}: remove it, or ask the operator to \
         add the namespace to HOOKRUN_PRIVILEGED_NAMESPACES"
    )]
    Privileged {
        /// Where they were to run.
        namespace: String,
        /// Their names.
        steps: String,
    },
}

impl Policy {
    /// Whether runs may be made in the namespace.
    ///
    /// # Errors
    /// [`Denied::Namespace`], which names the setting that would allow it.
    pub fn check_namespace(&self, namespace: &Label) -> Result<(), Denied> {
        if self.namespaces.contains(namespace) {
            return Ok(());
        }
        Err(Denied::Namespace(namespace.to_string()))
    }

    /// Whether a flow with these privileged steps may run in the namespace.
    ///
    /// # Errors
    /// [`Denied::Privileged`], which names the steps and the setting that would allow them.
    pub fn check_privileged<'a>(
        &self,
        namespace: &Label,
        steps: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), Denied> {
        let steps: Vec<&str> = steps.into_iter().collect();
        if steps.is_empty() || self.privileged.contains(namespace) {
            return Ok(());
        }
        Err(Denied::Privileged {
            namespace: namespace.to_string(),
            steps: steps.join(", "),
        })
    }
}

/// Which namespaces may hold what.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Namespaces")]
pub struct PolicyOptions {
    /// Namespaces that may hold runs, separated by commas; `*` allows all. Without it: the namespace of the pod, or of
    /// the kubeconfig's context.
    #[arg(
        long,
        env = "HOOKRUN_NAMESPACES",
        value_name = "NAMES",
        value_delimiter = ','
    )]
    pub namespaces: Vec<String>,

    /// Namespaces in which steps may run as privileged root; none without it.
    #[arg(
        long,
        env = "HOOKRUN_PRIVILEGED_NAMESPACES",
        value_name = "NAMES",
        value_delimiter = ','
    )]
    pub privileged_namespaces: Vec<String>,
}

impl PolicyOptions {
    /// What may be written where; `own` is allowed if nothing is configured.
    pub fn policy(&self, own: &str) -> Policy {
        Policy {
            namespaces: if self.namespaces.is_empty() {
                Namespaces::new([own])
            } else {
                Namespaces::new(self.namespaces.clone())
            },
            privileged: Namespaces::new(self.privileged_namespaces.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_allowed_by_name_or_by_a_star() {
        let blue: Label = "blue".parse().unwrap();
        assert!(Namespaces::new(["red", " blue "]).contains(&blue));
        assert!(Namespaces::new(["*"]).contains(&blue));
        assert!(!Namespaces::new(["blu", "blue-2", ""]).contains(&blue));
        assert!(!Namespaces::new(Vec::<String>::new()).contains(&blue));
    }
}
