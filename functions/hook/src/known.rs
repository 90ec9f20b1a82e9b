//! A Hook as one event needs it: with its secrets, its settings, and what is wrong with it.

use std::{collections::BTreeMap, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use cluster::{Cluster, Fault, SECRETS};
use flows::Label;
use futures_util::future::try_join_all;
use hooks::{Checked, Hook, hook::SecretRef};
use providers::{Provider, Settings};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

use deliveries::resource::HOOKS;

/// Where a Hook is, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// Its namespace.
    pub(crate) namespace: Label,
    /// Its name.
    pub(crate) name: String,
}

/// What is known of a Hook.
#[derive(Debug)]
pub(crate) struct Known {
    /// The Hook itself.
    pub(crate) hook: Hook,
    /// Its rules, ready to decide; or all that is wrong with it.
    pub(crate) checked: Arc<Result<Checked, Vec<String>>>,
    /// What its senders are verified with; `None` where nobody can be.
    pub(crate) verifier: Option<Verifier>,
    /// What is wrong with its secrets.
    pub(crate) problems: Vec<String>,
}

/// What senders are verified with.
#[derive(Debug)]
pub(crate) struct Verifier {
    /// Who sends.
    pub(crate) provider: &'static Provider,
    /// What is configured beside it.
    pub(crate) settings: Settings,
    /// Accepted secrets; none of them empty.
    pub(crate) secrets: Vec<Vec<u8>>,
    /// Where each of them comes from.
    pub(crate) refs: Vec<SecretRef>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Data {
    data: BTreeMap<String, String>,
}

impl Known {
    /// Reads a Hook and its Secrets, if it exists. Rules that are known from `before` are not parsed again.
    ///
    /// That there is no Hook is known after as many requests as a Hook with one Secret takes: the time of an answer
    /// must not tell. The Secret that is asked for then has the Hook's name, and nothing of it is looked at.
    ///
    /// # Errors
    /// The API server could not be asked.
    pub(crate) async fn read(
        cluster: &Cluster,
        place: &Place,
        before: Option<&Self>,
    ) -> Result<Option<Self>, Fault> {
        let namespace = place.namespace.as_str();
        match cluster.find::<Value>(HOOKS, namespace, &place.name).await? {
            Some(object) => Self::of(cluster, place, object, before).await.map(Some),
            None => {
                let _: Option<IgnoredAny> = cluster.find(SECRETS, namespace, &place.name).await?;
                Ok(None)
            }
        }
    }

    /// The same for a Hook that was read already.
    ///
    /// # Errors
    /// The API server could not be asked.
    pub(crate) async fn of(
        cluster: &Cluster,
        place: &Place,
        object: Value,
        before: Option<&Self>,
    ) -> Result<Self, Fault> {
        let namespace = place.namespace.as_str();
        let hook: Hook = match serde_json::from_value(object) {
            Ok(hook) => hook,
            Err(error) => return Ok(Self::unreadable(place, &error)),
        };
        let same = |before: &&Self| {
            let (new, old) = (&hook.metadata, &before.hook.metadata);
            (&new.uid, new.generation) == (&old.uid, old.generation) && new.generation != 0
        };
        let checked = match before.filter(same) {
            Some(before) => Arc::clone(&before.checked),
            None => Arc::new(hooks::check(&hook).map_err(|problems| texts(&problems))),
        };
        let mut problems = Vec::new();
        let provider = providers::provider(&hook.spec.provider);
        let verifier = match (provider, hooks::settings(&hook.spec.verification)) {
            (Some(provider), Ok(settings)) => {
                let refs = &hook.spec.verification.secret_refs;
                let read = secrets(cluster, namespace, refs).await?;
                Some(Verifier::new(provider, settings, refs, read, &mut problems))
            }
            // `check` names both.
            _ => None,
        };
        Ok(Self {
            hook,
            checked,
            verifier,
            problems,
        })
    }

    /// A Hook that does not have the shape of one.
    fn unreadable(place: &Place, error: &serde_json::Error) -> Self {
        let mut hook = Hook::default();
        hook.metadata.name.clone_from(&place.name);
        hook.metadata.namespace = place.namespace.to_string();
        Self {
            hook,
            checked: Arc::new(Err(vec![format!("the Hook cannot be read: {error}")])),
            verifier: None,
            problems: Vec::new(),
        }
    }

    /// All that is wrong with the Hook, each in a sentence that names its place.
    pub(crate) fn all_problems(&self) -> Vec<&str> {
        let rules = self.checked.as_ref().as_ref().err().into_iter().flatten();
        rules.chain(&self.problems).map(String::as_str).collect()
    }
}

impl Verifier {
    fn new(
        provider: &'static Provider,
        settings: Settings,
        refs: &[SecretRef],
        read: Vec<Option<Vec<u8>>>,
        problems: &mut Vec<String>,
    ) -> Self {
        let mut verifier = Self {
            provider,
            settings,
            secrets: Vec::new(),
            refs: Vec::new(),
        };
        let told = |reference: &SecretRef, wrong: &str| {
            let at = refs.iter().position(|one| one == reference);
            let SecretRef { name, key } = reference;
            format!(
                "spec.verification.secretRefs[{}]: entry {key:?} of Secret {name:?}: {wrong}",
                at.unwrap_or_default()
            )
        };
        for (reference, secret) in refs.iter().zip(read) {
            let wrong = match &secret {
                None => Some("it does not exist; create it, or take the reference out".to_owned()),
                Some(secret) => providers::check_secret(provider, &verifier.settings, secret),
            };
            match (wrong, secret) {
                (None, Some(secret)) => {
                    verifier.secrets.push(secret);
                    verifier.refs.push(reference.clone());
                }
                (wrong, _) => problems.push(told(reference, &wrong.unwrap_or_default())),
            }
        }
        let Self {
            settings, secrets, ..
        } = &verifier;
        for (at, wrong) in providers::check_together(provider, settings, secrets) {
            problems.extend(
                verifier
                    .refs
                    .get(at)
                    .map(|reference| told(reference, &wrong)),
            );
        }
        verifier
    }
}

/// The secrets in their order; `None` for what does not exist.
async fn secrets(
    cluster: &Cluster,
    namespace: &str,
    refs: &[SecretRef],
) -> Result<Vec<Option<Vec<u8>>>, Fault> {
    let read = refs.iter().map(async |SecretRef { name, key }| {
        let found: Option<Data> = cluster.find(SECRETS, namespace, name).await?;
        let encoded = found.and_then(|Data { mut data }| data.remove(key));
        Ok(encoded.and_then(|encoded| BASE64_STANDARD.decode(encoded).ok()))
    });
    try_join_all(read).await
}

fn texts(problems: &[hooks::Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}
