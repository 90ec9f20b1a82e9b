//! Flows in a folder; and in a bucket whose server does what it should not.

use std::{fs, path::Path, sync::Arc};

use store::{Class, Credentials, Error, FlowStore};

use crate::{
    IMPATIENCE, flow_store, flow_store_with,
    server::{Answer, Server},
};

fn store(folder: &Path) -> Arc<dyn FlowStore> {
    let url = format!("file://{}", folder.display());
    flow_store(&["--flow-store", &url, "--flow-store-max-bytes", "1KiB"])
}

#[tokio::test]
async fn a_flow_is_a_file_named_by_its_key() {
    let folder = tempfile::tempdir().unwrap();
    for (key, file) in [
        ("ART_FLOW_x", "ART_FLOW_x.json"),
        ("a/b c%", "a%2Fb%20c%25.json"),
    ] {
        fs::write(folder.path().join(file), key).unwrap();
        assert_eq!(store(folder.path()).get(key).await.unwrap(), key);
    }
}

#[tokio::test]
async fn an_edited_file_counts_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    for content in ["one", "two"] {
        fs::write(folder.path().join("x.json"), content).unwrap();
        assert_eq!(store.get("x").await.unwrap(), content);
    }
}

#[tokio::test]
async fn no_key_leads_out_of_the_folder() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("flows");
    fs::create_dir_all(folder.join("sub")).unwrap();
    fs::write(outer.path().join("out.json"), "secret").unwrap();
    fs::write(folder.join("sub/in.json"), "secret").unwrap();
    let store = store(&folder);
    let absolute = outer.path().join("out").display().to_string();
    for key in [
        "../out",
        "..%2fout",
        "%2e%2e/out",
        "sub/in",
        "sub\\in",
        "/out",
        &absolute,
        "..",
        ".",
        "",
        "out\0",
    ] {
        let error = store.get(key).await.unwrap_err();
        assert_eq!(error.class(), Class::NotFound, "{key:?}: {error}");
    }
}

#[tokio::test]
async fn a_missing_flow_a_large_one_and_a_missing_folder_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let error = store(folder.path()).get("x").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot retrieve flow specification from the object store: error: object x.json does not exist"
    );
    fs::write(folder.path().join("x.json"), "x".repeat(1025)).unwrap();
    assert_eq!(
        store(folder.path()).get("x").await.unwrap_err().slug(),
        "flow-too-large"
    );
    let error = store(&folder.path().join("missing"))
        .get("x")
        .await
        .unwrap_err();
    assert_eq!(error.slug(), "store-settings", "{error}");
}

/// What comes of a bucket's server that always answers so, and how often it was asked.
async fn bucket(answer: Answer, endpoint: Option<&str>) -> (Error, usize) {
    let server = Server::start([answer]).await;
    let url = server.url("");
    let credentials: Credentials = [
        ("AWS_ENDPOINT", endpoint.unwrap_or(&url)),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_ACCESS_KEY_ID", "key-id"),
        ("AWS_SECRET_ACCESS_KEY", "s3cret"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into_iter()
    .collect();
    let limit = format!("{}ms", (IMPATIENCE * 4).as_millis());
    let arguments = [
        "--flow-store",
        "s3://bucket/flows",
        "--flow-store-timeout",
        &limit,
    ];
    let store = flow_store_with(&credentials, &arguments);
    let error = store.get("x").await.unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(
        !text.contains("s3cret") && !text.contains("key-id"),
        "{text}"
    );
    (error, server.seen().len())
}

#[tokio::test]
async fn a_bucket_s_troubles_are_told_apart_within_the_limit() {
    let elsewhere = Server::start([Answer::ok("{}")]).await;
    for (answer, slug) in [
        (Answer::Hang, "store-timeout"),
        (Answer::Drip, "store-timeout"),
        (Answer::status(404), "flow-not-found"),
        (Answer::status(403), "store-refused"),
        (Answer::status(400), "store-failed"),
        (Answer::Redirect(elsewhere.url("/")), "store-failed"),
    ] {
        let (error, asked) = bucket(answer.clone(), None).await;
        assert_eq!((error.slug(), asked), (slug, 1), "{answer:?}: {error}");
    }
    assert!(elsewhere.seen().is_empty());
    let (error, asked) = bucket(Answer::status(503), None).await;
    assert!(asked > 1, "{error}");
    assert!(
        matches!(error.class(), Class::Unavailable | Class::Timeout),
        "{error}"
    );
}

#[tokio::test]
async fn a_bucket_nobody_serves_is_unreachable() {
    let address = format!("http://{}", crate::server::nobody().await);
    let (error, _) = bucket(Answer::Hang, Some(&address)).await;
    assert!(
        ["store-unreachable", "store-timeout"].contains(&error.slug()),
        "{error}"
    );
}
