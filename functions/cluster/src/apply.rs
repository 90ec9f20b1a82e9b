//! Server-side apply of the objects that hold a flow's latest content, and taking over what the Artisan runner left.
//!
//! The original applied with the field manager `artisan-runner` and wrote Secrets through `stringData`, which is why
//! entries that were removed from a flow stayed in the cluster (`artisan-runner.md` §3.2). Applying by force with our own
//! manager takes the fields over; what the original owned beyond them would stay for ever, so an object that still
//! carries its mark is replaced once as a whole.

use flows::tekton::Object;
use futures_util::future::try_join_all;
use http::{Request, header::CONTENT_TYPE};
use kube::core::params::{GetParams, Preconditions};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    api::Cluster,
    fault::{Fault, Kind},
    start::found,
};

/// The field manager of all our writes.
pub(crate) const FIELD_MANAGER: &str = "hookrun";

/// Tekton's group.
pub(crate) const GROUP: &str = "tekton.dev";

/// The field manager of the original Artisan runner.
const PREDECESSOR: &str = "artisan-runner";

/// How often an object is applied when others write it at the same time; each conflict is the success of another one.
const TRIES: usize = 4;

/// What is read of an applied object: enough to see whether anything is left in it that is not ours.
#[derive(Deserialize)]
struct Applied {
    metadata: AppliedMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AppliedMetadata {
    #[serde(default)]
    uid: String,
    resource_version: String,
    /// Secrets have none.
    #[serde(default)]
    generation: u64,
    #[serde(default)]
    managed_fields: Vec<Value>,
}

impl Cluster {
    /// Makes the flow's objects what is given, and removes the Secrets that the flow has no more.
    ///
    /// `absent` names the Secrets that the flow could have and has not. They are looked for only where a Task or Pipeline
    /// was ever changed: a flow that never was cannot have had them.
    ///
    /// Task and Pipeline go first, side by side: they are what admission may refuse, and the Secrets of a refused edition
    /// would be read by the next run of the one before.
    ///
    /// # Errors
    /// A [`Fault`]; the objects that it does not name may be applied or not.
    pub async fn apply_all(&self, latest: &[Object], absent: &[String]) -> Result<(), Fault> {
        let (secrets, checked): (Vec<_>, Vec<_>) = latest
            .iter()
            .partition(|object| matches!(object, Object::Secret(_)));
        let mut edited = false;
        for group in [checked, secrets] {
            let generations =
                try_join_all(group.into_iter().map(|object| self.apply(object))).await?;
            edited |= generations.iter().any(|generation| *generation > 1);
        }
        let namespace = latest
            .first()
            .map_or("", |object| object.namespace().as_str());
        for name in absent.iter().filter(|_| edited) {
            self.remove_secret(namespace, name).await?;
        }
        Ok(())
    }

    /// Deletes a Secret of a flow, if it exists and was written by us or by the Artisan runner.
    async fn remove_secret(&self, namespace: &str, name: &str) -> Result<(), Fault> {
        let doing = format!("removing Secret {name}");
        let secrets = kube::core::Request::new(path("", "secrets", namespace));
        let found: Option<Applied> = found(
            self.send(&doing, || secrets.get(name, &GetParams::default()))
                .await,
        )?;
        let Some(Applied { metadata }) = found else {
            return Ok(());
        };
        // What somebody else has written into it is not ours to delete.
        let managers = &metadata.managed_fields;
        let ours = |entry| [FIELD_MANAGER, PREDECESSOR].contains(&manager(entry));
        if managers.is_empty() || !managers.iter().all(ours) {
            return Ok(());
        }
        let as_read = Preconditions {
            uid: Some(metadata.uid),
            resource_version: Some(metadata.resource_version),
        };
        self.delete(&secrets, name, &doing, as_read).await.map(drop)
    }

    /// Makes the object what is given, creating it if needed. Fields that an earlier version of the flow set and this
    /// one does not are removed. Gives the object's generation: above 1 where its spec was ever changed.
    ///
    /// # Errors
    /// A [`Fault`]; the object is then as it was before.
    pub async fn apply(&self, object: &Object) -> Result<u64, Fault> {
        for _ in 0..TRIES {
            let applied = match self.apply_once(object).await {
                Ok(applied) if has_leftovers(&applied) => self.replace(object, &applied).await,
                applied => applied,
            };
            match applied {
                // Somebody wrote in between. By force there are no conflicts of owners, so that is all it can mean.
                Err(fault) if fault.kind == Kind::Conflict => {}
                applied => return applied.map(|applied| applied.metadata.generation),
            }
        }
        let doing = doing(object);
        Err(Fault::new(
            Kind::Unavailable,
            &doing,
            "it is being changed by somebody else; try again",
        ))
    }

    async fn apply_once(&self, object: &Object) -> Result<Applied, Fault> {
        let uri = format!("{}?fieldManager={FIELD_MANAGER}&force=true", uri(object));
        let bytes = object.to_json();
        self.send(&doing(object), || {
            Request::patch(&uri)
                .header(CONTENT_TYPE, "application/apply-patch+yaml")
                .body(bytes.clone())
                .map_err(kube::core::request::Error::BuildRequest)
        })
        .await
    }

    /// Replaces the object as a whole, marks of earlier managers included.
    async fn replace(&self, object: &Object, applied: &Applied) -> Result<Applied, Fault> {
        let doing = doing(object);
        let mut json: Value = serde_json::from_slice(&object.to_json())
            .map_err(|error| Fault::new(Kind::Refused, &doing, error.to_string()))?;
        json["metadata"]["resourceVersion"] =
            Value::from(applied.metadata.resource_version.as_str());
        // Our own record stays, the others' ends here. Without any record, the next apply would find the fields owned by
        // a manager `before-first-apply`, and what later leaves the flow would stay in the object.
        let ours = applied.metadata.managed_fields.iter();
        json["metadata"]["managedFields"] = ours
            .filter(|entry| manager(entry) == FIELD_MANAGER)
            .cloned()
            .collect();
        let bytes = json.to_string().into_bytes();
        let uri = format!("{}?fieldManager={FIELD_MANAGER}", uri(object));
        self.send(&doing, || {
            Request::put(&uri)
                .header(CONTENT_TYPE, "application/json")
                .body(bytes.clone())
                .map_err(kube::core::request::Error::BuildRequest)
        })
        .await
    }
}

fn doing(object: &Object) -> String {
    format!("applying {} {}", object.kind(), object.name())
}

/// Whether the object carries the mark of the Artisan runner, and so perhaps more than was applied. What others have
/// added to it is theirs.
fn has_leftovers(applied: &Applied) -> bool {
    let managers = &applied.metadata.managed_fields;
    managers.iter().any(|entry| manager(entry) == PREDECESSOR)
}

/// Whom an entry of `managedFields` is about.
fn manager(entry: &Value) -> &str {
    entry["manager"].as_str().unwrap_or_default()
}

/// Where the object lives.
fn uri(object: &Object) -> String {
    let collection = path(object.group(), object.plural(), object.namespace().as_str());
    format!("{collection}/{}", object.name())
}

/// The path of a collection; `group` is empty for core objects. All that we touch is at `v1`.
pub(crate) fn path(group: &str, plural: &str, namespace: &str) -> String {
    if group.is_empty() {
        format!("/api/v1/namespaces/{namespace}/{plural}")
    } else {
        format!("/apis/{group}/v1/namespaces/{namespace}/{plural}")
    }
}
