//! What we expect of a Kubernetes API: one suite that runs against the real API server and against the embedded one.
//!
//! A case gets a client and a namespace of its own that exists. It sends requests as they go over the wire, so that codes,
//! reasons and texts are compared, not what a client makes of them. This file uses nothing of this package: the package
//! `embedded` includes it in its own tests.
//!
//! Never here: anything that only one of the two does.

use anyhow::{Context, Result, ensure};
use futures_util::future::{BoxFuture, join_all};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// An expectation, named as a sentence.
pub type Expectation = (&'static str, fn(Remote) -> BoxFuture<'static, Result<()>>);

/// All expectations.
#[must_use]
pub fn expectations() -> Vec<Expectation> {
    macro_rules! list {
        ($($name:ident),* $(,)?) => {
            vec![$((stringify!($name), |remote| Box::pin($name(remote)))),*]
        };
    }
    list![
        an_object_is_created_once,
        one_of_many_creates_wins,
        names_are_generated,
        a_dry_run_changes_nothing,
        illegal_metadata_is_refused,
        a_body_that_is_no_such_object_is_refused,
        an_object_needs_its_namespace,
        secrets_keep_their_rules,
        an_update_needs_the_current_version,
        many_writers_lose_no_update,
        the_generation_counts_changes_of_the_spec,
        the_status_is_written_apart,
        a_json_patch_tests_before_it_changes,
        a_merge_patch_removes_by_null,
        a_strategic_patch_is_for_built_in_kinds,
        apply_creates_and_repeats_without_a_change,
        apply_prunes_what_nobody_applies_any_more,
        apply_refuses_what_others_own,
        apply_by_force_takes_over,
        apply_takes_lists_as_one_value,
        apply_merges_owners_by_uid,
        apply_asks_for_manager_name_and_kind,
        lists_are_selected_by_labels,
        lists_are_selected_by_fields,
        lists_come_in_pages,
        a_watch_continues_a_list,
        a_watch_follows_its_selector,
        a_watch_may_begin_with_what_is_there,
        a_deletion_checks_its_preconditions,
        finalizers_hold_an_object,
        what_an_object_owns_goes_with_it,
        the_last_owner_counts,
        a_foreground_deletion_waits,
        an_orphan_stays,
        an_object_without_any_owner_left_goes,
        a_namespace_goes_with_its_contents,
        tables_have_the_columns_of_their_kind,
        metadata_can_be_had_alone,
        discovery_finds_the_kinds,
        a_pending_run_gets_what_it_owns_and_starts,
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
        ensure!(self.0 == code, "{code} expected, got {}: {}", self.0, self.1);
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
        ensure!(as_expected, "{code} {reason} {beginning:?} expected, got {got}: {status}");
        Ok(())
    }
}

impl Remote {
    async fn send(&self, method: &str, path: &str, kind: &str, body: Vec<u8>) -> Result<http::Response<Body>> {
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::CONTENT_TYPE, kind)
            .header(http::header::USER_AGENT, "suite/1")
            .body(Body::from(body))?;
        Ok(self.client.send(request).await?)
    }

    async fn ask(&self, method: &str, path: &str, kind: &str, body: &Value) -> Result<Answer> {
        let bytes = if body.is_null() { vec![] } else { body.to_string().into_bytes() };
        let response = self.send(method, path, kind, bytes).await?;
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await?.to_bytes();
        let json = serde_json::from_slice(&bytes).with_context(|| format!("{method} {path}: {bytes:?}"))?;
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
        self.patch(&format!("{}?fieldManager={manager}", self.config_map(name)), APPLY, &body)
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
    object["metadata"]["resourceVersion"].as_str().unwrap_or_default()
}

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().into_iter().flatten();
    items.filter_map(|i| i["metadata"]["name"].as_str()).collect()
}

fn same<T: PartialEq + std::fmt::Debug>(got: T, expected: T) -> Result<()> {
    ensure!(got == expected, "expected {expected:?}, got {got:?}");
    Ok(())
}

async fn an_object_is_created_once(it: Remote) -> Result<()> {
    let tasks = it.tekton("tasks");
    let created = it.post(&tasks, &task("a")).await?.expect(201)?;
    let metadata = &created["metadata"];
    for field in ["uid", "resourceVersion", "creationTimestamp"] {
        ensure!(metadata[field].as_str().is_some_and(|t| !t.is_empty()), "{field}: {created}");
    }
    same(&metadata["generation"], &json!(1))?;
    same(&metadata["namespace"], &json!(it.namespace))?;
    let read = it.get(&format!("{tasks}/a")).await?.expect(200)?;
    same(read, created)?;
    it.post(&tasks, &task("a"))
        .await?
        .refused(409, "AlreadyExists", "tasks.tekton.dev \"a\" already exists")?;
    let Answer(_, status) = it.get(&format!("{tasks}/b")).await?;
    same(&status["details"], &json!({"name": "b", "group": "tekton.dev", "kind": "tasks"}))?;
    Answer(404, status).refused(404, "NotFound", "tasks.tekton.dev \"b\" not found")?;
    it.get(&format!("{}/b", it.core("secrets")))
        .await?
        .refused(404, "NotFound", "secrets \"b\" not found")
}

async fn one_of_many_creates_wins(it: Remote) -> Result<()> {
    let secrets = it.core("secrets");
    let object = secret("a", json!({}));
    let answers = join_all((0..32).map(|_| it.post(&secrets, &object))).await;
    let mut created = 0;
    for answer in answers {
        match answer? {
            Answer(201, _) => created += 1,
            answer => answer.refused(409, "AlreadyExists", "secrets \"a\" already exists")?,
        }
    }
    same(created, 1)
}

async fn names_are_generated(it: Remote) -> Result<()> {
    let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"generateName": "gen-"}});
    let first = it.post(&it.core("secrets"), &object).await?.expect(201)?;
    let second = it.post(&it.core("secrets"), &object).await?.expect(201)?;
    for object in [&first, &second] {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        ensure!(name.len() == 9 && name.starts_with("gen-"), "{name}");
    }
    ensure!(first["metadata"]["name"] != second["metadata"]["name"]);
    let nameless = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {}});
    it.post(&it.core("secrets"), &nameless).await?.refused(
        422,
        "Invalid",
        "Secret \"\" is invalid: metadata.name: Required value: name or generateName is required",
    )
}

async fn a_dry_run_changes_nothing(it: Remote) -> Result<()> {
    let all = it.core("configmaps");
    let path = it.config_map("a");
    let tried = it.post(&format!("{all}?dryRun=All"), &config_map("a", json!({}))).await?.expect(201)?;
    ensure!(tried["metadata"]["uid"].is_string(), "{tried}");
    it.get(&path).await?.refused(404, "NotFound", "")?;
    let stored = it.post(&all, &config_map("a", json!({"k": "1"}))).await?.expect(201)?;
    let tried = it.patch(&format!("{path}?dryRun=All"), MERGE, &json!({"data": {"k": "2"}})).await?.expect(200)?;
    same(&tried["data"]["k"], &json!("2"))?;
    it.delete(&format!("{path}?dryRun=All"), &Value::Null).await?.expect(200)?;
    same(it.get(&path).await?.expect(200)?, stored)?;
    it.post(&format!("{all}?dryRun=Some"), &config_map("b", json!({})))
        .await?
        .refused(422, "Invalid", "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value")
}

async fn illegal_metadata_is_refused(it: Remote) -> Result<()> {
    let name = "metadata.name: Invalid value: \"A_b\": a lowercase RFC 1123 subdomain must consist of";
    let Answer(code, status) = it.post(&it.core("secrets"), &secret("A_b", json!({}))).await?;
    same(&status["details"]["causes"][0]["field"], &json!("metadata.name"))?;
    same(&status["details"]["causes"][0]["reason"], &json!("FieldValueInvalid"))?;
    Answer(code, status).refused(422, "Invalid", &format!("Secret \"A_b\" is invalid: {name}"))?;
    it.post(&it.tekton("tasks"), &task("A_b"))
        .await?
        .refused(422, "Invalid", &format!("Task.tekton.dev \"A_b\" is invalid: {name}"))?;
    for (metadata, problem) in [
        (json!({"labels": {"a b": "c"}}), "metadata.labels: Invalid value: \"a b\": name part must consist of"),
        (json!({"labels": {"a": "b c"}}), "metadata.labels: Invalid value: \"b c\": a valid label must be"),
        (json!({"annotations": {"?": ""}}), "metadata.annotations: Invalid value: \"?\": name part must"),
        (json!({"finalizers": ["a"]}), "metadata.finalizers[0]: Invalid value: \"a\": name is neither"),
        (
            json!({"ownerReferences": [{"apiVersion": "v1", "kind": "Secret", "name": "a", "uid": ""}]}),
            "metadata.ownerReferences.uid: Invalid value: \"\": must not be empty",
        ),
    ] {
        let mut object = config_map("a", json!({}));
        for (field, value) in metadata.as_object().into_iter().flatten() {
            object["metadata"][field] = value.clone();
        }
        it.post(&it.core("configmaps"), &object)
            .await?
            .refused(422, "Invalid", &format!("ConfigMap \"a\" is invalid: {problem}"))?;
    }
    Ok(())
}

async fn a_body_that_is_no_such_object_is_refused(it: Remote) -> Result<()> {
    let secrets = it.core("secrets");
    let unrecognized = "the object provided is unrecognized (must be of type Secret): couldn't get version/kind";
    let raw = |kind: &'static str, body: &'static str| {
        let (it, secrets) = (it.clone(), secrets.clone());
        async move {
            let response = it.send("POST", &secrets, kind, body.into()).await?;
            let code = response.status().as_u16();
            let bytes = response.into_body().collect().await?.to_bytes();
            anyhow::Ok(Answer(code, serde_json::from_slice(&bytes)?))
        }
    };
    raw(JSON, "{").await?.refused(400, "BadRequest", unrecognized)?;
    raw(JSON, "").await?.refused(400, "BadRequest", unrecognized)?;
    raw("text/plain", "{}").await?.refused(415, "UnsupportedMediaType", "the body of the request was in an unknown format")?;
    let as_secret = "Secret in version \"v1\" cannot be handled as a Secret";
    for body in [r#"{"metadata":{"name":"a"},"data":{"a":"***"}}"#, r#"{"metadata":{"name":"a"},"data":{"a":1}}"#] {
        raw(JSON, body).await?.refused(400, "BadRequest", as_secret)?;
    }
    it.post(&format!("{secrets}?fieldValidation=Strict"), &json!({"metadata": {"name": "a"}, "foo": 1}))
        .await?
        .refused(400, "BadRequest", &format!("{as_secret}: strict decoding error: unknown field \"foo\""))?;
    let elsewhere = json!({"metadata": {"name": "a", "namespace": "other"}});
    it.post(&secrets, &elsewhere)
        .await?
        .refused(400, "BadRequest", "the namespace of the provided object does not match")?;
    let mut other = task("a");
    other["apiVersion"] = json!("tekton.dev/v2");
    it.post(&it.tekton("tasks"), &other)
        .await?
        .refused(400, "BadRequest", "the API version in the data (tekton.dev/v2) does not match")
}

async fn an_object_needs_its_namespace(it: Remote) -> Result<()> {
    let missing = format!("{}-not", it.namespace);
    let message = format!("namespaces \"{missing}\" not found");
    it.post(&format!("/api/v1/namespaces/{missing}/secrets"), &secret("a", json!({})))
        .await?
        .refused(404, "NotFound", &message)?;
    let path = format!("/api/v1/namespaces/{missing}/secrets/a?fieldManager=m");
    it.patch(&path, APPLY, &secret("a", json!({}))).await?.refused(404, "NotFound", &message)?;
    let list = it.get(&format!("/api/v1/namespaces/{missing}/secrets")).await?.expect(200)?;
    same(names(&list), vec![])
}

async fn secrets_keep_their_rules(it: Remote) -> Result<()> {
    let secrets = it.core("secrets");
    let object = json!({"metadata": {"name": "a"}, "data": {"k": "eA==", "l": ""}, "stringData": {"k": "y"}});
    let created = it.post(&secrets, &object).await?.expect(201)?;
    same(&created["data"], &json!({"k": "eQ==", "l": ""}))?;
    same((&created["type"], &created["stringData"]), (&json!("Opaque"), &Value::Null))?;

    let big = "x".repeat(1024 * 1024);
    it.post(&secrets, &secret("largest", json!({ "k": big }))).await?.expect(201)?;
    it.post(&secrets, &secret("b", json!({"k": big, "l": "x"})))
        .await?
        .refused(422, "Invalid", "Secret \"b\" is invalid: data: Too long: may not be more than 1048576 bytes")?;
    it.post(&secrets, &secret("b", json!({"a b": ""})))
        .await?
        .refused(422, "Invalid", "Secret \"b\" is invalid: data[a b]: Invalid value: \"a b\": a valid config key must")?;
    it.post(&secrets, &secret("b", json!({"..": ""})))
        .await?
        .refused(422, "Invalid", "Secret \"b\" is invalid: data[..]: Invalid value: \"..\": must not be '..'")?;
    let typed = json!({"metadata": {"name": "b"}, "type": "kubernetes.io/tls"});
    it.post(&secrets, &typed)
        .await?
        .refused(422, "Invalid", "Secret \"b\" is invalid: [data[tls.crt]: Required value, data[tls.key]: Required value]")?;
    it.patch(&format!("{secrets}/a"), MERGE, &json!({"type": "x/y"}))
        .await?
        .refused(422, "Invalid", "Secret \"a\" is invalid: type: Invalid value: \"x/y\": field is immutable")?;

    it.patch(&format!("{secrets}/a"), MERGE, &json!({"immutable": true})).await?.expect(200)?;
    for patch in [json!({"data": {"k": "eA=="}}), json!({"immutable": null})] {
        it.patch(&format!("{secrets}/a"), MERGE, &patch).await?.refused(422, "Invalid", "Secret \"a\" is invalid: ")?;
    }
    it.patch(&format!("{secrets}/a"), MERGE, &json!({"metadata": {"labels": {"x": "y"}}})).await?.expect(200)?;
    Ok(())
}

async fn an_update_needs_the_current_version(it: Remote) -> Result<()> {
    let tasks = it.tekton("tasks");
    let path = format!("{tasks}/a");
    let mut object = it.post(&tasks, &task("a")).await?.expect(201)?;
    let stale = object.clone();
    object["spec"]["description"] = json!("new");
    object = it.put(&path, &object).await?.expect(200)?;
    it.put(&path, &stale).await?.refused(
        409,
        "Conflict",
        "Operation cannot be fulfilled on tasks.tekton.dev \"a\": the object has been modified; please apply your changes",
    )?;
    it.put(&path, &task("a")).await?.refused(
        422,
        "Invalid",
        "tasks.tekton.dev \"a\" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update",
    )?;
    let again = it.put(&path, &object).await?.expect(200)?;
    same(version(&again), version(&object))?;
    object["metadata"]["uid"] = json!("00000000-0000-0000-0000-000000000000");
    it.put(&path, &object).await?.refused(409, "Conflict", "Operation cannot be fulfilled on tasks.tekton.dev \"a\": ")?;
    it.put(&format!("{tasks}/b"), &object).await?.refused(400, "BadRequest", "the name of the object (a) does not match")?;
    let mut missing = stale;
    missing["metadata"]["name"] = json!("b");
    it.put(&format!("{tasks}/b"), &missing).await?.refused(404, "NotFound", "tasks.tekton.dev \"b\" not found")?;
    // Built-in kinds may be replaced unseen.
    it.post(&it.core("configmaps"), &config_map("a", json!({"k": "1"}))).await?.expect(201)?;
    let replaced = it.put(&it.config_map("a"), &config_map("a", json!({"k": "2"}))).await?.expect(200)?;
    same(&replaced["data"], &json!({"k": "2"}))
}

async fn many_writers_lose_no_update(it: Remote) -> Result<()> {
    it.post(&it.core("configmaps"), &config_map("a", json!({"n": "0"}))).await?.expect(201)?;
    let count = async |it: &Remote| -> Result<()> {
        loop {
            let mut object = it.get(&it.config_map("a")).await?.expect(200)?;
            let n: u32 = object["data"]["n"].as_str().unwrap_or_default().parse()?;
            object["data"]["n"] = json!((n + 1).to_string());
            match it.put(&it.config_map("a"), &object).await? {
                Answer(200, _) => return Ok(()),
                conflict => conflict.refused(409, "Conflict", "Operation cannot be fulfilled on configmaps \"a\": ")?,
            }
        }
    };
    for result in join_all((0..8).map(|_| count(&it))).await {
        result?;
    }
    let object = it.get(&it.config_map("a")).await?.expect(200)?;
    same(&object["data"]["n"], &json!("8"))
}

async fn the_generation_counts_changes_of_the_spec(it: Remote) -> Result<()> {
    let path = format!("{}/a", it.tekton("tasks"));
    it.post(&it.tekton("tasks"), &task("a")).await?.expect(201)?;
    for (patch, generation) in [
        (json!({"metadata": {"labels": {"x": "y"}}}), 1),
        (json!({"spec": {"description": "d"}}), 2),
        (json!({"spec": {"description": "d"}}), 2),
        (json!({"metadata": {"generation": 9}}), 2),
    ] {
        let object = it.patch(&path, MERGE, &patch).await?.expect(200)?;
        same(&object["metadata"]["generation"], &json!(generation))?;
    }
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

async fn the_status_is_written_apart(it: Remote) -> Result<()> {
    let path = format!("{}/r", it.tekton("pipelineruns"));
    let mut run = pending("r");
    run["status"] = json!({"startTime": "2026-01-01T00:00:00Z"});
    let created = it.post(&it.tekton("pipelineruns"), &run).await?.expect(201)?;
    ensure!(created["status"]["startTime"].is_null(), "{created}");
    let patch = json!({"spec": {"timeouts": {"pipeline": "2h"}}, "status": {"results": [{"name": "x", "value": "y"}]}});
    let patched = it.patch(&path, MERGE, &patch).await?.expect(200)?;
    ensure!(patched["status"]["results"].is_null(), "{patched}");
    let patched = it.patch(&format!("{path}/status"), MERGE, &patch).await?.expect(200)?;
    same(&patched["status"]["results"][0]["value"], &json!("y"))?;
    let stored = it.get(&path).await?.expect(200)?;
    same(&stored["status"]["results"][0]["value"], &json!("y"))?;
    same(&stored["spec"]["status"], &json!("PipelineRunPending"))
}

async fn a_json_patch_tests_before_it_changes(it: Remote) -> Result<()> {
    let path = it.config_map("a");
    let object = it.post(&it.core("configmaps"), &config_map("a", json!({"k": "1", "l": "2"}))).await?.expect(201)?;
    for patch in [
        json!([{"op": "test", "path": "/data/k", "value": "9"}, {"op": "remove", "path": "/data/l"}]),
        json!([{"op": "remove", "path": "/data/l"}, {"op": "test", "path": "/metadata/uid", "value": "other"}]),
        json!([{"op": "remove", "path": "/data/none"}]),
        json!([{"op": "add", "path": "/none/k", "value": "1"}]),
        json!([{"op": "none", "path": "/data/k"}]),
    ] {
        it.patch(&path, JSON_PATCH, &patch).await?.refused(422, "Invalid", "the server rejected our request")?;
    }
    same(it.get(&path).await?.expect(200)?, object.clone())?;
    let patch = json!([
        {"op": "test", "path": "/metadata/uid", "value": object["metadata"]["uid"]},
        {"op": "test", "path": "/data/k", "value": "1"},
        {"op": "remove", "path": "/data/l"},
        {"op": "add", "path": "/metadata/labels", "value": {"hookrun.dev/x": "y"}},
        {"op": "replace", "path": "/metadata/labels/hookrun.dev~1x", "value": "z"},
    ]);
    let patched = it.patch(&path, JSON_PATCH, &patch).await?.expect(200)?;
    same(&patched["data"], &json!({"k": "1"}))?;
    same(&patched["metadata"]["labels"], &json!({"hookrun.dev/x": "z"}))?;
    let stale = json!([{"op": "replace", "path": "/metadata/resourceVersion", "value": version(&object)}]);
    it.patch(&path, JSON_PATCH, &stale).await?.refused(409, "Conflict", "Operation cannot be fulfilled on configmaps \"a\": the object has been modified")?;
    it.patch(&path, JSON_PATCH, &json!({})).await?.refused(400, "BadRequest", "error decoding patch: ")?;
    it.patch(&it.config_map("b"), JSON_PATCH, &json!([])).await?.refused(404, "NotFound", "configmaps \"b\" not found")
}

async fn a_merge_patch_removes_by_null(it: Remote) -> Result<()> {
    let path = it.config_map("a");
    let object = it.post(&it.core("configmaps"), &config_map("a", json!({"k": "1", "l": "2"}))).await?.expect(201)?;
    let patched = it.patch(&path, MERGE, &json!({"data": {"k": null, "m": "3"}})).await?.expect(200)?;
    same(&patched["data"], &json!({"l": "2", "m": "3"}))?;
    let again = it.patch(&path, MERGE, &json!({"data": {"m": "3"}})).await?.expect(200)?;
    same(again, patched)?;
    it.patch(&path, MERGE, &json!({"metadata": {"resourceVersion": version(&object)}, "data": {"k": "4"}}))
        .await?
        .refused(409, "Conflict", "Operation cannot be fulfilled on configmaps \"a\": the object has been modified")?;
    it.patch(&path, MERGE, &json!({"metadata": {"uid": "other"}}))
        .await?
        .refused(422, "Invalid", "ConfigMap \"a\" is invalid: metadata.uid: Invalid value: \"other\": field is immutable")?;
    it.patch(&path, MERGE, &json!({"metadata": {"name": "b"}}))
        .await?
        .refused(400, "BadRequest", "the name of the object (b) does not match the name on the URL (a)")?;
    it.patch(&path, MERGE, &json!({"data": {"k": 1}})).await?.refused(422, "Invalid", "")
}

async fn a_strategic_patch_is_for_built_in_kinds(it: Remote) -> Result<()> {
    let path = it.config_map("a");
    it.post(&it.core("configmaps"), &config_map("a", json!({"k": "1"}))).await?.expect(201)?;
    let patch = json!({"data": {"l": "2", "k": null}, "metadata": {"finalizers": ["a.b/1", "a.b/2"]}});
    let patched = it.patch(&path, STRATEGIC, &patch).await?.expect(200)?;
    same(&patched["data"], &json!({"l": "2"}))?;
    let patch = json!({"metadata": {"finalizers": ["a.b/3"], "$deleteFromPrimitiveList/finalizers": ["a.b/1"]}});
    let patched = it.patch(&path, STRATEGIC, &patch).await?.expect(200)?;
    let mut finalizers: Vec<&str> = patched["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    finalizers.sort_unstable();
    same(finalizers, vec!["a.b/2", "a.b/3"])?;
    it.patch(&path, MERGE, &json!({"metadata": {"finalizers": null}})).await?.expect(200)?;
    it.post(&it.tekton("tasks"), &task("a")).await?.expect(201)?;
    it.patch(&format!("{}/a", it.tekton("tasks")), STRATEGIC, &json!({}))
        .await?
        .refused(415, "UnsupportedMediaType", "the body of the request was in an unknown format - accepted media types include: application/json-patch+json")
}

async fn apply_creates_and_repeats_without_a_change(it: Remote) -> Result<()> {
    let created = it.apply("m1", "a", json!({"k": "1"})).await?.expect(201)?;
    let entry = &created["metadata"]["managedFields"][0];
    same(
        (&entry["manager"], &entry["operation"], &entry["fieldsV1"]),
        (&json!("m1"), &json!("Apply"), &json!({"f:data": {"f:k": {}}})),
    )?;
    let again = it.apply("m1", "a", json!({"k": "1"})).await?.expect(200)?;
    same(version(&again), version(&created))?;
    let changed = it.apply("m1", "a", json!({"k": "2"})).await?.expect(200)?;
    ensure!(version(&changed) != version(&created));
    same(&changed["data"], &json!({"k": "2"}))
}

async fn apply_prunes_what_nobody_applies_any_more(it: Remote) -> Result<()> {
    it.apply("m1", "a", json!({"k": "1", "l": "2"})).await?.expect(201)?;
    it.apply("m2", "a", json!({"k": "1", "m": "3"})).await?.expect(200)?;
    let object = it.apply("m1", "a", json!({})).await?.expect(200)?;
    same(&object["data"], &json!({"k": "1", "m": "3"}))?;
    let object = it.apply("m2", "a", json!({"m": "3"})).await?.expect(200)?;
    same(&object["data"], &json!({"m": "3"}))?;

    let path = format!("{}/s?fieldManager=m1", it.core("secrets"));
    let applied = |data: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": data});
    it.patch(&path, APPLY, &applied(json!({"k": "MQ==", "l": "Mg=="}))).await?.expect(201)?;
    let object = it.patch(&path, APPLY, &applied(json!({"k": "MQ=="}))).await?.expect(200)?;
    same(&object["data"], &json!({"k": "MQ=="}))
}

async fn apply_refuses_what_others_own(it: Remote) -> Result<()> {
    it.apply("m1", "a", json!({"k": "1", "l": "2"})).await?.expect(201)?;
    let Answer(code, status) = it.apply("m2", "a", json!({"k": "x"})).await?;
    same(
        &status["details"]["causes"],
        &json!([{"reason": "FieldManagerConflict", "message": "conflict with \"m1\"", "field": ".data.k"}]),
    )?;
    Answer(code, status).refused(409, "Conflict", "Apply failed with 1 conflict: conflict with \"m1\": .data.k")?;
    it.apply("m2", "a", json!({"k": "x", "l": "y"}))
        .await?
        .refused(409, "Conflict", "Apply failed with 2 conflicts: conflicts with \"m1\":\n- .data.k\n- .data.l")?;
    it.patch(&format!("{}?fieldManager=editor", it.config_map("a")), MERGE, &json!({"data": {"k": "3"}})).await?.expect(200)?;
    it.apply("m2", "a", json!({"k": "x"}))
        .await?
        .refused(409, "Conflict", "Apply failed with 1 conflict: conflict with \"editor\" using v1: .data.k")?;
    // The same value is no conflict: both own it then.
    it.apply("m2", "a", json!({"k": "3"})).await?.expect(200)?;
    Ok(())
}

async fn apply_by_force_takes_over(it: Remote) -> Result<()> {
    // An object that another system wrote without apply, as the original of a flow's Secret.
    let path = format!("{}/s", it.core("secrets"));
    it.post(&format!("{}?fieldManager=artisan-runner", it.core("secrets")), &secret("s", json!({"k": "1", "l": "2"}))).await?.expect(201)?;
    let wanted = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"k": "OQ=="}});
    it.patch(&format!("{path}?fieldManager=hookrun"), APPLY, &wanted)
        .await?
        .refused(409, "Conflict", "Apply failed with 1 conflict: conflict with \"artisan-runner\" using v1: .data.k")?;
    let taken = it.patch(&format!("{path}?fieldManager=hookrun&force=true"), APPLY, &wanted).await?.expect(200)?;
    same(&taken["data"], &json!({"k": "OQ==", "l": "Mg=="}))?;
    let fields = |manager: &str| {
        let entries = taken["metadata"]["managedFields"].as_array().into_iter().flatten();
        entries.filter(|e| e["manager"] == manager).map(|e| e["fieldsV1"]["f:data"].clone()).collect::<Vec<_>>()
    };
    same(fields("hookrun"), vec![json!({"f:k": {}})])?;
    same(fields("artisan-runner"), vec![json!({".": {}, "f:l": {}})])
}

async fn apply_takes_lists_as_one_value(it: Remote) -> Result<()> {
    let path = format!("{}/a?fieldManager", it.tekton("tasks"));
    let created = it.patch(&format!("{path}=m1"), APPLY, &task("a")).await?.expect(201)?;
    same(
        &created["metadata"]["managedFields"][0]["fieldsV1"],
        &json!({"f:spec": {"f:steps": {}}}),
    )?;
    let again = it.patch(&format!("{path}=m1"), APPLY, &task("a")).await?.expect(200)?;
    same(version(&again), version(&created))?;
    let mut other = task("a");
    other["spec"]["steps"][0]["image"] = json!("c");
    it.patch(&format!("{path}=m2"), APPLY, &other)
        .await?
        .refused(409, "Conflict", "Apply failed with 1 conflict: conflict with \"m1\": .spec.steps")?;
    let forced = it.patch(&format!("{path}=m2&force=true"), APPLY, &other).await?.expect(200)?;
    same(&forced["spec"]["steps"][0]["image"], &json!("c"))?;
    same(&forced["metadata"]["generation"], &json!(2))
}

async fn apply_merges_owners_by_uid(it: Remote) -> Result<()> {
    let first = it.post(&it.core("configmaps"), &config_map("o1", json!({}))).await?.expect(201)?;
    let second = it.post(&it.core("configmaps"), &config_map("o2", json!({}))).await?.expect(201)?;
    let path = format!("{}/a?fieldManager", it.core("secrets"));
    let applied = |owners: &[&Value]| {
        let mut object = owned("a", owners);
        if let Some(object) = object.as_object_mut() {
            object.remove("stringData");
        }
        object
    };
    it.patch(&format!("{path}=m1"), APPLY, &applied(&[&first])).await?.expect(201)?;
    let both = it.patch(&format!("{path}=m2"), APPLY, &applied(&[&second])).await?.expect(200)?;
    same(both["metadata"]["ownerReferences"].as_array().map(Vec::len), Some(2))?;
    let one = it.patch(&format!("{path}=m1"), APPLY, &applied(&[])).await?.expect(200)?;
    same(&one["metadata"]["ownerReferences"][0]["name"], &json!("o2"))?;
    same(one["metadata"]["ownerReferences"].as_array().map(Vec::len), Some(1))
}

async fn apply_asks_for_manager_name_and_kind(it: Remote) -> Result<()> {
    let path = it.config_map("a");
    it.patch(&path, APPLY, &config_map("a", json!({})))
        .await?
        .refused(422, "Invalid", "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch")?;
    let path = format!("{path}?fieldManager=m");
    it.patch(&path, APPLY, &config_map("b", json!({})))
        .await?
        .refused(400, "BadRequest", "the name of the object (b) does not match the name on the URL (a)")?;
    it.patch(&path, APPLY, &json!({"metadata": {"name": "a"}})).await?.refused(400, "BadRequest", "invalid object type: /, Kind=")?;
    it.patch(&path, APPLY, &secret("a", json!({}))).await?.refused(400, "BadRequest", "invalid object type: /v1, Kind=Secret")?;
    let mut managed = config_map("a", json!({}));
    managed["metadata"]["managedFields"] = json!([{"manager": "x"}]);
    it.patch(&path, APPLY, &managed).await?.refused(400, "BadRequest", "metadata.managedFields must be nil")?;
    let response = it.send("PATCH", &path, APPLY, b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  k: |\n    x\n".to_vec()).await?;
    same(response.status().as_u16(), 201)
}

async fn lists_are_selected_by_labels(it: Remote) -> Result<()> {
    let all = it.core("secrets");
    for n in 1..=4 {
        let labels = json!({"n": n.to_string(), "hookrun.dev/flow": "f"});
        it.post(&all, &labelled(secret(&format!("s{n}"), json!({})), labels)).await?.expect(201)?;
    }
    it.post(&all, &secret("plain", json!({}))).await?.expect(201)?;
    for (selector, expected) in [
        ("hookrun.dev%2Fflow%3Df", vec!["s1", "s2", "s3", "s4"]),
        ("n%3D3", vec!["s3"]),
        ("n!%3D3,n", vec!["s1", "s2", "s4"]),
        ("n%20in%20(1,2)", vec!["s1", "s2"]),
        ("n%20notin%20(1,2),n", vec!["s3", "s4"]),
        ("!n", vec!["plain"]),
        ("n%3E3", vec!["s4"]),
        ("n%3D9", vec![]),
    ] {
        let list = it.get(&format!("{all}?labelSelector={selector}")).await?.expect(200)?;
        same(names(&list), expected).with_context(|| selector.to_owned())?;
    }
    for (selector, message) in [
        ("n%20in%203", "unable to parse requirement: found '3' expected: '('"),
        ("n%3D3,", "found '', expected: identifier after ','"),
    ] {
        it.get(&format!("{all}?labelSelector={selector}")).await?.refused(400, "BadRequest", message)?;
    }
    Ok(())
}

async fn lists_are_selected_by_fields(it: Remote) -> Result<()> {
    let events = it.core("events");
    for (name, about) in [("e1", "a"), ("e2", "b")] {
        let event = json!({
            "metadata": {"name": name}, "reason": "R", "message": "m", "type": "Normal",
            "involvedObject": {"kind": "Secret", "name": about, "namespace": it.namespace, "uid": about},
        });
        it.post(&events, &event).await?.expect(201)?;
    }
    for (selector, expected) in [
        ("metadata.name%3De1", vec!["e1"]),
        ("involvedObject.name%3Db,involvedObject.kind%3DSecret", vec!["e2"]),
        ("involvedObject.uid!%3Db,reason%3DR", vec!["e1"]),
    ] {
        let list = it.get(&format!("{events}?fieldSelector={selector}")).await?.expect(200)?;
        same(names(&list), expected).with_context(|| selector.to_owned())?;
    }
    let path = format!("{}?fieldSelector=spec.x%3Dy", it.tekton("tasks"));
    it.get(&path).await?.refused(400, "BadRequest", "field label not supported: spec.x")
}

async fn lists_come_in_pages(it: Remote) -> Result<()> {
    for n in 1..=5 {
        it.post(&it.tekton("tasks"), &task(&format!("t{n}"))).await?.expect(201)?;
    }
    let (mut seen, mut next) = (vec![], String::new());
    loop {
        let list = it.get(&format!("{}?limit=2&continue={next}", it.tekton("tasks"))).await?.expect(200)?;
        ensure!(names(&list).len() <= 2, "{list}");
        seen.extend(names(&list).into_iter().map(str::to_owned));
        next = list["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
        if next.is_empty() {
            break;
        }
        let remaining = &list["metadata"]["remainingItemCount"];
        same(remaining, &json!(5 - seen.len()))?;
    }
    same(seen, ["t1", "t2", "t3", "t4", "t5"].map(str::to_owned).to_vec())?;
    it.get(&format!("{}?limit=2&continue=nonsense", it.tekton("tasks")))
        .await?
        .refused(400, "BadRequest", "invalid continue token")
}

async fn a_watch_continues_a_list(it: Remote) -> Result<()> {
    let all = it.core("configmaps");
    it.post(&all, &labelled(config_map("before", json!({})), json!({"case": "watch"}))).await?.expect(201)?;
    let list = it.get(&format!("{all}?labelSelector=case")).await?.expect(200)?;
    same(names(&list), vec!["before"])?;
    let path = format!("{all}?watch=1&labelSelector=case&resourceVersion={}", version(&list));
    let watched = {
        let it = it.clone();
        tokio::spawn(async move { it.watch(&path, 3).await })
    };
    it.post(&all, &labelled(config_map("a", json!({})), json!({"case": "watch"}))).await?.expect(201)?;
    it.patch(&it.config_map("a"), MERGE, &json!({"data": {"k": "1"}})).await?.expect(200)?;
    it.delete(&it.config_map("a"), &Value::Null).await?.expect(200)?;
    let events = watched.await??;
    let kinds: Vec<&str> = events.iter().filter_map(|e| e["type"].as_str()).collect();
    same(kinds, vec!["ADDED", "MODIFIED", "DELETED"])?;
    let last = &events[2]["object"];
    same(&last["data"]["k"], &json!("1"))?;
    let versions: Vec<u64> = events.iter().map(|e| version(&e["object"]).parse()).collect::<Result<_, _>>()?;
    ensure!(versions.is_sorted(), "{versions:?}");
    ensure!(versions[1] < versions[2], "a deletion has a version of its own: {versions:?}");
    // The same changes again, from the past.
    let path = format!("{all}?watch=1&labelSelector=case&resourceVersion={}", version(&list));
    same(it.watch(&path, 3).await?.len(), 3)
}

async fn a_watch_follows_its_selector(it: Remote) -> Result<()> {
    let all = it.core("configmaps");
    let object = it.post(&all, &labelled(config_map("a", json!({})), json!({"on": "no"}))).await?.expect(201)?;
    let path = format!("{all}?watch=1&labelSelector=on%3Dyes&resourceVersion={}", version(&object));
    for on in ["yes", "no", "maybe", "yes"] {
        it.patch(&it.config_map("a"), MERGE, &json!({"metadata": {"labels": {"on": on}}})).await?.expect(200)?;
    }
    let events = it.watch(&path, 3).await?;
    let kinds: Vec<&str> = events.iter().filter_map(|e| e["type"].as_str()).collect();
    same(kinds, vec!["ADDED", "DELETED", "ADDED"])?;
    let path = format!("{all}?watch=1&fieldSelector=metadata.name%3Da&resourceVersion={}", version(&object));
    same(it.watch(&path, 4).await?.len(), 4)
}

async fn a_watch_may_begin_with_what_is_there(it: Remote) -> Result<()> {
    let all = it.core("secrets");
    it.post(&all, &labelled(secret("a", json!({})), json!({"case": "initial"}))).await?.expect(201)?;
    let path = format!("{all}?watch=1&labelSelector=case");
    let events = it.watch(&path, 1).await?;
    same((&events[0]["type"], &events[0]["object"]["metadata"]["name"]), (&json!("ADDED"), &json!("a")))?;
    let events = it
        .watch(&format!("{path}&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"), 2)
        .await?;
    same((&events[0]["type"], &events[1]["type"]), (&json!("ADDED"), &json!("BOOKMARK")))?;
    same(&events[1]["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], &json!("true"))?;
    // A watch ends when it is told to.
    let response = it.send("GET", &format!("{path}&timeoutSeconds=1"), JSON, vec![]).await?;
    tokio::time::timeout(LIMIT, response.into_body().collect()).await??;
    Ok(())
}

async fn a_deletion_checks_its_preconditions(it: Remote) -> Result<()> {
    let path = format!("{}/a", it.core("secrets"));
    let object = it.post(&it.core("secrets"), &secret("a", json!({}))).await?.expect(201)?;
    it.delete(&path, &json!({"preconditions": {"uid": "1"}}))
        .await?
        .refused(409, "Conflict", "Operation cannot be fulfilled on Secret \"a\": the UID in the precondition (1) does not match")?;
    it.delete(&path, &json!({"preconditions": {"resourceVersion": "1"}}))
        .await?
        .refused(409, "Conflict", "Operation cannot be fulfilled on Secret \"a\": the ResourceVersion in the precondition (1)")?;
    it.delete(&path, &json!({"propagationPolicy": "None"})).await?.refused(422, "Invalid", "DeleteOptions.meta.k8s.io")?;
    let right = json!({"preconditions": {"uid": object["metadata"]["uid"], "resourceVersion": version(&object)}});
    let status = it.delete(&path, &right).await?.expect(200)?;
    same((&status["kind"], &status["status"]), (&json!("Status"), &json!("Success")))?;
    same(&status["details"], &json!({"name": "a", "kind": "secrets", "uid": object["metadata"]["uid"]}))?;
    it.delete(&path, &Value::Null).await?.refused(404, "NotFound", "secrets \"a\" not found")
}

async fn finalizers_hold_an_object(it: Remote) -> Result<()> {
    let path = format!("{}/a", it.core("secrets"));
    let mut object = secret("a", json!({}));
    object["metadata"]["finalizers"] = json!(["suite.dev/hold"]);
    it.post(&it.core("secrets"), &object).await?.expect(201)?;
    let held = it.delete(&path, &Value::Null).await?.expect(200)?;
    ensure!(held["metadata"]["deletionTimestamp"].is_string(), "{held}");
    let again = it.delete(&path, &Value::Null).await?.expect(200)?;
    same(version(&again), version(&held))?;
    it.post(&it.core("secrets"), &object)
        .await?
        .refused(409, "AlreadyExists", "object is being deleted: secrets \"a\" already exists")?;
    it.patch(&path, MERGE, &json!({"metadata": {"finalizers": ["suite.dev/hold", "suite.dev/more"]}}))
        .await?
        .refused(422, "Invalid", "Secret \"a\" is invalid: metadata.finalizers: Forbidden: no new finalizers can be added")?;
    it.patch(&path, MERGE, &json!({"metadata": {"finalizers": null}})).await?.expect(200)?;
    it.gone(&path).await
}

async fn what_an_object_owns_goes_with_it(it: Remote) -> Result<()> {
    let run = it.post(&it.tekton("pipelineruns"), &pending("r")).await?.expect(201)?;
    it.post(&it.core("secrets"), &owned("child", &[&run])).await?.expect(201)?;
    let child = it.get(&format!("{}/child", it.core("secrets"))).await?.expect(200)?;
    it.post(&it.core("secrets"), &owned("grandchild", &[&child])).await?.expect(201)?;
    it.post(&it.core("secrets"), &secret("bystander", json!({}))).await?.expect(201)?;
    it.delete(&format!("{}/r", it.tekton("pipelineruns")), &Value::Null).await?.expect(200)?;
    it.gone(&format!("{}/child", it.core("secrets"))).await?;
    it.gone(&format!("{}/grandchild", it.core("secrets"))).await?;
    it.get(&format!("{}/bystander", it.core("secrets"))).await?.expect(200)?;
    Ok(())
}

async fn the_last_owner_counts(it: Remote) -> Result<()> {
    let one = it.post(&it.core("configmaps"), &config_map("one", json!({}))).await?.expect(201)?;
    let two = it.post(&it.core("configmaps"), &config_map("two", json!({}))).await?.expect(201)?;
    it.post(&it.core("secrets"), &owned("child", &[&one, &two])).await?.expect(201)?;
    let child = format!("{}/child", it.core("secrets"));
    it.delete(&it.config_map("one"), &Value::Null).await?.expect(200)?;
    let left = it.becomes(&child, |c| c["metadata"]["ownerReferences"].as_array().map(Vec::len) == Some(1)).await?;
    same(&left["metadata"]["ownerReferences"][0]["name"], &json!("two"))?;
    it.delete(&it.config_map("two"), &Value::Null).await?.expect(200)?;
    it.gone(&child).await
}

async fn a_foreground_deletion_waits(it: Remote) -> Result<()> {
    let owner = it.post(&it.core("configmaps"), &config_map("owner", json!({}))).await?.expect(201)?;
    let mut child = owned("child", &[&owner]);
    child["metadata"]["finalizers"] = json!(["suite.dev/hold"]);
    it.post(&it.core("secrets"), &child).await?.expect(201)?;
    let child = format!("{}/child", it.core("secrets"));
    let held = it.delete(&it.config_map("owner"), &json!({"propagationPolicy": "Foreground"})).await?.expect(200)?;
    same(&held["metadata"]["finalizers"], &json!(["foregroundDeletion"]))?;
    it.becomes(&child, |c| c["metadata"]["deletionTimestamp"].is_string()).await?;
    it.get(&it.config_map("owner")).await?.expect(200)?;
    it.patch(&child, MERGE, &json!({"metadata": {"finalizers": null}})).await?.expect(200)?;
    it.gone(&child).await?;
    it.gone(&it.config_map("owner")).await
}

async fn an_orphan_stays(it: Remote) -> Result<()> {
    let owner = it.post(&it.core("configmaps"), &config_map("owner", json!({}))).await?.expect(201)?;
    it.post(&it.core("secrets"), &owned("child", &[&owner])).await?.expect(201)?;
    it.delete(&it.config_map("owner"), &json!({"propagationPolicy": "Orphan"})).await?.expect(200)?;
    it.gone(&it.config_map("owner")).await?;
    let child = it.get(&format!("{}/child", it.core("secrets"))).await?.expect(200)?;
    same(&child["metadata"]["ownerReferences"], &Value::Null)
}

async fn an_object_without_any_owner_left_goes(it: Remote) -> Result<()> {
    let mut never = config_map("never", json!({}));
    never["metadata"]["uid"] = json!("00000000-0000-4000-8000-000000000000");
    it.post(&it.core("secrets"), &owned("child", &[&never])).await?.expect(201)?;
    it.gone(&format!("{}/child", it.core("secrets"))).await
}

async fn a_namespace_goes_with_its_contents(it: Remote) -> Result<()> {
    let name = format!("{}-short-lived", it.namespace);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let created = it.post("/api/v1/namespaces", &namespace).await?.expect(201)?;
    same(&created["metadata"]["labels"]["kubernetes.io/metadata.name"], &json!(name))?;
    same(&created["status"]["phase"], &json!("Active"))?;
    let path = format!("/api/v1/namespaces/{name}");
    let mut held = secret("a", json!({}));
    held["metadata"]["finalizers"] = json!(["suite.dev/hold"]);
    it.post(&format!("{path}/secrets"), &held).await?.expect(201)?;
    let deleting = it.delete(&path, &Value::Null).await?.expect(200)?;
    same(&deleting["status"]["phase"], &json!("Terminating"))?;
    it.post(&format!("{path}/secrets"), &secret("late", json!({})))
        .await?
        .refused(403, "Forbidden", &format!("secrets \"late\" is forbidden: unable to create new content in namespace {name} because it is being terminated"))?;
    it.becomes(&format!("{path}/secrets/a"), |s| s["metadata"]["deletionTimestamp"].is_string()).await?;
    it.patch(&format!("{path}/secrets/a"), MERGE, &json!({"metadata": {"finalizers": null}})).await?.expect(200)?;
    it.gone(&path).await?;
    it.delete("/api/v1/namespaces/default", &Value::Null)
        .await?
        .refused(403, "Forbidden", "namespaces \"default\" is forbidden: this namespace may not be deleted")
}

async fn view(it: &Remote, path: &str, accept: &str) -> Result<Value> {
    let request = http::Request::get(path).header(http::header::ACCEPT, accept).body(Body::empty())?;
    let response = it.client.send(request).await?;
    same(response.status().as_u16(), 200)?;
    Ok(serde_json::from_slice(&response.into_body().collect().await?.to_bytes())?)
}

async fn tables_have_the_columns_of_their_kind(it: Remote) -> Result<()> {
    const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    it.post(&it.core("secrets"), &secret("a", json!({"k": "1", "l": "2"}))).await?.expect(201)?;
    it.post(&it.tekton("pipelineruns"), &pending("r")).await?.expect(201)?;
    let status = json!({"status": {"conditions": [{"type": "Succeeded", "status": "False", "reason": "Suite"}]}});
    it.patch(&format!("{}/r/status", it.tekton("pipelineruns")), MERGE, &status).await?.expect(200)?;
    for (path, columns) in [
        (it.core("secrets"), vec!["Name", "Type", "Data", "Age"]),
        (it.core("configmaps"), vec!["Name", "Data", "Age"]),
        (it.core("serviceaccounts"), vec!["Name", "Age"]),
        (
            it.core("events"),
            vec!["Last Seen", "Type", "Reason", "Object", "Subobject", "Source", "Message", "First Seen", "Count", "Name"],
        ),
        (it.tekton("tasks"), vec!["Name", "Age"]),
        (it.tekton("pipelines"), vec!["Name", "Age"]),
        (it.tekton("taskruns"), vec!["Name", "Succeeded", "Reason", "StartTime", "CompletionTime"]),
        (it.tekton("pipelineruns"), vec!["Name", "Succeeded", "Reason", "StartTime", "CompletionTime"]),
        ("/api/v1/namespaces".to_owned(), vec!["Name", "Status", "Age"]),
    ] {
        let table = view(&it, &path, TABLE).await?;
        let names: Vec<&str> = table["columnDefinitions"].as_array().into_iter().flatten().filter_map(|c| c["name"].as_str()).collect();
        same(names, columns).with_context(|| path.clone())?;
    }
    let table = view(&it, &format!("{}/a", it.core("secrets")), TABLE).await?;
    let cells = table["rows"][0]["cells"].as_array().context("no cells")?;
    same(&cells[..3], &[json!("a"), json!("Opaque"), json!(2)])?;
    let table = view(&it, &format!("{}/r", it.tekton("pipelineruns")), TABLE).await?;
    let row = &table["rows"][0];
    same(&row["cells"][1], &json!("False"))?;
    same(&row["cells"][2], &json!("Suite"))?;
    same(&row["object"]["kind"], &json!("PartialObjectMetadata"))
}

async fn metadata_can_be_had_alone(it: Remote) -> Result<()> {
    it.post(&it.core("secrets"), &secret("a", json!({"k": "1"}))).await?.expect(201)?;
    let one = view(&it, &format!("{}/a", it.core("secrets")), "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io").await?;
    same((&one["kind"], &one["data"]), (&json!("PartialObjectMetadata"), &Value::Null))?;
    let list = view(&it, &it.core("secrets"), "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io").await?;
    same(&list["kind"], &json!("PartialObjectMetadataList"))?;
    same(names(&list), vec!["a"])
}

async fn discovery_finds_the_kinds(it: Remote) -> Result<()> {
    let version = it.client.apiserver_version().await?;
    same(version.major, "1".to_owned())?;
    let discovery = kube::Discovery::new(it.client.clone()).filter(&["tekton.dev"]).run().await?;
    let (resource, capabilities) = discovery
        .resolve_gvk(&kube::core::GroupVersionKind::gvk("tekton.dev", "v1", "PipelineRun"))
        .context("PipelineRun is not found")?;
    same(resource.plural, "pipelineruns".to_owned())?;
    same(capabilities.scope, kube::discovery::Scope::Namespaced)?;
    let core = it.client.list_core_api_resources("v1").await?;
    for (name, namespaced) in [("secrets", true), ("configmaps", true), ("events", true), ("serviceaccounts", true), ("namespaces", false)] {
        let found = core.resources.iter().find(|r| r.name == name).with_context(|| name.to_owned())?;
        same(found.namespaced, namespaced)?;
    }
    let tekton = it.get("/apis/tekton.dev/v1").await?.expect(200)?;
    let run = tekton["resources"].as_array().into_iter().flatten().find(|r| r["name"] == "pipelineruns").context("no pipelineruns")?;
    same(&run["shortNames"], &json!(["pr", "prs"]))?;
    same(&run["categories"], &json!(["tekton", "tekton-pipelines"]))
}

/// What our own code does to start a run that owns something.
async fn a_pending_run_gets_what_it_owns_and_starts(it: Remote) -> Result<()> {
    let runs = it.tekton("pipelineruns");
    let run = it.post(&format!("{runs}?fieldManager=hookrun"), &pending("r")).await?.expect(201)?;
    it.post(&it.core("secrets"), &owned("r-context-secret", &[&run])).await?.expect(201)?;
    let path = format!("{runs}/r");
    let clear = json!([
        {"op": "test", "path": "/metadata/uid", "value": run["metadata"]["uid"]},
        {"op": "test", "path": "/spec/status", "value": "PipelineRunPending"},
        {"op": "remove", "path": "/spec/status"},
    ]);
    let started = it.patch(&path, JSON_PATCH, &clear).await?.expect(200)?;
    same(&started["spec"]["status"], &Value::Null)?;
    it.patch(&path, JSON_PATCH, &clear).await?.refused(422, "Invalid", "the server rejected our request")?;
    it.delete(&path, &Value::Null).await?.expect(200)?;
    it.gone(&path).await?;
    it.gone(&format!("{}/r-context-secret", it.core("secrets"))).await
}
