//! A flow of the Artisan kind from its sender to its end: over TLS to a function at zero, and the function back to zero.

use std::{fs, process::Stdio, sync::Arc, time::Instant};

use anyhow::{Context, Result, ensure};
use control_plane::until;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use system_tests::{case::Case, function, support::ask};
use tokio::process::Command;

use crate::{
    gateway::Proxy,
    install::{FLOW, MAIN, USER},
    world::{PATIENCE, RUNS, World, case, hex},
};

pub(crate) fn cases() -> Vec<Case<World>> {
    vec![case(
        "artisan::flow_posted_over_tls_to_a_function_at_zero_runs_and_the_function_goes_back_to_zero",
        600,
        MAIN,
        from_zero_to_zero,
    )]
}

/// A step whose container runs a script.
pub(crate) fn step(world: &World, name: &str, script: &str) -> Value {
    json!({
        "name": name,
        "runtime": world.tools.step,
        "package": "packages.example.org/recipes/any:1",
        "function": "any",
        "input": {"var": [{"name": "SCRIPT", "value": script}]},
    })
}

/// A flow.
pub(crate) fn flow(name: &str, namespace: &str, steps: &[Value]) -> Value {
    json!({"name": name, "labels": {"namespace": namespace}, "steps": steps})
}

async fn from_zero_to_zero(world: Arc<World>) -> Result<()> {
    // What Tekton, the kubelet and a shell would each like to act upon.
    let text = "$(context.pipelineRun.name) $(HOME) $$ \"quoted\"";
    let mut first = step(
        &world,
        "digest",
        "sha256sum /files/context | cut -c1-64; cat /files/rules.yaml; test \"$TOKEN\" = t0ken; printf '%s\\n' \"$TEXT\" > note",
    );
    let input = &mut first["input"];
    input["var"]
        .as_array_mut()
        .context("a list")?
        .push(json!({"name": "TEXT", "value": text}));
    input["secret"] = json!([{"name": "TOKEN", "value": "t0ken"}]);
    input["file"] = json!([{"name": "RULES", "path": "rules.yaml", "content": "ignore: []\n"}]);
    let flow = flow(
        "E2E Digest",
        RUNS,
        &[
            first,
            step(&world, "second", "echo second; cat note; id -u"),
        ],
    );
    world.store("ART_FLOW_e2e-digest", &flow).await?;
    // No text in any encoding.
    let payload: Vec<u8> = (0..100_000_u32)
        .map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();

    world.until_zero(MAIN, FLOW).await?;
    let gateway = world.reach(&world.main)?;
    let began = Instant::now();
    let path = format!("/flow/key/ART_FLOW_e2e-digest/ns/{RUNS}");
    let answer = ask(gateway.post(&path).body(payload.clone())).await?;
    let run = answer.run()?.to_owned();
    eprintln!(
        "e2e: first answer from zero after {:.2} s",
        began.elapsed().as_secs_f32()
    );
    let pods = world
        .pods(MAIN, &format!("serving.knative.dev/service={FLOW}"))
        .await?;
    ensure!(pods.len() == 1, "{} pods", pods.len());

    world.succeeds(RUNS, &run).await?;
    let log = world.log(RUNS, &run).await?;
    let lines: Vec<_> = log.lines().map(str::trim).collect();
    for line in [
        hex(&Sha256::digest(&payload)).as_str(),
        "ignore: []",
        "second",
        text,
        "100000000",
    ] {
        ensure!(
            lines.contains(&line),
            "the steps did not say {line:?}:\n{log}"
        );
    }

    let (code, told) = hookrun_run(&world, &flow_without_payload(&flow)).await?;
    ensure!(
        code == Some(0) && told.contains("Succeeded"),
        "{code:?}:\n{told}"
    );
    world.until_zero(MAIN, FLOW).await
}

/// The flow as it can be posted itself: no payload comes with it.
fn flow_without_payload(flow: &Value) -> Value {
    let mut flow = flow.clone();
    flow["steps"][0]["input"]["var"][0]["value"] =
        json!("test ! -e /files/context; printf '%s\\n' \"$TEXT\" > note");
    flow
}

/// `hookrun run` with a flow, as a user runs it: exit code, and everything that it tells.
pub(crate) async fn hookrun_run(world: &World, flow: &Value) -> Result<(Option<i32>, String)> {
    let certificate = world.main.certificate.as_deref().context("a certificate")?;
    let proxy = Proxy::start(world).await?;
    let folder = tempfile::tempdir_in(&world.folder)?;
    let (file, authorities) = (
        folder.path().join("flow.json"),
        folder.path().join("ca.pem"),
    );
    fs::write(&file, flow.to_string())?;
    fs::write(&authorities, certificate)?;
    let output = Command::new(function::executable())
        .arg("run")
        .arg(&file)
        .args([
            "--url",
            &format!("https://{}", world.main.host),
            "--username",
            USER,
            "--timeout",
            &PATIENCE.as_secs().to_string(),
        ])
        .env("HOOKRUN_PASSWORD", &world.main.password)
        .env("SSL_CERT_FILE", &authorities)
        .env_remove("SSL_CERT_DIR")
        // For the function; the API server is reached without it.
        .env("ALL_PROXY", proxy.url())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("hookrun does not start")?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    Ok((output.status.code(), told))
}

/// Waits until a run has got as far as a condition says.
pub(crate) async fn until_run(
    world: &World,
    run: &str,
    what: &str,
    condition: impl Fn(&Value) -> bool,
) -> Result<()> {
    let objects = world.objects(RUNS);
    until(what, PATIENCE, async || {
        Ok(condition(&objects.get("PipelineRun", run).await?))
    })
    .await
}
