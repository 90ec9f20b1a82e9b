//! `hookrun hooks new`: a Hook, its Secret, and the steps to register its URL.

use std::{fmt::Write as _, fs::OpenOptions, io::Write as _, path::Path, process::ExitCode};

use anyhow::{Context, anyhow, bail, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use cluster::SECRETS;
use hook::resource::HOOKS;
use hooks::Hook;
use providers::{
    PROVIDERS, Provider,
    provider::{Key, Proof, Scheme, Value as Literal},
};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Value, json};

use super::source;
use crate::{
    cli::hooks::New,
    command::{objects::Objects, output, say},
};

/// Bytes of a secret: as many as its strongest use, HMAC-SHA256, takes in.
const SECRET_BYTES: usize = 32;

/// Providers that make the secret themselves, and show it to whoever registers the URL.
const ISSUERS: [&str; 4] = ["slack", "stripe", "pagerduty", "standard-webhooks"];

/// Runs the command.
pub(super) async fn run(options: &New) -> anyhow::Result<ExitCode> {
    let Some(name) = &options.provider else {
        list()?;
        return Ok(ExitCode::SUCCESS);
    };
    let provider =
        providers::provider(name).with_context(|| format!("there is no provider {name:?}"))?;
    let cluster = match options.apply {
        true => Some(Objects::connect(&options.objects).await?),
        false => None,
    };
    let namespace = match (&cluster, &options.objects.namespace) {
        (Some(cluster), _) => cluster.namespace().to_owned(),
        (None, Some(namespace)) => namespace.clone(),
        (None, None) => "default".to_owned(),
    };
    let made = Made::new(provider, options, namespace)?;
    match (&cluster, &options.folder) {
        (Some(cluster), _) => made.create(cluster).await?,
        (None, Some(folder)) => made.write(folder)?,
        (None, None) => output::write(made.yaml()?.as_bytes())?,
    }
    say(&made.steps(options));
    Ok(ExitCode::SUCCESS)
}

fn list() -> anyhow::Result<()> {
    let rows: Vec<[String; 2]> = PROVIDERS
        .iter()
        .map(|provider| [provider.name.to_owned(), provider.title.to_owned()])
        .collect();
    output::write(output::table(["NAME", "PROVIDER"], &rows).as_bytes())
}

/// What was made.
struct Made {
    provider: &'static Provider,
    namespace: String,
    name: String,
    hook: Value,
    /// None where a signed token is the only proof.
    secret: Option<Value>,
    /// The secret itself, where it is the end of the URL.
    token: Option<String>,
}

impl Made {
    fn new(provider: &'static Provider, options: &New, namespace: String) -> anyhow::Result<Self> {
        let name = options
            .name
            .clone()
            .unwrap_or_else(|| provider.name.to_owned());
        let by_token = provider
            .proofs
            .iter()
            .all(|proof| matches!(proof, Proof::Jwt(_)));
        let text = if by_token {
            None
        } else {
            Some(secret(provider, options.secret_file.as_deref())?)
        };
        let hook = hook(provider, options, &name, &namespace)?;
        let secret = text.as_ref().map(|text| {
            json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": secret_name(&name), "namespace": namespace},
                "stringData": {"secret": text},
            })
        });
        let in_path = provider
            .proofs
            .iter()
            .all(|proof| matches!(proof, Proof::PathToken | Proof::Jwt(_)));
        Ok(Self {
            provider,
            namespace,
            name,
            hook,
            secret,
            token: text.filter(|_| in_path),
        })
    }

    fn objects(&self) -> impl Iterator<Item = &Value> {
        std::iter::once(&self.hook).chain(&self.secret)
    }

    fn yaml(&self) -> anyhow::Result<String> {
        let documents: Vec<String> = self
            .objects()
            .map(|object| Ok(serde_saphyr::to_string(object)?.trim_end().to_owned() + "\n"))
            .collect::<anyhow::Result<_>>()?;
        Ok(documents.join("---\n"))
    }

    /// A file for each object. The one with the Secret can be read by its owner alone.
    fn write(&self, folder: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        for object in self.objects() {
            let kind = object["kind"].as_str().unwrap_or_default().to_lowercase();
            let path = folder.join(format!("{}-{kind}.yaml", self.name));
            let text = serde_saphyr::to_string(object)?;
            let mut file = OpenOptions::new();
            file.write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut file, 0o600);
            let written = file
                .open(&path)
                .and_then(|mut file| file.write_all(text.as_bytes()));
            written.with_context(|| format!("cannot write {}", path.display()))?;
            say(&format!("{} written", path.display()));
        }
        Ok(())
    }

    /// The Secret first: a Hook without it would not be ready.
    async fn create(&self, cluster: &Objects) -> anyhow::Result<()> {
        let secret = self.secret.iter().map(|secret| (SECRETS, secret));
        for (resource, object) in secret.chain([(HOOKS, &self.hook)]) {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let new = cluster
                .create(resource, &self.namespace, object.clone())
                .await?;
            ensure!(
                new,
                "{} {name:?} exists in namespace {:?}, and is left alone; choose another name with --name",
                resource.kind,
                self.namespace
            );
            say(&format!(
                "{} {}/{name} created",
                resource.kind, self.namespace
            ));
        }
        Ok(())
    }

    /// What is left to do, for people.
    fn steps(&self, options: &New) -> String {
        let Self {
            provider,
            namespace,
            name,
            ..
        } = self;
        let account = &options.service_account;
        let mut text = format!("\n{}: what is left to do\n", provider.title);
        let mut number = 0;
        let mut step = |told: &str| {
            number += 1;
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{number:3}. {told}");
        };
        if !options.apply {
            step(
                "`kubectl apply -f` what was written. It holds the secret: keep it out of Git, or encrypt it there.",
            );
        }
        step(&format!(
            "On a cluster, let ServiceAccount {account:?} of namespace {namespace:?} start runs:\n     \
             kubectl -n {namespace} create serviceaccount {account}\n     \
             kubectl -n {namespace} create role hookrun-runs --verb=create --resource=pipelineruns.tekton.dev\n     \
             kubectl -n {namespace} create rolebinding hookrun-runs --role=hookrun-runs --serviceaccount={namespace}:{account}"
        ));
        let host = options.host.trim_end_matches('/');
        let end = self
            .token
            .as_ref()
            .map_or_else(String::new, |token| format!("/{token}"));
        step(&format!(
            "The URL of the Hook is {host}/hooks/{namespace}/{name}{end}"
        ));
        for told in provider.notes.register {
            step(told);
        }
        if self.secret.is_some() {
            step(&self.about_secret(options));
        }
        if provider
            .proofs
            .iter()
            .any(|proof| matches!(proof, Proof::Jwt(_)))
        {
            step(
                "The token that it sends has to be for the audience and account in `spec.verification.token`: set both.",
            );
        }
        step(
            "Try it: `hookrun hooks send` signs and sends a sample, `hookrun deliveries list` shows what became of it.",
        );
        text.trim_end().to_owned()
    }

    fn about_secret(&self, options: &New) -> String {
        let name = secret_name(&self.name);
        if ISSUERS.contains(&self.provider.name) && options.secret_file.is_none() {
            return format!(
                "{} makes the secret itself: put it into entry `secret` of Secret {name:?}, in place of the one that was made up.",
                self.provider.title
            );
        }
        format!("The secret is entry `secret` of Secret {name:?}; it is written nowhere else.")
    }
}

fn secret_name(hook: &str) -> String {
    format!("{hook}-webhook")
}

/// The Hook, complete; it is checked as the function would.
fn hook(provider: &Provider, options: &New, name: &str, namespace: &str) -> anyhow::Result<Value> {
    let mut rule = json!({"name": "build", "pipelineRef": {"name": options.pipeline}});
    if !options.events.is_empty() {
        rule["events"] = json!(options.events);
    }
    if let Some(filter) = &options.filter {
        rule["filter"] = json!(filter);
    }
    let params: Vec<Value> = options
        .params
        .iter()
        .map(|typed| {
            let (name, expression) = typed
                .split_once('=')
                .with_context(|| format!("{typed:?} is no parameter: write `name=expression`"))?;
            Ok(json!({"name": name.trim(), "expression": expression.trim()}))
        })
        .collect::<anyhow::Result<_>>()?;
    if !params.is_empty() {
        rule["params"] = json!(params);
    }
    let mut verification = json!({});
    if !provider
        .proofs
        .iter()
        .all(|proof| matches!(proof, Proof::Jwt(_)))
    {
        verification["secretRefs"] = json!([{"name": secret_name(name), "key": "secret"}]);
    } else {
        verification["token"] = json!({"audience": "set the audience of the sender", "account": "set the account of the sender"});
    }
    let hook = json!({
        "apiVersion": hooks::API_VERSION,
        "kind": "Hook",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "provider": provider.name,
            "verification": verification,
            "serviceAccountName": options.service_account,
            "rules": [rule],
        },
    });
    let typed: Hook = serde_json::from_value(hook.clone())?;
    hooks::check(&typed).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow!("{}", problems.join("\n"))
    })?;
    Ok(hook)
}

/// The secret of a file, or one that nobody can guess, in the form that the provider asks for.
fn secret(provider: &Provider, file: Option<&Path>) -> anyhow::Result<String> {
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command, hooks::Hooks};

    fn made(arguments: &[&str]) -> anyhow::Result<Made> {
        let typed = ["hookrun", "hooks", "new"].iter().chain(arguments);
        let Command::Hooks {
            command: Hooks::New(options),
        } = Cli::parse_from(typed).command
        else {
            bail!("another command");
        };
        let provider = providers::provider(options.provider.as_deref().unwrap_or_default())
            .context("a provider")?;
        Made::new(provider, &options, "team".to_owned())
    }

    #[test]
    fn what_is_written_for_any_provider_is_a_hook_with_its_secret() {
        for provider in PROVIDERS {
            let yaml = made(&[provider.name])
                .and_then(|made| made.yaml())
                .expect(provider.name);
            let source = source::parse(yaml.as_bytes(), None).expect(provider.name);
            let settings = super::super::settings(&source.hook).expect("settings");
            for (_, secret) in &source.secrets {
                assert_eq!(
                    providers::check_secret(provider, &settings, secret),
                    None,
                    "{}",
                    provider.name
                );
                assert!(secret.len() >= 50, "{}", provider.name);
            }
            assert_eq!(source.hook.metadata.namespace, "team");
            let references = source.hook.spec.verification.secret_refs.len();
            assert_eq!(source.secrets.len(), references, "{}", provider.name);
        }
    }

    #[test]
    fn two_secrets_are_never_the_same() {
        let secret = || {
            made(&["github"]).expect("a hook").secret.expect("a secret")["stringData"].to_string()
        };
        assert_ne!(secret(), secret());
    }

    #[test]
    fn a_mistake_is_told_before_anything_is_written() {
        for arguments in [
            ["github", "--filter", "evnt.branch == 'main'"],
            ["github", "--name", "No_Name"],
            ["github", "--param", "revision"],
            ["github", "--param", "revision=event.revision +"],
        ] {
            assert!(made(&arguments).is_err(), "{arguments:?}");
        }
    }
}
