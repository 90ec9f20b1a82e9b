//! A sender like GitHub: pushes to `main`, signed, each with an identity and bytes of its own.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use providers::{
    Settings,
    sign::{Outgoing, sign},
};
use serde_json::Value;
use system_tests::function::repository;

use crate::wire::Connection;

/// What signs the events.
pub(crate) const SECRET: &str = "what signs the events of the measurements";

/// Stands for the number of an event.
const MARK: &str = "the number of this event";

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Sender {
    path: String,
    push: Arc<str>,
}

impl Sender {
    /// One for a Hook.
    pub(crate) fn new(namespace: &str, hook: &str) -> Result<Self> {
        let file = repository().join("shared/providers/tests/payloads/github/push.json");
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let mut push: Value = serde_json::from_str(&text)?;
        push["number"] = MARK.into();
        Ok(Self {
            path: format!("/hooks/{namespace}/{hook}"),
            push: push.to_string().into(),
        })
    }

    /// The path of the Hook.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The payload of a push.
    pub(crate) fn payload(&self, number: usize) -> String {
        self.push.replace(MARK, &number.to_string())
    }

    /// The headers and the payload of a push.
    pub(crate) fn event(&self, number: usize) -> Result<(HeaderMap, Bytes)> {
        let body = self.payload(number);
        Ok((signed(SECRET, number, body.as_bytes())?, body.into()))
    }

    /// Sends a push; the name of its Delivery. Unless it started a run, there is nothing to measure.
    pub(crate) async fn push(&self, connection: &mut Connection, number: usize) -> Result<String> {
        let (headers, body) = self.event(number)?;
        let asked = connection.ask_with(Method::POST, &self.path, headers, body);
        let (status, answer) = asked.await?;
        ensure!(
            status == StatusCode::ACCEPTED,
            "{status}: {}",
            String::from_utf8_lossy(&answer)
        );
        let answer: Value = serde_json::from_slice(&answer)?;
        match (answer["outcome"].as_str(), answer["delivery"].as_str()) {
            (Some("Created"), Some(delivery)) => Ok(delivery.to_owned()),
            _ => bail!("no run: {answer:#}"),
        }
    }

    /// Sends a body with given headers; the status of the answer.
    pub(crate) async fn send(
        &self,
        connection: &mut Connection,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<StatusCode> {
        let asked = connection.ask_with(Method::POST, &self.path, headers, body);
        Ok(asked.await?.0)
    }
}

/// The headers with which GitHub sends a push.
pub(crate) fn signed(secret: &str, number: usize, body: &[u8]) -> Result<HeaderMap> {
    let github = providers::provider("github").context("GitHub is not in the table")?;
    let id = format!("{number:032}");
    let event = Outgoing {
        event_type: "push",
        id: &id,
        body,
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let sent = sign(
        github,
        &Settings::default(),
        secret.as_bytes(),
        &event,
        i64::try_from(now)?,
    )?;
    Ok(sent.headers)
}
