//! Documents to objects, in this process: how fast, and whether the time grows with the size and no faster.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use flows::{Format, Lowering, Request, Scope, Settings};
use serde_json::{Value, json};

use crate::table::{Table, median, time};

/// What one measurement takes at least, so that a clock tick means nothing.
const ENOUGH: Duration = Duration::from_millis(100);

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    let mut per_step = Vec::new();
    for steps in [10, 100, 1000, 10_000] {
        let document = document(steps).to_string();
        let took = convert(&document)?;
        let rate = document.len() as f64 / 1e6 / took.as_secs_f64();
        let one = took / steps;
        let first = *per_step.first().unwrap_or(&one);
        per_step.push(one);
        table.row(
            format!(
                "conversion, {steps} steps ({:.0} KB)",
                document.len() as f64 / 1e3
            ),
            format!("{rate:.0} MB/s"),
            format!("{} per document", time(took)),
            format!(
                "{:.2} of a step's time with 10",
                one.as_secs_f64() / first.as_secs_f64()
            ),
            if steps == 10 { "" } else { "linear: about 1" },
        );
    }
    Ok(())
}

/// A flow of so many steps, each with inputs of every kind.
fn document(steps: u32) -> Value {
    let steps: Vec<_> = (0..steps)
        .map(|number| {
            json!({
                "name": format!("step-{number}"),
                "description": "one of many",
                "runtime": "images.example.org/tools/scanner:3.2",
                "package": "packages.example.org/recipes/scan:1.0",
                "function": "scan",
                "input": {
                    "var": [{"name": "SEVERITY", "value": "high"}, {"name": "NUMBER", "value": number.to_string()}],
                    "secret": [{"name": format!("TOKEN_{number}"), "value": "t0ken"}],
                    "file": [{"name": "RULES", "path": format!("rules-{number}.yaml"), "content": "ignore: []\n"}]
                }
            })
        })
        .collect();
    json!({"name": "Many Steps", "labels": {"namespace": "bench"}, "steps": steps})
}

/// The median time to read a document, and to write all of its objects as bytes.
fn convert(document: &str) -> Result<Duration> {
    let settings = Settings::default();
    let lowering = Lowering::default();
    let request = Request {
        scope: Scope::Document,
        event: "bench",
        traceparent: None,
        payload: None,
    };
    let mut times = Vec::new();
    let began = Instant::now();
    while began.elapsed() < ENOUGH || times.len() < 5 {
        let began = Instant::now();
        let flow = flows::parse(Format::Artisan, document.as_bytes(), &lowering)
            .map_err(|problems| anyhow!("{problems}"))?;
        let namespace = flow
            .namespace
            .clone()
            .ok_or_else(|| anyhow!("the flow names its namespace"))?;
        let emitted = flows::emit(&flow, &namespace, &request, &settings);
        let bytes: usize = emitted
            .latest
            .iter()
            .map(|object| object.to_json().len())
            .sum();
        std::hint::black_box((bytes, emitted.run.object.to_json()));
        times.push(began.elapsed());
    }
    Ok(median(&mut times))
}
