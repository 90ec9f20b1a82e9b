//! What went wrong between a command and the API server, as a sentence: who was asked, what it said, and what to do.

use std::{error::Error as _, fmt};

/// The API server that is asked.
#[derive(Clone, Debug)]
pub(crate) enum Server {
    /// By its URL.
    Url(String),
    /// That of the kubeconfig, or of the pod.
    Configured,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => write!(f, "the Kubernetes API at {url}"),
            Self::Configured => f.write_str("the cluster of the kubeconfig"),
        }
    }
}

impl Server {
    /// What to look at where nobody answers.
    fn hint(&self) -> &'static str {
        match self {
            Self::Url(_) => {
                "is `hookrun dev` running? --server or HOOKRUN_SERVER says where, --kubeconfig names a cluster instead"
            }
            Self::Configured => {
                "--kubeconfig and --context name another one, --server http://127.0.0.1:8080 means `hookrun dev`"
            }
        }
    }

    /// What an error says, for people.
    pub(crate) fn explained(&self, error: &kube::Error) -> String {
        match error {
            kube::Error::Api(status) => self.refused(status),
            kube::Error::Service(_) | kube::Error::HyperError(_) => {
                format!("cannot reach {self} ({}): {}", root(error), self.hint())
            }
            kube::Error::SerdeError(_) => {
                format!(
                    "{self} does not answer like a Kubernetes API: {}",
                    root(error)
                )
            }
            kube::Error::Auth(_) => format!("cannot log in to {self}: {}", root(error)),
            other => other.to_string(),
        }
    }

    fn refused(&self, status: &kube::core::Status) -> String {
        let said = status.message.trim();
        match status.code {
            401 => format!("{self} does not accept the credentials: {said}"),
            403 if said.contains("forbidden: User") => {
                format!(
                    "{said}; `knative/people` has roles for people, and docs/hooks.md says what each command needs"
                )
            }
            _ if is_unknown_path(status) => {
                format!(
                    "{self} knows no Hooks and Deliveries: `kubectl apply -k knative/crds` makes it, if that is the cluster that is meant"
                )
            }
            _ if said.is_empty() => format!("{self} answers {}", status.code),
            _ => said.to_owned(),
        }
    }
}

/// Whether the server does not know the path, as one that has no such kind of objects: that says nothing of any object.
pub(super) fn is_unknown_path(status: &kube::core::Status) -> bool {
    let said = ["page not found", "the requested resource"];
    status.code == 404 && said.iter().any(|said| status.message.contains(said))
}

/// What an error comes from in the end.
fn root(error: &kube::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    let mut next = error.source();
    while let Some(source) = next {
        cause = source;
        next = source.source();
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn told(code: u16, message: &str) -> String {
        let status = Status {
            code,
            message: message.to_owned(),
            ..Status::default()
        };
        let server = Server::Url("http://127.0.0.1:8080".to_owned());
        server.explained(&kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn a_refusal_is_a_sentence_that_says_what_to_do() {
        let forbidden =
            "deliveries.hookrun.dev is forbidden: User \"ann\" cannot list resource \"deliveries\"";
        for (code, message, part) in [
            (401, "Unauthorized", "http://127.0.0.1:8080 does not accept"),
            (
                403,
                forbidden,
                "cannot list resource \"deliveries\"; `knative/people`",
            ),
            (403, "exceeded quota: none", "exceeded quota: none"),
            (404, "404 page not found\n", "kubectl apply -k knative/crds"),
            (
                409,
                "the object has been modified",
                "the object has been modified",
            ),
            (502, "", "answers 502"),
        ] {
            let told = told(code, message);
            assert!(told.contains(part), "{told}");
            assert!(!told.contains("Status {"), "{told}");
        }
    }

    #[test]
    fn who_does_not_answer_is_named_with_the_reason() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let error = kube::Error::Service(Box::new(refused));
        let told = Server::Url("http://127.0.0.1:1".to_owned()).explained(&error);
        let expected = "cannot reach the Kubernetes API at http://127.0.0.1:1 (connection refused): is `hookrun dev` running?";
        assert!(told.starts_with(expected), "{told}");
        let told = Server::Configured.explained(&error);
        assert!(told.contains("the cluster of the kubeconfig"), "{told}");
    }
}
