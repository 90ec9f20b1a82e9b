//! The payload of a Delivery, from where it is kept.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use cluster::SECRETS;
use deliveries::{
    payload::{digest, open},
    resource::PAYLOAD,
};
use hooks::{Delivery, delivery::StoredPayload};
use serde_json::Value;
use store::{Credentials, PayloadPlaceOptions, PayloadStore};

use super::{input, objects::Objects};

/// The most that is fetched: as much as a function takes.
const LIMIT: u64 = 64 << 20;

/// The payload of a Delivery that holds it.
///
/// # Errors
/// It is kept elsewhere, or is not what the Delivery says.
pub(crate) fn inline(delivery: &Delivery) -> anyhow::Result<Bytes> {
    let stored = &delivery.record.payload;
    let text = stored.gzip.as_deref().with_context(|| match (&stored.secret_name, &stored.object) {
        (Some(secret), _) => format!("its payload is in Secret {secret:?}: name the Delivery itself, so that it is read from the cluster, or give --payload"),
        (_, Some(object)) => format!("its payload is object {object:?} of the payload store: name the Delivery itself, so that it is read from there, or give --payload"),
        _ => "it has no payload".to_owned(),
    })?;
    Ok(open(text, stored)?)
}

/// The payload of a Delivery, from a file that somebody kept.
///
/// # Errors
/// It cannot be read, or is not what the Delivery says.
pub(crate) fn from_file(delivery: &Delivery, file: &Path) -> anyhow::Result<Bytes> {
    let bytes = input::read(file)?;
    let (found, expected) = (digest(&bytes), &delivery.record.payload.digest);
    ensure!(
        found == *expected,
        "{} is not the payload of Delivery {:?}: it is {found}, and the Delivery says {expected}",
        file.display(),
        delivery.metadata.name
    );
    Ok(bytes.into())
}

/// The payload of a Delivery, which may be in a Secret or in the payload store.
///
/// # Errors
/// It is not there, cannot be read, or is not what the Delivery says.
pub(crate) async fn stored(
    objects: &Objects,
    delivery: &Delivery,
    place: &PayloadPlaceOptions,
) -> anyhow::Result<Bytes> {
    let StoredPayload {
        secret_name,
        object,
        digest,
        size,
        ..
    } = &delivery.record.payload;
    let namespace = &delivery.metadata.namespace;
    if let Some(name) = secret_name {
        let secret: Value = objects.get(SECRETS, namespace, name).await?;
        return match secret["data"][PAYLOAD].as_str() {
            Some(text) => Ok(open(text, &delivery.record.payload)?),
            None => bail!("Secret {name:?} has no entry {PAYLOAD:?}"),
        };
    }
    let Some(object) = object else {
        return inline(delivery);
    };
    ensure!(
        *size <= LIMIT,
        "its payload has {size} bytes, more than any event"
    );
    let got = store(place, object)?
        .get(namespace, object, digest, *size)
        .await;
    got.with_context(|| format!("cannot read its payload, object {object:?}"))
}

/// Gives a new Delivery an object of its own with the payload of the old one, where that is one: the old one may be
/// deleted at any time.
///
/// # Errors
/// The payload store is not named, or does not take it.
pub(crate) async fn copied(
    new: &mut Delivery,
    bytes: &Bytes,
    place: &PayloadPlaceOptions,
) -> anyhow::Result<()> {
    let Some(object) = &mut new.record.payload.object else {
        return Ok(());
    };
    object.clone_from(&new.metadata.name);
    let kept = store(place, object)?
        .keep(&new.metadata.namespace, object, bytes.clone())
        .await;
    kept.with_context(|| format!("cannot store its payload as object {object:?}"))
}

fn store(place: &PayloadPlaceOptions, object: &str) -> anyhow::Result<PayloadStore> {
    let opened = place.open(&Credentials::from_env())?;
    opened.with_context(|| {
        format!(
            "its payload is object {object:?} of the payload store, and none is named: give --payload-store \
             (HOOKRUN_PAYLOAD_STORE) and the store's credentials, as the function has them (docs/stores.md)"
        )
    })
}
