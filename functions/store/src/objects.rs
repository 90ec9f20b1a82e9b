//! Object stores: a folder, S3, Google Cloud Storage or Azure Blob Storage behind one URL; and flows kept in one.
//!
//! A flow is the object `<prefix>/<escaped key>.json`. Credentials are the usual variables of each system (`AWS_…`,
//! `GOOGLE_…`, `AZURE_…`). Plain HTTP needs `AWS_ALLOW_HTTP=true` or its counterpart.

mod access;
mod location;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, future::BoxFuture};
use object_store::{ObjectStoreExt, path::Path};
use tokio::{sync::OnceCell, time::timeout};

use crate::{Error, FlowStore, error::innermost, key};

pub(crate) use access::{Access, Opened};
pub use location::{Credentials, Location};

/// The flow store.
#[derive(Debug)]
pub(crate) struct Objects {
    access: Access,
    cap: usize,
    opened: OnceCell<Opened>,
}

impl Objects {
    pub(crate) fn new(access: Access, cap: usize) -> Self {
        Self {
            access,
            cap,
            opened: OnceCell::new(),
        }
    }

    async fn fetch(&self, key: &str) -> Result<Bytes, Error> {
        let too_large = || Error::TooLarge {
            place: self.access.place,
            limit: self.cap,
        };
        let name = format!("{}.json", key::segment(self.access.place, key)?);
        let Opened { store, prefix, .. } = self
            .opened
            .get_or_try_init(|| async { self.access.open() })
            .await?;
        let path = Path::parse(format!("{prefix}/{name}")).map_err(|error| Error::NotFound {
            place: self.access.place,
            reason: innermost(&error),
        })?;
        let fault = |error| self.access.fault(&error, &format!("object {name}"));
        let object = store.get(&path).await.map_err(fault)?;
        if object.meta.size > self.cap as u64 {
            return Err(too_large());
        }
        let mut document = BytesMut::new();
        let mut chunks = object.into_stream();
        while let Some(chunk) = chunks.next().await.transpose().map_err(fault)? {
            if chunk.len() > self.cap - document.len() {
                return Err(too_large());
            }
            document.extend_from_slice(&chunk);
        }
        Ok(document.freeze())
    }
}

impl FlowStore for Objects {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Bytes, Error>> {
        let Access { place, limit, .. } = self.access;
        Box::pin(async move {
            timeout(limit, self.fetch(key))
                .await
                .unwrap_or(Err(Error::Timeout { place, limit }))
        })
    }
}
