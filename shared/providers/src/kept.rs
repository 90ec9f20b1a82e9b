//! What a record keeps of a request beside its body, and expressions therefore see: the headers that matter, and the query.
//!
//! One place for it, so that what is tried without a cluster is what happens on one.

use std::collections::BTreeMap;

use http::HeaderMap;

use crate::Provider;

/// Longest value of a header that is kept, in bytes; the rest is cut off.
const HEADER_BYTES: usize = 1024;

/// Longest query that is kept, in bytes; the rest is cut off.
const QUERY_BYTES: usize = 2048;

/// Headers that are kept ([`Provider::headers`]): each once, at most 1,024 bytes of it, and only text.
#[must_use]
pub fn kept_headers(provider: &Provider, headers: &HeaderMap) -> BTreeMap<String, String> {
    let kept = provider.headers.iter().filter_map(|name| {
        let value = headers.get(*name)?.to_str().ok()?;
        Some(((*name).to_owned(), cut(value, HEADER_BYTES)))
    });
    kept.collect()
}

/// The query that is kept: at most 2,048 bytes.
#[must_use]
pub fn kept_query(query: &str) -> String {
    cut(query, QUERY_BYTES)
}

/// The parameters of a kept query by name; of one that comes twice, the last.
#[must_use]
pub fn parameters(query: &str) -> BTreeMap<String, String> {
    form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect()
}

fn cut(text: &str, most: usize) -> String {
    let end = text.floor_char_boundary(most);
    text.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_cut_at_whole_characters() {
        assert_eq!(kept_query(&"a".repeat(3000)).len(), QUERY_BYTES);
        assert_eq!(kept_query(&"\u{e9}".repeat(2000)).len(), QUERY_BYTES);
        let github = crate::provider("github").unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("x-github-event", "p".repeat(2000).parse().unwrap());
        headers.insert("authorization", "Bearer secret".parse().unwrap());
        let kept = kept_headers(github, &headers);
        assert_eq!(kept.keys().collect::<Vec<_>>(), ["x-github-event"]);
        assert_eq!(kept["x-github-event"].len(), HEADER_BYTES);
    }

    #[test]
    fn of_a_parameter_that_comes_twice_the_last_counts() {
        let found = parameters("a=1&b=x%20y&a=2");
        assert_eq!((found["a"].as_str(), found["b"].as_str()), ("2", "x y"));
    }
}
