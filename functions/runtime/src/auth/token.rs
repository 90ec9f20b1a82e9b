//! Signed tokens (JWT): those of CloudEvents, as Knative Eventing sends them, signed by the cluster for our audience; and
//! those whose claims somebody else judges ([`KeySet`]).
//!
//! Keys come from places that are known beforehand, never from what a token says, and are asked for rarely.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{header, provider};
use crate::router::BoxFuture;

/// Where the keys are published; handed in, since this package does not know the cluster.
pub trait KeySource: Send + Sync {
    /// The document at this place: a path of the API server (`/openid/v1/jwks`, `/.well-known/openid-configuration`), or a
    /// URL, as the source takes it.
    fn fetch<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Bytes, String>>;
}

const DISCOVERY: &str = "/.well-known/openid-configuration";
const KEYS: &str = "/openid/v1/jwks";
/// Unknown keys make us ask again, at most so often.
const PAUSE: Duration = Duration::from_secs(10);
/// Others wait meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);
/// Keys that were withdrawn are forgotten after this.
const AGE: Duration = Duration::from_secs(3600);
const DOCUMENT_BYTES: usize = 256 << 10;
const MOST_KEYS: usize = 64;
/// Clocks of two machines differ by less.
const LEEWAY: u64 = 30;

/// Checks tokens against a key set that it fetches when it has to.
pub struct Tokens {
    audience: String,
    issuer: Option<String>,
    subjects: BTreeSet<String>,
    /// Where the keys are.
    place: String,
    source: Arc<dyn KeySource>,
    cache: Mutex<Cache>,
}

/// The keys of one issuer, for tokens whose claims are judged elsewhere.
pub struct KeySet(Tokens);

#[derive(Default)]
struct Cache {
    keys: BTreeMap<String, (Algorithm, DecodingKey)>,
    issuer: String,
    fetched: Option<Instant>,
    tried: Option<Instant>,
}

/// Why a token does not let anybody in.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It will never do. The reason is for our log, not for the caller.
    #[error("{0}")]
    Invalid(String),
    /// The keys to check it with cannot be had now.
    #[error("{reason}")]
    Keys {
        /// Why.
        reason: String,
        /// Seconds until another try makes sense.
        retry_after: u32,
    },
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
}

impl Tokens {
    /// Tokens for this audience. Without an issuer, it is whoever the API server says; without subjects, anyone.
    pub fn new(
        audience: &str,
        issuer: Option<&str>,
        subjects: &[String],
        source: Arc<dyn KeySource>,
    ) -> Self {
        provider::install();
        Self {
            audience: audience.to_owned(),
            issuer: issuer.map(str::to_owned),
            subjects: subjects
                .iter()
                .filter(|subject| !subject.is_empty())
                .cloned()
                .collect(),
            place: KEYS.to_owned(),
            source,
            cache: Mutex::default(),
        }
    }

    /// The subject of the request's token.
    pub(super) async fn check(&self, headers: &HeaderMap) -> Result<String, Error> {
        let invalid = |reason: &str| Error::Invalid(reason.to_owned());
        let token = header::bearer(headers).ok_or_else(|| invalid("there is no bearer token"))?;
        let (algorithm, key, issuer) = self.key_of(token).await?;
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        validation.set_audience(&[&self.audience]);
        validation.set_issuer(&[&issuer]);
        let claims = jsonwebtoken::decode::<Claims>(token, &key, &validation)
            .map_err(|e| Error::Invalid(e.to_string()))?;
        let subject = claims.claims.sub;
        if !self.subjects.is_empty() && !self.subjects.contains(&subject) {
            return Err(invalid("its subject is not among HOOKRUN_OIDC_SUBJECTS"));
        }
        Ok(subject)
    }

    /// The key that a token says it is signed with, its algorithm, and the issuer.
    async fn key_of(&self, token: &str) -> Result<(Algorithm, DecodingKey, String), Error> {
        let invalid = |reason: &str| Error::Invalid(reason.to_owned());
        let head = jsonwebtoken::decode_header(token).map_err(|e| Error::Invalid(e.to_string()))?;
        if !matches!(head.alg, Algorithm::RS256 | Algorithm::ES256) {
            return Err(invalid("the algorithm is neither RS256 nor ES256"));
        }
        let id = head.kid.ok_or_else(|| invalid("it names no key"))?;
        let (algorithm, key, issuer) = self.key(&id).await?;
        if algorithm != head.alg {
            return Err(invalid("the algorithm is not that of the key"));
        }
        Ok((algorithm, key, issuer))
    }

    /// The key of this name, fetched if it is not known. A key that stays unknown is the token's fault only if the
    /// set is newer than the question; else the sender shall ask again, since a final answer would lose its event.
    async fn key(&self, id: &str) -> Result<(Algorithm, DecodingKey, String), Error> {
        let mut cache = self.cache.lock().await;
        let old = cache.fetched.is_none_or(|at| at.elapsed() > AGE);
        let known = cache.keys.contains_key(id);
        let mut fresh = false;
        if old || !known {
            let pause = cache
                .tried
                .map(|at| PAUSE.saturating_sub(at.elapsed()))
                .unwrap_or_default();
            if pause.is_zero() {
                cache.tried = Some(Instant::now());
                match self.fetch().await {
                    Ok((keys, issuer)) => {
                        let now = Some(Instant::now());
                        *cache = Cache {
                            keys,
                            issuer,
                            fetched: now,
                            tried: now,
                        };
                        fresh = true;
                    }
                    Err(reason) if !known => {
                        return Err(Error::Keys {
                            reason,
                            retry_after: pause_seconds(PAUSE),
                        });
                    }
                    Err(reason) => tracing::warn!(
                        reason,
                        "the key set cannot be fetched; the one known before stays valid"
                    ),
                }
            } else if !known {
                let reason = "the key is unknown, and the set was fetched a moment ago".to_owned();
                return Err(Error::Keys {
                    reason,
                    retry_after: pause_seconds(pause),
                });
            }
        }
        match cache.keys.get(id) {
            Some((algorithm, key)) => Ok((*algorithm, key.clone(), cache.issuer.clone())),
            None => {
                debug_assert!(fresh, "every other way has returned");
                Err(Error::Invalid(
                    "it is signed with a key that its issuer does not publish".to_owned(),
                ))
            }
        }
    }

    async fn fetch(&self) -> Result<(BTreeMap<String, (Algorithm, DecodingKey)>, String), String> {
        #[derive(Deserialize)]
        struct Discovery {
            issuer: String,
        }
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<serde_json::Value>,
        }
        let issuer = match &self.issuer {
            Some(issuer) => issuer.clone(),
            None => self.document::<Discovery>(DISCOVERY).await?.issuer,
        };
        let set: Set = self.document(&self.place).await?;
        // A key of a kind that we do not use says nothing about the others.
        let keys = set
            .keys
            .into_iter()
            .filter_map(|key| serde_json::from_value(key).ok())
            .filter_map(|key| usable(&key));
        Ok((keys.take(MOST_KEYS).collect(), issuer))
    }

    async fn document<T: for<'de> Deserialize<'de>>(&self, path: &str) -> Result<T, String> {
        let fetch = tokio::time::timeout(PATIENCE, self.source.fetch(path)).await;
        let bytes = fetch.map_err(|_| format!("{path} did not come within {PATIENCE:?}"))??;
        if bytes.len() > DOCUMENT_BYTES {
            return Err(format!("{path} has more than {DOCUMENT_BYTES} bytes"));
        }
        serde_json::from_slice(&bytes).map_err(|e| format!("{path}: {e}"))
    }
}

impl KeySet {
    /// The keys that the cluster publishes for the tokens of its ServiceAccounts.
    pub fn of_cluster(source: Arc<dyn KeySource>) -> Self {
        Self::at(KEYS, source)
    }

    /// The keys that are published at a place.
    pub fn at(place: &str, source: Arc<dyn KeySource>) -> Self {
        // The issuer is none of our business, so it is not asked for.
        let tokens = Tokens::new("", Some(""), &[], source);
        Self(Tokens {
            place: place.to_owned(),
            ..tokens
        })
    }

    /// The claims of a token that is signed with one of the keys. Nothing else of it is checked: who issued it, for whom,
    /// and whether its time is over.
    ///
    /// # Errors
    /// It is not signed with any of them, or no keys can be had now. The latter also where its key is unknown and the set
    /// was asked for a moment ago: a sender that is told to come again finds the key, or learns that there is none.
    pub async fn claims(&self, token: &str) -> Result<serde_json::Value, Error> {
        let (algorithm, key, _) = self.0.key_of(token).await?;
        let mut validation = Validation::new(algorithm);
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.set_required_spec_claims::<&str>(&[]);
        let claims = jsonwebtoken::decode(token, &key, &validation);
        claims
            .map(|decoded| decoded.claims)
            .map_err(|error| Error::Invalid(error.to_string()))
    }
}

fn pause_seconds(pause: Duration) -> u32 {
    u32::try_from(pause.as_secs())
        .unwrap_or(u32::MAX)
        .saturating_add(1)
}

fn usable(key: &Jwk) -> Option<(String, (Algorithm, DecodingKey))> {
    let algorithm = match &key.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => {
            Algorithm::ES256
        }
        _ => return None,
    };
    let id = key.common.key_id.clone()?;
    Some((id, (algorithm, DecodingKey::from_jwk(key).ok()?)))
}
