//! Large payloads and flows in a bucket, with a server that checks every signature.

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Result, ensure};
use bytes::Bytes;
use control_plane::{Cluster, until};
use http::StatusCode;
use sha2::{Digest, Sha256};
use store::{
    Class, Credentials, FetchError, FetchOptions, Fetched, FlowStore, FlowStoreOptions,
    PayloadPlaceOptions, PayloadStore, PayloadStoreOptions, Reference, Source, fetch,
};

use crate::{
    case::{Case, case},
    s3::S3,
};

const HOUR: Duration = Duration::from_secs(3600);

/// The cases. None needs the cluster; each has a server of its own.
#[must_use]
pub fn cases() -> Vec<Case> {
    macro_rules! with_server {
        ($($function:ident),* $(,)?) => {
            vec![$(case(concat!("store_s3::", stringify!($function)), |cluster: Arc<Cluster>| async move {
                $function(&S3::start(&cluster).await?).await
            })),*]
        };
    }
    with_server![
        a_signed_url_gives_one_payload_and_nothing_else,
        a_signed_url_expires,
        a_repeated_event_stores_one_object,
        a_fetched_payload_is_the_one_stored,
        a_sweep_deletes_what_is_old_and_ours,
        two_sweeps_at_once_do_no_harm,
        flows_are_objects_below_the_prefix,
        a_wrong_secret_is_refused_in_our_words,
        a_missing_bucket_is_no_missing_flow,
    ]
}

/// A payload store below a prefix of the bucket.
fn payloads(credentials: &Credentials, location: &str, expiry: Duration) -> Result<PayloadStore> {
    let options = PayloadStoreOptions {
        place: PayloadPlaceOptions {
            payload_store: Some(location.parse().map_err(anyhow::Error::msg)?),
            payload_store_timeout: Duration::from_secs(30),
            payload_store_ca: None,
        },
        payload_expiry: expiry,
        payload_retention: 48 * HOUR,
        payload_sweep_timeout: Duration::from_secs(60),
    };
    options
        .open(credentials)?
        .ok_or_else(|| anyhow::anyhow!("no store"))
}

fn ours(s3: &S3) -> Result<PayloadStore> {
    payloads(&s3.credentials(), "s3://payloads/pay", 24 * HOUR)
}

/// Five megabytes that no text format would survive.
fn payload() -> Bytes {
    (0..5_000_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .take(5_000_000)
        .collect()
}

async fn status(url: &str) -> Result<StatusCode> {
    Ok(reqwest::get(url).await?.status())
}

/// What the fetch step does with a reference.
async fn fetched(reference: &Reference, to: &Path) -> Result<Fetched, FetchError> {
    let Reference { url, digest, size } = reference.clone();
    let (to, timeout) = (to.to_owned(), Duration::from_secs(60));
    fetch(&FetchOptions {
        from: None,
        url: Some(url.into()),
        digest: Some(digest),
        size: Some(size),
        to,
        files: None,
        results: None,
        ca: None,
        timeout,
    })
    .await
}

async fn a_signed_url_gives_one_payload_and_nothing_else(s3: &S3) -> Result<()> {
    let (store, payload) = (ours(s3)?, payload());
    let one = store
        .put("blue", "nightly-pr-0123456789", payload.clone())
        .await?;
    let two = store
        .put(
            "blue",
            "nightly-pr-9876543210",
            Bytes::from_static(b"another"),
        )
        .await?;
    let answer = reqwest::get(&one.url).await?;
    ensure!(answer.status() == StatusCode::OK, "{}", answer.status());
    ensure!(answer.bytes().await? == payload, "another content");

    let (path, query) = one.url.split_once('?').unwrap();
    let (other, _) = two.url.split_once('?').unwrap();
    ensure!(
        status(path).await? == StatusCode::FORBIDDEN,
        "readable without a signature"
    );
    ensure!(
        status(&format!("{other}?{query}")).await? == StatusCode::FORBIDDEN,
        "the signature opens another object"
    );
    let client = reqwest::Client::new();
    let put = client.put(&one.url).body("overwritten").send().await?;
    ensure!(
        put.status() == StatusCode::FORBIDDEN,
        "the signature allows writing"
    );
    ensure!(
        client.delete(&one.url).send().await?.status() == StatusCode::FORBIDDEN,
        "or deleting"
    );
    Ok(())
}

async fn a_signed_url_expires(s3: &S3) -> Result<()> {
    let store = payloads(
        &s3.credentials(),
        "s3://payloads/pay",
        Duration::from_secs(5),
    )?;
    let reference = store.put("blue", "run", Bytes::from_static(b"x")).await?;
    ensure!(
        status(&reference.url).await? == StatusCode::OK,
        "not readable at first"
    );
    until("the URL has expired", Duration::from_secs(30), async || {
        Ok(status(&reference.url).await? == StatusCode::FORBIDDEN)
    })
    .await?;
    let folder = tempfile::tempdir()?;
    let error = fetched(&reference, &folder.path().join("context"))
        .await
        .unwrap_err();
    ensure!(matches!(error, FetchError::Refused(_)), "{error}");
    ensure!(!error.to_string().contains("X-Amz"), "{error}");
    Ok(())
}

async fn a_repeated_event_stores_one_object(s3: &S3) -> Result<()> {
    let payload = payload();
    // Another process has another store.
    let first = ours(s3)?.put("blue", "run", payload.clone()).await?;
    let second = ours(s3)?.put("blue", "run", payload).await?;
    ensure!((&first.digest, first.size) == (&second.digest, second.size));
    let names = s3.objects()?;
    let digest = first.digest.trim_start_matches("sha256:");
    ensure!(names == [format!("pay/blue/run/{digest}")], "{names:?}");
    Ok(())
}

async fn a_fetched_payload_is_the_one_stored(s3: &S3) -> Result<()> {
    let payload = payload();
    let reference = ours(s3)?.put("blue", "run", payload.clone()).await?;
    let digest: String = Sha256::digest(&payload)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    ensure!(reference.digest == format!("sha256:{digest}") && reference.size == 5_000_000);
    let folder = tempfile::tempdir()?;
    let to = folder.path().join("context");
    let fetched = fetched(&reference, &to).await?;
    ensure!(
        fetched
            == Fetched {
                size: 5_000_000,
                files: 0,
                attempts: 1
            },
        "{fetched:?}"
    );
    ensure!(fs::read(&to)? == payload, "another content");
    Ok(())
}

async fn a_sweep_deletes_what_is_old_and_ours(s3: &S3) -> Result<()> {
    let store = ours(s3)?;
    fs::create_dir(s3.bucket().join("pay"))?;
    fs::write(s3.bucket().join("pay/readme.txt"), "not ours")?;
    for run in 0..12 {
        store
            .put("blue", &format!("run-{run}"), Bytes::from_static(b"x"))
            .await?;
    }
    let now = SystemTime::now();
    let swept = store.sweep(now, 48 * HOUR, 100).await?;
    ensure!(
        (swept.examined, swept.deleted, swept.complete) == (12, 0, true),
        "{swept:?}"
    );
    // However impatient the operator, a payload lives as long as its URL.
    let swept = store.sweep(now + 23 * HOUR, HOUR, 100).await?;
    ensure!(swept.deleted == 0, "{swept:?}");
    let swept = store.sweep(now + 49 * HOUR, 48 * HOUR, 5).await?;
    ensure!(
        (swept.deleted, swept.complete, &swept.failed) == (5, false, &None),
        "{swept:?}"
    );
    let swept = store.sweep(now + 49 * HOUR, 48 * HOUR, 100).await?;
    ensure!(
        (swept.examined, swept.deleted, swept.complete) == (7, 7, true),
        "{swept:?}"
    );
    ensure!(s3.objects()? == ["pay/readme.txt"], "{:?}", s3.objects()?);
    Ok(())
}

async fn two_sweeps_at_once_do_no_harm(s3: &S3) -> Result<()> {
    let (one, two) = (ours(s3)?, ours(s3)?);
    for run in 0..20 {
        one.put("blue", &format!("run-{run}"), Bytes::from_static(b"x"))
            .await?;
    }
    let later = SystemTime::now() + 49 * HOUR;
    let (first, second) = tokio::try_join!(
        one.sweep(later, 48 * HOUR, 100),
        two.sweep(later, 48 * HOUR, 100)
    )?;
    for swept in [&first, &second] {
        ensure!(swept.failed.is_none() && swept.complete, "{swept:?}");
    }
    ensure!(first.deleted + second.deleted >= 20, "{first:?} {second:?}");
    ensure!(s3.objects()?.is_empty(), "{:?}", s3.objects()?);
    Ok(())
}

async fn flows_are_objects_below_the_prefix(s3: &S3) -> Result<()> {
    let folder = s3.bucket().join("flows");
    fs::create_dir(&folder)?;
    for (name, content) in [
        ("ART_FLOW_x.json", "{}"),
        ("a%2Fb%20c.json", "[]"),
        ("large.json", &"x".repeat(2000)),
    ] {
        fs::write(folder.join(name), content)?;
    }
    let store = flows(&s3.credentials(), "s3://payloads/flows")?;
    ensure!(store.get("ART_FLOW_x").await? == "{}");
    ensure!(store.get("a/b c").await? == "[]");
    for (key, class) in [
        ("y", Class::NotFound),
        ("../flows/ART_FLOW_x", Class::NotFound),
        ("large", Class::Malformed),
    ] {
        let error = store.get(key).await.unwrap_err();
        ensure!(error.class() == class, "{key}: {error}");
    }
    Ok(())
}

fn flows(credentials: &Credentials, location: &str) -> Result<Arc<dyn FlowStore>> {
    let options = FlowStoreOptions {
        flow_store: location.parse::<Source>().map_err(anyhow::Error::msg)?,
        flow_store_namespace: None,
        flow_store_ca: None,
        flow_store_timeout: Duration::from_secs(20),
        flow_store_max_bytes: 1024,
        onix_uri: None,
        onix_user: None,
        onix_password: None,
        onix_user_file: None,
        onix_password_file: None,
    };
    Ok(options.open(
        credentials,
        Arc::new(|| Box::pin(async { Err("no cluster".to_owned()) })),
    ))
}

async fn a_wrong_secret_is_refused_in_our_words(s3: &S3) -> Result<()> {
    let wrong = |(name, value): (String, String)| match name.as_str() {
        "AWS_SECRET_ACCESS_KEY" => (name, "wr0ng".to_owned()),
        _ => (name, value),
    };
    let credentials: Credentials = s3.environment().into_iter().map(wrong).collect();
    let store = payloads(&credentials, "s3://payloads/pay", HOUR)?;
    let put = store
        .put("blue", "run", Bytes::from_static(b"x"))
        .await
        .unwrap_err();
    let get = flows(&credentials, "s3://payloads/flows")?
        .get("x")
        .await
        .unwrap_err();
    let sweep = store.sweep(SystemTime::now(), HOUR, 1).await.unwrap_err();
    for error in [put, get, sweep] {
        ensure!(error.slug() == "store-refused", "{error}");
        ensure!(!format!("{error} {error:?}").contains("wr0ng"), "{error:?}");
    }
    ensure!(s3.objects()?.is_empty());
    Ok(())
}

async fn a_missing_bucket_is_no_missing_flow(s3: &S3) -> Result<()> {
    let store = payloads(&s3.credentials(), "s3://elsewhere/pay", HOUR)?;
    let error = store
        .put("blue", "run", Bytes::from_static(b"x"))
        .await
        .unwrap_err();
    ensure!(error.class() == Class::Upstream, "{error}");
    Ok(())
}
