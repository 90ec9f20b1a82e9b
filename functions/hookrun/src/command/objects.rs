//! Objects of the cluster as the commands for people read and write them: with the rights of whoever runs the command.
//!
//! Unlike the functions, a command may list and watch.

mod fault;

use std::{fmt::Display, time::Duration};

use anyhow::{Context, anyhow, bail};
use cluster::{ConnectError, Resource};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, ListParams, ObjectList, PostParams},
    core::PartialObjectMeta,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

pub(crate) use self::fault::Server;
use crate::cli::common;

/// Objects on one page of a list: with payloads inside they are large.
const PAGE: u32 = 100;

/// Objects on one page of a list that shows their metadata alone.
const MARKS: u32 = 500;

/// The API server, and the namespace that is meant.
pub(crate) struct Objects {
    client: Client,
    namespace: String,
    server: Server,
}

impl Objects {
    /// Finds the API server; nothing is asked yet.
    pub(crate) async fn connect(options: &common::Objects) -> anyhow::Result<Self> {
        let (client, server) = match &options.server {
            Some(url) => (plain(url)?, Server::Url(url.clone())),
            None => {
                let client = cluster::connect(&options.connection).await;
                let client = client.map_err(|error| match error {
                    ConnectError::Nothing(_) => anyhow!(
                        "no cluster is configured: name one with --kubeconfig, or `hookrun dev` with --server http://127.0.0.1:8080"
                    ),
                    other => other.into(),
                })?;
                (client, Server::Configured)
            }
        };
        let namespace = options.namespace.clone();
        let namespace = namespace.unwrap_or_else(|| client.default_namespace().to_owned());
        Ok(Self {
            client,
            namespace,
            server,
        })
    }

    /// An API server that a test plays.
    #[cfg(test)]
    pub(crate) fn played(client: Client) -> Self {
        Self {
            namespace: client.default_namespace().to_owned(),
            client,
            server: Server::Configured,
        }
    }

    /// What went wrong with a request, as a sentence: what was being done, what the API server said, what to do.
    pub(crate) fn fault(&self, doing: impl Display, error: &kube::Error) -> anyhow::Error {
        anyhow!("{doing}: {}", self.server.explained(error))
    }

    /// The namespace that is meant where none is named.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Namespace and name of `name` or `namespace/name`.
    pub(crate) fn place<'a>(&'a self, name: &'a str) -> (&'a str, &'a str) {
        name.split_once('/').unwrap_or((&self.namespace, name))
    }

    /// The objects of a kind in a namespace; in all of them without.
    pub(crate) fn api(&self, resource: Resource, namespace: Option<&str>) -> Api<DynamicObject> {
        let resource = kind(resource);
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    /// One object, as it is stored.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        resource: Resource,
        namespace: &str,
        name: &str,
    ) -> anyhow::Result<T> {
        let found = self.find(resource, namespace, name).await?;
        found.ok_or_else(|| none(resource, namespace, name))
    }

    /// One object, if it exists.
    pub(crate) async fn find<T: DeserializeOwned>(
        &self,
        resource: Resource,
        namespace: &str,
        name: &str,
    ) -> anyhow::Result<Option<T>> {
        match self.api(resource, Some(namespace)).get(name).await {
            Ok(found) => typed(found).map(Some),
            Err(kube::Error::Api(status))
                if status.reason == "NotFound" && !fault::is_unknown_path(&status) =>
            {
                Ok(None)
            }
            Err(error) => {
                let doing = format!("cannot read {} {name:?}", resource.kind);
                Err(self.fault(doing, &error))
            }
        }
    }

    /// All objects that a label selector means.
    pub(crate) async fn list<T: DeserializeOwned>(
        &self,
        resource: Resource,
        namespace: Option<&str>,
        labels: &str,
    ) -> anyhow::Result<Vec<T>> {
        let api = self.api(resource, namespace);
        let all = self.pages(resource, labels, PAGE, async |page| api.list(&page).await);
        all.await?.into_iter().map(typed).collect()
    }

    /// The metadata of all objects that a label selector means.
    pub(crate) async fn marks(
        &self,
        resource: Resource,
        namespace: Option<&str>,
        labels: &str,
    ) -> anyhow::Result<Vec<PartialObjectMeta<DynamicObject>>> {
        let api = self.api(resource, namespace);
        self.pages(resource, labels, MARKS, async |page| {
            api.list_metadata(&page).await
        })
        .await
    }

    async fn pages<K: Clone>(
        &self,
        resource: Resource,
        labels: &str,
        limit: u32,
        list: impl AsyncFn(ListParams) -> kube::Result<ObjectList<K>>,
    ) -> anyhow::Result<Vec<K>> {
        let mut page = ListParams::default().labels(labels).limit(limit);
        let mut all = Vec::new();
        loop {
            let listed = list(page.clone()).await;
            let doing = || format!("cannot list {}", resource.plural);
            let listed = listed.map_err(|error| self.fault(doing(), &error))?;
            all.extend(listed.items);
            match listed.metadata.continue_.filter(|next| !next.is_empty()) {
                Some(next) => page = page.continue_token(&next),
                None => return Ok(all),
            }
        }
    }

    /// Creates an object; whether it was not there before.
    pub(crate) async fn create(
        &self,
        resource: Resource,
        namespace: &str,
        object: Value,
    ) -> anyhow::Result<bool> {
        let object: DynamicObject = serde_json::from_value(object)?;
        let name = object.metadata.name.clone().unwrap_or_default();
        let api = self.api(resource, Some(namespace));
        match api.create(&PostParams::default(), &object).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(false),
            Err(error) => {
                let kind = resource.kind;
                let doing = format!("cannot create {kind} {name:?} in namespace {namespace:?}");
                Err(self.fault(doing, &error))
            }
        }
    }
}

/// What is said of an object that does not exist.
pub(crate) fn none(resource: Resource, namespace: &str, name: &str) -> anyhow::Error {
    let kind = resource.kind;
    anyhow!("there is no {kind} {name:?} in namespace {namespace:?}")
}

/// An object through its type.
pub(crate) fn typed<T: DeserializeOwned>(object: DynamicObject) -> anyhow::Result<T> {
    let kind = object
        .types
        .as_ref()
        .map_or("object", |types| &types.kind)
        .to_owned();
    let name = object.metadata.name.clone().unwrap_or_default();
    let value = serde_json::to_value(object)?;
    serde_json::from_value(value).with_context(|| format!("{kind} {name:?} is not as it should be"))
}

fn kind(resource: Resource) -> ApiResource {
    let Resource {
        group,
        version,
        kind,
        plural,
    } = resource;
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: if group.is_empty() {
            version.to_owned()
        } else {
            format!("{group}/{version}")
        },
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

/// A client of an API server that asks nobody who they are.
fn plain(url: &str) -> anyhow::Result<Client> {
    let uri: http::Uri = url
        .parse()
        .with_context(|| format!("{url:?} is not a URL"))?;
    if uri.scheme().is_none() {
        bail!("{url:?} is not a URL: it starts with http:// or https://");
    }
    let mut config = kube::Config::new(uri);
    config.connect_timeout = Some(Duration::from_secs(5));
    Client::try_from(config).context("cannot make a client for the Kubernetes API")
}

#[cfg(test)]
mod tests {
    use deliveries::resource::HOOKS;
    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::json;

    use super::*;

    /// What is found of a Hook on a server that answers with 404 and this message.
    async fn found(message: &str) -> anyhow::Result<Option<Value>> {
        let status = json!({
            "apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404,
            "message": message,
        });
        let service = tower::service_fn(move |_: Request<Body>| {
            let body = Body::from(status.to_string().into_bytes());
            let answer = Response::builder().status(404).body(body);
            async move { answer }
        });
        let objects = Objects::played(Client::new(service, "team"));
        objects.find(HOOKS, "team", "shop").await
    }

    #[tokio::test]
    async fn a_server_that_knows_no_hooks_is_not_one_without_this_hook() {
        let none = found("hooks.hookrun.dev \"shop\" not found").await;
        assert_eq!(none.expect("an answer"), None);
        let unknown = found("the server could not find the requested resource").await;
        let told = unknown.expect_err("it knows no Hooks").to_string();
        assert!(told.contains("kubectl apply -k knative/crds"), "{told}");
    }
}
