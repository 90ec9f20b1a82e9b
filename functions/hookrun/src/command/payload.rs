//! The payload of a Delivery, from where it is kept.

use std::io::Read as _;

use anyhow::{Context, bail, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use cluster::SECRETS;
use flate2::read::GzDecoder;
use hook::resource::PAYLOAD;
use hooks::Delivery;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::objects::Objects;

/// The most that is unpacked: as much as a function takes. What is compressed could be anybody's.
const LIMIT: u64 = 64 << 20;

/// The payload of a Delivery that holds it.
///
/// # Errors
/// It is kept elsewhere, or is not what the Delivery says.
pub(crate) fn inline(delivery: &Delivery) -> anyhow::Result<Vec<u8>> {
    let stored = &delivery.record.payload;
    let text = stored.gzip.as_deref().with_context(|| match (&stored.secret_name, &stored.object) {
        (Some(secret), _) => format!("its payload is in Secret {secret:?}: name the Delivery itself, so that it is read from the cluster"),
        (_, Some(object)) => format!("its payload is object {object:?} of the payload store, which this command does not read"),
        _ => "it has no payload".to_owned(),
    })?;
    unpack(delivery, text)
}

/// The payload of a Delivery, which may be in a Secret.
pub(crate) async fn stored(objects: &Objects, delivery: &Delivery) -> anyhow::Result<Vec<u8>> {
    let Some(name) = &delivery.record.payload.secret_name else {
        return inline(delivery);
    };
    let secret: Value = objects
        .get(SECRETS, &delivery.metadata.namespace, name)
        .await?;
    match secret["data"][PAYLOAD].as_str() {
        Some(text) => unpack(delivery, text),
        None => bail!("Secret {name:?} has no entry {PAYLOAD:?}"),
    }
}

fn unpack(delivery: &Delivery, text: &str) -> anyhow::Result<Vec<u8>> {
    let packed = BASE64_STANDARD
        .decode(text)
        .context("its payload is not base64")?;
    let mut bytes = Vec::new();
    let mut unpacked = GzDecoder::new(packed.as_slice()).take(LIMIT);
    unpacked
        .read_to_end(&mut bytes)
        .context("its payload is not compressed by gzip")?;
    let digits = Sha256::digest(&bytes);
    let digits: String = digits.iter().map(|byte| format!("{byte:02x}")).collect();
    ensure!(
        delivery.record.payload.digest == format!("sha256:{digits}"),
        "its payload is not the one that came: its digest is another"
    );
    Ok(bytes)
}
