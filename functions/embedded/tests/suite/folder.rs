//! What lies in the folder: read again after a restart, written by people, broken by people.

use super::api;
use anyhow::Result;
use embedded::Api;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::json;
use std::{fs, io, path::Path, time::Duration};

fn config_map(name: &str) -> ConfigMap {
    let mut map = ConfigMap::default();
    map.metadata.name = Some(name.to_owned());
    map
}

/// Opens the folder again as soon as the clients of the last time let go of it.
async fn reopen(folder: &Path) -> Result<Api> {
    for _ in 0..1_000 {
        match Api::open(folder) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            result => return Ok(result?),
        }
    }
    anyhow::bail!("the folder is still in use")
}

#[tokio::test]
async fn objects_outlive_the_process_and_versions_never_come_twice() -> Result<()> {
    let (home, api) = api()?;
    let maps: kube::Api<ConfigMap> = kube::Api::default_namespaced(api.client());
    let stored = maps
        .create(&PostParams::default(), &config_map("a"))
        .await?;
    let last = maps
        .create(&PostParams::default(), &config_map("b"))
        .await?;
    maps.delete("b", &DeleteParams::default()).await?;
    drop((maps, api));

    let api = reopen(home.path()).await?;
    let maps: kube::Api<ConfigMap> = kube::Api::default_namespaced(api.client());
    assert_eq!(maps.get("a").await?, stored);
    assert!(maps.get_opt("b").await?.is_none());
    let new = maps
        .create(&PostParams::default(), &config_map("c"))
        .await?;
    let version = |m: &ConfigMap| {
        m.metadata
            .resource_version
            .as_ref()
            .and_then(|v| v.parse::<u64>().ok())
    };
    assert!(version(&new) > version(&last), "{new:?} {last:?}");
    Ok(())
}

#[tokio::test]
async fn files_are_what_a_person_would_write() -> Result<()> {
    let (home, api) = api()?;
    let secrets: kube::Api<Secret> = kube::Api::default_namespaced(api.client());
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"k": "v"}});
    secrets
        .create(&PostParams::default(), &serde_json::from_value(secret)?)
        .await?;
    let path = home.path().join("core/secrets/default/s.yaml");
    let text = fs::read_to_string(&path)?;
    assert!(
        text.starts_with("apiVersion: v1\ndata:\n  k: dg==\nkind: Secret\nmetadata:\n"),
        "{text}"
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o077, 0);
    }
    secrets.delete("s", &DeleteParams::default()).await?;
    assert!(!home.path().join("core/secrets").exists());
    Ok(())
}

#[tokio::test]
async fn what_a_person_puts_there_is_served_and_what_is_broken_is_reported() -> Result<()> {
    let home = tempfile::tempdir()?;
    let place = home.path().join("core/configmaps/team");
    fs::create_dir_all(&place)?;
    fs::write(
        place.join("mine.yaml"),
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: mine\ndata: {k: v}\n",
    )?;
    fs::write(place.join("broken.yaml"), "apiVersion: v1\nkind: [")?;

    let api = Api::open(home.path())?;
    let [broken] = &api.unreadable()[..] else {
        panic!("one broken file expected")
    };
    assert_eq!(broken.path, place.join("broken.yaml"));
    let maps: kube::Api<ConfigMap> = kube::Api::namespaced(api.client(), "team");
    let names: Vec<String> = maps
        .list(&ListParams::default())
        .await?
        .into_iter()
        .filter_map(|m| m.metadata.name)
        .collect();
    assert_eq!(names, ["mine"]);
    let mine = maps.get("mine").await?;
    assert!(mine.metadata.uid.is_some() && mine.metadata.resource_version.is_some());
    let namespaces: kube::Api<Namespace> = kube::Api::all(api.client());
    namespaces.get("team").await?;

    for refused in [
        maps.get("broken").await,
        maps.create(&PostParams::default(), &config_map("broken"))
            .await,
    ] {
        let Err(kube::Error::Api(status)) = refused else {
            panic!("refusal expected")
        };
        assert_eq!(status.code, 500);
        assert!(
            status.message.contains("broken.yaml cannot be read"),
            "{}",
            status.message
        );
    }
    assert_eq!(
        fs::read_to_string(place.join("broken.yaml"))?,
        "apiVersion: v1\nkind: ["
    );
    Ok(())
}

#[tokio::test]
async fn garbage_of_the_last_time_is_collected_at_the_start() -> Result<()> {
    let home = tempfile::tempdir()?;
    let place = home.path().join("core/secrets/default");
    fs::create_dir_all(&place)?;
    let orphan = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\n  ownerReferences:\n  - {apiVersion: tekton.dev/v1, kind: PipelineRun, name: r, uid: gone}\n";
    fs::write(place.join("s.yaml"), orphan)?;
    // Of kinds that are not kept nobody knows whether the owner is gone.
    fs::write(
        place.join("kept.yaml"),
        orphan
            .replace("name: s", "name: kept")
            .replace("tekton.dev/v1", "apps/v1"),
    )?;
    let api = Api::open(home.path())?;
    let secrets: kube::Api<Secret> = kube::Api::default_namespaced(api.client());
    assert!(secrets.get_opt("s").await?.is_none());
    assert!(!place.join("s.yaml").exists());
    assert!(secrets.get_opt("kept").await?.is_some());
    Ok(())
}

#[tokio::test]
async fn a_write_that_fails_changes_nothing() -> Result<()> {
    let (home, api) = api()?;
    let maps: kube::Api<ConfigMap> = kube::Api::default_namespaced(api.client());
    // A file lies where the folder would have to be.
    fs::write(home.path().join("core/configmaps"), "in the way").or_else(|_| {
        fs::create_dir_all(home.path().join("core"))?;
        fs::write(home.path().join("core/configmaps"), "in the way")
    })?;
    let refused = maps.create(&PostParams::default(), &config_map("a")).await;
    let Err(kube::Error::Api(status)) = refused else {
        panic!("refusal expected")
    };
    assert_eq!(status.code, 500);
    assert!(maps.get_opt("a").await?.is_none());
    fs::remove_file(home.path().join("core/configmaps"))?;
    maps.create(&PostParams::default(), &config_map("a"))
        .await?;
    Ok(())
}
