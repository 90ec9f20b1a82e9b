//! Names of Deliveries and of the runs that rules start.
//!
//! They follow from what was configured and from the event's identity, never from content: the same event has the same
//! names on every replica and for ever, which is how its second copy finds what the first one made.

use sha2::{Digest, Sha256};

/// How long a name may be that is also the value of a label.
pub const LABEL_MAX: usize = 63;

/// Characters of a hash that tell events apart: 32^10 is a thousand million million.
const HASH: usize = 10;

/// The name of the Delivery of an event: `<hook>-<10 characters of a hash>`.
///
/// ```
/// let name = hooks::name::delivery_name("github", "8f0c", "5 72d3162e");
/// assert_eq!(name, "github-57sjnssnpq");
/// ```
pub fn delivery_name(hook_name: &str, hook_uid: &str, key: &str) -> String {
    join(hook_name, &["delivery", hook_uid, key])
}

/// The name of the run that a rule starts for an event: `<hook>-<rule>-<10 characters of a hash>`.
pub fn run_name(hook_name: &str, rule_name: &str, hook_uid: &str, key: &str) -> String {
    let base = format!("{hook_name}-{rule_name}");
    join(&base, &["run", hook_uid, rule_name, key])
}

/// Whether a text is a DNS label (RFC 1123), as the values of our labels and the parts of our URLs are.
pub fn is_label(text: &str) -> bool {
    let edge = |byte: Option<&u8>| {
        byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let bytes = text.as_bytes();
    bytes.len() <= LABEL_MAX
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-')
}

/// The base, cut where it is too long, and a hash of the parts. They go in with their lengths, so that no others read
/// the same.
fn join(base: &str, parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let cut: String = base.chars().take(LABEL_MAX - HASH - 1).collect();
    format!("{}-{}", cut.trim_end_matches('-'), base32(&hash.finalize()))
}

/// The first characters of a digest in base32 (RFC 4648), lower case.
fn base32(digest: &[u8]) -> String {
    let bits = digest
        .iter()
        .take(8)
        .fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
    let digit = |at: usize| match (bits >> (5 * at) & 31) as u8 {
        letter @ 0..26 => char::from(b'a' + letter),
        number => char::from(b'2' + number - 26),
    };
    (0..HASH).map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_label_however_long_its_parts_are() {
        for (hook, rule) in [("a", "b"), (&"h".repeat(63), &"r".repeat(40)), ("a-", "b")] {
            let names = [
                delivery_name(hook, "uid", "key"),
                run_name(hook, rule, "uid", "key"),
            ];
            for name in names {
                assert!(is_label(&name), "{name}");
            }
        }
        let long = run_name(&"h".repeat(51), "r", "uid", "key");
        assert!(!long.contains("--") && is_label(&long), "{long}");
    }

    #[test]
    fn names_differ_by_every_part_and_by_where_the_parts_end() {
        let names = [
            run_name("h", "r", "u", "k"),
            run_name("h", "r", "u", "l"),
            run_name("h", "r", "v", "k"),
            run_name("h", "s", "u", "k"),
            run_name("h", "r", "uk", ""),
            run_name("h", "r", "", "uk"),
            delivery_name("h-r", "u", "k"),
            delivery_name("h-r", "uk", ""),
        ];
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len(), "{names:?}");
    }

    #[test]
    fn names_that_were_given_once_stay() {
        assert_eq!(run_name("shop", "build", "u", "k"), "shop-build-ni7z6u6kce");
    }

    #[test]
    fn what_is_no_label_is_told() {
        for text in ["", "-a", "a-", "A", "a.b", "a_b", "ä", &"x".repeat(64)] {
            assert!(!is_label(text), "{text}");
        }
        assert!(is_label("a") && is_label(&"x".repeat(63)));
    }
}
