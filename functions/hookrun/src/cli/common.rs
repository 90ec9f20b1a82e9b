//! Options that several commands about objects share.

use clap::{Args, ValueEnum};

/// Where the objects are.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Kubernetes")]
pub(crate) struct Objects {
    /// URL of a Kubernetes API that asks for no credentials, as `hookrun dev` serves it; instead of a kubeconfig.
    #[arg(long, env = "HOOKRUN_SERVER", value_name = "URL", value_hint = clap::ValueHint::Url)]
    pub(crate) server: Option<String>,

    /// Namespace; that of the kubeconfig's context, else `default`, if not given.
    #[arg(long, short, env = "HOOKRUN_NAMESPACE", value_name = "NAME")]
    pub(crate) namespace: Option<String>,

    #[command(flatten)]
    pub(crate) connection: cluster::Connection,
}

/// How results are written.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Output {
    /// How results are written: for people, or for programs.
    #[arg(
        long = "output",
        short = 'o',
        env = "HOOKRUN_OUTPUT",
        value_name = "FORM",
        default_value = "text"
    )]
    pub(crate) form: Form,
}

/// Forms of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// For people; changes from version to version.
    Text,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}
