//! `hookrun hooks explain`: which step says no to a captured request, and which values it saw.

use std::{fmt::Write as _, path::Path, process::ExitCode};

use deliveries::resource::DELIVERIES;
use hooks::Delivery;

use super::{
    capture::{self, Captured},
    judge::{Judgement, Says, Step, judge},
    source,
};
use crate::{
    cli::hooks::Explain,
    command::{
        objects::Objects,
        output::{plain, print},
        payload,
    },
};

/// Characters of a line that people read.
const LINE: usize = 400;

/// Runs the command.
pub(super) async fn run(options: &Explain) -> anyhow::Result<ExitCode> {
    let secret = options.secret_file.as_deref();
    let source = source::find(&options.hook, secret, &options.objects).await?;
    let captured = captured(options).await?;
    let judgement = judge(&source, &captured);
    print(options.output.form, &judgement, || text(&judgement))?;
    Ok(match judgement.outcome {
        "Created" => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

async fn captured(options: &Explain) -> anyhow::Result<Captured> {
    let typed = options.request.as_str();
    if source::is_file(typed) {
        return capture::read(Path::new(typed), options.payload.as_deref());
    }
    let objects = Objects::connect(&options.objects).await?;
    let (namespace, name) = objects.place(typed);
    let delivery: Delivery = objects.get(DELIVERIES, namespace, name).await?;
    let payload = match &options.payload {
        Some(file) => payload::from_file(&delivery, file)?,
        None => payload::stored(&objects, &delivery, &options.store).await?,
    };
    Ok(Captured::Delivery(Box::new(delivery), payload.into()))
}

/// The steps, one below the other.
fn text(judgement: &Judgement) -> String {
    let mut text = String::new();
    for step in &judgement.steps {
        line(&mut text, "", step);
    }
    for rule in &judgement.rules {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "rule {}", rule.name);
        for step in &rule.steps {
            line(&mut text, "  ", step);
        }
        let _ = match rule.outcome {
            "Created" => writeln!(text, "  => starts a run"),
            "Failed" => writeln!(text, "  => fails, and starts nothing"),
            _ => writeln!(text, "  => starts nothing"),
        };
    }
    let _ = writeln!(text, "outcome: {}", judgement.outcome);
    text
}

fn line(text: &mut String, indent: &str, step: &Step) {
    let says = match step.says {
        Says::Yes => "yes",
        Says::No => "NO",
        Says::NotChecked | Says::NoSecret => "?",
    };
    let width = 15 - indent.len();
    let mut reasons = step.reason.lines();
    let first = plain(reasons.next().unwrap_or_default(), LINE);
    let _ = writeln!(
        text,
        "{}",
        format!("{indent}{:width$} {says:3}  {first}", step.step).trim_end()
    );
    for more in reasons {
        let _ = writeln!(text, "{:21}{}", "", plain(more, LINE));
    }
    for part in step
        .expression
        .iter()
        .flat_map(|expression| expression.lines())
    {
        let _ = writeln!(text, "{:21}{}", "", plain(part, LINE));
    }
    for (path, value) in &step.values {
        let _ = writeln!(
            text,
            "{:23}{} = {}",
            "",
            plain(path, LINE),
            plain(value, LINE)
        );
    }
}
