//! An in-process Kubernetes API: what `hookrun dev` runs on when there is no cluster.
//!
//! [`Api`] is a tower service behind the same [`kube::Client`] that production uses, and on the HTTP port it answers
//! kubectl. Objects lie in a folder as YAML files that people can read and write; memory holds them for reading.
//! What it does it does as the real API server, which one suite of tests proves against both: optimistic locking,
//! server-side apply with field owners, patches, selectors, watches, finalizers and clean-up after owners.
//!
//! What it never does: execute anything (a PipelineRun stays as it was created), check Tekton objects beyond their
//! metadata, authenticate, listen on a socket, or pretend. Whatever is not done is answered 501 and says so.
//! `docs/embedded.md` lists the kubectl commands that work.
//!
//! In reading order: `resource` is the table of kinds, `store` the objects, `service` takes requests apart,
//! `read`, `write` and `delete` do them.

mod apply;
mod body;
mod compare;
mod delete;
mod discovery;
mod failure;
mod fields;
mod folder;
mod form;
mod gc;
mod kinds;
mod managers;
mod object;
mod origin;
mod patch;
mod protobuf;
mod query;
mod read;
mod resource;
mod route;
mod selector;
mod service;
mod shape;
mod store;
mod table;
mod validate;
mod watch;
mod write;

pub use folder::Unreadable;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use std::{
    convert::Infallible,
    future::Future,
    io,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use store::Store;

/// The body of an answer: one piece, or the lines of a watch as they come.
pub type Body = BoxBody<Bytes, Infallible>;

/// The API on one folder. Clones share it; the folder is released with the last of them.
#[derive(Clone)]
pub struct Api {
    store: Arc<Store>,
}

impl Api {
    /// Opens a folder, which is created where it does not exist, and cleans up what lost its owners meanwhile.
    ///
    /// # Errors
    ///
    /// Where the folder cannot be read or written, or another process has it open
    /// ([`io::ErrorKind::ResourceBusy`]). A file that cannot be read is no error: see [`Self::unreadable`].
    pub fn open(folder: &Path) -> io::Result<Self> {
        let store = Store::open(folder)?;
        Ok(Self {
            store: Arc::new(store),
        })
    }

    /// A client of this API, without a socket in between. To be called within a tokio runtime.
    pub fn client(&self) -> kube::Client {
        kube::Client::new(self.clone(), "default")
    }

    /// The files that could not be read when the folder was opened. They are left as they are; requests for the
    /// objects in them are answered 500 with the reason.
    pub fn unreadable(&self) -> Vec<Unreadable> {
        self.store.lock().unreadable()
    }

    /// Ends all watches, so that a server that finishes what is in flight can end.
    pub fn close(&self) {
        self.store.close();
    }
}

impl<B> tower::Service<Request<B>> for Api
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<tower::BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let store = Arc::clone(&self.store);
        Box::pin(async move { Ok(service::answer(store, request).await) })
    }
}
