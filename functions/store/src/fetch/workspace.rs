//! The workspace by which a Hook's run gets its payload: the payload itself, or where it lies.
//!
//! Behind it is a Secret that Hookrun wrote for this run: one entry for a payload, all of [`Reference::ENTRIES`] for a
//! large one. The number tells them apart, so that no payload is taken for a reference, whatever it holds and whatever
//! its file is called.

use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use super::{FetchError, files, partial::Partial};
use crate::{Reference, payload::hex};

/// Bytes that are copied at a time.
const CHUNK: usize = 64 << 10;

/// What a workspace holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The payload.
    Payload {
        /// Name of its file.
        name: String,
        /// Where it is.
        path: PathBuf,
    },
    /// Where the payload lies.
    Reference {
        /// Name that its file is to have.
        name: String,
        /// What to fetch.
        reference: Reference,
    },
}

/// Looks at a workspace.
pub(super) fn find(folder: &Path) -> Result<Found, FetchError> {
    let listed = files::list(folder)?;
    let mut names: Vec<String> = Vec::new();
    for (name, _) in &listed {
        names.push(name.to_string_lossy().into_owned());
    }
    if let ([name], [(_, path)]) = (names.as_slice(), listed.as_slice()) {
        let (name, path) = (name.clone(), path.clone());
        return Ok(Found::Payload { name, path });
    }
    let mut entries = Reference::ENTRIES.to_vec();
    entries.sort_unstable();
    if names != entries {
        return Err(FetchError::Workspace {
            folder: folder.to_owned(),
            found: names,
        });
    }
    let text = |entry: &str| {
        let mut files = listed.iter().filter(|(name, _)| name == entry);
        let path = files.next().map_or(folder, |(_, path)| path);
        fs::read_to_string(path).map_err(|error| FetchError::file(path, &error))
    };
    let wrong = |entry: &str, reason: &str| FetchError::file(&folder.join(entry), &reason);
    let [url, digest, size, file] = Reference::ENTRIES.map(text);
    let (name, size) = (file?, size?);
    if !is_name(&name) {
        return Err(wrong(Reference::FILE, "it is not the name of a file"));
    }
    let Ok(size) = size.parse() else {
        return Err(wrong(Reference::SIZE, "it is not a number of bytes"));
    };
    let (url, digest) = (url?, digest?);
    let reference = Reference { url, digest, size };
    Ok(Found::Reference { name, reference })
}

/// Copies a payload; how many bytes it has, and their digest.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(u64, String), FetchError> {
    let problem = |error: std::io::Error| FetchError::file(from, &error);
    let mut source = File::open(from).map_err(problem)?;
    let mut partial = Partial::beside(to)?;
    let (mut hash, mut size) = (Sha256::new(), 0);
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = source.read(&mut buffer).map_err(problem)?;
        let bytes = buffer.get(..read).unwrap_or_default();
        if bytes.is_empty() {
            break;
        }
        hash.update(bytes);
        partial.write(bytes)?;
        size += bytes.len() as u64;
    }
    partial.rename(to)?;
    Ok((size, format!("sha256:{}", hex(&hash.finalize()))))
}

/// Whether a text names one file of a folder, as a rule's file does.
fn is_name(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !text.is_empty() && text != "." && !text.starts_with("..") && text.bytes().all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with these files, as Kubernetes mounts a Secret.
    fn mounted(entries: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("..2030_01_01");
        fs::create_dir(&data).unwrap();
        std::os::unix::fs::symlink("..2030_01_01", folder.path().join("..data")).unwrap();
        for (name, content) in entries {
            fs::write(data.join(name), content).unwrap();
            let link = folder.path().join(name);
            std::os::unix::fs::symlink(format!("..data/{name}"), link).unwrap();
        }
        folder
    }

    fn named(name: &str, size: &str) -> tempfile::TempDir {
        let url = ("url", "https://store/x");
        mounted(&[url, ("digest", "sha256:0"), ("size", size), ("file", name)])
    }

    #[test]
    fn four_entries_say_where_the_payload_lies() {
        let reference = Reference {
            url: "https://store/x".to_owned(),
            digest: "sha256:0".to_owned(),
            size: 17,
        };
        let folder = named("event.json", "17");
        let found = find(folder.path()).unwrap();
        let name = "event.json".to_owned();
        assert_eq!(found, Found::Reference { name, reference });
    }

    #[test]
    fn a_payload_is_no_reference_whatever_it_holds() {
        for name in Reference::ENTRIES {
            let folder = mounted(&[(name, "https://elsewhere/")]);
            let found = find(folder.path()).unwrap();
            assert!(
                matches!(&found, Found::Payload { name: found, .. } if found == name),
                "{found:?}"
            );
        }
    }

    #[test]
    fn a_reference_names_no_file_outside_of_its_folder() {
        for name in ["../x", "..", ".", "", "/etc/passwd", "a/b", "..data", "a\n"] {
            let error = find(named(name, "1").path()).unwrap_err().to_string();
            assert!(error.contains("not the name of a file"), "{name}: {error}");
        }
        let error = find(named("x", "many").path()).unwrap_err().to_string();
        assert!(error.contains("size: it is not a number"), "{error}");
    }

    #[test]
    fn what_is_neither_says_what_it_is() {
        for entries in [
            &[][..],
            &[("a", "1"), ("b", "2")],
            &[("url", "x"), ("digest", "y"), ("size", "1")],
            &[
                ("url", ""),
                ("digest", ""),
                ("size", ""),
                ("file", ""),
                ("x", ""),
            ],
        ] {
            let error = find(mounted(entries).path()).unwrap_err().to_string();
            assert!(error.contains("url, digest, size, file, but ["), "{error}");
        }
    }

    #[test]
    fn a_payload_is_copied_whole_with_its_digest() {
        let (from, to) = (mounted(&[("a", "payload")]), tempfile::tempdir().unwrap());
        let target = to.path().join("a");
        let (size, digest) = copy(&from.path().join("a"), &target).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "payload");
        assert_eq!(size, 7);
        assert_eq!(
            digest,
            "sha256:239f59ed55e737c77147cf55ad0c1b030b6d7ee748a7426952f9b852d5a935e5"
        );
        assert_eq!(fs::read_dir(to.path()).unwrap().count(), 1);
    }
}
