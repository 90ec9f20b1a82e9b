//! Flows in a folder.

use std::{fs, path::Path, sync::Arc};

use store::{Class, FlowStore};

use crate::flow_store;

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
        "cannot retrieve flow specification from the object store: error: there is no object x.json"
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
