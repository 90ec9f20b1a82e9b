//! What the first step of a run with a large payload does: bring the verified payload, and the flow's own files beside it.
//!
//! The payload appears under its name only when it is complete and its digest is right. The URL is a credential: it is in
//! no message, not even in part.

mod files;

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use reqwest::{Client, StatusCode};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep, timeout_at};
use url::Url;

use crate::{
    Hidden,
    error::innermost,
    http::{self, Trust},
    payload::hex,
};

/// What to fetch and where to put it.
#[derive(Clone, Debug, Args)]
pub struct FetchOptions {
    /// Signed URL of the payload; better given by the variable, since others see arguments.
    #[arg(
        long,
        env = "HOOKRUN_FETCH_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    pub url: Hidden,

    /// Digest that the payload must have: sha256:<64 hexadecimal digits>.
    #[arg(long, env = "HOOKRUN_FETCH_DIGEST", value_name = "DIGEST")]
    pub digest: String,

    /// Number of bytes that the payload must have.
    #[arg(long, env = "HOOKRUN_FETCH_SIZE", value_name = "BYTES")]
    pub size: u64,

    /// File to write the payload to.
    #[arg(
        long,
        env = "HOOKRUN_FETCH_TO",
        value_name = "FILE",
        default_value = "/files/context"
    )]
    pub to: PathBuf,

    /// Folder with files to copy beside the payload, for instance a mounted Secret.
    #[arg(long, env = "HOOKRUN_FETCH_FILES", value_name = "FOLDER")]
    pub files: Option<PathBuf>,

    /// File with the CA certificates (PEM) to trust instead of the system's.
    #[arg(long, env = "HOOKRUN_FETCH_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// Time for everything, repetitions included.
    #[arg(long, env = "HOOKRUN_FETCH_TIMEOUT", value_name = "TIME", default_value = "5m", value_parser = units::duration)]
    pub timeout: Duration,
}

/// What was brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Bytes of the payload.
    pub size: u64,
    /// Files copied beside it.
    pub files: usize,
    /// Requests that it took.
    pub attempts: u32,
}

/// Why there is no payload.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The URL cannot be used.
    #[error("HOOKRUN_FETCH_URL is not an http or https URL")]
    Url,
    /// The digest cannot be used.
    #[error("HOOKRUN_FETCH_DIGEST {0:?} is not sha256: and 64 lower-case hexadecimal digits")]
    DigestText(String),
    /// There is no HTTP client.
    #[error("cannot fetch the payload: {0}")]
    Settings(String),
    /// Nobody answered, or the connection broke.
    #[error("the payload's store cannot be reached: {0}")]
    Transport(String),
    /// The store has a problem of its own.
    #[error("the payload's store answered {0}")]
    Store(StatusCode),
    /// The store refuses.
    #[error(
        "the payload's store answered {0}: the URL has expired, or the object was deleted; send the event again"
    )]
    Refused(StatusCode),
    /// The answer points elsewhere.
    #[error(
        "the payload's store answered {0}, a redirect, which is not followed: configure the store's final address"
    )]
    Redirect(StatusCode),
    /// The answer ends too early.
    #[error("the payload ended after {got} of {expected} bytes")]
    Short {
        /// Bytes that came.
        got: u64,
        /// Bytes that were announced.
        expected: u64,
    },
    /// The answer does not end.
    #[error("the payload has more than the {0} bytes announced")]
    Long(u64),
    /// The content is another one.
    #[error("the payload is not the one announced: its digest is sha256:{0}")]
    Digest(String),
    /// The time is over.
    #[error("the payload was not complete within {limit:?}, after {attempts} attempts{}", match last {
        Some(last) => format!(": {last}"),
        None => String::new(),
    })]
    Deadline {
        /// How long it had.
        limit: Duration,
        /// Requests made.
        attempts: u32,
        /// How the last complete one failed.
        last: Option<Box<FetchError>>,
    },
    /// A file cannot be read or written.
    #[error("{}: {reason}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl FetchError {
    pub(crate) fn file(path: &Path, error: &std::io::Error) -> Self {
        Self::File {
            path: path.to_owned(),
            reason: error.to_string(),
        }
    }

    /// Whether another request may do better.
    fn passes(&self) -> bool {
        matches!(
            self,
            Self::Transport(_) | Self::Store(_) | Self::Short { .. }
        )
    }
}

/// Fetches the payload and copies the files, within the time given.
///
/// # Errors
/// A [`FetchError`]; the payload's file does not exist then, unless it did before.
pub async fn fetch(options: &FetchOptions) -> Result<Fetched, FetchError> {
    let FetchOptions {
        url,
        digest,
        size,
        to,
        files,
        ca,
        timeout,
    } = options;
    let url = Url::parse(url.reveal()).map_err(|_| FetchError::Url)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(FetchError::Url);
    }
    let payload = Payload {
        digest: digest_of(digest)?,
        size: *size,
        to,
    };
    let client = http::client(Trust::of(url.scheme(), ca.as_deref()))
        .map_err(FetchError::Settings)?
        .connect_timeout(Duration::from_secs(10))
        // A server that falls silent is one to ask again.
        .read_timeout(Duration::from_secs(30))
        .build()
        .map_err(|error| FetchError::Settings(innermost(&error.without_url())))?;
    let files = match files {
        Some(folder) => files::copy(folder, to)?,
        None => 0,
    };

    let deadline = Instant::now() + *timeout;
    let mut pause = Duration::from_millis(200);
    let mut last = None;
    for attempts in 1.. {
        match timeout_at(deadline, payload.attempt(&client, &url)).await {
            Ok(Ok(())) => {
                return Ok(Fetched {
                    size: *size,
                    files,
                    attempts,
                });
            }
            Ok(Err(error)) if error.passes() => last = Some(Box::new(error)),
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                return Err(FetchError::Deadline {
                    limit: *timeout,
                    attempts,
                    last,
                });
            }
        }
        if timeout_at(deadline, sleep(pause)).await.is_err() {
            return Err(FetchError::Deadline {
                limit: *timeout,
                attempts,
                last,
            });
        }
        pause = (pause * 2).min(Duration::from_secs(5));
    }
    Err(FetchError::Deadline {
        limit: *timeout,
        attempts: u32::MAX,
        last,
    })
}

fn digest_of(text: &str) -> Result<&str, FetchError> {
    text.strip_prefix("sha256:")
        .filter(|hex| {
            hex.len() == 64 && hex.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
        })
        .ok_or_else(|| FetchError::DigestText(text.to_owned()))
}

/// What is expected, and where it goes.
struct Payload<'a> {
    digest: &'a str,
    size: u64,
    to: &'a Path,
}

impl Payload<'_> {
    /// One request, from sending to the file under its name.
    async fn attempt(&self, client: &Client, url: &Url) -> Result<(), FetchError> {
        let Self { digest, size, to } = *self;
        let transport =
            |error: reqwest::Error| FetchError::Transport(innermost(&error.without_url()));
        let mut response = client.get(url.clone()).send().await.map_err(transport)?;
        match response.status() {
            StatusCode::OK => {}
            status if status.is_redirection() => return Err(FetchError::Redirect(status)),
            status @ (StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS) => {
                return Err(FetchError::Store(status));
            }
            status if status.is_server_error() => return Err(FetchError::Store(status)),
            status => return Err(FetchError::Refused(status)),
        }
        let mut partial = Partial::beside(to)?;
        let mut hash = Sha256::new();
        let mut got: u64 = 0;
        while let Some(chunk) = response.chunk().await.map_err(transport)? {
            got += chunk.len() as u64;
            if got > size {
                return Err(FetchError::Long(size));
            }
            hash.update(&chunk);
            partial.write(&chunk)?;
        }
        if got < size {
            return Err(FetchError::Short {
                got,
                expected: size,
            });
        }
        let actual = hex(&hash.finalize());
        if actual != digest {
            return Err(FetchError::Digest(actual));
        }
        partial.rename(to)
    }
}

/// A file that vanishes unless it is given its final name.
struct Partial {
    path: PathBuf,
    file: File,
}

impl Partial {
    fn beside(target: &Path) -> Result<Self, FetchError> {
        let mut name = std::ffi::OsString::from(".");
        name.push(target.file_name().unwrap_or_default());
        name.push(".part");
        let path = target.with_file_name(name);
        let file = File::create(&path).map_err(|error| FetchError::file(&path, &error))?;
        Ok(Self { path, file })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        self.file
            .write_all(bytes)
            .map_err(|error| FetchError::file(&self.path, &error))
    }

    fn rename(self, target: &Path) -> Result<(), FetchError> {
        fs::rename(&self.path, target).map_err(|error| FetchError::file(target, &error))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // After the rename there is nothing under this name; before it, the folder goes with the Pod.
        let _ = fs::remove_file(&self.path);
    }
}
