//! Where a Hook and its secrets come from: a file, or the cluster.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, bail, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use cluster::SECRETS;
use deliveries::resource::HOOKS;
use hooks::{Hook, hook::SecretRef};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    cli::common,
    command::{input, objects::Objects},
};

/// A Hook, and those of its secrets that are at hand.
#[derive(Debug)]
pub(super) struct Source {
    /// The Hook; its namespace is filled in.
    pub(super) hook: Hook,
    /// The secrets, with what the Hook calls them, in the Hook's order.
    pub(super) secrets: Vec<(String, Vec<u8>)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Secret {
    metadata: Named,
    data: BTreeMap<String, String>,
    string_data: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    name: String,
}

/// Whether this means a file, and not an object of the cluster.
pub(super) fn is_file(text: &str) -> bool {
    let path = Path::new(text);
    let named = [".yaml", ".yml", ".json"]
        .iter()
        .any(|end| text.ends_with(end));
    text == "-" || named || (path.exists() && !path.is_dir())
}

/// Reads the Hook that was typed. `secret_file` replaces its secrets.
pub(super) async fn find(
    typed: &str,
    secret_file: Option<&Path>,
    objects: &common::Objects,
) -> anyhow::Result<Source> {
    let mut source = if is_file(typed) {
        let text = input::read(Path::new(typed))?;
        parse(&text, objects.namespace.as_deref()).with_context(|| format!("cannot use {typed}"))?
    } else {
        stored(
            typed,
            &Objects::connect(objects).await?,
            secret_file.is_none(),
        )
        .await?
    };
    if let Some(file) = secret_file {
        source.secrets = vec![(file.display().to_string(), secret(file)?)];
    }
    Ok(source)
}

/// A secret from a file. Editors end files with a line feed, which no secret has.
pub(super) fn secret(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = input::read(file)?;
    while bytes
        .last()
        .is_some_and(|byte| matches!(byte, b'\n' | b'\r'))
    {
        bytes.pop();
    }
    ensure!(
        !bytes.is_empty(),
        "{} holds no secret: it is empty",
        file.display()
    );
    Ok(bytes)
}

/// A Hook, and the Secrets that follow it. A namespace that was typed wins.
pub(super) fn parse(text: &[u8], namespace: Option<&str>) -> anyhow::Result<Source> {
    let text = std::str::from_utf8(text).context("it is not UTF-8")?;
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).context("it is not YAML")?;
    let mut hooks = Vec::new();
    let mut secrets: Vec<Secret> = Vec::new();
    for document in documents {
        match document["kind"].as_str() {
            Some("Hook") => hooks.push(document),
            Some("Secret") => {
                secrets.push(serde_json::from_value(document).context("its Secret is not one")?)
            }
            _ => {}
        }
    }
    let [hook] = <[Value; 1]>::try_from(hooks)
        .map_err(|found| anyhow::anyhow!("it holds {} Hooks, and has to hold one", found.len()))?;
    ensure!(
        hook["apiVersion"] == hooks::API_VERSION,
        "its Hook is of apiVersion {}, and has to be of {:?}",
        hook["apiVersion"],
        hooks::API_VERSION
    );
    let mut hook: Hook = serde_json::from_value(hook).context("its Hook is not one")?;
    let place = &mut hook.metadata.namespace;
    match namespace {
        Some(namespace) => namespace.clone_into(place),
        None if place.is_empty() => "default".clone_into(place),
        None => {}
    }
    let mut found = Vec::new();
    for reference in &hook.spec.verification.secret_refs {
        let same = |secret: &&Secret| secret.metadata.name == reference.name;
        if let Some(bytes) = secrets
            .iter()
            .find(same)
            .and_then(|secret| entry(secret, &reference.key))
        {
            found.push((called(reference), bytes?));
        }
    }
    Ok(Source {
        hook,
        secrets: found,
    })
}

fn called(SecretRef { name, key }: &SecretRef) -> String {
    format!("{name}/{key}")
}

/// What an entry of a Secret holds.
fn entry(secret: &Secret, key: &str) -> Option<anyhow::Result<Vec<u8>>> {
    if let Some(text) = secret.string_data.get(key) {
        return Some(Ok(text.clone().into_bytes()));
    }
    let decoded = BASE64_STANDARD.decode(secret.data.get(key)?);
    Some(decoded.with_context(|| {
        format!(
            "entry {key:?} of Secret {:?} is not base64",
            secret.metadata.name
        )
    }))
}

/// A Hook of the cluster, and its secrets where they are wanted.
async fn stored(typed: &str, objects: &Objects, with_secrets: bool) -> anyhow::Result<Source> {
    let (namespace, name) = objects.place(typed);
    let hook: Hook = objects.get(HOOKS, namespace, name).await?;
    let mut secrets = Vec::new();
    let wanted = hook
        .spec
        .verification
        .secret_refs
        .iter()
        .filter(|_| with_secrets);
    for reference in wanted {
        let found: Option<Secret> = objects.find(SECRETS, namespace, &reference.name).await?;
        match found
            .as_ref()
            .and_then(|secret| entry(secret, &reference.key))
        {
            Some(bytes) => secrets.push((called(reference), bytes?)),
            None => bail!(
                "there is no entry {:?} of a Secret {:?} in namespace {namespace:?}; create it, or give --secret-file",
                reference.key,
                reference.name
            ),
        }
    }
    Ok(Source { hook, secrets })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOOK: &str = "apiVersion: hookrun.dev/v1alpha1\nkind: Hook\nmetadata: {name: h}\nspec:\n  provider: github\n  \
        verification: {secretRefs: [{name: a}, {name: b, key: k}, {name: c}]}\n";

    #[test]
    fn secrets_that_follow_a_hook_are_its_own() {
        let text = format!(
            "{HOOK}---\nkind: Secret\nmetadata: {{name: b}}\ndata: {{k: eA==}}\n---\nkind: Secret\nmetadata: {{name: a}}\n\
             stringData: {{secret: s}}\n"
        );
        let source = parse(text.as_bytes(), None).expect("it can be read");
        assert_eq!(source.hook.metadata.namespace, "default");
        let expected = [
            ("a/secret".to_owned(), b"s".to_vec()),
            ("b/k".to_owned(), b"x".to_vec()),
        ];
        assert_eq!(source.secrets, expected);
    }

    #[test]
    fn what_is_not_one_hook_says_so() {
        for (text, message) in [
            ("", "it holds 0 Hooks"),
            (&format!("{HOOK}---\n{HOOK}"), "it holds 2 Hooks"),
            (&HOOK.replace("v1alpha1", "v2"), "of apiVersion"),
            (&HOOK.replace("provider", "provided"), "its Hook is not one"),
            ("\u{0}: [", "it is not YAML"),
        ] {
            let error = parse(text.as_bytes(), None).expect_err(text);
            assert!(format!("{error:#}").contains(message), "{error:#}");
        }
    }
}
