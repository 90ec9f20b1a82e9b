//! Server-side apply: who owns which field.

use super::{APPLY, Answer, MERGE, Remote, config_map, owned, same, secret, task, version};
use anyhow::{Result, ensure};
use serde_json::{Value, json};

pub(super) async fn apply_creates_and_repeats_without_a_change(it: Remote) -> Result<()> {
    let created = it.apply("m1", "a", json!({"k": "1"})).await?.expect(201)?;
    let entry = &created["metadata"]["managedFields"][0];
    same(
        (&entry["manager"], &entry["operation"], &entry["fieldsV1"]),
        (
            &json!("m1"),
            &json!("Apply"),
            &json!({"f:data": {"f:k": {}}}),
        ),
    )?;
    let again = it.apply("m1", "a", json!({"k": "1"})).await?.expect(200)?;
    same(version(&again), version(&created))?;
    let changed = it.apply("m1", "a", json!({"k": "2"})).await?.expect(200)?;
    ensure!(version(&changed) != version(&created));
    same(&changed["data"], &json!({"k": "2"}))
}

pub(super) async fn apply_prunes_what_nobody_applies_any_more(it: Remote) -> Result<()> {
    it.apply("m1", "a", json!({"k": "1", "l": "2"}))
        .await?
        .expect(201)?;
    it.apply("m2", "a", json!({"k": "1", "m": "3"}))
        .await?
        .expect(200)?;
    let object = it.apply("m1", "a", json!({})).await?.expect(200)?;
    same(&object["data"], &json!({"k": "1", "m": "3"}))?;
    let object = it.apply("m2", "a", json!({"m": "3"})).await?.expect(200)?;
    same(&object["data"], &json!({"m": "3"}))?;

    let path = format!("{}/s?fieldManager=m1", it.core("secrets"));
    let applied = |data: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": data});
    it.patch(&path, APPLY, &applied(json!({"k": "MQ==", "l": "Mg=="})))
        .await?
        .expect(201)?;
    let object = it
        .patch(&path, APPLY, &applied(json!({"k": "MQ=="})))
        .await?
        .expect(200)?;
    same(&object["data"], &json!({"k": "MQ=="}))
}

pub(super) async fn apply_refuses_what_others_own(it: Remote) -> Result<()> {
    it.apply("m1", "a", json!({"k": "1", "l": "2"}))
        .await?
        .expect(201)?;
    let Answer(code, status) = it.apply("m2", "a", json!({"k": "x"})).await?;
    same(
        &status["details"]["causes"],
        &json!([{"reason": "FieldManagerConflict", "message": "conflict with \"m1\"", "field": ".data.k"}]),
    )?;
    Answer(code, status).refused(
        409,
        "Conflict",
        "Apply failed with 1 conflict: conflict with \"m1\": .data.k",
    )?;
    it.apply("m2", "a", json!({"k": "x", "l": "y"}))
        .await?
        .refused(
            409,
            "Conflict",
            "Apply failed with 2 conflicts: conflicts with \"m1\":\n- .data.k\n- .data.l",
        )?;
    it.patch(
        &format!("{}?fieldManager=editor", it.config_map("a")),
        MERGE,
        &json!({"data": {"k": "3"}}),
    )
    .await?
    .expect(200)?;
    it.apply("m2", "a", json!({"k": "x"})).await?.refused(
        409,
        "Conflict",
        "Apply failed with 1 conflict: conflict with \"editor\" using v1: .data.k",
    )?;
    // The same value is no conflict: both own it then.
    it.apply("m2", "a", json!({"k": "3"})).await?.expect(200)?;
    Ok(())
}

pub(super) async fn apply_by_force_takes_over(it: Remote) -> Result<()> {
    // An object that another system wrote without apply, as the original of a flow's Secret.
    let path = format!("{}/s", it.core("secrets"));
    it.post(
        &format!("{}?fieldManager=artisan-runner", it.core("secrets")),
        &secret("s", json!({"k": "1", "l": "2"})),
    )
    .await?
    .expect(201)?;
    let wanted = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"k": "OQ=="}});
    it.patch(&format!("{path}?fieldManager=hookrun"), APPLY, &wanted)
        .await?
        .refused(
            409,
            "Conflict",
            "Apply failed with 1 conflict: conflict with \"artisan-runner\" using v1: .data.k",
        )?;
    let taken = it
        .patch(
            &format!("{path}?fieldManager=hookrun&force=true"),
            APPLY,
            &wanted,
        )
        .await?
        .expect(200)?;
    same(&taken["data"], &json!({"k": "OQ==", "l": "Mg=="}))?;
    let fields = |manager: &str| {
        let entries = taken["metadata"]["managedFields"]
            .as_array()
            .into_iter()
            .flatten();
        entries
            .filter(|e| e["manager"] == manager)
            .map(|e| e["fieldsV1"]["f:data"].clone())
            .collect::<Vec<_>>()
    };
    same(fields("hookrun"), vec![json!({"f:k": {}})])?;
    same(fields("artisan-runner"), vec![json!({".": {}, "f:l": {}})])
}

pub(super) async fn apply_takes_lists_as_one_value(it: Remote) -> Result<()> {
    let path = format!("{}/a?fieldManager", it.tekton("tasks"));
    let created = it
        .patch(&format!("{path}=m1"), APPLY, &task("a"))
        .await?
        .expect(201)?;
    same(
        &created["metadata"]["managedFields"][0]["fieldsV1"],
        &json!({"f:spec": {"f:steps": {}}}),
    )?;
    let again = it
        .patch(&format!("{path}=m1"), APPLY, &task("a"))
        .await?
        .expect(200)?;
    same(version(&again), version(&created))?;
    let mut other = task("a");
    other["spec"]["steps"][0]["image"] = json!("c");
    it.patch(&format!("{path}=m2"), APPLY, &other)
        .await?
        .refused(
            409,
            "Conflict",
            "Apply failed with 1 conflict: conflict with \"m1\": .spec.steps",
        )?;
    let forced = it
        .patch(&format!("{path}=m2&force=true"), APPLY, &other)
        .await?
        .expect(200)?;
    same(&forced["spec"]["steps"][0]["image"], &json!("c"))?;
    same(&forced["metadata"]["generation"], &json!(2))
}

pub(super) async fn apply_merges_owners_by_uid(it: Remote) -> Result<()> {
    let first = it
        .post(&it.core("configmaps"), &config_map("o1", json!({})))
        .await?
        .expect(201)?;
    let second = it
        .post(&it.core("configmaps"), &config_map("o2", json!({})))
        .await?
        .expect(201)?;
    let path = format!("{}/a?fieldManager", it.core("secrets"));
    let applied = |owners: &[&Value]| {
        let mut object = owned("a", owners);
        if let Some(object) = object.as_object_mut() {
            object.remove("stringData");
        }
        object
    };
    it.patch(&format!("{path}=m1"), APPLY, &applied(&[&first]))
        .await?
        .expect(201)?;
    let both = it
        .patch(&format!("{path}=m2"), APPLY, &applied(&[&second]))
        .await?
        .expect(200)?;
    same(
        both["metadata"]["ownerReferences"].as_array().map(Vec::len),
        Some(2),
    )?;
    let one = it
        .patch(&format!("{path}=m1"), APPLY, &applied(&[]))
        .await?
        .expect(200)?;
    same(&one["metadata"]["ownerReferences"][0]["name"], &json!("o2"))?;
    same(
        one["metadata"]["ownerReferences"].as_array().map(Vec::len),
        Some(1),
    )
}

pub(super) async fn apply_asks_for_manager_name_and_kind(it: Remote) -> Result<()> {
    let path = it.config_map("a");
    it.patch(&path, APPLY, &config_map("a", json!({})))
        .await?
        .refused(422, "Invalid", "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch")?;
    let path = format!("{path}?fieldManager=m");
    it.patch(&path, APPLY, &config_map("b", json!({})))
        .await?
        .refused(
            400,
            "BadRequest",
            "the name of the object (b) does not match the name on the URL (a)",
        )?;
    it.patch(&path, APPLY, &json!({"metadata": {"name": "a"}}))
        .await?
        .refused(400, "BadRequest", "invalid object type: /, Kind=")?;
    it.patch(&path, APPLY, &secret("a", json!({})))
        .await?
        .refused(400, "BadRequest", "invalid object type: /v1, Kind=Secret")?;
    let mut managed = config_map("a", json!({}));
    managed["metadata"]["managedFields"] = json!([{"manager": "x"}]);
    it.patch(&path, APPLY, &managed).await?.refused(
        400,
        "BadRequest",
        "metadata.managedFields must be nil",
    )?;
    let response = it
        .send(
            "PATCH",
            &path,
            APPLY,
            b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  k: |\n    x\n"
                .to_vec(),
        )
        .await?;
    same(response.status().as_u16(), 201)
}
