//! Names that Kubernetes accepts, and the rules that turn free text into them.
//!
//! A name is checked once, here, and travels as a [`Label`] from then on. Shortening always adds a hash of the whole
//! text, so that two texts never share an object by accident.
//!
//! Nothing here is random or counts: the same text gives the same name everywhere and for ever, since names are how
//! a repeated event finds what its first delivery made.

use std::{fmt, str::FromStr};

use sha2::{Digest, Sha256};

/// How long a DNS label may be.
pub const LABEL_MAX: usize = 63;

/// How much of a flow's name an object name keeps.
const KEPT: usize = 30;

/// How many characters of a hash join a shortened name: 36^6 is two thousand million.
const SUFFIX: usize = 6;

/// How many characters of a hash tell the runs of one flow apart: 36^10 is 3.6 million thousand million.
const RUN_SUFFIX: usize = 10;

/// A DNS label: 1 to 63 of `a-z`, `0-9`, `-`, starting and ending with a letter or a digit.
///
/// ```
/// use flows::name::Label;
///
/// assert!("team-blue".parse::<Label>().is_ok());
/// assert!("Team Blue".parse::<Label>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(String);

/// The text is not a DNS label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not 1 to 63 of a-z, 0-9 and -, starting and ending with a letter or a digit")]
pub struct NotALabel;

impl Label {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// This label, a `-`, and another part; shortened with a hash where the whole would be too long.
    pub fn join(&self, part: &str) -> Label {
        let whole = format!("{self}-{part}");
        match whole.parse() {
            Ok(label) => label,
            Err(NotALabel) => with_hash(&lower(&whole), &whole, LABEL_MAX - SUFFIX - 1),
        }
    }
}

impl FromStr for Label {
    type Err = NotALabel;

    fn from_str(text: &str) -> Result<Self, NotALabel> {
        if is_label(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotALabel)
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Label {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl serde::Serialize for Label {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Whether a text is a DNS label.
pub fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let edge =
        |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    bytes.len() <= LABEL_MAX
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

/// Whether a text can name an entry of a Secret, which is also a file's name where the Secret is mounted.
pub fn is_entry_name(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=253).contains(&text.len())
        && text != "."
        && !text.starts_with("..")
        && text.bytes().all(legal)
}

/// Whether a text can name an environment variable, by the stricter of Kubernetes' two rules.
pub fn is_variable_name(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    !text.is_empty()
        && text != "."
        && !text.starts_with("..")
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(legal)
}

/// The base of all object names of a flow.
///
/// Lower case, a space becomes `-`. Where more has to change (another character, a length above 30, an edge that is
/// no letter or digit) a hash of the original text is joined to it, so that two such texts never share their objects.
///
/// ```
/// use flows::name::object_name;
///
/// assert_eq!(object_name("Nightly Scan").as_str(), "nightly-scan");
/// assert_eq!(object_name("Customer Onboarding Portal Nightly Build").as_str(), "customer-onboarding-portal-nig-aydac2");
/// assert_eq!(object_name("Größe").as_str(), "gr--e-un4434");
/// ```
pub fn object_name(text: &str) -> Label {
    let lowered = lower(text);
    if lowered.len() <= KEPT
        && text
            .chars()
            .all(|c| c == ' ' || c == '-' || c.is_ascii_alphanumeric())
        && is_label(&lowered)
    {
        return Label(lowered);
    }
    with_hash(&lowered, text, KEPT)
}

/// The name of the run that one event starts: the same event gives the same name, also years later.
///
/// `scope` says what the event was addressed to (a document, a key, a name), so that equal events of two addressees
/// do not meet. Both texts go into the hash with their lengths, so that no other pair reads the same.
pub fn run_name(base: &Label, scope: &str, event: &str) -> Label {
    let mut hash = Sha256::new();
    for text in [scope, event] {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    base.join(&format!("pr-{}", base36(&hash.finalize(), RUN_SUFFIX)))
}

/// Lower case, everything that a label cannot hold replaced by `-`.
fn lower(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .collect()
}

/// At most `kept` characters of `lowered` with clean edges, and a hash of `original`.
fn with_hash(lowered: &str, original: &str, kept: usize) -> Label {
    let cut: String = lowered.trim_start_matches('-').chars().take(kept).collect();
    let cut = cut.trim_end_matches('-');
    let hash = base36(&Sha256::digest(original), SUFFIX);
    Label(if cut.is_empty() {
        hash
    } else {
        format!("{cut}-{hash}")
    })
}

/// The first characters of a digest, written with `a-z` and `0-9`.
fn base36(digest: &[u8], length: usize) -> String {
    const DIGITS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut number = digest
        .iter()
        .take(16)
        .fold(0u128, |number, byte| number << 8 | u128::from(*byte));
    let mut text = String::with_capacity(length);
    for _ in 0..length {
        // The remainder is below 36; the first digit stands in where the compiler cannot know that.
        let digit = usize::try_from(number % 36)
            .ok()
            .and_then(|at| DIGITS.get(at))
            .unwrap_or(&b'a');
        text.push(char::from(*digit));
        number /= 36;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_displays_what_it_was_read_from() {
        for text in ["a", "a-b", "0", &"x".repeat(63)] {
            assert_eq!(text.parse::<Label>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_label_is_refused() {
        for text in ["", "-a", "a-", "A", "a_b", "a.b", "ä", &"x".repeat(64)] {
            assert_eq!(text.parse::<Label>(), Err(NotALabel), "{text}");
        }
    }

    #[test]
    fn names_that_share_thirty_characters_stay_apart() {
        let one = object_name("Customer Onboarding Portal Nightly Build");
        let other = object_name("Customer Onboarding Portal Nightly Deploy");
        assert!(one.as_str().starts_with("customer-onboarding-portal-nig-"));
        assert!(
            other
                .as_str()
                .starts_with("customer-onboarding-portal-nig-")
        );
        assert_ne!(one, other);
    }

    #[test]
    fn any_text_gives_a_legal_name() {
        for text in [
            "",
            " ",
            "-",
            "---",
            "a_b",
            "a/b",
            "ÄÖÜ",
            "a\0b",
            "ends-with-",
            &"ä".repeat(100),
            &"-x".repeat(40),
        ] {
            assert!(
                is_label(object_name(text).as_str()),
                "{text:?}: {}",
                object_name(text)
            );
        }
    }

    #[test]
    fn a_joined_name_is_never_too_long() {
        let base: Label = "b".repeat(60).parse().unwrap();
        let one = base.join("first-part");
        let other = base.join("second-part");
        assert!(is_label(one.as_str()) && is_label(other.as_str()));
        assert_ne!(one, other);
    }

    #[test]
    fn an_event_names_its_run_whatever_the_split_between_scope_and_event() {
        let base: Label = "scan".parse().unwrap();
        assert_eq!(run_name(&base, "name", "a"), run_name(&base, "name", "a"));
        assert_ne!(run_name(&base, "name", "a"), run_name(&base, "nam", "ea"));
        assert_ne!(run_name(&base, "name", "a"), run_name(&base, "name", "b"));
        let name = run_name(&base, "name", "a");
        assert!(name.as_str().starts_with("scan-pr-"));
        assert_eq!(name.as_str().len(), "scan-pr-".len() + 10);
    }
}
