//! Events between machines: CloudEvents, CDEvents, Knative Eventing, Flux.

use super::{
    BASE, Notes, OVER_BODY, Proof, Provider, SHA256_LABELLED, Scheme, Signature, attribute,
    authorization, body,
};
use crate::event::table::others;
use crate::provider::{AccountClaim, Envelope, Jwt};

/// Identity and type as CloudEvents 1.0 says them, in either mode.
const EVENT: Provider = Provider {
    event_type: &[attribute("type")],
    delivery_id: &[attribute("id")],
    identity: &[&[attribute("source"), attribute("id")]],
    envelope: Envelope::CloudEvents,
    headers: &[
        "ce-id",
        "ce-source",
        "ce-specversion",
        "ce-subject",
        "ce-time",
        "ce-type",
        "content-type",
        "user-agent",
    ],
    ..BASE
};

const EVENT_NOTES: Notes = Notes {
    register: &[
        "Give the sender the URL of the Hook, and let it send `Authorization: Bearer ` and the text of the Secret. Or \
         name another header in `verification.header`; it then holds the text alone.",
        "If the sender asks for permission first (`OPTIONS` with `WebHook-Request-Origin`), name its origin in \
         `verification.allowedOrigins`.",
    ],
    clock: "As the sender likes; answers are given within 10 s.",
    retries: "As the sender likes.",
    answers: "410 means that the receiver is gone for good; 429 with `Retry-After` slows the sender down.",
    hints: &[
        "Binary and structured mode work; batches, and other formats than JSON, are answered with 415. Expressions see \
         the data; the attributes are the `ce-` headers of the binary mode.",
        "The same `source` and `id` are the same event.",
    ],
};

pub(super) const CLOUDEVENTS: Provider = Provider {
    name: "cloudevents",
    title: "CloudEvents",
    proofs: &[authorization(Scheme::Bearer)],
    chosen_header: true,
    example: Some("a table that is put into a bucket is imported"),
    notes: EVENT_NOTES,
    ..EVENT
};

pub(super) const CDEVENTS: Provider = Provider {
    name: "cdevents",
    title: "CDEvents",
    events: others::CDEVENTS,
    example: None,
    ..CLOUDEVENTS
};

pub(super) const KNATIVE_BROKER: Provider = Provider {
    name: "knative-broker",
    title: "Knative Broker",
    proofs: &[
        Proof::Jwt(Jwt {
            issuers: &[],
            keys: None,
            // Clusters sign the tokens of ServiceAccounts with a key of either kind.
            algorithms: &["RS256", "ES256"],
            account: AccountClaim::Subject,
        }),
        Proof::PathToken,
    ],
    notes: Notes {
        register: &[
            "Make a Trigger whose subscriber's `uri` is the URL of the Hook.",
            "With authentication switched on in Knative Eventing: `verification.token` names the issuer (that of the \
             cluster's ServiceAccount tokens), the audience (that of the Trigger's subscriber), and the account: \
             `system:serviceaccount:`, the Trigger's namespace, `:`, and its `status.auth.serviceAccountName`.",
            "Without it: add `/` and the text of a Secret, at least 16 random characters, to the `uri`.",
        ],
        clock: "The Trigger's `timeout`; none by default.",
        retries: "10 by default, with growing delay, after no answer, 404, 408, 409, 429 and 5xx.",
        answers: "Any other 4xx goes to the dead letter sink at once.",
        hints: EVENT_NOTES.hints,
    },
    ..EVENT
};

pub(super) const FLUX_ALERT: Provider = Provider {
    name: "flux-alert",
    title: "Flux alerts",
    proofs: &[Proof::Signature(Signature {
        header: "X-Signature",
        items: SHA256_LABELLED,
        ..OVER_BODY
    })],
    event_type: &[body("/reason")],
    events: others::FLUX_ALERT,
    body_bytes: 1 << 20,
    headers: &["content-type", "gotk-component", "user-agent"],
    notes: Notes {
        register: &[
            "Make a Provider of type `generic-hmac`: `address` is the URL of the Hook, `secretRef` a Secret whose \
             entry `token` is the text of the Hook's Secret.",
            "Make an Alert that names this Provider and the objects to tell of.",
        ],
        clock: "Not published; answers are given within 10 s.",
        retries: "Its HTTP client tries again a few times.",
        answers: "5xx and 429 are tried again.",
        hints: &[
            "The Provider type `generic` proves nothing, and is refused.",
            "Identical bodies are the same event; the body holds the time and the object.",
        ],
    },
    ..BASE
};
