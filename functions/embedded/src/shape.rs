//! How the parts of an object are merged and owned: which lists are merged by key, which maps are one value.
//!
//! The real API server reads this from schemas. Here maps are merged field by field and lists are one value, which is
//! what Tekton's schemas say almost everywhere; `Resource::shapes` names the
//! exceptions of a kind, and this module those of every object's metadata.

use crate::resource::Resource;

/// How one map or list behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A map merged by field, or a list that is one value: the ordinary case.
    Plain,
    /// A map that is one value.
    Atomic,
    /// A list of maps, merged by these fields.
    Keyed(&'static [&'static str]),
    /// A list of scalars without duplicates, merged by value.
    Set,
}

const METADATA: &[(&str, Shape)] = &[
    ("metadata.ownerReferences", Shape::Keyed(&["uid"])),
    ("metadata.ownerReferences[]", Shape::Atomic),
    ("metadata.finalizers", Shape::Set),
];

/// The shape at a path such as `metadata.ownerReferences[]`.
pub(crate) fn at(resource: &Resource, path: &str) -> Shape {
    METADATA
        .iter()
        .chain(resource.shapes)
        .find(|(known, _)| *known == path)
        .map_or(Shape::Plain, |(_, shape)| *shape)
}

/// The path of a field below `path`.
pub(crate) fn field(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    }
}

/// The path of the elements of the list at `path`.
pub(crate) fn element(path: &str) -> String {
    format!("{path}[]")
}
