//! Pods: how many there are, what their containers hold, and how one is killed.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use control_plane::{eventually, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::site::Site;

const MIB: f64 = (1 << 20) as f64;

/// How long a pod may take to come or to go, and the kubelet to look at it again.
const PATIENCE: Duration = Duration::from_secs(300);

/// A container in the pods that a label selects.
#[derive(Clone)]
pub(super) struct Container {
    pub(super) namespace: &'static str,
    pub(super) selector: String,
    pub(super) name: &'static str,
}

impl Container {
    /// All its pods, also those that are about to end.
    async fn pods(&self, site: &Site) -> Result<Vec<Value>> {
        let path = format!(
            "/api/v1/namespaces/{}/pods?labelSelector={}",
            self.namespace,
            self.selector.replace('/', "%2F").replace('=', "%3D")
        );
        let mut list = site.get(&path).await?;
        Ok(match list["items"].take() {
            Value::Array(pods) => pods,
            _ => Vec::new(),
        })
    }

    /// Whether there are none.
    pub(super) async fn is_gone(&self, site: &Site) -> Result<bool> {
        Ok(self.pods(site).await?.is_empty())
    }

    /// Waits until there are none.
    pub(super) async fn gone(&self, site: &Site) -> Result<()> {
        until("its last pod is gone", PATIENCE, async || {
            tokio::time::sleep(Duration::from_millis(250)).await;
            self.is_gone(site).await
        })
        .await
    }

    /// Ends all its pods, so that the next one is fresh.
    pub(super) async fn renew(&self, site: &Site) -> Result<()> {
        let old = self.pods(site).await?;
        let which = format!(
            "--namespace {} --selector {}",
            self.namespace, self.selector
        );
        site.kubectl(
            &format!("delete pods --grace-period 0 --force --wait=false {which}"),
            "",
        )?;
        let names = |pods: &[Value]| -> Vec<Value> {
            pods.iter()
                .map(|pod| pod["metadata"]["uid"].clone())
                .collect()
        };
        let old = names(&old);
        until("its pods are gone", PATIENCE, async || {
            Ok(!names(&self.pods(site).await?)
                .iter()
                .any(|pod| old.contains(pod)))
        })
        .await
    }

    /// The ids under which its containerd runs it, where it is ready.
    async fn ids(&self, site: &Site) -> Result<Vec<String>> {
        let pods = self.pods(site).await?;
        let containers = pods
            .iter()
            .filter_map(|pod| pod["status"]["containerStatuses"].as_array())
            .flatten()
            .filter(|container| container["name"] == self.name && container["ready"] == true);
        let id = |container: &Value| {
            let id = container["containerID"].as_str()?;
            Some(id.rsplit('/').next()?.to_owned())
        };
        Ok(containers.filter_map(id).collect())
    }

    /// Waits until one is ready.
    pub(super) async fn ready(&self, site: &Site) -> Result<()> {
        until("one of its pods is ready", PATIENCE, async || {
            Ok(!self.ids(site).await?.is_empty())
        })
        .await
    }

    /// Kills the processes in one that is ready, as the kernel does when memory runs out: nothing in it is told.
    pub(super) async fn kill(&self, site: &Site) -> Result<()> {
        let ids = self.ids(site).await?;
        let id = ids.first().context("no pod is ready")?;
        let mut killed = 0;
        for process in fs::read_dir("/proc")?.flatten() {
            let groups = fs::read_to_string(process.path().join("cgroup")).unwrap_or_default();
            let number = process
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            if let (true, Some(number)) = (groups.contains(id), number.and_then(Pid::from_raw)) {
                // It may have ended by itself meanwhile.
                killed += usize::from(kill_process(number, Signal::KILL).is_ok());
            }
        }
        ensure!(
            killed > 0,
            "no process of this machine is in container {id}"
        );
        Ok(())
    }

    /// What one holds, as the kubelet counts it: its working set, and how much of that no file stands for. Asked until it was
    /// counted after now; the largest if there are several.
    pub(super) async fn memory(&self, site: &Site) -> Result<String> {
        let path = "/api/v1/nodes?limit=1";
        let nodes = site.get(path).await?;
        let node = nodes["items"][0]["metadata"]["name"]
            .as_str()
            .context("no node")?;
        let path = format!("/api/v1/nodes/{node}/proxy/stats/summary");
        let pods = self.pods(site).await?;
        let names: Vec<_> = pods.iter().map(|pod| &pod["metadata"]["name"]).collect();
        let mut first = None;
        let held = eventually("the kubelet has counted its memory", PATIENCE, async || {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let summary = site.get(&path).await?;
            let stats = summary["pods"].as_array().into_iter().flatten();
            let counted: Vec<_> = stats
                .filter(|pod| names.contains(&&pod["podRef"]["name"]))
                .filter(|pod| pod["podRef"]["namespace"] == self.namespace)
                .filter_map(|pod| pod["containers"].as_array())
                .flatten()
                .filter(|container| container["name"] == self.name)
                .map(|container| container["memory"].clone())
                .collect();
            let times: Vec<_> = counted
                .iter()
                .map(|memory| memory["time"].to_string())
                .collect();
            // The first answer may be older than the question.
            let before = first.get_or_insert_with(|| times.clone());
            let fresh = !times.is_empty() && times.iter().all(|time| !before.contains(time));
            let held = |memory: &Value| {
                Some((
                    memory["workingSetBytes"].as_u64()?,
                    memory["rssBytes"].as_u64()?,
                ))
            };
            Ok(counted.iter().filter_map(held).max().filter(|_| fresh))
        })
        .await?;
        let (all, anonymous) = (held.0 as f64 / MIB, held.1 as f64 / MIB);
        Ok(format!("{all:.1} MiB ({anonymous:.1} anonymous)"))
    }
}
