//! Namespaces and service accounts with exactly the rights of given manifests.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::{
    api::{
        authentication::v1::{TokenRequest, TokenRequestSpec},
        core::v1::{Namespace, ServiceAccount},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, Client, api::PostParams};
use serde_json::{Value, json};

use crate::{
    Cluster,
    cluster::{client, kubeconfig},
    programs::documents,
    tekton::create,
};

/// A service account and a token of it.
#[derive(Clone, Debug)]
pub struct Account {
    /// Where it lives.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// A token for the API server.
    pub token: String,
}

impl Cluster {
    /// Creates a namespace with the service account `pipeline` that runs use; the name is `<prefix>-<number>`, never given twice.
    ///
    /// # Errors
    /// The API server refuses it.
    pub async fn namespace(&self, prefix: &str) -> Result<String> {
        let name = format!("{prefix}-{}", self.counter.fetch_add(1, Ordering::Relaxed));
        self.namespace_named(&name).await?;
        Ok(name)
    }

    /// Creates a namespace of this very name, with the service account `pipeline`.
    ///
    /// # Errors
    /// The API server refuses it.
    pub async fn namespace_named(&self, name: &str) -> Result<()> {
        let namespace = Namespace {
            metadata: named(name),
            ..Default::default()
        };
        Api::<Namespace>::all(self.admin())
            .create(&PostParams::default(), &namespace)
            .await?;
        self.service_account(name, "pipeline").await
    }

    /// Creates a service account without any right, and without a token.
    ///
    /// # Errors
    /// The API server refuses it.
    pub async fn service_account(&self, namespace: &str, name: &str) -> Result<()> {
        let account = ServiceAccount {
            metadata: named(name),
            ..Default::default()
        };
        Api::<ServiceAccount>::namespaced(self.admin(), namespace)
            .create(&PostParams::default(), &account)
            .await?;
        Ok(())
    }

    /// Creates a service account without any right in a namespace of its own, with a token.
    ///
    /// # Errors
    /// The API server refuses it.
    pub async fn account(&self, name: &str) -> Result<Account> {
        let namespace = self.namespace(name).await?;
        self.service_account(&namespace, name).await?;
        let token = self.token(&namespace, name, &[]).await?;
        Ok(Account {
            namespace,
            name: name.to_owned(),
            token,
        })
    }

    /// A token of a service account for the given audiences; for the API server itself if there are none.
    ///
    /// # Errors
    /// There is no such account.
    pub async fn token(&self, namespace: &str, name: &str, audiences: &[&str]) -> Result<String> {
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: Some(
                    audiences
                        .iter()
                        .map(|&audience| audience.to_owned())
                        .collect(),
                ),
                expiration_seconds: Some(3600),
                ..Default::default()
            }),
            ..Default::default()
        };
        let answer = Api::<ServiceAccount>::namespaced(self.admin(), namespace)
            .create_token_request(name, &PostParams::default(), &request)
            .await?;
        answer
            .status
            .and_then(|status| status.token)
            .context("the answer holds no token")
    }

    /// Gives an account the Roles of a manifest in `namespace`, and its ClusterRoles everywhere; returns how many.
    /// All other objects in the file are ignored.
    ///
    /// # Errors
    /// The file cannot be read, or has no Role.
    pub async fn grant(&self, manifest: &Path, namespace: &str, to: &Account) -> Result<usize> {
        let mut count = 0;
        for mut role in documents(manifest)? {
            let kind = role["kind"].as_str().unwrap_or_default().to_owned();
            let (binding, scope) = match kind.as_str() {
                "Role" => ("RoleBinding", Some(namespace)),
                "ClusterRole" => ("ClusterRoleBinding", None),
                _ => continue,
            };
            count += 1;
            // Every account has roles of its own, so that several can be given rights in one namespace.
            let name = format!(
                "{}-{}",
                role["metadata"]["name"].as_str().unwrap_or("role"),
                self.counter.fetch_add(1, Ordering::Relaxed)
            );
            let metadata = json!({"name": name, "namespace": scope});
            role["metadata"] = metadata.clone();
            create(&self.admin(), &role).await?;
            let binding: Value = json!({
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": binding,
                "metadata": metadata,
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
                "subjects": [{"kind": "ServiceAccount", "namespace": to.namespace, "name": to.name}],
            });
            create(&self.admin(), &binding).await?;
        }
        ensure!(count > 0, "no Role in {}", manifest.display());
        Ok(count)
    }

    /// Writes a kubeconfig with a token for a server: the cluster's own [`Cluster::url`], or a proxy in front of it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn kubeconfig(&self, server: &str, token: &str) -> Result<PathBuf> {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let path = self.folder().join(format!("{number}.kubeconfig"));
        let ca = self.folder().join("pki/ca.crt");
        fs::write(
            &path,
            serde_json::to_vec(&kubeconfig(server, Some(&ca), token))?,
        )?;
        Ok(path)
    }

    /// A client with the rights of a token.
    ///
    /// # Errors
    /// The client cannot be made.
    pub async fn client(&self, token: &str) -> Result<Client> {
        let ca = self.folder().join("pki/ca.crt");
        client(kubeconfig(self.url(), Some(&ca), token)).await
    }
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        ..Default::default()
    }
}
