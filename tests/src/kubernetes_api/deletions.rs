//! Deletions: preconditions, finalizers, owners, namespaces.

use super::{JSON_PATCH, MERGE, Remote, config_map, owned, pending, same, secret, version};
use anyhow::{Result, ensure};
use serde_json::{Value, json};

pub(super) async fn a_deletion_checks_its_preconditions(it: Remote) -> Result<()> {
    let path = format!("{}/a", it.core("secrets"));
    let object = it
        .post(&it.core("secrets"), &secret("a", json!({})))
        .await?
        .expect(201)?;
    it.delete(&path, &json!({"preconditions": {"uid": "1"}}))
        .await?
        .refused(409, "Conflict", "Operation cannot be fulfilled on Secret \"a\": the UID in the precondition (1) does not match")?;
    it.delete(&path, &json!({"preconditions": {"resourceVersion": "1"}}))
        .await?
        .refused(409, "Conflict", "Operation cannot be fulfilled on Secret \"a\": the ResourceVersion in the precondition (1)")?;
    it.delete(&path, &json!({"propagationPolicy": "None"}))
        .await?
        .refused(422, "Invalid", "DeleteOptions.meta.k8s.io")?;
    let right = json!({"preconditions": {"uid": object["metadata"]["uid"], "resourceVersion": version(&object)}});
    let status = it.delete(&path, &right).await?.expect(200)?;
    same(
        (&status["kind"], &status["status"]),
        (&json!("Status"), &json!("Success")),
    )?;
    same(
        &status["details"],
        &json!({"name": "a", "kind": "secrets", "uid": object["metadata"]["uid"]}),
    )?;
    it.delete(&path, &Value::Null)
        .await?
        .refused(404, "NotFound", "secrets \"a\" not found")
}

pub(super) async fn finalizers_hold_an_object(it: Remote) -> Result<()> {
    let path = format!("{}/a", it.core("secrets"));
    let mut object = secret("a", json!({}));
    object["metadata"]["finalizers"] = json!(["suite.dev/hold"]);
    it.post(&it.core("secrets"), &object).await?.expect(201)?;
    let held = it.delete(&path, &Value::Null).await?.expect(200)?;
    ensure!(held["metadata"]["deletionTimestamp"].is_string(), "{held}");
    let again = it.delete(&path, &Value::Null).await?.expect(200)?;
    same(version(&again), version(&held))?;
    it.post(&it.core("secrets"), &object).await?.refused(
        409,
        "AlreadyExists",
        "object is being deleted: secrets \"a\" already exists",
    )?;
    it.patch(
        &path,
        MERGE,
        &json!({"metadata": {"finalizers": ["suite.dev/hold", "suite.dev/more"]}}),
    )
    .await?
    .refused(
        422,
        "Invalid",
        "Secret \"a\" is invalid: metadata.finalizers: Forbidden: no new finalizers can be added",
    )?;
    it.patch(&path, MERGE, &json!({"metadata": {"finalizers": null}}))
        .await?
        .expect(200)?;
    it.gone(&path).await
}

pub(super) async fn what_an_object_owns_goes_with_it(it: Remote) -> Result<()> {
    let run = it
        .post(&it.tekton("pipelineruns"), &pending("r"))
        .await?
        .expect(201)?;
    it.post(&it.core("secrets"), &owned("child", &[&run]))
        .await?
        .expect(201)?;
    let child = it
        .get(&format!("{}/child", it.core("secrets")))
        .await?
        .expect(200)?;
    it.post(&it.core("secrets"), &owned("grandchild", &[&child]))
        .await?
        .expect(201)?;
    it.post(&it.core("secrets"), &secret("bystander", json!({})))
        .await?
        .expect(201)?;
    it.delete(&format!("{}/r", it.tekton("pipelineruns")), &Value::Null)
        .await?
        .expect(200)?;
    it.gone(&format!("{}/child", it.core("secrets"))).await?;
    it.gone(&format!("{}/grandchild", it.core("secrets")))
        .await?;
    it.get(&format!("{}/bystander", it.core("secrets")))
        .await?
        .expect(200)?;
    Ok(())
}

pub(super) async fn the_last_owner_counts(it: Remote) -> Result<()> {
    let one = it
        .post(&it.core("configmaps"), &config_map("one", json!({})))
        .await?
        .expect(201)?;
    let two = it
        .post(&it.core("configmaps"), &config_map("two", json!({})))
        .await?
        .expect(201)?;
    it.post(&it.core("secrets"), &owned("child", &[&one, &two]))
        .await?
        .expect(201)?;
    let child = format!("{}/child", it.core("secrets"));
    it.delete(&it.config_map("one"), &Value::Null)
        .await?
        .expect(200)?;
    let left = it
        .becomes(&child, |c| {
            c["metadata"]["ownerReferences"].as_array().map(Vec::len) == Some(1)
        })
        .await?;
    same(
        &left["metadata"]["ownerReferences"][0]["name"],
        &json!("two"),
    )?;
    it.delete(&it.config_map("two"), &Value::Null)
        .await?
        .expect(200)?;
    it.gone(&child).await
}

/// Waits until the garbage collector of the real API knows every Secret that was created so far: it hears of Secrets in their
/// order, and takes away one that nobody owns any more.
async fn collector_keeps_up(it: &Remote) -> Result<()> {
    let mut never = config_map("never", json!({}));
    never["metadata"]["uid"] = json!("00000000-0000-4000-8000-000000000000");
    it.post(&it.core("secrets"), &owned("marker", &[&never]))
        .await?
        .expect(201)?;
    it.gone(&format!("{}/marker", it.core("secrets"))).await
}

pub(super) async fn a_foreground_deletion_waits(it: Remote) -> Result<()> {
    let owner = it
        .post(&it.core("configmaps"), &config_map("owner", json!({})))
        .await?
        .expect(201)?;
    let mut child = owned("child", &[&owner]);
    child["metadata"]["finalizers"] = json!(["suite.dev/hold"]);
    it.post(&it.core("secrets"), &child).await?.expect(201)?;
    collector_keeps_up(&it).await?;
    let child = format!("{}/child", it.core("secrets"));
    let held = it
        .delete(
            &it.config_map("owner"),
            &json!({"propagationPolicy": "Foreground"}),
        )
        .await?
        .expect(200)?;
    same(
        &held["metadata"]["finalizers"],
        &json!(["foregroundDeletion"]),
    )?;
    it.becomes(&child, |c| c["metadata"]["deletionTimestamp"].is_string())
        .await?;
    it.get(&it.config_map("owner")).await?.expect(200)?;
    it.patch(&child, MERGE, &json!({"metadata": {"finalizers": null}}))
        .await?
        .expect(200)?;
    it.gone(&child).await?;
    it.gone(&it.config_map("owner")).await
}

pub(super) async fn an_orphan_stays(it: Remote) -> Result<()> {
    let owner = it
        .post(&it.core("configmaps"), &config_map("owner", json!({})))
        .await?
        .expect(201)?;
    it.post(&it.core("secrets"), &owned("child", &[&owner]))
        .await?
        .expect(201)?;
    collector_keeps_up(&it).await?;
    it.delete(
        &it.config_map("owner"),
        &json!({"propagationPolicy": "Orphan"}),
    )
    .await?
    .expect(200)?;
    it.gone(&it.config_map("owner")).await?;
    let child = it
        .get(&format!("{}/child", it.core("secrets")))
        .await?
        .expect(200)?;
    same(&child["metadata"]["ownerReferences"], &Value::Null)
}

pub(super) async fn an_object_without_any_owner_left_goes(it: Remote) -> Result<()> {
    let mut never = config_map("never", json!({}));
    never["metadata"]["uid"] = json!("00000000-0000-4000-8000-000000000000");
    it.post(&it.core("secrets"), &owned("child", &[&never]))
        .await?
        .expect(201)?;
    it.gone(&format!("{}/child", it.core("secrets"))).await
}

pub(super) async fn a_namespace_goes_with_its_contents(it: Remote) -> Result<()> {
    let name = format!("{}-short-lived", it.namespace);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let created = it
        .post("/api/v1/namespaces", &namespace)
        .await?
        .expect(201)?;
    same(
        &created["metadata"]["labels"]["kubernetes.io/metadata.name"],
        &json!(name),
    )?;
    same(&created["status"]["phase"], &json!("Active"))?;
    let path = format!("/api/v1/namespaces/{name}");
    let mut held = secret("a", json!({}));
    held["metadata"]["finalizers"] = json!(["suite.dev/hold"]);
    it.post(&format!("{path}/secrets"), &held)
        .await?
        .expect(201)?;
    let deleting = it.delete(&path, &Value::Null).await?.expect(200)?;
    same(&deleting["status"]["phase"], &json!("Terminating"))?;
    it.post(&format!("{path}/secrets"), &secret("late", json!({})))
        .await?
        .refused(403, "Forbidden", &format!("secrets \"late\" is forbidden: unable to create new content in namespace {name} because it is being terminated"))?;
    it.becomes(&format!("{path}/secrets/a"), |s| {
        s["metadata"]["deletionTimestamp"].is_string()
    })
    .await?;
    it.patch(
        &format!("{path}/secrets/a"),
        MERGE,
        &json!({"metadata": {"finalizers": null}}),
    )
    .await?
    .expect(200)?;
    it.gone(&path).await?;
    it.delete("/api/v1/namespaces/default", &Value::Null)
        .await?
        .refused(
            403,
            "Forbidden",
            "namespaces \"default\" is forbidden: this namespace may not be deleted",
        )
}

/// What our own code does to start a run that owns something.
pub(super) async fn a_pending_run_gets_what_it_owns_and_starts(it: Remote) -> Result<()> {
    let runs = it.tekton("pipelineruns");
    let run = it
        .post(&format!("{runs}?fieldManager=hookrun"), &pending("r"))
        .await?
        .expect(201)?;
    it.post(&it.core("secrets"), &owned("r-context-secret", &[&run]))
        .await?
        .expect(201)?;
    let path = format!("{runs}/r");
    let clear = json!([
        {"op": "test", "path": "/metadata/uid", "value": run["metadata"]["uid"]},
        {"op": "test", "path": "/spec/status", "value": "PipelineRunPending"},
        {"op": "remove", "path": "/spec/status"},
    ]);
    let started = it.patch(&path, JSON_PATCH, &clear).await?.expect(200)?;
    same(&started["spec"]["status"], &Value::Null)?;
    it.patch(&path, JSON_PATCH, &clear).await?.refused(
        422,
        "Invalid",
        "the server rejected our request",
    )?;
    it.delete(&path, &Value::Null).await?.expect(200)?;
    it.gone(&path).await?;
    it.gone(&format!("{}/r-context-secret", it.core("secrets")))
        .await
}
