//! An HTTP server that answers as a test says, well or badly.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::{body::Frame, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::net::TcpListener;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::PrivateKeyDer},
};

/// What a server does with a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Answers, with a length.
    Body(StatusCode, Bytes),
    /// Answers 302 with this target.
    Redirect(String),
    /// Never answers.
    Hang,
    /// Announces a body and sends a byte of it now and then.
    Drip,
    /// Sends so many bytes without announcing a length.
    Stream(usize),
    /// Announces a body, sends half of it and closes the connection.
    Cut(Bytes),
}

impl Answer {
    pub fn ok(body: impl Into<Bytes>) -> Self {
        Self::Body(StatusCode::OK, body.into())
    }

    pub fn status(status: u16) -> Self {
        Self::Body(
            StatusCode::from_u16(status).unwrap(),
            Bytes::from_static(b"whatever"),
        )
    }
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub uri: Uri,
    pub headers: HeaderMap,
}

/// A running server; it ends with the test's runtime.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    scheme: &'static str,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Gives the n-th request the n-th answer, and the last one to all that follow.
    pub async fn start(answers: impl Into<Vec<Answer>>) -> Self {
        Self::bind(answers.into(), None).await
    }

    /// The same with TLS.
    pub async fn start_tls(answers: impl Into<Vec<Answer>>, authority: &Authority) -> Self {
        Self::bind(answers.into(), Some(authority.acceptor())).await
    }

    async fn bind(answers: Vec<Answer>, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let scheme = if tls.is_some() { "https" } else { "http" };
        let server = Self {
            address,
            scheme,
            seen: seen.clone(),
        };
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (answers, seen, tls) = (answers.clone(), seen.clone(), tls.clone());
                let service = service_fn(move |request| {
                    let next = record(&seen, request);
                    respond(answers.get(next).or(answers.last()).unwrap().clone())
                });
                tokio::spawn(async move {
                    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    // Connections end as their clients please; a test looks at the client.
                    match tls {
                        None => drop(server.serve_connection(TokioIo::new(stream), service).await),
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                drop(server.serve_connection(TokioIo::new(stream), service).await);
                            }
                        }
                    }
                });
            }
        });
        server
    }

    pub fn url(&self, path: &str) -> String {
        let Self {
            address, scheme, ..
        } = self;
        format!("{scheme}://{address}{path}")
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

/// An address where nobody listens.
pub async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
}

fn record(seen: &Mutex<Vec<Seen>>, request: Request<Incoming>) -> usize {
    let mut seen = seen.lock().unwrap();
    seen.push(Seen {
        uri: request.uri().clone(),
        headers: request.headers().clone(),
    });
    seen.len() - 1
}

type Body = BoxBody<Bytes, io::Error>;

async fn respond(answer: Answer) -> Result<Response<Body>, Infallible> {
    let body = |chunks: Vec<io::Result<Bytes>>| {
        let frames = chunks.into_iter().map(|chunk| chunk.map(Frame::data));
        StreamBody::new(futures_util::stream::iter(frames)).boxed()
    };
    let response = Response::builder();
    let response = match answer {
        Answer::Body(status, bytes) => response
            .status(status)
            .header("content-length", bytes.len())
            .body(body(vec![Ok(bytes)])),
        Answer::Redirect(to) => response
            .status(302)
            .header("location", to)
            .body(body(vec![])),
        Answer::Hang => std::future::pending().await,
        Answer::Drip => {
            let drops = futures_util::stream::unfold((), |()| async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Some((Ok(Frame::data(Bytes::from_static(b" "))), ()))
            });
            response
                .header("content-length", 1_000_000)
                .body(StreamBody::new(drops).boxed())
        }
        Answer::Stream(size) => {
            let chunks = (0..size.div_ceil(8192)).map(|_| Ok(Bytes::from_static(&[b' '; 8192])));
            response.body(body(chunks.collect()))
        }
        Answer::Cut(bytes) => {
            let half = bytes.slice(..bytes.len() / 2);
            let cut = Err(io::Error::other("cut"));
            response
                .header("content-length", bytes.len())
                .body(body(vec![Ok(half), cut]))
        }
    };
    Ok(response.unwrap())
}

/// A certificate authority that no system knows.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// Its certificate in a file.
    pub fn file(&self) -> tempfile::TempPath {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &self.pem).unwrap();
        file.into_temp_path()
    }

    fn acceptor(&self) -> TlsAcceptor {
        store::install_tls_provider();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}
