//! What we expect of a Kubernetes API: one suite that runs against the real API server and against the embedded one.
//!
//! A case gets a client and a namespace of its own that exists. It sends requests as they go over the wire, so that codes,
//! reasons and texts are compared, not what a client makes of them. Nothing else of this package is used here: the package
//! `embedded` includes this folder in its own tests, by path.
//!
//! Never here: anything that only one of the two does.

mod apply;
mod changes;
mod deletions;
mod lists;
mod objects;
mod watches;

use anyhow::{Context, Result, ensure};
use futures_util::future::BoxFuture;
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// An expectation, to be held against an API.
pub type Expectation = fn(Remote) -> BoxFuture<'static, Result<()>>;

/// All expectations, named as sentences.
#[must_use]
pub fn expectations() -> Vec<(&'static str, Expectation)> {
    macro_rules! list {
        ($($module:ident::$name:ident),* $(,)?) => {
            vec![$((stringify!($name), |remote| Box::pin($module::$name(remote)))),*]
        };
    }
    list![
        objects::an_object_is_created_once,
        objects::one_of_many_creates_wins,
        objects::names_are_generated,
        objects::a_dry_run_changes_nothing,
        objects::illegal_metadata_is_refused,
        objects::a_body_that_is_no_such_object_is_refused,
        objects::an_object_needs_its_namespace,
        objects::secrets_keep_their_rules,
        changes::an_update_needs_the_current_version,
        changes::many_writers_lose_no_update,
        changes::the_generation_counts_changes_of_the_spec,
        changes::the_status_is_written_apart,
        changes::a_json_patch_tests_before_it_changes,
        changes::a_merge_patch_removes_by_null,
        changes::a_strategic_patch_is_for_built_in_kinds,
        apply::apply_creates_and_repeats_without_a_change,
        apply::apply_prunes_what_nobody_applies_any_more,
        apply::apply_refuses_what_others_own,
        apply::apply_by_force_takes_over,
        apply::apply_takes_lists_as_one_value,
        apply::apply_merges_owners_by_uid,
        apply::apply_asks_for_manager_name_and_kind,
        lists::lists_are_selected_by_labels,
        lists::lists_are_selected_by_fields,
        lists::lists_come_in_pages,
        watches::a_watch_continues_a_list,
        watches::a_watch_follows_its_selector,
        watches::a_watch_may_begin_with_what_is_there,
        deletions::a_deletion_checks_its_preconditions,
        deletions::finalizers_hold_an_object,
        deletions::what_an_object_owns_goes_with_it,
        deletions::the_last_owner_counts,
        deletions::a_foreground_deletion_waits,
        deletions::an_orphan_stays,
        deletions::an_object_without_any_owner_left_goes,
        deletions::a_namespace_goes_with_its_contents,
        lists::tables_have_the_columns_of_their_kind,
        lists::metadata_can_be_had_alone,
        lists::discovery_finds_the_kinds,
        deletions::a_pending_run_gets_what_it_owns_and_starts,
    ]
}

/// An API, and a namespace to use in it.
#[derive(Clone)]
pub struct Remote {
    /// The API.
    pub client: kube::Client,
    /// A namespace that exists, for this case alone.
    pub namespace: String,
}

const JSON: &str = "application/json";
const JSON_PATCH: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";
const LIMIT: Duration = Duration::from_secs(60);

/// An answer: its code and its JSON.
struct Answer(u16, Value);

impl Answer {
    /// The object of an answer that must have this code.
    fn expect(self, code: u16) -> Result<Value> {
        ensure!(
            self.0 == code,
            "{code} expected, got {}: {}",
            self.0,
            self.1
        );
        Ok(self.1)
    }

    /// A refusal with this code, reason, and beginning of its message.
    fn refused(self, code: u16, reason: &str, beginning: &str) -> Result<()> {
        let Self(got, status) = &self;
        let message = status["message"].as_str().unwrap_or_default();
        let as_expected = *got == code
            && status["kind"] == "Status"
            && status["status"] == "Failure"
            && status["code"] == code
            && status["reason"] == reason
            && message.starts_with(beginning);
        ensure!(
            as_expected,
            "{code} {reason} {beginning:?} expected, got {got}: {status}"
        );
        Ok(())
    }
}

impl Remote {
    async fn send(
        &self,
        method: &str,
        path: &str,
        kind: &str,
        body: Vec<u8>,
    ) -> Result<http::Response<Body>> {
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::CONTENT_TYPE, kind)
            .header(http::header::USER_AGENT, "suite/1")
            .body(Body::from(body))?;
        Ok(self.client.send(request).await?)
    }

    async fn ask(&self, method: &str, path: &str, kind: &str, body: &Value) -> Result<Answer> {
        let bytes = if body.is_null() {
            vec![]
        } else {
            body.to_string().into_bytes()
        };
        let response = self.send(method, path, kind, bytes).await?;
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await?.to_bytes();
        let json = serde_json::from_slice(&bytes)
            .with_context(|| format!("{method} {path}: {bytes:?}"))?;
        Ok(Answer(code, json))
    }

    async fn get(&self, path: &str) -> Result<Answer> {
        self.ask("GET", path, JSON, &Value::Null).await
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.ask("POST", path, JSON, body).await
    }

    async fn put(&self, path: &str, body: &Value) -> Result<Answer> {
        self.ask("PUT", path, JSON, body).await
    }

    async fn patch(&self, path: &str, kind: &str, body: &Value) -> Result<Answer> {
        self.ask("PATCH", path, kind, body).await
    }

    async fn delete(&self, path: &str, options: &Value) -> Result<Answer> {
        self.ask("DELETE", path, JSON, options).await
    }

    /// An apply of a ConfigMap's data.
    async fn apply(&self, manager: &str, name: &str, data: Value) -> Result<Answer> {
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data});
        self.patch(
            &format!("{}?fieldManager={manager}", self.config_map(name)),
            APPLY,
            &body,
        )
        .await
    }

    /// The path of a resource in the namespace.
    fn core(&self, plural: &str) -> String {
        format!("/api/v1/namespaces/{}/{plural}", self.namespace)
    }

    fn tekton(&self, plural: &str) -> String {
        format!("/apis/tekton.dev/v1/namespaces/{}/{plural}", self.namespace)
    }

    fn config_map(&self, name: &str) -> String {
        format!("{}/{name}", self.core("configmaps"))
    }

    /// Waits until an object is gone.
    async fn gone(&self, path: &str) -> Result<()> {
        let begin = Instant::now();
        loop {
            let Answer(code, json) = self.get(path).await?;
            if code == 404 {
                return Ok(());
            }
            ensure!(begin.elapsed() < LIMIT, "still there: {json}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until an object looks as it should.
    async fn becomes(&self, path: &str, right: impl Fn(&Value) -> bool) -> Result<Value> {
        let begin = Instant::now();
        loop {
            let object = self.get(path).await?.expect(200)?;
            if right(&object) {
                return Ok(object);
            }
            ensure!(begin.elapsed() < LIMIT, "still: {object}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The first lines of a watch.
    async fn watch(&self, path: &str, lines: usize) -> Result<Vec<Value>> {
        let mut body = self.send("GET", path, JSON, vec![]).await?.into_body();
        let (mut text, mut events) = (Vec::new(), Vec::new());
        let read = async {
            while events.len() < lines {
                let frame = body.frame().await.context("the watch ended")??;
                text.extend_from_slice(frame.data_ref().context("a frame without data")?);
                while let Some(end) = text.iter().position(|b| *b == b'\n') {
                    let line: Vec<u8> = text.drain(..=end).collect();
                    events.push(serde_json::from_slice(&line)?);
                }
            }
            anyhow::Ok(())
        };
        let ended = tokio::time::timeout(LIMIT, read).await;
        ended.with_context(|| format!("{lines} lines expected, got {events:?}"))??;
        Ok(events)
    }
}

fn config_map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

fn secret(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data})
}

fn task(name: &str) -> Value {
    json!({
        "apiVersion": "tekton.dev/v1", "kind": "Task", "metadata": {"name": name},
        "spec": {"steps": [{"name": "a", "image": "b"}]},
    })
}

fn labelled(mut object: Value, labels: Value) -> Value {
    object["metadata"]["labels"] = labels;
    object
}

/// A Secret that the object owns.
fn owned(name: &str, owners: &[&Value]) -> Value {
    let mut secret = secret(name, json!({}));
    secret["metadata"]["ownerReferences"] = owners
        .iter()
        .map(|o| {
            json!({
                "apiVersion": o["apiVersion"], "kind": o["kind"], "name": o["metadata"]["name"],
                "uid": o["metadata"]["uid"], "blockOwnerDeletion": true,
            })
        })
        .collect();
    secret
}

fn version(object: &Value) -> &str {
    object["metadata"]["resourceVersion"]
        .as_str()
        .unwrap_or_default()
}

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().into_iter().flatten();
    items
        .filter_map(|i| i["metadata"]["name"].as_str())
        .collect()
}

fn same<T: PartialEq + std::fmt::Debug>(got: T, expected: T) -> Result<()> {
    ensure!(got == expected, "expected {expected:?}, got {got:?}");
    Ok(())
}

/// A run that waits: the controller of a real cluster leaves its spec alone.
fn pending(name: &str) -> Value {
    json!({
        "apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "metadata": {"name": name},
        "spec": {
            "status": "PipelineRunPending",
            "pipelineSpec": {"tasks": [{"name": "a", "taskSpec": {"steps": [{"name": "a", "image": "b"}]}}]},
        },
    })
}

/// A run that no controller touches, so that its status is ours.
fn unmanaged(name: &str) -> Value {
    let mut run = pending(name);
    run["spec"]["managedBy"] = json!("suite.dev/nobody");
    run
}
