//! What a provider's entry in the table says.
//!
//! Everything here is plain data that can be written down in a `static`; what is done with it stands in the modules
//! that read it.

use std::time::Duration;

use crate::event::mapping::Events;

/// Everything that is known about one provider.
#[derive(Clone, Copy, Debug)]
pub struct Provider {
    /// Name that a Hook uses, in kebab-case.
    pub name: &'static str,
    /// Name that people use.
    pub title: &'static str,
    /// Ways to prove who sends, the strongest first. The first one that the configuration has secrets for is in
    /// force; the others only with [`crate::Settings::legacy`], and only for requests that do not even try the
    /// stronger one.
    pub proofs: &'static [Proof<'static>],
    /// Whether the administrator may choose a header for a literal value ([`crate::Settings::header`]), which then
    /// replaces all proofs.
    pub chosen_header: bool,
    /// Where the type of the event is; the first that is there counts.
    pub event_type: &'static [Field<'static>],
    /// Where the provider's name for this delivery is; the first that is there counts.
    pub delivery_id: &'static [Field<'static>],
    /// What makes two requests the same event: the first list whose fields are all there.
    pub identity: &'static [&'static [Field<'static>]],
    /// What counts as the identity if no list of `identity` does.
    pub otherwise: Otherwise,
    /// How a form-encoded body holds the event.
    pub form: Form,
    /// What is wrapped around the event.
    pub envelope: Envelope,
    /// What its payloads say: [`mod@crate::event`].
    pub(crate) events: Events,
    /// Requests that only ask whether somebody is there.
    pub handshakes: &'static [Handshake],
    /// How long the sender waits for an answer; 10 s where it does not say.
    pub answer_within: Duration,
    /// Most bytes that a body may have.
    pub body_bytes: usize,
    /// Headers that a Delivery keeps, in lower case. Never one that holds a secret or a signature.
    pub headers: &'static [&'static str],
    /// Fields at the top of the body that hold secrets and are taken out before anything is stored.
    pub drop: &'static [&'static str],
    /// What `examples/hooks/<name>` shows, as a sentence without its end; `None` where there is no such folder.
    pub example: Option<&'static str>,
    /// Whether the provider makes the secret, and shows it to whoever registers the URL.
    pub makes_secret: bool,
    /// What people need to know.
    pub notes: Notes,
}

/// One way to prove who sends.
#[derive(Clone, Copy, Debug)]
pub enum Proof<'a> {
    /// A signature over the bytes that arrived.
    Signature(Signature<'a>),
    /// A signature as [`crate::Settings::hmac`] describes it.
    Configured,
    /// The secret itself in a header.
    Value(Value<'a>),
    /// The secret itself as the last segment of the path.
    PathToken,
    /// A token (JWT) signed by an issuer whose keys are public.
    Jwt(Jwt),
}

/// A signature in a header, and what it is made of.
#[derive(Clone, Copy, Debug)]
pub struct Signature<'a> {
    /// Header that holds it.
    pub header: &'a str,
    /// What separates several signatures in the header; none: there is exactly one.
    pub separator: Option<char>,
    /// Forms that a signature may have. In a list, items of any other form are skipped.
    pub items: &'a [Item<'a>],
    /// What is signed, in order.
    pub signed: &'a [Part<'a>],
    /// Where the signed time is.
    pub time: Option<Time<'a>>,
    /// Seconds that the signed time may differ from ours, either way.
    pub tolerance: u32,
    /// Header with the signed identity.
    pub id_header: Option<&'a str>,
    /// Which bytes count as the body.
    pub covers: Covers,
}

/// One form of a signature.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// Text before the encoded bytes. At most one form of a [`Signature`] has none, and it comes last.
    pub prefix: &'a str,
    /// How it is computed.
    pub algorithm: Algorithm,
    /// How its bytes are written.
    pub encoding: Encoding,
    /// How a configured secret becomes the key.
    pub key: Key,
}

/// How a signature is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-1: only where a provider offers nothing else, or a Hook allows it.
    Sha1,
    /// HMAC with SHA-256.
    Sha256,
    /// HMAC with SHA-512.
    Sha512,
    /// Ed25519 (RFC 8032); the configured secret is the public key.
    Ed25519,
}

impl Algorithm {
    /// Bytes of a signature.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 | Self::Ed25519 => 64,
        }
    }

    /// Name for people.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Sha1 => "HMAC-SHA1",
            Self::Sha256 => "HMAC-SHA256",
            Self::Sha512 => "HMAC-SHA512",
            Self::Ed25519 => "Ed25519",
        }
    }
}

/// How the bytes of a signature are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Hexadecimal digits, upper or lower case.
    Hex,
    /// Base64 with padding (RFC 4648, section 4).
    Base64,
}

/// How a configured secret becomes a key. A secret that does not fit is not for this form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Byte for byte.
    Text,
    /// Byte for byte, unless it starts like this.
    TextUnless(&'static str),
    /// This prefix, then the key in base64.
    Base64After(&'static str),
}

/// One part of what is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// Fixed text.
    Text(&'a str),
    /// The identity, as it stands in the header.
    Id,
    /// The time, as it stands in the request.
    Time,
    /// The body.
    Body,
}

/// Where the signed time is: seconds since 1970, in decimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time<'a> {
    /// A header of its own.
    Header(&'a str),
    /// An item of the signature's header that starts like this.
    Item(&'a str),
}

/// Which bytes count as the body of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Covers {
    /// All that arrived.
    Body,
    /// All that arrived, or, if it is a form, the decoded value of its field `payload`.
    Payload,
}

/// The secret itself in a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    /// Header that holds it.
    pub header: &'a str,
    /// What is around it.
    pub scheme: Scheme,
    /// Which configured secrets are meant.
    pub key: Key,
}

/// What is around a secret in a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Nothing.
    Plain,
    /// The word `Bearer` in any case, and one space.
    Bearer,
    /// The word `Basic` in any case, one space, and base64; the secret is `user:password`.
    Basic,
}

/// What a token (JWT) in `Authorization: Bearer` has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jwt {
    /// Issuers, any of which will do; empty: the Hook names one.
    pub issuers: &'static [&'static str],
    /// Where the issuer publishes its keys; none: the API server does, for the ServiceAccounts of its cluster.
    pub keys: Option<&'static str>,
    /// Algorithms that its signature may have.
    pub algorithms: &'static [&'static str],
    /// Which claim names the account.
    pub account: AccountClaim,
}

/// Which claim of a token names the account that it was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountClaim {
    /// `email`, and `email_verified` has to be true.
    VerifiedEmail,
    /// `sub`.
    Subject,
}

/// Where a value is in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    /// A header that comes once, in lower case.
    Header(&'a str),
    /// JSON pointer (RFC 6901) to text or a number.
    Body(&'a str),
    /// An attribute of the envelope ([`crate::Content::attributes`]).
    Attribute(&'a str),
    /// Always this.
    Fixed(&'a str),
}

/// What counts as the identity of an event that brings none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// The digest of its body: identical bodies are the same event. For bodies that hold a time or an identity.
    Digest,
    /// The digest of its body, for so many seconds, and at most twice as many: what is identical later is another event.
    /// For bodies that hold neither, where the sender repeats what was not answered.
    DigestWithin(u32),
    /// Nothing: identical bodies are legitimate, and every request is an event.
    Nothing,
}

/// How a form-encoded body holds the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// It does not: a form is not JSON.
    No,
    /// As JSON in the field `payload`.
    Payload,
    /// As JSON in the field `payload`; without that field, the fields are the event.
    PayloadOrFields,
}

/// What is wrapped around the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// Nothing, and the event is JSON.
    Json,
    /// Nothing, and the event may be anything.
    Any,
    /// CloudEvents 1.x: attributes in `ce-` headers, or around `data` in the body. Without either, as
    /// [`Envelope::Any`].
    CloudEvents,
    /// A Pub/Sub push: `message.data` in base64.
    PubSub,
}

/// A request that only asks whether somebody is there, and is answered without side effects.
#[derive(Clone, Copy, Debug)]
pub struct Handshake {
    /// Where to look.
    pub field: Field<'static>,
    /// What has to be there.
    pub equals: &'static str,
    /// Whether only a verified request is answered.
    pub verified: bool,
    /// JSON pointer to text that the answer repeats; without one it is a short JSON object.
    pub echo: Option<&'static str>,
}

/// What people need to know about a provider. Sentences in Markdown; each is true and says where it is not sure.
#[derive(Clone, Copy, Debug)]
pub struct Notes {
    /// Steps to register the URL.
    pub register: &'static [&'static str],
    /// How long the sender waits.
    pub clock: &'static str,
    /// When the sender tries again.
    pub retries: &'static str,
    /// What answers do to the sender.
    pub answers: &'static str,
    /// Anything else worth knowing.
    pub hints: &'static [&'static str],
}
