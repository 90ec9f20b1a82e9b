//! Webhooks on their way from their senders to runs: real signatures and clocks, TLS, a function at zero, steps that read
//! the payload, and the sweep that starts what was only stored.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use control_plane::until;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use system_tests::{
    case::Case,
    support::{Answer, ask, objects::name},
};
use uuid::Uuid;

use crate::{
    artisan::{flow, step},
    gateway::Gateway,
    install::{HOOK, MAIN},
    world::{RUNS, World, case, hex},
};

pub(crate) fn cases() -> Vec<Case<World>> {
    vec![
        case(
            "hooks::webhooks_reach_a_function_at_zero_within_their_sender_s_time_and_become_one_run",
            600,
            MAIN,
            from_zero,
        ),
        case("hooks::sweep_starts_what_was_only_stored", 360, MAIN, swept),
        case(
            "hooks::payload_of_any_size_is_a_file_for_the_step",
            300,
            MAIN,
            of_any_size,
        ),
        case(
            "hooks::rule_starts_a_flow_by_its_key",
            300,
            MAIN,
            flow_by_key,
        ),
    ]
}

/// The shortest clock of all senders: Slack's.
const CLOCK: Duration = Duration::from_secs(3);

/// The Pipeline that Hooks here start, unless they say otherwise.
const PIPELINE: &str = "e2e-hook";

/// The one that takes a payload of any size.
const ANY_SIZE: &str = "e2e-any-size";

/// Names and values.
type Headers = Vec<(&'static str, String)>;

/// Somebody who sends webhooks: what a Hook says of them, what they send, and how they prove themselves.
struct Sender {
    provider: &'static str,
    /// Type of the event, as the provider calls it.
    event: &'static str,
    /// Made up for each Hook, in the form that the provider asks for.
    secret: fn() -> String,
    /// A push to `main`.
    payload: fn() -> Value,
    /// Headers of one request: secret, identity of the event, body.
    headers: fn(&str, &str, &[u8]) -> Headers,
}

/// "Validating webhook deliveries" and "Webhook events and payloads" of GitHub's documentation.
const GITHUB: Sender = Sender {
    provider: "github",
    event: "push",
    secret: || Uuid::new_v4().to_string(),
    payload: || {
        json!({
            "ref": "refs/heads/main", "before": "0".repeat(40), "after": "a".repeat(40), "deleted": false,
            "repository": {
                "id": 7, "name": "parts", "full_name": "team/parts", "html_url": "https://github.example.com/team/parts",
                "clone_url": "https://github.example.com/team/parts.git",
            },
            "commits": [{"id": "a".repeat(40), "added": ["services/api/main.rs"], "modified": [], "removed": []}],
            "pusher": {"name": "octo"}, "sender": {"login": "octo"},
        })
    },
    headers: |secret, id, body| {
        vec![
            ("content-type", "application/json".to_owned()),
            ("user-agent", "GitHub-Hookshot/e2e".to_owned()),
            ("x-github-event", "push".to_owned()),
            ("x-github-delivery", id.to_owned()),
            ("x-github-hook-id", "4711".to_owned()),
            (
                "x-hub-signature-256",
                format!("sha256={}", hex(&signature(secret.as_bytes(), &[body]))),
            ),
        ]
    },
};

/// "Webhooks" and "Signing tokens" of GitLab's documentation, which are Standard Webhooks.
const GITLAB: Sender = Sender {
    provider: "gitlab",
    event: "Push Hook",
    secret: || {
        format!(
            "whsec_{}",
            BASE64_STANDARD.encode(
                [Uuid::new_v4(), Uuid::new_v4()]
                    .map(Uuid::into_bytes)
                    .concat()
            )
        )
    },
    payload: || {
        json!({
            "object_kind": "push", "event_name": "push", "ref": "refs/heads/main", "before": "0".repeat(40),
            "after": "b".repeat(40), "checkout_sha": "b".repeat(40), "user_username": "lab",
            "project": {
                "id": 7, "name": "parts", "path_with_namespace": "team/parts",
                "web_url": "https://gitlab.example.com/team/parts",
                "git_http_url": "https://gitlab.example.com/team/parts.git",
            },
            "commits": [{"id": "b".repeat(40), "added": ["services/api/main.rs"], "modified": [], "removed": []}],
            "total_commits_count": 1,
        })
    },
    headers: |secret, id, body| {
        let key = secret.strip_prefix("whsec_").unwrap_or_default();
        let key = BASE64_STANDARD.decode(key).unwrap_or_default();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let time = now.as_secs().to_string();
        let signed = signature(&key, &[id.as_bytes(), b".", time.as_bytes(), b".", body]);
        vec![
            ("content-type", "application/json".to_owned()),
            ("user-agent", "GitLab/18.6.0".to_owned()),
            ("x-gitlab-event", "Push Hook".to_owned()),
            ("x-gitlab-instance", "https://gitlab.example.com".to_owned()),
            ("x-gitlab-event-uuid", Uuid::new_v4().to_string()),
            (
                "x-gitlab-webhook-uuid",
                "9d0b7a8e-6a57-4c9b-9d5c-1d2d5f0a4711".to_owned(),
            ),
            ("idempotency-key", id.to_owned()),
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", time),
            (
                "webhook-signature",
                format!("v1,{}", BASE64_STANDARD.encode(signed)),
            ),
        ]
    },
};

/// HMAC-SHA256 over these parts, one after the other.
fn signature(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

/// A Hook in the cluster, and its sender.
struct Registered {
    sender: Sender,
    name: String,
    secret: String,
    gateway: Gateway,
}

impl Registered {
    /// A Hook with a rule for a part of the pushes, and one for none.
    async fn make(world: &World, sender: Sender, name: &str, per_minute: u32) -> Result<Self> {
        let rules = json!([
            {
                "name": "build",
                "events": [sender.event],
                "filter": "event.branch == \"main\" && event.changed(\"services/api/**\")",
                "pipelineRef": {"name": PIPELINE},
                "params": [{"name": "revision", "expression": "event.revision"}],
                "payload": {"workspace": "event", "file": "push.json"},
            },
            {"name": "never", "filter": "event.branch == \"other\"", "pipelineRef": {"name": PIPELINE}},
        ]);
        let spec = json!({"quota": {"perMinute": per_minute}, "rules": rules});
        Self::with(world, sender, name, spec).await
    }

    /// Makes the Hook and its Secret, as the documentation tells.
    async fn with(world: &World, sender: Sender, name: &str, mut spec: Value) -> Result<Self> {
        let secret = (sender.secret)();
        let metadata = json!({"name": name, "namespace": RUNS});
        world
            .apply(&json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"secret": secret},
            }))
            .await?;
        spec["provider"] = sender.provider.into();
        spec["verification"] = json!({"secretRefs": [{"name": name, "key": "secret"}]});
        world
            .apply(&json!({
                "apiVersion": "hookrun.dev/v1alpha1", "kind": "Hook", "metadata": metadata, "spec": spec,
            }))
            .await?;
        Ok(Self {
            gateway: world.reach(&world.hooks)?,
            name: name.to_owned(),
            sender,
            secret,
        })
    }

    /// Sends one event, as its provider does; the answer, and how long it took.
    async fn send(&self, id: &str, body: &[u8]) -> Result<(Answer, Duration)> {
        self.send_as(id, body, body).await
    }

    /// Signs one body and sends another.
    async fn send_as(&self, id: &str, signed: &[u8], body: &[u8]) -> Result<(Answer, Duration)> {
        let path = format!("/hooks/{RUNS}/{}", self.name);
        let request = self.gateway.anonymous(&path).body(body.to_vec());
        let headers = (self.sender.headers)(&self.secret, id, signed);
        let request = headers.into_iter().fold(request, |request, (name, value)| {
            request.header(name, value)
        });
        let began = Instant::now();
        let answer = ask(request).await?;
        Ok((answer, began.elapsed()))
    }

    /// Its Deliveries.
    async fn deliveries(&self, world: &World) -> Result<Vec<Value>> {
        let selector = format!("hookrun.dev/hook={}", self.name);
        world.objects(RUNS).selected("Delivery", &selector).await
    }

    /// Its runs.
    async fn runs(&self, world: &World) -> Result<Vec<Value>> {
        let selector = format!("hookrun.dev/hook={}", self.name);
        world.objects(RUNS).selected("PipelineRun", &selector).await
    }
}

/// Says what the payload's digest is, and which revision it was told.
async fn pipeline(world: &World) -> Result<()> {
    let task = json!({
        "params": [{"name": "revision"}],
        "workspaces": [{"name": "event"}],
        "steps": [{
            "name": "read",
            "image": world.tools.pod,
            "script": "#!/bin/sh\nset -eu\nsha256sum \"$(workspaces.event.path)/push.json\" | cut -c1-64\necho \"revision $(params.revision)\"\n",
        }],
    });
    world
        .apply(&json!({
            "apiVersion": "tekton.dev/v1", "kind": "Pipeline", "metadata": {"name": PIPELINE, "namespace": RUNS},
            "spec": {
                "params": [{"name": "revision"}],
                "workspaces": [{"name": "event"}],
                "tasks": [{
                    "name": "read", "taskSpec": task,
                    "params": [{"name": "revision", "value": "$(params.revision)"}],
                    "workspaces": [{"name": "event", "workspace": "event"}],
                }],
            },
        }))
        .await
}

async fn from_zero(world: Arc<World>) -> Result<()> {
    pipeline(&world).await?;
    for sender in [GITHUB, GITLAB] {
        let provider = sender.provider;
        let hook = Registered::make(&world, sender, &format!("e2e-{provider}"), 600).await?;
        one_event(&world, &hook).await.context(provider)?;
    }
    Ok(())
}

/// An event from its sender to its end, and what must not change that.
async fn one_event(world: &World, hook: &Registered) -> Result<()> {
    let mut payload = (hook.sender.payload)();
    // What would not survive being read and written again.
    payload["message"] = "café ☃ \"quoted\"".into();
    let body = format!("{payload:#}\n").into_bytes();
    let id = Uuid::new_v4().to_string();

    world.until_zero(MAIN, HOOK).await?;
    let (answer, time) = hook.send(&id, &body).await?;
    eprintln!(
        "e2e: {} had its answer from zero after {:.2} s",
        hook.sender.provider,
        time.as_secs_f32()
    );
    ensure!(answer.status == 202, "{answer:?}");
    ensure!(time < CLOCK, "answered after {time:?}");
    let told: Value = serde_json::from_str(&answer.text)?;
    let run = told["runs"][0]["run"].as_str().context("a run")?.to_owned();
    ensure!(
        told["outcome"] == "Created" && told["duplicate"] == false,
        "{told:#}"
    );

    // Sent again: the same Delivery, the same run, nothing new.
    let (again, _) = hook.send(&id, &body).await?;
    let repeated: Value = serde_json::from_str(&again.text)?;
    ensure!(
        again.status == 202
            && repeated["duplicate"] == true
            && repeated["delivery"] == told["delivery"]
            && repeated["runs"] == told["runs"],
        "{again:?}"
    );

    // One bit of the body is another one than was signed; and a Hook that does not exist says the same.
    let mut forged = body.clone();
    forged[20] ^= 1;
    let (forged, _) = hook
        .send_as(&Uuid::new_v4().to_string(), &body, &forged)
        .await?;
    ensure!(forged.status == 401, "{forged:?}");
    let path = format!("/hooks/{RUNS}/e2e-nobody");
    let unknown = ask(hook.gateway.anonymous(&path).body(body.clone())).await?;
    ensure!(
        (unknown.status, &unknown.text) == (401, &forged.text),
        "{unknown:?} and {forged:?}"
    );

    let ended = world.succeeds(RUNS, &run).await?;
    ensure!(
        ended["spec"]["taskRunTemplate"]["serviceAccountName"] == "hookrun",
        "{:#}",
        ended["spec"]
    );
    let log = world.log(RUNS, &run).await?;
    let revision = format!("revision {}", payload["after"].as_str().unwrap_or_default());
    for line in [hex(&Sha256::digest(&body)), revision] {
        ensure!(
            log.lines().any(|told| told.trim() == line),
            "the step did not say {line:?}:\n{log}"
        );
    }

    let deliveries = hook.deliveries(world).await?;
    let [delivery] = deliveries.as_slice() else {
        anyhow::bail!("{} Deliveries", deliveries.len());
    };
    ensure!(
        name(delivery) == told["delivery"]
            && delivery["outcome"] == "Created"
            && delivery["rules"][0]["run"] == *run
            && delivery["rules"][1]["outcome"] == "Filtered",
        "{delivery:#}"
    );
    let runs = hook.runs(world).await?;
    ensure!(runs.len() == 1, "{} runs", runs.len());
    let what = format!("hooks.hookrun.dev/{}", hook.name);
    let status = async || anyhow::Ok(world.get(RUNS, &[&what]).await?["status"].clone());
    let told = status().await?;
    ensure!(
        told["path"] == format!("/hooks/{RUNS}/{}", hook.name)
            && told["url"] == format!("https://hooks.e2e.example.com/hooks/{RUNS}/{}", hook.name)
            && told["secrets"][0]["name"] == *hook.name,
        "{told:#}"
    );
    // An event tells only of the Hook itself; the sweep looks at the cluster around it.
    until(
        "the sweep finds the Hook ready",
        Duration::from_secs(240),
        async || Ok(status().await?["conditions"][0]["status"] == "True"),
    )
    .await?;
    Ok(())
}

async fn swept(world: Arc<World>) -> Result<()> {
    pipeline(&world).await?;
    // Nothing is started at once, so everything waits for the sweep.
    let hook = Registered::make(&world, GITHUB, "e2e-quota", 0).await?;
    let body = (hook.sender.payload)().to_string().into_bytes();
    let (answer, _) = hook.send(&Uuid::new_v4().to_string(), &body).await?;
    let told: Value = serde_json::from_str(&answer.text)?;
    ensure!(
        answer.status == 202
            && told["outcome"] == "Received"
            && hook.runs(&world).await?.is_empty(),
        "{answer:?}"
    );
    let stored = told["delivery"].as_str().context("a Delivery")?.to_owned();
    let objects = world.objects(RUNS);
    // The age at which it is taken over, and the sweep's turn.
    until(
        "the sweep starts it",
        Duration::from_secs(240),
        async || Ok(objects.get("Delivery", &stored).await?["outcome"] == "Created"),
    )
    .await?;
    let runs = hook.runs(&world).await?;
    let [run] = runs.as_slice() else {
        anyhow::bail!("{} runs", runs.len());
    };
    world.succeeds(RUNS, name(run)).await.map(drop)
}

/// Reads the payload twice: by the shipped Task, and by a Task that begins with its command.
async fn pipeline_for_any_size(world: &World) -> Result<()> {
    let task = world.get(RUNS, &["tasks.tekton.dev/hookrun-fetch"]).await?;
    let hookrun = &task["spec"]["steps"][0]["image"];
    let own = json!({
        "params": [{"name": "digest"}, {"name": "path"}],
        "workspaces": [{"name": "event"}],
        "steps": [
            {
                "name": "fetch",
                "image": hookrun,
                "command": ["/hookrun", "fetch", "--from", "$(workspaces.event.path)", "--to", "/workspace/here"],
            },
            {
                "name": "read",
                "image": world.tools.pod,
                "env": [{"name": "NAME", "value": "$(params.path)"}, {"name": "DIGEST", "value": "$(params.digest)"}],
                "script": "#!/bin/sh\nset -eu\nsha256sum \"/workspace/here/$NAME\" | cut -c1-64\necho \"the Task $DIGEST\"\n",
            },
        ],
    });
    world
        .apply(&json!({
            "apiVersion": "tekton.dev/v1", "kind": "Pipeline", "metadata": {"name": ANY_SIZE, "namespace": RUNS},
            "spec": {
                "workspaces": [{"name": "event"}, {"name": "work"}],
                "tasks": [
                    {
                        "name": "fetch", "taskRef": {"name": "hookrun-fetch"},
                        "workspaces": [{"name": "payload", "workspace": "event"}, {"name": "output", "workspace": "work"}],
                    },
                    {
                        "name": "own", "taskSpec": own,
                        "params": [
                            {"name": "digest", "value": "$(tasks.fetch.results.digest)"},
                            {"name": "path", "value": "$(tasks.fetch.results.path)"},
                        ],
                        "workspaces": [{"name": "event", "workspace": "event"}],
                    },
                ],
            },
        }))
        .await
}

async fn of_any_size(world: Arc<World>) -> Result<()> {
    pipeline_for_any_size(&world).await?;
    let rules = json!([{
        "name": "read",
        "payload": {"workspace": "event", "file": "push.json"},
        "pipelineRun": {"spec": {
            "pipelineRef": {"name": ANY_SIZE},
            "workspaces": [{"name": "work", "emptyDir": {}}],
        }},
    }]);
    let hook = Registered::with(&world, GITHUB, "e2e-any-size", json!({"rules": rules})).await?;
    let objects = world.objects(RUNS);
    for (padding, lies_in_the_store) in [(0, false), (5 << 20, true)] {
        let mut payload = (hook.sender.payload)();
        payload["padding"] = "x".repeat(padding).into();
        let body = payload.to_string().into_bytes();
        let (answer, _) = hook.send(&Uuid::new_v4().to_string(), &body).await?;
        let told: Value = serde_json::from_str(&answer.text)?;
        let delivery = told["delivery"].as_str().context("a Delivery")?;
        // A large one may be left to the sweep.
        until("there is a run", Duration::from_secs(240), async || {
            Ok(objects.get("Delivery", delivery).await?["outcome"] == "Created")
        })
        .await?;
        let delivery = objects.get("Delivery", delivery).await?;
        ensure!(
            delivery["payload"]["object"].is_string() == lies_in_the_store,
            "{:#}",
            delivery["payload"]
        );
        let run = delivery["rules"][0]["run"].as_str().context("a run")?;
        world.succeeds(RUNS, run).await?;
        let log = world.log(RUNS, run).await?;
        let digest = hex(&Sha256::digest(&body));
        for line in [digest.clone(), format!("the Task sha256:{digest}")] {
            ensure!(
                log.lines().any(|told| told.trim() == line),
                "no step said {line:?}:\n{log}"
            );
        }
    }
    Ok(())
}

/// The flow is looked up by the hook function itself, and a payload that no Secret holds is fetched by a step of the run.
async fn flow_by_key(world: Arc<World>) -> Result<()> {
    const KEY: &str = "ART_FLOW_e2e-hook";
    let digest = step(
        &world,
        "digest",
        "sha256sum /files/context | cut -c1-64; test \"$TOKEN\" = t0ken",
    );
    let mut flow = flow("E2E Hook", RUNS, &[digest]);
    flow["steps"][0]["input"]["secret"] = json!([{"name": "TOKEN", "value": "t0ken"}]);
    world.store(KEY, &flow).await?;
    let rules = json!([{"name": "scan", "flow": {"key": KEY}}]);
    let hook = Registered::with(&world, GITHUB, "e2e-flow", json!({"rules": rules})).await?;
    for padding in [0, 2 << 20] {
        let mut payload = (hook.sender.payload)();
        payload["padding"] = "x".repeat(padding).into();
        let body = payload.to_string().into_bytes();
        let (answer, _) = hook.send(&Uuid::new_v4().to_string(), &body).await?;
        let told: Value = serde_json::from_str(&answer.text)?;
        // Not by the sweep, which has rights of its own.
        ensure!(
            answer.status == 202 && told["outcome"] == "Created",
            "{answer:?}"
        );
        let run = told["runs"][0]["run"].as_str().context("a run")?;
        let ended = world.succeeds(RUNS, run).await?;
        ensure!(
            ended["spec"]["taskRunTemplate"]["serviceAccountName"] == "hookrun",
            "{:#}",
            ended["spec"]
        );
        let log = world.log(RUNS, run).await?;
        let line = hex(&Sha256::digest(&body));
        ensure!(
            log.lines().any(|told| told.trim() == line),
            "no step said {line:?}:\n{log}"
        );
    }
    Ok(())
}
