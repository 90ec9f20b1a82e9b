//! What the API says about itself: groups, kinds, version; enough for kubectl and kube's discovery.

use crate::{
    form,
    resource::{Origin, RESOURCES, Resource, Scope},
};
use http::HeaderMap;
use serde_json::{Value, json};

const VERBS: &[&str] = &[
    "create", "delete", "get", "list", "patch", "update", "watch",
];
const STATUS_VERBS: &[&str] = &["get", "patch", "update"];
const REVIEW_VERBS: &[&str] = &["create"];

fn verbs(resource: &Resource) -> &'static [&'static str] {
    match resource.review {
        Some(_) => REVIEW_VERBS,
        None => VERBS,
    }
}

/// The document at a path, `None` where there is none.
pub(crate) fn document(path: &str, headers: &HeaderMap) -> Option<Value> {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    match &segments[..] {
        [""] => Some(json!({ "paths": paths() })),
        ["version"] => Some(version()),
        ["api"] if aggregated(headers) => Some(aggregate(|r| r.group.is_empty())),
        ["api"] => Some(
            json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
        ),
        ["apis"] if aggregated(headers) => Some(aggregate(|r| !r.group.is_empty())),
        ["apis"] => {
            let groups: Vec<Value> = groups().map(group).collect();
            Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
        }
        ["apis", name] => groups().find(|r| r.group == *name).map(|r| {
            let mut group = group(r);
            group["kind"] = "APIGroup".into();
            group["apiVersion"] = "v1".into();
            group
        }),
        ["api", version] => resources("", version),
        ["apis", group, version] => resources(group, version),
        ["openapi", "v3"] => Some(json!({ "paths": openapi_paths() })),
        ["openapi", "v3", "api", version] => openapi("", version),
        ["openapi", "v3", "apis", group, version] => openapi(group, version),
        _ => None,
    }
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "gitVersion": "v1.36.1+hookrun", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}

/// One resource of each group beyond the core group.
fn groups() -> impl Iterator<Item = &'static Resource> {
    group_versions().filter(|r| !r.group.is_empty())
}

/// One resource of each group and version.
fn group_versions() -> impl Iterator<Item = &'static Resource> {
    RESOURCES.iter().enumerate().filter_map(|(at, resource)| {
        let same = |r: &&Resource| r.group == resource.group && r.version == resource.version;
        RESOURCES[..at]
            .iter()
            .find(same)
            .is_none()
            .then_some(resource)
    })
}

fn group(resource: &Resource) -> Value {
    let version = json!({"groupVersion": resource.api_version(), "version": resource.version});
    json!({"name": resource.group, "versions": [version], "preferredVersion": version})
}

fn resources(group: &str, version: &str) -> Option<Value> {
    let mut list = vec![];
    for resource in members(group, version) {
        let entry = |name: String, verbs: &[&str]| {
            json!({
                "name": name, "singularName": resource.singular, "kind": resource.kind, "verbs": verbs,
                "namespaced": resource.scope == Scope::Namespaced,
            })
        };
        let mut own = entry(resource.plural.to_owned(), verbs(resource));
        for (name, words) in [
            ("shortNames", resource.short_names),
            ("categories", resource.categories),
        ] {
            if !words.is_empty() {
                own[name] = words.into();
            }
        }
        list.push(own);
        if resource.status {
            list.push(entry(format!("{}/status", resource.plural), STATUS_VERBS));
        }
    }
    let api_version = members(group, version).next()?.api_version();
    Some(json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": list,
    }))
}

fn members<'a>(group: &'a str, version: &'a str) -> impl Iterator<Item = &'static Resource> + 'a {
    RESOURCES
        .iter()
        .filter(move |r| r.group == group && r.version == version)
}

fn aggregated(headers: &HeaderMap) -> bool {
    form::accepted(headers)
        .first()
        .is_some_and(|(_, kind)| kind.as_deref() == Some("APIGroupDiscoveryList"))
}

/// The media type of the answer, which tells clients what they got.
pub(crate) fn media_type(path: &str, headers: &HeaderMap) -> &'static str {
    match path.trim_matches('/') {
        "api" | "apis" if aggregated(headers) => {
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        }
        _ => "application/json",
    }
}

fn aggregate(wanted: impl Fn(&Resource) -> bool) -> Value {
    let items: Vec<Value> = group_versions()
        .filter(|r| wanted(r))
        .map(|of| {
            let resources: Vec<Value> = members(of.group, of.version)
                .map(aggregated_entry)
                .collect();
            let version =
                json!({"version": of.version, "resources": resources, "freshness": "Current"});
            let metadata = match of.group {
                "" => json!({}),
                group => json!({ "name": group }),
            };
            json!({"metadata": metadata, "versions": [version]})
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items,
    })
}

fn aggregated_entry(resource: &Resource) -> Value {
    let kind = json!({"group": resource.group, "version": resource.version, "kind": resource.kind});
    let scope = match resource.scope {
        Scope::Namespaced => "Namespaced",
        Scope::Cluster => "Cluster",
    };
    let mut entry = json!({
        "resource": resource.plural, "singularResource": resource.singular, "responseKind": kind,
        "scope": scope, "verbs": verbs(resource), "shortNames": resource.short_names, "categories": resource.categories,
    });
    if resource.status {
        entry["subresources"] =
            json!([{"subresource": "status", "responseKind": kind, "verbs": STATUS_VERBS}]);
    }
    entry
}

fn paths() -> Vec<String> {
    let mut paths = vec!["/api".to_owned(), "/apis".to_owned()];
    paths.extend(groups().map(|r| format!("/apis/{}", r.group)));
    paths.extend(group_versions().map(Resource::group_path));
    paths.extend(["/openapi/v3", "/version"].map(str::to_owned));
    paths.sort();
    paths
}

fn openapi_paths() -> Value {
    let entry = |r: &'static Resource| {
        let path = r.group_path();
        // Clients keep documents by this hash; the documents change with the program only.
        let url = format!("/openapi/v3{path}?hash={}", env!("CARGO_PKG_VERSION"));
        (
            path.trim_start_matches('/').to_owned(),
            json!({ "serverRelativeURL": url }),
        )
    };
    Value::Object(group_versions().map(entry).collect())
}

/// Just enough for kubectl to see that the server checks fields itself: schemas are open.
fn openapi(group: &str, version: &str) -> Option<Value> {
    members(group, version).next()?;
    let parameter = |name: &str, kind: &str| json!({"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": true}});
    let parameters = [
        ("dryRun", "string"),
        ("fieldManager", "string"),
        ("fieldValidation", "string"),
        ("force", "boolean"),
    ]
    .map(|(name, kind)| parameter(name, kind));
    let mut paths = serde_json::Map::new();
    let mut schemas = serde_json::Map::new();
    for resource in members(group, version) {
        let kind =
            json!({"group": resource.group, "version": resource.version, "kind": resource.kind});
        let namespace = match resource.scope {
            Scope::Namespaced => "/namespaces/{namespace}",
            Scope::Cluster => "",
        };
        let base = format!("{}{namespace}/{}", resource.group_path(), resource.plural);
        let operation = |action: &str| {
            json!({
                "x-kubernetes-action": action, "x-kubernetes-group-version-kind": kind,
                "parameters": parameters, "responses": {"200": {"description": "OK"}},
            })
        };
        paths.insert(base.clone(), json!({"post": operation("post")}));
        if resource.review.is_none() {
            let one = json!({"put": operation("put"), "patch": operation("patch")});
            paths.insert(format!("{base}/{{name}}"), one);
        }
        let package = match resource.group.split('.').next() {
            None | Some("") => "core",
            Some(package) => package,
        };
        let name = match resource.origin {
            Origin::BuiltIn => {
                format!(
                    "io.k8s.api.{package}.{}.{}",
                    resource.version, resource.kind
                )
            }
            Origin::Custom => format!("dev.{}.{}", resource.version, resource.kind),
        };
        let schema = json!({
            "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            "x-kubernetes-group-version-kind": [kind],
        });
        schemas.insert(name, schema);
    }
    Some(json!({
        "openapi": "3.0.0", "info": {"title": "Hookrun, embedded", "version": env!("CARGO_PKG_VERSION")},
        "paths": paths, "components": {"schemas": schemas},
    }))
}
