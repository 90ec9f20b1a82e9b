//! What can be configured. The doc comments are the help texts.

use std::convert::Infallible;

use cluster::{PolicyOptions, RunOptions};

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
