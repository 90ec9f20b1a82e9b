//! Objects of any kind, one request each: read, create, replace, patch, delete, and a page of a list.
//!
//! The same rules as for everything here: a request may be sent twice, is repeated within the deadline of its event,
//! and its answer has a cap. So "already exists" may be about what the same call created a moment ago: who creates an
//! object marks it, and looks.

use http::{
    Method, Request,
    header::{ACCEPT, CONTENT_TYPE},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    api::Cluster,
    apply::FIELD_MANAGER,
    fault::{Fault, Kind},
    start::found,
    stored::is_segment,
};

/// What a list shows of its objects when only their metadata is asked for.
const METADATA: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// A kind of object, and where the API server keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Its version.
    pub version: &'static str,
    /// What one of them is called.
    pub kind: &'static str,
    /// What they are called in paths.
    pub plural: &'static str,
}

/// Secrets.
pub const SECRETS: Resource = Resource {
    group: "",
    version: "v1",
    kind: "Secret",
    plural: "secrets",
};

/// Which objects a list shows, and how much of them.
#[derive(Clone, Debug, Default)]
pub struct Listing<'a> {
    /// In which namespace; all of them without.
    pub namespace: Option<&'a str>,
    /// Label selector; empty for all.
    pub labels: &'a str,
    /// Objects on one page at most.
    pub limit: usize,
    /// Where the page before ended; empty for the first.
    pub from: &'a str,
    /// Only `metadata`, so that a page of large objects stays small.
    pub metadata_only: bool,
}

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The objects.
    pub items: Vec<T>,
    /// Where the next page begins, if there is one: [`Listing::from`].
    pub next: Option<String>,
}

#[derive(Deserialize)]
struct List<T> {
    #[serde(default)]
    metadata: ListMetadata,
    /// Null in a list of metadata alone that has none.
    items: Option<Vec<T>>,
}

#[derive(Default, Deserialize)]
struct ListMetadata {
    #[serde(default)]
    r#continue: String,
}

impl Resource {
    fn collection(&self, namespace: Option<&str>) -> String {
        let Self {
            group,
            version,
            plural,
            ..
        } = self;
        let root = match *group {
            "" => format!("/api/{version}"),
            group => format!("/apis/{group}/{version}"),
        };
        match namespace {
            Some(namespace) => format!("{root}/namespaces/{namespace}/{plural}"),
            None => format!("{root}/{plural}"),
        }
    }
}

/// One request, told in full.
struct Ask<'a> {
    doing: String,
    method: Method,
    uri: String,
    content_type: &'a str,
    accept: &'a str,
    body: Vec<u8>,
}

impl Ask<'_> {
    fn new(doing: String, method: Method, uri: String) -> Self {
        Self {
            doing,
            method,
            uri,
            content_type: "application/json",
            accept: "application/json",
            body: Vec::new(),
        }
    }
}

impl Cluster {
    /// The object of this name, if it exists.
    ///
    /// # Errors
    /// A [`Fault`].
    pub async fn find<T: DeserializeOwned>(
        &self,
        resource: Resource,
        namespace: &str,
        name: &str,
    ) -> Result<Option<T>, Fault> {
        if !is_segment(name) || !is_segment(namespace) {
            return Ok(None);
        }
        let uri = format!("{}/{name}", resource.collection(Some(namespace)));
        let doing = format!("reading {} {name}", resource.kind);
        found(self.ask(Ask::new(doing, Method::GET, uri)).await)
    }

    /// Creates an object, given as JSON; what the API server made of it. `namespace` is `None` for a kind that has none.
    ///
    /// # Errors
    /// A [`Fault`]; of kind [`Kind::Conflict`] where the name is taken, perhaps by this very call.
    pub async fn create<T: DeserializeOwned>(
        &self,
        resource: Resource,
        namespace: Option<&str>,
        object: &Value,
    ) -> Result<T, Fault> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let doing = format!("creating {} {name}", resource.kind);
        let uri = written(&resource.collection(namespace));
        self.ask(Ask {
            body: object.to_string().into_bytes(),
            ..Ask::new(doing, Method::POST, uri)
        })
        .await
    }

    /// Replaces an object by another edition of it, which says with `metadata.resourceVersion` what it replaces.
    ///
    /// # Errors
    /// A [`Fault`]; of kind [`Kind::Conflict`] where the object has changed since, perhaps by this very call.
    pub async fn replace_object<T: DeserializeOwned>(
        &self,
        resource: Resource,
        namespace: &str,
        object: &Value,
    ) -> Result<T, Fault> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let doing = format!("replacing {} {name}", resource.kind);
        let object_uri = segment(resource, namespace, name, &doing)?;
        self.ask(Ask {
            body: object.to_string().into_bytes(),
            ..Ask::new(doing, Method::PUT, written(&object_uri))
        })
        .await
    }

    /// Changes an object by a merge patch (RFC 7396). With `metadata.resourceVersion` in it, only as it was read.
    /// `status` writes the subresource of that name.
    ///
    /// # Errors
    /// A [`Fault`]; of kind [`Kind::Conflict`] where the object has changed since, perhaps by this very call.
    pub async fn merge<T: DeserializeOwned>(
        &self,
        resource: Resource,
        namespace: &str,
        name: &str,
        part: Part,
        patch: &Value,
    ) -> Result<T, Fault> {
        let doing = format!("changing {} {name}", resource.kind);
        let mut uri = segment(resource, namespace, name, &doing)?;
        if part == Part::Status {
            uri.push_str("/status");
        }
        self.ask(Ask {
            content_type: "application/merge-patch+json",
            body: patch.to_string().into_bytes(),
            ..Ask::new(doing, Method::PATCH, written(&uri))
        })
        .await
    }

    /// Deletes exactly the edition that was read; whether it did. What it owns goes with it. That the object is gone or has
    /// changed meanwhile is no error.
    ///
    /// # Errors
    /// A [`Fault`].
    pub async fn remove(
        &self,
        resource: Resource,
        namespace: &str,
        name: &str,
        AsRead { uid, edition }: AsRead<'_>,
    ) -> Result<bool, Fault> {
        let doing = format!("deleting {} {name}", resource.kind);
        let uri = segment(resource, namespace, name, &doing)?;
        let options = serde_json::json!({
            "kind": "DeleteOptions", "apiVersion": "v1",
            "propagationPolicy": "Background", "preconditions": {"uid": uid, "resourceVersion": edition},
        });
        let deleted: Result<serde::de::IgnoredAny, Fault> = self
            .ask(Ask {
                body: options.to_string().into_bytes(),
                ..Ask::new(doing, Method::DELETE, uri)
            })
            .await;
        match deleted {
            Ok(_) => Ok(true),
            Err(fault) if matches!(fault.kind, Kind::NotFound | Kind::Conflict) => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// One page of a list.
    ///
    /// # Errors
    /// A [`Fault`]; of kind [`Kind::TooLarge`] where so many objects are too much for one answer: ask for fewer. Of kind
    /// [`Kind::NotFound`] where the place that the page before ended at is known no more: begin anew.
    pub async fn list<T: DeserializeOwned>(
        &self,
        resource: Resource,
        listing: &Listing<'_>,
    ) -> Result<Page<T>, Fault> {
        let collection = resource.collection(listing.namespace);
        let mut uri = format!("{collection}?limit={}", listing.limit);
        for (name, value) in [
            ("labelSelector", listing.labels),
            ("continue", listing.from),
        ] {
            if !value.is_empty() {
                let value = utf8_percent_encode(value, NON_ALPHANUMERIC);
                uri.push_str(&format!("&{name}={value}"));
            }
        }
        let doing = format!("listing {}", resource.plural);
        let mut ask = Ask::new(doing, Method::GET, uri);
        if listing.metadata_only {
            ask.accept = METADATA;
        }
        let List { metadata, items } = self.ask(ask).await?;
        let next = Some(metadata.r#continue).filter(|next| !next.is_empty());
        Ok(Page {
            items: items.unwrap_or_default(),
            next,
        })
    }

    async fn ask<T: DeserializeOwned>(&self, ask: Ask<'_>) -> Result<T, Fault> {
        self.send(&ask.doing, || {
            Request::builder()
                .method(&ask.method)
                .uri(&ask.uri)
                .header(CONTENT_TYPE, ask.content_type)
                .header(ACCEPT, ask.accept)
                .body(ask.body.clone())
                .map_err(kube::core::request::Error::BuildRequest)
        })
        .await
    }
}

/// The edition of an object that was read.
#[derive(Clone, Copy, Debug)]
pub struct AsRead<'a> {
    /// Its UID.
    pub uid: &'a str,
    /// Its `metadata.resourceVersion`.
    pub edition: &'a str,
}

/// Which part of an object is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The object; of one whose status is a part of its own, all but that.
    Whole,
    /// Its status.
    Status,
}

/// The path of one object.
fn segment(resource: Resource, namespace: &str, name: &str, doing: &str) -> Result<String, Fault> {
    if is_segment(name) && is_segment(namespace) {
        return Ok(format!("{}/{name}", resource.collection(Some(namespace))));
    }
    let message = format!("{name:?} in {namespace:?} cannot be the name of an object");
    Err(Fault::new(Kind::NotFound, doing, message))
}

/// The same path, for a request that writes: it says who does.
fn written(path: &str) -> String {
    format!("{path}?fieldManager={FIELD_MANAGER}")
}
