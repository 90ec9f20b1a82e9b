//! `hookrun hooks send`: a request as the provider would send it, signed and all.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use providers::{Provider, Settings, provider::Proof, samples, sign};
use serde::Serialize;
use serde_json::Value;

use super::source::{self, Source};
use crate::{
    cli::hooks::Send,
    command::{
        input,
        output::{plain, print},
        say,
    },
};

/// Longer than any provider waits.
const PATIENCE: Duration = Duration::from_secs(60);

/// Most bytes of an answer that are shown.
const SHOWN: usize = 4000;

/// What one request came to.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    /// Identity of the event.
    id: String,
    /// HTTP status.
    status: u16,
    /// Milliseconds until the answer was there.
    milliseconds: u64,
    /// Its body: JSON if it is that, else text.
    body: Value,
}

/// What is to be sent, and where.
struct Plan<'a> {
    source: &'a Source,
    provider: &'static Provider,
    settings: Settings,
    body: Body,
    event_type: String,
    extra: HeaderMap,
}

/// A body: what is in a file stays as it is, byte for byte.
enum Body {
    File(Vec<u8>),
    Sample(Value),
}

/// Runs the command.
pub(super) async fn run(options: &Send) -> anyhow::Result<ExitCode> {
    let secret = options.secret_file.as_deref();
    let source = source::find(&options.hook, secret, &options.objects).await?;
    let plan = plan(&source, options)?;
    let client = reqwest::Client::builder()
        .timeout(PATIENCE)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .context("cannot make an HTTP client")?;
    let url = destination(options);
    let mut answers = Vec::new();
    for _ in 0..options.repeat {
        let made_up = || uuid::Uuid::new_v4().to_string();
        let id = options.delivery_id.clone().unwrap_or_else(made_up);
        answers.push(send(&client, &plan, url, id).await?);
    }
    print(options.output.form, &answers, || text(&plan, &answers))?;
    let hints: BTreeSet<String> = answers.iter().filter_map(|one| hint(one, url)).collect();
    hints.iter().for_each(|hint| say(hint));
    let accepted = answers
        .iter()
        .all(|answer| (200..300).contains(&answer.status));
    Ok(if accepted {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What is behind an answer that does not say it itself.
fn hint(answer: &Answer, url: &str) -> Option<String> {
    // A Kubernetes API answers with a `Status`, whatever it is asked for.
    if answer.status == 404 || answer.body["kind"] == "Status" {
        return Some(format!(
            "{} is not the hook function, which knows /hooks/…: --url says where that is. A Kubernetes API, such as that of \
             `kubectl proxy`, is none; --server names one, and is the function as well with `hookrun dev` alone",
            plain(url, SHOWN)
        ));
    }
    let refused = "the function has no such Hook, or its Secret does not hold what this request was signed with";
    (answer.status == 401).then(|| refused.to_owned())
}

/// Where the function is. What serves a Kubernetes API that asks for no credentials is `hookrun dev`, and serves it, too.
fn destination(options: &Send) -> &str {
    let typed = options.url.as_deref().or(options.objects.server.as_deref());
    typed.unwrap_or("http://127.0.0.1:8080")
}

fn plan<'a>(source: &'a Source, options: &Send) -> anyhow::Result<Plan<'a>> {
    let name = &source.hook.spec.provider;
    let provider = providers::provider(name).with_context(|| {
        format!("there is no provider {name:?}; `hookrun hooks new` lists them")
    })?;
    let sample = samples::sample_of(provider.name, options.event.as_deref());
    let event_type = options.event.as_deref().unwrap_or(sample.event_type);
    let body = match &options.body {
        Some(file) => Body::File(input::read(file)?),
        None => {
            if event_type != sample.event_type {
                say(&format!(
                    "there is no sample of {event_type:?}: this is one of {:?}; --body takes a file",
                    sample.event_type
                ));
            }
            Body::Sample(serde_json::from_str(sample.payload)?)
        }
    };
    Ok(Plan {
        source,
        provider,
        settings: super::settings(&source.hook)?,
        body,
        event_type: event_type.to_owned(),
        extra: headers(&options.headers)?,
    })
}

fn headers(typed: &[String]) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for text in typed {
        let (name, value) = text
            .split_once(':')
            .with_context(|| format!("{text:?} is no header: write `Name: value`"))?;
        let name: HeaderName = name
            .trim()
            .parse()
            .with_context(|| format!("{name:?} is no name of a header"))?;
        let value = HeaderValue::from_str(value.trim())
            .with_context(|| format!("the value of {name} is none"))?;
        headers.append(name, value);
    }
    Ok(headers)
}

async fn send(
    client: &reqwest::Client,
    plan: &Plan<'_>,
    url: &str,
    id: String,
) -> anyhow::Result<Answer> {
    let Plan {
        source,
        provider,
        settings,
        ..
    } = plan;
    let body = match &plan.body {
        Body::File(bytes) => bytes.clone(),
        Body::Sample(payload) => {
            let mut payload = payload.clone();
            sign::describe(provider, &mut payload, &plan.event_type, &id);
            payload.to_string().into_bytes()
        }
    };
    let outgoing = sign::Outgoing {
        event_type: &plan.event_type,
        id: &id,
        body: &body,
    };
    let secret = source.secrets.first().map(|(_, secret)| secret.as_slice());
    // A proof that was typed is as good.
    let sent = match secret {
        Some(secret) => sign::sign(
            provider,
            settings,
            secret,
            &outgoing,
            Timestamp::now().as_second(),
        )?,
        None if plan.extra.is_empty() => return Err(unsigned(provider)),
        None => sign::Sent::default(),
    };
    let metadata = &source.hook.metadata;
    let place = url;
    let mut url = format!(
        "{}/hooks/{}/{}",
        url.trim_end_matches('/'),
        metadata.namespace,
        metadata.name
    );
    if let Some(token) = &sent.token {
        let _ = write!(url, "/{}", utf8_percent_encode(token, NON_ALPHANUMERIC));
    }
    let mut headers = sent.headers;
    for (name, value) in &plan.extra {
        headers.insert(name, value.clone());
    }
    let started = Instant::now();
    let response = client
        .post(&url)
        .headers(headers)
        .body(body)
        .send()
        .await
        // The URL may hold the token.
        .map_err(reqwest::Error::without_url)
        .with_context(|| format!("cannot reach the function at {place}; --url says where it is"))?;
    let status = response.status().as_u16();
    let bytes = response
        .bytes()
        .await
        .map_err(reqwest::Error::without_url)?;
    let text = || Value::from(String::from_utf8_lossy(&bytes).into_owned());
    Ok(Answer {
        id,
        status,
        milliseconds: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        body: serde_json::from_slice(&bytes).unwrap_or_else(|_| text()),
    })
}

/// Why nothing is sent without a secret.
fn unsigned(provider: &Provider) -> anyhow::Error {
    let token = |proof: &Proof<'_>| matches!(proof, Proof::Jwt(_));
    if provider.proofs.iter().all(token) {
        return anyhow!(
            "{}: bring one with --header 'Authorization: Bearer …'",
            sign::Unsigned::Token(provider.name)
        );
    }
    anyhow!(
        "there is no secret to sign with: put the Secret behind the Hook in its file, or give --secret-file"
    )
}

fn text(plan: &Plan<'_>, answers: &[Answer]) -> String {
    let mut text = String::new();
    for answer in answers {
        let Answer {
            id,
            status,
            milliseconds,
            body,
        } = answer;
        let known = http::StatusCode::from_u16(*status).ok();
        let reason = known
            .and_then(|status| status.canonical_reason())
            .unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{status} {reason} after {milliseconds} ms (event {})",
            plain(id, SHOWN)
        );
        text += &told(body);
        let limit = plan.provider.answer_within;
        if u128::from(*milliseconds) > limit.as_millis() {
            let _ = writeln!(
                text,
                "  {} would not have waited: it gives {} s",
                plan.provider.title,
                limit.as_secs()
            );
        }
    }
    text
}

/// An answer, a line for each thing that it says.
fn told(body: &Value) -> String {
    let fields: BTreeMap<&str, String> = match body {
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, _)| name.as_str() != "runs")
            .map(|(name, value)| {
                (
                    name.as_str(),
                    value
                        .as_str()
                        .map_or_else(|| value.to_string(), str::to_owned),
                )
            })
            .collect(),
        Value::String(text) if text.is_empty() => BTreeMap::new(),
        Value::String(text) => BTreeMap::from([("body", text.clone())]),
        other => BTreeMap::from([("body", other.to_string())]),
    };
    let mut text = String::new();
    for (name, value) in fields {
        let _ = writeln!(text, "  {name}: {}", plain(&value, SHOWN));
    }
    for run in body["runs"].as_array().into_iter().flatten() {
        let part = |name: &str| plain(run[name].as_str().unwrap_or_default(), SHOWN);
        let name = run["run"]
            .as_str()
            .map_or_else(String::new, |run| format!(", run {}", plain(run, SHOWN)));
        let _ = writeln!(
            text,
            "  rule {}: {}{name} ({})",
            part("rule"),
            part("outcome"),
            part("reason")
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command, hooks::Hooks};

    /// Where a request goes.
    fn goes_to(arguments: &[&str]) -> String {
        let typed = ["hookrun", "hooks", "send", "hook.yaml"].iter();
        let Command::Hooks {
            command: Hooks::Send(options),
        } = Cli::parse_from(typed.chain(arguments)).command
        else {
            return "another command".to_owned();
        };
        destination(&options).to_owned()
    }

    #[test]
    fn what_is_no_hook_function_is_not_told_as_an_unknown_hook() {
        let told = |status, body: Value| {
            let answer = Answer {
                id: "17".to_owned(),
                status,
                milliseconds: 1,
                body,
            };
            hint(&answer, "http://127.0.0.1:8001").unwrap_or_default()
        };
        let refused = serde_json::json!({"kind": "Status", "reason": "Forbidden"});
        for (status, body) in [
            (404, Value::from("404 page not found\n")),
            (401, refused.clone()),
            (403, refused),
        ] {
            let told = told(status, body);
            assert!(
                told.starts_with("http://127.0.0.1:8001 is not the hook function"),
                "{told}"
            );
        }
        let problem = serde_json::json!({"type": "about:blank"});
        assert!(told(401, problem.clone()).contains("no such Hook"));
        assert_eq!(
            (told(202, Value::Null), told(503, problem)),
            Default::default()
        );
    }

    #[test]
    fn the_server_that_was_named_is_the_function_unless_that_is_elsewhere() {
        let server = ["--server", "http://127.0.0.1:9"];
        assert_eq!(goes_to(&[]), "http://127.0.0.1:8080");
        assert_eq!(goes_to(&server), "http://127.0.0.1:9");
        let both = [&server[..], &["--url", "https://hooks.example.com"]].concat();
        assert_eq!(goes_to(&both), "https://hooks.example.com");
    }
}
