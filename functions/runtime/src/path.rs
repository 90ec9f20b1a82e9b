//! Paths, read strictly: one path has one spelling.
//!
//! Whoever decides by the path (a proxy, a rule, this router) must see the same path. So what other programs might
//! clean up or decode to something else is refused, never repaired.

use percent_encoding::percent_decode_str;

use crate::Rejection;

/// Checks a raw path before it is routed.
///
/// # Errors
/// [`Rejection::Path`] for empty, `.` and `..` segments, also percent-encoded ones, and for anything that
/// [`decode`] refuses. One trailing slash is an ordinary part of a path.
/// ```
/// use runtime::path::check;
/// assert!(check("/flow/key/a%20b/ns/c").is_ok() && check("/flow/").is_ok() && check("/").is_ok());
/// assert!(check("//flow").is_err() && check("/a/../b").is_err() && check("/a/%2e%2E/b").is_err());
/// assert!(check("/a%2Fb").is_err() && check("/a%00").is_err() && check("/a%ff").is_err() && check("/a%2").is_err());
/// ```
pub fn check(path: &str) -> Result<(), Rejection> {
    let Some(rest) = path.strip_prefix('/') else {
        // `OPTIONS *` and CONNECT have no path; no route is called so.
        return if matches!(path, "*" | "") {
            Ok(())
        } else {
            Err(Rejection::Path("does not begin with a slash"))
        };
    };
    let last = rest.matches('/').count();
    for (index, segment) in rest.split('/').enumerate() {
        if segment.is_empty() {
            if index == last {
                continue;
            }
            return Err(Rejection::Path("has an empty segment"));
        }
        if matches!(decode(segment)?.as_str(), "." | "..") {
            return Err(Rejection::Path("has a segment `.` or `..`"));
        }
    }
    Ok(())
}

/// Percent-decodes one segment exactly once.
///
/// # Errors
/// [`Rejection::Path`] for a broken escape, for text that is not UTF-8, and for a slash or a control character.
pub fn decode(segment: &str) -> Result<String, Rejection> {
    let bytes = segment.as_bytes();
    for (index, _) in segment.match_indices('%') {
        if !bytes
            .get(index + 1..index + 3)
            .is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit))
        {
            return Err(Rejection::Path(
                "has a `%` that is not followed by two hexadecimal digits",
            ));
        }
    }
    let text = percent_decode_str(segment)
        .decode_utf8()
        .map_err(|_| Rejection::Path("is not UTF-8 once decoded"))?
        .into_owned();
    if text.contains('/') {
        return Err(Rejection::Path("has an encoded slash"));
    }
    if text.chars().any(char::is_control) {
        return Err(Rejection::Path("has a control character"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_decoded_once() {
        assert_eq!(decode("a%2520b").unwrap(), "a%20b");
        assert_eq!(decode("gr%C3%BCn").unwrap(), "grün");
        assert_eq!(decode("a+b").unwrap(), "a+b");
    }

    #[test]
    fn everything_that_has_two_spellings_is_refused() {
        for path in [
            "//", "/a//b", "/a//", "/./a", "/a/.", "/..", "/%2e", "/%2e./a", "/a%2fb", "/a%5c%2F",
            "/%", "/%g0", "/%2", "/a%0a", "/a%7f", "/%c2%80", "/%ff", "/%c0%af", "a/b",
        ] {
            assert!(check(path).is_err(), "{path}");
        }
        for path in ["/", "/a", "/a/", "/a/b", "/...", "/a%20b", "*", ""] {
            assert!(check(path).is_ok(), "{path}");
        }
    }
}
