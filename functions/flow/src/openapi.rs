//! The OpenAPI 3.1 document of this function, made from the types that the parser itself reads into.
//!
//! OpenAPI 3.1 uses JSON Schema 2020-12, which is what `schemars` writes; nothing is translated.

use serde_json::{Value, json};

/// The page that shows the document and tries it; it loads nothing from anywhere else.
pub(crate) const PAGE: &str = include_str!("api.html");

/// The document.
pub fn document() -> Value {
    let mut generator = schemars::generate::SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .into_generator();
    let flow = generator.subschema_for::<flows::format::artisan::Document>();
    let schemas = generator.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Hookrun: flows",
            "description": "A flow that is posted, stored under a key or known by its name becomes a Tekton PipelineRun. One event, one run.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"basic": []}],
        "paths": {
            "/": {"get": {
                "summary": "Liveness",
                "description": "Answers OK. Probes that send no credentials use /healthz and /readyz.",
                "responses": with(json!({"200": text("OK")}), &[BAD_PATH, UNAUTHORIZED, FOREIGN, HEAD, DEFECT, LATER]),
            }},
            "/flow": {"post": {
                "summary": "Run a flow",
                "description": "Runs the flow in the body, in the namespace that its label `namespace` names.",
                "parameters": [idempotency_key()],
                "requestBody": {"required": true, "content": {"application/json": {"schema": flow, "example": example()}}},
                "responses": answers(&[BAD_DOCUMENT, DEFECT]),
            }},
            "/flow/key/{flow-key}/ns/{namespace}": {"post": {
                "summary": "Run a stored flow with a payload",
                "description": "Looks the flow up under its key and runs it in the namespace of the path. The body, of any type, appears as the file /files/context in every step; without a body there is no such file.",
                "parameters": [path("flow-key", "Key of the flow in the flow store."), path("namespace", "Namespace of the run."), idempotency_key()],
                "requestBody": {"required": false, "content": {"application/octet-stream": {}}},
                "responses": answers(&[BAD_DOCUMENT, UNKNOWN, STORE, GATEWAY, GATEWAY_TIME]),
            }},
            "/flow/key/{flow-key}": {"get": {
                "summary": "Show a stored flow",
                "description": "The flow as it is stored, without unknown fields; values of secrets and keys are replaced.",
                "parameters": [path("flow-key", "Key of the flow in the flow store.")],
                "responses": with(json!({
                    "200": {"description": "The flow.", "content": {"application/json": {"schema": flow}}},
                }), &[BAD_DOCUMENT, UNAUTHORIZED, FOREIGN, UNKNOWN, TWICE, HEAD, STORE, GATEWAY, LATER, GATEWAY_TIME]),
            }},
            "/flow/name/{flow-name}/ns/{namespace}": {"post": {
                "summary": "Run what the cluster stores of a flow",
                "description": "Runs the Pipeline and Task of a flow that was posted before, as they are now. The body is not read.",
                "parameters": [path("flow-name", "Name of the flow."), path("namespace", "Namespace of the run."), idempotency_key()],
                "responses": answers(&[BAD_PATH, UNKNOWN, DEFECT]),
            }},
            "/metrics": {"get": {
                "summary": "Metrics",
                "description": "Prometheus text format.",
                "responses": with(json!({"200": text("The metrics.")}), &[BAD_PATH, UNAUTHORIZED, FOREIGN, HEAD, DEFECT, LATER]),
            }},
        },
        "components": {
            "securitySchemes": {"basic": {"type": "http", "scheme": "basic"}},
            "schemas": schemas,
        },
    })
}

type Answer = (&'static str, &'static str);

const BAD_DOCUMENT: Answer = (
    "400",
    "The flow, the path or the event is not valid; every problem of a flow is listed with its place.",
);
const BAD_PATH: Answer = ("400", "The path or the event is not valid.");
const UNAUTHORIZED: Answer = ("401", "Missing or wrong credentials.");
const FOREIGN: Answer = (
    "403",
    "A page of another origin, or a name that is not local, is behind the request.",
);
const FORBIDDEN: Answer = (
    "403",
    "The namespace, or a privileged step in it, is not allowed; or a page of another origin is behind the request.",
);
const UNKNOWN: Answer = ("404", "There is no such flow.");
const SLOW: Answer = ("408", "The body did not come in time.");
const TWICE: Answer = ("409", "Two flows are stored under this key.");
const CONFLICT: Answer = (
    "409",
    "Something of that name exists and belongs to another event or to somebody else, or two flows have the key.",
);
const LARGE: Answer = (
    "413",
    "The body is too large, or larger than a Secret holds and there is no payload store.",
);
const CODING: Answer = ("415", "The body has a Content-Encoding; none is read.");
const REFUSED: Answer = (
    "422",
    "The API server refuses what the flow asks for, there is no such namespace, or what the cluster stores cannot be run by name.",
);
const HEAD: Answer = ("431", "The request's head is too large.");
const DEFECT: Answer = ("500", "The function met a defect of its own.");
const STORE: Answer = (
    "500",
    "The flow store is not configured, or the function met a defect of its own.",
);
const GATEWAY: Answer = (
    "502",
    "The store refused, or answered with something else than what was asked for.",
);
const LATER: Answer = (
    "503",
    "Not now; the header Retry-After says when to try again.",
);
const GATEWAY_TIME: Answer = ("504", "The store did not answer in time.");

/// The answers of a route that makes a run: the common ones and its own.
fn answers(own: &[Answer]) -> Value {
    let success = json!({
        "200": {
            "description": "The run exists; the same event gets the same answer again.",
            "headers": {crate::RUN_HEADER: {"description": "Namespace and name of the run.", "schema": {"type": "string"}}},
            "content": {"text/plain": {"example": "? starting pipeline run nightly-scan-pr-4kq0z81m2c\n"}},
        },
    });
    let common = [
        UNAUTHORIZED,
        FORBIDDEN,
        SLOW,
        CONFLICT,
        LARGE,
        CODING,
        REFUSED,
        HEAD,
        DEFECT,
        GATEWAY,
        LATER,
        GATEWAY_TIME,
    ];
    with(with(success, &common), own)
}

/// The answers given, and these.
fn with(mut answers: Value, more: &[Answer]) -> Value {
    for (status, description) in more {
        answers[*status] = text(description);
        if *status == LATER.0 {
            answers[*status]["headers"] = json!({"Retry-After": {"schema": {"type": "integer"}}});
        }
    }
    answers
}

fn text(description: &str) -> Value {
    json!({"description": description, "content": {"text/plain": {}}})
}

fn path(name: &str, description: &str) -> Value {
    json!({"name": name, "in": "path", "required": true, "description": description, "schema": {"type": "string"}})
}

fn idempotency_key() -> Value {
    json!({
        "name": "Idempotency-Key", "in": "header", "required": false, "schema": {"type": "string"},
        "description": "Identity of the event: the same key starts no second run. CloudEvents carry their own.",
    })
}

/// The example that the page offers to send.
fn example() -> Value {
    serde_json::from_str(include_str!("../../../examples/nightly-scan.json")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use http::StatusCode;
    use runtime::problem::{self, KINDS};

    use super::*;
    use crate::error::Error;

    #[test]
    fn every_reference_points_at_a_schema() {
        let document = document();
        let text = document.to_string();
        let references: Vec<&str> = text
            .split("\"$ref\":\"#")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect();
        assert!(!references.is_empty());
        for reference in references {
            assert!(
                document.pointer(reference).is_some(),
                "{reference} points at nothing"
            );
        }
    }

    #[test]
    fn the_example_is_an_acceptable_flow() {
        let example = example().to_string();
        flows::parse(
            flows::Format::Artisan,
            example.as_bytes(),
            &flows::Lowering::default(),
        )
        .unwrap();
    }

    /// What a store may fail with.
    fn store_errors() -> Vec<store::Error> {
        let place = store::Place::Objects;
        let reason = String::new;
        vec![
            store::Error::Undefined("X"),
            store::Error::Settings {
                place,
                reason: reason(),
            },
            store::Error::NotFound {
                place,
                reason: reason(),
            },
            store::Error::Ambiguous {
                place,
                reason: reason(),
            },
            store::Error::Unreachable {
                place,
                reason: reason(),
            },
            store::Error::Timeout {
                place,
                limit: std::time::Duration::ZERO,
            },
            store::Error::Refused {
                place,
                reason: reason(),
            },
            store::Error::Failed {
                place,
                reason: reason(),
            },
            store::Error::Busy {
                place,
                reason: reason(),
            },
            store::Error::TooLarge { place, limit: 0 },
            store::Error::Malformed {
                place,
                reason: reason(),
            },
        ]
    }

    /// What the cluster may fail with.
    fn faults() -> Vec<Error> {
        use cluster::Kind::{
            Blocked, Conflict, Forbidden, NotFound, Refused, TooLarge, Unauthorized, Unavailable,
        };
        [
            Refused,
            Forbidden,
            NotFound,
            Conflict,
            TooLarge,
            Unauthorized,
            Unavailable,
            Blocked,
        ]
        .map(|kind| Error::Cluster(fault(kind)))
        .into()
    }

    fn fault(kind: cluster::Kind) -> cluster::Fault {
        cluster::Fault {
            kind,
            doing: String::new(),
            message: String::new(),
            retry_after: None,
        }
    }

    use deliveries::payload;

    fn problems() -> flows::Problems {
        flows::parse(flows::Format::Artisan, b"{}", &flows::Lowering::default()).unwrap_err()
    }

    fn policy_errors() -> Vec<Error> {
        vec![
            Error::Denied(cluster::Denied::Namespace(String::new())),
            Error::Denied(cluster::Denied::Privileged {
                namespace: String::new(),
                steps: String::new(),
            }),
        ]
    }

    #[test]
    fn every_status_that_a_route_can_give_is_in_the_document() {
        let name = || Error::NamespaceName(String::new());
        let stores = || store_errors().into_iter().map(Error::Store);
        let mut posted = vec![Error::Document(problems()), Error::NoNamespace];
        posted.extend(policy_errors().into_iter().chain(faults()));
        let mut keyed = vec![Error::Document(problems()), name()];
        keyed.extend(policy_errors().into_iter().chain(faults()).chain(stores()));
        let payload = |error| Error::Payload(payload::Error::Store(error));
        keyed.extend(store_errors().into_iter().map(payload));
        for errors in [&mut posted, &mut keyed] {
            errors.push(Error::Payload(payload::Error::TooLarge { size: 0 }));
            errors.extend(store_errors().into_iter().map(payload));
        }
        let mut named = vec![
            name(),
            Error::Stored(problems()),
            Error::Unknown(fault(cluster::Kind::NotFound)),
        ];
        named.extend(policy_errors().into_iter().chain(faults()));
        for errors in [&mut posted, &mut keyed, &mut named] {
            errors.push(Error::NotStored(deliveries::Error::Busy));
            errors.push(Error::NotStored(deliveries::Error::Taken(String::new())));
            errors.push(Error::NotStarted(String::new()));
        }
        let mut read = vec![Error::Document(problems())];
        read.extend(stores());

        let document = document();
        for (path, method, errors) in [
            ("/", "get", vec![]),
            ("/metrics", "get", vec![]),
            ("/flow", "post", posted),
            ("/flow/key/{flow-key}/ns/{namespace}", "post", keyed),
            ("/flow/key/{flow-key}", "get", read),
            ("/flow/name/{flow-name}/ns/{namespace}", "post", named),
        ] {
            // What the shell says of any request; of its body, where there is one.
            let body = [
                problem::BODY_TIME,
                problem::BODY_SIZE,
                problem::BODY_CODING,
                problem::BATCH_SIZE,
            ];
            let mut possible: BTreeSet<StatusCode> = KINDS
                .iter()
                .filter(|kind| method == "post" || !body.contains(kind))
                .map(|kind| kind.status)
                .collect();
            possible.insert(StatusCode::OK);
            possible.insert(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
            possible.extend(errors.iter().map(Error::status));
            let answers = document["paths"][path][method]["responses"]
                .as_object()
                .unwrap();
            for status in possible {
                assert!(
                    answers.contains_key(status.as_str()),
                    "{method} {path} does not tell of {status}"
                );
            }
        }
    }
}
