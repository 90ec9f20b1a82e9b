//! `hookrun dev`: all functions on one port, with a Kubernetes API of their own or a real one.
//!
//! It is for one person on one machine: it listens on loopback, needs no password there, allows every namespace, and
//! tells what to try next. Elsewhere it listens only with a password, and only as the function: the Kubernetes API of its
//! own asks nobody for one. The real cluster is used only when the command line says so (or in a pod): a `KUBECONFIG` that
//! happens to be set must not send a first try to production.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, ensure};
use clap::{ArgMatches, parser::ValueSource};
use runtime::{Router, auth::AuthOptions, metrics::Metrics, telemetry};
use tokio::net::TcpListener;

use super::{say, serve};
use crate::cli;

/// Runs the command.
pub(crate) async fn run(mut options: cli::Dev, matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let matches = matches.subcommand().map(|(_, matches)| matches);
    let typed = |id: &str| {
        matches.and_then(|matches| matches.value_source(id)) == Some(ValueSource::CommandLine)
    };
    let chosen = |id: &str| {
        !matches!(
            matches.and_then(|matches| matches.value_source(id)),
            None | Some(ValueSource::DefaultValue)
        )
    };
    if !chosen("log_format") {
        options.flow.server.telemetry.log_format = telemetry::LogFormat::Text;
    }
    if !chosen("log") {
        options.flow.server.telemetry.log = "warn".to_owned();
    }
    let guard = telemetry::init(&options.flow.server.telemetry, "hookrun-dev")?;
    open_to_this_machine(options.address, &mut options.flow.server.auth)?;
    if options.flow.policy.namespaces.is_empty() {
        options.flow.policy.namespaces = vec!["*".to_owned()];
    }
    if !chosen("flow_store") && options.flow.flow_store.onix_uri.is_none() {
        options.flow.flow_store.flow_store = flow_folder(&options.folder)?;
    }

    let in_pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    let real = typed("kubeconfig") || typed("context") || in_pod;
    let api = if real {
        None
    } else {
        Some(
            embedded::Api::open(&options.folder)
                .with_context(|| format!("cannot use the folder {}", options.folder.display()))?,
        )
    };
    for broken in api.iter().flat_map(embedded::Api::unreadable) {
        let path = broken.path.display();
        say(&format!(
            "{path} cannot be read and is left out: {}",
            broken.reason
        ));
    }
    let (client, others) = match &api {
        Some(api) if options.address.is_loopback() => {
            (api.client(), Router::new().fallback(api.clone()))
        }
        Some(api) => (api.client(), Router::new()),
        None => (
            cluster::connect(&options.flow.connection).await?,
            Router::new(),
        ),
    };
    let port = options.flow.server.listen.port();
    let listener = TcpListener::bind(SocketAddr::new(options.address, port))
        .await
        .with_context(|| {
            format!(
                "cannot listen on port {port} of {}: choose another one with --port",
                options.address
            )
        })?;
    let here = listener.local_addr()?;
    welcome(&options, &here.to_string(), real);
    if !real && options.address.is_loopback() && options.hooks.address.hook_url.is_none() {
        // Whoever is on this machine is all who can send.
        options.hooks.address.hook_url = Some(format!("http://{here}").parse()?);
    }
    let metrics = Arc::new(Metrics::new()?);
    let hooks = Arc::new(hooks(&options, client.clone(), &metrics)?);
    let others = others.merge(hook::router(Arc::clone(&hooks)));
    if !real {
        tokio::spawn(sweep(hooks, options.sweep.clone(), options.sweep_interval));
    }
    let shutdown = async {
        runtime::sigterm().await;
        // A watch would otherwise stay open until the time for draining is over.
        if let Some(api) = &api {
            api.close();
        }
    };
    serve::serve(&options.flow, client, listener, others, metrics, shutdown).await?;
    guard.flush(Duration::from_secs(1)).await;
    Ok(ExitCode::SUCCESS)
}

/// The hook function, on the same terms as the flow function.
fn hooks(
    options: &cli::Dev,
    client: kube::Client,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<hook::Service> {
    let flow = &options.flow;
    let credentials = store::Credentials::from_env();
    let surroundings = hook::Surroundings {
        patience: flow.patience,
        policy: flow.policy.policy(client.default_namespace()),
        payloads: flow.payload_store.open(&credentials)?.map(Arc::new),
        flows: Some((
            flow.flow_store
                .open(&credentials, store::connected(client.clone())),
            flow.run.clone(),
        )),
        cluster_keys: Arc::new(serve::ApiServer(client.clone())),
        web_keys: Arc::new(serve::Web),
        clock: jiff::Timestamp::now,
        limits: flow.server.limits.clone(),
        metrics: Arc::clone(metrics),
        client,
    };
    options.sweep.check(options.hooks.takeover)?;
    Ok(hook::service(&options.hooks, surroundings)?)
}

/// Looks after Hooks and Deliveries for as long as the process lives: there is nobody else who would.
async fn sweep(hooks: Arc<hook::Service>, options: hook::SweepOptions, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        match hooks.sweep(&options, jiff::Timestamp::now()).await {
            Ok(swept) => {
                if let Some((count, why)) = swept.failed {
                    tracing::warn!(count, why, "not everything could be swept");
                }
            }
            Err(error) => tracing::warn!(%error, "nothing could be swept"),
        }
    }
}

/// Lets everybody in where that is only this machine, and nobody without a password elsewhere.
fn open_to_this_machine(address: IpAddr, auth: &mut AuthOptions) -> anyhow::Result<()> {
    if auth.password.is_some() || auth.credentials.is_some() {
        return Ok(());
    }
    ensure!(
        address.is_loopback(),
        "{address} can be reached from other machines, so a password is needed: set OX_HTTP_PWD or --credentials"
    );
    auth.insecure_no_password = true;
    Ok(())
}

/// The folder of flows that can be run by key, made if needed.
fn flow_folder(folder: &Path) -> anyhow::Result<store::Source> {
    let flows = folder.join("flows");
    fs::create_dir_all(&flows)
        .with_context(|| format!("cannot make the folder {}", flows.display()))?;
    let absolute = flows.canonicalize()?;
    let url = reqwest::Url::from_file_path(&absolute)
        .ok()
        .with_context(|| format!("{} cannot be written as a URL", absolute.display()))?;
    url.as_str().parse().map_err(anyhow::Error::msg)
}

/// Says what runs where, and what to try next.
fn welcome(options: &cli::Dev, address: &str, real: bool) {
    let folder = options.folder.display();
    let here = options.address.is_loopback();
    let who = if here { " (this machine only)" } else { "" };
    say(&format!("hookrun dev listens on http://{address}{who}"));
    if options.flow.server.auth.insecure_no_password {
        say("no password is asked for; set OX_HTTP_PWD to change that");
    }
    if real {
        say("runs are created in the cluster of the kubeconfig");
    } else {
        say(&format!(
            "objects are YAML files in {folder}; nothing executes the runs"
        ));
    }
    if !real && !here {
        say("kubectl cannot read them here: the Kubernetes API is served on loopback only");
    }
    say("\ntry:");
    say(&format!(
        "  curl --data @examples/nightly-scan.json http://{address}/flow"
    ));
    if real {
        say("  kubectl get pipelineruns");
    } else if here {
        say(&format!(
            "  kubectl --server http://{address} get pipelineruns"
        ));
        say(&format!(
            "  kubectl --server http://{address} create namespace team-blue   (a flow's namespace must exist)"
        ));
    }
    if !real && here {
        say(&format!(
            "  hookrun hooks new github --pipeline build --apply --server http://{address}   (a webhook)"
        ));
    }
    say(&format!("  a browser on http://{address}/api/index.html"));
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    /// Whether it may listen, and whether it then asks for a password.
    fn asks(arguments: &[&str]) -> Option<bool> {
        let typed = ["hookrun", "dev"].iter().chain(arguments);
        let Command::Dev(mut options) = Cli::parse_from(typed).command else {
            return None;
        };
        open_to_this_machine(options.address, &mut options.flow.server.auth).ok()?;
        Some(!options.flow.server.auth.insecure_no_password)
    }

    #[test]
    fn other_machines_need_a_password() {
        assert_eq!(asks(&[]), Some(false));
        assert_eq!(asks(&["--address", "::1"]), Some(false));
        assert_eq!(asks(&["--http-password", "x"]), Some(true));
        for address in ["0.0.0.0", "::", "192.0.2.1"] {
            let address = ["--address", address];
            assert_eq!(asks(&address), None);
            let insecure = [&address[..], &["--insecure-no-password"]].concat();
            assert_eq!(asks(&insecure), None);
            let password = [&address[..], &["--http-password", "x"]].concat();
            assert_eq!(asks(&password), Some(true));
        }
    }
}
