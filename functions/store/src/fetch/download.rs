//! One payload from its signed URL into a file, tried again where that may help.

use std::{path::Path, time::Duration};

use reqwest::{Client, StatusCode};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep, timeout_at};
use url::Url;

use super::{FetchError, partial::Partial};
use crate::{
    Reference,
    error::innermost,
    http::{self, Trust},
    payload::hex,
};

/// A payload, and a client to get it with.
pub(super) struct Download<'a> {
    client: Client,
    url: Url,
    digest: &'a str,
    size: u64,
}

impl<'a> Download<'a> {
    /// Looks at what is wanted; nothing is asked yet. `ca` is a file with the certificates to trust.
    pub(super) fn of(reference: &'a Reference, ca: Option<&Path>) -> Result<Self, FetchError> {
        let url = Url::parse(&reference.url).map_err(|_| FetchError::Url)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(FetchError::Url);
        }
        let digest = digits(&reference.digest)?;
        let client = http::client(Trust::of(url.scheme(), ca))
            .map_err(FetchError::Settings)?
            .connect_timeout(Duration::from_secs(10))
            // A server that falls silent is one to ask again.
            .read_timeout(Duration::from_secs(30))
            .build()
            .map_err(|error| FetchError::Settings(innermost(&error.without_url())))?;
        Ok(Self {
            client,
            url,
            digest,
            size: reference.size,
        })
    }

    /// Writes the file, within a time; how many requests it took.
    pub(super) async fn write(&self, to: &Path, limit: Duration) -> Result<u32, FetchError> {
        let deadline = Instant::now() + limit;
        let mut pause = Duration::from_millis(200);
        let (mut attempts, mut last) = (0, None);
        loop {
            attempts += 1;
            match timeout_at(deadline, self.attempt(to)).await {
                Ok(Ok(())) => return Ok(attempts),
                Ok(Err(error)) if error.passes() => last = Some(Box::new(error)),
                Ok(Err(error)) => return Err(error),
                Err(_) => break,
            }
            if timeout_at(deadline, sleep(pause)).await.is_err() {
                break;
            }
            pause = (pause * 2).min(Duration::from_secs(5));
        }
        Err(FetchError::Deadline {
            limit,
            attempts,
            last,
        })
    }

    /// One request, from sending to the file under its name.
    async fn attempt(&self, to: &Path) -> Result<(), FetchError> {
        let transport =
            |error: reqwest::Error| FetchError::Transport(innermost(&error.without_url()));
        let request = self.client.get(self.url.clone());
        let mut response = request.send().await.map_err(transport)?;
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
            if got > self.size {
                return Err(FetchError::Long(self.size));
            }
            hash.update(&chunk);
            partial.write(&chunk)?;
        }
        if got < self.size {
            return Err(FetchError::Short {
                got,
                expected: self.size,
            });
        }
        let actual = hex(&hash.finalize());
        if actual != self.digest {
            return Err(FetchError::Digest(actual));
        }
        partial.rename(to)
    }
}

/// The digits of a digest.
fn digits(text: &str) -> Result<&str, FetchError> {
    text.strip_prefix("sha256:")
        .filter(|hex| {
            hex.len() == 64 && hex.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
        })
        .ok_or_else(|| FetchError::DigestText(text.to_owned()))
}
