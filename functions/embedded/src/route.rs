//! From a path to what it names.

use crate::resource::{self, Resource, Scope};

/// What a path names.
pub(crate) enum Target {
    /// `/`, `/api`, `/apis/...`, `/version`, `/openapi/...`, health: told by the path itself.
    About,
    /// All objects of a kind: in one namespace, or in all.
    Collection {
        resource: &'static Resource,
        namespace: Option<String>,
    },
    /// One object, or its status.
    Object {
        resource: &'static Resource,
        namespace: String,
        name: String,
        part: Part,
    },
    /// Nothing that is kept here.
    Unknown,
}

/// Which part of an object a request writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    Status,
}

/// Reads a path. Segments are taken as they are: no legal name needs percent encoding.
pub(crate) fn target(path: &str) -> Target {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group, version, rest) = match &segments[..] {
        ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
        ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
        _ => return Target::About,
    };
    let find = |plural| resource::by_plural(group, version, plural);
    let object = |plural, namespace: &str, name: &str, part| match find(plural) {
        Some(resource) if (resource.scope == Scope::Namespaced) != namespace.is_empty() => {
            let allowed = (part == Part::Whole || resource.status) && resource.review.is_none();
            let target = Target::Object {
                resource,
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                part,
            };
            if allowed { target } else { Target::Unknown }
        }
        _ => Target::Unknown,
    };
    match rest {
        [plural] => match find(plural) {
            Some(resource) => Target::Collection {
                resource,
                namespace: None,
            },
            None => Target::Unknown,
        },
        ["namespaces", namespace, plural] if *plural != "status" => match find(plural) {
            Some(resource) if resource.scope == Scope::Namespaced => Target::Collection {
                resource,
                namespace: Some((*namespace).to_owned()),
            },
            _ => Target::Unknown,
        },
        ["namespaces", namespace, plural, name] => object(plural, namespace, name, Part::Whole),
        ["namespaces", namespace, plural, name, "status"] => {
            object(plural, namespace, name, Part::Status)
        }
        [plural, name] => object(plural, "", name, Part::Whole),
        [plural, name, "status"] => object(plural, "", name, Part::Status),
        _ => Target::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn describe(path: &str) -> String {
        match target(path) {
            Target::About => "about".to_owned(),
            Target::Unknown => "unknown".to_owned(),
            Target::Collection {
                resource,
                namespace,
            } => format!("{} {namespace:?}", resource.plural),
            Target::Object {
                resource,
                namespace,
                name,
                part,
            } => format!("{} {namespace:?} {name} {part:?}", resource.plural),
        }
    }

    #[test]
    fn paths_name_what_they_name_in_kubernetes() {
        for (path, expected) in [
            ("/", "about"),
            ("/apis/tekton.dev/v1", "about"),
            ("/api/v1/secrets", "secrets None"),
            ("/api/v1/namespaces", "namespaces None"),
            ("/api/v1/namespaces/a", "namespaces \"\" a Whole"),
            ("/api/v1/namespaces/a/secrets", "secrets Some(\"a\")"),
            ("/api/v1/namespaces/a/secrets/b", "secrets \"a\" b Whole"),
            (
                "/apis/tekton.dev/v1/namespaces/a/taskruns/b/status",
                "taskruns \"a\" b Status",
            ),
            (
                "/apis/authorization.k8s.io/v1/subjectaccessreviews",
                "subjectaccessreviews None",
            ),
            (
                "/apis/authorization.k8s.io/v1/subjectaccessreviews/a",
                "unknown",
            ),
            (
                "/apis/hookrun.dev/v1alpha1/namespaces/a/hooks/b/status",
                "hooks \"a\" b Status",
            ),
            (
                "/apis/hookrun.dev/v1alpha1/namespaces/a/deliveries/b/status",
                "unknown",
            ),
            ("/api/v1/namespaces/a/secrets/b/status", "unknown"),
            ("/api/v1/namespaces/a/status", "unknown"),
            ("/api/v1/secrets/b", "unknown"),
            ("/apis/tekton.dev/v1beta1/tasks", "unknown"),
            ("/apis/apps/v1/deployments", "unknown"),
        ] {
            assert_eq!(describe(path), expected, "{path}");
        }
    }
}
