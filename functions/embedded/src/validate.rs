//! The rules for names, labels and the rest of the metadata, which all kinds share.

use crate::{
    failure::Invalid,
    object::{self, entries},
    resource::{Resource, Scope},
};
use serde_json::Value;
use std::collections::BTreeSet;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const NAME_PART: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const IMMUTABLE: &str = "field is immutable";
const ANNOTATIONS_LIMIT: usize = 256 * 1024;

/// The problems of an object's metadata, and of its change.
pub(crate) fn metadata(
    resource: &Resource,
    new: &Value,
    old: Option<&Value>,
    problems: &mut Vec<Invalid>,
) {
    if old.is_none() {
        name(resource, object::name(new), problems);
    }
    labels(&new["metadata"]["labels"], problems);
    annotations(&new["metadata"]["annotations"], problems);
    owners(new, problems);
    finalizers(new, problems);
    if let Some(old) = old {
        unchanged(new, old, problems);
        no_new_finalizers(new, old, problems);
    }
}

fn name(resource: &Resource, name: &str, problems: &mut Vec<Invalid>) {
    if name.is_empty() {
        let why = "name or generateName is required";
        problems.push(Invalid::required("metadata.name", why));
    } else if let Err(why) = match resource.scope {
        Scope::Namespaced => subdomain(name),
        Scope::Cluster => dns_label(name),
    } {
        problems.push(Invalid::text("metadata.name", name, &why));
    }
}

/// A DNS subdomain, as names of objects are.
pub(crate) fn subdomain(text: &str) -> Result<(), String> {
    match text {
        _ if text.len() > 253 => Err("must be no more than 253 characters".to_owned()),
        _ if text.split('.').all(is_dns_label) => Ok(()),
        _ => Err(SUBDOMAIN.to_owned()),
    }
}

fn dns_label(text: &str) -> Result<(), String> {
    match text {
        _ if text.len() > 63 => Err("must be no more than 63 characters".to_owned()),
        _ if is_dns_label(text) => Ok(()),
        _ => Err(LABEL.to_owned()),
    }
}

fn is_dns_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(inner) && text.ends_with(inner) && text.chars().all(|c| inner(c) || c == '-')
}

fn is_name_part(text: &str) -> bool {
    let outer = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(outer)
        && text.ends_with(outer)
        && text
            .chars()
            .all(|c| outer(c) || matches!(c, '-' | '_' | '.'))
}

/// A key of labels and annotations: `name` or `dns.sub.domain/name`.
pub(crate) fn qualified_name(text: &str) -> Result<(), String> {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    match prefix {
        Some("") => return Err("prefix part must be non-empty".to_owned()),
        Some(prefix) => subdomain(prefix).map_err(|why| format!("prefix part {why}"))?,
        None => {}
    }
    match name {
        "" => Err("name part must be non-empty".to_owned()),
        _ if name.len() > 63 => Err("name part must be no more than 63 characters".to_owned()),
        _ if is_name_part(name) => Ok(()),
        _ => Err(NAME_PART.to_owned()),
    }
}

/// The value of a label.
pub(crate) fn label_value(text: &str) -> Result<(), String> {
    match text {
        "" => Ok(()),
        _ if text.len() > 63 => Err("must be no more than 63 characters".to_owned()),
        _ if is_name_part(text) => Ok(()),
        _ => Err(LABEL_VALUE.to_owned()),
    }
}

fn labels(labels: &Value, problems: &mut Vec<Invalid>) {
    for (key, value) in entries(labels) {
        if let Err(why) = qualified_name(key) {
            problems.push(Invalid::text("metadata.labels", key, &why));
        }
        let value = value.as_str().unwrap_or_default();
        if let Err(why) = label_value(value) {
            problems.push(Invalid::text("metadata.labels", value, &why));
        }
    }
}

fn annotations(annotations: &Value, problems: &mut Vec<Invalid>) {
    let mut size = 0;
    for (key, value) in entries(annotations) {
        // Only here the real server folds the case before it looks.
        if let Err(why) = qualified_name(&key.to_lowercase()) {
            problems.push(Invalid::text("metadata.annotations", key, &why));
        }
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > ANNOTATIONS_LIMIT {
        problems.push(Invalid::too_long("metadata.annotations", ANNOTATIONS_LIMIT));
    }
}

fn owners(object: &Value, problems: &mut Vec<Invalid>) {
    let mut controllers = 0;
    for owner in object::owners(object) {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner[field].as_str().unwrap_or_default().is_empty() {
                let path = match field {
                    "apiVersion" => "metadata.ownerReferences.version".to_owned(),
                    field => format!("metadata.ownerReferences.{field}"),
                };
                problems.push(Invalid::text(path, "", "must not be empty"));
            }
        }
        controllers += usize::from(owner["controller"] == true);
    }
    if controllers > 1 {
        let list = &object["metadata"]["ownerReferences"];
        let why = "Only one reference can have Controller set to true";
        problems.push(Invalid::value("metadata.ownerReferences", list, why));
    }
}

fn finalizers(object: &Value, problems: &mut Vec<Invalid>) {
    for (at, finalizer) in object::finalizers(object).enumerate() {
        let field = format!("metadata.finalizers[{at}]");
        let standard = matches!(finalizer, "kubernetes" | "orphan" | "foregroundDeletion");
        if let Err(why) = qualified_name(finalizer) {
            problems.push(Invalid::text(field, finalizer, &why));
        } else if !finalizer.contains('/') && !standard {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            problems.push(Invalid::text(field, finalizer, why));
        }
    }
}

fn unchanged(new: &Value, old: &Value, problems: &mut Vec<Invalid>) {
    for field in ["uid", "creationTimestamp"] {
        let (before, after) = (object::meta(old, field), object::meta(new, field));
        if before != after {
            problems.push(Invalid::text(format!("metadata.{field}"), after, IMMUTABLE));
        }
    }
}

fn no_new_finalizers(new: &Value, old: &Value, problems: &mut Vec<Invalid>) {
    if !object::is_deleting(old) {
        return;
    }
    let known: BTreeSet<&str> = object::finalizers(old).collect();
    let added: Vec<&str> = object::finalizers(new)
        .filter(|f| !known.contains(f))
        .collect();
    if !added.is_empty() {
        let added: Vec<String> = added.iter().map(|f| format!("{f:?}")).collect();
        let why = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            added.join(", ")
        );
        problems.push(Invalid::forbidden("metadata.finalizers", &why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_subdomains() {
        for good in ["a", "a-b.c", "1", &"a".repeat(253)] {
            assert_eq!(subdomain(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "A",
            "a_b",
            "-a",
            "a-",
            "a..b",
            ".",
            "é",
            &"a".repeat(254),
        ] {
            assert!(subdomain(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_may_have_a_prefix() {
        for good in ["a", "A_b.c", "x.y/z", "hookrun.dev/flow"] {
            assert_eq!(qualified_name(good), Ok(()), "{good}");
        }
        for bad in ["", "/a", "a/", "a/b/c", "A.b/c", "a b", "_a"] {
            assert!(qualified_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn label_values_may_be_empty() {
        for good in ["", "a", "A-b_c.d"] {
            assert_eq!(label_value(good), Ok(()), "{good}");
        }
        for bad in ["a b", "-a", "a.", "é", &"a".repeat(64)] {
            assert!(label_value(bad).is_err(), "{bad}");
        }
    }
}
