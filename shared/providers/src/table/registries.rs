//! Where images and packages live.

use super::{
    Algorithm, BASE, Form, Notes, OVER_BODY, Otherwise, Proof, Provider, Scheme, Signature,
    attribute, authorization, body, header, hex,
};
use crate::event::table::images;
use crate::provider::{AccountClaim, Envelope, Field, Handshake, Jwt};

const PATH_TOKEN: &str = "The URL holds the only proof, the token at its end: keep it to yourself, and let no log \
                          have it. For a new one, put it first into `secretRefs`, change the URL at the sender, then \
                          remove the old one.";

pub(super) const DOCKER_HUB: Provider = Provider {
    name: "docker-hub",
    title: "Docker Hub",
    proofs: &[Proof::PathToken],
    event_type: &[Field::Fixed("push")],
    events: images::DOCKER_HUB,
    body_bytes: 1 << 20,
    example: Some("a version that is pushed is rolled out"),
    notes: Notes {
        register: &[
            "In the repository: *Webhooks*. Choose a name.",
            "*Webhook URL*: the URL of the Hook, `/`, and the text of the Secret: at least 16 random characters.",
        ],
        answers: "Not documented.",
        retries: "Not documented.",
        hints: &[
            PATH_TOKEN,
            "Nothing in the payload is proven: take it for a hint, and look the tag up at the registry.",
            "`callback_url` is an old field that is never called. Your own Pipelines should not call it either.",
            "Identical bodies are the same event.",
        ],
        ..BASE.notes
    },
    ..BASE
};

pub(super) const QUAY: Provider = Provider {
    name: "quay",
    title: "Quay",
    proofs: &[Proof::PathToken],
    // Two pushes of one tag have the same body. It repeats one that was not answered after 10 s and 30 s.
    otherwise: Otherwise::DigestWithin(60),
    events: images::QUAY,
    body_bytes: 1 << 20,
    envelope: Envelope::Any,
    notes: Notes {
        register: &[
            "In the repository: *Settings*, *Create notification*. Choose the event, and *Webhook POST*.",
            "*Webhook URL*: the URL of the Hook, `/`, and the text of the Secret: at least 16 random characters.",
        ],
        clock: "10 s, unless its administrator changed that.",
        retries: "The next attempt comes after 30 s.",
        answers: "3 failures in a row switch the notification off.",
        hints: &[
            PATH_TOKEN,
            "The payload does not say what happened: make one Hook per kind of event.",
            "A template at the sender may reshape the payload; depend only on the fields that yours sends.",
            "The payload holds neither a time nor a digest: whoever pushes the same tag twice within 1 to 2 minutes \
             starts one run.",
        ],
    },
    ..BASE
};

pub(super) const HARBOR: Provider = Provider {
    name: "harbor",
    title: "Harbor",
    proofs: &[authorization(Scheme::Plain)],
    // Its default format has no envelope; the other one is CloudEvents.
    event_type: &[attribute("type"), body("/type")],
    delivery_id: &[attribute("id")],
    identity: &[&[attribute("source"), attribute("id")]],
    envelope: Envelope::CloudEvents,
    events: images::HARBOR,
    example: Some("images that are pushed to a project are searched for known vulnerabilities"),
    notes: Notes {
        register: &[
            "In the project: *Webhooks*, *New webhook*. *Notify type*: `http`. Choose the events.",
            "*Endpoint URL*: the URL of the Hook. *Auth header*: the text of the Secret, exactly as it stands there.",
        ],
        clock: "Not published; answers are given within 10 s.",
        retries: "3 attempts, unless its administrator changed that.",
        answers: "Anything but 2xx is tried again.",
        hints: &[
            "Nothing is signed: whoever knows the value can send anything.",
            "Both payload formats work. The default one has no id, so identical bodies are the same event; a repeated \
             attempt sends the stored body again.",
        ],
    },
    ..BASE
};

pub(super) const NEXUS: Provider = Provider {
    name: "nexus",
    title: "Nexus Repository",
    proofs: &[Proof::Signature(Signature {
        header: "X-Nexus-Webhook-Signature",
        // It offers nothing better.
        items: &[hex("", Algorithm::Sha1)],
        ..OVER_BODY
    })],
    event_type: &[header("x-nexus-webhook-id")],
    delivery_id: &[header("x-nexus-webhook-delivery")],
    identity: &[&[header("x-nexus-webhook-delivery")]],
    events: images::NEXUS,
    headers: &[
        "content-type",
        "user-agent",
        "x-nexus-webhook-delivery",
        "x-nexus-webhook-id",
    ],
    notes: Notes {
        register: &[
            "*Settings*, *System*, *Capabilities*, *Create capability*, *Webhook: Repository* or *Webhook: Global*.",
            "*URL*: the URL of the Hook. *Secret key*: the text of the Secret. Choose the event types.",
        ],
        hints: &[
            "SHA-1 is all that Nexus offers; take a long random secret.",
            "The type is the header `X-Nexus-Webhook-Id`, such as `rm:repository:asset`; what was done is the field \
             `action`.",
        ],
        ..BASE.notes
    },
    ..BASE
};

pub(super) const ACR: Provider = Provider {
    name: "acr",
    title: "Azure Container Registry",
    proofs: &[authorization(Scheme::Bearer)],
    chosen_header: true,
    event_type: &[body("/action")],
    delivery_id: &[body("/id")],
    identity: &[&[body("/id")]],
    events: images::ACR,
    handshakes: &[Handshake {
        field: body("/action"),
        equals: "ping",
        verified: true,
        echo: None,
    }],
    notes: Notes {
        register: &[
            "In the registry: *Services*, *Webhooks*, *Add*. *Service URI*: the URL of the Hook.",
            "*Custom headers*: `Authorization: Bearer ` and the text of the Secret. Or name another header in \
             `verification.header`; it then holds the text alone.",
        ],
        hints: &[
            "Nothing is signed: whoever knows the header can send anything. Event Grid, with provider `cloudevents`, \
             has stronger proofs.",
        ],
        ..BASE.notes
    },
    ..BASE
};

pub(super) const GAR_PUBSUB: Provider = Provider {
    name: "gar-pubsub",
    title: "Google Artifact Registry (Pub/Sub)",
    proofs: &[Proof::Jwt(Jwt {
        issuers: &["https://accounts.google.com", "accounts.google.com"],
        keys: Some("https://www.googleapis.com/oauth2/v3/certs"),
        algorithms: &["RS256"],
        account: AccountClaim::VerifiedEmail,
    })],
    event_type: &[body("/action")],
    delivery_id: &[attribute("messageId")],
    identity: &[&[attribute("subscription"), attribute("messageId")]],
    envelope: Envelope::PubSub,
    events: images::ARTIFACT_REGISTRY,
    notes: Notes {
        register: &[
            "Make the topic `gcr` in the project of the registry, if it is not there; the registry publishes to it.",
            "Make a push subscription to it: *Endpoint URL* is the URL of the Hook; *Enable authentication* with a \
             service account of its own; *Audience* as in `verification.token.audience`.",
            "Write the service account's address into `verification.token.account`. There is no secret.",
        ],
        clock: "The acknowledgement deadline of the subscription.",
        retries: "Until the subscription's retention ends.",
        answers: "102, 200, 201, 202 and 204 acknowledge; anything else is sent again.",
        hints: &[
            "The token proves which account sends, and nothing about the body.",
            "The account is required: any Google account can have a token with your audience made.",
            "Expressions see the registry's message, not the wrapping of Pub/Sub.",
        ],
    },
    ..BASE
};

pub(super) const CLOUDSMITH: Provider = Provider {
    name: "cloudsmith",
    title: "Cloudsmith",
    proofs: &[Proof::Signature(Signature {
        header: "X-Cloudsmith-Signature",
        // It offers nothing better. The manual shows the bare digest; senders that label it have been seen.
        items: &[hex("sha1=", Algorithm::Sha1), hex("", Algorithm::Sha1)],
        ..OVER_BODY
    })],
    event_type: &[body("/meta/event_id")],
    delivery_id: &[body("/meta/trigger_id")],
    // `attempt_at` changes with every attempt, so the digest of the body would not do.
    identity: &[&[
        body("/meta/webhook_id"),
        body("/meta/trigger_id"),
        body("/meta/event_id"),
        body("/meta/event_at"),
    ]],
    form: Form::Payload,
    handshakes: &[Handshake {
        field: body("/meta/event_id"),
        equals: "ping",
        verified: true,
        echo: None,
    }],
    notes: Notes {
        register: &[
            "In the repository: *Webhooks*, *Create*. *Endpoint URL*: the URL of the Hook. *Format*: JSON object.",
            "*HMAC signature key*: the text of the Secret. Choose the events.",
        ],
        hints: &["SHA-1 is all that Cloudsmith offers; take a long random secret."],
        ..BASE.notes
    },
    ..BASE
};
