//! Payloads that no Secret holds: put into a bucket, fetched by the run through a signed URL, swept when their time is over.
//!
//! An object's name follows from namespace, run and content, so a repeated event writes the same object again. The bucket's
//! credentials stay in this process; a run gets a URL for its one object and a digest to check it by.
//!
//! Age alone decides when an object is deleted. What wants one for longer stores it again: that renews its age.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::{Error as StoreError, ObjectMeta, ObjectStoreExt, path::Path};
use reqwest::Method;
use sha2::{Digest, Sha256};
use tokio::{
    sync::OnceCell,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    Error,
    objects::{Access, Opened},
};

/// Deletions under way at the same time.
const DELETIONS: usize = 8;

/// A bucket for payloads; its client is built for the first one.
#[derive(Debug)]
pub struct PayloadStore {
    access: Access,
    expiry: Duration,
    sweep_limit: Duration,
    opened: OnceCell<Opened>,
}

/// Where a run finds its payload.
#[derive(Clone, PartialEq, Eq)]
pub struct Reference {
    /// Signed URL to GET the payload from. Whoever has it can read the payload until it expires.
    pub url: String,
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// Number of bytes.
    pub size: u64,
}

impl Reference {
    /// Entry for [`Reference::url`].
    pub const URL: &str = "url";
    /// Entry for [`Reference::digest`].
    pub const DIGEST: &str = "digest";
    /// Entry for [`Reference::size`], in decimal.
    pub const SIZE: &str = "size";
    /// Entry for the name of the file that a run sees the payload as.
    pub const FILE: &str = "file";
    /// The entries of a Secret that says where a run's payload lies; `hookrun fetch --from` reads them.
    pub const ENTRIES: [&str; 4] = [Self::URL, Self::DIGEST, Self::SIZE, Self::FILE];

    /// What a Secret says of a payload that a run sees as this file: all of [`Reference::ENTRIES`].
    pub fn entries(&self, file: &str) -> [(&'static str, String); 4] {
        [
            (Self::URL, self.url.clone()),
            (Self::DIGEST, self.digest.clone()),
            (Self::SIZE, self.size.to_string()),
            (Self::FILE, file.to_owned()),
        ]
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            url: _,
            digest,
            size,
        } = self;
        f.debug_struct("Reference")
            .field("digest", digest)
            .field("size", size)
            .finish_non_exhaustive()
    }
}

/// What a sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Payloads looked at.
    pub examined: usize,
    /// Payloads deleted, by this sweep or by one at the same time.
    pub deleted: usize,
    /// Payloads that could not be deleted, and why the last of them.
    pub failed: Option<(usize, Error)>,
    /// Whether everything was looked at; otherwise another sweep has work left.
    pub complete: bool,
}

impl PayloadStore {
    pub(crate) fn new(access: Access, expiry: Duration, sweep_limit: Duration) -> Self {
        Self {
            access,
            expiry,
            sweep_limit,
            opened: OnceCell::new(),
        }
    }

    /// Stores the payload of a run and signs a URL for it.
    ///
    /// # Errors
    /// An [`Error`]; the payload may be stored nevertheless, and the same call again does no harm.
    pub async fn put(
        &self,
        namespace: &str,
        run: &str,
        payload: Bytes,
    ) -> Result<Reference, Error> {
        let size = payload.len() as u64;
        let put = async {
            let digits = self.store(namespace, run, payload).await?;
            self.signed(namespace, run, &digits, size).await
        };
        self.in_time(put).await
    }

    /// Stores a payload, for a URL to be signed later. One that is there already is as young as a new one afterwards.
    ///
    /// # Errors
    /// As of [`PayloadStore::put`].
    pub async fn keep(&self, namespace: &str, run: &str, payload: Bytes) -> Result<(), Error> {
        let keep = self.store(namespace, run, payload);
        self.in_time(keep).await.map(drop)
    }

    /// Signs a new URL for a payload that was stored before: `digest` is that of its [`Reference`].
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is gone; any other [`Error`] where the store cannot be asked or cannot sign now.
    pub async fn sign(
        &self,
        namespace: &str,
        run: &str,
        digest: &str,
        size: u64,
    ) -> Result<Reference, Error> {
        let digits = digits(digest);
        let sign = async {
            let Opened { store, prefix, .. } = self.opened().await?;
            let path = path(prefix, namespace, run, digits);
            store.head(&path).await.map_err(|error| self.gone(&error))?;
            self.signed(namespace, run, digits, size).await
        };
        self.in_time(sign).await
    }

    /// The bytes of a payload that was stored before: `digest` and `size` are those of its [`Reference`].
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is gone, [`Error::Malformed`] if these are not its bytes; any other [`Error`] where
    /// the store could not say.
    pub async fn get(
        &self,
        namespace: &str,
        run: &str,
        digest: &str,
        size: u64,
    ) -> Result<Bytes, Error> {
        let another = || Error::Malformed {
            place: self.access.place,
            reason: "the payload is not the one that was stored: its size or its digest is another"
                .to_owned(),
        };
        let get = async {
            let Opened { store, prefix, .. } = self.opened().await?;
            let path = path(prefix, namespace, run, digits(digest));
            let object = store.get(&path).await.map_err(|error| self.gone(&error))?;
            if object.meta.size != size {
                return Err(another());
            }
            let bytes = object.bytes().await.map_err(|error| self.gone(&error))?;
            let same = hex(&Sha256::digest(&bytes)) == digits(digest);
            same.then_some(bytes).ok_or_else(another)
        };
        self.in_time(get).await
    }

    /// A call, within its time.
    async fn in_time<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let Access { place, limit, .. } = self.access;
        timeout(limit, call)
            .await
            .unwrap_or(Err(Error::Timeout { place, limit }))
    }

    /// What is wrong where a payload should be.
    fn gone(&self, error: &StoreError) -> Error {
        match error {
            StoreError::NotFound { .. } => Error::NotFound {
                place: self.access.place,
                reason:
                    "the payload is not there any more: it is kept for HOOKRUN_PAYLOAD_RETENTION"
                        .to_owned(),
            },
            error => self.access.fault(error, "the payload"),
        }
    }

    /// Writes the object; the digits of its digest.
    async fn store(&self, namespace: &str, run: &str, payload: Bytes) -> Result<String, Error> {
        let digits = hex(&Sha256::digest(&payload));
        let Opened { store, prefix, .. } = self.opened().await?;
        let path = path(prefix, namespace, run, &digits);
        let fault = |error| self.access.fault(&error, "the bucket");
        store.put(&path, payload.into()).await.map_err(fault)?;
        Ok(digits)
    }

    async fn signed(
        &self,
        namespace: &str,
        run: &str,
        digest: &str,
        size: u64,
    ) -> Result<Reference, Error> {
        let place = self.access.place;
        let Opened { signer, prefix, .. } = self.opened().await?;
        let path = path(prefix, namespace, run, digest);
        let fault = |error| self.access.fault(&error, "the bucket");
        let Some(signer) = signer else {
            return Err(Error::Settings {
                place,
                reason: "this store cannot sign URLs".to_owned(),
            });
        };
        let url = signer
            .signed_url(Method::GET, &path, self.expiry)
            .await
            .map_err(fault)?;
        Ok(Reference {
            url: url.into(),
            digest: format!("sha256:{digest}"),
            size,
        })
    }

    /// Deletes payloads that were stored longer ago than that (or than their URLs are good for, if that is longer), at
    /// most `limit` of them. Other objects below the prefix stay. Two sweeps at the same time do no harm.
    ///
    /// # Errors
    /// An [`Error`] if the store cannot be listed.
    pub async fn sweep(
        &self,
        now: SystemTime,
        older_than: Duration,
        limit: usize,
    ) -> Result<Swept, Error> {
        let deadline = Instant::now() + self.sweep_limit;
        let cutoff = now
            .checked_sub(older_than.max(self.expiry))
            .unwrap_or(SystemTime::UNIX_EPOCH);
        let opened = self.opened().await?;
        let mut swept = Swept::default();
        let mut examined = 0;
        let mut listed_all = false;
        {
            let listing = opened.store.list(Some(&opened.prefix));
            let mut deletions = listing
                .map_err(|error| self.access.fault(&error, "the bucket"))
                .try_filter(|object| {
                    let candidate = is_payload(&opened.prefix, &object.location);
                    examined += usize::from(candidate);
                    std::future::ready(candidate && is_older(object, cutoff))
                })
                .take(limit)
                .map_ok(
                    |object| async move { Ok(self.delete(opened, &object.location, cutoff).await) },
                )
                .try_buffer_unordered(DELETIONS);
            // Past the deadline the rest is left to the next sweep.
            while let Ok(next) = timeout_at(deadline, deletions.next()).await {
                match next.transpose()? {
                    None => {
                        listed_all = swept.deleted
                            + swept.failed.as_ref().map_or(0, |(count, _)| *count)
                            < limit;
                        break;
                    }
                    Some(Ok(())) => swept.deleted += 1,
                    Some(Err(error)) => {
                        let count = swept.failed.take().map_or(0, |(count, _)| count);
                        swept.failed = Some((count + 1, error));
                    }
                }
            }
        }
        swept.examined = examined;
        swept.complete = listed_all;
        Ok(swept)
    }

    /// Deletes one payload, unless a repeated event has just stored it again.
    async fn delete(&self, opened: &Opened, path: &Path, cutoff: SystemTime) -> Result<(), Error> {
        let fault = |error| self.access.fault(&error, "the payload");
        match opened.store.head(path).await {
            Ok(object) if is_older(&object, cutoff) => {}
            Ok(_) | Err(StoreError::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(fault(error)),
        }
        let Err(error) = opened.store.delete(path).await else {
            return Ok(());
        };
        // Another sweep was quicker. Some stores tell that by a code of their own, so it is asked for.
        match opened.store.head(path).await {
            Err(StoreError::NotFound { .. }) => Ok(()),
            _ => Err(fault(error)),
        }
    }

    async fn opened(&self) -> Result<&Opened, Error> {
        self.opened
            .get_or_try_init(|| async { self.access.open() })
            .await
    }
}

/// The digits of a digest.
fn digits(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap_or(digest)
}

/// Where a payload is.
fn path(prefix: &Path, namespace: &str, run: &str, digest: &str) -> Path {
    prefix.clone().join(namespace).join(run).join(digest)
}

fn is_older(object: &ObjectMeta, cutoff: SystemTime) -> bool {
    SystemTime::from(object.last_modified) < cutoff
}

/// Whether this is the name of a payload: a bucket may hold other things, which are not ours to delete.
fn is_payload(prefix: &Path, path: &Path) -> bool {
    let Some(parts) = path.prefix_match(prefix) else {
        return false;
    };
    let parts: Vec<_> = parts.collect();
    match parts.as_slice() {
        [_namespace, _run, digest] => {
            let digest = digest.as_ref();
            digest.len() == 64
                && digest
                    .bytes()
                    .all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
        }
        _ => false,
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_payloads_are_ours_to_delete() {
        let digest = hex(&Sha256::digest(b"x"));
        let is_payload = |path: &str| is_payload(&Path::from("pay"), &Path::from(path));
        assert!(is_payload(&format!("pay/blue/run-1/{digest}")));
        assert!(!is_payload(&format!("pay/run-1/{digest}")));
        assert!(!is_payload(&format!(
            "pay/blue/run-1/{}",
            digest.to_uppercase()
        )));
        assert!(!is_payload(&format!("other/blue/run-1/{digest}")));
        assert!(!is_payload("pay/blue/run-1/readme.txt"));
    }

    #[test]
    fn a_signed_url_is_not_shown() {
        let reference = Reference {
            url: "https://b/x?X-Amz-Signature=5ec".into(),
            digest: "sha256:0".into(),
            size: 1,
        };
        assert!(!format!("{reference:?}").contains("5ec"));
    }
}
