//! Waits until the webhooks of the systems are asked and answer.
//!
//! A Deployment may be available before the API server knows the way to its webhook, and what is created in between is
//! refused, or stored without defaults.

use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use http::Request;
use kube::Client;
use serde_json::{Value, json};

use crate::{Tier, until};

/// A webhook, and two objects to ask it about.
struct Webhook {
    /// Whose it is.
    system: &'static str,
    /// The smallest cluster that has it.
    tier: Tier,
    api_version: &'static str,
    kind: &'static str,
    /// The kind in addresses.
    resource: &'static str,
    /// What of an object it lets pass.
    right: Value,
    /// What the API server itself would take, and the webhook refuses.
    wrong: Value,
}

fn webhooks() -> [Webhook; 4] {
    let function = |concurrency: i8| {
        let containers = json!([{"image": "dev.local/any:1"}]);
        let spec = json!({"containerConcurrency": concurrency, "containers": containers});
        json!({"spec": {"template": {"spec": spec}}})
    };
    [
        Webhook {
            system: "Knative Serving",
            tier: Tier::Platform,
            api_version: "serving.knative.dev/v1",
            kind: "Service",
            resource: "services",
            right: function(0),
            wrong: function(-1),
        },
        Webhook {
            system: "Knative Eventing",
            tier: Tier::Platform,
            api_version: "eventing.knative.dev/v1",
            kind: "Broker",
            resource: "brokers",
            right: json!({}),
            wrong: json!({"spec": {"delivery": {"backoffDelay": "soon"}}}),
        },
        Webhook {
            system: "the in-memory channel",
            tier: Tier::Platform,
            api_version: "messaging.knative.dev/v1",
            kind: "InMemoryChannel",
            resource: "inmemorychannels",
            right: json!({}),
            wrong: json!({"metadata": {"annotations": {"eventing.knative.dev/scope": "nowhere"}}}),
        },
        Webhook {
            system: "Tekton Triggers",
            tier: Tier::Comparison,
            api_version: "triggers.tekton.dev/v1beta1",
            kind: "TriggerBinding",
            resource: "triggerbindings",
            right: json!({"spec": {"params": [{"name": "one", "value": "1"}]}}),
            wrong: json!({"spec": {"params": [{"name": "twice", "value": "1"}, {"name": "twice", "value": "2"}]}}),
        },
    ]
}

/// Waits until every webhook of a tier lets pass what is right and refuses what is wrong.
///
/// # Errors
/// One does not within the limit; the text holds its last answers.
pub(super) async fn answers(client: &Client, tier: Tier, limit: Duration) -> Result<()> {
    let webhooks = webhooks();
    let installed = webhooks.iter().filter(|webhook| webhook.tier <= tier);
    try_join_all(installed.map(async |webhook| {
        let mut last = String::new();
        let waited = until("it is asked and answers", limit, async || {
            let right = ask(client, webhook, &webhook.right).await;
            let wrong = ask(client, webhook, &webhook.wrong).await;
            last = format!("what is right: {right:?}; what is wrong: {wrong:?}");
            Ok(right.is_ok() && wrong.is_err_and(|refusal| refusal.contains("denied the request")))
        })
        .await;
        waited.with_context(|| format!("the webhook of {}, lately: {last}", webhook.system))
    }))
    .await?;
    Ok(())
}

/// Asks whether an object would be stored; the error is the API server's, in its words.
async fn ask(client: &Client, webhook: &Webhook, object: &Value) -> Result<(), String> {
    let url = format!(
        "/apis/{}/namespaces/default/{}?dryRun=All",
        webhook.api_version, webhook.resource
    );
    let mut object = object.clone();
    object["apiVersion"] = json!(webhook.api_version);
    object["kind"] = json!(webhook.kind);
    object["metadata"]["name"] = json!("asked");
    let request = Request::post(url)
        .header("content-type", "application/json")
        .body(object.to_string().into_bytes())
        .map_err(|error| error.to_string())?;
    match client.request::<Value>(request).await {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}
