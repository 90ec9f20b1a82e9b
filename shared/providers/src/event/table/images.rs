//! Registries of container images. What they tell is a hint: what a tag points at is known only by asking the registry.

use crate::event::mapping::{
    ImageAt, Mapping, NO_IMAGE, NO_REPOSITORY, NOTHING, RepositoryAt, Text, at,
};

pub(super) const DOCKER_HUB: &[Mapping] = &[Mapping {
    repository: RepositoryAt {
        full_name: at(&["/repository/repo_name"]),
        url: at(&["/repository/repo_url"]),
        ..NO_REPOSITORY
    },
    sender: at(&["/push_data/pusher"]),
    image: Some(ImageAt {
        // The service has one registry, which its payloads do not name.
        registry: Text::Is("docker.io"),
        repository: at(&["/repository/repo_name"]),
        tag: at(&["/push_data/tag"]),
        ..NO_IMAGE
    }),
    ..NOTHING
}];

/// The default payload; an administrator may have made another one.
pub(super) const QUAY: &[Mapping] = &[Mapping {
    repository: RepositoryAt {
        full_name: at(&["/repository"]),
        url: at(&["/homepage"]),
        ..NO_REPOSITORY
    },
    image: Some(ImageAt {
        references: &["/docker_url"],
        tags: Some("/updated_tags"),
        ..NO_IMAGE
    }),
    ..NOTHING
}];

/// The CloudEvents format out of its envelope, and the default one.
pub(super) const HARBOR: &[Mapping] = &[
    Mapping {
        types: &["harbor.*"],
        repository: RepositoryAt {
            full_name: at(&["/repository/repo_full_name"]),
            ..NO_REPOSITORY
        },
        image: Some(ImageAt {
            references: &["/resources/0/resource_url"],
            tag: at(&["/resources/0/tag"]),
            digest: at(&["/resources/0/digest"]),
            ..NO_IMAGE
        }),
        ..NOTHING
    },
    Mapping {
        repository: RepositoryAt {
            full_name: at(&["/event_data/repository/repo_full_name"]),
            ..NO_REPOSITORY
        },
        sender: at(&["/operator"]),
        image: Some(ImageAt {
            references: &["/event_data/resources/0/resource_url"],
            tag: at(&["/event_data/resources/0/tag"]),
            digest: at(&["/event_data/resources/0/digest"]),
            ..NO_IMAGE
        }),
        ..NOTHING
    },
];

/// The port at which Nexus serves images is in no payload, so that the registry is not known.
pub(super) const NEXUS: &[Mapping] = &[
    Mapping {
        given: Some(("/component/format", "docker")),
        image: Some(ImageAt {
            repository: at(&["/component/name"]),
            tag: at(&["/component/version"]),
            ..NO_IMAGE
        }),
        ..NEXUS_ANY
    },
    NEXUS_ANY,
];

const NEXUS_ANY: Mapping = Mapping {
    action: at(&["/action"]),
    repository: RepositoryAt {
        name: at(&["/repositoryName"]),
        ..NO_REPOSITORY
    },
    // `admin/10.0.0.1`
    sender: Text::Until('/', "/initiator"),
    ..NOTHING
};

pub(super) const ACR: &[Mapping] = &[Mapping {
    action: at(&["/action"]),
    image: Some(ImageAt {
        registry: at(&["/request/host"]),
        repository: at(&["/target/repository"]),
        tag: at(&["/target/tag"]),
        digest: at(&["/target/digest"]),
        ..NO_IMAGE
    }),
    ..NOTHING
}];

/// Google's registries, as Pub/Sub carries it.
pub(super) const ARTIFACT_REGISTRY: &[Mapping] = &[Mapping {
    action: at(&["/action"]),
    image: Some(ImageAt {
        references: &["/digest", "/tag"],
        ..NO_IMAGE
    }),
    ..NOTHING
}];
