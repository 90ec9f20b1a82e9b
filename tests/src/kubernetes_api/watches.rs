//! Watches.

use super::{JSON, LIMIT, MERGE, Remote, config_map, labelled, names, same, secret, version};
use anyhow::{Result, ensure};
use http_body_util::BodyExt;
use serde_json::{Value, json};

pub(super) async fn a_watch_continues_a_list(it: Remote) -> Result<()> {
    let all = it.core("configmaps");
    it.post(
        &all,
        &labelled(config_map("before", json!({})), json!({"case": "watch"})),
    )
    .await?
    .expect(201)?;
    let list = it
        .get(&format!("{all}?labelSelector=case"))
        .await?
        .expect(200)?;
    same(names(&list), vec!["before"])?;
    let path = format!(
        "{all}?watch=1&labelSelector=case&resourceVersion={}",
        version(&list)
    );
    let watched = {
        let it = it.clone();
        tokio::spawn(async move { it.watch(&path, 3).await })
    };
    it.post(
        &all,
        &labelled(config_map("a", json!({})), json!({"case": "watch"})),
    )
    .await?
    .expect(201)?;
    it.patch(&it.config_map("a"), MERGE, &json!({"data": {"k": "1"}}))
        .await?
        .expect(200)?;
    it.delete(&it.config_map("a"), &Value::Null)
        .await?
        .expect(200)?;
    let events = watched.await??;
    let kinds: Vec<&str> = events.iter().filter_map(|e| e["type"].as_str()).collect();
    same(kinds, vec!["ADDED", "MODIFIED", "DELETED"])?;
    let last = &events[2]["object"];
    same(&last["data"]["k"], &json!("1"))?;
    let versions: Vec<u64> = events
        .iter()
        .map(|e| version(&e["object"]).parse())
        .collect::<Result<_, _>>()?;
    ensure!(versions.is_sorted(), "{versions:?}");
    ensure!(
        versions[1] < versions[2],
        "a deletion has a version of its own: {versions:?}"
    );
    // The same changes again, from the past.
    let path = format!(
        "{all}?watch=1&labelSelector=case&resourceVersion={}",
        version(&list)
    );
    same(it.watch(&path, 3).await?.len(), 3)
}

pub(super) async fn a_watch_follows_its_selector(it: Remote) -> Result<()> {
    let all = it.core("configmaps");
    let object = it
        .post(
            &all,
            &labelled(config_map("a", json!({})), json!({"on": "no"})),
        )
        .await?
        .expect(201)?;
    let path = format!(
        "{all}?watch=1&labelSelector=on%3Dyes&resourceVersion={}",
        version(&object)
    );
    for on in ["yes", "no", "maybe", "yes"] {
        it.patch(
            &it.config_map("a"),
            MERGE,
            &json!({"metadata": {"labels": {"on": on}}}),
        )
        .await?
        .expect(200)?;
    }
    let events = it.watch(&path, 3).await?;
    let kinds: Vec<&str> = events.iter().filter_map(|e| e["type"].as_str()).collect();
    same(kinds, vec!["ADDED", "DELETED", "ADDED"])?;
    let path = format!(
        "{all}?watch=1&fieldSelector=metadata.name%3Da&resourceVersion={}",
        version(&object)
    );
    same(it.watch(&path, 4).await?.len(), 4)
}

pub(super) async fn a_watch_may_begin_with_what_is_there(it: Remote) -> Result<()> {
    let all = it.core("secrets");
    it.post(
        &all,
        &labelled(secret("a", json!({})), json!({"case": "initial"})),
    )
    .await?
    .expect(201)?;
    let path = format!("{all}?watch=1&labelSelector=case");
    let events = it.watch(&path, 1).await?;
    same(
        (&events[0]["type"], &events[0]["object"]["metadata"]["name"]),
        (&json!("ADDED"), &json!("a")),
    )?;
    let events = it
        .watch(&format!("{path}&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"), 2)
        .await?;
    same(
        (&events[0]["type"], &events[1]["type"]),
        (&json!("ADDED"), &json!("BOOKMARK")),
    )?;
    same(
        &events[1]["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        &json!("true"),
    )?;
    // A watch ends when it is told to.
    let response = it
        .send("GET", &format!("{path}&timeoutSeconds=1"), JSON, vec![])
        .await?;
    tokio::time::timeout(LIMIT, response.into_body().collect()).await??;
    Ok(())
}
