//! The CustomResourceDefinitions, made from the Rust types: the one source of what the API server checks and of what
//! `kubectl explain` says.

mod schema;

use serde_json::{Value, json};

use crate::{
    GROUP, VERSION,
    delivery::Record,
    hook::{HookSpec, HookStatus},
};

/// Both CustomResourceDefinitions, in the form that `kubectl apply` takes: `hooks`, `deliveries`.
pub fn crds() -> Vec<Value> {
    vec![hooks(), deliveries()]
}

fn hooks() -> Value {
    let mut spec = schema::of::<HookSpec>();
    schema::rule(
        &mut spec,
        "/properties/rules/items",
        "[has(self.pipelineRef), has(self.pipelineRun), has(self.flow)].filter(given, given).size() == 1",
        "give exactly one of pipelineRef, pipelineRun and flow",
    );
    schema::rule(
        &mut spec,
        "/properties/rules/items/properties/flow",
        "has(self.key) != has(self.inline)",
        "give exactly one of key and inline",
    );
    let mut root = schema::object(
        "A webhook URL, `/hooks/<namespace>/<name>`: who may call it, and what its events start.",
        &["spec"],
        json!({ "spec": spec, "status": schema::of::<HookStatus>() }),
    );
    schema::rule(
        &mut root,
        "",
        "self.metadata.name.size() <= 63",
        "the name is the value of labels: it may have 63 characters",
    );
    let ready = |field: &str| format!(".status.conditions[?(@.type==\"Ready\")].{field}");
    definition(
        &Names {
            plural: "hooks",
            singular: "hook",
            kind: "Hook",
            short: "hk",
        },
        root,
        json!([
            column("Provider", "string", ".spec.provider", "Who sends."),
            column(
                "Ready",
                "string",
                &ready("status"),
                "Whether nothing is known to be wrong with it, in the cluster around it included."
            ),
            column(
                "Why",
                "string",
                &ready("reason"),
                "Why it is ready, or not, in a word."
            ),
            column(
                "Last Event",
                "date",
                ".status.lastEventTime",
                "When the last verified event came."
            ),
            column(
                "Age",
                "date",
                ".metadata.creationTimestamp",
                "When it was made."
            ),
            wide(column(
                "Message",
                "string",
                &ready("message"),
                "Why, in a sentence."
            )),
            wide(column(
                "URL",
                "string",
                ".status.url",
                "Where senders find it, without the token that some need; with HOOKRUN_HOOK_URL."
            )),
            wide(column("Path", "string", ".status.path", "Path of the URL.")),
            wide(column(
                "Rejected",
                "integer",
                ".status.rejected",
                "Requests that were not verified."
            )),
        ]),
        json!({ "subresources": { "status": {} } }),
    )
}

fn deliveries() -> Value {
    let mut root = schema::of::<Record>();
    root["description"] =
        "The record of one event: what came, what was decided, and what became of it.".into();
    schema::add_metadata(&mut root);
    definition(
        &Names {
            plural: "deliveries",
            singular: "delivery",
            kind: "Delivery",
            short: "dv",
        },
        root,
        json!([
            column("Hook", "string", ".hook.name", "The Hook that it came to."),
            column(
                "Event",
                "string",
                ".eventType",
                "Type of the event, as the provider calls it."
            ),
            column("Outcome", "string", ".outcome", "What became of it."),
            column(
                "Run",
                "string",
                ".rules[*].run",
                "The first run that it started."
            ),
            column(
                "Age",
                "date",
                ".metadata.creationTimestamp",
                "When it came."
            ),
            column("Reason", "string", ".reason", "Why, in a sentence."),
            wide(column("Provider", "string", ".provider", "Who sent it.")),
            wide(column(
                "Id",
                "string",
                ".deliveryId",
                "The provider's name for it."
            )),
            wide(column(
                "Duplicates",
                "integer",
                ".duplicates",
                "How often it came again."
            )),
        ]),
        json!({ "selectableFields": [
            { "jsonPath": ".hook.name" },
            { "jsonPath": ".outcome" },
            { "jsonPath": ".eventType" },
        ] }),
    )
}

struct Names {
    plural: &'static str,
    singular: &'static str,
    kind: &'static str,
    short: &'static str,
}

fn column(name: &str, kind: &str, path: &str, description: &str) -> Value {
    json!({ "name": name, "type": kind, "jsonPath": path, "description": description })
}

/// A column that only `-o wide` shows.
fn wide(mut column: Value) -> Value {
    if let Value::Object(column) = &mut column {
        column.insert("priority".to_owned(), 1.into());
    }
    column
}

fn definition(names: &Names, root: Value, columns: Value, more: Value) -> Value {
    let mut version = json!({
        "name": VERSION,
        "served": true,
        "storage": true,
        "additionalPrinterColumns": columns,
        "schema": { "openAPIV3Schema": root },
    });
    if let (Value::Object(version), Value::Object(more)) = (&mut version, more) {
        version.extend(more);
    }
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{}.{GROUP}", names.plural),
            "labels": { crate::run::MANAGED_BY: "hookrun" },
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "plural": names.plural,
                "singular": names.singular,
                "kind": names.kind,
                "listKind": format!("{}List", names.kind),
                "shortNames": [names.short],
                "categories": ["hookrun"],
            },
            "versions": [version],
        },
    })
}

#[cfg(test)]
mod tests;
