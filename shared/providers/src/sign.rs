//! The other side of [`crate::verify()`]: a request as the provider would send it, made from the same table, so that a
//! Hook can be tried before anybody registers its URL.
//!
//! It is for tools and tests. Never for authentication to others: nothing in the product sends what is made here but
//! the command that was asked to.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};
use serde_json::{Map, Value as Json};
use thiserror::Error;

use crate::Request;
use crate::provider::{
    Algorithm, Encoding, Envelope, Field, Item, Part, Proof, Provider, Scheme, Signature, Time,
    Value,
};
use crate::settings::Settings;
use crate::verify::{described, in_force, mac};

/// What a header or field says that belongs to the identity of an event but does not tell events apart, such as the
/// number of the webhook at the sender.
const ANY: &str = "1";

/// An event that is to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Its type, as the provider calls it. Written into headers alone: [`describe`] writes it into a body.
    pub event_type: &'a str,
    /// Its identity. Written into headers alone, as the type is.
    pub id: &'a str,
    /// The bytes to send.
    pub body: &'a [u8],
}

/// What is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Headers, the proof among them: not for logs.
    pub headers: HeaderMap,
    /// What comes behind the Hook's path, where that is the proof.
    pub token: Option<String>,
}

impl Sent {
    /// The request that a receiver sees.
    #[must_use]
    pub fn request<'a>(&'a self, body: &'a [u8]) -> Request<'a> {
        Request {
            headers: &self.headers,
            query: "",
            token: self.token.as_deref(),
            body,
        }
    }
}

/// Why a request cannot be signed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unsigned {
    /// The secret is not of the form that the provider asks for.
    #[error("the secret is not of a form that `{0}` uses")]
    Secret(&'static str),
    /// The secret is a public key, and only the sender has the private one.
    #[error("the secret is a public key: only the sender can sign for it")]
    PublicKey,
    /// The proof is a token that somebody else issues.
    #[error("`{0}` sends a token that its issuer signs; nobody else can make one")]
    Token(&'static str),
    /// A header whose value nothing can hold.
    #[error("the header `{0}` cannot be written: its value has to be visible text on one line")]
    Header(String),
    /// A token that no path can hold.
    #[error("the secret is the end of the path, and is not text")]
    Path,
}

/// Writes type and identity into a payload, where the provider has them in the payload. The identity of an event that
/// nothing names goes into a field of our own, so that two of them are not the same. Empty texts are not written. Whether
/// anything was written; the payload has to be a JSON object for that.
pub fn describe(provider: &Provider, payload: &mut Json, event_type: &str, id: &str) -> bool {
    let mut written = false;
    let pointers = |fields: &'static [Field<'static>]| fields.iter().filter_map(pointer);
    if let Some(pointer) = pointers(provider.event_type)
        .next()
        .filter(|_| !event_type.is_empty())
    {
        written |= put(payload, pointer, event_type);
    }
    if id.is_empty() {
        return written;
    }
    if provider.identity.is_empty() {
        // Nothing names the event, and the digest of its body may count.
        return put(payload, "/hookrunSample", id) || written;
    }
    let named = provider.delivery_id.iter().filter_map(pointer).take(1);
    let identity = provider
        .identity
        .first()
        .and_then(|fields| fields.last())
        .and_then(pointer);
    for pointer in named.chain(identity) {
        written |= put(payload, pointer, id);
    }
    for pointer in provider
        .identity
        .first()
        .into_iter()
        .flat_map(|fields| fields.iter())
        .filter_map(pointer)
    {
        if payload.pointer(pointer).is_none() {
            written |= put(payload, pointer, ANY);
        }
    }
    written
}

fn pointer(field: &Field<'static>) -> Option<&'static str> {
    match field {
        Field::Body(pointer) => Some(pointer),
        _ => None,
    }
}

/// Puts a text where a JSON pointer leads, making the objects on the way to it.
fn put(payload: &mut Json, pointer: &str, text: &str) -> bool {
    let mut place = payload;
    for name in pointer.split('/').skip(1) {
        let Json::Object(object) = place else {
            return false;
        };
        place = object
            .entry(name)
            .or_insert_with(|| Json::Object(Map::new()));
    }
    *place = Json::String(text.to_owned());
    true
}

/// Makes the headers, and the end of the path, with which [`crate::verify()`] lets the event in. `now` is in seconds since
/// 1970 and stands in the signature where the provider signs the time.
///
/// # Errors
/// The provider's proof cannot be made from a secret like this.
pub fn sign(
    provider: &Provider,
    settings: &Settings,
    secret: &[u8],
    outgoing: &Outgoing<'_>,
    now: i64,
) -> Result<Sent, Unsigned> {
    let secrets = [secret.to_vec()];
    let proofs = in_force(provider, settings, &secrets);
    let proof = proofs.first().ok_or_else(|| unusable(provider))?;
    let mut sent = Sent::default();
    sent.headers
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    facts(provider, settings, outgoing, proof, &mut sent.headers)?;
    match proof {
        Proof::Signature(signature) => signed(
            provider,
            signature,
            secret,
            outgoing,
            now,
            &mut sent.headers,
        )?,
        Proof::Configured => described(settings, |signature| {
            signed(
                provider,
                signature,
                secret,
                outgoing,
                now,
                &mut sent.headers,
            )
        })
        .unwrap_or_else(|| Err(unusable(provider)))?,
        Proof::Value(value) => plain(value, secret, &mut sent.headers)?,
        Proof::PathToken => {
            let token = std::str::from_utf8(secret).map_err(|_| Unsigned::Path)?;
            sent.token = Some(token.to_owned());
        }
        Proof::Jwt(_) => return Err(Unsigned::Token(provider.name)),
    }
    Ok(sent)
}

fn unusable(provider: &Provider) -> Unsigned {
    let token = |proof: &Proof<'_>| matches!(proof, Proof::Jwt(_));
    if provider.proofs.iter().all(token) {
        return Unsigned::Token(provider.name);
    }
    Unsigned::Secret(provider.name)
}

/// Type and identity, where the provider has them in headers.
fn facts(
    provider: &Provider,
    settings: &Settings,
    outgoing: &Outgoing<'_>,
    proof: &Proof<'_>,
    headers: &mut HeaderMap,
) -> Result<(), Unsigned> {
    let Outgoing { event_type, id, .. } = *outgoing;
    if provider.envelope == Envelope::CloudEvents {
        set(headers, "ce-specversion", b"1.0")?;
        set(headers, "ce-source", b"hookrun")?;
    }
    let mut write = |field: &Field<'_>, text: &str| match field {
        Field::Header(name) if !text.is_empty() => set(headers, name, text.as_bytes()),
        Field::Attribute(name) if !text.is_empty() && *name != "source" => {
            set(headers, &format!("ce-{name}"), text.as_bytes())
        }
        _ => Ok(()),
    };
    if let Some(field) = provider.event_type.first() {
        write(field, event_type)?;
    }
    if let Some((name, others)) = identity(provider, proof).and_then(|fields| fields.split_last()) {
        write(name, id)?;
        for other in others {
            write(other, ANY)?;
        }
    }
    if let (Some(hmac), Proof::Configured) = (&settings.hmac, proof) {
        let options = hmac.options();
        let named = [
            (&options.event_header, event_type),
            (&options.id_header, id),
        ];
        for (header, text) in named {
            if let Some(header) = header {
                write(&Field::Header(header), text)?;
            }
        }
    }
    Ok(())
}

/// The first list of fields that makes an event what it is, and does not belong to another proof than this.
fn identity(provider: &Provider, proof: &Proof<'_>) -> Option<&'static [Field<'static>]> {
    let id_header = |proof: &Proof<'static>| match proof {
        Proof::Signature(signature) => signature.id_header,
        _ => None,
    };
    let ours = match proof {
        Proof::Signature(signature) => signature.id_header,
        _ => None,
    };
    let others: Vec<&str> = provider
        .proofs
        .iter()
        .filter_map(id_header)
        .filter(|name| ours != Some(name))
        .collect();
    let free = |fields: &&&[Field<'static>]| {
        let taken =
            |field: &Field<'static>| matches!(field, Field::Header(name) if others.contains(name));
        !fields.iter().any(taken)
    };
    provider.identity.iter().find(free).copied()
}

/// The secret itself in a header.
fn plain(value: &Value<'_>, secret: &[u8], headers: &mut HeaderMap) -> Result<(), Unsigned> {
    let text = match value.scheme {
        Scheme::Plain => secret.to_vec(),
        Scheme::Bearer => [b"Bearer ", secret].concat(),
        Scheme::Basic => format!("Basic {}", STANDARD.encode(secret)).into_bytes(),
    };
    set(headers, value.header, &text)
}

fn signed(
    provider: &Provider,
    signature: &Signature<'_>,
    secret: &[u8],
    outgoing: &Outgoing<'_>,
    now: i64,
    headers: &mut HeaderMap,
) -> Result<(), Unsigned> {
    let fitting = signature.items.iter().filter(|item| item.fits(secret));
    let by_hmac = |item: &&Item<'_>| item.algorithm != Algorithm::Ed25519;
    let item = match fitting.clone().find(by_hmac) {
        Some(item) => item,
        None if fitting.count() > 0 => return Err(Unsigned::PublicKey),
        None => return Err(unusable(provider)),
    };
    let key = item.key.bytes(secret).ok_or_else(|| unusable(provider))?;
    let time = now.to_string();
    let message = signature.signed.iter().map(|part| match part {
        Part::Text(text) => text.as_bytes(),
        Part::Id => outgoing.id.as_bytes(),
        Part::Time => time.as_bytes(),
        Part::Body => outgoing.body,
    });
    let code = mac(item.algorithm, &key, message);
    let code = match item.encoding {
        Encoding::Hex => code.iter().map(|byte| format!("{byte:02x}")).collect(),
        Encoding::Base64 => STANDARD.encode(code),
    };
    let code = format!("{}{code}", item.prefix);
    if let Some(name) = signature.id_header {
        set(headers, name, outgoing.id.as_bytes())?;
    }
    let text = match (signature.time, signature.separator) {
        (Some(Time::Item(prefix)), Some(separator)) => format!("{prefix}{time}{separator}{code}"),
        (Some(Time::Header(name)), _) => {
            set(headers, name, time.as_bytes())?;
            code
        }
        _ => code,
    };
    set(headers, signature.header, text.as_bytes())
}

fn set(headers: &mut HeaderMap, name: &str, value: &[u8]) -> Result<(), Unsigned> {
    let name = HeaderName::try_from(name).map_err(|_| Unsigned::Header(name.to_owned()))?;
    let value = HeaderValue::from_bytes(value).map_err(|_| Unsigned::Header(name.to_string()))?;
    headers.insert(name, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Hmac, HmacOptions};
    use crate::{PROVIDERS, Proven, Refusal, content, facts as read, provider, samples, verify};

    const NOW: i64 = 1_700_000_000;

    /// A secret of the form that the provider's strongest proof asks for.
    fn secret(provider: &Provider) -> &'static [u8] {
        match provider.name {
            "gitlab" | "standard-webhooks" => b"whsec_dGhlIHNlY3JldCBvZiB0aGUgdGVzdHMsIHdob2xl",
            "azure-devops" | "basic" => b"user:password",
            _ => b"secret-of-the-tests",
        }
    }

    fn tokens_only(provider: &Provider) -> bool {
        provider
            .proofs
            .iter()
            .all(|proof| matches!(proof, Proof::Jwt(_)))
    }

    /// The sample as it is sent, with an identity of its own.
    fn sample(provider: &Provider, id: &str) -> (Vec<u8>, &'static str) {
        let sample = samples::sample_of(provider.name, None);
        let mut payload: Json = serde_json::from_str(sample.payload).unwrap();
        describe(provider, &mut payload, sample.event_type, id);
        (payload.to_string().into_bytes(), sample.event_type)
    }

    #[test]
    fn what_is_signed_is_let_in_and_is_the_event_that_was_meant() {
        for provider in PROVIDERS.iter().filter(|provider| !tokens_only(provider)) {
            let (name, settings) = (provider.name, Settings::default());
            let (body, event_type) = sample(provider, "delivery-17");
            let outgoing = Outgoing {
                event_type,
                id: "delivery-17",
                body: &body,
            };
            let sent = sign(provider, &settings, secret(provider), &outgoing, NOW).unwrap();
            let request = sent.request(&body);
            let secrets = [b"another-secret-before".to_vec(), secret(provider).to_vec()];
            let secrets = if matches!(name, "gitlab" | "azure-devops" | "basic") {
                &secrets[1..]
            } else {
                &secrets
            };
            let proven = verify(provider, &settings, secrets, &request, NOW);
            assert_eq!(proven, Ok(Proven::Secret(secrets.len() - 1)), "{name}");
            let content = content(provider, &request).unwrap();
            let facts = read(provider, &settings, &request, &content);
            if !provider.event_type.is_empty() {
                assert_eq!(facts.event_type, event_type, "{name}");
            }
            if !provider.identity.is_empty() {
                assert!(facts.key.contains("delivery-17"), "{name}: {}", facts.key);
            }
        }
    }

    #[test]
    fn a_sample_is_another_event_each_time_and_the_same_one_with_the_same_identity() {
        for provider in PROVIDERS.iter().filter(|provider| !tokens_only(provider)) {
            let settings = Settings::default();
            let key = |id: &str| {
                let (body, event_type) = sample(provider, id);
                let outgoing = Outgoing {
                    event_type,
                    id,
                    body: &body,
                };
                let sent = sign(provider, &settings, secret(provider), &outgoing, NOW).unwrap();
                let request = sent.request(&body);
                let content = content(provider, &request).unwrap();
                read(provider, &settings, &request, &content).at(NOW).key
            };
            assert_eq!(key("a"), key("a"), "{}", provider.name);
            let named = !key("a").is_empty();
            assert_eq!(key("a") != key("b"), named, "{}", provider.name);
        }
    }

    #[test]
    fn another_body_is_not_covered_by_a_signature() {
        let by_signature = |provider: &&Provider| {
            matches!(
                provider.proofs.first(),
                Some(Proof::Signature(_) | Proof::Configured)
            )
        };
        for provider in PROVIDERS.iter().filter(by_signature) {
            let (body, event_type) = sample(provider, "a");
            let outgoing = Outgoing {
                event_type,
                id: "a",
                body: &body,
            };
            let sent = sign(
                provider,
                &Settings::default(),
                secret(provider),
                &outgoing,
                NOW,
            )
            .unwrap();
            let other = [&body, b" ".as_slice()].concat();
            let secrets = [secret(provider).to_vec()];
            let refused = verify(
                provider,
                &Settings::default(),
                &secrets,
                &sent.request(&other),
                NOW,
            );
            assert_eq!(refused, Err(Refusal::Mismatch), "{}", provider.name);
        }
    }

    #[test]
    fn what_a_hook_describes_is_signed_like_that() {
        let provider = provider("generic-hmac").unwrap();
        let hmac = Hmac::new(HmacOptions {
            header: "X-Proof".to_owned(),
            algorithms: vec!["sha512".to_owned()],
            prefix: String::new(),
            encoding: "base64".to_owned(),
            signed: "{id}/{timestamp}/{body}".to_owned(),
            timestamp_header: Some("X-Time".to_owned()),
            id_header: Some("X-Id".to_owned()),
            event_header: Some("X-Event".to_owned()),
            ..HmacOptions::default()
        });
        let settings = Settings {
            hmac: Some(hmac.unwrap()),
            ..Settings::default()
        };
        let outgoing = Outgoing {
            event_type: "built",
            id: "7",
            body: b"{}",
        };
        let sent = sign(provider, &settings, b"s", &outgoing, NOW).unwrap();
        let request = sent.request(b"{}");
        assert_eq!(
            verify(provider, &settings, &[b"s".to_vec()], &request, NOW + 299),
            Ok(Proven::Secret(0))
        );
        let facts = read(
            provider,
            &settings,
            &request,
            &content(provider, &request).unwrap(),
        );
        assert_eq!(
            (facts.event_type.as_str(), facts.delivery_id.as_str()),
            ("built", "7")
        );
    }

    #[test]
    fn what_cannot_be_signed_says_why() {
        let nothing = Outgoing {
            event_type: "",
            id: "",
            body: b"",
        };
        let try_it = |name: &str, secret: &[u8]| {
            sign(
                provider(name).unwrap(),
                &Settings::default(),
                secret,
                &nothing,
                NOW,
            )
            .unwrap_err()
        };
        assert_eq!(try_it("gar-pubsub", b"s"), Unsigned::Token("gar-pubsub"));
        assert_eq!(
            try_it("standard-webhooks", b"s"),
            Unsigned::Secret("standard-webhooks")
        );
        let public = b"whpk_scJrkHS9x2TNxqZr/bxsqbH501Fhnbx/ZL5v2WCQ3ys=";
        assert_eq!(try_it("standard-webhooks", public), Unsigned::PublicKey);
        assert_eq!(
            try_it("bearer", b"a\nb"),
            Unsigned::Header("authorization".to_owned())
        );
    }

    #[test]
    fn type_and_identity_are_written_where_the_provider_has_them() {
        let mut payload = serde_json::json!({"event": {"type": "x", "text": "hello"}});
        assert!(describe(
            provider("slack").unwrap(),
            &mut payload,
            "app_mention",
            "Ev1"
        ));
        let expected = serde_json::json!({"event": {"type": "app_mention", "text": "hello"}, "event_id": "Ev1"});
        assert_eq!(payload, expected);
        assert!(!describe(
            provider("slack").unwrap(),
            &mut Json::Null,
            "a",
            "b"
        ));
        assert!(!describe(
            provider("github").unwrap(),
            &mut payload,
            "push",
            "1"
        ));
    }
}
