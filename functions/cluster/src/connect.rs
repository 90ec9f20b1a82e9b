//! Finding the API server: a kubeconfig that was named, the user's own, or the one a pod is given.
//!
//! A source that was named must work; there is no falling back from a broken file to another cluster.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::builder::{OsStringValueParser, TypedValueParser};
use hyper_util::client::proxy::matcher::Matcher;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};

/// How to reach the cluster.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Kubernetes")]
pub struct Connection {
    /// Kubeconfig file, or several as kubectl takes them: separated by colons, the first one that says something counts.
    /// Without it: `$KUBECONFIG` is used if set, else `~/.kube/config` if it exists, else the service account that
    /// Kubernetes mounts into a pod.
    #[arg(
        long,
        env = "KUBECONFIG",
        value_name = "FILE",
        global = true,
        value_parser = OsStringValueParser::new().map(Files::from)
    )]
    pub kubeconfig: Option<Files>,

    /// Context of the kubeconfig; its current one if not given.
    #[arg(long, env = "HOOKRUN_CONTEXT", value_name = "NAME", global = true)]
    pub context: Option<String>,
}

/// Kubeconfig files, the most important one first. Where none is named it is as if nothing had been said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files(Vec<PathBuf>);

impl From<OsString> for Files {
    fn from(text: OsString) -> Self {
        let named = env::split_paths(&text).filter(|path| !path.as_os_str().is_empty());
        Self(named.collect())
    }
}

impl Files {
    fn home(home: Option<&OsStr>) -> Self {
        let file = home.map(|home| Path::new(home).join(".kube/config"));
        Self(file.filter(|file| file.is_file()).into_iter().collect())
    }

    /// All of them as one, or `None` if there are none.
    fn read(&self) -> Result<Option<Kubeconfig>, ConnectError> {
        let mut merged: Option<Kubeconfig> = None;
        // kubectl writes a file of the list when it is missing, and so does not miss it.
        let missing = |path: &PathBuf| self.0.len() > 1 && !path.exists();
        for path in self.0.iter().filter(|path| !missing(path)) {
            let next = Kubeconfig::read_from(path);
            let both = match merged {
                Some(merged) => next.and_then(|next| merged.merge(next)),
                None => next,
            };
            merged = Some(both.map_err(|source| ConnectError::Kubeconfig {
                path: path.clone(),
                source,
            })?);
        }
        match (merged, self.0.is_empty()) {
            (None, false) => Err(ConnectError::Missing(self.to_string())),
            (merged, _) => Ok(merged),
        }
    }
}

impl std::fmt::Display for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.0.iter().map(|path| path.to_string_lossy()).collect();
        f.write_str(&names.join(", "))
    }
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A kubeconfig exists but cannot be used.
    #[error("cannot use the kubeconfig {path}")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KubeconfigError,
    },
    /// Several were named, and none is there.
    #[error("none of the kubeconfigs exists: {0}")]
    Missing(String),
    /// The kubeconfigs can be read, but do not say how to reach a cluster.
    #[error("the kubeconfig {files} does not lead to a cluster")]
    Incomplete {
        /// The files.
        files: String,
        /// What is wrong.
        source: KubeconfigError,
    },
    /// No kubeconfig, and not in a pod.
    #[error(
        "no cluster is configured: name a kubeconfig with --kubeconfig or KUBECONFIG, \
         or run in a pod with a mounted service account"
    )]
    Nothing(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The configuration was read but no client can be made from it.
    #[error("cannot create kubernetes client")]
    Client(#[source] Box<kube::Error>),
}

/// Makes a client; no request is sent. The process has named its TLS provider before.
///
/// # Errors
/// [`ConnectError`], when no configuration is found or the one found cannot be used.
pub async fn connect(connection: &Connection) -> Result<kube::Client, ConnectError> {
    let named = connection
        .kubeconfig
        .clone()
        .filter(|files| !files.0.is_empty());
    let files = named.unwrap_or_else(|| Files::home(env::var_os("HOME").as_deref()));
    let mut config = match files.read()? {
        Some(kubeconfig) => {
            let options = KubeConfigOptions {
                context: connection.context.clone(),
                ..KubeConfigOptions::default()
            };
            let own_proxy = names_proxy(&kubeconfig, connection.context.as_deref());
            let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options)
                .await
                .map_err(|source| ConnectError::Incomplete {
                    files: files.to_string(),
                    source,
                })?;
            // kube 5 holds NO_PROXY against the proxy's address instead of the cluster's.
            if !own_proxy && Matcher::from_env().intercept(&config.cluster_url).is_none() {
                config.proxy_url = None;
            }
            config
        }
        None => kube::Config::incluster().map_err(|source| ConnectError::Nothing(source.into()))?,
    };
    config.connect_timeout = Some(Duration::from_secs(5));
    // Repeats are ours: they know the deadline of the whole event (`Patience`).
    config.default_retry = false;
    kube::Client::try_from(config).map_err(|source| ConnectError::Client(Box::new(source)))
}

/// Whether the context's cluster has a proxy of its own, which then counts whatever the environment says, as for kubectl.
fn names_proxy(kubeconfig: &Kubeconfig, context: Option<&str>) -> bool {
    let context = context.or(kubeconfig.current_context.as_deref());
    let contexts = &kubeconfig.contexts;
    let found = contexts
        .iter()
        .find(|it| Some(it.name.as_str()) == context)
        .and_then(|it| it.context.as_ref());
    let clusters = kubeconfig.clusters.iter();
    clusters
        .filter(|it| found.is_some_and(|context| context.cluster == it.name))
        .filter_map(|it| it.cluster.as_ref()?.proxy_url.as_deref())
        .any(|proxy| !proxy.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kubeconfig with one cluster, user and context of the same name.
    fn file(folder: &Path, name: &str, current: bool) -> String {
        let path = folder.join(name);
        let current = if current { name } else { "" };
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: '{current}'\n\
             clusters: [{{name: {name}, cluster: {{server: 'https://{name}.example'}}}}]\n\
             users: [{{name: {name}, user: {{}}}}]\n\
             contexts: [{{name: {name}, context: {{cluster: {name}, user: {name}}}}}]\n"
        );
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    }

    fn read(list: &str) -> Result<Option<Kubeconfig>, ConnectError> {
        Files::from(OsString::from(list)).read()
    }

    #[test]
    fn an_empty_name_is_no_name() {
        for list in ["", ":", "::"] {
            assert!(matches!(read(list), Ok(None)), "{list:?}");
        }
    }

    #[test]
    fn a_list_is_merged_and_the_first_one_counts() {
        let folder = tempfile::tempdir().expect("a folder");
        let a = file(folder.path(), "a", true);
        let b = file(folder.path(), "b", true);
        let merged = read(&format!("{a}::{b}:{}/missing", folder.path().display()));
        let merged = merged.expect("readable").expect("some");
        assert_eq!(merged.current_context.as_deref(), Some("a"));
        let names: Vec<_> = merged.contexts.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn an_error_names_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let good = file(folder.path(), "a", true);
        let bad = folder.path().join("bad");
        std::fs::write(&bad, "clusters: 5").expect("a file");
        let bad = bad.display().to_string();
        for list in [
            bad.clone(),
            format!("{good}:{bad}"),
            format!("{bad}x"),
            format!("{bad}x:{bad}y"),
        ] {
            let error = read(&list).expect_err("it cannot be used").to_string();
            assert!(error.contains(&bad), "{error}");
        }
    }

    #[test]
    fn a_proxy_of_the_cluster_is_one_of_its_own() {
        let text = "clusters:\n- {name: a, cluster: {server: 'https://a.example', proxy-url: 'http://proxy.example'}}\n\
             - {name: b, cluster: {server: 'https://b.example'}}\n\
             contexts:\n- {name: one, context: {cluster: a}}\n- {name: two, context: {cluster: b}}\n\
             current-context: two\n";
        let kubeconfig = Kubeconfig::from_yaml(text).expect("readable");
        assert!(names_proxy(&kubeconfig, Some("one")));
        assert!(!names_proxy(&kubeconfig, Some("two")));
        assert!(!names_proxy(&kubeconfig, None));
    }

    #[test]
    fn only_a_file_that_exists_is_taken_from_home() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(Files::home(None), Files::default());
        assert_eq!(
            Files::home(Some(folder.path().as_os_str())),
            Files::default()
        );
    }
}
