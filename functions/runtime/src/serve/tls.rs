//! Server certificates: read from files, and read again when these change.
//!
//! Only for functions that are called past the gateway, which ends TLS for all others. A certificate is renewed by
//! writing the files anew, as cert-manager does in a mounted Secret; nobody restarts a process for it. Files that
//! cannot be used, because they are only half written or do not belong together, change nothing: the certificate that
//! was read before stays.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

/// Bytes of a file; a chain has a few thousand.
const FILE_BYTES: u64 = 256 << 10;

/// How old what was read may be when a connection comes.
const AGE: Duration = Duration::from_secs(1);

/// What is offered to clients, in our order.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Where the certificate and its key are.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "TLS")]
pub struct TlsOptions {
    /// File with the certificate in PEM, followed by those that lead to its authority. Read again when it changes.
    #[arg(long, env = "HOOKRUN_TLS_CERT", value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub tls_cert: PathBuf,

    /// File with the certificate's private key in PEM. Read again when it changes.
    #[arg(long, env = "HOOKRUN_TLS_KEY", value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub tls_key: PathBuf,
}

/// A certificate and key that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that cannot be read.
    #[error("{}: {source}", .file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file without what should be in it.
    #[error("{} holds no complete {what} in PEM", .file.display())]
    Pem {
        /// Which.
        file: PathBuf,
        /// What should be in it.
        what: &'static str,
    },
    /// Files that each are right, and cannot be used together.
    #[error("{} and {} cannot be used: {source}", .certificate.display(), .key.display())]
    Unusable {
        /// The file with the certificate.
        certificate: PathBuf,
        /// The file with the key.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// The certificate of a server, as new as its files.
#[derive(Debug)]
pub struct Certificates {
    files: TlsOptions,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    config: Arc<ServerConfig>,
    /// When the files were last looked at.
    looked: Instant,
    /// Of what they held then, whether it could be used or not.
    digest: [u8; 32],
}

/// What the two files hold.
struct Content {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Certificates {
    /// Reads both files.
    ///
    /// # Errors
    /// One of them cannot be read, holds something else, or they do not belong together.
    pub fn read(files: TlsOptions) -> Result<Self, Error> {
        let content = Content::read(&files)?;
        let state = State {
            config: content.config(&files)?,
            looked: Instant::now(),
            digest: content.digest(),
        };
        Ok(Self {
            files,
            state: Mutex::new(state),
        })
    }

    /// What the next connection is served with. The files are looked at once a second at most, and nothing but a
    /// change of what they hold counts, so that neither clocks nor links of a mounted Secret matter.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() >= AGE {
            state.looked = Instant::now();
            // Two small files of a local disk or memory, so the thread may wait for them.
            if let Err(error) = state.renew(&self.files) {
                tracing::warn!(%error, "the certificate is not renewed; the one that was read before is used");
            }
        }
        Arc::clone(&state.config)
    }
}

impl State {
    /// Takes what the files hold, if it is something new. What cannot be used is told of once.
    fn renew(&mut self, files: &TlsOptions) -> Result<(), Error> {
        let content = match Content::read(files) {
            Ok(content) => content,
            // Told of once, until something can be read again.
            Err(_) if self.digest == [0; 32] => return Ok(()),
            Err(error) => {
                self.digest = [0; 32];
                return Err(error);
            }
        };
        let digest = content.digest();
        if digest == self.digest {
            return Ok(());
        }
        self.digest = digest;
        self.config = content.config(files)?;
        tracing::info!("the certificate is renewed");
        Ok(())
    }
}

impl Content {
    fn read(files: &TlsOptions) -> Result<Self, Error> {
        Ok(Self {
            certificate: read(&files.tls_cert)?,
            key: read(&files.tls_key)?,
        })
    }

    /// Kept instead of the content: one copy of a key is enough.
    fn digest(&self) -> [u8; 32] {
        let parts = [&self.certificate, &self.key].map(Sha256::digest);
        Sha256::digest(parts.concat()).into()
    }

    fn config(&self, files: &TlsOptions) -> Result<Arc<ServerConfig>, Error> {
        let incomplete = |file: &Path, what| Error::Pem {
            file: file.to_owned(),
            what,
        };
        let chain = CertificateDer::pem_slice_iter(&self.certificate).collect();
        let chain = match chain {
            Ok(chain) if !Vec::is_empty(&chain) => chain,
            _ => return Err(incomplete(&files.tls_cert, "certificate")),
        };
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| incomplete(&files.tls_key, "private key"))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            // Fails for a key of another certificate.
            .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key))
            .map_err(|source| Error::Unusable {
                certificate: files.tls_cert.clone(),
                key: files.tls_key.clone(),
                source,
            })?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(Arc::new(config))
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Error> {
    let content = || {
        let mut bytes = Vec::new();
        File::open(file)?
            .take(FILE_BYTES + 1)
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 > FILE_BYTES {
            return Err(io::Error::other(format!("more than {FILE_BYTES} bytes")));
        }
        Ok(bytes)
    };
    content().map_err(|source| Error::File {
        file: file.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests;
