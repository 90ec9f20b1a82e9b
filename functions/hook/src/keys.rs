//! Whose signature is on a token. What it has to say besides is in [`TokenClaim`].
//!
//! Keys come from the API server, which signs the tokens of its ServiceAccounts, and from the places that the table of
//! providers names. A Hook may name an issuer, and a token anything it likes; neither makes us ask anybody else.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use providers::{PROVIDERS, Refusal, TokenClaim, provider::Proof};
use runtime::auth::{KeySet, KeySource, TokenError};

/// The keys of all issuers that are known.
pub(crate) struct Keys {
    cluster: KeySet,
    /// Those of the table, by their place.
    table: BTreeMap<&'static str, KeySet>,
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
        let proofs = PROVIDERS.iter().flat_map(|provider| provider.proofs);
        let places = proofs.filter_map(|proof| match proof {
            Proof::Jwt(jwt) => jwt.keys,
            _ => None,
        });
        Self {
            cluster: KeySet::of_cluster(cluster),
            table: places
                .map(|place| (place, KeySet::at(place, Arc::clone(&web))))
                .collect(),
        }
    }

    /// Whether a token is signed by its issuer, and says what it has to.
    ///
    /// A token that does not even claim to be the right one is refused before anybody asks for keys: that they cannot
    /// be had would tell that there is such a Hook. Only whoever knows how it is configured may learn that.
    pub(crate) async fn check(&self, claim: &TokenClaim, now: Timestamp) -> Result<(), Distrust> {
        claim.pretends(now.as_second()).map_err(Distrust::Refused)?;
        let published = claim.keys.and_then(|place| self.table.get(place));
        let keys = published.unwrap_or(&self.cluster);
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
