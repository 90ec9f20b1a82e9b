//! `hookrun convert`: what a flow becomes, without a cluster.

use std::{io::Write, path::Path, process::ExitCode};

use anyhow::{Context, ensure};
use flows::{
    Emitted, Format, Payload, Problems, Request, Scope, flow::DATA_MAX, name::Label,
    problem::Position,
};

use super::input;
use crate::cli;

/// Longest piece of a line that is shown under a problem, in characters: it fits a terminal.
const SHOWN: usize = 76;

/// Runs the command.
pub(crate) fn run(options: &cli::Convert) -> anyhow::Result<ExitCode> {
    let format: Format = options.format.parse().map_err(anyhow::Error::msg)?;
    let mut lowering = options.settings.lowering();
    lowering.namespace = options.namespace.as_deref().map(namespace).transpose()?;
    let source = input::read(&options.file)?;
    let flow = match flows::parse(format, &source, &lowering) {
        Ok(flow) => flow,
        Err(problems) => return report(&options.file, &source, &problems),
    };
    let namespace = lowering
        .namespace
        .or_else(|| flow.namespace.clone())
        .context("the document names no namespace: give one with --namespace")?;
    let payload = options.payload.as_deref().map(payload).transpose()?;
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

fn namespace(text: &str) -> anyhow::Result<Label> {
    text.parse()
        .ok()
        .with_context(|| format!("{text:?} is not the name of a namespace"))
}

/// A payload that a Secret can hold. A larger one would be an object of a bucket, which nothing here has put there.
fn payload(file: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes = input::read(file)?;
    ensure!(
        bytes.len() <= DATA_MAX,
        "the payload {} has {} bytes, more than the {} that a Secret holds: the function would put it into its object \
         store (HOOKRUN_PAYLOAD_STORE), from where the run's first step fetches it; convert can only show smaller ones",
        file.display(),
        bytes.len(),
        DATA_MAX,
    );
    Ok(bytes)
}

/// Each problem as `file:line:column: $.path: text`, which editors understand, and the place itself under it.
fn report(file: &Path, source: &[u8], problems: &Problems) -> anyhow::Result<ExitCode> {
    let text = std::str::from_utf8(source).ok();
    let file = file.display();
    let mut err = std::io::stderr().lock();
    for problem in problems.iter() {
        let found = text.and_then(|text| Some((text, problem.position(text)?)));
        match found {
            Some((text, position)) => {
                writeln!(err, "{file}:{position}: {problem}")?;
                if let Some(excerpt) = excerpt(text, position) {
                    writeln!(err, "{excerpt}")?;
                }
            }
            None => writeln!(err, "{file}: {problem}")?,
        }
    }
    Ok(ExitCode::FAILURE)
}

/// The line of a place with a caret under it: as much of a long line as fits, around the place.
fn excerpt(source: &str, position: Position) -> Option<String> {
    let line = source.lines().nth(position.line.checked_sub(1)?)?;
    let at = position.column.checked_sub(1)?;
    let length = line.chars().count();
    if at > length {
        return None;
    }
    // What matters stands before and behind the place; most of it behind.
    let first = if length <= SHOWN {
        0
    } else {
        at.saturating_sub(SHOWN / 3).min(length - SHOWN)
    };
    let before = if first > 0 { "…" } else { "" };
    let after = if length - first > SHOWN { "…" } else { "" };
    // One column each, and nothing that moves a terminal's cursor.
    let shown: String = line
        .chars()
        .skip(first)
        .take(SHOWN)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let caret = at - first + before.chars().count();
    Some(format!(
        "  {before}{}{after}\n  {:caret$}^",
        shown.trim_end(),
        ""
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(source: &str, line: usize, column: usize) -> String {
        excerpt(source, Position { line, column }).unwrap_or_default()
    }

    #[test]
    fn a_caret_points_at_the_place() {
        assert_eq!(
            at("{\n\t\"näme\": 5\r\n}", 2, 10),
            "   \"näme\": 5\n           ^"
        );
        // The end of the document.
        assert_eq!(at("{", 1, 2), "  {\n   ^");
        assert_eq!(at("{", 2, 1), "");
        assert_eq!(at("{", 1, 3), "");
    }

    #[test]
    fn a_long_line_is_shortened_around_the_place() {
        let line: String = "0123456789".repeat(100);
        for column in [1, 2, 30, 500, 990, 1000] {
            let text = at(&line, 1, column);
            let (shown, caret) = text.split_once('\n').expect("two lines");
            let pointed = shown.chars().nth(caret.chars().count() - 1);
            assert_eq!(pointed, line.chars().nth(column - 1), "{column}\n{text}");
            assert!(shown.chars().count() <= SHOWN + 4, "{text}");
            assert_eq!(shown.starts_with("  …"), column > 26, "{text}");
            assert_eq!(shown.ends_with('…'), column < 900, "{text}");
        }
    }

    #[test]
    fn a_namespace_that_is_given_stands_for_any_label() {
        let lowering = flows::Lowering {
            namespace: Some(namespace("team").expect("a name")),
            ..flows::Lowering::default()
        };
        for labels in ["", r#""labels": {"namespace": "Not A Name"},"#] {
            let source = format!(
                r#"{{"name": "x", {labels} "steps": [{{"name": "s", "runtime": "a/b", "commands": ["c"]}}]}}"#
            );
            let flow = flows::parse(Format::Artisan, source.as_bytes(), &lowering);
            assert!(flow.is_ok(), "{flow:?}");
        }
        assert!(namespace("Not A Name").is_err());
    }
}
