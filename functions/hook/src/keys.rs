//! Whose signature is on a token. What it has to say besides is in [`TokenClaim`].
//!
//! Keys come from two places: from the API server, which signs the tokens of its ServiceAccounts, and from Google. A
//! Hook may name an issuer, and a token anything it likes; neither makes us ask anybody else.

use std::sync::Arc;

use jiff::Timestamp;
use providers::{Refusal, TokenClaim};
use runtime::auth::{KeySet, KeySource, TokenError};

/// How Google calls itself in the tokens of Pub/Sub.
const GOOGLE: &str = "https://accounts.google.com";

/// Where Google publishes its keys.
const GOOGLE_KEYS: &str = "https://www.googleapis.com/oauth2/v3/certs";

/// The keys of all issuers that are known.
pub(crate) struct Keys {
    cluster: KeySet,
    google: KeySet,
}

/// Why a token proves nothing.
pub(crate) enum Distrust {
    /// It will never do.
    Refused(Refusal),
    /// The keys to check it with cannot be had now.
    Keys {
        /// Why.
        reason: String,
        /// Seconds until another try makes sense.
        retry_after: u32,
    },
}

impl Keys {
    /// Nothing is fetched before the first token.
    pub(crate) fn new(cluster: Arc<dyn KeySource>, web: Arc<dyn KeySource>) -> Self {
        Self {
            cluster: KeySet::of_cluster(cluster),
            google: KeySet::at(GOOGLE_KEYS, web),
        }
    }

    /// Whether a token is signed by its issuer, and says what it has to.
    ///
    /// A token that does not even claim to be the right one is refused before anybody asks for keys: that they cannot
    /// be had would tell that there is such a Hook. Only whoever knows how it is configured may learn that.
    pub(crate) async fn check(&self, claim: &TokenClaim, now: Timestamp) -> Result<(), Distrust> {
        claim.pretends(now.as_second()).map_err(Distrust::Refused)?;
        let google = claim.issuers.iter().any(|issuer| issuer == GOOGLE);
        let keys = if google { &self.google } else { &self.cluster };
        match keys.claims(&claim.token).await {
            Ok(claims) => claim
                .permits(&claims, now.as_second())
                .map_err(Distrust::Refused),
            Err(TokenError::Invalid(reason)) => {
                tracing::debug!(reason, "a token is not signed by its issuer");
                Err(Distrust::Refused(Refusal::Mismatch))
            }
            Err(TokenError::Keys {
                reason,
                retry_after,
            }) => Err(Distrust::Keys {
                reason,
                retry_after,
            }),
        }
    }
}
