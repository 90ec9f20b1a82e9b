//! The flows and events of the hard cases, and the folder in which flows are stored for them.
//!
//! Every secret, file and payload holds [`CANARY`], so that one search in a log shows whether any of them got there.

use std::{fs, path::PathBuf};

use anyhow::Result;
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

/// In every text that must not be logged.
pub const CANARY: &str = "canary-5kq7";

/// A flow without secrets and files: its run needs no copies.
#[must_use]
pub fn plain(name: &str, namespace: &str) -> Value {
    json!({
        "name": name,
        "labels": {"namespace": namespace},
        "steps": [{
            "name": "scan",
            "runtime": "images.example.org/tools/scanner:3.2",
            "package": "packages.example.org/recipes/scan:1.0",
            "function": "scan",
            "input": {"var": [{"name": "SEVERITY", "value": "high"}]}
        }]
    })
}

/// A flow with a secret, a key and a file: its run owns a copy of each. `mark` is in all of them, to tell editions apart.
#[must_use]
pub fn rich(name: &str, namespace: &str, mark: &str) -> Value {
    let mut flow = plain(name, namespace);
    flow["steps"][0]["input"] = json!({
        "var": [{"name": "MARK", "value": mark}],
        "secret": [{"name": "TOKEN", "value": format!("{CANARY}-token-{mark}")}],
        "key": [{"name": "SIGNER", "private": true, "path": "/", "value": format!("{CANARY}-key-{mark}")}],
        "file": [{"name": "RULES", "path": "rules.yaml", "content": format!("{CANARY}-file-{mark}\n")}]
    });
    flow
}

/// A folder that serves as flow store.
pub struct Folder(TempDir);

impl Folder {
    /// An empty one.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new() -> Result<Self> {
        Ok(Self(tempfile::tempdir()?))
    }

    /// Stores a flow under a key, in place of an earlier one; a reader sees the one or the other.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn put(&self, key: &str, flow: &Value) -> Result<()> {
        self.put_bytes(key, flow.to_string().as_bytes())
    }

    /// Stores under a key what may be no flow at all.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn put_bytes(&self, key: &str, bytes: &[u8]) -> Result<()> {
        let new = self.0.path().join(format!(".{}.new", Uuid::new_v4()));
        fs::write(&new, bytes)?;
        Ok(fs::rename(new, self.path(key))?)
    }

    /// The store's URL, for `HOOKRUN_FLOW_STORE`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("file://{}", self.0.path().display())
    }

    fn path(&self, key: &str) -> PathBuf {
        self.0.path().join(format!("{key}.json"))
    }
}

/// What an event brings; `number` tells payloads apart.
#[must_use]
pub fn payload(number: usize) -> String {
    json!({"number": number, "text": format!("{CANARY}-payload-{number}")}).to_string()
}
