//! Where flows come from and large payloads go.
//!
//! A flow is looked up by its key in one store that configuration names: Onix, Kubernetes objects, or an object store
//! (a folder, S3, GCS, Azure). A payload that no Secret holds goes to an object store, and a run fetches it from there.
//! Everything is bounded: each call by a deadline, each answer by a number of bytes.
//!
//! Clients are built when they are first used, so a process that never asks a store never loads a certificate. Hosts,
//! credentials and limits come from configuration only, never from an event, and credentials are in no error and no log.
//! Never here: HTTP statuses for the sender (an [`Error`] has a [`Class`]; the function decides), the flow's meaning.

mod error;
mod fetch;
mod http;
mod key;
mod kubernetes;
mod objects;
mod onix;
mod options;
mod payload;
mod secret;

use bytes::Bytes;
use futures_util::future::BoxFuture;

pub use error::{Class, Error, Place, SLUGS};
pub use fetch::{FetchError, FetchOptions, Fetched, fetch};
pub use http::install_tls_provider;
pub use kubernetes::{Connect, FLOW_KEY, connected};
pub use objects::{Credentials, Location};
pub use options::{FlowStoreOptions, PayloadPlaceOptions, PayloadStoreOptions, Source};
pub use payload::{PayloadStore, Reference, Swept};
pub use secret::Hidden;

/// A place where flow documents are kept under keys.
pub trait FlowStore: Send + Sync {
    /// The document stored under the key, as the bytes that were stored.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none; any other [`Error`] if the store could not say.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Bytes, Error>>;
}
