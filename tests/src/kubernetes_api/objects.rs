//! Creating: what is accepted, what is refused, and in which words.

use super::{APPLY, Answer, JSON, MERGE, Remote, config_map, names, same, secret, task};
use anyhow::{Result, ensure};
use futures_util::future::join_all;
use http_body_util::BodyExt;
use serde_json::{Value, json};

pub(super) async fn an_object_is_created_once(it: Remote) -> Result<()> {
    let tasks = it.tekton("tasks");
    let created = it.post(&tasks, &task("a")).await?.expect(201)?;
    let metadata = &created["metadata"];
    for field in ["uid", "resourceVersion", "creationTimestamp"] {
        ensure!(
            metadata[field].as_str().is_some_and(|t| !t.is_empty()),
            "{field}: {created}"
        );
    }
    same(&metadata["generation"], &json!(1))?;
    same(&metadata["namespace"], &json!(it.namespace))?;
    let read = it.get(&format!("{tasks}/a")).await?.expect(200)?;
    same(read, created)?;
    it.post(&tasks, &task("a")).await?.refused(
        409,
        "AlreadyExists",
        "tasks.tekton.dev \"a\" already exists",
    )?;
    let Answer(_, status) = it.get(&format!("{tasks}/b")).await?;
    same(
        &status["details"],
        &json!({"name": "b", "group": "tekton.dev", "kind": "tasks"}),
    )?;
    Answer(404, status).refused(404, "NotFound", "tasks.tekton.dev \"b\" not found")?;
    it.get(&format!("{}/b", it.core("secrets"))).await?.refused(
        404,
        "NotFound",
        "secrets \"b\" not found",
    )
}

pub(super) async fn one_of_many_creates_wins(it: Remote) -> Result<()> {
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

pub(super) async fn names_are_generated(it: Remote) -> Result<()> {
    let object =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"generateName": "gen-"}});
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

pub(super) async fn a_dry_run_changes_nothing(it: Remote) -> Result<()> {
    let all = it.core("configmaps");
    let path = it.config_map("a");
    let tried = it
        .post(&format!("{all}?dryRun=All"), &config_map("a", json!({})))
        .await?
        .expect(201)?;
    ensure!(tried["metadata"]["uid"].is_string(), "{tried}");
    it.get(&path).await?.refused(404, "NotFound", "")?;
    let stored = it
        .post(&all, &config_map("a", json!({"k": "1"})))
        .await?
        .expect(201)?;
    let tried = it
        .patch(
            &format!("{path}?dryRun=All"),
            MERGE,
            &json!({"data": {"k": "2"}}),
        )
        .await?
        .expect(200)?;
    same(&tried["data"]["k"], &json!("2"))?;
    it.delete(&format!("{path}?dryRun=All"), &Value::Null)
        .await?
        .expect(200)?;
    same(it.get(&path).await?.expect(200)?, stored)?;
    it.post(&format!("{all}?dryRun=Some"), &config_map("b", json!({})))
        .await?
        .refused(
            422,
            "Invalid",
            "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value",
        )
}

pub(super) async fn illegal_metadata_is_refused(it: Remote) -> Result<()> {
    let name =
        "metadata.name: Invalid value: \"A_b\": a lowercase RFC 1123 subdomain must consist of";
    let Answer(code, status) = it
        .post(&it.core("secrets"), &secret("A_b", json!({})))
        .await?;
    same(
        &status["details"]["causes"][0]["field"],
        &json!("metadata.name"),
    )?;
    same(
        &status["details"]["causes"][0]["reason"],
        &json!("FieldValueInvalid"),
    )?;
    Answer(code, status).refused(
        422,
        "Invalid",
        &format!("Secret \"A_b\" is invalid: {name}"),
    )?;
    it.post(&it.tekton("tasks"), &task("A_b")).await?.refused(
        422,
        "Invalid",
        &format!("Task.tekton.dev \"A_b\" is invalid: {name}"),
    )?;
    for (metadata, problem) in [
        (
            json!({"labels": {"a b": "c"}}),
            "metadata.labels: Invalid value: \"a b\": name part must consist of",
        ),
        (
            json!({"labels": {"a": "b c"}}),
            "metadata.labels: Invalid value: \"b c\": a valid label must be",
        ),
        (
            json!({"annotations": {"?": ""}}),
            "metadata.annotations: Invalid value: \"?\": name part must",
        ),
        (
            json!({"finalizers": ["a"]}),
            "metadata.finalizers[0]: Invalid value: \"a\": name is neither",
        ),
        (
            json!({"ownerReferences": [{"apiVersion": "v1", "kind": "Secret", "name": "a", "uid": ""}]}),
            "metadata.ownerReferences.uid: Invalid value: \"\": must not be empty",
        ),
    ] {
        let mut object = config_map("a", json!({}));
        for (field, value) in metadata.as_object().into_iter().flatten() {
            object["metadata"][field] = value.clone();
        }
        it.post(&it.core("configmaps"), &object).await?.refused(
            422,
            "Invalid",
            &format!("ConfigMap \"a\" is invalid: {problem}"),
        )?;
    }
    Ok(())
}

pub(super) async fn a_body_that_is_no_such_object_is_refused(it: Remote) -> Result<()> {
    let secrets = it.core("secrets");
    let unrecognized =
        "the object provided is unrecognized (must be of type Secret): couldn't get version/kind";
    let raw = |kind: &'static str, body: &'static str| {
        let (it, secrets) = (it.clone(), secrets.clone());
        async move {
            let response = it.send("POST", &secrets, kind, body.into()).await?;
            let code = response.status().as_u16();
            let bytes = response.into_body().collect().await?.to_bytes();
            anyhow::Ok(Answer(code, serde_json::from_slice(&bytes)?))
        }
    };
    raw(JSON, "{")
        .await?
        .refused(400, "BadRequest", unrecognized)?;
    raw(JSON, "")
        .await?
        .refused(400, "BadRequest", unrecognized)?;
    raw("text/plain", "{}").await?.refused(
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format",
    )?;
    let as_secret = "Secret in version \"v1\" cannot be handled as a Secret";
    for body in [
        r#"{"metadata":{"name":"a"},"data":{"a":"***"}}"#,
        r#"{"metadata":{"name":"a"},"data":{"a":1}}"#,
    ] {
        raw(JSON, body)
            .await?
            .refused(400, "BadRequest", as_secret)?;
    }
    it.post(
        &format!("{secrets}?fieldValidation=Strict"),
        &json!({"metadata": {"name": "a"}, "foo": 1}),
    )
    .await?
    .refused(
        400,
        "BadRequest",
        &format!("{as_secret}: strict decoding error: unknown field \"foo\""),
    )?;
    let elsewhere = json!({"metadata": {"name": "a", "namespace": "other"}});
    it.post(&secrets, &elsewhere).await?.refused(
        400,
        "BadRequest",
        "the namespace of the provided object does not match",
    )?;
    let mut other = task("a");
    other["apiVersion"] = json!("tekton.dev/v2");
    it.post(&it.tekton("tasks"), &other).await?.refused(
        400,
        "BadRequest",
        "the API version in the data (tekton.dev/v2) does not match",
    )
}

pub(super) async fn an_object_needs_its_namespace(it: Remote) -> Result<()> {
    let missing = format!("{}-not", it.namespace);
    let message = format!("namespaces \"{missing}\" not found");
    it.post(
        &format!("/api/v1/namespaces/{missing}/secrets"),
        &secret("a", json!({})),
    )
    .await?
    .refused(404, "NotFound", &message)?;
    let path = format!("/api/v1/namespaces/{missing}/secrets/a?fieldManager=m");
    it.patch(&path, APPLY, &secret("a", json!({})))
        .await?
        .refused(404, "NotFound", &message)?;
    let list = it
        .get(&format!("/api/v1/namespaces/{missing}/secrets"))
        .await?
        .expect(200)?;
    same(names(&list), vec![])
}

pub(super) async fn secrets_keep_their_rules(it: Remote) -> Result<()> {
    let secrets = it.core("secrets");
    let object = json!({"metadata": {"name": "a"}, "data": {"k": "eA==", "l": ""}, "stringData": {"k": "y"}});
    let created = it.post(&secrets, &object).await?.expect(201)?;
    same(&created["data"], &json!({"k": "eQ==", "l": ""}))?;
    same(
        (&created["type"], &created["stringData"]),
        (&json!("Opaque"), &Value::Null),
    )?;

    let big = "x".repeat(1024 * 1024);
    it.post(&secrets, &secret("largest", json!({ "k": big })))
        .await?
        .expect(201)?;
    it.post(&secrets, &secret("b", json!({"k": big, "l": "x"})))
        .await?
        .refused(
            422,
            "Invalid",
            "Secret \"b\" is invalid: data: Too long: may not be more than 1048576 bytes",
        )?;
    it.post(&secrets, &secret("b", json!({"a b": ""})))
        .await?
        .refused(
            422,
            "Invalid",
            "Secret \"b\" is invalid: data[a b]: Invalid value: \"a b\": a valid config key must",
        )?;
    it.post(&secrets, &secret("b", json!({"..": ""})))
        .await?
        .refused(
            422,
            "Invalid",
            "Secret \"b\" is invalid: data[..]: Invalid value: \"..\": must not be '..'",
        )?;
    let typed = json!({"metadata": {"name": "b"}, "type": "kubernetes.io/tls"});
    it.post(&secrets, &typed).await?.refused(
        422,
        "Invalid",
        "Secret \"b\" is invalid: [data[tls.crt]: Required value, data[tls.key]: Required value]",
    )?;
    it.patch(&format!("{secrets}/a"), MERGE, &json!({"type": "x/y"}))
        .await?
        .refused(
            422,
            "Invalid",
            "Secret \"a\" is invalid: type: Invalid value: \"x/y\": field is immutable",
        )?;

    it.patch(&format!("{secrets}/a"), MERGE, &json!({"immutable": true}))
        .await?
        .expect(200)?;
    for patch in [json!({"data": {"k": "eA=="}}), json!({"immutable": null})] {
        it.patch(&format!("{secrets}/a"), MERGE, &patch)
            .await?
            .refused(422, "Invalid", "Secret \"a\" is invalid: ")?;
    }
    it.patch(
        &format!("{secrets}/a"),
        MERGE,
        &json!({"metadata": {"labels": {"x": "y"}}}),
    )
    .await?
    .expect(200)?;
    Ok(())
}
