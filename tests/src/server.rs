//! A small HTTP server on a free port, for what stands around the function: a proxy, a flow store, a sink.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc};

use anyhow::Result;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_rustls::TlsAcceptor;

/// The body of an answer: whole, or as it comes from elsewhere.
pub type Body = UnsyncBoxBody<Bytes, anyhow::Error>;

/// What a handler does instead of answering.
#[derive(Debug, thiserror::Error)]
#[error("the connection is closed on purpose")]
pub struct Close;

/// A server; it ends, with all its connections, when dropped.
pub struct Server {
    address: SocketAddr,
    tls: bool,
    // Aborts its tasks when dropped.
    _tasks: JoinSet<()>,
}

impl Server {
    /// Serves `handle` on a free loopback port; [`Close`] instead of an answer closes the connection.
    ///
    /// # Errors
    /// No port can be bound, or the certificate is of no use.
    pub async fn start<H, R>(tls: Option<Certificate>, handle: H) -> Result<Self>
    where
        H: Fn(Request<Bytes>) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Result<Response<Body>, Close>> + Send,
    {
        Self::start_at("127.0.0.1:0", tls, handle).await
    }

    /// The same at an address that others know.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn start_at<H, R>(address: &str, tls: Option<Certificate>, handle: H) -> Result<Self>
    where
        H: Fn(Request<Bytes>) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Result<Response<Body>, Close>> + Send,
    {
        let acceptor = tls.map(Certificate::acceptor).transpose()?;
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let tls = acceptor.is_some();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // Dropped with this task, which ends the connections.
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, handle) = (acceptor.clone(), handle.clone());
                connections.spawn(async move {
                    match acceptor {
                        // A client that breaks the handshake is its test's business.
                        Some(acceptor) => {
                            if let Ok(socket) = acceptor.accept(socket).await {
                                connection(socket, handle).await;
                            }
                        }
                        None => connection(socket, handle).await,
                    }
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self {
            address,
            tls,
            _tasks: tasks,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }
}

/// A certificate and its key, as PEM.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl Certificate {
    fn acceptor(self) -> Result<TlsAcceptor> {
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes())?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())?;
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

async fn connection<S, H, R>(socket: S, handle: H)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    H: Fn(Request<Bytes>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<Response<Body>, Close>> + Send,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let handle = handle.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map_err(|_| Close)?.to_bytes();
            handle(Request::from_parts(parts, body)).await
        }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(socket), service)
        .await
        // Clients come and go, and closing is what some handlers are for.
        .ok();
}

/// A whole answer.
#[must_use]
pub fn answer(status: StatusCode, content_type: &str, body: impl Into<Bytes>) -> Response<Body> {
    Response::builder()
        .status(status)
        .header(http::header::CONTENT_TYPE, content_type)
        .body(whole(body))
        .expect("a legal header")
}

/// A body whose bytes are all known.
pub fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never: Infallible| match never {})
        .boxed_unsync()
}

impl From<Close> for io::Error {
    fn from(close: Close) -> Self {
        Self::other(close)
    }
}
