//! Flows in Kubernetes: a ConfigMap or a Secret per flow, marked with the flow's key.
//!
//! Read by name first: one get per kind costs the same however many flows there are. The name follows from the key
//! ([`object_name`]), and the mark must agree, since two keys may lead to one name. An object with another name is found
//! by its label, which costs the API server a look at all objects of the namespace.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{
    FutureExt,
    future::{BoxFuture, join},
};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api, Client,
    api::{ListParams, ObjectMeta},
};
use tokio::{sync::OnceCell, time::timeout};

use crate::{
    Error, FlowStore, Place,
    error::{innermost, one_line},
    key,
};

/// The label that marks an object as a flow and holds its key; an annotation of this name where a label cannot hold it.
pub const FLOW_KEY: &str = "hookrun.dev/flow-key";

/// The entry of an object that holds the flow, unless it is the only one.
const ENTRY: &str = "flow.json";

/// Gives the cluster's client when it is first needed; the error is for people.
pub type Connect = Arc<dyn Fn() -> BoxFuture<'static, Result<Client, String>> + Send + Sync>;

/// A [`Connect`] for a client that exists already.
pub fn connected(client: Client) -> Connect {
    Arc::new(move || {
        let client = client.clone();
        async move { Ok(client) }.boxed()
    })
}

/// The store.
pub(crate) struct Kubernetes {
    pub(crate) connect: Connect,
    pub(crate) client: OnceCell<Client>,
    /// Where flows are; `None` is the client's own namespace.
    pub(crate) namespace: Option<String>,
    pub(crate) limit: Duration,
    pub(crate) cap: usize,
}

const PLACE: Place = Place::Kubernetes;

impl FlowStore for Kubernetes {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Bytes, Error>> {
        let limit = self.limit;
        Box::pin(async move {
            timeout(limit, self.fetch(key))
                .await
                .unwrap_or(Err(Error::Timeout {
                    place: PLACE,
                    limit,
                }))
        })
    }
}

impl Kubernetes {
    async fn fetch(&self, key: &str) -> Result<Bytes, Error> {
        key::segment(PLACE, key)?;
        let client = self
            .client
            .get_or_try_init(|| (self.connect)())
            .await
            .map_err(|reason| Error::Settings {
                place: PLACE,
                reason: one_line(&reason),
            })?;
        let namespace = self
            .namespace
            .as_deref()
            .unwrap_or(client.default_namespace());
        let configs: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);

        let name = object_name(key);
        let mut searched = Searched::default();
        if !name.is_empty() {
            let (config, secret) = join(configs.get_opt(&name), secrets.get_opt(&name)).await;
            searched.add(config)?;
            searched.add(secret)?;
            searched.found.retain(|object| object.is_marked(key));
        }
        let labelled = is_label_value(key);
        if searched.found.is_empty() && labelled {
            // Two are enough to see that it is not one.
            let marked = ListParams::default()
                .labels(&format!("{FLOW_KEY}={key}"))
                .limit(2);
            let (config, secret) = join(configs.list(&marked), secrets.list(&marked)).await;
            searched.add(config)?;
            searched.add(secret)?;
        }
        let object = searched.only(&|| {
            let marked = match labelled {
                true => format!("or labelled {FLOW_KEY}={key}"),
                false => "(the key cannot be a label's value, so it is found by name only)".to_owned(),
            };
            format!(
                "namespace {namespace} has no ConfigMap or Secret with {FLOW_KEY} {key:?} that is named {name:?} {marked}"
            )
        })?;
        object.document(self.cap)
    }
}

/// The name under which a flow's object is looked up: lower case, and '-' for all that a name cannot hold.
fn object_name(key: &str) -> String {
    let name: String = key
        .chars()
        .map(|c| match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9' | '.') => c,
            _ => '-',
        })
        .collect();
    name.trim_matches(['-', '.']).to_owned()
}

fn is_label_value(key: &str) -> bool {
    let ends = |c: Option<&u8>| c.is_some_and(u8::is_ascii_alphanumeric);
    let key = key.as_bytes();
    key.len() <= 63
        && ends(key.first())
        && ends(key.last())
        && key
            .iter()
            .all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(c))
}

/// What the API server answered so far.
#[derive(Default)]
struct Searched {
    found: Vec<Object>,
    /// Kinds that may not be read. An operator may grant only one of the two.
    forbidden: Option<String>,
}

impl Searched {
    fn add<A: IntoIterator<Item: Into<Object>>>(
        &mut self,
        answer: Result<A, kube::Error>,
    ) -> Result<(), Error> {
        match answer {
            Ok(objects) => self.found.extend(objects.into_iter().map(Into::into)),
            Err(kube::Error::Api(status)) if matches!(status.code, 401 | 403) => {
                self.forbidden = Some(one_line(&status.message));
            }
            Err(error) => return Err(fault(&error)),
        }
        Ok(())
    }

    fn only(mut self, missing: &dyn Fn() -> String) -> Result<Object, Error> {
        match (self.found.pop(), self.forbidden) {
            (Some(object), _) if self.found.is_empty() => Ok(object),
            (Some(object), _) => {
                self.found.push(object);
                self.found.sort_by_key(Object::title);
                let titles: Vec<_> = self.found.iter().map(Object::title).collect();
                let reason = format!(
                    "several objects have this key, remove all but one: {}",
                    titles.join(", ")
                );
                Err(Error::Ambiguous {
                    place: PLACE,
                    reason,
                })
            }
            (None, Some(reason)) => Err(Error::Refused {
                place: PLACE,
                reason,
            }),
            (None, None) => Err(Error::NotFound {
                place: PLACE,
                reason: missing(),
            }),
        }
    }
}

fn fault(error: &kube::Error) -> Error {
    match error {
        kube::Error::Api(status) => {
            let reason = format!(
                "the API server answered {} {}",
                status.code,
                one_line(&status.message)
            );
            match status.code {
                429 | 500.. => Error::Busy {
                    place: PLACE,
                    reason,
                },
                _ => Error::Failed {
                    place: PLACE,
                    reason,
                },
            }
        }
        kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => Error::Failed {
            place: PLACE,
            reason: "the API server's answer cannot be read".to_owned(),
        },
        _ => Error::Unreachable {
            place: PLACE,
            reason: innermost(error),
        },
    }
}

/// A ConfigMap or a Secret.
struct Object {
    kind: &'static str,
    metadata: ObjectMeta,
    entries: BTreeMap<String, Vec<u8>>,
}

impl From<ConfigMap> for Object {
    fn from(
        ConfigMap {
            metadata,
            data,
            binary_data,
            ..
        }: ConfigMap,
    ) -> Self {
        let text = data
            .unwrap_or_default()
            .into_iter()
            .map(|(name, text)| (name, text.into_bytes()));
        let binary = binary_data
            .unwrap_or_default()
            .into_iter()
            .map(|(name, bytes)| (name, bytes.0));
        Self {
            kind: "ConfigMap",
            metadata,
            entries: text.chain(binary).collect(),
        }
    }
}

impl From<Secret> for Object {
    fn from(Secret { metadata, data, .. }: Secret) -> Self {
        let entries = data
            .unwrap_or_default()
            .into_iter()
            .map(|(name, bytes)| (name, bytes.0));
        Self {
            kind: "Secret",
            metadata,
            entries: entries.collect(),
        }
    }
}

impl Object {
    fn title(&self) -> String {
        format!(
            "{} {}",
            self.kind,
            self.metadata.name.as_deref().unwrap_or_default()
        )
    }

    fn is_marked(&self, key: &str) -> bool {
        [&self.metadata.labels, &self.metadata.annotations]
            .into_iter()
            .flatten()
            .any(|marks| marks.get(FLOW_KEY).is_some_and(|mark| mark == key))
    }

    fn document(mut self, cap: usize) -> Result<Bytes, Error> {
        let document = match self.entries.remove(ENTRY) {
            Some(document) => document,
            None if self.entries.len() == 1 => self
                .entries
                .pop_first()
                .map(|(_, document)| document)
                .unwrap_or_default(),
            None => {
                let reason = format!(
                    "{} has {} entries and none named {ENTRY}: put the flow into an entry of that name",
                    self.title(),
                    self.entries.len()
                );
                return Err(Error::Malformed {
                    place: PLACE,
                    reason,
                });
            }
        };
        match document.len() > cap {
            true => Err(Error::TooLarge {
                place: PLACE,
                limit: cap,
            }),
            false => Ok(document.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_from_keys() {
        assert_eq!(
            object_name("ART_FLOW_Nightly Scan"),
            "art-flow-nightly-scan"
        );
        assert_eq!(object_name("team.build"), "team.build");
        assert_eq!(object_name("_ü/x_"), "x");
        assert_eq!(object_name("__"), "");
    }

    #[test]
    fn only_some_keys_are_label_values() {
        for key in ["A", "ART_FLOW_x-1.y", &"x".repeat(63)] {
            assert!(is_label_value(key), "{key}");
        }
        for key in ["", "a b", "_a", "a.", "a/b", "ü", &"x".repeat(64)] {
            assert!(!is_label_value(key), "{key}");
        }
    }
}
