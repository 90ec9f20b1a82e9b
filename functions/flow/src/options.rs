//! What can be configured. The doc comments are the help texts.

use std::convert::Infallible;

use cluster::PolicyOptions;
use flows::{Lowering, Settings};

/// Options of the flow function.
#[derive(Debug, clap::Args)]
#[group(skip)] // its name would be that of the shell's options
pub struct Options {
    /// The HTTP shell.
    #[command(flatten)]
    pub server: runtime::Options,

    /// Which namespaces may hold what.
    #[command(flatten)]
    pub policy: PolicyOptions,

    /// How runs are made.
    #[command(flatten)]
    pub run: RunOptions,

    /// Where flows are looked up by key.
    #[command(flatten)]
    pub flow_store: store::FlowStoreOptions,

    /// Where large payloads go.
    #[command(flatten)]
    pub payload_store: store::PayloadStoreOptions,

    /// How to reach the cluster.
    #[command(flatten)]
    pub connection: cluster::Connection,

    /// How long the API server may take.
    #[command(flatten)]
    pub patience: cluster::Patience,

    /// Serve `/metrics`. As the Artisan runner did, anything but 0, f, false and their spellings means yes.
    #[arg(long, env = "OX_METRICS_ENABLED", value_name = "BOOL", default_value = "true", value_parser = switch, action = clap::ArgAction::Set)]
    pub metrics: bool,

    /// Serve `/api`: a page to read and try the API, and its OpenAPI document.
    #[arg(long, env = "OX_SWAGGER_ENABLED", value_name = "BOOL", default_value = "true", value_parser = switch, action = clap::ArgAction::Set)]
    pub api_page: bool,
}

/// How runs are made.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Runs")]
pub struct RunOptions {
    /// ServiceAccount of the runs.
    #[arg(
        long,
        env = "HOOKRUN_SERVICE_ACCOUNT",
        value_name = "NAME",
        default_value_t = Settings::default().service_account
    )]
    pub service_account: String,

    /// User and group id of the runs' containers, privileged steps excepted.
    #[arg(long, env = "HOOKRUN_RUN_AS_USER", value_name = "ID", default_value_t = Settings::default().user, value_parser = clap::value_parser!(i64).range(1..=2_147_483_647))]
    pub run_as_user: i64,

    /// Image that clones git sources: has `sh` and `git`.
    #[arg(long, env = "HOOKRUN_CLONE_IMAGE", value_name = "IMAGE", default_value_t = Settings::default().clone_image)]
    pub clone_image: String,

    /// Commits of history that git sources are cloned with; 0 is all.
    #[arg(
        long,
        env = "HOOKRUN_CLONE_DEPTH",
        value_name = "NUMBER",
        default_value_t = Settings::default().clone_depth
    )]
    pub clone_depth: u32,

    /// Image of the step that fetches a payload of more than 1 MiB: the one that holds this executable.
    #[arg(long, env = "HOOKRUN_FETCH_IMAGE", value_name = "IMAGE", default_value_t = Settings::default().fetch_image)]
    pub fetch_image: String,

    /// Put before runtimes that are a bare name: with `images.example.org/artisan`, `java` becomes
    /// `images.example.org/artisan/java`. Without it they are used as they are.
    #[arg(long, env = "HOOKRUN_RUNTIME_PREFIX", value_name = "PREFIX")]
    pub runtime_prefix: Option<String>,
}

impl RunOptions {
    /// What emission needs to know.
    pub fn settings(&self) -> Settings {
        Settings {
            service_account: self.service_account.clone(),
            user: self.run_as_user,
            clone_image: self.clone_image.clone(),
            clone_depth: self.clone_depth,
            fetch_image: self.fetch_image.clone(),
        }
    }

    /// What lowering needs to know.
    pub fn lowering(&self) -> Lowering {
        Lowering {
            runtime_prefix: self.runtime_prefix.clone(),
            namespace: None,
        }
    }
}

/// A switch as the original read it: what it did not understand left the default, which is on.
fn switch(text: &str) -> Result<bool, Infallible> {
    Ok(!matches!(
        text,
        "0" | "f" | "F" | "FALSE" | "false" | "False"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_is_off_only_where_the_original_was_off() {
        for off in ["0", "f", "F", "FALSE", "false", "False"] {
            assert_eq!(switch(off), Ok(false));
        }
        for on in ["1", "t", "true", "maybe", "", "off"] {
            assert_eq!(switch(on), Ok(true));
        }
    }
}
