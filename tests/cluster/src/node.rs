//! A node: the container runtime, the kubelet, the routes of Services, and names.
//!
//! It runs in a [`sandbox`], under the control plane of the same processes as in the tests.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Node as Object;
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::{
    Programs, Tier,
    cluster::ADMIN,
    daemon::{Arguments, Daemon},
    eventually,
    image::{self, Image},
    programs::PROGRAMS,
    sandbox, until,
    wait::until_blocking,
};

/// The node's name.
pub(crate) const NAME: &str = "hookrun";
/// Where pods get their addresses.
const PODS: &str = "10.244.0.0/16";
/// The runtime's socket, seen from the node.
pub(crate) const SOCKET: &str = "/run/containerd/containerd.sock";

const PATIENCE: Duration = Duration::from_secs(90);

/// Starts everything that makes a machine a node of the cluster in `folder`, and waits until it is ready.
///
/// What was started is in `daemons`, even after an error.
pub(crate) async fn start(
    client: &Client,
    programs: &Programs,
    folder: &Path,
    daemons: &mut Vec<Daemon>,
) -> Result<()> {
    let logs = folder.join("logs");
    let admin = folder.join(ADMIN);
    let configuration = folder.join("node");
    fs::create_dir_all(&configuration)?;
    let write = |name: &str, content: String| -> Result<PathBuf> {
        let path = configuration.join(name);
        fs::write(&path, content)?;
        Ok(path)
    };

    let cni = configuration.join("cni");
    fs::create_dir_all(&cni)?;
    write("cni/10-bridge.conflist", network_list().to_string())?;
    let containerd = write("containerd.toml", containerd_configuration(folder, &cni)?)?;
    let kubelet = write("kubelet.yaml", kubelet_configuration(folder).to_string())?;
    let corefile = write("Corefile", corefile(&admin))?;

    let mut start = |name, arguments| -> Result<()> {
        daemons.push(Daemon::start(name, &logs, arguments)?);
        Ok(())
    };
    start(
        "kube-scheduler",
        Arguments::of(programs.path("kube-scheduler"))
            .path("--kubeconfig", &admin)
            .flag("--leader-elect", "false"),
    )?;
    // It starts its shims by name.
    let path = format!(
        "{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        programs.folder().display()
    );
    start(
        "containerd",
        Arguments::of(programs.path("containerd"))
            .path("--config", &containerd)
            .env("PATH", path.clone()),
    )?;
    start(
        "coredns",
        Arguments::of(programs.path("coredns")).path("-conf", &corefile),
    )?;
    start(
        "kube-proxy",
        Arguments::of(programs.path("kube-proxy"))
            .path("--kubeconfig", &admin)
            .flag("--hostname-override", NAME)
            .flag("--cluster-cidr", PODS)
            .flag("--proxy-mode", "iptables")
            // These are the machine's, not the node's.
            .flag("--conntrack-max-per-core", "0")
            .flag("--conntrack-tcp-timeout-established", "0")
            .flag("--conntrack-tcp-timeout-close-wait", "0")
            .env("PATH", path.clone()),
    )?;
    until_blocking("containerd listens", PATIENCE, || {
        Path::new(SOCKET).exists()
    })?;
    load(programs, folder)?;
    start(
        "kubelet",
        Arguments::of(programs.path("kubelet"))
            .path("--config", &kubelet)
            .path("--kubeconfig", &admin)
            .flag("--hostname-override", NAME)
            .flag("--node-ip", &sandbox::NODE.to_string())
            .path("--root-dir", &folder.join("kubelet"))
            .env("PATH", path),
    )?;
    let nodes: Api<Object> = Api::all(client.clone());
    until("the node is ready", PATIENCE, async || {
        for daemon in daemons.iter_mut() {
            let process = daemon.process();
            if let Some(status) = process.ended()? {
                anyhow::bail!("{} ended ({status}):\n{}", process.name(), process.tail(10));
            }
        }
        Ok(nodes
            .get_opt(NAME)
            .await?
            .is_some_and(|node| is_ready(&node)))
    })
    .await
}

fn is_ready(node: &Object) -> bool {
    let conditions = node
        .status
        .iter()
        .filter_map(|status| status.conditions.as_ref());
    conditions
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Makes the images that every node has, and gives them to containerd.
fn load(programs: &Programs, folder: &Path) -> Result<()> {
    let images = folder.join("images");
    fs::create_dir_all(&images)?;
    let busybox = Image::new(image::name("busybox"), &["/bin/sh"]).busybox()?;
    let mut made = vec![("busybox", busybox)];
    let own = PROGRAMS
        .iter()
        .filter(|program| program.tier == Tier::Node)
        .filter(|program| program.name == "pause" || program.name.starts_with("tekton-"));
    for program in own {
        // Where the images of Tekton's releases have their program.
        let target = format!(
            "/ko-app/{}",
            program.name.strip_prefix("tekton-").unwrap_or(program.name)
        );
        let made_of = Image::new(image::name(program.name), &[&target])
            .file(programs.path(program.name), &target);
        made.push((program.name, made_of));
    }
    for (name, image) in made {
        let archive = images.join(format!("{name}.tar"));
        image.write(&archive)?;
        image::import(&programs.path("ctr"), Path::new(SOCKET), &archive)?;
        fs::remove_file(archive)?;
    }
    Ok(())
}

fn network_list() -> Value {
    json!({
        "cniVersion": "1.0.0",
        "name": NAME,
        "plugins": [
            {
                "type": "bridge",
                "bridge": "pods0",
                "isGateway": true,
                "ipMasq": true,
                // A pod may reach itself through its own Service.
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "dataDir": "/run/cni-addresses",
                    "ranges": [[{"subnet": PODS}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
}

fn containerd_configuration(folder: &Path, cni: &Path) -> Result<String> {
    let plugins = sandbox::plugins().context("the CNI plugins are missing")?;
    let runc = sandbox::find_program("runc").context("runc is missing")?;
    Ok(format!(
        r#"version = 3
root = "{root}"
state = "/run/containerd/state"
[grpc]
  address = "{SOCKET}"
[ttrpc]
  address = "{SOCKET}.ttrpc"
[plugins.'io.containerd.cri.v1.images']
  snapshotter = "overlayfs"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "{pause}"
[plugins.'io.containerd.cri.v1.runtime']
  # Containers in containers may not lower it.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  BinaryName = "{runc}"
  SystemdCgroup = false
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ["{plugins}"]
  conf_dir = "{cni}"
"#,
        root = folder.join("containerd").display(),
        pause = image::name("pause"),
        runc = runc.display(),
        plugins = plugins.display(),
        cni = cni.display(),
    ))
}

fn kubelet_configuration(folder: &Path) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": folder.join("pki/ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        // Everything of ours in one place, where it can be removed.
        "cgroupRoot": format!("/{}", sandbox::CGROUP),
        "failCgroupV1": false,
        "failSwapOn": false,
        "enforceNodeAllocatable": [],
        "clusterDNS": [sandbox::NODE.to_string()],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": format!("unix://{SOCKET}"),
        "podLogsDir": folder.join("pods"),
        "resolvConf": "",
        // The machine's disk may be nearly full without being ours to clean.
        "evictionHard": {"nodefs.available": "1%", "imagefs.available": "1%", "memory.available": "100Mi"},
        "imageMinimumGCAge": "24h",
        "imageGCHighThresholdPercent": 100,
        "maxPods": 200,
    })
}

/// Names of the cluster, and no others: one block for each, since in one block the refusal would come first.
fn corefile(admin: &Path) -> String {
    format!(
        "cluster.local in-addr.arpa {{
  bind {node}
  errors
  kubernetes cluster.local in-addr.arpa {{
    kubeconfig {admin}
  }}
}}
. {{
  bind {node}
  template ANY ANY {{
    rcode NXDOMAIN
  }}
}}
",
        node = sandbox::NODE,
        admin = admin.display(),
    )
}

/// Waits until the node has run a pod: the whole way from the scheduler to a container works.
pub(crate) async fn runs_pods(client: &Client) -> Result<()> {
    use k8s_openapi::api::core::v1::Pod;
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    let pod: Pod = serde_json::from_value(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "first"},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "containers": [{"name": "true", "image": image::name("busybox"), "command": ["true"]}],
        },
    }))?;
    // Its ServiceAccount comes a moment after the namespace.
    eventually("a pod is admitted", PATIENCE, async || {
        Ok(pods.create(&Default::default(), &pod).await.ok())
    })
    .await?;
    eventually("a pod has run", PATIENCE, async || {
        let pod = pods.get("first").await?;
        let phase = pod.status.and_then(|status| status.phase);
        Ok((phase.as_deref() == Some("Succeeded")).then_some(()))
    })
    .await?;
    pods.delete("first", &Default::default()).await?;
    Ok(())
}
