//! `hookrun hooks test`: captured requests against what their author expects of the Hook, for CI.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, ensure};
use providers::sign::Outgoing;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    capture::{Captured, Request, Written},
    judge::{Judgement, Says, judge},
    source::{self, Source},
};
use crate::{
    cli::hooks::Test,
    command::{
        input,
        output::{plain, print},
    },
};

/// The file with the Hook.
const HOOK: &str = "hook.yaml";

/// Characters of a difference that people read.
const SHOWN: usize = 400;

/// A case, as its author wrote it down.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Case {
    request: Written,
    #[serde(default)]
    secrets: Option<Vec<String>>,
    #[serde(default)]
    sign: bool,
    expect: Expected,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Expected {
    outcome: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    rules: Vec<ExpectedRule>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ExpectedRule {
    name: String,
    outcome: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    params: BTreeMap<String, Value>,
}

/// What a case came to.
#[derive(Debug, Serialize)]
struct Tested {
    case: String,
    passed: bool,
    /// What is not as expected.
    differences: Vec<String>,
}

/// Runs the command.
pub(super) fn run(options: &Test) -> anyhow::Result<ExitCode> {
    let file = options.folder.join(HOOK);
    let hook = input::read(&file)?;
    let source =
        source::parse(&hook, None).with_context(|| format!("cannot use {}", file.display()))?;
    let cases = cases(&options.folder)?;
    ensure!(
        !cases.is_empty(),
        "{} holds no case: write one, as `hookrun hooks test --help` shows",
        options.folder.display()
    );
    let tested: Vec<Tested> = cases
        .iter()
        .map(|file| tested(&source, file))
        .collect::<anyhow::Result<_>>()?;
    print(options.output.form, &tested, || text(&tested))?;
    let passed = tested.iter().all(|case| case.passed);
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The files of the cases, by name. What a case reads as its body is none.
fn cases(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut cases = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let yaml = path
            .extension()
            .is_some_and(|end| end == "yaml" || end == "yml");
        if yaml && path.file_name().is_some_and(|name| name != HOOK) {
            cases.push(path);
        }
    }
    cases.sort();
    Ok(cases)
}

fn tested(source: &Source, file: &Path) -> anyhow::Result<Tested> {
    let read = || -> anyhow::Result<Case> {
        let bytes = input::read(file)?;
        let text = std::str::from_utf8(&bytes).context("it is not UTF-8")?;
        let document: Value = serde_saphyr::from_str(text).context("it is not YAML")?;
        serde_json::from_value(document)
            .context("it is not a case; `hookrun hooks test --help` shows one")
    };
    let in_file = || format!("cannot use {}", file.display());
    let case = read().with_context(in_file)?;
    let mut request = case.request.request(file).with_context(in_file)?;
    let given = case.secrets.map(|secrets| {
        let named = secrets.into_iter().enumerate();
        named
            .map(|(at, secret)| (format!("secrets[{at}]"), secret.into_bytes()))
            .collect()
    });
    let source = Source {
        hook: source.hook.clone(),
        secrets: given.unwrap_or_else(|| source.secrets.clone()),
    };
    if case.sign {
        sign(&source, &mut request).with_context(in_file)?;
    }
    let judgement = judge(&source, &Captured::Request(request));
    let mut differences = differences(&judgement, &case.expect);
    differences.extend(unproven(&judgement));
    Ok(Tested {
        case: file
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        passed: differences.is_empty(),
        differences,
    })
}

/// Why a case proves nothing, whatever its outcome: a forged signature would pass it, too.
fn unproven(judgement: &Judgement) -> Option<String> {
    let mut steps = judgement.steps.iter();
    let step = steps.find(|step| step.says == Says::NoSecret)?;
    Some(format!(
        "the {} was not checked: give the case `secrets`, or put the Secret behind the Hook in hook.yaml",
        step.step
    ))
}

/// Adds the proof that the provider would send. Headers that the case brings stay, so that it can say type and identity.
/// Attributes of a CloudEvent are the case's own: one more would make another mode out of a body without any.
fn sign(source: &Source, request: &mut Request) -> anyhow::Result<()> {
    let spec = &source.hook.spec;
    let provider = providers::provider(&spec.provider)
        .with_context(|| format!("there is no provider {:?}", spec.provider))?;
    let (_, secret) = source
        .secrets
        .first()
        .context("there is no secret to sign with: give `secrets`")?;
    let settings = super::settings(&source.hook)?;
    // Where the identity is signed, the one that the case brings is meant.
    let own = settings
        .hmac
        .as_ref()
        .and_then(|hmac| hmac.options().id_header.clone());
    let named = request.headers.get(own.as_deref().unwrap_or("webhook-id"));
    let id = named
        .and_then(|id| id.to_str().ok())
        .unwrap_or("test")
        .to_owned();
    let outgoing = Outgoing {
        event_type: "",
        id: &id,
        body: &request.body,
    };
    let sent = providers::sign::sign(provider, &settings, secret, &outgoing, request.time())?;
    for (name, value) in &sent.headers {
        if !name.as_str().starts_with("ce-") && !request.headers.contains_key(name) {
            request.headers.insert(name, value.clone());
        }
    }
    request.token = request.token.take().or(sent.token);
    Ok(())
}

fn differences(judgement: &Judgement, expected: &Expected) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |what: String, is: &str, expected: &str| {
        if is != expected {
            found.push(format!("{what} is {is}, expected {expected}"));
        }
    };
    compare(
        "the outcome".to_owned(),
        judgement.outcome,
        &expected.outcome,
    );
    let mut unexplained = Vec::new();
    let mut explain = |what: &str, is: &str, part: &str| {
        if !is.contains(part) {
            unexplained.push(format!(
                "the reason of {what} is {is:?}, expected to hold {part:?}"
            ));
        }
    };
    explain("the outcome", &judgement.reason(), &expected.reason);
    for rule in &expected.rules {
        let named = format!("rule {}", rule.name);
        let Some(is) = judgement.rules.iter().find(|is| is.name == rule.name) else {
            compare(named, "not reached", &rule.outcome);
            continue;
        };
        compare(named.clone(), is.outcome, &rule.outcome);
        explain(&named, &is.reason, &rule.reason);
        for (name, value) in &rule.params {
            let is = is
                .params
                .get(name)
                .map_or_else(|| "absent".to_owned(), Value::to_string);
            compare(
                format!("{named}, parameter {name}"),
                &is,
                &value.to_string(),
            );
        }
    }
    found.extend(unexplained);
    let surprising = judgement.outcome != expected.outcome && !judgement.reason().is_empty();
    if surprising {
        found.push(format!("because: {}", judgement.reason()));
    }
    found
}

fn text(tested: &[Tested]) -> String {
    let mut text = String::new();
    for case in tested {
        let verdict = if case.passed { "ok" } else { "FAILED" };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{} ... {verdict}", case.case);
        for difference in &case.differences {
            let _ = writeln!(text, "    {}", plain(difference, SHOWN));
        }
    }
    let passed = tested.iter().filter(|case| case.passed).count();
    let _ = writeln!(text, "{passed} passed, {} failed", tested.len() - passed);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tested_with(secrets: &str) -> Tested {
        let folder = tempfile::tempdir().expect("a folder");
        let hook = "apiVersion: hookrun.dev/v1alpha1\nkind: Hook\nmetadata: {name: h}\nspec:\n  provider: github\n  \
            verification: {secretRefs: [{name: s}]}\n  rules: [{name: r, pipelineRef: {name: p}}]\n";
        let source = source::parse(hook.as_bytes(), None).expect("a Hook");
        let file = folder.path().join("case.yaml");
        let case = format!(
            "request:\n  headers: {{X-GitHub-Event: push, X-Hub-Signature-256: sha256={}}}\n  body: {{}}\n{secrets}\
             expect: {{outcome: Created}}\n",
            "0".repeat(64)
        );
        std::fs::write(&file, case).expect("a case");
        tested(&source, &file).expect("a case that can be read")
    }

    #[test]
    fn a_forged_signature_does_not_pass_for_want_of_a_secret() {
        let without = tested_with("");
        assert!(!without.passed, "{without:?}");
        let [difference] = without.differences.as_slice() else {
            panic!("{without:?}");
        };
        assert!(
            difference.contains("give the case `secrets`"),
            "{difference}"
        );
        let with = tested_with("secrets: [s]\n");
        assert!(!with.passed, "{with:?}");
        let told = with.differences.join("\n");
        assert!(told.contains("mismatch"), "{told}");
    }
}
