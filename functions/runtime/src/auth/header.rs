//! What the `Authorization` header says: the first thing that an unknown sender gets read.

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::{self, HeaderMap};

/// More than any token that Kubernetes makes.
const TOKEN_BYTES: usize = 16 << 10;

/// Some senders leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// User and password, still joined by their colon, of the one header that there is.
pub(crate) fn basic(headers: &HeaderMap) -> Option<Vec<u8>> {
    BASE64.decode(credentials(headers, "basic")?).ok()
}

/// The token of the one header that there is.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    credentials(headers, "bearer").filter(|token| token.len() <= TOKEN_BYTES)
}

fn credentials<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    // Two headers could mean two callers.
    let value = values
        .next()
        .filter(|_| values.next().is_none())?
        .to_str()
        .ok()?;
    let (given, rest) = value.split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then_some(rest.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(values: &[&'static str]) -> HeaderMap {
        values
            .iter()
            .map(|value| (header::AUTHORIZATION, HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn schemes_are_told_apart_in_any_case() {
        assert_eq!(
            basic(&headers(&["bAsIc YTpi"])).as_deref(),
            Some(&b"a:b"[..])
        );
        assert_eq!(
            basic(&headers(&["Basic YTpiYw"])).as_deref(),
            Some(&b"a:bc"[..])
        );
        assert_eq!(
            basic(&headers(&["Basic   YTpiYw== "])).as_deref(),
            Some(&b"a:bc"[..])
        );
        assert_eq!(bearer(&headers(&["Bearer a.b.c"])), Some("a.b.c"));
        for wrong in [
            "",
            "Basic",
            "Basic ",
            "Basic *",
            "Basic YTpi YTpi",
            "BasicYTpi",
            "Bearer",
        ] {
            assert!(
                basic(&headers(&[wrong])).unwrap_or_default().is_empty(),
                "{wrong}"
            );
        }
        assert_eq!(basic(&headers(&["Basic YTpi", "Basic YTpi"])), None);
    }
}
