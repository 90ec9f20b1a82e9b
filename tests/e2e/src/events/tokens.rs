//! Events with tokens, which is what `knative/full` asks for and `docs/install.md` describes: Eventing checks who sends, and
//! the function checks that Eventing does. The other cases do without, since one switch of Eventing's is for the whole cluster.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use control_plane::until;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{broker, ingress};
use crate::{
    artisan::{flow, step},
    install::{EVENTS, MAIN},
    world::{PATIENCE, QUEUE, World},
};

/// The function once more, with the settings for tokens; also the type of the events, and the name of their Trigger.
const TOKENS: &str = "e2e-tokens";

/// Who Eventing sends as: it makes one account for each Trigger, named after it.
const ACCOUNT: &str = "e2e-tokens-oidc-eventing.knative.dev-trigger";

pub(super) async fn tokens(world: Arc<World>) -> Result<()> {
    switch(&world, "enabled").await?;
    let seen = with_tokens(&world).await;
    let back = switch(&world, "disabled").await;
    seen.and(back)
}

/// Eventing's own authentication, for the whole cluster.
async fn switch(world: &World, to: &str) -> Result<()> {
    let patch = json!({"data": {"authentication-oidc": to}}).to_string();
    let what = "configmaps/config-features";
    let words = [
        "--namespace",
        "knative-eventing",
        "patch",
        what,
        "--type=merge",
        "--patch",
    ];
    world.kubectl(&[&words[..], &[&patch]].concat()).await?;
    Ok(())
}

async fn with_tokens(world: &World) -> Result<()> {
    broker(world).await?;
    let flow = flow("E2E Tokens", QUEUE, &[step(world, "none", "true")]);
    world.store("ART_FLOW_e2e-tokens", &flow).await?;
    let audience = format!("serving.knative.dev/service/{MAIN}/{TOKENS}");
    world.apply(&service(world, &audience).await?).await?;
    world.apply(&trigger(&audience)).await?;
    for (what, condition) in [
        ("services.serving.knative.dev", "condition=Ready"),
        ("triggers.eventing.knative.dev", "condition=Ready"),
        (
            "triggers.eventing.knative.dev",
            &format!("jsonpath={{.status.auth.serviceAccountName}}={ACCOUNT}"),
        ),
    ] {
        let (what, wait) = (format!("{what}/{TOKENS}"), format!("--for={condition}"));
        world
            .kubectl(&["--namespace", MAIN, "wait", &wait, "--timeout=120s", &what])
            .await?;
    }

    let id = Uuid::new_v4().to_string();
    let sender = format!("tokens-{}", &id[..8]);
    let pod = sender_pod(world, &sender, &id, &audience).await?;
    world.apply(&pod).await?;
    let told = async || world.kubectl(&["--namespace", MAIN, "logs", &sender]).await;
    until("the sender is done", PATIENCE, async || {
        Ok(told().await.is_ok_and(|log| log.contains("done")))
    })
    .await?;
    let log = told().await?;
    for line in ["none: 401", "broker: accepted", "other: 401"] {
        ensure!(log.contains(line), "no line `{line}`:\n{log}");
    }
    until("the event becomes a run", PATIENCE, async || {
        Ok(!world.runs_of(QUEUE, &id).await?.is_empty())
    })
    .await?;
    let runs = world.runs_of(QUEUE, &id).await?;
    ensure!(runs.len() == 1, "{} runs", runs.len());
    for kind in [
        "triggers.eventing.knative.dev",
        "services.serving.knative.dev",
    ] {
        world
            .kubectl(&["--namespace", MAIN, "delete", kind, TOKENS])
            .await?;
    }
    Ok(())
}

/// The function for events as it is installed, with what `knative/events` sets by default.
async fn service(world: &World, audience: &str) -> Result<Value> {
    let mut service = world
        .get(MAIN, &[&format!("services.serving.knative.dev/{EVENTS}")])
        .await?;
    service["metadata"] = json!({
        "name": TOKENS, "namespace": MAIN, "labels": {"networking.knative.dev/visibility": "cluster-local"},
    });
    service
        .as_object_mut()
        .context("a Service")?
        .remove("status");
    let container = &mut service["spec"]["template"]["spec"]["containers"][0];
    let is_theirs = |source: &Value| {
        let name = source["configMapRef"]["name"].as_str();
        name.is_some_and(|name| name.starts_with(EVENTS))
    };
    container["envFrom"]
        .as_array_mut()
        .context("a list")?
        .retain(|source| !is_theirs(source));
    let settings = [
        json!({"name": "HOOKRUN_OIDC_AUDIENCE", "value": audience}),
        json!({"name": "HOOKRUN_OIDC_SUBJECTS", "value": format!("system:serviceaccount:{MAIN}:{ACCOUNT}")}),
    ];
    container["env"]
        .as_array_mut()
        .context("a list")?
        .extend(settings);
    Ok(service)
}

fn trigger(audience: &str) -> Value {
    json!({
        "apiVersion": "eventing.knative.dev/v1", "kind": "Trigger", "metadata": {"name": TOKENS, "namespace": MAIN},
        "spec": {
            "broker": "default",
            "filter": {"attributes": {"type": TOKENS}},
            "subscriber": {
                "ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": TOKENS},
                "uri": format!("/flow/key/ART_FLOW_e2e-tokens/ns/{QUEUE}"),
                "audience": audience,
            },
        },
    })
}

/// A pod that sends: to the Broker without a token and with its own, and to the function with its own, which is not that of
/// the Trigger. Parts of Eventing hear of the switch one after the other, so it sends the same event more than once.
async fn sender_pod(world: &World, name: &str, id: &str, audience: &str) -> Result<Value> {
    let (url, function) = (
        ingress(world).await?,
        format!("http://{TOKENS}.{MAIN}.svc.cluster.local"),
    );
    let script = format!(
        "send() {{
           wget -q -O /dev/null --header 'ce-specversion: 1.0' --header 'ce-source: /e2e/tokens' --header \"ce-type: $3\" \
             --header 'ce-id: {id}' --header 'content-type: application/json' --header \"authorization: Bearer $2\" \
             --post-data '{{}}' \"$1\" 2>&1 && echo accepted
         }}
         for try in $(seq 60); do
           told=$(send {url} '' e2e.nobody | grep -o '401\\|accepted' || true)
           test \"$told\" = 401 && break
           sleep 1
         done
         echo none: $told
         for try in 1 2 3 4 5; do
           echo broker: $(send {url} \"$(cat /tokens/broker)\" {TOKENS})
           sleep 1
         done
         echo other: $(send {function}/flow/key/ART_FLOW_e2e-tokens/ns/{QUEUE} \"$(cat /tokens/function)\" {TOKENS} | grep -o '401\\|accepted' || true)
         echo done"
    );
    let mut pod = world.pod(name, MAIN, &script);
    let token = |audience: &str, path: &str| json!({"serviceAccountToken": {"audience": audience, "path": path}});
    let broker = format!("eventing.knative.dev/broker/{MAIN}/default");
    pod["spec"]["volumes"] = json!([{
        "name": "tokens", "projected": {"sources": [token(&broker, "broker"), token(audience, "function")]},
    }]);
    pod["spec"]["containers"][0]["volumeMounts"] =
        json!([{"name": "tokens", "mountPath": "/tokens"}]);
    Ok(pod)
}
