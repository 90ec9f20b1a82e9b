//! What can be configured. The doc comments are the help texts.

use std::time::Duration;

use units::{duration, size};
use url::Url;

/// Options of the hook function.
#[derive(Debug, clap::Args)]
#[group(skip)] // its name would be that of the shell's options
pub struct Options {
    /// The HTTP shell. Its password is only asked for at `/metrics`, which is not served without one.
    #[command(flatten)]
    pub server: runtime::Options,

    /// Which namespaces may hold Hooks and runs.
    #[command(flatten)]
    pub policy: cluster::PolicyOptions,

    /// How runs of flows are made; they act as the Hook's ServiceAccount.
    #[command(flatten)]
    pub run: cluster::RunOptions,

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

    /// What only hooks need.
    #[command(flatten)]
    pub hooks: HookOptions,
}

/// What only hooks need.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Hooks")]
pub struct HookOptions {
    /// Size of a webhook's body (413 beyond); a provider's own limit counts where it is lower. Never more than a quarter
    /// of the memory for all bodies (HOOKRUN_MEMORY_BYTES), less what is kept for small ones.
    #[arg(long, env = "HOOKRUN_HOOK_BODY_BYTES", value_name = "SIZE", default_value = "25MiB", value_parser = size)]
    pub hook_body_bytes: usize,

    /// Where senders find it.
    #[command(flatten)]
    pub address: Address,

    /// When others take over.
    #[command(flatten)]
    pub takeover: Takeover,
}

/// Where outside services find the function, which only those know who gave it a name.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Hooks")]
pub struct Address {
    /// URL under which outside services reach the function, like `https://hooks.example.com`. The status of every Hook
    /// tells its own URL then, in full but for the token that some providers need behind it.
    #[arg(long, env = "HOOKRUN_HOOK_URL", value_name = "URL", value_parser = base)]
    pub hook_url: Option<Url>,
}

/// A URL that paths are put behind.
fn base(text: &str) -> Result<Url, String> {
    let url: Url = text.parse().map_err(|error| format!("{error}"))?;
    let is_base = matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    match is_base {
        true => Ok(url),
        false => Err("only http:// or https://, a host and a path are expected".to_owned()),
    }
}

/// When a Delivery that is not finished is taken over.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(next_help_heading = "Hooks")]
pub struct Takeover {
    /// Age at which a Delivery that is still `Received` is taken over by a redelivery or by the sweep. Longer than the
    /// requests for one event may take (HOOKRUN_API_DEADLINE), which end before.
    #[arg(long, env = "HOOKRUN_HOOK_TAKEOVER", value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub hook_takeover: Duration,
}

/// What one sweep does at most.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Sweep of Deliveries")]
pub struct SweepOptions {
    /// Deliveries that one sweep tries to finish at most, and how many it flags at most whose payload came before.
    #[arg(
        long,
        env = "HOOKRUN_SWEEP_FINISH",
        value_name = "NUMBER",
        default_value_t = 500
    )]
    pub sweep_finish: usize,

    /// Deliveries past their retention that one sweep deletes at most.
    #[arg(
        long,
        env = "HOOKRUN_SWEEP_DELETE",
        value_name = "NUMBER",
        default_value_t = 5_000
    )]
    pub sweep_delete: usize,

    /// Age at which a Delivery is given up that was tried five times or more and could not be started: its outcome
    /// becomes `Failed`. Longer than HOOKRUN_HOOK_TAKEOVER.
    #[arg(long, env = "HOOKRUN_SWEEP_GIVE_UP", value_name = "TIME", default_value = "24h", value_parser = duration)]
    pub sweep_give_up: Duration,

    /// Time that one sweep of Deliveries takes at most; the next one goes on.
    #[arg(long, env = "HOOKRUN_SWEEP_TIME", value_name = "TIME", default_value = "50s", value_parser = duration)]
    pub sweep_time: Duration,
}

/// Options that contradict each other.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Two processes could work on the same Delivery.
    #[error(
        "HOOKRUN_HOOK_TAKEOVER is {takeover:?}, but must be longer than HOOKRUN_API_DEADLINE, which is {deadline:?}: raise the first \
         or lower the second"
    )]
    Takeover {
        /// What is configured.
        takeover: Duration,
        /// What it must exceed.
        deadline: Duration,
    },
    /// A Delivery would be given up before anybody takes it over.
    #[error(
        "HOOKRUN_SWEEP_GIVE_UP is {give_up:?}, but must be longer than HOOKRUN_HOOK_TAKEOVER, which is {takeover:?}: raise \
         the first or lower the second"
    )]
    GiveUp {
        /// What is configured.
        give_up: Duration,
        /// What it must exceed.
        takeover: Duration,
    },
}

impl SweepOptions {
    /// Whether the options make sense with those of who takes over.
    ///
    /// # Errors
    /// Names the variables to change.
    pub fn check(&self, takeover: Takeover) -> Result<(), Error> {
        if self.sweep_give_up > takeover.hook_takeover {
            return Ok(());
        }
        Err(Error::GiveUp {
            give_up: self.sweep_give_up,
            takeover: takeover.hook_takeover,
        })
    }
}

impl Takeover {
    /// Whether the options make sense with those of the API server.
    ///
    /// # Errors
    /// Names the variables to change.
    pub fn check(&self, patience: cluster::Patience) -> Result<(), Error> {
        if self.hook_takeover > patience.event {
            return Ok(());
        }
        Err(Error::Takeover {
            takeover: self.hook_takeover,
            deadline: patience.event,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_taken_over_while_somebody_may_be_at_work_on_it() {
        let takes = |seconds| {
            let takeover = Takeover {
                hook_takeover: Duration::from_secs(seconds),
            };
            let patience = cluster::Patience {
                attempt: Duration::from_secs(5),
                event: Duration::from_secs(20),
            };
            takeover.check(patience).is_ok()
        };
        assert!(takes(60) && takes(21));
        assert!(!takes(20));
    }

    #[test]
    fn a_base_is_an_address_and_nothing_more() {
        assert!(base("https://hooks.example.com/in/").is_ok());
        for wrong in [
            "hooks.example.com",
            "ftp://hooks.example.com",
            "https://user@hooks.example.com",
            "https://hooks.example.com?a=b",
        ] {
            assert!(base(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nothing_is_given_up_before_it_is_taken_over() {
        let gives_up = |seconds| {
            let options = SweepOptions {
                sweep_finish: 1,
                sweep_delete: 1,
                sweep_give_up: Duration::from_secs(seconds),
                sweep_time: Duration::from_secs(1),
            };
            let hook_takeover = Duration::from_secs(60);
            options.check(Takeover { hook_takeover })
        };
        assert_eq!(gives_up(61), Ok(()));
        let wrong = gives_up(60).unwrap_err().to_string();
        assert!(wrong.contains("HOOKRUN_SWEEP_GIVE_UP"), "{wrong}");
    }
}
