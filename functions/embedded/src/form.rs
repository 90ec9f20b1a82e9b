//! The form of an answer, as the `Accept` header asks for it: the object itself, its metadata only, or a table; as
//! JSON or YAML.

use crate::{
    failure::{Failure, Result},
    query::Query,
    resource::Resource,
    table::{self, Include},
};
use http::{HeaderMap, header::ACCEPT};
use jiff::Timestamp;
use serde_json::{Value, json};

/// What the client wants to see of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Object,
    Partial,
    Table(Include),
}

/// How it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json,
    Yaml,
}

/// Both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) view: View,
    pub(crate) encoding: Encoding,
}

impl Encoding {
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
        }
    }

    pub(crate) fn encode(self, value: &Value) -> Result<Vec<u8>> {
        match self {
            Self::Json => {
                let mut bytes = value.to_string().into_bytes();
                bytes.push(b'\n');
                Ok(bytes)
            }
            Self::Yaml => serde_saphyr::to_string(value)
                .map(String::into_bytes)
                .map_err(|e| Failure::internal(e.to_string())),
        }
    }
}

/// The alternatives of `Accept`, each its media type and its parameter `as`.
pub(crate) fn accepted(headers: &HeaderMap) -> Vec<(String, Option<String>)> {
    let values = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|v| v.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(|alternative| {
            let mut parts = alternative.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or_default().to_owned();
            let kind = parts.find_map(|p| p.strip_prefix("as=")).map(str::to_owned);
            (media_type, kind)
        })
        .filter(|(media_type, _)| !media_type.is_empty())
        .collect()
}

impl Form {
    /// The first alternative that we speak.
    pub(crate) fn negotiate(headers: &HeaderMap, query: &Query) -> Result<Self> {
        let accepted = accepted(headers);
        if accepted.is_empty() {
            return Ok(Self {
                view: View::Object,
                encoding: Encoding::Json,
            });
        }
        accepted
            .iter()
            .find_map(|(media_type, kind)| {
                let encoding = match &**media_type {
                    "application/json" | "application/*" | "*/*" => Encoding::Json,
                    "application/yaml" => Encoding::Yaml,
                    _ => return None,
                };
                let view = match kind.as_deref() {
                    None => View::Object,
                    Some("Table") => View::Table(match &*query.include_object {
                        "None" => Include::None,
                        "Object" => Include::Object,
                        _ => Include::Metadata,
                    }),
                    Some("PartialObjectMetadata" | "PartialObjectMetadataList") => View::Partial,
                    Some(_) => return None,
                };
                Some(Self { view, encoding })
            })
            .ok_or_else(Failure::not_acceptable)
    }

    /// One object.
    pub(crate) fn object(self, resource: &Resource, object: &Value) -> Value {
        match self.view {
            View::Object => object.clone(),
            View::Partial => table::partial(object),
            View::Table(include) => {
                let version = &object["metadata"]["resourceVersion"];
                let metadata = json!({ "resourceVersion": version });
                table(
                    resource,
                    [object].into_iter(),
                    include,
                    &metadata,
                    Header::Shown,
                )
            }
        }
    }

    /// One object as an event of a watch; the columns of a table come with the first event only.
    pub(crate) fn event(self, resource: &Resource, object: &Value, header: Header) -> Value {
        match self.view {
            View::Table(include) => {
                let version = &object["metadata"]["resourceVersion"];
                let metadata = json!({ "resourceVersion": version });
                table(resource, [object].into_iter(), include, &metadata, header)
            }
            _ => self.object(resource, object),
        }
    }

    /// A list of objects.
    pub(crate) fn list<'a>(
        self,
        resource: &Resource,
        objects: impl Iterator<Item = &'a Value>,
        metadata: &Value,
    ) -> Value {
        match self.view {
            View::Object => json!({
                "kind": format!("{}List", resource.kind), "apiVersion": resource.api_version(),
                "metadata": metadata, "items": objects.collect::<Vec<_>>(),
            }),
            View::Partial => json!({
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata, "items": objects.map(table::partial).collect::<Vec<_>>(),
            }),
            View::Table(include) => table(resource, objects, include, metadata, Header::Shown),
        }
    }
}

/// Whether a table says what its columns are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    Shown,
    Left,
}

fn table<'a>(
    resource: &Resource,
    objects: impl Iterator<Item = &'a Value>,
    include: Include,
    metadata: &Value,
    header: Header,
) -> Value {
    let now = Timestamp::now();
    let rows: Vec<Value> = objects
        .map(|o| table::row(resource.columns, o, include, now))
        .collect();
    let definitions = match header {
        Header::Shown => table::definitions(resource.columns),
        Header::Left => Value::Null,
    };
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": definitions, "rows": rows,
    })
}
