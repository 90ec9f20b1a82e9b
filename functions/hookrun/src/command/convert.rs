//! `hookrun convert`: what a flow becomes, without a cluster.

use std::{fs, io::Read, io::Write, path::Path, process::ExitCode};

use anyhow::Context;
use flows::{Emitted, Format, Payload, Problems, Request, Scope, flow::Flow, name::Label};

use crate::cli;

/// Runs the command.
pub(crate) fn run(options: &cli::Convert) -> anyhow::Result<ExitCode> {
    let source = read(&options.file)?;
    let format: Format = options.format.parse().map_err(anyhow::Error::msg)?;
    let parsed = flows::parse(format, &source, &options.settings.lowering());
    let flow = match parsed {
        Ok(flow) => flow,
        Err(problems) => return report(&options.file, &source, &problems),
    };
    let namespace = namespace(&flow, options.namespace.as_deref())?;
    let payload = options.payload.as_deref().map(read).transpose()?;
    let request = Request {
        scope: Scope::Document,
        event: &options.event,
        traceparent: None,
        payload: payload.as_deref().map(Payload::Inline),
    };
    let Emitted { latest, run } =
        flows::emit(&flow, &namespace, &request, &options.settings.settings());
    let mut out = std::io::stdout().lock();
    for object in &latest {
        document(&mut out, object)?;
    }
    document(&mut out, &run.object)?;
    for copy in &run.copies {
        document(&mut out, copy)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn document(out: &mut impl Write, object: &impl serde::Serialize) -> anyhow::Result<()> {
    writeln!(out, "---\n{}", serde_saphyr::to_string(object)?.trim_end())?;
    Ok(())
}

fn namespace(flow: &Flow, wished: Option<&str>) -> anyhow::Result<Label> {
    match wished {
        Some(text) => text
            .parse()
            .ok()
            .with_context(|| format!("{text:?} is not the name of a namespace")),
        None => flow.namespace.clone().context(
            "the document names no namespace (label `namespace`): give one with --namespace",
        ),
    }
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    if file.as_os_str() == "-" {
        let mut bytes = Vec::new();
        std::io::stdin()
            .lock()
            .read_to_end(&mut bytes)
            .context("cannot read standard input")?;
        return Ok(bytes);
    }
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// Each problem as `file:line:column: $.path: text`, which editors understand.
fn report(file: &Path, source: &[u8], problems: &Problems) -> anyhow::Result<ExitCode> {
    let text = std::str::from_utf8(source).ok();
    let mut err = std::io::stderr().lock();
    for problem in problems.iter() {
        match text.and_then(|text| flows::problem::locate(text, &problem.at)) {
            Some(position) => writeln!(
                err,
                "{}:{}:{}: {problem}",
                file.display(),
                position.line,
                position.column
            )?,
            None => writeln!(err, "{}: {problem}", file.display())?,
        }
    }
    Ok(ExitCode::FAILURE)
}
