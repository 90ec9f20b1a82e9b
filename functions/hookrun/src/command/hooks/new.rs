//! `hookrun hooks new`: a Hook, its Secret, and the steps to register its URL.

mod written;

use std::{fmt::Write as _, fs::OpenOptions, io::Write as _, path::Path, process::ExitCode};

use anyhow::{Context, ensure};
use cluster::SECRETS;
use deliveries::resource::HOOKS;
use providers::{PROVIDERS, Provider, provider::Proof};

use self::written::{ENTRY, Place, Written, WrittenSecret, by_token, hook, secret, secret_name};
use crate::{
    cli::hooks::New,
    command::{objects::Objects, output, say},
};

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
    hook: Written,
    /// None where a signed token is the only proof.
    secret: Option<WrittenSecret>,
}

impl Made {
    fn new(provider: &'static Provider, options: &New, namespace: String) -> anyhow::Result<Self> {
        let name = options.name.clone();
        let name = name.unwrap_or_else(|| provider.name.to_owned());
        let secret = if by_token(provider) {
            None
        } else {
            Some(WrittenSecret {
                api_version: "v1",
                kind: "Secret",
                metadata: Place {
                    name: secret_name(&name),
                    namespace: namespace.clone(),
                },
                string_data: [(ENTRY, secret(provider, options.secret_file.as_deref())?)].into(),
            })
        };
        Ok(Self {
            provider,
            hook: hook(provider, options, Place { name, namespace })?,
            secret,
        })
    }

    /// The secret itself.
    fn text(&self) -> Option<&str> {
        let data = &self.secret.as_ref()?.string_data;
        data.get(ENTRY).map(String::as_str)
    }

    /// The objects as YAML, with the kind of each.
    fn documents(&self) -> anyhow::Result<Vec<(&'static str, String)>> {
        let mut documents = vec![("hook", serde_saphyr::to_string(&self.hook)?)];
        if let Some(secret) = &self.secret {
            documents.push(("secret", serde_saphyr::to_string(secret)?));
        }
        Ok(documents)
    }

    fn yaml(&self) -> anyhow::Result<String> {
        let documents = self.documents()?.into_iter();
        let documents: Vec<String> = documents
            .map(|(_, text)| text.trim_end().to_owned() + "\n")
            .collect();
        Ok(documents.join("---\n"))
    }

    /// A file for each object. The one with the Secret can be read by its owner alone.
    fn write(&self, folder: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        for (kind, text) in self.documents()? {
            let path = folder.join(format!("{}-{kind}.yaml", self.hook.metadata.name));
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
        let Place { name, namespace } = &self.hook.metadata;
        let mut objects = Vec::new();
        if let Some(secret) = &self.secret {
            objects.push((SECRETS, serde_json::to_value(secret)?));
        }
        objects.push((HOOKS, serde_json::to_value(&self.hook)?));
        for (resource, object) in objects {
            let called = object["metadata"]["name"].clone();
            let new = cluster.create(resource, namespace, object).await?;
            ensure!(
                new,
                "{} {called} exists in namespace {namespace:?}, and is left alone; choose another name than {name:?} with --name",
                resource.kind
            );
            let called = called.as_str().unwrap_or_default();
            say(&format!("{} {namespace}/{called} created", resource.kind));
            // At once: whatever happens now, nothing would show it again.
            if let Some(text) = self.text().filter(|_| resource == SECRETS) {
                output::write(format!("{text}\n").as_bytes())?;
            }
        }
        Ok(())
    }

    /// What is left to do, for people.
    fn steps(&self, options: &New) -> String {
        let Self { provider, hook, .. } = self;
        let Place { name, namespace } = &hook.metadata;
        let account = &options.service_account;
        let mut text = format!("\n{}: what is left to do\n", provider.title);
        let mut number = 0;
        let mut step = |told: &str| {
            number += 1;
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{number:3}. {told}");
        };
        if by_token(provider) {
            let place = if options.apply {
                format!(" (kubectl -n {namespace} edit hook {name})")
            } else {
                String::new()
            };
            step(&format!(
                "The token that it sends has to be for the audience and account in `spec.verification.token`: set both{place}."
            ));
        }
        if !options.apply {
            let secret = match self.secret {
                Some(_) => " It holds the secret: keep it out of Git, or encrypt it there.",
                None => "",
            };
            step(&format!("`kubectl apply -f` what was written.{secret}"));
        }
        step(&format!(
            "On a cluster, unless `knative/hooks` was applied there, let ServiceAccount {account:?} of namespace {namespace:?} start runs:\n     \
             kubectl -n {namespace} create serviceaccount {account}\n     \
             kubectl -n {namespace} create role hookrun-runs --verb=create --resource=pipelineruns.tekton.dev\n     \
             kubectl -n {namespace} create rolebinding hookrun-runs --role=hookrun-runs --serviceaccount={namespace}:{account}"
        ));
        let host = with_scheme(options.host.trim_end_matches('/'));
        let in_path = |proof: &Proof<'_>| matches!(proof, Proof::PathToken | Proof::Jwt(_));
        let token = self.text().filter(|_| provider.proofs.iter().all(in_path));
        let url = format!("{host}/hooks/{namespace}/{name}");
        let whole = token.map_or_else(String::new, |token| {
            format!("; with the text of the Secret behind it,\n     {url}/{token}")
        });
        step(&format!("The URL of the Hook is {url}{whole}"));
        for told in provider.notes.register {
            step(told);
        }
        if self.secret.is_some() {
            step(&self.about_secret(options));
        }
        let hook = match options.apply {
            true => format!("{namespace}/{name}"),
            false => "FILE".to_owned(),
        };
        let sample = match by_token(provider) {
            true => "let it send an event (nobody else can sign its tokens)".to_owned(),
            false => format!("`hookrun hooks send {hook}` signs and sends a sample"),
        };
        step(&format!(
            "Try it: {sample}, `hookrun deliveries list -n {namespace}` shows what became of it."
        ));
        text.trim_end().to_owned()
    }

    fn about_secret(&self, options: &New) -> String {
        let name = secret_name(&self.hook.metadata.name);
        if self.provider.makes_secret && options.secret_file.is_none() {
            return format!(
                "{} makes the secret itself: put it into entry `secret` of Secret {name:?}, in place of the one that was made up.",
                self.provider.title
            );
        }
        let shown = if options.apply {
            "; it was printed, and is not shown again"
        } else {
            ""
        };
        format!("The secret is entry `secret` of Secret {name:?}{shown}.")
    }
}

/// A host as a URL; outside services call by TLS.
fn with_scheme(host: &str) -> String {
    match host.contains("://") {
        true => host.to_owned(),
        false => format!("https://{host}"),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command, hooks::Hooks};
    use crate::command::hooks::source;

    fn made(arguments: &[&str]) -> anyhow::Result<Made> {
        Ok(written(arguments)?.0)
    }

    fn written(arguments: &[&str]) -> anyhow::Result<(Made, New)> {
        let typed = ["hookrun", "hooks", "new"].iter().chain(arguments);
        let Command::Hooks {
            command: Hooks::New(options),
        } = Cli::parse_from(typed).command
        else {
            bail!("another command");
        };
        let provider = providers::provider(options.provider.as_deref().unwrap_or_default())
            .context("a provider")?;
        let made = Made::new(provider, &options, "team".to_owned())?;
        Ok((made, options))
    }

    #[test]
    fn the_steps_fit_what_was_made() {
        let steps = |arguments: &[&str]| {
            let (made, options) = written(arguments).expect("a hook");
            made.steps(&options)
        };
        let token = steps(&["gar-pubsub", "--host", "hooks.example.org"]);
        assert!(!token.contains("holds the secret"), "{token}");
        assert!(!token.contains("hooks send"), "{token}");
        assert!(
            token.contains(" https://hooks.example.org/hooks/team/"),
            "{token}"
        );
        let place = |part: &str| token.find(part).expect(part);
        assert!(
            place("spec.verification.token") < place("kubectl apply"),
            "{token}"
        );
        let signed = steps(&["github", "--host", "http://hooks.example.org/"]);
        assert!(signed.contains("holds the secret"), "{signed}");
        assert!(
            signed.contains(" http://hooks.example.org/hooks/team/github"),
            "{signed}"
        );
        assert!(signed.contains("deliveries list -n team"), "{signed}");
        assert!(
            signed.contains("unless `knative/hooks` was applied"),
            "{signed}"
        );
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
    fn a_token_that_no_url_carries_is_told_before_anything_is_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("token");
        let with = |token: &str| {
            std::fs::write(&file, token).expect("a file");
            let path = file.to_str().expect("a path");
            made(&["docker-hub", "--secret-file", path]).err()
        };
        let refused = with("q83vASNFZ4mrze8BI0VniavN/w==").expect("base64 with a slash");
        assert!(refused.to_string().contains("a URL carries"), "{refused}");
        assert!(with("q83vASNFZ4mrze8BI0VniavN_w").is_none());
    }

    #[test]
    fn two_secrets_are_never_the_same() {
        let secret = || {
            let made = made(&["github"]).expect("a hook");
            made.text().expect("a secret").to_owned()
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
