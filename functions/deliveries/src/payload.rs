//! Where the bytes of an event are kept, and how a run or a replay gets them back.
//!
//! Small ones lie compressed in the Delivery itself, larger ones in a Secret that it owns, and what no Secret holds in
//! the payload store. What a store holds is put there before the Delivery exists, under a name that follows from its
//! content; a Secret needs the Delivery's UID, so it is created right after it, and before anybody gets an answer.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use cluster::{Cluster, Fault, Kind, SECRETS};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use flows::label;
use hooks::{Delivery, delivery::StoredPayload};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use store::{Class, PayloadStore};

use crate::{
    aside::{AT_ONCE, aside},
    resource::PAYLOAD,
};

/// Most characters of base64 that lie in the Delivery itself.
pub const INLINE: usize = 256 << 10;

/// Most bytes that are kept in the cluster; a Secret of the run has to hold them, too.
pub const IN_CLUSTER: usize = flows::flow::DATA_MAX;

/// How often a Secret is looked at that is there and then is not.
const LOOKS: usize = 3;

/// Most bytes before they are compressed.
pub const PLAIN: usize = 16 << 20;

/// Digits of a digest that are part of a name.
pub const DIGITS: usize = 10;

/// A payload, and what of it is not in its Delivery.
pub struct Packed {
    /// What the Delivery says of it.
    pub stored: StoredPayload,
    /// The Secret that holds it, where one does.
    pub secret: Option<Kept>,
}

/// A Secret that a Delivery owns. Its content is part of its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its name.
    pub name: String,
    /// What it holds, in base64.
    pub data: BTreeMap<String, String>,
}

/// Why a payload cannot be kept or had back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nowhere to put it.
    #[error(
        "the payload has {size} bytes; more than {IN_CLUSTER} need an object store, and none is configured \
         (HOOKRUN_PAYLOAD_STORE)"
    )]
    TooLarge {
        /// Its bytes.
        size: usize,
    },
    /// The object store refused it, or could not be asked.
    #[error("cannot store the payload: {0}")]
    Store(#[from] store::Error),
    /// The API server could not be asked.
    #[error(transparent)]
    Cluster(#[from] Fault),
    /// It is not where the Delivery says.
    #[error("the payload is lost: {0}")]
    Lost(String),
}

impl Error {
    /// Whether it does not come back by itself.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Store(error) => {
                matches!(error.class(), Class::NotFound | Class::Malformed)
            }
            Self::Lost(_) => true,
            Self::TooLarge { .. } | Self::Cluster(_) => false,
        }
    }
}

/// What is to be kept, and for which Delivery.
#[derive(Clone, Copy, Debug)]
pub struct Parcel<'a> {
    /// Where the Delivery is.
    pub namespace: &'a str,
    /// Its name.
    pub delivery: &'a str,
    /// The bytes.
    pub bytes: &'a Bytes,
    /// As the sender says.
    pub content_type: &'a str,
    /// What it is to whom it is for.
    pub nature: Nature,
}

/// What the bytes of an event are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// The run gets them, in a Secret of its own: so no more than that holds are kept in the cluster.
    Payload,
    /// The flow itself. It may hold credentials, so it lies in a Secret, never in the Delivery.
    Flow,
}

/// Finds a place for the bytes of an event, and puts them there if that is the object store.
///
/// # Errors
/// [`Error::TooLarge`] or [`Error::Store`]; nothing is kept then.
pub async fn pack(store: Option<&PayloadStore>, parcel: Parcel<'_>) -> Result<Packed, Error> {
    let Parcel {
        namespace,
        delivery,
        bytes,
        content_type,
        nature,
    } = parcel;
    let fits = nature == Nature::Flow || bytes.len() <= IN_CLUSTER;
    let (digest, compressed) = pressed(bytes, fits && bytes.len() <= PLAIN).await;
    let mut stored = StoredPayload {
        size: bytes.len() as u64,
        digest,
        content_type: content_type.to_owned(),
        ..StoredPayload::default()
    };
    // What cannot be compressed becomes a little longer by it.
    let Some(compressed) = compressed.filter(|bytes| bytes.len() <= IN_CLUSTER) else {
        let store = store.ok_or(Error::TooLarge { size: bytes.len() })?;
        store.keep(namespace, delivery, bytes.clone()).await?;
        stored.object = Some(delivery.to_owned());
        return Ok(Packed {
            stored,
            secret: None,
        });
    };
    // Four characters for three bytes.
    if nature == Nature::Payload && compressed.len() <= INLINE / 4 * 3 {
        stored.gzip = Some(BASE64_STANDARD.encode(compressed));
        return Ok(Packed {
            stored,
            secret: None,
        });
    }
    let name = name_with(delivery, &stored.digest);
    stored.secret_name = Some(name.clone());
    let data = BTreeMap::from([(PAYLOAD.to_owned(), BASE64_STANDARD.encode(compressed))]);
    Ok(Packed {
        stored,
        secret: Some(Kept { name, data }),
    })
}

/// The digest of bytes, and what they are compressed if that is asked for.
async fn pressed(bytes: &Bytes, compressed: bool) -> (String, Option<Vec<u8>>) {
    let bytes = bytes.clone();
    let is_little = bytes.len() <= AT_ONCE;
    let press = move || (digest(&bytes), compressed.then(|| compress(&bytes)));
    if is_little {
        return press();
    }
    aside(press).await
}

/// A name with the beginning of a digest: an event that is evaluated again may come with other bytes.
pub fn name_with(base: &str, digest: &str) -> String {
    let digits = digest.strip_prefix("sha256:").unwrap_or(digest);
    format!("{base}-{}", digits.get(..DIGITS).unwrap_or(digits))
}

/// Creates a Secret of a Delivery, or finds it created by another request of the same event.
///
/// # Errors
/// A [`Fault`]; nobody may be told then that the event is stored.
pub async fn keep(
    cluster: &Cluster,
    delivery: &Delivery,
    Kept { name, data }: &Kept,
) -> Result<(), Fault> {
    let metadata = &delivery.metadata;
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": metadata.namespace,
            "labels": {label::MANAGED_BY: label::HOOKRUN, hooks::run::DELIVERY: metadata.name},
            "ownerReferences": [{
                "apiVersion": hooks::API_VERSION, "kind": "Delivery", "name": metadata.name, "uid": metadata.uid,
                "controller": true, "blockOwnerDeletion": false,
            }],
        },
        "immutable": true,
        "type": "Opaque",
        "data": data,
    });
    let ours = |found: &Owned| {
        let mut owners = found.metadata.owner_references.iter();
        owners.any(|owner| owner["uid"].as_str() == Some(&metadata.uid))
    };
    for _ in 0..LOOKS {
        let created: Result<serde::de::IgnoredAny, Fault> = cluster
            .create(SECRETS, Some(&metadata.namespace), &secret)
            .await;
        match created {
            Ok(_) => return Ok(()),
            Err(fault) if fault.kind == Kind::Conflict => {}
            Err(fault) => return Err(fault),
        }
        let found: Option<Owned> = cluster.find(SECRETS, &metadata.namespace, name).await?;
        match found {
            Some(found) if ours(&found) => return Ok(()),
            // One of an earlier Delivery of this name, which vanishes with it.
            Some(_) => break,
            // It vanished in this moment.
            None => {}
        }
    }
    Err(Fault {
        kind: Kind::Unavailable,
        doing: format!("creating Secret {name}"),
        message: "the Secret of an earlier Delivery is still there; try again".to_owned(),
        retry_after: None,
    })
}

/// The bytes of a stored event, from wherever they are in the cluster.
///
/// # Errors
/// [`Error::Lost`] where they are not; otherwise the API server could not be asked.
pub async fn unpack(cluster: &Cluster, delivery: &Delivery) -> Result<Bytes, Error> {
    let stored = &delivery.record.payload;
    match (&stored.gzip, &stored.secret_name) {
        (Some(text), _) => open(text, stored),
        (None, Some(name)) => {
            let namespace = &delivery.metadata.namespace;
            let found: Option<Data> = cluster.find(SECRETS, namespace, name).await?;
            let found = found.ok_or_else(|| lost("its Secret does not exist"))?;
            let text = found.data.get(PAYLOAD);
            open(text.ok_or_else(|| lost("its Secret is empty"))?, stored)
        }
        (None, None) => Err(lost("the Delivery does not say where it is")),
    }
}

/// The bytes of a payload, from the text under which the cluster keeps them: gzip in base64.
///
/// # Errors
/// [`Error::Lost`] where the text is none, or not that of this payload.
pub fn open(text: &str, stored: &StoredPayload) -> Result<Bytes, Error> {
    let compressed = BASE64_STANDARD
        .decode(text)
        .map_err(|_| lost("it is not base64"))?;
    let bytes = decompress(&compressed, stored.size).map_err(|error| lost(&error.to_string()))?;
    if digest(&bytes) != stored.digest {
        return Err(lost("its digest is another one"));
    }
    Ok(bytes)
}

fn lost(why: &str) -> Error {
    Error::Lost(why.to_owned())
}

/// What is read of a Secret.
#[derive(Deserialize)]
pub struct Data {
    /// What it holds, in base64.
    #[serde(default)]
    pub data: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Owned {
    metadata: OwnedMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OwnedMetadata {
    #[serde(default)]
    owner_references: Vec<Value>,
}

/// The same bytes give the same result: there is no time in it.
fn compress(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing to memory does not fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

/// At most as many bytes as are said to be in it, and as are kept in the cluster: what is compressed could be anybody's.
fn decompress(bytes: &[u8], size: u64) -> std::io::Result<Bytes> {
    let mut plain = Vec::new();
    GzDecoder::new(bytes)
        .take(size.min(PLAIN as u64))
        .read_to_end(&mut plain)?;
    Ok(plain.into())
}

/// `sha256:` and hexadecimal digits.
pub fn digest(bytes: &[u8]) -> String {
    let digits = Sha256::digest(bytes);
    let digits = digits.iter().map(|byte| format!("{byte:02x}"));
    digits.fold("sha256:".to_owned(), |text, digit| text + &digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compressed_comes_back_and_is_the_same_each_time() {
        let bytes = b"{\"ref\":\"refs/heads/main\"}".repeat(100);
        let compressed = compress(&bytes);
        assert_eq!(compressed, compress(&bytes));
        assert!(compressed.len() < bytes.len());
        assert_eq!(decompress(&compressed, 1 << 20).unwrap(), bytes);
    }

    #[test]
    fn a_bomb_ends_at_the_limit() {
        let bomb = compress(&vec![0; PLAIN * 2]);
        assert_eq!(decompress(&bomb, u64::MAX).unwrap().len(), PLAIN);
        assert_eq!(decompress(&bomb, 7).unwrap().len(), 7);
    }
}
