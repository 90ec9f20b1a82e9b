//! One connection that is kept alive: requests go out one after the other, with nothing in between but hyper.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use control_plane::Cluster;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;

/// Where a connection goes, and how it is opened; cheap to clone.
#[derive(Clone)]
pub(crate) struct Target {
    address: SocketAddr,
    headers: HeaderMap,
    tls: Option<Arc<ClientConfig>>,
}

/// A connection, open until it is dropped.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    target: Target,
}

impl Target {
    /// A server without TLS.
    pub(crate) fn plain(address: SocketAddr, authorization: &str) -> Result<Self> {
        Self::at(address, None)?.header(header::AUTHORIZATION, authorization)
    }

    /// A server without TLS that asks for no password.
    pub(crate) fn open(address: SocketAddr) -> Result<Self> {
        Self::at(address, None)
    }

    fn at(address: SocketAddr, tls: Option<Arc<ClientConfig>>) -> Result<Self> {
        let target = Self {
            address,
            headers: HeaderMap::new(),
            tls,
        };
        target.header(header::HOST, &address.to_string())
    }

    /// The same at another address.
    pub(crate) fn moved(&self, address: SocketAddr) -> Result<Self> {
        let target = Self {
            address,
            ..self.clone()
        };
        target.header(header::HOST, &address.to_string())
    }

    /// The same with another header, or another value of one.
    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Result<Self> {
        self.headers.insert(name, value.parse()?);
        Ok(self)
    }

    /// The API server, with a token.
    pub(crate) fn api_server(cluster: &Cluster, token: &str) -> Result<Self> {
        let address = cluster
            .url()
            .strip_prefix("https://")
            .context("the API server has no https URL")?
            .parse()?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(cluster.ca().as_bytes())?)?;
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self::at(address, Some(Arc::new(config)))?
            .header(header::AUTHORIZATION, &format!("Bearer {token}"))
    }

    /// Opens a connection.
    pub(crate) async fn connect(&self) -> Result<Connection> {
        let stream = TcpStream::connect(self.address)
            .await
            .with_context(|| format!("connecting to {}", self.address))?;
        stream.set_nodelay(true)?;
        let sender = match &self.tls {
            None => {
                let (sender, connection) = handshake(TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                sender
            }
            Some(config) => {
                let name = ServerName::IpAddress(self.address.ip().into());
                let stream = tokio_rustls::TlsConnector::from(Arc::clone(config))
                    .connect(name, stream)
                    .await?;
                let (sender, connection) = handshake(TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                sender
            }
        };
        Ok(Connection {
            sender,
            target: self.clone(),
        })
    }
}

impl Connection {
    /// Sends a request and reads the answer to its end; anything but a 2xx is an error, as there is nothing to measure then.
    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: impl Into<Bytes>,
    ) -> Result<Bytes> {
        let (status, body) = self.ask(method, path, content_type, body).await?;
        if !status.is_success() {
            bail!(
                "{path} answered {status}: {}",
                String::from_utf8_lossy(&body)
            );
        }
        Ok(body)
    }

    /// Sends a request and reads the answer to its end, whatever it is.
    pub(crate) async fn ask(
        &mut self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: impl Into<Bytes>,
    ) -> Result<(StatusCode, Bytes)> {
        let content_type = HeaderValue::from_static(content_type);
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, content_type)]);
        self.ask_with(method, path, headers, body).await
    }

    /// The same with further headers of its own.
    pub(crate) async fn ask_with(
        &mut self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: impl Into<Bytes>,
    ) -> Result<(StatusCode, Bytes)> {
        let mut request = Request::new(Full::new(body.into()));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse()?;
        request.headers_mut().clone_from(&self.target.headers);
        request.headers_mut().extend(headers);
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, body))
    }
}
