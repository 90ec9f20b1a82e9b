//! What the tests are told about the cluster that they run on: variables, set by `cargo xtask e2e`.

use std::{env, net::IpAddr};

use anyhow::{Context, Result};

/// The cluster, and what is installed on it.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Where Kourier's gateway listens, on ports 80 and 443.
    pub(crate) gateway: IpAddr,
    /// The image under test; without it one is made of the executable beside the tests, which only the own cluster can get.
    pub(crate) image: Option<String>,
    /// The image that plays everybody else; without it the cluster is the repository's own, and is given one.
    pub(crate) tools: Option<String>,
    /// Whether everything stays when it is over, to be looked at.
    pub(crate) keep: bool,
}

impl Settings {
    /// Reads the variables.
    ///
    /// # Errors
    /// One is missing or wrong.
    pub(crate) fn read() -> Result<Self> {
        let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        variable("KUBECONFIG")
            .context("KUBECONFIG is not set; start these tests by `cargo xtask e2e`")?;
        let gateway = variable("HOOKRUN_E2E_GATEWAY").context("HOOKRUN_E2E_GATEWAY is not set")?;
        Ok(Self {
            gateway: gateway
                .parse()
                .with_context(|| format!("HOOKRUN_E2E_GATEWAY: {gateway} is no IP address"))?,
            image: variable("HOOKRUN_E2E_IMAGE"),
            tools: variable("HOOKRUN_E2E_TOOLS_IMAGE"),
            keep: variable("HOOKRUN_E2E_KEEP").is_some(),
        })
    }

    /// Whether this is the repository's own cluster: its parts can be killed and images be given to its node.
    pub(crate) fn own(&self) -> bool {
        self.tools.is_none()
    }
}
