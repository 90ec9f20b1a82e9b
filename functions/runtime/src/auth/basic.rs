//! HTTP Basic (RFC 7617), compared in constant time, with credentials that may change while the process runs.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, io};

use http::HeaderMap;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{Error, header};

/// The password that the Artisan runner came with.
const PUBLISHED: &str = "adm1n";

/// The files are looked at, at most so often.
const PERIOD: Duration = Duration::from_secs(1);

/// What `Authorization` is compared with: digests, so that neither time nor memory tells a length.
pub struct Basic {
    source: Option<PathBuf>,
    known: Mutex<Known>,
}

struct Known {
    digests: Vec<[u8; 32]>,
    /// What the files looked like when they were read.
    stamp: Vec<Stamp>,
    looked: Instant,
}

#[derive(PartialEq, Eq)]
struct Stamp {
    inode: u64,
    modified: (i64, i64),
    size: u64,
}

impl std::fmt::Debug for Basic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Basic")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl Basic {
    /// One user with one password.
    ///
    /// # Errors
    /// The password is empty or the published default, or the user name cannot be sent.
    pub fn new(user: &str, password: &str) -> Result<Self, Error> {
        let digests = digests(user, &[password])?;
        Ok(Self {
            source: None,
            known: Mutex::new(Known {
                digests,
                stamp: Vec::new(),
                looked: Instant::now(),
            }),
        })
    }

    /// The credentials in a folder, read again when they change.
    ///
    /// # Errors
    /// A file is missing or empty, or holds what [`Basic::new`] refuses.
    pub fn from_folder(folder: &Path) -> Result<Self, Error> {
        let known = Mutex::new(read(folder)?);
        Ok(Self {
            source: Some(folder.to_owned()),
            known,
        })
    }

    /// Whether the request carries valid credentials. Takes as long without any as with wrong ones.
    pub fn check(&self, headers: &HeaderMap) -> bool {
        let given: [u8; 32] = Sha256::digest(header::basic(headers).unwrap_or_default()).into();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = &self.source {
            known.refresh(folder);
        }
        // All of them, always.
        known
            .digests
            .iter()
            .fold(subtle::Choice::from(0), |found, digest| {
                found | digest.ct_eq(&given)
            })
            .into()
    }
}

impl Known {
    fn refresh(&mut self, folder: &Path) {
        if self.looked.elapsed() < PERIOD {
            return;
        }
        self.looked = Instant::now();
        if stamp(folder).is_ok_and(|stamp| stamp == self.stamp) {
            return;
        }
        match read(folder) {
            Ok(known) => {
                tracing::info!("credentials have changed");
                *self = known;
            }
            // Half a change must not lock everybody out; the next look may find the rest of it.
            Err(error) => {
                tracing::error!(%error, "credentials cannot be read; those known before stay valid")
            }
        }
    }
}

fn digests(user: &str, passwords: &[&str]) -> Result<Vec<[u8; 32]>, Error> {
    if user.is_empty() || user.contains(':') {
        return Err(Error::User);
    }
    if passwords.is_empty() || passwords.iter().any(|password| password.is_empty()) {
        return Err(Error::NoPassword);
    }
    if passwords.contains(&PUBLISHED) {
        return Err(Error::DefaultPassword);
    }
    Ok(passwords
        .iter()
        .map(|password| Sha256::digest(format!("{user}:{password}")).into())
        .collect())
}

/// The names of the two files: those of a `kubernetes.io/basic-auth` Secret, or those of the Artisan runner's.
fn files(folder: &Path) -> [PathBuf; 2] {
    if folder.join("password").exists() {
        [folder.join("username"), folder.join("password")]
    } else {
        [folder.join("uname"), folder.join("pwd")]
    }
}

fn stamp(folder: &Path) -> io::Result<Vec<Stamp>> {
    use std::os::unix::fs::MetadataExt as _;
    files(folder)
        .iter()
        .map(|file| {
            // Follows the links of a mounted Secret, whose target is another file after every change.
            let metadata = fs::metadata(file)?;
            let modified = (metadata.mtime(), metadata.mtime_nsec());
            Ok(Stamp {
                inode: metadata.ino(),
                modified,
                size: metadata.len(),
            })
        })
        .collect()
}

fn read(folder: &Path) -> Result<Known, Error> {
    let wrong = |reason: String| Error::Folder {
        folder: folder.to_owned(),
        reason,
    };
    let [user, password] = files(folder);
    let text = |file: &Path| {
        fs::read_to_string(file).map_err(|e| {
            wrong(format!(
                "{}: {e}",
                file.file_name().unwrap_or_default().display()
            ))
        })
    };
    // Before the content: if it changes in between, the next look sees another stamp.
    let stamp = stamp(folder)
        .map_err(|e| wrong(format!("`username` and `password` cannot be read: {e}")))?;
    let (user, passwords) = (text(&user)?, text(&password)?);
    let passwords: Vec<&str> = passwords.lines().filter(|line| !line.is_empty()).collect();
    if passwords.is_empty() {
        return Err(wrong("the password is empty".to_owned()));
    }
    let digests = digests(user.trim_end_matches(['\r', '\n']), &passwords)?;
    Ok(Known {
        digests,
        stamp,
        looked: Instant::now(),
    })
}
