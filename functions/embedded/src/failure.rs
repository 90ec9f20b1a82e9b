//! What is answered when a request cannot be done: a Kubernetes `Status`, worded as the real API server words it.
//!
//! Clients decide by `code` and `reason`, people read `message`, and kubectl prints the `causes`; so all of them
//! are kept as the real server writes them. Nothing in here decides *whether* something fails.

use crate::resource::Resource;
use http::StatusCode;
use serde_json::{Value, json};
use std::{fmt, io};

/// The result of handling a request.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// A request that was refused, or could not be done. Boxed, because it travels through every `Result`.
#[derive(Debug)]
pub(crate) struct Failure(Box<Status>);

#[derive(Debug)]
struct Status {
    code: StatusCode,
    reason: &'static str,
    message: String,
    details: Option<Value>,
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0.message)
    }
}

/// One invalid field: where, what kind of error in Kubernetes' words, and the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invalid {
    field: String,
    reason: &'static str,
    message: String,
}

impl Invalid {
    pub(crate) fn value(field: impl Into<String>, value: impl fmt::Display, why: &str) -> Self {
        Self::new(
            field,
            "FieldValueInvalid",
            format!("Invalid value: {value}: {why}"),
        )
    }

    /// The usual case of [`Self::value`]: the value is a string and printed in quotes.
    pub(crate) fn text(field: impl Into<String>, value: &str, why: &str) -> Self {
        Self::value(field, format_args!("{value:?}"), why)
    }

    pub(crate) fn required(field: impl Into<String>, why: &str) -> Self {
        let colon = if why.is_empty() { "" } else { ": " };
        Self::new(
            field,
            "FieldValueRequired",
            format!("Required value{colon}{why}"),
        )
    }

    pub(crate) fn forbidden(field: impl Into<String>, why: &str) -> Self {
        Self::new(field, "FieldValueForbidden", format!("Forbidden: {why}"))
    }

    pub(crate) fn too_long(field: impl Into<String>, bytes: usize) -> Self {
        let why = format!("Too long: may not be more than {bytes} bytes");
        Self::new(field, "FieldValueTooLong", why)
    }

    pub(crate) fn unsupported(
        field: impl Into<String>,
        value: impl fmt::Display,
        known: &[&str],
    ) -> Self {
        let known: Vec<String> = known.iter().map(|k| format!("{k:?}")).collect();
        let known = known.join(", ");
        Self::new(
            field,
            "FieldValueNotSupported",
            format!("Unsupported value: {value}: supported values: {known}"),
        )
    }

    fn new(field: impl Into<String>, reason: &'static str, message: String) -> Self {
        Self {
            field: field.into(),
            reason,
            message,
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.field, self.message)
    }
}

impl Failure {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Status {
            code,
            reason,
            message: message.into(),
            details: None,
        }))
    }

    fn with(mut self, details: Value) -> Self {
        self.0.details = Some(details);
        self
    }

    /// The status code of the answer.
    pub(crate) fn code(&self) -> StatusCode {
        self.0.code
    }

    /// The `Status` object of the answer, also sent as the last event of a watch.
    pub(crate) fn to_json(&self) -> Value {
        let Status {
            code,
            reason,
            message,
            details,
        } = &*self.0;
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": reason, "code": code.as_u16(),
        });
        if let Some(details) = details {
            status["details"] = details.clone();
        }
        status
    }

    pub(crate) fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} not found", resource.qualified());
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
            .with(resource.details(name, resource.plural))
    }

    pub(crate) fn already_exists(resource: &Resource, name: &str, being_deleted: bool) -> Self {
        let prefix = if being_deleted {
            "object is being deleted: "
        } else {
            ""
        };
        let message = format!("{prefix}{} {name:?} already exists", resource.qualified());
        Self::new(StatusCode::CONFLICT, "AlreadyExists", message)
            .with(resource.details(name, resource.plural))
    }

    /// Optimistic locking: the `resourceVersion` of the request is not the stored one.
    pub(crate) fn modified(resource: &Resource, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, why)
    }

    pub(crate) fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let what = resource.qualified();
        let message = format!("Operation cannot be fulfilled on {what} {name:?}: {why}");
        Self::new(StatusCode::CONFLICT, "Conflict", message)
            .with(resource.details(name, resource.plural))
    }

    /// A precondition of a deletion does not hold; here the real server names the kind, not the resource.
    pub(crate) fn precondition(resource: &Resource, name: &str, why: &str) -> Self {
        let what = resource.qualified_kind();
        let message = format!("Operation cannot be fulfilled on {what} {name:?}: {why}");
        Self::new(StatusCode::CONFLICT, "Conflict", message)
            .with(resource.details(name, resource.kind))
    }

    /// Server-side apply found fields that somebody else owns: `(manager, path)`, each already in printed form.
    pub(crate) fn apply_conflicts(conflicts: &[(String, String)]) -> Self {
        let message = match conflicts {
            [(manager, path)] => {
                format!("Apply failed with 1 conflict: conflict with {manager}: {path}")
            }
            _ => {
                let mut lines = vec![];
                let mut previous = None;
                for (manager, path) in conflicts {
                    if previous != Some(manager) {
                        lines.push(format!("conflicts with {manager}:"));
                        previous = Some(manager);
                    }
                    lines.push(format!("- {path}"));
                }
                format!(
                    "Apply failed with {} conflicts: {}",
                    conflicts.len(),
                    lines.join("\n")
                )
            }
        };
        let causes: Vec<Value> = conflicts
            .iter()
            .map(|(manager, path)| {
                json!({"reason": "FieldManagerConflict", "message": format!("conflict with {manager}"), "field": path})
            })
            .collect();
        Self::new(StatusCode::CONFLICT, "Conflict", message).with(json!({ "causes": causes }))
    }

    /// An object with invalid fields.
    pub(crate) fn invalid(resource: &Resource, name: &str, problems: &[Invalid]) -> Self {
        let details = resource.details(name, resource.kind);
        Self::unprocessable(&resource.qualified_kind(), name, details, problems)
    }

    /// Request options with invalid values: `kind` is `CreateOptions` and the like.
    pub(crate) fn invalid_options(kind: &str, problems: &[Invalid]) -> Self {
        let details = json!({"group": "meta.k8s.io", "kind": kind});
        Self::unprocessable(&format!("{kind}.meta.k8s.io"), "", details, problems)
    }

    /// An update without the `resourceVersion` that this kind of object asks for.
    pub(crate) fn version_required(resource: &Resource, name: &str) -> Self {
        let problem = Invalid::value(
            "metadata.resourceVersion",
            0,
            "must be specified for an update",
        );
        let details = resource.details(name, resource.plural);
        Self::unprocessable(&resource.qualified(), name, details, &[problem])
    }

    fn unprocessable(what: &str, name: &str, mut details: Value, problems: &[Invalid]) -> Self {
        let list = match problems {
            [one] => one.to_string(),
            many => {
                let many: Vec<String> = many.iter().map(Invalid::to_string).collect();
                format!("[{}]", many.join(", "))
            }
        };
        details["causes"] = problems
            .iter()
            .map(|p| json!({"reason": p.reason, "message": p.message, "field": p.field}))
            .collect();
        let message = format!("{what} {name:?} is invalid: {list}");
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message).with(details)
    }

    /// A JSON patch whose `test` does not hold or whose path does not exist. The real server says no more than this.
    pub(crate) fn patch_refused() -> Self {
        let message = "the server rejected our request due to an error in our request";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message).with(json!({}))
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    pub(crate) fn forbidden(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!("{} {name:?} is forbidden: {why}", resource.qualified());
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message)
            .with(resource.details(name, resource.plural))
    }

    pub(crate) fn terminating(resource: &Resource, name: &str, namespace: &str) -> Self {
        let why = format!(
            "unable to create new content in namespace {namespace} because it is being terminated"
        );
        let mut failure = Self::forbidden(resource, name, &why);
        if let Some(details) = &mut failure.0.details {
            let message = format!("namespace {namespace} is being terminated");
            details["causes"] = json!([
                {"reason": "NamespaceTerminating", "message": message, "field": "metadata.namespace"}
            ]);
        }
        failure
    }

    /// A page of another origin talks to us through somebody's browser.
    pub(crate) fn foreign_origin() -> Self {
        let message =
            "this API answers no pages of other origins: ask for it by address, or as localhost";
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message)
    }

    pub(crate) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message).with(json!({}))
    }

    pub(crate) fn not_acceptable() -> Self {
        let message =
            "only the following media types are accepted: application/json, application/yaml";
        Self::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message)
    }

    pub(crate) fn unsupported_media_type(accepted: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {accepted}"
        );
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            message,
        )
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        let message = format!("Request entity too large: limit is {limit}");
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestEntityTooLarge",
            message,
        )
    }

    /// A watch or a page of a list that asks for what is no longer known.
    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "Expired", message)
    }

    pub(crate) fn too_new(asked: u64, current: u64) -> Self {
        let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
        let causes =
            json!([{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]);
        Self::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message)
            .with(json!({"causes": causes, "retryAfterSeconds": 1}))
    }

    /// What the embedded API does not do, said so.
    pub(crate) fn not_implemented(what: &str) -> Self {
        let message = format!(
            "the embedded API of `hookrun dev` does not do this: {what}; see docs/embedded.md, or use a cluster with --kubeconfig"
        );
        Self::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented", message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
    }

    /// The folder cannot be written: nothing was changed.
    pub(crate) fn storage(error: &io::Error) -> Self {
        Self::internal(format!("the object could not be stored: {error}"))
    }
}
