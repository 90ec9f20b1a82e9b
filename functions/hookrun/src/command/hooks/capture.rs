//! Requests and Deliveries that somebody kept: what `explain` and `test` read.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use hooks::Delivery;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::command::{input, payload};

/// What was kept.
#[derive(Debug)]
pub(super) enum Captured {
    /// A request, as it came.
    Request(Request),
    /// The record of an event, and its payload.
    Delivery(Box<Delivery>, Vec<u8>),
}

/// A request, as it came.
#[derive(Clone, Debug, Default)]
pub(super) struct Request {
    /// All headers.
    pub(super) headers: HeaderMap,
    /// Text after `?`.
    pub(super) query: String,
    /// The end of the path, where that is the proof.
    pub(super) token: Option<String>,
    /// The bytes.
    pub(super) body: Vec<u8>,
    /// When it came, in seconds since 1970; `None` is now.
    pub(super) time: Option<i64>,
}

impl Request {
    /// The request as verification reads it.
    pub(super) fn as_sent(&self) -> providers::Request<'_> {
        providers::Request {
            headers: &self.headers,
            query: &self.query,
            token: self.token.as_deref(),
            body: &self.body,
        }
    }

    /// When it came, in seconds since 1970.
    pub(super) fn time(&self) -> i64 {
        self.time.unwrap_or_else(|| Timestamp::now().as_second())
    }
}

/// A request, as somebody wrote it down.
#[derive(Debug, Default, Deserialize)]
#[serde(
    rename_all = "camelCase",
    default,
    deny_unknown_fields,
    expecting = "a captured request"
)]
pub(super) struct Written {
    headers: BTreeMap<String, Value>,
    query: String,
    token: Option<String>,
    body: Option<Value>,
    body_file: Option<PathBuf>,
    time: Option<Time>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Time {
    Seconds(i64),
    Text(String),
}

/// Reads a file with a captured request or a Delivery, whose payload may be in a file of its own.
pub(super) fn read(file: &Path, payload: Option<&Path>) -> anyhow::Result<Captured> {
    let bytes = input::read(file)?;
    let text = std::str::from_utf8(&bytes).context("it is not UTF-8");
    let read = text.and_then(|text| {
        let document: Value = serde_saphyr::from_str(text).context("it is not YAML")?;
        if document["kind"] == "Delivery" {
            let delivery: Delivery =
                serde_json::from_value(document).context("its Delivery is not one")?;
            let payload = match payload {
                Some(file) => payload::from_file(&delivery, file)?,
                None => payload::inline(&delivery)?,
            };
            return Ok(Captured::Delivery(Box::new(delivery), payload.into()));
        }
        ensure!(
            payload.is_none(),
            "it is a whole request, with its body or `bodyFile`: --payload is for a Delivery, leave it out"
        );
        let written: Written = serde_json::from_value(document)
            .context("it is neither a captured request nor a Delivery")?;
        written.request(file).map(Captured::Request)
    });
    read.with_context(|| format!("cannot use {}", file.display()))
}

impl Written {
    /// The request that was written down in this file.
    pub(super) fn request(self, file: &Path) -> anyhow::Result<Request> {
        let mut headers = HeaderMap::new();
        for (name, values) in self.headers {
            let values = match values {
                Value::Array(values) => values,
                value => vec![value],
            };
            for value in values {
                let name = HeaderName::try_from(&name)
                    .with_context(|| format!("{name:?} is no name of a header"))?;
                // YAML takes an id such as 4711 for a number.
                let value = match value {
                    Value::String(text) => text,
                    other => other.to_string(),
                };
                let value = HeaderValue::try_from(value)
                    .with_context(|| format!("the value of header {name} is none"))?;
                headers.append(name, value);
            }
        }
        let body = match (self.body, self.body_file) {
            (Some(_), Some(_)) => bail!("`body` and `bodyFile` exclude each other"),
            (Some(Value::String(text)), None) => text.into_bytes(),
            (Some(json), None) => json.to_string().into_bytes(),
            (None, Some(named)) => {
                input::read(&file.parent().unwrap_or(Path::new("")).join(named))?
            }
            (None, None) => Vec::new(),
        };
        let time = match self.time {
            None => None,
            Some(Time::Seconds(seconds)) => Some(seconds),
            Some(Time::Text(text)) => {
                let time = text.parse::<Timestamp>();
                Some(
                    time.with_context(|| {
                        format!("`time` is {text:?}, and has to be like 2026-01-02T03:04:05Z")
                    })?
                    .as_second(),
                )
            }
        };
        Ok(Request {
            headers,
            query: self.query,
            token: self.token,
            body,
            time,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> anyhow::Result<Request> {
        let document: Value = serde_saphyr::from_str(text)?;
        let written: Written = serde_json::from_value(document)?;
        written.request(Path::new("no-such-folder/case.yaml"))
    }

    #[test]
    fn bodies_are_bytes_and_objects_are_written_as_json() {
        let text = request("body: '{\"a\": 1}'\nheaders: {A: 4711, B: [b, c]}\ntime: 1700000000")
            .expect("a request");
        assert_eq!(text.body, br#"{"a": 1}"#);
        assert_eq!(text.time(), 1_700_000_000);
        assert_eq!(text.headers["a"], "4711");
        assert_eq!(text.headers.get_all("b").iter().count(), 2);
        let json = request("body: {a: 1}\ntime: '2023-11-14T22:13:20Z'").expect("a request");
        assert_eq!(json.body, br#"{"a":1}"#);
        assert_eq!(json.time(), 1_700_000_000);
    }

    #[test]
    fn the_payload_of_a_delivery_is_not_taken_beside_a_whole_request() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "body: {a: 1}").expect("it is written");
        assert!(read(file.path(), None).is_ok());
        let error = read(file.path(), Some(Path::new("payload.json"))).expect_err("both");
        assert!(format!("{error:#}").contains("leave it out"), "{error:#}");
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        for (text, message) in [
            ("body: a\nbodyFile: b", "exclude each other"),
            ("bodyFile: b", "cannot read no-such-folder/b"),
            ("headers: {'a b': c}", "no name of a header"),
            ("headers: {a: \"b\\nc\"}", "the value of header a"),
            ("time: soon", "has to be like"),
            ("bodie: x", "unknown field"),
        ] {
            let error = request(text).expect_err(text);
            assert!(format!("{error:#}").contains(message), "{error:#}");
        }
    }
}
