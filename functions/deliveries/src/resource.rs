//! The kinds of object that this function reads and writes, and the marks on them.

use cluster::Resource;

/// Hooks.
pub const HOOKS: Resource = Resource {
    group: hooks::GROUP,
    version: hooks::VERSION,
    kind: "Hook",
    plural: "hooks",
};

/// Deliveries.
pub const DELIVERIES: Resource = Resource {
    group: hooks::GROUP,
    version: hooks::VERSION,
    kind: "Delivery",
    plural: "deliveries",
};

/// Pipelines.
pub const PIPELINES: Resource = Resource {
    group: "tekton.dev",
    version: "v1",
    kind: "Pipeline",
    plural: "pipelines",
};

/// Questions whether somebody may do something in one namespace: a right to ask them is given there.
pub const ACCESS_REVIEWS: Resource = Resource {
    group: "authorization.k8s.io",
    version: "v1",
    kind: "LocalSubjectAccessReview",
    plural: "localsubjectaccessreviews",
};

/// Label of a Delivery: its outcome.
pub const OUTCOME: &str = "hookrun.dev/outcome";

/// Label of a Delivery: the type of its event, as far as a label can hold it.
pub const EVENT_TYPE: &str = "hookrun.dev/event-type";

/// Annotation of a Delivery: bytes that it takes in the cluster with what it owns, so that a list of metadata tells what
/// retention needs.
pub const STORED_BYTES: &str = "hookrun.dev/stored-bytes";

/// Annotation of a Delivery: digest of its payload.
pub const PAYLOAD_DIGEST: &str = "hookrun.dev/payload-digest";

/// Annotation of a Delivery: when it came, as in its record.
pub const RECEIVED_TIME: &str = "hookrun.dev/received-time";

/// Annotation of a Delivery: how often it was tried to carry it out, as in its record; missing before the first time.
pub const ATTEMPTS: &str = "hookrun.dev/attempts";

/// Annotation of a Delivery: another one with the same payload, as in its record.
pub const SAME_PAYLOAD_AS: &str = "hookrun.dev/same-payload-as";

/// Annotation of a Delivery: the ServiceAccount as which its runs are started.
pub const SERVICE_ACCOUNT: &str = "hookrun.dev/service-account";

/// Annotation of a Delivery: the request that wrote it, so that a process recognises what it wrote itself when the
/// API server's answer was lost.
pub const REQUEST: &str = "hookrun.dev/request";

/// Annotation of a Delivery: the one of which it is a replay. Nobody is at work on such a Delivery, so that the sweep need not
/// wait for its age.
pub const REPLAY_OF: &str = "hookrun.dev/replay-of";

/// Annotation of a run: Secrets of its Delivery, separated by commas, that hold what it is to own; each is called as the
/// copy is, with a `-` and ten digits of a digest behind it.
pub const COPIES: &str = "hookrun.dev/copies";

/// Entry of the Secret that holds a payload.
pub const PAYLOAD: &str = "payload";

/// A text as the value of a label: what a label cannot hold becomes `-`, and at most 63 characters are kept.
pub fn label_value(text: &str) -> String {
    let legal = |c: char| {
        if c.is_ascii_alphanumeric() || "-_.".contains(c) {
            c
        } else {
            '-'
        }
    };
    let value: String = text.chars().take(63).map(legal).collect();
    value
        .trim_matches(|c: char| !c.is_ascii_alphanumeric())
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_gives_a_legal_value() {
        for (text, value) in [
            ("push", "push"),
            ("Merge Request Hook", "Merge-Request-Hook"),
            ("pullrequest:created", "pullrequest-created"),
            ("-ä-", ""),
            (&"x/".repeat(40), &"x-".repeat(32)[..63]),
        ] {
            assert_eq!(label_value(text), value);
        }
    }
}
