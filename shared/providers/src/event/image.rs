//! References of container images, taken apart and put together.

use percent_encoding::percent_decode_str;

use super::Image;

/// What is known of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) registry: Option<String>,
    pub(super) repository: Option<String>,
    pub(super) tag: Option<String>,
    pub(super) digest: Option<String>,
}

impl Parts {
    /// What is not known here is taken from there.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            registry: self.registry.or(other.registry),
            repository: self.repository.or(other.repository),
            tag: self.tag.or(other.tag),
            digest: self.digest.or(other.digest),
        }
    }

    /// The image, if its repository is known. Some registries tell a digest where others tell a tag.
    pub(super) fn image(self, tags: Vec<String>) -> Option<Image> {
        let repository = self.repository?;
        let told = [self.digest.as_ref(), self.tag.as_ref()];
        let digest = told
            .into_iter()
            .flatten()
            .find(|text| is_digest(text))
            .cloned();
        let mut all: Vec<String> = tags.into_iter().filter(|tag| is_tag(tag)).collect();
        let tag = self
            .tag
            .filter(|tag| is_tag(tag))
            .or_else(|| all.first().cloned());
        if all.is_empty() {
            all.extend(tag.clone());
        }
        let version = match (&digest, &tag) {
            (Some(digest), _) => Some(format!("@{digest}")),
            (None, Some(tag)) => Some(format!(":{tag}")),
            (None, None) => None,
        };
        let name = self
            .registry
            .as_ref()
            .map(|host| format!("{host}/{repository}"));
        Some(Image {
            reference: name.zip(version).map(|(name, version)| name + &version),
            registry: self.registry,
            repository,
            tag,
            tags: all,
            digest,
        })
    }
}

/// Takes `[registry/]repository[:tag][@digest]` apart. The first part of a path is a host if it looks like one, as in
/// every container runtime.
pub(super) fn reference(text: &str) -> Parts {
    if text.contains("://") {
        return Parts::default();
    }
    let (named, digest) = match text.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (text, None),
    };
    let (path, tag) = match named.rsplit_once(':') {
        // Before the last slash it is the colon of a port.
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (named, None),
    };
    let (registry, repository) = match path.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => {
            (Some(host), path)
        }
        _ => (None, path),
    };
    let owned = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Parts {
        registry: registry.and_then(owned),
        repository: owned(repository),
        tag: tag.and_then(owned),
        digest: digest.and_then(owned),
    }
}

/// Takes a package URL of the types `oci` and `docker` apart; `None` for any other text.
///
/// With `oci`, `repository_url` is registry and repository; with `docker`, it is the registry.
pub(super) fn package(text: &str) -> Option<Parts> {
    let (kind, rest) = text.strip_prefix("pkg:")?.split_once('/')?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (name, version) = match rest.split_once('@') {
        Some((name, version)) => (decoded(name)?, Some(decoded(version)?)),
        None => (decoded(rest)?, None),
    };
    let query = query.split('#').next().unwrap_or_default();
    let value = |wanted: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        decoded(pairs.find(|(key, _)| *key == wanted)?.1)
    };
    let place = value("repository_url");
    let named = match (kind, place) {
        ("oci", Some(place)) => reference(&place),
        ("docker", Some(host)) => reference(&format!("{host}/{name}")),
        ("oci" | "docker", None) => reference(&name),
        _ => return None,
    };
    let told = Parts {
        tag: value("tag"),
        digest: version.clone().filter(|version| is_digest(version)),
        ..Parts::default()
    };
    let version = Parts {
        tag: version.filter(|version| is_tag(version)),
        ..Parts::default()
    };
    Some(told.or(version).or(named))
}

fn decoded(text: &str) -> Option<String> {
    let text = percent_decode_str(text).decode_utf8().ok()?;
    (!text.is_empty()).then(|| text.into_owned())
}

fn is_tag(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    !text.is_empty() && text.len() <= 128 && text.bytes().all(legal)
}

/// `algorithm:hex`; the length of the hex is the registry's business.
fn is_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else {
        return false;
    };
    let word = |text: &str| {
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'.' | b'_' | b'-');
        !text.is_empty() && text.bytes().all(legal)
    };
    word(algorithm) && word(hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(parts: &Parts) -> String {
        let text = |part: &Option<String>| part.clone().unwrap_or_else(|| "-".to_owned());
        let Parts {
            registry,
            repository,
            tag,
            digest,
        } = parts;
        [registry, repository, tag, digest].map(text).join(" ")
    }

    #[test]
    fn references_come_apart() {
        for (text, parts) in [
            ("app", "- app - -"),
            ("app:v1", "- app v1 -"),
            ("acme/app", "- acme/app - -"),
            ("registry.invalid:5000/app", "registry.invalid:5000 app - -"),
            ("localhost/acme/app:v1", "localhost acme/app v1 -"),
            (
                "registry.invalid/a/b:v1@sha256:00",
                "registry.invalid a/b v1 sha256:00",
            ),
            ("registry.invalid/a/b:", "registry.invalid a/b - -"),
            ("https://registry.invalid/a", "- - - -"),
            ("", "- - - -"),
        ] {
            assert_eq!(print(&reference(text)), parts, "{text}");
        }
    }

    #[test]
    fn package_urls_come_apart() {
        for (text, parts) in [
            ("pkg:oci/app@sha256%3A00", "- app - sha256:00"),
            (
                "pkg:oci/app@sha256:00?repository_url=registry.invalid/acme%2Fapp&tag=v1",
                "registry.invalid acme/app v1 sha256:00",
            ),
            (
                "pkg:docker/acme/app@v1?repository_url=registry.invalid",
                "registry.invalid acme/app v1 -",
            ),
            ("pkg:docker/acme/app@v1", "- acme/app v1 -"),
        ] {
            let read = package(text).as_ref().map(print);
            assert_eq!(read.as_deref(), Some(parts), "{text}");
        }
        for text in ["pkg:npm/app@1", "pkg:oci", "oci/app", "pkg:oci/%FF", ""] {
            assert_eq!(package(text), None, "{text}");
        }
    }

    #[test]
    fn the_digest_is_what_is_pulled() {
        let parts = reference("registry.invalid/app:v1@sha256:00");
        let image = parts.image(vec![]).expect("it is one");
        assert_eq!(
            image.reference.as_deref(),
            Some("registry.invalid/app@sha256:00")
        );
        assert_eq!(image.tags, ["v1"]);
    }

    #[test]
    fn a_digest_in_the_place_of_a_tag_is_one() {
        let parts = Parts {
            repository: Some("app".to_owned()),
            tag: Some("sha256:00".to_owned()),
            ..Parts::default()
        };
        let image = parts.image(vec![]).expect("it is one");
        assert_eq!(
            (image.tag, image.digest.as_deref()),
            (None, Some("sha256:00"))
        );
        assert_eq!(image.reference, None);
    }
}
