//! Reading an item that Onix answered: pure, and total on whatever bytes come.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The part of an item that matters. Its type is not looked at, nor was it by the original.
#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, default)]
    meta: Option<&'a RawValue>,
}

/// The `meta` object of an item, as the bytes that were stored; `{}` if the item has none.
///
/// # Errors
/// The answer is no JSON object, or `meta` is no object. The text does not repeat the answer, which may hold secrets.
pub(crate) fn meta(body: &Bytes) -> Result<Bytes, String> {
    let item: Item<'_> = serde_json::from_slice(body).map_err(|error| unreadable(&error))?;
    // serde takes a list for a struct, too: its first element would be `meta`.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err("the answer cannot be read: it is not an item".to_owned());
    }
    let Some(meta) = item.meta else {
        return Ok(Bytes::from_static(b"{}"));
    };
    match meta.get().as_bytes() {
        meta @ [b'{', ..] => Ok(body.slice_ref(meta)),
        _ => Err("the item's `meta` is not an object".to_owned()),
    }
}

/// serde's own text may quote a value of the document; the kind and the place are enough.
fn unreadable(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Eof => "it ends too early",
        serde_json::error::Category::Syntax | serde_json::error::Category::Io => "it is not JSON",
        serde_json::error::Category::Data => "it is not an item, or has `meta` twice",
    };
    format!(
        "the answer cannot be read: {what} (line {}, column {})",
        error.line(),
        error.column()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        meta(&Bytes::copy_from_slice(text.as_bytes()))
            .map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[test]
    fn meta_leaves_as_it_came() {
        assert_eq!(
            read(r#"{"key":"K","meta": {"Name": "a", "b":[1.0,  2]} ,"version":3}"#).unwrap(),
            r#"{"Name": "a", "b":[1.0,  2]}"#
        );
    }

    #[test]
    fn an_item_without_meta_is_an_empty_flow() {
        for item in ["{}", r#"{"key":"K"}"#, r#"{"meta":null}"#, r#"{"meta":{}}"#] {
            assert_eq!(read(item).unwrap(), "{}", "{item}");
        }
    }

    #[test]
    fn anything_else_is_refused_without_being_repeated() {
        for item in [
            "",
            "<html>s3cret</html>",
            r#""s3cret""#,
            "[]",
            r#"[{"a":"s3cret"}]"#,
            "null",
            r#"{"meta":"s3cret"}"#,
            r#"{"meta":[]}"#,
            r#"{"meta":{},"meta":{}}"#,
            r#"{"meta":{"a":"s3cret"}"#,
            r#"{"meta":{}} s3cret"#,
        ] {
            let reason = read(item).unwrap_err();
            assert!(!reason.contains("s3cret"), "{reason}");
        }
        assert!(meta(&Bytes::from_static(b"{\"meta\":{\"a\":\"\xff\"}}")).is_err());
    }

    #[test]
    fn depth_costs_nothing() {
        let deep = format!(
            r#"{{"meta":{{"a":{}{}}}}}"#,
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        assert!(read(&deep).is_ok());
    }
}
