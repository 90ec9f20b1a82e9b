//! Reading: selectors, pages, tables, and what the API says about itself.

use super::{MERGE, Remote, labelled, names, same, secret, task, unmanaged};
use anyhow::{Context, Result, ensure};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};

pub(super) async fn lists_are_selected_by_labels(it: Remote) -> Result<()> {
    let all = it.core("secrets");
    for n in 1..=4 {
        let labels = json!({"n": n.to_string(), "hookrun.dev/flow": "f"});
        it.post(&all, &labelled(secret(&format!("s{n}"), json!({})), labels))
            .await?
            .expect(201)?;
    }
    it.post(&all, &secret("plain", json!({})))
        .await?
        .expect(201)?;
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
        let list = it
            .get(&format!("{all}?labelSelector={selector}"))
            .await?
            .expect(200)?;
        same(names(&list), expected).with_context(|| selector.to_owned())?;
    }
    for (selector, message) in [
        (
            "n%20in%203",
            "unable to parse requirement: found '3' expected: '('",
        ),
        ("n%3D3,", "found '', expected: identifier after ','"),
    ] {
        it.get(&format!("{all}?labelSelector={selector}"))
            .await?
            .refused(400, "BadRequest", message)?;
    }
    Ok(())
}

pub(super) async fn lists_are_selected_by_fields(it: Remote) -> Result<()> {
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
        (
            "involvedObject.name%3Db,involvedObject.kind%3DSecret",
            vec!["e2"],
        ),
        ("involvedObject.uid!%3Db,reason%3DR", vec!["e1"]),
    ] {
        let list = it
            .get(&format!("{events}?fieldSelector={selector}"))
            .await?
            .expect(200)?;
        same(names(&list), expected).with_context(|| selector.to_owned())?;
    }
    let path = format!("{}?fieldSelector=spec.x%3Dy", it.tekton("tasks"));
    it.get(&path)
        .await?
        .refused(400, "BadRequest", "field label not supported: spec.x")
}

pub(super) async fn lists_come_in_pages(it: Remote) -> Result<()> {
    for n in 1..=5 {
        it.post(&it.tekton("tasks"), &task(&format!("t{n}")))
            .await?
            .expect(201)?;
    }
    let (mut seen, mut next) = (vec![], String::new());
    loop {
        let list = it
            .get(&format!("{}?limit=2&continue={next}", it.tekton("tasks")))
            .await?
            .expect(200)?;
        ensure!(names(&list).len() <= 2, "{list}");
        seen.extend(names(&list).into_iter().map(str::to_owned));
        next = list["metadata"]["continue"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if next.is_empty() {
            break;
        }
        let remaining = &list["metadata"]["remainingItemCount"];
        same(remaining, &json!(5 - seen.len()))?;
    }
    same(
        seen,
        ["t1", "t2", "t3", "t4", "t5"].map(str::to_owned).to_vec(),
    )?;
    it.get(&format!("{}?limit=2&continue=nonsense", it.tekton("tasks")))
        .await?
        .refused(400, "BadRequest", "invalid continue token")
}

async fn view(it: &Remote, path: &str, accept: &str) -> Result<Value> {
    let request = http::Request::get(path)
        .header(http::header::ACCEPT, accept)
        .body(Body::empty())?;
    let response = it.client.send(request).await?;
    same(response.status().as_u16(), 200)?;
    Ok(serde_json::from_slice(
        &response.into_body().collect().await?.to_bytes(),
    )?)
}

pub(super) async fn tables_have_the_columns_of_their_kind(it: Remote) -> Result<()> {
    const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    it.post(
        &it.core("secrets"),
        &secret("a", json!({"k": "1", "l": "2"})),
    )
    .await?
    .expect(201)?;
    it.post(&it.tekton("pipelineruns"), &unmanaged("r"))
        .await?
        .expect(201)?;
    let condition = json!({
        "type": "Succeeded", "status": "False", "reason": "Suite", "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    let status = json!({"status": {"conditions": [condition]}});
    it.patch(
        &format!("{}/r/status", it.tekton("pipelineruns")),
        MERGE,
        &status,
    )
    .await?
    .expect(200)?;
    for (path, columns) in [
        (it.core("secrets"), vec!["Name", "Type", "Data", "Age"]),
        (it.core("configmaps"), vec!["Name", "Data", "Age"]),
        (it.core("serviceaccounts"), vec!["Name", "Age"]),
        (
            it.core("events"),
            vec![
                "Last Seen",
                "Type",
                "Reason",
                "Object",
                "Subobject",
                "Source",
                "Message",
                "First Seen",
                "Count",
                "Name",
            ],
        ),
        (it.tekton("tasks"), vec!["Name", "Age"]),
        (it.tekton("pipelines"), vec!["Name", "Age"]),
        (
            it.tekton("taskruns"),
            vec!["Name", "Succeeded", "Reason", "StartTime", "CompletionTime"],
        ),
        (
            it.tekton("pipelineruns"),
            vec!["Name", "Succeeded", "Reason", "StartTime", "CompletionTime"],
        ),
        (
            "/api/v1/namespaces".to_owned(),
            vec!["Name", "Status", "Age"],
        ),
    ] {
        let table = view(&it, &path, TABLE).await?;
        let names: Vec<&str> = table["columnDefinitions"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|c| c["name"].as_str())
            .collect();
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

pub(super) async fn metadata_can_be_had_alone(it: Remote) -> Result<()> {
    it.post(&it.core("secrets"), &secret("a", json!({"k": "1"})))
        .await?
        .expect(201)?;
    let one = view(
        &it,
        &format!("{}/a", it.core("secrets")),
        "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    )
    .await?;
    same(
        (&one["kind"], &one["data"]),
        (&json!("PartialObjectMetadata"), &Value::Null),
    )?;
    let list = view(
        &it,
        &it.core("secrets"),
        "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
    )
    .await?;
    same(&list["kind"], &json!("PartialObjectMetadataList"))?;
    same(names(&list), vec!["a"])
}

pub(super) async fn discovery_finds_the_kinds(it: Remote) -> Result<()> {
    let version = it.client.apiserver_version().await?;
    same(version.major, "1".to_owned())?;
    let discovery = kube::Discovery::new(it.client.clone())
        .filter(&["tekton.dev"])
        .run()
        .await?;
    let (resource, capabilities) = discovery
        .resolve_gvk(&kube::core::GroupVersionKind::gvk(
            "tekton.dev",
            "v1",
            "PipelineRun",
        ))
        .context("PipelineRun is not found")?;
    same(resource.plural, "pipelineruns".to_owned())?;
    same(capabilities.scope, kube::discovery::Scope::Namespaced)?;
    let core = it.client.list_core_api_resources("v1").await?;
    for (name, namespaced) in [
        ("secrets", true),
        ("configmaps", true),
        ("events", true),
        ("serviceaccounts", true),
        ("namespaces", false),
    ] {
        let found = core
            .resources
            .iter()
            .find(|r| r.name == name)
            .with_context(|| name.to_owned())?;
        same(found.namespaced, namespaced)?;
    }
    let tekton = it.get("/apis/tekton.dev/v1").await?.expect(200)?;
    let run = tekton["resources"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|r| r["name"] == "pipelineruns")
        .context("no pipelineruns")?;
    same(&run["shortNames"], &json!(["pr", "prs"]))?;
    same(&run["categories"], &json!(["tekton", "tekton-pipelines"]))
}
