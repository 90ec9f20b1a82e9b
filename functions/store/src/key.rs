//! Keys of flows: which can exist at all, and how one is written into a path.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{Error, Place};

/// What is escaped in one segment of a path: all but the unreserved characters of RFC 3986.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Bytes of a key. Folders allow 255 for a name with its extension, and an escaped byte takes three.
const LONGEST: usize = 253;

/// A key as one segment of a path, never a way out of it.
///
/// # Errors
/// [`Error::NotFound`] for keys that no store can hold.
pub(crate) fn segment(place: Place, key: &str) -> Result<String, Error> {
    let segment = utf8_percent_encode(key, SEGMENT).to_string();
    let problem = match key {
        "" => "is empty",
        "." | ".." => "means a folder",
        _ if key.chars().any(char::is_control) => "holds control characters",
        _ if segment.len() > LONGEST => "is too long",
        _ => return Ok(segment),
    };
    Err(Error::NotFound {
        place,
        reason: format!("there is no flow with this key, which {problem}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stays_one_segment() {
        let segment = |key| segment(Place::Objects, key).unwrap();
        assert_eq!(segment("ART_FLOW_a-b.c~d"), "ART_FLOW_a-b.c~d");
        assert_eq!(segment("a/../b?c#d%2F e"), "a%2F..%2Fb%3Fc%23d%252F%20e");
        assert_eq!(segment("ü"), "%C3%BC");
    }

    #[test]
    fn some_keys_cannot_exist() {
        for key in ["", ".", "..", "a\nb", &"x".repeat(254)] {
            assert!(
                matches!(segment(Place::Onix, key), Err(Error::NotFound { .. })),
                "{key:?}"
            );
        }
    }
}
