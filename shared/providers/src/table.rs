//! The table of providers.
//!
//! What it says comes from the providers' own manuals and sources; what they do not say is left out or marked as not
//! published, never guessed.

mod clouds;
mod forges;
mod registries;
mod services;

use std::time::Duration;

use crate::event::mapping::NO_EVENTS;
use crate::provider::{
    Algorithm, Covers, Encoding, Envelope, Field, Form, Item, Key, Notes, Otherwise, Part, Proof,
    Provider, Scheme, Signature, Time, Value,
};

/// Every provider, in the order in which documentation lists them.
pub static PROVIDERS: &[Provider] = &[
    forges::GITHUB,
    forges::GITLAB,
    forges::BITBUCKET_CLOUD,
    forges::BITBUCKET_DC,
    forges::GITEA,
    forges::FORGEJO,
    forges::GOGS,
    forges::AZURE_DEVOPS,
    registries::DOCKER_HUB,
    registries::QUAY,
    registries::HARBOR,
    registries::NEXUS,
    registries::ACR,
    registries::GAR_PUBSUB,
    registries::CLOUDSMITH,
    services::SLACK,
    services::STRIPE,
    services::PAGERDUTY,
    services::SONARQUBE,
    services::DEPENDENCY_TRACK,
    services::STANDARD_WEBHOOKS,
    services::GENERIC_HMAC,
    services::BEARER,
    services::BASIC,
    clouds::CLOUDEVENTS,
    clouds::CDEVENTS,
    clouds::KNATIVE_BROKER,
    clouds::FLUX_ALERT,
];

/// What an entry leaves out.
const BASE: Provider = Provider {
    name: "",
    title: "",
    proofs: &[],
    chosen_header: false,
    event_type: &[],
    delivery_id: &[],
    identity: &[],
    otherwise: Otherwise::Digest,
    form: Form::No,
    envelope: Envelope::Json,
    events: NO_EVENTS,
    handshakes: &[],
    answer_within: Duration::from_secs(10),
    body_bytes: 10 << 20,
    headers: &["content-type", "user-agent"],
    drop: &[],
    example: None,
    makes_secret: false,
    notes: Notes {
        register: &[],
        clock: "Not published; answers are given within 10 s.",
        retries: "Not published.",
        answers: "Not published.",
        hints: &[],
    },
};

/// A signature over the body: one item in a header of its own.
const OVER_BODY: Signature<'static> = Signature {
    header: "",
    separator: None,
    items: &[],
    signed: &[Part::Body],
    time: None,
    tolerance: 300,
    id_header: None,
    covers: Covers::Body,
};

/// A signature in hexadecimal digits, with the secret as it is.
const fn hex(prefix: &'static str, algorithm: Algorithm) -> Item<'static> {
    Item {
        prefix,
        algorithm,
        encoding: Encoding::Hex,
        key: Key::Text,
    }
}

/// A signature in base64, with a key in base64 behind a prefix.
const fn base64(prefix: &'static str, algorithm: Algorithm, key: &'static str) -> Item<'static> {
    Item {
        prefix,
        algorithm,
        encoding: Encoding::Base64,
        key: Key::Base64After(key),
    }
}

/// The secret itself in `Authorization`.
const fn authorization(scheme: Scheme) -> Proof<'static> {
    Proof::Value(Value {
        header: "Authorization",
        scheme,
        key: Key::Text,
    })
}

const SHA256_LABELLED: &[Item<'static>] = &[hex("sha256=", Algorithm::Sha256)];
const SHA256_BARE: &[Item<'static>] = &[hex("", Algorithm::Sha256)];

/// A signature of Standard Webhooks 1.0.0.
const fn standard_webhooks(items: &'static [Item<'static>]) -> Proof<'static> {
    Proof::Signature(Signature {
        header: "webhook-signature",
        separator: Some(' '),
        items,
        signed: &[
            Part::Id,
            Part::Text("."),
            Part::Time,
            Part::Text("."),
            Part::Body,
        ],
        time: Some(Time::Header("webhook-timestamp")),
        id_header: Some("webhook-id"),
        ..OVER_BODY
    })
}

const fn header(name: &'static str) -> Field<'static> {
    Field::Header(name)
}

const fn body(pointer: &'static str) -> Field<'static> {
    Field::Body(pointer)
}

const fn attribute(name: &'static str) -> Field<'static> {
    Field::Attribute(name)
}
