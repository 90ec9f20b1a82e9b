//! Image references: whether a text is one.
//!
//! Tekton's admission takes any text for an image; a bad one only shows when the run has started. So it is checked
//! here, by the grammar that registries and container runtimes share.

/// Whether a text is an image reference: `[registry[:port]/]path[:tag][@digest]`.
///
/// ```
/// use flows::image::is_image;
///
/// assert!(is_image("registry.example.org:5000/tools/buildah:5"));
/// assert!(!is_image("Tools/Buildah") && !is_image("tools/buildah:") && !is_image("a b"));
/// ```
pub fn is_image(text: &str) -> bool {
    let (named, digest) = match text.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (text, None),
    };
    // A colon is a tag's only behind the last slash; before it, it is a port's.
    let path_start = named.rfind('/').map_or(0, |at| at + 1);
    let (repository, tag) = match named.get(path_start..).and_then(|last| last.find(':')) {
        Some(at) => (
            named.get(..path_start + at).unwrap_or_default(),
            named.get(path_start + at + 1..),
        ),
        None => (named, None),
    };
    repository.len() <= 255
        && is_repository(repository)
        && tag.is_none_or(is_tag)
        && digest.is_none_or(is_digest)
}

fn is_repository(text: &str) -> bool {
    let mut parts = text.split('/').peekable();
    let first = parts.peek().copied().unwrap_or_default();
    let host = text.contains('/') && (first.contains(['.', ':']) || first == "localhost");
    if host && !is_host(first) {
        return false;
    }
    parts.skip(usize::from(host)).all(is_path_part)
}

fn is_host(text: &str) -> bool {
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    name.split('.').all(part)
        && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// Lower case and digits, joined by `.`, `_`, `__` or any number of `-`.
fn is_path_part(text: &str) -> bool {
    let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(plain)
        && bytes.last().is_some_and(plain)
        && bytes.split(plain).all(|joint| {
            matches!(joint, b"" | b"." | b"_" | b"__") || joint.iter().all(|b| *b == b'-')
        })
}

fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=128).contains(&text.len())
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64
            && hex
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

#[cfg(test)]
mod tests {
    use super::is_image;

    #[test]
    fn images_as_people_write_them() {
        let digest = format!("a/b@sha256:{}", "0a".repeat(32));
        for text in [
            "i",
            "java",
            "a/b",
            "localhost/a",
            "localhost:5000/a:1",
            "h.example.org/a/b_c/d__e/f--g:V1.2_x-",
            &digest,
        ] {
            assert!(is_image(text), "{text}");
        }
    }

    #[test]
    fn texts_that_no_registry_has() {
        let long = "a".repeat(256);
        for text in [
            "",
            " ",
            "a ",
            "A",
            "a/B",
            "/a",
            "a/",
            "a//b",
            "a:",
            ":a",
            "a:b:c",
            "a:-b",
            "a___b",
            "a.-b",
            "-a",
            "a@sha256:12",
            "a@",
            "h.example.org:0/a",
            "h.example.org:x/a",
            "$(params.x)",
            "ä",
            "https://h.example.org/a",
            &long,
        ] {
            assert!(!is_image(text), "{text}");
        }
    }
}
