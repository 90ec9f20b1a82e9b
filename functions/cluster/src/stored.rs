//! Reading what the cluster stores of a flow, for a run by name.

use std::collections::BTreeMap;

use flows::{name::object_name, stored::Stored};
use futures_util::future::{join, try_join_all};
use kube::core::{Request, params::GetParams};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    api::Cluster,
    apply::{GROUP, path},
    fault::{Fault, Kind},
    start::found,
};

#[derive(Deserialize)]
struct Data {
    #[serde(default)]
    data: BTreeMap<String, String>,
}

impl Cluster {
    /// The Pipeline of the flow, the Tasks that it refers to, and the flow's own Secrets that those refer to.
    ///
    /// # Errors
    /// A [`Fault`] of kind [`Kind::NotFound`] where the Pipeline or one of its Tasks does not exist. A Secret that does
    /// not exist is left out: what refers to it may be optional.
    pub async fn stored(&self, namespace: &str, name: &str) -> Result<Stored, Fault> {
        let pipeline_name = flows::stored::pipeline_name(name);
        let pipeline = self.get::<Value>(
            "Pipeline",
            GROUP,
            "pipelines",
            namespace,
            pipeline_name.as_str(),
        );
        // A Pipeline of ours has one Task, whose name is known: asked for together with it.
        let usual = flows::stored::task_name(name);
        let task = self.get::<Value>("Task", GROUP, "tasks", namespace, usual.as_str());
        let (pipeline, task) = join(pipeline, task).await;
        let (pipeline, mut task) = (pipeline?, Some(task));
        let mut tasks = BTreeMap::new();
        for name in flows::stored::task_names(&pipeline) {
            let task = match task.take_if(|_| name == usual.as_str()) {
                Some(task) => task?,
                None => self.get("Task", GROUP, "tasks", namespace, &name).await?,
            };
            tasks.insert(name, task);
        }
        let names = flows::stored::secret_names(&object_name(name), &tasks, &pipeline);
        let read = names
            .iter()
            .map(async |name| found(self.get("Secret", "", "secrets", namespace, name).await));
        let read = try_join_all(read).await?;
        let secrets = names
            .iter()
            .cloned()
            .zip(read)
            .filter_map(|(name, secret)| Some((name, secret.map(|Data { data }| data)?)))
            .collect();
        Ok(Stored {
            pipeline,
            tasks,
            secrets,
        })
    }

    async fn get<T: serde::de::DeserializeOwned>(
        &self,
        kind: &str,
        group: &str,
        plural: &str,
        namespace: &str,
        name: &str,
    ) -> Result<T, Fault> {
        let doing = format!("reading {kind} {name}");
        if !is_segment(name) {
            return Err(Fault::new(
                Kind::NotFound,
                &doing,
                format!("{name:?} cannot be the name of an object"),
            ));
        }
        let request = Request::new(path(group, plural, namespace));
        self.send(&doing, || request.get(name, &GetParams::default()))
            .await
    }
}

/// Whether a text may stand in a path as it is. What may not cannot be the name of an object.
pub(crate) fn is_segment(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    !name.is_empty() && !name.starts_with('.') && name.bytes().all(legal)
}
