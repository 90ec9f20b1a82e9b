//! What a peer may cost: a cap or a clock on everything that comes from outside.

use std::time::Duration;

use units::{duration, size};

/// Caps and clocks of the HTTP shell. Times are written like `10s`, `500ms` or `2m`, sizes in bytes or like `10MiB`.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct Limits {
    /// Time for a complete request head, counted from its first byte (of a new connection: from its opening).
    #[arg(long, env = "HOOKRUN_HEADER_TIME", default_value = "10s", value_name = "TIME", value_parser = duration)]
    pub header_time: Duration,

    /// Time for a complete request body (408 beyond). A webhook's has 20s at most.
    #[arg(long, env = "HOOKRUN_BODY_TIME", default_value = "60s", value_name = "TIME", value_parser = duration)]
    pub body_time: Duration,

    /// Time for a complete request, from its head to its answer (503 beyond); less than what the platform allows.
    #[arg(long, env = "HOOKRUN_REQUEST_TIME", default_value = "85s", value_name = "TIME", value_parser = duration)]
    pub request_time: Duration,

    /// Time that a connection may stay open without a request; longer than that of usual clients, so that these close first.
    #[arg(long, env = "HOOKRUN_IDLE_TIME", default_value = "180s", value_name = "TIME", value_parser = duration)]
    pub idle_time: Duration,

    /// Time that requests in flight get after SIGTERM.
    #[arg(long, env = "HOOKRUN_DRAIN_TIME", default_value = "25s", value_name = "TIME", value_parser = duration)]
    pub drain_time: Duration,

    /// Size of a request head (431 beyond).
    #[arg(long, env = "HOOKRUN_HEADER_BYTES", default_value = "32KiB", value_name = "SIZE", value_parser = size)]
    pub header_bytes: usize,

    /// Number of header fields of a request (431 beyond).
    #[arg(
        long,
        env = "HOOKRUN_HEADER_COUNT",
        default_value_t = 100,
        value_name = "NUMBER"
    )]
    pub header_count: usize,

    /// Size of a request body (413 beyond); HOOKRUN_HOOK_BODY_BYTES is that of a webhook's.
    #[arg(long, env = "HOOKRUN_BODY_BYTES", default_value = "10MiB", value_name = "SIZE", value_parser = size)]
    pub body_bytes: usize,

    /// Memory for the bodies of all requests together, copies included: a body counts four times (503 beyond). 16MiB of it
    /// are kept for bodies up to 256KiB.
    #[arg(long, env = "HOOKRUN_MEMORY_BYTES", default_value = "128MiB", value_name = "SIZE", value_parser = size)]
    pub memory_bytes: usize,

    /// Requests handled at the same time (503 beyond).
    #[arg(
        long,
        env = "HOOKRUN_REQUESTS",
        default_value_t = 256,
        value_name = "NUMBER"
    )]
    pub requests: usize,

    /// Connections open at the same time (503 beyond).
    #[arg(
        long,
        env = "HOOKRUN_CONNECTIONS",
        default_value_t = 4096,
        value_name = "NUMBER"
    )]
    pub connections: usize,
}

/// The limits that apply when nothing is configured.
impl Default for Limits {
    fn default() -> Self {
        const MIB: usize = 1 << 20;
        Self {
            header_time: Duration::from_secs(10),
            body_time: Duration::from_secs(60),
            request_time: Duration::from_secs(85),
            idle_time: Duration::from_secs(180),
            drain_time: Duration::from_secs(25),
            header_bytes: 32 << 10,
            header_count: 100,
            body_bytes: 10 * MIB,
            memory_bytes: 128 * MIB,
            requests: 256,
            connections: 4096,
        }
    }
}

/// Limits that contradict each other.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The largest body would never fit into the memory.
    #[error(
        "HOOKRUN_MEMORY_BYTES is {memory}, but one body of HOOKRUN_BODY_BYTES needs {needed}: raise the first or lower the second"
    )]
    Memory {
        /// What is configured.
        memory: usize,
        /// What the largest body takes.
        needed: usize,
    },
    /// Nothing could ever be answered.
    #[error("{0} must not be zero")]
    Zero(&'static str),
    /// Less than the HTTP implementation works with.
    #[error("HOOKRUN_HEADER_BYTES is {0}, but it must be at least 8192")]
    Header(usize),
}

impl Limits {
    /// Whether the limits make sense together.
    ///
    /// # Errors
    /// Names the variables to change.
    pub fn check(&self) -> Result<(), Error> {
        let zero = [
            (self.requests, "HOOKRUN_REQUESTS"),
            (self.connections, "HOOKRUN_CONNECTIONS"),
            (self.header_count, "HOOKRUN_HEADER_COUNT"),
        ];
        if let Some((_, name)) = zero.into_iter().find(|(value, _)| *value == 0) {
            return Err(Error::Zero(name));
        }
        if self.header_bytes < 8192 {
            return Err(Error::Header(self.header_bytes));
        }
        let needed = self.body_bytes.saturating_mul(crate::body::COPIES);
        if needed > self.memory_bytes {
            return Err(Error::Memory {
                memory: self.memory_bytes,
                needed,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Program {
        #[command(flatten)]
        limits: Limits,
    }

    #[test]
    fn the_defaults_of_the_flags_are_the_defaults() {
        let program = Program::parse_from(["program"]);
        assert_eq!(
            format!("{:?}", program.limits),
            format!("{:?}", Limits::default())
        );
        assert_eq!(program.limits.check(), Ok(()));
    }

    #[test]
    fn limits_that_contradict_each_other_are_refused() {
        let limits = Limits {
            memory_bytes: 1 << 20,
            ..Limits::default()
        };
        assert!(matches!(limits.check(), Err(Error::Memory { .. })));
        let limits = Limits {
            requests: 0,
            ..Limits::default()
        };
        assert_eq!(limits.check(), Err(Error::Zero("HOOKRUN_REQUESTS")));
    }
}
