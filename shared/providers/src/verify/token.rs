//! Signed tokens (JWT): what has to be in them. Their signature is checked by whoever has the issuer's keys.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value as Json;

use super::Refusal;
use super::signature::malformed;
use super::value::after_word;
use crate::Request;
use crate::header::{Seen, seen};
use crate::provider::{AccountClaim, Jwt};
use crate::settings::Settings;

/// Header that holds the token.
pub(super) const HEADER: &str = "Authorization";

/// Longest token, in bytes; those of Google have about 1,000.
const LONGEST: usize = 8192;

/// Seconds that the clock of an issuer may differ from ours.
const LEEWAY: i64 = 60;

/// A token, and what it has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenClaim {
    /// The token, as it came. A secret while it is valid.
    pub token: String,
    /// The only algorithm that its signature may have.
    pub algorithm: &'static str,
    /// Issuers, any of which will do.
    pub issuers: Vec<String>,
    /// Where their keys are: [`Jwt::keys`].
    pub keys: Option<&'static str>,
    /// The audience that has to be among those of the token.
    pub audience: String,
    /// The account that it has to be made for.
    pub account: String,
    /// Which claim names the account.
    pub account_claim: AccountClaim,
}

impl TokenClaim {
    /// Whether the claims of a token are what was asked for. Its signature must have been checked before. `now` is in
    /// seconds since 1970; the clock of the issuer may be 60 s off.
    ///
    /// # Errors
    ///
    /// What is not as it should be.
    pub fn permits(&self, claims: &Json, now: i64) -> Result<(), Refusal> {
        let text = |name: &str| claims.get(name).and_then(Json::as_str);
        let refuse = |name: &str| Err(Refusal::NotAllowed(format!("`{name}` of the token")));
        if !self
            .issuers
            .iter()
            .any(|issuer| text("iss") == Some(issuer))
        {
            return refuse("iss");
        }
        let audience = match claims.get("aud") {
            Some(Json::Array(all)) => all.iter().any(|one| one.as_str() == Some(&self.audience)),
            one => one.and_then(Json::as_str) == Some(&self.audience),
        };
        if !audience {
            return refuse("aud");
        }
        let (name, verified) = match self.account_claim {
            AccountClaim::Subject => ("sub", true),
            AccountClaim::VerifiedEmail => {
                let verified = claims.get("email_verified").and_then(Json::as_bool);
                ("email", verified == Some(true))
            }
        };
        if self.account.is_empty() || text(name) != Some(&self.account) {
            return refuse(name);
        }
        if !verified {
            return refuse("email_verified");
        }
        self.in_time(claims, now)
    }

    /// Whether the token says of itself what was asked for. This proves nothing, since anybody can write it; but what
    /// does not even say so need not be checked any further, and nobody has to ask for keys.
    ///
    /// # Errors
    ///
    /// What is not as it should be.
    pub fn pretends(&self, now: i64) -> Result<(), Refusal> {
        let claims = self.token.split('.').nth(1);
        let claims = claims.and_then(|claims| URL_SAFE_NO_PAD.decode(claims).ok());
        let claims = claims.and_then(|claims| serde_json::from_slice::<Json>(&claims).ok());
        let claims = claims.ok_or_else(|| malformed(HEADER, "the token has no claims"))?;
        self.permits(&claims, now)
    }

    fn in_time(&self, claims: &Json, now: i64) -> Result<(), Refusal> {
        let number = |name: &str| claims.get(name).and_then(Json::as_i64);
        let Some(expiry) = number("exp") else {
            return Err(Refusal::Missing("`exp` of the token".to_owned()));
        };
        if now > expiry.saturating_add(LEEWAY) {
            let seconds = now.abs_diff(expiry);
            return Err(Refusal::Stale { seconds });
        }
        let starts = ["iat", "nbf"].into_iter().filter_map(number);
        match starts
            .max()
            .filter(|start| *start > now.saturating_add(LEEWAY))
        {
            Some(start) => Err(Refusal::Stale {
                seconds: start.abs_diff(now),
            }),
            None => Ok(()),
        }
    }
}

/// Reads the token and what it has to say. A token that is signed in another way than the provider's table allows,
/// or not at all, is refused here, before anybody looks for a key.
pub(super) fn read(
    jwt: &Jwt,
    settings: &Settings,
    request: &Request<'_>,
) -> Result<TokenClaim, Refusal> {
    let wanted = settings
        .token
        .as_ref()
        .ok_or(Refusal::NotConfigured("say what the token has to say"))?;
    if wanted.account.is_empty() || wanted.audience.is_empty() {
        return Err(Refusal::NotConfigured(
            "audience and account of the token are needed",
        ));
    }
    let sent = match seen(request.headers, HEADER) {
        Seen::Never => return Err(Refusal::Missing(HEADER.to_owned())),
        Seen::Repeated => return Err(Refusal::Repeated(HEADER.to_owned())),
        Seen::Once(sent) => after_word(HEADER, sent, b"bearer")?,
    };
    let token = std::str::from_utf8(sent)
        .ok()
        .filter(|token| token.len() <= LONGEST);
    let token = token.ok_or_else(|| malformed(HEADER, "it is too long, or not text"))?;
    let named = algorithm(token).ok_or_else(|| malformed(HEADER, "it is not a signed token"))?;
    let allowed = jwt.algorithms.iter().find(|allowed| named == **allowed);
    let algorithm =
        allowed.ok_or_else(|| Refusal::NotAllowed("the algorithm of the token".to_owned()))?;
    let named = jwt.issuers.iter().map(|issuer| (*issuer).to_owned());
    let issuers: Vec<String> = match &wanted.issuer {
        Some(issuer) if jwt.issuers.is_empty() => vec![issuer.clone()],
        _ => named.collect(),
    };
    if issuers.is_empty() {
        return Err(Refusal::NotConfigured("the issuer of the token is needed"));
    }
    Ok(TokenClaim {
        token: token.to_owned(),
        algorithm,
        issuers,
        keys: jwt.keys,
        audience: wanted.audience.clone(),
        account: wanted.account.clone(),
        account_claim: jwt.account,
    })
}

/// The algorithm that a token of three parts names.
fn algorithm(token: &str) -> Option<String> {
    let mut parts = token.split('.');
    let (header, claims, signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || claims.is_empty() || signature.is_empty() {
        return None;
    }
    let header: Json = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
    Some(header.get("alg")?.as_str()?.to_owned())
}
