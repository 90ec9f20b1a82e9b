//! The tables: for each provider, what its payloads say where. Of several mappings for a type the first one holds.
//!
//! Every place is one that the provider documents, or that its source shows; the modules say where they differ from
//! what their names promise.

mod bitbucket;
mod gitea;
mod github;
mod gitlab;
mod images;
mod others;

use super::mapping::Mapping;

/// The mappings of a provider; none for one whose payloads have no common shape.
pub(super) fn of(provider: &str) -> &'static [Mapping] {
    let found = TABLE.iter().find(|(name, _)| *name == provider);
    found.map_or(&[], |(_, mappings)| mappings)
}

static TABLE: &[(&str, &[Mapping])] = &[
    ("acr", images::ACR),
    ("azure-devops", others::AZURE_DEVOPS),
    ("bitbucket-cloud", bitbucket::CLOUD),
    ("bitbucket-dc", bitbucket::DATA_CENTER),
    ("cdevents", others::CDEVENTS),
    ("docker-hub", images::DOCKER_HUB),
    ("flux-alert", others::FLUX_ALERT),
    ("forgejo", gitea::GITEA),
    ("gar-pubsub", images::ARTIFACT_REGISTRY),
    ("gitea", gitea::GITEA),
    ("github", github::GITHUB),
    ("gitlab", gitlab::GITLAB),
    ("gogs", gitea::GOGS),
    ("harbor", images::HARBOR),
    ("nexus", images::NEXUS),
    ("quay", images::QUAY),
    ("slack", others::SLACK),
];
