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
                "responses": {"200": text("OK")},
            }},
            "/flow": {"post": {
                "summary": "Run a flow",
                "description": "Runs the flow in the body, in the namespace that its label `namespace` names.",
                "parameters": [idempotency_key()],
                "requestBody": {"required": true, "content": {"application/json": {"schema": flow, "example": example()}}},
                "responses": answers(&[BAD_DOCUMENT]),
            }},
            "/flow/key/{flow-key}/ns/{namespace}": {"post": {
                "summary": "Run a stored flow with a payload",
                "description": "Looks the flow up under its key and runs it in the namespace of the path. The body, of any type, appears as the file /files/context in every step; without a body there is no such file.",
                "parameters": [path("flow-key", "Key of the flow in the flow store."), path("namespace", "Namespace of the run."), idempotency_key()],
                "requestBody": {"required": false, "content": {"application/octet-stream": {}}},
                "responses": answers(&[BAD_DOCUMENT, UNKNOWN, GATEWAY, GATEWAY_TIME]),
            }},
            "/flow/key/{flow-key}": {"get": {
                "summary": "Show a stored flow",
                "description": "The flow as it is stored, without unknown fields; values of secrets and keys are replaced.",
                "parameters": [path("flow-key", "Key of the flow in the flow store.")],
                "responses": {
                    "200": {"description": "The flow.", "content": {"application/json": {"schema": flow}}},
                    "401": text("Missing or wrong credentials."),
                    "404": text(UNKNOWN.1), "502": text(GATEWAY.1), "504": text(GATEWAY_TIME.1),
                },
            }},
            "/flow/name/{flow-name}/ns/{namespace}": {"post": {
                "summary": "Run what the cluster stores of a flow",
                "description": "Runs the Pipeline and Task of a flow that was posted before, as they are now. The body is not read.",
                "parameters": [path("flow-name", "Name of the flow."), path("namespace", "Namespace of the run."), idempotency_key()],
                "responses": answers(&[UNKNOWN]),
            }},
            "/metrics": {"get": {
                "summary": "Metrics",
                "description": "Prometheus text format.",
                "responses": {"200": text("The metrics.")},
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
    "The flow is not valid; every problem is listed with its place.",
);
const UNKNOWN: Answer = ("404", "There is no such flow.");
const GATEWAY: Answer = (
    "502",
    "The flow store refused, or answered with something else than a flow.",
);
const GATEWAY_TIME: Answer = ("504", "The flow store did not answer in time.");

/// The answers of a route that makes a run: the common ones and its own.
fn answers(own: &[Answer]) -> Value {
    let mut answers = json!({
        "200": {
            "description": "The run exists; the same event gets the same answer again.",
            "headers": {crate::RUN_HEADER: {"description": "Namespace and name of the run.", "schema": {"type": "string"}}},
            "content": {"text/plain": {"example": "? starting pipeline run nightly-scan-pr-4kq0z81m2c\n"}},
        },
        "401": text("Missing or wrong credentials."),
        "403": text("The namespace, or a privileged step in it, is not allowed."),
        "409": text("A run of that name exists and belongs to another event."),
        "413": text("The body is too large."),
        "422": text("The API server refuses what the flow asks for."),
        "503": {"description": "Not now; the header Retry-After says when to try again.", "headers": {"Retry-After": {"schema": {"type": "integer"}}}},
    });
    for (status, description) in own {
        answers[*status] = text(description);
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
    use super::*;

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
}
