//! Registries of container images. What they tell is a hint: what a tag points at is known only by asking the registry.

use crate::event::mapping::{
    Events, ImageAt, Mapping, NO_EVENTS, NO_IMAGE, NO_REPOSITORY, NOTHING, RepositoryAt, Text, at,
};

pub(crate) const DOCKER_HUB: Events = Events {
    mappings: &[Mapping {
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
    }],
    ..NO_EVENTS
};

/// The default payload; an administrator may have made another one.
pub(crate) const QUAY: Events = Events {
    mappings: &[Mapping {
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
    }],
    ..NO_EVENTS
};

/// The CloudEvents format out of its envelope, and the default one.
pub(crate) const HARBOR: Events = Events {
    mappings: &[
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
    ],
    ..NO_EVENTS
};

/// The port at which Nexus serves images is in no payload, so that the registry is not known.
pub(crate) const NEXUS: Events = Events {
    mappings: &[
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
    ],
    ..NO_EVENTS
};

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

pub(crate) const ACR: Events = Events {
    mappings: &[Mapping {
        action: at(&["/action"]),
        image: Some(ImageAt {
            registry: at(&["/request/host"]),
            repository: at(&["/target/repository"]),
            tag: at(&["/target/tag"]),
            digest: at(&["/target/digest"]),
            ..NO_IMAGE
        }),
        ..NOTHING
    }],
    ..NO_EVENTS
};

/// Google's registries, as Pub/Sub carries it.
pub(crate) const ARTIFACT_REGISTRY: Events = Events {
    mappings: &[Mapping {
        action: at(&["/action"]),
        image: Some(ImageAt {
            references: &["/digest", "/tag"],
            ..NO_IMAGE
        }),
        ..NOTHING
    }],
    ..NO_EVENTS
};
