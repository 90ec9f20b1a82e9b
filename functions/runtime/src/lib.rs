//! The HTTP shell that every function shares: connections, limits, routing, events, authentication, telemetry, shutdown.
//!
//! A function says *what* it answers ([`Router`], [`Call`], [`Response`]); this package sees to it that nothing a
//! peer sends costs more than was configured ([`Limits`]), that one panic does not end the process, and that what is
//! in flight is finished when the platform asks to stop ([`serve()`]).
//!
//! It knows no flow format and never links `kube`: what it needs of a cluster (a key set) is handed in.

pub mod serve;

pub mod shell;

pub mod router;

pub mod path;

pub mod call;

pub mod body;

pub mod budget;

pub mod door;

pub mod limits;

pub mod event;

pub mod auth;

pub mod response;

pub mod problem;

pub mod rejection;

pub mod telemetry;

pub mod metrics;

/// Everything about the shell that can be configured.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Where to listen.
    #[command(flatten)]
    pub listen: serve::ListenOptions,

    /// What a peer may cost.
    #[command(flatten)]
    pub limits: Limits,

    /// Who may call.
    #[command(flatten)]
    pub auth: auth::AuthOptions,

    /// What is seen from outside.
    #[command(flatten)]
    pub telemetry: telemetry::TelemetryOptions,
}

pub use body::{Body, Budget, Payload, Taken};
pub use call::Call;
pub use door::{Door, Doors};
pub use limits::Limits;
pub use problem::Problem;
pub use rejection::Rejection;
pub use response::Response;
pub use router::Router;
pub use serve::{listen, serve, sigterm};
pub use shell::Shell;
