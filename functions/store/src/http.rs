//! The HTTP client that Onix, the object stores and `fetch` share: no redirects, verified TLS, proxy variables.

use std::{fs, path::Path};

use bytes::{Bytes, BytesMut};
use reqwest::{Certificate, ClientBuilder, Response, redirect};

use crate::error::innermost;

/// Which certificates a client trusts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trust<'a> {
    /// None: for plain HTTP, where loading the system's certificates would cost time and memory for nothing.
    Nothing,
    /// Those of the system.
    System,
    /// Those in this PEM file and no other.
    File(&'a Path),
}

impl<'a> Trust<'a> {
    /// What suits a URL.
    pub(crate) fn of(scheme: &str, file: Option<&'a Path>) -> Self {
        match (scheme, file) {
            (_, Some(file)) => Self::File(file),
            ("http", None) => Self::Nothing,
            (_, None) => Self::System,
        }
    }
}

/// Names ring as the process's TLS implementation, unless one is named already.
///
/// The stores call it before they build a client; a process that uses TLS elsewhere may call it at its start.
pub fn install_tls_provider() {
    // An error means that one is installed: a process has one for good, and any will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A client to complete with timeouts and build.
pub(crate) fn client(trust: Trust<'_>) -> Result<ClientBuilder, String> {
    install_tls_provider();
    let builder = reqwest::Client::builder()
        .user_agent(concat!("hookrun/", env!("CARGO_PKG_VERSION")))
        // Hosts come from configuration only, not from what a host answers.
        .redirect(redirect::Policy::none())
        // A URL may be a credential, and would travel as one.
        .referer(false);
    Ok(match trust {
        Trust::Nothing => builder.tls_certs_only([]),
        Trust::System => builder,
        Trust::File(file) => builder.tls_certs_only(certificates(file)?),
    })
}

fn certificates(file: &Path) -> Result<Vec<Certificate>, String> {
    let problem = |what: String| format!("certificate file {}: {what}", file.display());
    let pem = fs::read(file).map_err(|error| problem(error.to_string()))?;
    let certificates =
        Certificate::from_pem_bundle(&pem).map_err(|error| problem(innermost(&error)))?;
    if certificates.is_empty() {
        return Err(problem("holds no certificate in PEM form".to_owned()));
    }
    Ok(certificates)
}

/// Why a body was not read to its end.
#[derive(Debug)]
pub(crate) enum Unread {
    /// It has more bytes than allowed.
    TooLarge,
    /// The connection broke.
    Broken(reqwest::Error),
}

/// A body of at most so many bytes.
pub(crate) async fn read(mut response: Response, cap: usize) -> Result<Bytes, Unread> {
    let announced = response.content_length().unwrap_or(0);
    if announced > cap as u64 {
        return Err(Unread::TooLarge);
    }
    // Grown as bytes arrive: an announced length is no reason to reserve memory.
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(Unread::Broken)? {
        if chunk.len() > cap - body.len() {
            return Err(Unread::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}
