//! Why a store gave nothing.
//!
//! An error says where, what and what to do, in words that may be shown to the sender: no credentials, no URL of the
//! store, no object's content. How it maps to a status is the caller's business; [`Class`] is all it needs for that.

use std::{fmt, time::Duration};

/// Which store an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Flows in Onix.
    Onix,
    /// Flows in ConfigMaps and Secrets.
    Kubernetes,
    /// Flows in a folder or a bucket.
    Objects,
    /// Payloads in a bucket.
    Payloads,
}

impl Place {
    /// How the text of a failed call begins; for Onix as the original's did.
    fn failed(self) -> &'static str {
        match self {
            Self::Onix => "cannot retrieve flow specification from Onix: error",
            Self::Kubernetes => "cannot retrieve flow specification from Kubernetes: error",
            Self::Objects => "cannot retrieve flow specification from the object store: error",
            Self::Payloads => "payload store",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Onix => "Onix http",
            Self::Kubernetes => "Kubernetes",
            Self::Objects => "object store",
            Self::Payloads => "payload store",
        })
    }
}

/// What went wrong with a store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting that this store cannot do without is missing.
    #[error("configuration variable '{0}' is undefined")]
    Undefined(&'static str),
    /// A setting cannot be used.
    #[error("cannot create {place} client: {reason}")]
    Settings {
        /// Which store.
        place: Place,
        /// Which setting, and what is wrong with it.
        reason: String,
    },
    /// The store has no such flow.
    #[error("{}: {reason}", place.failed())]
    NotFound {
        /// Which store.
        place: Place,
        /// What was looked for.
        reason: String,
    },
    /// More than one flow has this key.
    #[error("{}: {reason}", place.failed())]
    Ambiguous {
        /// Which store.
        place: Place,
        /// Which objects.
        reason: String,
    },
    /// The store could not be reached, or the connection broke.
    #[error("{}: cannot be reached: {reason}", place.failed())]
    Unreachable {
        /// Which store.
        place: Place,
        /// The innermost cause.
        reason: String,
    },
    /// The store did not answer in time.
    #[error("{}: no complete answer within {limit:?}", place.failed())]
    Timeout {
        /// Which store.
        place: Place,
        /// How long it had.
        limit: Duration,
    },
    /// The store refuses our credentials.
    #[error("{}: {reason}", place.failed())]
    Refused {
        /// Which store.
        place: Place,
        /// The status, and where the credentials are configured.
        reason: String,
    },
    /// The store answers with another failure.
    #[error("{}: {reason}", place.failed())]
    Failed {
        /// Which store.
        place: Place,
        /// The status.
        reason: String,
    },
    /// The store is there and asks to be asked later.
    #[error("{}: {reason}", place.failed())]
    Busy {
        /// Which store.
        place: Place,
        /// The status.
        reason: String,
    },
    /// The stored document is larger than allowed.
    #[error("{}: the stored flow has more than {limit} bytes: shorten it, or raise HOOKRUN_FLOW_STORE_MAX_BYTES", place.failed())]
    TooLarge {
        /// Which store.
        place: Place,
        /// What is allowed.
        limit: usize,
    },
    /// The store's answer cannot be read.
    #[error("{}: {reason}", match place {
        Place::Onix => "cannot retrieve flow specification from Onix",
        _ => place.failed(),
    })]
    Malformed {
        /// Which store.
        place: Place,
        /// What is wrong with it.
        reason: String,
    },
}

/// What a caller has to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// There is no such flow.
    NotFound,
    /// Two flows have the key; somebody has to remove one.
    Conflict,
    /// The configuration of this process lacks something or is wrong.
    Undefined,
    /// The store is there but does not do its part: a bad gateway.
    Upstream,
    /// The store did not answer in time.
    Timeout,
    /// The same call may succeed later.
    Unavailable,
    /// What is stored cannot be used.
    Malformed,
}

/// The slugs of all errors; `docs/problems/store.md` has a section for each.
pub const SLUGS: &[&str] = &[
    "store-undefined",
    "store-settings",
    "flow-not-found",
    "flow-ambiguous",
    "store-unreachable",
    "store-timeout",
    "store-refused",
    "store-failed",
    "store-busy",
    "flow-too-large",
    "flow-unreadable",
];

impl Error {
    /// A word for machines: metrics, logs, and the name of its section in the documents.
    pub fn slug(&self) -> &'static str {
        match self {
            Self::Undefined(_) => "store-undefined",
            Self::Settings { .. } => "store-settings",
            Self::NotFound { .. } => "flow-not-found",
            Self::Ambiguous { .. } => "flow-ambiguous",
            Self::Unreachable { .. } => "store-unreachable",
            Self::Timeout { .. } => "store-timeout",
            Self::Refused { .. } => "store-refused",
            Self::Failed { .. } => "store-failed",
            Self::Busy { .. } => "store-busy",
            Self::TooLarge { .. } => "flow-too-large",
            Self::Malformed { .. } => "flow-unreadable",
        }
    }

    /// What the caller has to tell apart.
    pub fn class(&self) -> Class {
        match self {
            Self::Undefined(_) | Self::Settings { .. } => Class::Undefined,
            Self::NotFound { .. } => Class::NotFound,
            Self::Ambiguous { .. } => Class::Conflict,
            Self::Unreachable { .. } | Self::Refused { .. } | Self::Failed { .. } => {
                Class::Upstream
            }
            Self::Timeout { .. } => Class::Timeout,
            Self::Busy { .. } => Class::Unavailable,
            Self::TooLarge { .. } | Self::Malformed { .. } => Class::Malformed,
        }
    }
}

/// The innermost cause of an error, on one line and not too long: what an operator looks for first.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    one_line(&cause.to_string())
}

/// A foreign text, made fit for one line of ours.
pub(crate) fn one_line(text: &str) -> String {
    const LONGEST: usize = 300;
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.retain(|c| !c.is_control());
    if let Some((end, _)) = line.char_indices().nth(LONGEST) {
        line.truncate(end);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_of_each() -> Vec<Error> {
        let place = Place::Onix;
        let reason = String::from("why");
        vec![
            Error::Undefined("OX_WAPI_URI"),
            Error::Settings {
                place,
                reason: reason.clone(),
            },
            Error::NotFound {
                place,
                reason: reason.clone(),
            },
            Error::Ambiguous {
                place,
                reason: reason.clone(),
            },
            Error::Unreachable {
                place,
                reason: reason.clone(),
            },
            Error::Timeout {
                place,
                limit: Duration::from_secs(5),
            },
            Error::Refused {
                place,
                reason: reason.clone(),
            },
            Error::Failed {
                place,
                reason: reason.clone(),
            },
            Error::Busy {
                place,
                reason: reason.clone(),
            },
            Error::TooLarge { place, limit: 10 },
            Error::Malformed { place, reason },
        ]
    }

    #[test]
    fn every_slug_is_listed_and_explained() {
        let slugs: Vec<_> = one_of_each().iter().map(Error::slug).collect();
        assert_eq!(slugs, SLUGS);
        let document = include_str!("../../../docs/problems/store.md");
        let sections: Vec<_> = document
            .lines()
            .filter_map(|line| line.strip_prefix("## "))
            .collect();
        assert_eq!(sections, SLUGS);
    }

    #[test]
    fn texts_begin_as_the_original_s() {
        for error in one_of_each() {
            let text = error.to_string();
            assert!(
                text.starts_with("configuration variable 'OX_WAPI_URI' is undefined")
                    || text.starts_with("cannot create Onix http client: ")
                    || text.starts_with("cannot retrieve flow specification from Onix: "),
                "{text}"
            );
        }
    }

    #[test]
    fn a_foreign_text_is_one_short_line() {
        assert_eq!(one_line("a\r\n  b\u{7}c"), "a bc");
        assert_eq!(one_line(&"ü".repeat(400)).chars().count(), 301);
    }
}
