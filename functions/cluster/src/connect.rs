//! Finding the API server: a kubeconfig that was named, the user's own, or the one a pod is given.
//!
//! A source that was named must work; there is no falling back from a broken file to another cluster.

use std::{env, path::PathBuf, time::Duration};

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};

/// How to reach the cluster.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Kubernetes")]
pub struct Connection {
    /// Kubeconfig file. Without it: `$KUBECONFIG` is used if set, else `~/.kube/config` if it exists, else the
    /// service account that Kubernetes mounts into a pod.
    #[arg(long, env = "KUBECONFIG", value_name = "FILE", global = true)]
    pub kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig; its current one if not given.
    #[arg(long, env = "HOOKRUN_CONTEXT", value_name = "NAME", global = true)]
    pub context: Option<String>,
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

/// Makes a client; no request is sent.
///
/// # Errors
/// [`ConnectError`], when no configuration is found or the one found cannot be used.
pub async fn connect(connection: &Connection) -> Result<kube::Client, ConnectError> {
    // The TLS provider is chosen once for the process; a second call finds it chosen, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut config = match kubeconfig(connection) {
        Some(path) => read(&path, connection.context.clone())
            .await
            .map_err(|source| ConnectError::Kubeconfig { path, source })?,
        None => kube::Config::incluster().map_err(|source| ConnectError::Nothing(source.into()))?,
    };
    config.connect_timeout = Some(Duration::from_secs(5));
    // Repeats are ours: they know the deadline of the whole event (`Patience`).
    config.default_retry = false;
    kube::Client::try_from(config).map_err(|source| ConnectError::Client(Box::new(source)))
}

/// The file that is to be used, if any.
fn kubeconfig(connection: &Connection) -> Option<PathBuf> {
    connection.kubeconfig.clone().or_else(|| {
        let file = PathBuf::from(env::var_os("HOME")?).join(".kube/config");
        file.is_file().then_some(file)
    })
}

async fn read(path: &PathBuf, context: Option<String>) -> Result<kube::Config, KubeconfigError> {
    let options = KubeConfigOptions {
        context,
        ..KubeConfigOptions::default()
    };
    kube::Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &options).await
}
