//! Payloads to try a Hook with: of each provider what it sends most, with names of nobody.
//!
//! They are the fixtures of the tests, so that what is tried is what is tested.

/// A payload, and what its sender calls the event.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Name of the provider; empty for the payload of those that have no shape of their own.
    pub provider: &'static str,
    /// Type of the event, as the provider calls it.
    pub event_type: &'static str,
    /// The payload, in JSON.
    pub payload: &'static str,
}

const fn sample(provider: &'static str, event_type: &'static str, payload: &'static str) -> Sample {
    Sample {
        provider,
        event_type,
        payload,
    }
}

/// For providers whose payloads have no shape of their own.
static PLAIN: Sample = sample("", "test", r#"{"message": "a sample"}"#);

/// All of them; of one provider the most usual first.
pub static SAMPLES: &[Sample] = &[
    sample(
        "github",
        "push",
        include_str!("../tests/payloads/github/push.json"),
    ),
    sample(
        "github",
        "pull_request",
        include_str!("../tests/payloads/github/pull-request.json"),
    ),
    sample(
        "github",
        "release",
        include_str!("../tests/payloads/github/release.json"),
    ),
    sample(
        "gitlab",
        "Push Hook",
        include_str!("../tests/payloads/gitlab/push.json"),
    ),
    sample(
        "gitlab",
        "Merge Request Hook",
        include_str!("../tests/payloads/gitlab/merge-request.json"),
    ),
    sample(
        "gitlab",
        "Tag Push Hook",
        include_str!("../tests/payloads/gitlab/tag-push.json"),
    ),
    sample(
        "bitbucket-cloud",
        "repo:push",
        include_str!("../tests/payloads/bitbucket-cloud/repo-push.json"),
    ),
    sample(
        "bitbucket-cloud",
        "pullrequest:created",
        include_str!("../tests/payloads/bitbucket-cloud/pullrequest-created.json"),
    ),
    sample(
        "bitbucket-dc",
        "repo:refs_changed",
        include_str!("../tests/payloads/bitbucket-dc/refs-changed.json"),
    ),
    sample(
        "bitbucket-dc",
        "pr:opened",
        include_str!("../tests/payloads/bitbucket-dc/pr-opened.json"),
    ),
    sample(
        "gitea",
        "push",
        include_str!("../tests/payloads/gitea/push.json"),
    ),
    sample(
        "gitea",
        "pull_request",
        include_str!("../tests/payloads/gitea/pull-request.json"),
    ),
    sample(
        "forgejo",
        "push",
        include_str!("../tests/payloads/forgejo/push.json"),
    ),
    sample(
        "forgejo",
        "pull_request",
        include_str!("../tests/payloads/forgejo/pull-request.json"),
    ),
    sample(
        "gogs",
        "push",
        include_str!("../tests/payloads/gogs/push.json"),
    ),
    sample(
        "gogs",
        "pull_request",
        include_str!("../tests/payloads/gogs/pull-request.json"),
    ),
    sample(
        "azure-devops",
        "git.push",
        include_str!("../tests/payloads/azure-devops/push.json"),
    ),
    sample(
        "azure-devops",
        "git.pullrequest.created",
        include_str!("../tests/payloads/azure-devops/pull-request-created.json"),
    ),
    sample(
        "docker-hub",
        "push",
        include_str!("../tests/payloads/docker-hub/push.json"),
    ),
    sample("quay", "", include_str!("../tests/payloads/quay/push.json")),
    sample(
        "harbor",
        "PUSH_ARTIFACT",
        include_str!("../tests/payloads/harbor/push-artifact.json"),
    ),
    sample(
        "nexus",
        "rm:repository:component",
        include_str!("../tests/payloads/nexus/component.json"),
    ),
    sample(
        "acr",
        "push",
        include_str!("../tests/payloads/acr/push.json"),
    ),
    sample(
        "gar-pubsub",
        "INSERT",
        include_str!("../tests/payloads/gar-pubsub/insert.json"),
    ),
    sample(
        "slack",
        "app_mention",
        include_str!("../tests/payloads/slack/app-mention.json"),
    ),
    sample(
        "stripe",
        "invoice.paid",
        include_str!("../tests/payloads/stripe/invoice-paid.json"),
    ),
    sample(
        "cdevents",
        "dev.cdevents.artifact.published.0.2.0",
        include_str!("../tests/payloads/cdevents/artifact-published.json"),
    ),
    sample(
        "flux-alert",
        "NewArtifact",
        include_str!("../tests/payloads/flux-alert/git-repository.json"),
    ),
];

/// The sample of a provider for a type of event, or the first one where none is named or there is none for it.
#[must_use]
pub fn sample_of(provider: &str, event_type: Option<&str>) -> &'static Sample {
    let mut own = SAMPLES.iter().filter(|sample| sample.provider == provider);
    let named = own
        .clone()
        .find(|sample| Some(sample.event_type) == event_type);
    named.or_else(|| own.next()).unwrap_or(&PLAIN)
}
