//! Objects of one namespace: read, written by hand, and compared as a whole with files in `tests/expected`.

use std::{collections::BTreeMap, env, fs, path::PathBuf};

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use http::Request;
use kube::Client;
use serde_json::{Map, Value, json};

/// The kinds that a flow becomes, in the order in which they are shown.
pub const KINDS: [&str; 4] = ["Task", "Secret", "Pipeline", "PipelineRun"];

/// The objects of a namespace, seen by an administrator.
#[derive(Clone)]
pub struct Objects {
    client: Client,
    namespace: String,
}

impl Objects {
    /// Those of this namespace.
    pub fn of(client: Client, namespace: impl Into<String>) -> Self {
        Self {
            client,
            namespace: namespace.into(),
        }
    }

    /// An object that must exist.
    ///
    /// # Errors
    /// It does not, or cannot be read.
    pub async fn get(&self, kind: &str, name: &str) -> Result<Value> {
        self.find(kind, name)
            .await?
            .with_context(|| format!("there is no {kind} {name} in {}", self.namespace))
    }

    /// An object, if it exists.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn find(&self, kind: &str, name: &str) -> Result<Option<Value>> {
        let request = Request::get(self.path(kind, name)?).body(Vec::new())?;
        match self.client.request::<Value>(request).await {
            Ok(object) => Ok(Some(object)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// All objects of a kind, by name.
    ///
    /// # Errors
    /// They cannot be listed.
    pub async fn all(&self, kind: &str) -> Result<Vec<Value>> {
        self.selected(kind, "").await
    }

    /// All objects of a kind that a label selector finds.
    ///
    /// # Errors
    /// They cannot be listed.
    pub async fn selected(&self, kind: &str, labels: &str) -> Result<Vec<Value>> {
        let uri = format!("{}?labelSelector={labels}", self.path(kind, "")?);
        let list: Value = self
            .client
            .request(Request::get(uri).body(Vec::new())?)
            .await?;
        let mut objects = list["items"].as_array().cloned().unwrap_or_default();
        for object in &mut objects {
            // Lists name the kind once, for all.
            object["kind"] = kind.into();
        }
        objects.sort_by_key(|object| name(object).to_owned());
        Ok(objects)
    }

    /// All objects of a kind that a flow becomes: not the Secrets in which a Delivery keeps what came and was decided.
    ///
    /// # Errors
    /// They cannot be listed.
    pub async fn of_flows(&self, kind: &str) -> Result<Vec<Value>> {
        match kind {
            "Secret" => self.selected(kind, "!hookrun.dev/delivery").await,
            _ => self.all(kind).await,
        }
    }

    /// The names of all objects of a kind.
    ///
    /// # Errors
    /// They cannot be listed.
    pub async fn names(&self, kind: &str) -> Result<Vec<String>> {
        let objects = self.all(kind).await?;
        Ok(objects
            .iter()
            .map(|object| name(object).to_owned())
            .collect())
    }

    /// The one PipelineRun that there is.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub async fn run(&self) -> Result<Value> {
        let mut runs = self.all("PipelineRun").await?;
        ensure!(runs.len() == 1, "{} PipelineRuns", runs.len());
        Ok(runs.remove(0))
    }

    /// The entries of a Secret, as texts.
    ///
    /// # Errors
    /// There is no such Secret, or an entry is no text.
    pub async fn secret(&self, name: &str) -> Result<BTreeMap<String, String>> {
        entries(&self.get("Secret", name).await?)
            .into_iter()
            .map(|(entry, bytes)| Ok((entry, String::from_utf8(bytes)?)))
            .collect()
    }

    /// Fails unless the namespace holds nothing that a flow becomes.
    ///
    /// # Errors
    /// Names what is there.
    pub async fn ensure_none(&self) -> Result<()> {
        for kind in KINDS {
            let names = self.names(kind).await?;
            ensure!(names.is_empty(), "{kind} {names:?} in {}", self.namespace);
        }
        Ok(())
    }

    /// Creates an object.
    ///
    /// # Errors
    /// The API server refuses it.
    pub async fn create(&self, object: &Value) -> Result<Value> {
        let uri = self.path(object["kind"].as_str().unwrap_or_default(), "")?;
        self.send(
            Request::post(uri).header("content-type", "application/json"),
            object,
        )
        .await
    }

    /// What the API server would say to the creation of an object; nothing is stored.
    ///
    /// # Errors
    /// The API server refuses it.
    pub async fn admit(&self, object: &Value) -> Result<Value> {
        let uri = self.path(object["kind"].as_str().unwrap_or_default(), "")?;
        let request = Request::post(format!("{uri}?dryRun=All"));
        self.send(request.header("content-type", "application/json"), object)
            .await
    }

    /// Applies an object as another field manager.
    ///
    /// # Errors
    /// The API server refuses it, or there is a conflict.
    pub async fn apply_as(&self, manager: &str, object: &Value) -> Result<Value> {
        let uri = self.path(object["kind"].as_str().unwrap_or_default(), name(object))?;
        let request = Request::patch(format!("{uri}?fieldManager={manager}"));
        self.send(
            request.header("content-type", "application/apply-patch+yaml"),
            object,
        )
        .await
    }

    /// Changes an object by a JSON merge patch.
    ///
    /// # Errors
    /// The API server refuses it.
    pub async fn merge(&self, kind: &str, name: &str, patch: Value) -> Result<Value> {
        let request = Request::patch(self.path(kind, name)?);
        self.send(
            request.header("content-type", "application/merge-patch+json"),
            &patch,
        )
        .await
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// There is none.
    pub async fn delete(&self, kind: &str, name: &str) -> Result<()> {
        let request = Request::delete(self.path(kind, name)?).body(Vec::new())?;
        self.client.request::<Value>(request).await?;
        Ok(())
    }

    async fn send(&self, request: http::request::Builder, object: &Value) -> Result<Value> {
        Ok(self
            .client
            .request(request.body(object.to_string().into_bytes())?)
            .await?)
    }

    fn path(&self, kind: &str, name: &str) -> Result<String> {
        let plural = match kind {
            "Delivery" => "deliveries".to_owned(),
            _ => format!("{}s", kind.to_lowercase()),
        };
        let group = match kind {
            "Hook" | "Delivery" => "apis/hookrun.dev/v1alpha1",
            "Task" | "Pipeline" | "PipelineRun" | "TaskRun" => "apis/tekton.dev/v1",
            "Secret" | "ConfigMap" | "ServiceAccount" | "Pod" => "api/v1",
            _ => bail!("where is kind {kind:?}?"),
        };
        let path = format!("/{group}/namespaces/{}/{plural}/{name}", self.namespace);
        Ok(path.trim_end_matches('/').to_owned())
    }

    /// Compares everything that a flow becomes with `tests/expected/<case>.yaml`; `UPDATE_FIXTURES=1` writes that file.
    ///
    /// # Errors
    /// Shows the first line that differs.
    pub async fn expect(&self, case: &str) -> Result<()> {
        let mut documents = Vec::new();
        for kind in KINDS {
            for object in self.of_flows(kind).await? {
                documents.push(serde_saphyr::to_string(&content(&object))?);
            }
        }
        // The namespace is another one in each run of the tests.
        let found = documents
            .join("---\n")
            .replace(&self.namespace, "team-blue");
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("expected/{case}.yaml"));
        if env::var_os("UPDATE_FIXTURES").is_some() {
            fs::create_dir_all(path.parent().context("a folder")?)?;
            fs::write(&path, &found)?;
        }
        let expected = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        if let Some((line, (expected, found))) = expected
            .lines()
            .chain(["(end)"])
            .zip(found.lines().chain(["(end)"]))
            .enumerate()
            .find(|(_, (expected, found))| expected != found)
        {
            bail!(
                "{}:{}: expected `{expected}`, found `{found}`",
                path.display(),
                line + 1
            );
        }
        Ok(())
    }
}

/// An object's name.
pub fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// The names in a list of named things: steps, variables, mounts.
pub fn names(list: &Value) -> Vec<&str> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter()
        .map(|item| item["name"].as_str().unwrap_or_default())
        .collect()
}

/// The thing of that name in a list.
pub fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter()
        .find(|item| item["name"] == name)
        .unwrap_or(&Value::Null)
}

/// The steps that a run embeds.
pub fn steps(run: &Value) -> &Value {
    &run["spec"]["pipelineSpec"]["tasks"][0]["taskSpec"]["steps"]
}

/// The entries of a Secret.
pub fn entries(secret: &Value) -> BTreeMap<String, Vec<u8>> {
    let data = secret["data"].as_object().cloned().unwrap_or_default();
    data.into_iter()
        .map(|(entry, value)| {
            let bytes = BASE64_STANDARD.decode(value.as_str().unwrap_or_default());
            (entry, bytes.expect("the API server checks base64"))
        })
        .collect()
}

/// What somebody wrote into an object: without what the API server and Tekton add, Secrets readable, digests hidden.
fn content(object: &Value) -> Value {
    let metadata = &object["metadata"];
    let mut kept = Map::new();
    for field in [
        "name",
        "namespace",
        "labels",
        "annotations",
        "ownerReferences",
    ] {
        kept.insert(field.to_owned(), metadata[field].clone());
    }
    let mut content = json!({"kind": object["kind"], "metadata": kept, "spec": object["spec"]});
    if object["kind"] == "Secret" {
        let entries = entries(object);
        let texts = entries
            .iter()
            .map(|(entry, bytes)| (entry, String::from_utf8_lossy(bytes)));
        content["data"] = Value::Object(
            texts
                .map(|(entry, text)| (entry.clone(), text.into()))
                .collect(),
        );
        content["type"] = object["type"].clone();
        content["immutable"] = object["immutable"].clone();
    }
    tidy(&mut content);
    content
}

/// Removes what says nothing, and what is different each time.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            // Tekton's controller labels the runs that it has seen.
            fields.retain(|name, _| {
                !name.starts_with("tekton.dev/pipeline") || name.ends_with("SpanContext")
            });
            fields.remove("uid");
            fields.values_mut().for_each(tidy);
            fields.retain(|name, value| {
                let empty = value.as_object().is_some_and(Map::is_empty);
                !(value.is_null()
                    || empty
                        && ["computeResources", "metadata", "annotations", "labels"]
                            .contains(&name.as_str()))
            });
            fields.sort_keys();
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::String(text) if text.starts_with("sha256:") => "sha256:…".clone_into(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
