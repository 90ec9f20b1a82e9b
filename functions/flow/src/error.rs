//! What can go wrong with one event, and the one place where that becomes a status.
//!
//! Texts begin as the Artisan runner's did (`artisan-runner.md` §1.2), since its callers look for them; the statuses are
//! the recommended ones of §6.5.

use cluster::Denied;
use deliveries::payload;
use flows::{Problems, problem::Kind};
use http::StatusCode;

/// Seconds after which a sender may try again where nobody says better.
const RETRY_AFTER: u32 = 2;

/// Which of the routes failed: decides how the text begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `POST /flow`
    Document,
    /// `POST /flow/key/{flow-key}/ns/{namespace}`
    Key,
    /// `GET /flow/key/{flow-key}`
    Read,
    /// `POST /flow/name/{flow-name}/ns/{namespace}`
    Name,
}

/// Why an event made no run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The flow document cannot be used.
    #[error(transparent)]
    Document(Problems),
    /// What the cluster stores of a flow is not complete, or cannot be run by name.
    #[error(transparent)]
    Stored(Problems),
    /// The cluster stores no such flow.
    #[error(transparent)]
    Unknown(cluster::Fault),
    /// The namespace in the path is not a legal name.
    #[error(
        "{0:?} is not the name of a namespace: use 1 to 63 of a-z, 0-9 and '-', starting and ending with a letter or digit"
    )]
    NamespaceName(String),
    /// The document names no namespace.
    #[error("$.labels.namespace: is missing: name the namespace in which the flow is to run")]
    NoNamespace,
    /// Configuration does not allow it.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The flow store did not give the flow.
    #[error(transparent)]
    Store(store::Error),
    /// The payload could not be stored.
    #[error(transparent)]
    Payload(#[from] payload::Error),
    /// The event could not be stored.
    #[error(transparent)]
    NotStored(deliveries::Error),
    /// The event is stored, and its run cannot be started now.
    #[error("the run cannot be started yet: {0}")]
    NotStarted(String),
    /// The API server refused something, or could not be asked.
    #[error(transparent)]
    Cluster(cluster::Fault),
}

impl From<deliveries::flow::Error> for Error {
    fn from(error: deliveries::flow::Error) -> Self {
        use deliveries::flow::Error as Flow;
        match error {
            Flow::Document(problems) => Self::Document(problems),
            Flow::Stored(problems) => Self::Stored(problems),
            Flow::Unknown(fault) => Self::Unknown(fault),
            Flow::Denied(denied) => Self::Denied(denied),
            Flow::Store(error) => Self::Store(error),
            Flow::Cluster(fault) => Self::Cluster(fault),
            // What is posted says of no parameter what it is, is no Hook's, and is always looked up here.
            Flow::Parameter(_)
            | Flow::Nowhere
            | Flow::Late
            | Flow::Foreign { .. }
            | Flow::Payload(_)
            | Flow::Lost(_) => Self::NotStarted(error.to_string()),
        }
    }
}

impl From<deliveries::Error> for Error {
    fn from(error: deliveries::Error) -> Self {
        match error {
            deliveries::Error::Cluster(fault) if fault.kind == cluster::Kind::NotFound => {
                // The namespace is there, or nothing would have come this far.
                let message = format!(
                    "{}; are Hookrun's CustomResourceDefinitions installed (knative/crds)?",
                    fault.message
                );
                Self::Cluster(cluster::Fault {
                    kind: cluster::Kind::Blocked,
                    message,
                    ..fault
                })
            }
            deliveries::Error::Cluster(fault) => Self::Cluster(fault),
            error => Self::NotStored(error),
        }
    }
}

/// Whether the document is well-formed and only asks for what no cluster accepts.
fn is_refusal(problems: &Problems) -> bool {
    problems.iter().all(|problem| {
        matches!(
            problem.kind,
            Kind::IllegalEntryName { .. } | Kind::DataTooLarge { .. }
        )
    })
}

/// Whether the flow that the cluster stores is not complete.
fn is_missing(problems: &Problems) -> bool {
    problems
        .iter()
        .all(|problem| matches!(problem.kind, Kind::TaskNotFound { .. }))
}

impl Error {
    /// The status for a sender that speaks plain HTTP.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Document(problems) if is_refusal(problems) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Document(_) | Self::NamespaceName(_) | Self::NoNamespace => {
                StatusCode::BAD_REQUEST
            }
            Self::Stored(problems) if is_missing(problems) => StatusCode::NOT_FOUND,
            Self::Stored(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unknown(_) => StatusCode::NOT_FOUND,
            Self::Denied(_) => StatusCode::FORBIDDEN,
            Self::Payload(payload::Error::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Store(error) => store_status(error),
            // Whatever is wrong with it is no fault of the sender's.
            Self::Payload(payload::Error::Store(error)) => match store_status(error) {
                status if status.is_server_error() => status,
                _ => StatusCode::BAD_GATEWAY,
            },
            Self::Cluster(fault) | Self::Payload(payload::Error::Cluster(fault)) => {
                cluster_status(fault.kind)
            }
            Self::NotStored(deliveries::Error::Taken(_)) => StatusCode::CONFLICT,
            Self::NotStored(_) | Self::NotStarted(_) | Self::Payload(payload::Error::Lost(_)) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// After how many seconds another try makes sense, if it does.
    pub fn retry_after(&self) -> Option<u32> {
        let status = self.status();
        let passing = matches!(
            status,
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
        );
        passing.then(|| match self {
            Self::Cluster(fault) => fault.retry_after_seconds(),
            _ => RETRY_AFTER,
        })
    }

    /// A word for metrics and logs.
    pub fn slug(&self) -> &'static str {
        match self {
            Self::Document(_) | Self::NoNamespace => "document",
            Self::Stored(_) => "stored",
            Self::Unknown(_) => "not-found",
            Self::NamespaceName(_) | Self::Denied(Denied::Namespace(_)) => "namespace",
            Self::Denied(Denied::Privileged { .. }) => "privileged",
            Self::Payload(payload::Error::TooLarge { .. }) => "payload-too-large",
            Self::Store(_) => "flow-store",
            Self::Payload(_) => "payload-store",
            Self::NotStored(deliveries::Error::Taken(_)) => "conflict",
            Self::NotStored(_) => "unavailable",
            Self::NotStarted(_) => "not-started",
            Self::Cluster(fault) => fault.kind.slug(),
        }
    }

    /// What the log may say: a document's problems quote the document, and a log is read by more people than send flows.
    pub fn log_text(&self) -> String {
        match self {
            Self::Document(problems) | Self::Stored(problems) => problems
                .iter()
                .map(|problem| format!("{}: {}", problem.at, problem.kind.slug()))
                .collect::<Vec<_>>()
                .join("; "),
            other => other.to_string(),
        }
    }

    /// The whole text of the answer, which begins as the original's did.
    pub fn text(&self, route: Route) -> String {
        let what = match (route, self) {
            (_, Self::Store(_)) => "cannot retrieve Artisan Flow specification from Onix",
            (Route::Name, _) => "cannot create pipelinerun",
            (Route::Document, Self::Document(problems)) if !is_refusal(problems) => {
                "cannot read flow"
            }
            (Route::Document, Self::NoNamespace) => "cannot read flow",
            (Route::Document, _) => "cannot apply kubernetes resources",
            (Route::Key | Route::Read, Self::Document(problems)) if !is_refusal(problems) => {
                "cannot create Artisan flow"
            }
            (Route::Key | Route::Read, _) => "cannot apply K8S resources",
        };
        format!("{what}: {self}")
    }
}

fn store_status(error: &store::Error) -> StatusCode {
    match error.class() {
        store::Class::NotFound => StatusCode::NOT_FOUND,
        store::Class::Conflict => StatusCode::CONFLICT,
        store::Class::Undefined => StatusCode::INTERNAL_SERVER_ERROR,
        store::Class::Upstream | store::Class::Malformed => StatusCode::BAD_GATEWAY,
        store::Class::Timeout => StatusCode::GATEWAY_TIMEOUT,
        store::Class::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn cluster_status(kind: cluster::Kind) -> StatusCode {
    match kind {
        cluster::Kind::Refused => StatusCode::UNPROCESSABLE_ENTITY,
        // While writing, this is a namespace that does not exist: the sender asks for what cannot be.
        cluster::Kind::NotFound => StatusCode::UNPROCESSABLE_ENTITY,
        cluster::Kind::Conflict => StatusCode::CONFLICT,
        cluster::Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        cluster::Kind::Unauthorized
        | cluster::Kind::Unavailable
        | cluster::Kind::Blocked
        | cluster::Kind::Forbidden => StatusCode::SERVICE_UNAVAILABLE,
    }
}
