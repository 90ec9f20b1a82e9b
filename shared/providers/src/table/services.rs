//! Services of other kinds, and the proofs that belong to nobody.

use super::{
    Algorithm, BASE, Duration, Form, Notes, OVER_BODY, Otherwise, Part, Proof, Provider,
    SHA256_BARE, SHA256_LABELLED, Scheme, Signature, Time, authorization, base64, body, header,
    hex, standard_webhooks,
};
use crate::event::table::others;
use crate::provider::{Envelope, Handshake};

pub(super) const SLACK: Provider = Provider {
    name: "slack",
    title: "Slack",
    proofs: &[Proof::Signature(Signature {
        header: "X-Slack-Signature",
        items: &[hex("v0=", Algorithm::Sha256)],
        signed: &[Part::Text("v0:"), Part::Time, Part::Text(":"), Part::Body],
        time: Some(Time::Header("X-Slack-Request-Timestamp")),
        ..OVER_BODY
    })],
    event_type: &[body("/event/type"), body("/type"), body("/command")],
    delivery_id: &[body("/event_id"), body("/trigger_id")],
    identity: &[&[body("/event_id")], &[body("/trigger_id")]],
    form: Form::PayloadOrFields,
    events: others::SLACK,
    handshakes: &[Handshake {
        field: body("/type"),
        equals: "url_verification",
        verified: true,
        echo: Some("/challenge"),
    }],
    answer_within: Duration::from_secs(3),
    body_bytes: 1 << 20,
    headers: &[
        "content-type",
        "user-agent",
        "x-slack-request-timestamp",
        "x-slack-retry-num",
        "x-slack-retry-reason",
    ],
    // The old way to verify requests: a fixed text in every one of them.
    drop: &["token"],
    example: Some("a slash command of two people in one channel deploys"),
    makes_secret: true,
    notes: Notes {
        register: &[
            "In the app's settings, *Basic Information*: copy the *Signing Secret* into the Secret.",
            "*Event Subscriptions*, *Slash Commands* or *Interactivity*: *Request URL* is the URL of the Hook. Slack \
             asks it at once, so the Hook has to exist.",
        ],
        clock: "3 s.",
        retries: "3 times: at once, after 1 min, after 5 min; `X-Slack-Retry-Num` counts them.",
        answers: "Anything but 2xx is tried again; most failures within an hour switch event subscriptions off.",
        hints: &[
            "The first retry comes while the first request may still be at work; it is recognised as the same event.",
            "The type of a slash command is the command, such as `/deploy`.",
            "The signed time may be 300 s off.",
        ],
    },
    ..BASE
};

pub(super) const STRIPE: Provider = Provider {
    name: "stripe",
    title: "Stripe",
    proofs: &[Proof::Signature(Signature {
        header: "Stripe-Signature",
        separator: Some(','),
        items: &[hex("v1=", Algorithm::Sha256)],
        signed: &[Part::Time, Part::Text("."), Part::Body],
        time: Some(Time::Item("t=")),
        ..OVER_BODY
    })],
    event_type: &[body("/type")],
    delivery_id: &[body("/id")],
    identity: &[&[body("/id")]],
    body_bytes: 1 << 20,
    example: Some("an invoice that is paid is booked, with the event as a file"),
    makes_secret: true,
    notes: Notes {
        register: &[
            "*Developers*, *Webhooks*, *Add endpoint*. *Endpoint URL*: the URL of the Hook. Choose the events.",
            "Copy the *Signing secret* into the Secret, whole, with its `whsec_`.",
        ],
        retries: "For up to 3 days, with growing delay, until it is answered with 2xx.",
        answers: "Anything but 2xx is tried again.",
        hints: &[
            "While a secret is rolled, Stripe signs with both; one match is enough.",
            "The signed time may be 300 s off.",
        ],
        ..BASE.notes
    },
    ..BASE
};

pub(super) const PAGERDUTY: Provider = Provider {
    name: "pagerduty",
    title: "PagerDuty",
    proofs: &[Proof::Signature(Signature {
        header: "X-PagerDuty-Signature",
        separator: Some(','),
        items: &[hex("v1=", Algorithm::Sha256)],
        ..OVER_BODY
    })],
    event_type: &[body("/event/event_type")],
    delivery_id: &[body("/event/id")],
    identity: &[&[body("/event/id")]],
    handshakes: &[Handshake {
        field: body("/event/event_type"),
        equals: "pagey.ping",
        verified: true,
        echo: None,
    }],
    headers: &[
        "content-type",
        "user-agent",
        "x-webhook-id",
        "x-webhook-subscription",
    ],
    makes_secret: true,
    notes: Notes {
        register: &[
            "*Integrations*, *Generic Webhooks (v3)*, *New Webhook*. *Webhook URL*: the URL of the Hook.",
            "PagerDuty shows the secret once: copy it into the Secret.",
        ],
        hints: &["While a secret is replaced, PagerDuty signs with both; one match is enough."],
        ..BASE.notes
    },
    ..BASE
};

pub(super) const SONARQUBE: Provider = Provider {
    name: "sonarqube",
    title: "SonarQube",
    proofs: &[Proof::Signature(Signature {
        header: "X-Sonar-Webhook-HMAC-SHA256",
        items: SHA256_BARE,
        ..OVER_BODY
    })],
    events: others::SONARQUBE,
    headers: &["content-type", "user-agent", "x-sonarqube-project"],
    notes: Notes {
        register: &[
            "*Administration*, *Configuration*, *Webhooks*, *Create*; or the same in a project.",
            "*URL*: the URL of the Hook. *Secret*: the text of the Secret.",
        ],
        hints: &[
            "There is one kind of event, the end of an analysis. Identical bodies are the same event.",
            "The analysis of a pull request does not tell whether it is about code from a fork, and starts nothing without \
             `allow.forks`; that of a branch does.",
        ],
        ..BASE.notes
    },
    ..BASE
};

pub(super) const DEPENDENCY_TRACK: Provider = Provider {
    name: "dependency-track",
    title: "Dependency-Track",
    proofs: &[Proof::Signature(Signature {
        header: "X-Webhook-Signature",
        items: SHA256_LABELLED,
        ..OVER_BODY
    })],
    event_type: &[body("/notification/group")],
    envelope: Envelope::Any,
    notes: Notes {
        register: &[
            "*Administration*, *Notifications*, *Alerts*, *Create alert* with the publisher *Webhook*.",
            "*Destination*: the URL of the Hook. *Signing secret*: a managed secret with the text of the Secret.",
        ],
        hints: &[
            "Versions before 5.2 do not sign, and are refused.",
            "Identical bodies are the same event.",
        ],
        ..BASE.notes
    },
    ..BASE
};

pub(super) const STANDARD_WEBHOOKS: Provider = Provider {
    name: "standard-webhooks",
    title: "Standard Webhooks",
    proofs: &[standard_webhooks(&[
        base64("v1,", Algorithm::Sha256, "whsec_"),
        base64("v1a,", Algorithm::Ed25519, "whpk_"),
    ])],
    event_type: &[body("/type")],
    delivery_id: &[header("webhook-id")],
    identity: &[&[header("webhook-id")]],
    envelope: Envelope::Any,
    answer_within: Duration::from_secs(15),
    headers: &[
        "content-type",
        "user-agent",
        "webhook-id",
        "webhook-timestamp",
    ],
    makes_secret: true,
    notes: Notes {
        register: &[
            "Give the sender the URL of the Hook.",
            "Copy its secret into the Secret, whole: `whsec_` and base64, or `whpk_` and base64 for a public key.",
        ],
        clock: "15 to 30 s are advised to senders.",
        retries: "About 3 days, with growing delay, are advised to senders.",
        answers: "410 switches the webhook off; 429 and 503 with `Retry-After` slow the sender down.",
        hints: &[
            "Requests may carry several signatures; one match is enough.",
            "The signed time may be 300 s off.",
        ],
    },
    ..BASE
};

pub(super) const GENERIC_HMAC: Provider = Provider {
    name: "generic-hmac",
    title: "Any HMAC signature",
    proofs: &[Proof::Configured],
    otherwise: Otherwise::Nothing,
    envelope: Envelope::Any,
    example: Some("a program of one's own starts a run that is written out in the Hook"),
    notes: Notes {
        register: &[
            "Give the sender the URL of the Hook and the text of the Secret.",
            "Say in `verification.hmac` how it signs: header, algorithms, prefix, encoding, and what is signed. \
             Without that it is `X-Signature: sha256=<hex>` (or `sha512=`) over the body.",
        ],
        retries: "As the sender likes.",
        answers: "As the sender likes.",
        hints: &[
            "SHA-1 counts only if `verification.hmac.algorithms` names it.",
            "Without `verification.hmac.idHeader` every request is an event of its own. If the sender repeats what was not \
             answered, and never means identical bodies, set `verification.hmac.duplicateSeconds`: a body that comes \
             again within so many seconds is then the same event.",
        ],
        ..BASE.notes
    },
    ..BASE
};

const PLAIN_HINTS: &[&str] = &[
    "Nothing is signed: whoever knows the secret can send anything.",
    "With an `Idempotency-Key` header, requests with the same key are the same event. Without one every request is an \
     event of its own, since identical bodies may be meant.",
];

const PLAIN: Provider = Provider {
    delivery_id: &[header("idempotency-key")],
    identity: &[&[header("idempotency-key")]],
    otherwise: Otherwise::Nothing,
    envelope: Envelope::Any,
    headers: &["content-type", "idempotency-key", "user-agent"],
    ..BASE
};

pub(super) const BEARER: Provider = Provider {
    name: "bearer",
    title: "Bearer token",
    proofs: &[authorization(Scheme::Bearer)],
    chosen_header: true,
    notes: Notes {
        register: &[
            "Give the sender the URL of the Hook, and let it send `Authorization: Bearer ` and the text of the \
             Secret. Or name another header in `verification.header`; it then holds the text alone.",
        ],
        retries: "As the sender likes.",
        answers: "As the sender likes.",
        hints: PLAIN_HINTS,
        ..BASE.notes
    },
    ..PLAIN
};

pub(super) const BASIC: Provider = Provider {
    name: "basic",
    title: "User and password",
    proofs: &[authorization(Scheme::Basic)],
    notes: Notes {
        register: &[
            "Give the sender the URL of the Hook, and the user and password of the Secret (`user:password`).",
        ],
        retries: "As the sender likes.",
        answers: "As the sender likes.",
        hints: PLAIN_HINTS,
        ..BASE.notes
    },
    ..PLAIN
};
