//! What the first step of a run with a large payload does: bring the verified payload, and the flow's own files beside it.
//!
//! For runs of Hooks it is handed the workspace of the payload, and does the same for one of any size: what the
//! workspace holds is copied, what it only names is fetched.
//!
//! The payload appears under its name only when it is complete and its digest is right. The URL is a credential: it is in
//! no message, not even in part. It comes from whoever started the run, and never from a payload.

mod download;
mod files;
mod partial;
mod workspace;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use reqwest::StatusCode;

use crate::{Hidden, Reference};
use download::Download;
use workspace::Found;

/// What to fetch and where to put it.
#[derive(Clone, Debug, Args)]
pub struct FetchOptions {
    /// Folder of the workspace by which a Hook's run gets its payload: one file, the payload, or four files that say
    /// where it lies. Instead of --url, --digest and --size.
    #[arg(
        long,
        env = "HOOKRUN_FETCH_FROM",
        value_name = "FOLDER",
        conflicts_with_all = ["url", "digest", "size", "files"]
    )]
    pub from: Option<PathBuf>,

    /// Signed URL of the payload; better given by the variable, since others see arguments.
    #[arg(
        long,
        env = "HOOKRUN_FETCH_URL",
        value_name = "URL",
        hide_env_values = true,
        required_unless_present = "from"
    )]
    pub url: Option<Hidden>,

    /// Digest that the payload must have: sha256:<64 hexadecimal digits>.
    #[arg(
        long,
        env = "HOOKRUN_FETCH_DIGEST",
        value_name = "DIGEST",
        required_unless_present = "from"
    )]
    pub digest: Option<String>,

    /// Number of bytes that the payload must have.
    #[arg(
        long,
        env = "HOOKRUN_FETCH_SIZE",
        value_name = "BYTES",
        required_unless_present = "from"
    )]
    pub size: Option<u64>,

    /// File to write the payload to; with --from a folder, which is made where there is none, and the file has the name
    /// that the rule gives it.
    #[arg(
        long,
        env = "HOOKRUN_FETCH_TO",
        value_name = "FILE",
        default_value = "/files/context"
    )]
    pub to: PathBuf,

    /// Folder with files to copy beside the payload, for instance a mounted Secret.
    #[arg(long, env = "HOOKRUN_FETCH_FILES", value_name = "FOLDER")]
    pub files: Option<PathBuf>,

    /// Folder to write down what was written, a file each: `path` (inside of --to), `size` and `digest`. A Tekton Task
    /// takes them as its results.
    #[arg(
        long,
        env = "HOOKRUN_FETCH_RESULTS",
        value_name = "FOLDER",
        requires = "from",
        conflicts_with = "url"
    )]
    pub results: Option<PathBuf>,

    /// File with the CA certificates (PEM) to trust instead of the system's.
    #[arg(long, env = "HOOKRUN_FETCH_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// Time for everything, repetitions included.
    #[arg(long, env = "HOOKRUN_FETCH_TIMEOUT", value_name = "TIME", default_value = "5m", value_parser = units::duration)]
    pub timeout: Duration,
}

/// What was brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Bytes of the payload.
    pub size: u64,
    /// Files copied beside it.
    pub files: usize,
    /// Requests that it took; none where the payload was in the workspace.
    pub attempts: u32,
}

/// Why there is no payload.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// Nobody says what to fetch.
    #[error(
        "neither a workspace (HOOKRUN_FETCH_FROM) nor a payload's URL, digest and size are given"
    )]
    Incomplete,
    /// The folder is not a workspace of Hookrun's.
    #[error(
        "{}: neither a payload, which is one file, nor what says where one lies, which are {}, but {found:?}: bind \
         the workspace that the Hook's rule names", folder.display(), Reference::ENTRIES.join(", ")
    )]
    Workspace {
        /// Which one.
        folder: PathBuf,
        /// Its files.
        found: Vec<String>,
    },
    /// The URL cannot be used.
    #[error("the payload's URL is not one of http or https")]
    Url,
    /// The digest cannot be used.
    #[error("the payload's digest {0:?} is not sha256: and 64 lower-case hexadecimal digits")]
    DigestText(String),
    /// There is no HTTP client.
    #[error("cannot fetch the payload: {0}")]
    Settings(String),
    /// Nobody answered, or the connection broke.
    #[error("the payload's store cannot be reached: {0}")]
    Transport(String),
    /// The store has a problem of its own.
    #[error("the payload's store answered {0}")]
    Store(StatusCode),
    /// The store refuses.
    #[error(
        "the payload's store answered {0}: the URL has expired, or the object was deleted; send the event again"
    )]
    Refused(StatusCode),
    /// The answer points elsewhere.
    #[error(
        "the payload's store answered {0}, a redirect, which is not followed: configure the store's final address"
    )]
    Redirect(StatusCode),
    /// The answer ends too early.
    #[error("the payload ended after {got} of {expected} bytes")]
    Short {
        /// Bytes that came.
        got: u64,
        /// Bytes that were announced.
        expected: u64,
    },
    /// The answer does not end.
    #[error("the payload has more than the {0} bytes announced")]
    Long(u64),
    /// The content is another one.
    #[error("the payload is not the one announced: its digest is sha256:{0}")]
    Digest(String),
    /// The time is over.
    #[error("the payload was not complete within {limit:?}, after {attempts} attempts{}", match last {
        Some(last) => format!(": {last}"),
        None => String::new(),
    })]
    Deadline {
        /// How long it had.
        limit: Duration,
        /// Requests made.
        attempts: u32,
        /// How the last complete one failed.
        last: Option<Box<FetchError>>,
    },
    /// A file cannot be read or written.
    #[error("{}: {reason}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl FetchError {
    pub(crate) fn file(path: &Path, reason: &impl ToString) -> Self {
        Self::File {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }

    /// Whether another request may do better.
    fn passes(&self) -> bool {
        matches!(
            self,
            Self::Transport(_) | Self::Store(_) | Self::Short { .. }
        )
    }
}

/// Brings the payload, and copies the files, within the time given.
///
/// # Errors
/// A [`FetchError`]; the payload's file does not exist then, unless it did before.
pub async fn fetch(options: &FetchOptions) -> Result<Fetched, FetchError> {
    let FetchOptions {
        from,
        url,
        digest,
        size,
        to,
        files,
        results,
        ca,
        timeout,
    } = options;
    let ca = ca.as_deref();
    if let Some(folder) = from {
        return received(folder, to, results.as_deref(), ca, *timeout).await;
    }
    let (Some(url), Some(digest), Some(size)) = (url, digest, *size) else {
        return Err(FetchError::Incomplete);
    };
    let reference = Reference {
        url: url.reveal().to_owned(),
        digest: digest.clone(),
        size,
    };
    let download = Download::of(&reference, ca)?;
    let files = match files {
        Some(folder) => files::copy(folder, to)?,
        None => 0,
    };
    let attempts = download.write(to, *timeout).await?;
    Ok(Fetched {
        size,
        files,
        attempts,
    })
}

/// Brings the payload that a workspace holds or names into a folder.
async fn received(
    workspace: &Path,
    to: &Path,
    results: Option<&Path>,
    ca: Option<&Path>,
    timeout: Duration,
) -> Result<Fetched, FetchError> {
    let found = workspace::find(workspace)?;
    // The first step of a Task has nobody before it who could make the folder.
    std::fs::create_dir_all(to).map_err(|error| FetchError::file(to, &error))?;
    let (name, size, digest, attempts) = match found {
        Found::Payload { name, path } => {
            let (size, digest) = workspace::copy(&path, &to.join(&name))?;
            (name, size, digest, 0)
        }
        Found::Reference { name, reference } => {
            let download = Download::of(&reference, ca)?;
            let attempts = download.write(&to.join(&name), timeout).await?;
            (name, reference.size, reference.digest, attempts)
        }
    };
    if let Some(results) = results {
        for (result, text) in [
            ("path", name),
            ("size", size.to_string()),
            ("digest", digest),
        ] {
            let file = results.join(result);
            std::fs::write(&file, text).map_err(|error| FetchError::file(&file, &error))?;
        }
    }
    Ok(Fetched {
        size,
        files: 0,
        attempts,
    })
}
