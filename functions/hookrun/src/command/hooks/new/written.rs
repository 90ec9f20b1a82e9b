//! The objects that `hookrun hooks new` writes, and the secrets that it makes up.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, anyhow, bail};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use hooks::{
    Hook,
    hook::{Param, PipelineRef},
};
use providers::{
    Provider,
    provider::{Key, Proof, Scheme, Value as Literal},
};
use ring::rand::{SecureRandom, SystemRandom};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{cli::hooks::New, command::hooks::source};

/// Bytes of a secret: as many as its strongest use, HMAC-SHA256, takes in.
const SECRET_BYTES: usize = 32;

/// Entry of the Secret.
pub(super) const ENTRY: &str = "secret";

/// What the Secret of a Hook is called.
pub(super) fn secret_name(hook: &str) -> String {
    format!("{hook}-webhook")
}

/// A Hook as people write one: in this order, and without what is the same in all of them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Written {
    api_version: &'static str,
    kind: &'static str,
    pub(super) metadata: Place,
    spec: Spec,
}

/// Where an object is.
#[derive(Clone, Serialize)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) namespace: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    provider: &'static str,
    verification: Value,
    service_account_name: String,
    rules: [WrittenRule; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenRule {
    name: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<String>,
    pipeline_ref: PipelineRef,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    params: Vec<Param>,
}

/// The Secret of a Hook.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WrittenSecret {
    pub(super) api_version: &'static str,
    pub(super) kind: &'static str,
    pub(super) metadata: Place,
    pub(super) string_data: BTreeMap<&'static str, String>,
}

/// The Hook, complete; it is checked as the function would.
pub(super) fn hook(
    provider: &'static Provider,
    options: &New,
    place: Place,
) -> anyhow::Result<Written> {
    let params = options.params.iter().map(|typed| {
        let (name, expression) = typed
            .split_once('=')
            .with_context(|| format!("{typed:?} is no parameter: write `name=expression`"))?;
        Ok(Param {
            name: name.trim().to_owned(),
            expression: expression.trim().to_owned(),
        })
    });
    let verification = if by_token(provider) {
        json!({"token": {"audience": "the audience of the sender", "account": "the account of the sender"}})
    } else {
        json!({"secretRefs": [{"name": secret_name(&place.name), "key": ENTRY}]})
    };
    let written = Written {
        api_version: hooks::API_VERSION,
        kind: "Hook",
        metadata: place,
        spec: Spec {
            provider: provider.name,
            verification,
            service_account_name: options.service_account.clone(),
            rules: [WrittenRule {
                name: "build",
                events: options.events.clone(),
                filter: options.filter.clone(),
                pipeline_ref: PipelineRef {
                    name: options.pipeline.clone(),
                },
                params: params.collect::<anyhow::Result<_>>()?,
            }],
        },
    };
    let typed: Hook = serde_json::from_value(serde_json::to_value(&written)?)?;
    hooks::check(&typed).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow!("{}", problems.join("\n"))
    })?;
    Ok(written)
}

/// Whether a signed token is the only proof, so that there is no secret.
pub(super) fn by_token(provider: &Provider) -> bool {
    let token = |proof: &Proof<'_>| matches!(proof, Proof::Jwt(_));
    provider.proofs.iter().all(token)
}

/// The secret of a file, or one that nobody can guess, in the form that the provider asks for.
pub(super) fn secret(provider: &Provider, file: Option<&Path>) -> anyhow::Result<String> {
    let text = match file {
        Some(file) => {
            String::from_utf8(source::secret(file)?).context("the secret is not UTF-8")?
        }
        None => made_up(provider)?,
    };
    match providers::check_secret(provider, &providers::Settings::default(), text.as_bytes()) {
        Some(wrong) => bail!("the secret is of no use for {}: {wrong}", provider.title),
        None => Ok(text),
    }
}

fn made_up(provider: &Provider) -> anyhow::Result<String> {
    let mut bytes = [0; SECRET_BYTES];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| anyhow!("the operating system gives no randomness"))?;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    // GitLab's signing token is behind a flag of its administrators; its plain token works everywhere.
    let plain = provider.proofs.iter().any(
        |proof| matches!(proof, Proof::Value(value) if matches!(value.key, Key::TextUnless(_))),
    );
    let prefix = provider.proofs.iter().find_map(|proof| match proof {
        Proof::Signature(signature) => signature.items.iter().find_map(|item| match item.key {
            Key::Base64After(prefix) => Some(prefix),
            _ => None,
        }),
        _ => None,
    });
    let basic = matches!(
        provider.proofs,
        [
            Proof::Value(Literal {
                scheme: Scheme::Basic,
                ..
            }),
            ..
        ]
    );
    Ok(match prefix {
        Some(prefix) if !plain => format!("{prefix}{}", BASE64_STANDARD.encode(bytes)),
        _ if basic => format!("hookrun:{hex}"),
        _ => hex,
    })
}
