//! What an installation decides about all runs that are made from flows.

use flows::{Lowering, Settings};

/// How runs are made.
#[derive(Clone, Debug, clap::Args)]
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
