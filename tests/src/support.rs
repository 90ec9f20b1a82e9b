//! What the cases of the flow function share: a namespace with a function that may write to it, and how its answers are read.

pub mod objects;

use anyhow::{Context, Result, ensure};
use control_plane::Cluster;
use http::HeaderMap;
use serde_json::{Value, json};

use crate::function::{Function, Setup};
use objects::Objects;

/// A namespace of its own, and a function that may make runs there and nowhere else.
pub struct Scene {
    /// The namespace.
    pub namespace: String,
    /// What is in it.
    pub objects: Objects,
    /// The function.
    pub function: Function,
}

impl Scene {
    /// With a function as the manifests start it.
    ///
    /// # Errors
    /// The function does not start.
    pub async fn new(cluster: &Cluster) -> Result<Self> {
        Self::with(cluster, |setup, _| setup).await
    }

    /// With a function that is set up otherwise; `adjust` is told the namespace.
    ///
    /// # Errors
    /// The function does not start.
    pub async fn with(
        cluster: &Cluster,
        adjust: impl for<'a> FnOnce(Setup<'a>, &str) -> Setup<'a>,
    ) -> Result<Self> {
        let namespace = cluster.namespace("flows").await?;
        let setup = adjust(Function::on(cluster).run_in(&namespace), &namespace);
        Ok(Self {
            objects: Objects::of(cluster.admin(), &namespace),
            function: setup.start().await?,
            namespace,
        })
    }

    /// Posts a flow.
    ///
    /// # Errors
    /// No answer.
    pub async fn post(&self, flow: &Value) -> Result<Answer> {
        ask(self.function.post("/flow").body(flow.to_string())).await
    }

    /// Posts a flow as an event of this identity.
    ///
    /// # Errors
    /// No answer.
    pub async fn post_as(&self, event: &str, flow: &Value) -> Result<Answer> {
        let request = self.function.post("/flow").header("idempotency-key", event);
        ask(request.body(flow.to_string())).await
    }

    /// A flow for this namespace.
    #[must_use]
    pub fn flow(&self, name: &str, steps: Value) -> Value {
        flow(name, &self.namespace, steps)
    }

    /// A flow with one step that needs no copies.
    #[must_use]
    pub fn plain_flow(&self, name: &str) -> Value {
        self.flow(name, json!([step("scan")]))
    }

    /// A flow with one step that has the secret `TOKEN`.
    #[must_use]
    pub fn secret_flow(&self, name: &str, token: &str) -> Value {
        let mut step = step("scan");
        step["input"] = json!({"secret": [{"name": "TOKEN", "value": token}]});
        self.flow(name, json!([step]))
    }

    /// The path of a run by key in this namespace.
    #[must_use]
    pub fn key(&self, key: &str) -> String {
        format!("/flow/key/{key}/ns/{}", self.namespace)
    }

    /// The path of a run by name in this namespace.
    #[must_use]
    pub fn name(&self, name: &str) -> String {
        format!("/flow/name/{name}/ns/{}", self.namespace)
    }
}

/// A flow.
#[must_use]
pub fn flow(name: &str, namespace: &str, steps: Value) -> Value {
    json!({"name": name, "labels": {"namespace": namespace}, "steps": steps})
}

/// A step that runs a function of a package.
#[must_use]
pub fn step(name: &str) -> Value {
    json!({"name": name, "runtime": "images.example.org/scan:1", "package": "p/scanner", "function": "go"})
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub text: String,
}

/// Sends a request and reads the whole answer.
///
/// # Errors
/// There is none.
pub async fn ask(request: reqwest::RequestBuilder) -> Result<Answer> {
    let response = request.send().await?;
    Ok(Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        text: response.text().await?,
    })
}

impl Answer {
    /// The run that the answer says was started, in the words of the original.
    ///
    /// # Errors
    /// It says something else.
    pub fn run(&self) -> Result<&str> {
        ensure!(self.status == 200, "{self:?}");
        ensure!(
            self.header("content-type") == "text/plain; charset=utf-8",
            "{self:?}"
        );
        self.text
            .strip_prefix("? starting pipeline run ")
            .and_then(|rest| rest.strip_suffix('\n'))
            .with_context(|| format!("{self:?}"))
    }

    /// Fails unless this is a refusal with this status and this beginning.
    ///
    /// # Errors
    /// Shows the answer.
    pub fn refused(&self, status: u16, beginning: &str) -> Result<()> {
        ensure!(
            self.status == status && self.text.starts_with(beginning),
            "{self:?}"
        );
        Ok(())
    }

    /// Fails unless this is what a Broker is told: this status, and a body that Eventing does not take for an event.
    ///
    /// # Errors
    /// Shows the answer.
    pub fn told_to_broker(&self, status: u16) -> Result<()> {
        ensure!(self.status == status, "{self:?}");
        ensure!(
            status >= 300 || self.text.is_empty(),
            "Eventing would make a 502 of {self:?}"
        );
        Ok(())
    }

    /// A header's value; empty if there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}
