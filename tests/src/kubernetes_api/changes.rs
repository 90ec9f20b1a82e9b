//! Updates and patches: optimistic locking, what counts as a change, what each kind of patch does.

use super::{
    Answer, JSON_PATCH, MERGE, Remote, STRATEGIC, config_map, same, task, unmanaged, version,
};
use anyhow::{Result, ensure};
use futures_util::future::join_all;
use serde_json::{Value, json};

pub(super) async fn an_update_needs_the_current_version(it: Remote) -> Result<()> {
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
    it.put(&path, &object).await?.refused(
        409,
        "Conflict",
        "Operation cannot be fulfilled on tasks.tekton.dev \"a\": ",
    )?;
    it.put(&format!("{tasks}/b"), &object).await?.refused(
        400,
        "BadRequest",
        "the name of the object (a) does not match",
    )?;
    let mut missing = stale;
    missing["metadata"]["name"] = json!("b");
    it.put(&format!("{tasks}/b"), &missing).await?.refused(
        404,
        "NotFound",
        "tasks.tekton.dev \"b\" not found",
    )?;
    // Built-in kinds may be replaced unseen.
    it.post(&it.core("configmaps"), &config_map("a", json!({"k": "1"})))
        .await?
        .expect(201)?;
    let replaced = it
        .put(&it.config_map("a"), &config_map("a", json!({"k": "2"})))
        .await?
        .expect(200)?;
    same(&replaced["data"], &json!({"k": "2"}))
}

pub(super) async fn many_writers_lose_no_update(it: Remote) -> Result<()> {
    it.post(&it.core("configmaps"), &config_map("a", json!({"n": "0"})))
        .await?
        .expect(201)?;
    let count = async |it: &Remote| -> Result<()> {
        loop {
            let mut object = it.get(&it.config_map("a")).await?.expect(200)?;
            let n: u32 = object["data"]["n"].as_str().unwrap_or_default().parse()?;
            object["data"]["n"] = json!((n + 1).to_string());
            match it.put(&it.config_map("a"), &object).await? {
                Answer(200, _) => return Ok(()),
                conflict => conflict.refused(
                    409,
                    "Conflict",
                    "Operation cannot be fulfilled on configmaps \"a\": ",
                )?,
            }
        }
    };
    for result in join_all((0..8).map(|_| count(&it))).await {
        result?;
    }
    let object = it.get(&it.config_map("a")).await?.expect(200)?;
    same(&object["data"]["n"], &json!("8"))
}

pub(super) async fn the_generation_counts_changes_of_the_spec(it: Remote) -> Result<()> {
    let path = format!("{}/a", it.tekton("tasks"));
    it.post(&it.tekton("tasks"), &task("a"))
        .await?
        .expect(201)?;
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

pub(super) async fn the_status_is_written_apart(it: Remote) -> Result<()> {
    let path = format!("{}/r", it.tekton("pipelineruns"));
    let mut run = unmanaged("r");
    run["status"] = json!({"startTime": "2026-01-01T00:00:00Z"});
    let created = it
        .post(&it.tekton("pipelineruns"), &run)
        .await?
        .expect(201)?;
    ensure!(created["status"]["startTime"].is_null(), "{created}");
    let patch = json!({"metadata": {"labels": {"x": "y"}}, "status": {"results": [{"name": "x", "value": "y"}]}});
    let patched = it.patch(&path, MERGE, &patch).await?.expect(200)?;
    ensure!(patched["status"]["results"].is_null(), "{patched}");
    let patched = it
        .patch(&format!("{path}/status"), MERGE, &patch)
        .await?
        .expect(200)?;
    same(&patched["status"]["results"][0]["value"], &json!("y"))?;
    let stored = it.get(&path).await?.expect(200)?;
    same(&stored["status"]["results"][0]["value"], &json!("y"))?;
    same(&stored["spec"]["status"], &json!("PipelineRunPending"))
}

pub(super) async fn a_json_patch_tests_before_it_changes(it: Remote) -> Result<()> {
    let path = it.config_map("a");
    let object = it
        .post(
            &it.core("configmaps"),
            &config_map("a", json!({"k": "1", "l": "2"})),
        )
        .await?
        .expect(201)?;
    for patch in [
        json!([{"op": "test", "path": "/data/k", "value": "9"}, {"op": "remove", "path": "/data/l"}]),
        json!([{"op": "remove", "path": "/data/l"}, {"op": "test", "path": "/metadata/uid", "value": "other"}]),
        json!([{"op": "remove", "path": "/data/none"}]),
        json!([{"op": "add", "path": "/none/k", "value": "1"}]),
        json!([{"op": "none", "path": "/data/k"}]),
    ] {
        it.patch(&path, JSON_PATCH, &patch).await?.refused(
            422,
            "Invalid",
            "the server rejected our request",
        )?;
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
    same(
        &patched["metadata"]["labels"],
        &json!({"hookrun.dev/x": "z"}),
    )?;
    let stale =
        json!([{"op": "replace", "path": "/metadata/resourceVersion", "value": version(&object)}]);
    it.patch(&path, JSON_PATCH, &stale).await?.refused(
        409,
        "Conflict",
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified",
    )?;
    it.patch(&path, JSON_PATCH, &json!({})).await?.refused(
        400,
        "BadRequest",
        "error decoding patch: ",
    )?;
    it.patch(&it.config_map("b"), JSON_PATCH, &json!([]))
        .await?
        .refused(404, "NotFound", "configmaps \"b\" not found")
}

pub(super) async fn a_merge_patch_removes_by_null(it: Remote) -> Result<()> {
    let path = it.config_map("a");
    let object = it
        .post(
            &it.core("configmaps"),
            &config_map("a", json!({"k": "1", "l": "2"})),
        )
        .await?
        .expect(201)?;
    let patched = it
        .patch(&path, MERGE, &json!({"data": {"k": null, "m": "3"}}))
        .await?
        .expect(200)?;
    same(&patched["data"], &json!({"l": "2", "m": "3"}))?;
    let again = it
        .patch(&path, MERGE, &json!({"data": {"m": "3"}}))
        .await?
        .expect(200)?;
    same(again, patched)?;
    it.patch(
        &path,
        MERGE,
        &json!({"metadata": {"resourceVersion": version(&object)}, "data": {"k": "4"}}),
    )
    .await?
    .refused(
        409,
        "Conflict",
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified",
    )?;
    it.patch(&path, MERGE, &json!({"metadata": {"uid": "other"}}))
        .await?
        .refused(422, "Invalid", "ConfigMap \"a\" is invalid: metadata.uid: Invalid value: \"other\": field is immutable")?;
    it.patch(&path, MERGE, &json!({"metadata": {"name": "b"}}))
        .await?
        .refused(
            400,
            "BadRequest",
            "the name of the object (b) does not match the name on the URL (a)",
        )?;
    it.patch(&path, MERGE, &json!({"data": {"k": 1}}))
        .await?
        .refused(422, "Invalid", "")
}

pub(super) async fn a_strategic_patch_is_for_built_in_kinds(it: Remote) -> Result<()> {
    let path = it.config_map("a");
    it.post(&it.core("configmaps"), &config_map("a", json!({"k": "1"})))
        .await?
        .expect(201)?;
    let patch =
        json!({"data": {"l": "2", "k": null}, "metadata": {"finalizers": ["a.b/1", "a.b/2"]}});
    let patched = it.patch(&path, STRATEGIC, &patch).await?.expect(200)?;
    same(&patched["data"], &json!({"l": "2"}))?;
    let patch = json!({"metadata": {"finalizers": ["a.b/3"], "$deleteFromPrimitiveList/finalizers": ["a.b/1"]}});
    let patched = it.patch(&path, STRATEGIC, &patch).await?.expect(200)?;
    let mut finalizers: Vec<&str> = patched["metadata"]["finalizers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    finalizers.sort_unstable();
    same(finalizers, vec!["a.b/2", "a.b/3"])?;
    it.patch(&path, MERGE, &json!({"metadata": {"finalizers": null}}))
        .await?
        .expect(200)?;
    it.post(&it.tekton("tasks"), &task("a"))
        .await?
        .expect(201)?;
    it.patch(&format!("{}/a", it.tekton("tasks")), STRATEGIC, &json!({}))
        .await?
        .refused(415, "UnsupportedMediaType", "the body of the request was in an unknown format - accepted media types include: application/json-patch+json")
}
