//! Memory and time of a Service add up: for the function, for the platform, and for whoever waits for an answer.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{
    build::render,
    objects::{all, find, pod},
};
use crate::{
    case::{Case, case},
    support::objects::{name, named},
};

pub(super) fn cases() -> Vec<Case> {
    vec![case(
        "manifests::manifests_give_a_function_the_memory_and_the_time_that_it_is_told_of",
        async |cluster| {
            let objects = render(&cluster, "knative/full")?;
            let services: Vec<_> = all(&objects, "Service").collect();
            ensure!(services.len() == 5, "{} Services", services.len());
            for service in services {
                check_limits(service).with_context(|| name(service).to_owned())?;
            }
            // What the answer waits for ends before the answer is due.
            let sweep = find(&objects, "Service", "hookrun-sweep")?;
            ensure!(
                seconds(sweep, "HOOKRUN_SWEEP_TIME")?
                    + seconds(sweep, "HOOKRUN_PAYLOAD_SWEEP_TIMEOUT")?
                    + 10
                    <= seconds(sweep, "HOOKRUN_REQUEST_TIME")?
            );
            // The same work in a CronJob has the same memory.
            let minimal = render(&cluster, "knative/minimal")?;
            let memory = |object| -> Result<Value> {
                let container = &pod(object).context("a pod")?["containers"][0];
                Ok(container["resources"]["limits"]["memory"].clone())
            };
            let (job, function) = (
                memory(find(&minimal, "CronJob", "hookrun-sweep")?)?,
                memory(sweep)?,
            );
            ensure!(job == function, "{job} and {function}");
            // The largest webhook of any provider fits into the memory for bodies, where each counts four times.
            let hook = find(&objects, "Service", "hookrun-hook")?;
            let largest = providers::PROVIDERS
                .iter()
                .map(|provider| provider.body_bytes)
                .max()
                .context("providers")?;
            let memory = number(variable(hook, "HOOKRUN_MEMORY_BYTES")?, "MiB")? << 20;
            ensure!(
                (largest * 4) as u64 <= memory,
                "{largest} bytes, {memory} bytes"
            );
            // The Broker waits for the answer of whoever is the last to give up.
            let delivery = &find(&objects, "Broker", "default")?["spec"]["delivery"];
            ensure!(delivery["timeout"] == "PT100S", "{delivery:#}");
            Ok(())
        },
    )]
}

/// The memory of a function adds up to its limit, its times follow on each other, and a busy pod gets company.
fn check_limits(service: &Value) -> Result<()> {
    let pod = pod(service).context("a pod")?;
    let container = &pod["containers"][0];
    // In KiB: bodies, heads (32 KiB each), what a request holds besides, the process.
    let requests = number(variable(service, "HOOKRUN_REQUESTS")?, "")?;
    let sum = (number(variable(service, "HOOKRUN_MEMORY_BYTES")?, "MiB")? << 10)
        + number(variable(service, "HOOKRUN_CONNECTIONS")?, "")? * 32
        + (requests << 11)
        + (64 << 10);
    let limit = container["resources"]["limits"]["memory"]
        .as_str()
        .context("a limit")?;
    let limit = number(limit, "Mi")? << 10;
    ensure!(sum <= limit, "{sum} KiB are more than {limit} KiB");
    // Whatever is accepted is finished before the time for draining is over, and the last telemetry goes out before the
    // pod's time is: a pod of a Knative Service gets timeoutSeconds to end.
    let request = seconds(service, "HOOKRUN_REQUEST_TIME")?;
    let drain = seconds(service, "HOOKRUN_DRAIN_TIME")?;
    let whole = pod["timeoutSeconds"].as_u64().context("timeoutSeconds")?;
    ensure!(request < drain, "{request} s of {drain} s");
    ensure!(drain + 10 <= whole, "{drain} s of {whole} s");
    // The function sheds; the platform neither queues nor counts for it, and starts another pod before this one is full.
    ensure!(pod["containerConcurrency"] == 0, "{pod:#}");
    let annotation = |name: &str| {
        let annotations = &service["spec"]["template"]["metadata"]["annotations"];
        let value = &annotations[format!("autoscaling.knative.dev/{name}")];
        number(value.as_str().context("an annotation")?, "")
    };
    let target = annotation("target")? * annotation("target-utilization-percentage")? / 100;
    ensure!(target < requests, "{target} of {requests}");
    Ok(())
}

/// The variable of the only container of a Service.
pub(super) fn variable<'a>(service: &'a Value, variable: &str) -> Result<&'a str> {
    let env = &pod(service).context("a pod")?["containers"][0]["env"];
    named(env, variable)["value"]
        .as_str()
        .with_context(|| format!("{variable} is missing: {env:#}"))
}

pub(super) fn seconds(service: &Value, name: &str) -> Result<u64> {
    number(variable(service, name)?, "s")
}

pub(super) fn number(text: &str, unit: &str) -> Result<u64> {
    Ok(text.strip_suffix(unit).context("its unit")?.parse()?)
}
