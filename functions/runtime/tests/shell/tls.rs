use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use runtime::serve::{Certificates, TlsOptions};
use runtime::{Limits, Router, response};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::support::{LONG, Server, limits, within};

/// Where a server has its certificate.
struct Files(TempDir);

impl Files {
    fn new() -> (Self, String) {
        let files = Self(tempfile::tempdir().unwrap());
        let certificate = files.renew();
        (files, certificate)
    }

    /// Writes a new certificate that is its own authority, and gives it.
    fn renew(&self) -> String {
        let identity = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let TlsOptions { tls_cert, tls_key } = options(self.0.path());
        fs::write(tls_cert, identity.cert.pem()).unwrap();
        fs::write(tls_key, identity.signing_key.serialize_pem()).unwrap();
        identity.cert.pem()
    }

    async fn serve(&self, limits: Limits) -> Server {
        let certificates = Certificates::read(options(self.0.path())).unwrap();
        Server::start_tls(router(), limits, certificates).await
    }
}

fn options(folder: &Path) -> TlsOptions {
    TlsOptions {
        tls_cert: folder.join("tls.crt"),
        tls_key: folder.join("tls.key"),
    }
}

fn router() -> Router {
    Router::new()
        .post("/size", |mut call| async move {
            let size = call.read().await.unwrap().len();
            response::text(StatusCode::OK, size.to_string())
        })
        .get("/large", |_| async {
            response::text(StatusCode::OK, "x".repeat(3 << 20))
        })
        .get("/wait", |_| async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            response::text(StatusCode::OK, "finished")
        })
}

/// A connection of somebody who trusts this certificate and offers this protocol.
async fn connect(
    server: &Server,
    trusted: &str,
    protocol: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    let trusted = CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap();
    roots.add(trusted).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(server.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    within(TlsConnector::from(Arc::new(config)).connect(name, stream)).await
}

fn request(method: &str, path: &str, size: usize) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(format!("http://localhost{path}"))
        .header("host", "localhost")
        .body(Full::new(vec![b'x'; size].into()))
        .unwrap()
}

#[tokio::test]
async fn requests_follow_each_other_on_one_connection() {
    let (files, certificate) = Files::new();
    let server = files.serve(limits()).await;
    let stream = connect(&server, &certificate, b"http/1.1").await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for size in [0, 1, 1 << 20] {
        let answer = within(sender.send_request(request("POST", "/size", size)));
        let body = answer.await.unwrap().into_body().collect().await.unwrap();
        assert_eq!(body.to_bytes(), size.to_string());
        // Longer than the way to the place where a connection without TLS would nap.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let answer = within(sender.send_request(request("GET", "/large", 0))).await;
    let body = answer.unwrap().into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes().len(), 3 << 20);
}

#[tokio::test]
async fn both_protocols_are_offered() {
    let (files, certificate) = Files::new();
    let server = files.serve(limits()).await;
    let stream = connect(&server, &certificate, b"h2").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let answer = within(sender.send_request(request("POST", "/size", 100_000))).await;
    let answer = answer.unwrap();
    assert_eq!(answer.version(), Version::HTTP_2);
    let body = answer.into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "100000");
}

#[tokio::test]
async fn a_renewed_certificate_serves_the_next_connection() {
    let (files, former) = Files::new();
    let server = files.serve(limits()).await;
    connect(&server, &former, b"http/1.1").await.unwrap();
    let renewed = files.renew();
    let began = Instant::now();
    while connect(&server, &renewed, b"http/1.1").await.is_err() {
        assert!(began.elapsed() < LONG);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    connect(&server, &former, b"http/1.1").await.unwrap_err();
}

#[tokio::test]
async fn a_handshake_that_does_not_come_ends_and_gives_its_place_back() {
    let (files, certificate) = Files::new();
    let limits = Limits {
        header_time: Duration::from_millis(300),
        connections: 1,
        ..limits()
    };
    let server = files.serve(limits).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    // The beginning of a handshake, of which nothing more comes.
    silent.write_all(&[22, 3, 1, 2, 0]).await.unwrap();
    // There is one place, and it is taken. There is no answer in the clear to a handshake.
    tokio::time::sleep(Duration::from_millis(50)).await;
    connect(&server, &certificate, b"http/1.1")
        .await
        .unwrap_err();
    let mut scrap = Vec::new();
    within(silent.read_to_end(&mut scrap)).await.unwrap();
    assert!(scrap.is_empty(), "{scrap:?}");
    let began = Instant::now();
    while connect(&server, &certificate, b"http/1.1").await.is_err() {
        assert!(began.elapsed() < LONG);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn nothing_is_answered_in_the_clear() {
    let (files, _) = Files::new();
    let server = files.serve(limits()).await;
    let mut peer = TcpStream::connect(server.address).await.unwrap();
    peer.write_all(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut bytes = Vec::new();
    // An alert at most.
    let _ = within(peer.read_to_end(&mut bytes)).await;
    assert!(!bytes.starts_with(b"HTTP") && bytes.len() < 32, "{bytes:?}");
}

#[tokio::test]
async fn what_is_in_flight_is_finished() {
    let (files, certificate) = Files::new();
    let mut server = files.serve(limits()).await;
    let stream = connect(&server, &certificate, b"http/1.1").await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let answer = tokio::spawn(sender.send_request(request("GET", "/wait", 0)));
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.stop();
    let answer = within(answer).await.unwrap().unwrap();
    let body = answer.into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "finished");
    server.ended().await;
}
