//! Where code lives.

use super::{
    Algorithm, BASE, Covers, Duration, Form, Key, Notes, OVER_BODY, Proof, Provider, SHA256_BARE,
    SHA256_LABELLED, Scheme, Signature, Value, authorization, base64, body, header, hex,
    standard_webhooks,
};
use crate::event::table::{bitbucket, gitea, github, gitlab, others};
use crate::provider::Handshake;

pub(super) const GITHUB: Provider = Provider {
    name: "github",
    title: "GitHub",
    proofs: &[
        Proof::Signature(Signature {
            header: "X-Hub-Signature-256",
            items: SHA256_LABELLED,
            ..OVER_BODY
        }),
        Proof::Signature(Signature {
            header: "X-Hub-Signature",
            items: &[hex("sha1=", Algorithm::Sha1)],
            ..OVER_BODY
        }),
    ],
    event_type: &[header("x-github-event")],
    delivery_id: &[header("x-github-delivery")],
    // Two hooks that receive the same event get the same delivery id with different bodies.
    identity: &[
        &[header("x-github-hook-id"), header("x-github-delivery")],
        &[header("x-github-delivery")],
    ],
    form: Form::Payload,
    events: github::GITHUB,
    handshakes: &[Handshake {
        field: header("x-github-event"),
        equals: "ping",
        verified: true,
        echo: None,
    }],
    body_bytes: 25 << 20,
    headers: &[
        "content-type",
        "user-agent",
        "x-github-delivery",
        "x-github-enterprise-host",
        "x-github-event",
        "x-github-hook-id",
        "x-github-hook-installation-target-id",
        "x-github-hook-installation-target-type",
    ],
    example: Some(
        "a push to main builds the service of a monorepo whose files it changes, and pull requests are checked",
    ),
    notes: Notes {
        register: &[
            "In the repository, organisation or app: *Settings*, *Webhooks*, *Add webhook*.",
            "*Payload URL*: the URL of the Hook. *Content type*: `application/json`; the form works, too.",
            "*Secret*: the text of the Secret, byte for byte. Choose the events, and add the webhook.",
        ],
        clock: "10 s; GitHub Enterprise Server says 30 s.",
        retries: "None. Failed deliveries can be sent again by hand or through the API for 3 days.",
        answers: "Anything but 2xx is shown as a failed delivery, and the event is lost unless somebody sends it \
            again.",
        hints: &[
            "Old versions of GitHub Enterprise Server sign with SHA-1 alone; `verification.legacy: true` lets them in.",
            "A delivery that is sent again by hand keeps its id and is recognised as the same event, as long as its \
             Delivery is kept: for all 3 days with `retention.minHours: 72`. To run again, use `hookrun deliveries replay`.",
            "`X-GitHub-Event`, `X-GitHub-Delivery` and `X-GitHub-Enterprise-Host` are not signed.",
            "Bodies above 25 MB are never sent.",
            "`check_run`, `check_suite`, `workflow_job`, `status` and `deployment*` do not tell whether they are about code \
             from a fork, and start nothing without `allow.forks`; `workflow_run` tells.",
        ],
    },
    ..BASE
};

pub(super) const GITLAB: Provider = Provider {
    name: "gitlab",
    title: "GitLab",
    proofs: &[
        standard_webhooks(&[base64("v1,", Algorithm::Sha256, "whsec_")]),
        Proof::Value(Value {
            header: "X-Gitlab-Token",
            scheme: Scheme::Plain,
            key: Key::TextUnless("whsec_"),
        }),
    ],
    event_type: &[header("x-gitlab-event")],
    delivery_id: &[
        header("webhook-id"),
        header("idempotency-key"),
        header("x-gitlab-event-uuid"),
    ],
    identity: &[
        &[header("webhook-id")],
        &[header("idempotency-key")],
        &[
            header("x-gitlab-event-uuid"),
            header("x-gitlab-webhook-uuid"),
        ],
    ],
    events: gitlab::GITLAB,
    headers: &[
        "content-type",
        "idempotency-key",
        "user-agent",
        "webhook-id",
        "webhook-timestamp",
        "x-gitlab-event",
        "x-gitlab-event-uuid",
        "x-gitlab-instance",
        "x-gitlab-webhook-uuid",
    ],
    example: Some(
        "the tag of a version is rolled out, and merge requests are checked when commits come",
    ),
    notes: Notes {
        register: &[
            "In the project or group: *Settings*, *Webhooks*, *Add new webhook*.",
            "*URL*: the URL of the Hook.",
            "*Signing token* if your GitLab offers one: a Secret with `whsec_` and base64. Otherwise *Secret token*: \
             the text of the Secret. Choose the events.",
        ],
        clock: "10 s.",
        retries: "It may send an event again with the same `Idempotency-Key`; people can, too, by hand.",
        answers: "Anything but 2xx counts as a failure: 4 in a row pause the webhook for a minute, later for up to a \
                  day, and 40 switch it off for good.",
        hints: &[
            "A secret that starts with `whsec_` is a signing token: then only signed requests are let in. \
             `verification.legacy: true` lets the plain token in beside it, while senders change over.",
            "The plain token proves that the sender knows it, and nothing about the body.",
            "`Job Hook` and `Deployment Hook` do not tell whether they are about code from a fork, and start nothing without \
             `allow.forks`; `Pipeline Hook` tells.",
            "A renamed file is listed under its new path alone, and a forced push does not look like one: what it drops is \
             not in `event.changed`.",
        ],
    },
    ..BASE
};

/// Bitbucket writes SHA-256 into the header that GitHub uses for SHA-1.
const BITBUCKET: Proof<'static> = Proof::Signature(Signature {
    header: "X-Hub-Signature",
    items: SHA256_LABELLED,
    ..OVER_BODY
});

pub(super) const BITBUCKET_CLOUD: Provider = Provider {
    name: "bitbucket-cloud",
    title: "Bitbucket Cloud",
    proofs: &[BITBUCKET],
    event_type: &[header("x-event-key")],
    delivery_id: &[header("x-request-uuid")],
    identity: &[&[header("x-request-uuid")]],
    events: bitbucket::CLOUD,
    body_bytes: 1 << 20,
    headers: &[
        "content-type",
        "user-agent",
        "x-attempt-number",
        "x-event-key",
        "x-hook-uuid",
        "x-request-uuid",
    ],
    example: Some(
        "a push to main is built, whatever else the push moves, and pull requests are checked",
    ),
    notes: Notes {
        register: &[
            "In the repository or workspace: *Settings*, *Webhooks*, *Add webhook*.",
            "*URL*: the URL of the Hook. *Secret*: the text of the Secret. Choose the triggers.",
        ],
        clock: "10 s.",
        retries: "Up to 2 more attempts after 5xx; `X-Attempt-Number` counts them.",
        answers: "4xx are not tried again.",
        hints: &[
            "Payloads above 256 KB are dropped by Bitbucket without a word.",
            "A webhook without a secret is not signed, and is refused.",
            "Statuses of commits and comments on them do not tell whether they are about code from a fork, and start \
             nothing without `allow.forks`.",
            "Bitbucket does not say whether `X-Request-UUID` is the same in all attempts. If it is not, an event that was \
             stored, but whose answer was lost on the way, starts its runs a second time.",
        ],
    },
    ..BASE
};

pub(super) const BITBUCKET_DC: Provider = Provider {
    name: "bitbucket-dc",
    title: "Bitbucket Data Center",
    proofs: &[BITBUCKET, authorization(Scheme::Basic)],
    event_type: &[header("x-event-key")],
    delivery_id: &[header("x-request-id")],
    identity: &[&[header("x-request-id")]],
    events: bitbucket::DATA_CENTER,
    handshakes: &[Handshake {
        field: header("x-event-key"),
        equals: "diagnostics:ping",
        verified: false,
        echo: None,
    }],
    headers: &["content-type", "user-agent", "x-event-key", "x-request-id"],
    notes: Notes {
        register: &[
            "In the repository or project: *Settings*, *Webhooks*, *Create webhook*.",
            "*URL*: the URL of the Hook. *Secret*: the text of the Secret. Choose the events; *Test connection* works.",
        ],
        clock: "Not published; answers are given within 10 s.",
        retries: "None.",
        answers: "5 failures in a row make it skip the webhook for 10 s, growing to 10 h.",
        hints: &[
            "With `verification.legacy: true` requests without a signature may bring `user:password` (basic) instead.",
            "The connection test is not signed. It is answered, and nothing is stored.",
            "Comments on commits do not tell whether they are about code from a fork, and start nothing without \
             `allow.forks`.",
        ],
    },
    ..BASE
};

/// The family of Gitea signs the JSON, not the form around it.
const fn gitea(name: &'static str) -> Proof<'static> {
    Proof::Signature(Signature {
        header: name,
        items: SHA256_BARE,
        covers: Covers::Payload,
        ..OVER_BODY
    })
}

const GITEA_NOTES: Notes = Notes {
    register: &[
        "In the repository or organisation: *Settings*, *Webhooks*, *Add webhook*.",
        "*Target URL*: the URL of the Hook. *HTTP method*: `POST`. *Content type*: JSON; the form works, too.",
        "*Secret*: the text of the Secret. Choose the events.",
    ],
    clock: "5 s, unless its administrator changed that.",
    retries: "None; people can send a delivery again by hand.",
    answers: "Anything but 2xx is shown as a failed delivery, and the event is lost unless somebody sends it again.",
    hints: &[
        "Requests also carry headers under the names of GitHub and others; only the provider's own count.",
        "A webhook without a secret sends an empty signature, and is refused.",
        "Expect a new delivery id when somebody sends a delivery again.",
        "Old versions put the secret into the body: it is taken out before anything is stored.",
        "Actions, workflows and statuses do not tell whether they are about code from a fork, and start nothing without \
         `allow.forks`.",
        "At Gitea and Forgejo, whoever may read can push to `refs/for/main` (AGit). Such a pull request is taken for a \
         fork's.",
        "A forced push does not look like one: the files of commits that it drops are not in `event.changed`.",
    ],
};

const GITEA_BASE: Provider = Provider {
    form: Form::Payload,
    answer_within: Duration::from_secs(5),
    drop: &["secret"],
    notes: GITEA_NOTES,
    ..BASE
};

pub(super) const GITEA: Provider = Provider {
    name: "gitea",
    title: "Gitea",
    proofs: &[gitea("X-Gitea-Signature")],
    event_type: &[header("x-gitea-event")],
    delivery_id: &[header("x-gitea-delivery")],
    identity: &[&[header("x-gitea-delivery")]],
    events: gitea::GITEA,
    headers: &[
        "content-type",
        "user-agent",
        "x-gitea-delivery",
        "x-gitea-event",
        "x-gitea-event-type",
    ],
    example: Some(
        "documentation is published when main changes it, and a release is announced with its notes",
    ),
    ..GITEA_BASE
};

pub(super) const FORGEJO: Provider = Provider {
    name: "forgejo",
    title: "Forgejo",
    proofs: &[gitea("X-Forgejo-Signature")],
    event_type: &[header("x-forgejo-event")],
    delivery_id: &[header("x-forgejo-delivery")],
    identity: &[&[header("x-forgejo-delivery")]],
    events: gitea::GITEA,
    headers: &[
        "content-type",
        "user-agent",
        "x-forgejo-delivery",
        "x-forgejo-event",
        "x-forgejo-event-type",
    ],
    ..GITEA_BASE
};

pub(super) const GOGS: Provider = Provider {
    name: "gogs",
    title: "Gogs",
    proofs: &[gitea("X-Gogs-Signature")],
    event_type: &[header("x-gogs-event")],
    delivery_id: &[header("x-gogs-delivery")],
    identity: &[&[header("x-gogs-delivery")]],
    events: gitea::GOGS,
    answer_within: Duration::from_secs(15),
    headers: &[
        "content-type",
        "user-agent",
        "x-gogs-delivery",
        "x-gogs-event",
    ],
    notes: Notes {
        clock: "15 s, unless its administrator changed that.",
        ..GITEA_NOTES
    },
    ..GITEA_BASE
};

pub(super) const AZURE_DEVOPS: Provider = Provider {
    name: "azure-devops",
    title: "Azure DevOps",
    proofs: &[authorization(Scheme::Basic)],
    chosen_header: true,
    event_type: &[body("/eventType")],
    delivery_id: &[body("/id")],
    identity: &[&[body("/subscriptionId"), body("/notificationId")]],
    events: others::AZURE_DEVOPS,
    notes: Notes {
        register: &[
            "In the project: *Project settings*, *Service hooks*, *Create subscription*, *Web Hooks*. Choose the \
             event.",
            "*URL*: the URL of the Hook, over HTTPS.",
            "*Basic authentication username* and *password*: what stands in the Secret as `user:password`. Or name a \
             header in `verification.header` and give it in *HTTP headers*.",
        ],
        clock: "Not published; answers are given within 10 s.",
        retries: "Up to 8 times after 408, 502, 503 and 504, after about 1, 2, 4, 8, 16, 32 and 60 s.",
        answers: "410 switches the subscription off; most other errors put it on probation first.",
        hints: &[
            "Nothing is signed: whoever knows the password can send anything.",
            "Pull requests, builds, releases and pipelines do not tell for certain whether they are about code from a fork, \
             and start nothing without `allow.forks`, or the author in `allow.authors`.",
        ],
    },
    ..BASE
};
