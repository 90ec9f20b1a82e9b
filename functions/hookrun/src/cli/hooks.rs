//! What can be typed after `hookrun hooks`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint, builder::BoolishValueParser};

use super::common::{Objects, Output};

/// The commands about Hooks.
#[derive(Debug, Subcommand)]
pub(crate) enum Hooks {
    /// Write a Hook and its Secret, and tell how to register the URL at the provider.
    ///
    /// The YAML goes to standard output, what to do with it to standard error. The secret is made from the randomness
    /// of the operating system and is shown nowhere else.
    ///
    /// Without a provider the known ones are listed.
    #[command(after_help = "Examples:\n  hookrun hooks new github > hook.yaml\n  \
        hookrun hooks new gitlab --name shop --pipeline build --filter 'event.branch == \"main\"' --apply")]
    New(New),
    /// Sign a request as the provider would, and send it.
    ///
    /// Its body is a sample that the provider could have sent, or a file. What is answered is printed.
    ///
    /// The exit code is 0 if every request was accepted, 1 if one was turned away, 2 if one could not be sent.
    #[command(after_help = "Examples:\n  hookrun hooks send hook.yaml\n  \
        hookrun hooks send hook.yaml --event pull_request --delivery-id 17 --repeat 2\n  \
        hookrun hooks send team/shop --url https://hooks.example.com --body push.json")]
    Send(Send),
    /// Say step by step what a Hook makes of a request, without a cluster.
    ///
    /// The steps are those of the function: who sent it, what it is, and for each rule: its events, its filter with the
    /// values that it saw, who may, its parameters. The first step that says no is the answer.
    ///
    /// The exit code is 0 if the outcome is `Created`, 1 if it is another one, 2 if that cannot be said.
    #[command(after_help = CAPTURED)]
    Explain(Explain),
    /// Test a Hook against a folder of captured requests.
    ///
    /// The folder holds `hook.yaml` (the Hook; Secrets may follow it) and one YAML file per case. Nothing is sent, and
    /// no cluster is needed.
    ///
    /// The exit code is 0 if every case is as expected, 1 if one is not, 2 if something cannot be read.
    #[command(after_help = CASE)]
    Test(Test),
    /// List Hooks: their URLs, whether they are ready, and when they last got an event.
    List(List),
    /// Show a Hook: whether it is ready and why not, which secrets its senders use, what was rejected, and its rules.
    #[command(after_help = "Example:\n  hookrun hooks show team/shop")]
    Show(Show),
}

/// What a captured request looks like.
const CAPTURED: &str = "A captured request is a YAML or JSON file:

  headers:                     # by name; a list where one came more than once
    X-GitHub-Event: push
    X-Hub-Signature-256: sha256=…
  body: '{\"ref\": …}'           # the text as it came; an object is written as JSON
  bodyFile: push.json          # instead of body: a file beside this one
  query: a=b                   # what came after `?`
  token: …                     # the end of the path, for providers that prove nothing else
  time: 2026-01-02T03:04:05Z   # when it came, or seconds since 1970; now if not given

A Delivery as `kubectl get delivery NAME -o yaml` prints it works as well, and so does the name of one. A file
with a Delivery whose payload is kept elsewhere needs --payload.

Examples:
  hookrun hooks explain hook.yaml request.yaml
  hookrun hooks explain hook.yaml github-k3v9x0q2ab";

/// What a case of a test looks like.
const CASE: &str = "A case is a YAML file:

  request:            # as for `hookrun hooks explain`
    headers: {X-GitHub-Event: push}
    bodyFile: push.json
  secrets: [s3cret]   # what the Secrets of the Hook hold; those in hook.yaml if not given
  sign: true          # sign the request with the first secret, as the provider would
  expect:
    outcome: Created  # Created, Filtered, Failed, Refused (not verified, or turned away) or Handshake
    reason: mismatch  # part of the reason, if it matters
    rules:            # those that matter
    - name: build
      outcome: Created
      reason: filter  # part of the reason
      params: {revision: 2e1d}   # those that matter

Without `sign` the request has to bring its own proof. A case without any secret fails: a forged
proof would pass it. Example:
  hookrun hooks test hooks/github";

/// `hookrun hooks new`
#[derive(Debug, Args)]
pub(crate) struct New {
    /// Who sends; without it the known providers are listed.
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(providers::PROVIDERS.iter().map(|known| known.name)), hide_possible_values = true)]
    pub(crate) provider: Option<String>,

    /// Name of the Hook; part of its URL. The provider's if not given.
    #[arg(long, env = "HOOKRUN_HOOK_NAME", value_name = "NAME")]
    pub(crate) name: Option<String>,

    /// Types of events that start a run, separated by commas; all if not given.
    #[arg(
        long,
        env = "HOOKRUN_HOOK_EVENTS",
        value_name = "TYPES",
        value_delimiter = ','
    )]
    pub(crate) events: Vec<String>,

    /// Condition under which a run is started: a CEL expression over `event`, `body`, `headers`, `query` and `hook`.
    #[arg(long, env = "HOOKRUN_HOOK_FILTER", value_name = "EXPRESSION")]
    pub(crate) filter: Option<String>,

    /// Pipeline that is run.
    #[arg(
        long,
        env = "HOOKRUN_HOOK_PIPELINE",
        value_name = "NAME",
        default_value = "build"
    )]
    pub(crate) pipeline: String,

    /// Parameter of the Pipeline and the CEL expression for its value, as `name=expression`; may come several times.
    #[arg(
        long = "param",
        env = "HOOKRUN_HOOK_PARAM",
        value_name = "NAME=EXPRESSION"
    )]
    pub(crate) params: Vec<String>,

    /// ServiceAccount as which the Hook starts runs.
    #[arg(
        long,
        env = "HOOKRUN_HOOK_SERVICE_ACCOUNT",
        value_name = "NAME",
        default_value = "hookrun"
    )]
    pub(crate) service_account: String,

    /// File with the secret, where the provider makes it; otherwise one is made up.
    #[arg(long, env = "HOOKRUN_SECRET_FILE", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) secret_file: Option<PathBuf>,

    /// Where the outside world reaches the function, for the URL that is told; `https://` where it names no scheme.
    #[arg(long, env = "HOOKRUN_HOST", value_name = "URL", default_value = "https://hooks.example.com", value_hint = ValueHint::Url)]
    pub(crate) host: String,

    /// Write a file for each object into this folder, instead of standard output. Files that exist are left alone.
    #[arg(long, env = "HOOKRUN_HOOK_FOLDER", value_name = "FOLDER", value_hint = ValueHint::DirPath, conflicts_with = "apply")]
    pub(crate) folder: Option<PathBuf>,

    /// Create the objects, too. What exists is left alone, and is an error.
    #[arg(long, env = "HOOKRUN_APPLY", value_parser = BoolishValueParser::new())]
    pub(crate) apply: bool,

    #[command(flatten)]
    pub(crate) objects: Objects,
}

/// `hookrun hooks send`
#[derive(Debug, Args)]
pub(crate) struct Send {
    /// The Hook: a YAML file (its Secret may follow it, as `hookrun hooks new` writes them), or its name in the
    /// cluster, as `name` or `namespace/name`. `-` is standard input.
    #[arg(value_name = "HOOK", value_hint = ValueHint::FilePath)]
    pub(crate) hook: String,

    /// Where the function is; --server if that is given, since `hookrun dev` is both, else http://127.0.0.1:8080.
    #[arg(long, env = "HOOKRUN_URL", value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) url: Option<String>,

    /// Type of the event, as the provider calls it; that of the sample if not given.
    #[arg(long, env = "HOOKRUN_EVENT_TYPE", value_name = "TYPE")]
    pub(crate) event: Option<String>,

    /// File with the body, byte for byte, instead of a sample; `-` is standard input.
    #[arg(long, env = "HOOKRUN_BODY", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) body: Option<PathBuf>,

    /// File with the secret, instead of the Hook's first one. A line feed at its end does not count.
    #[arg(long, env = "HOOKRUN_SECRET_FILE", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) secret_file: Option<PathBuf>,

    /// Identity of the event; a new one for each request if not given. The same identity is the same event.
    #[arg(long, env = "HOOKRUN_DELIVERY_ID", value_name = "TEXT")]
    pub(crate) delivery_id: Option<String>,

    /// Another header, as `Name: value`; may come several times.
    #[arg(long = "header", env = "HOOKRUN_HEADER", value_name = "HEADER")]
    pub(crate) headers: Vec<String>,

    /// How many requests to send, one after the other.
    #[arg(
        long,
        env = "HOOKRUN_REPEAT",
        value_name = "NUMBER",
        default_value_t = 1
    )]
    pub(crate) repeat: u32,

    #[command(flatten)]
    pub(crate) output: Output,

    #[command(flatten)]
    pub(crate) objects: Objects,
}

/// `hookrun hooks explain`
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The Hook: a YAML file, or its name in the cluster. Secrets that follow it in the file verify the request.
    #[arg(value_name = "HOOK", value_hint = ValueHint::FilePath)]
    pub(crate) hook: String,

    /// The captured request, or a Delivery: a file, or the name of a Delivery in the cluster. `-` is standard input.
    #[arg(value_name = "REQUEST", value_hint = ValueHint::FilePath)]
    pub(crate) request: String,

    /// File with the secret, where the file of the Hook has none. A line feed at its end does not count.
    #[arg(long, env = "HOOKRUN_SECRET_FILE", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) secret_file: Option<PathBuf>,

    /// File with the payload of the Delivery, as `hookrun deliveries show NAME --payload` prints it; where its file
    /// does not hold it. Not for a captured request, which has its body.
    #[arg(long, env = "HOOKRUN_PAYLOAD", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) payload: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) output: Output,

    #[command(flatten)]
    pub(crate) store: store::PayloadPlaceOptions,

    #[command(flatten)]
    pub(crate) objects: Objects,
}

/// `hookrun hooks test`
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// Folder with `hook.yaml` and the cases.
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) folder: PathBuf,

    #[command(flatten)]
    pub(crate) output: Output,
}

/// `hookrun hooks list`
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Those of all namespaces.
    #[arg(long, short = 'A', env = "HOOKRUN_ALL_NAMESPACES", value_parser = BoolishValueParser::new())]
    pub(crate) all_namespaces: bool,

    #[command(flatten)]
    pub(crate) output: Output,

    #[command(flatten)]
    pub(crate) objects: Objects,
}

/// `hookrun hooks show`
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Its name, or `namespace/name`.
    #[arg(value_name = "HOOK")]
    pub(crate) name: String,

    #[command(flatten)]
    pub(crate) output: Output,

    #[command(flatten)]
    pub(crate) objects: Objects,
}
