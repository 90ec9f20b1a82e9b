//! Every program of a cluster, and where it comes from: data alone.

use serde::{Deserialize, Serialize};

use Tier::{Comparison, ControlPlane, Node, Platform};

/// How much of a cluster there is; each holds what the ones before it hold.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, Serialize, Deserialize,
)]
pub enum Tier {
    /// etcd, API server, controllers and Tekton: runs are admitted and get their pods, which stay pending.
    ControlPlane,
    /// A node as well: containerd, kubelet, kube-proxy, CoreDNS. Steps really run.
    Node,
    /// Knative Serving with Kourier and Knative Eventing on it.
    Platform,
    /// What Hookrun is compared with as well: Tekton Triggers.
    Comparison,
}

/// One program. Another system is another folder with its pins, and another entry in [`PROGRAMS`].
#[derive(Debug)]
pub struct Program {
    /// Name of the executable; unlike any other.
    pub name: &'static str,
    /// The folder with its pins: a `go.mod`, or a `requirements.txt`.
    pub system: &'static str,
    /// The smallest cluster that runs it.
    pub tier: Tier,
    /// What it is made from.
    pub origin: Origin,
    /// The module whose version is stamped into it, with the package that holds the variables.
    pub(super) version: Option<Stamped>,
    /// Objects that it needs in the cluster.
    pub(super) objects: &'static [Objects],
}

/// What a program is made from.
#[derive(Debug)]
pub enum Origin {
    /// A Go package with a `main`, in a module that the `go.mod` of its system pins.
    Go(&'static str),
    /// A file in the Python package that the `requirements.txt` of its system pins.
    Python(&'static str),
}

#[derive(Debug)]
pub(super) struct Stamped {
    pub(super) module: &'static str,
    pub(super) package: &'static str,
}

/// Files of a Go module with objects in them.
#[derive(Debug)]
pub(super) struct Objects {
    pub(super) module: &'static str,
    /// Folders, or beginnings of file names, below the module's own folder.
    pub(super) files: &'static [&'static str],
}

impl Program {
    const fn new(tier: Tier, system: &'static str, name: &'static str, origin: Origin) -> Self {
        Self {
            name,
            system,
            tier,
            origin,
            version: None,
            objects: &[],
        }
    }

    const fn go(
        tier: Tier,
        system: &'static str,
        name: &'static str,
        package: &'static str,
    ) -> Self {
        Self::new(tier, system, name, Origin::Go(package))
    }

    const fn stamped(mut self, version: Stamped) -> Self {
        self.version = Some(version);
        self
    }

    const fn needs(mut self, objects: &'static [Objects]) -> Self {
        self.objects = objects;
        self
    }
}

/// Kubernetes tells its version only when it is stamped, and Tekton refuses an API server that says 0.0.0.
const KUBERNETES: Stamped = Stamped {
    module: "k8s.io/kubernetes",
    package: "k8s.io/component-base/version",
};

/// Everything that can be built, each in seconds to minutes.
#[rustfmt::skip] // a table
pub const PROGRAMS: &[Program] = &[
    Program::go(ControlPlane, "etcd", "etcd", "go.etcd.io/etcd/server/v3"),
    Program::go(ControlPlane, "kubernetes", "kube-apiserver",
        "k8s.io/kubernetes/cmd/kube-apiserver").stamped(KUBERNETES),
    Program::go(ControlPlane, "kubernetes", "kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager")
        .stamped(KUBERNETES),
    Program::go(ControlPlane, "kubernetes", "kubectl", "k8s.io/kubernetes/cmd/kubectl").stamped(KUBERNETES),
    Program::go(ControlPlane, "tekton", "tekton-webhook", "github.com/tektoncd/pipeline/cmd/webhook").needs(TEKTON),
    Program::go(ControlPlane, "tekton", "tekton-controller", "github.com/tektoncd/pipeline/cmd/controller"),
    // An S3 server over a folder, for payloads that no Secret holds.
    Program::go(ControlPlane, "s3", "versitygw", "github.com/versity/versitygw/cmd/versitygw"),

    // A node: pods really run.
    Program::go(Node, "kubernetes", "kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler").stamped(KUBERNETES),
    Program::go(Node, "kubernetes", "kubelet", "k8s.io/kubernetes/cmd/kubelet").stamped(KUBERNETES),
    Program::go(Node, "kubernetes", "kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy").stamped(KUBERNETES),
    Program::go(Node, "containerd", "containerd", "github.com/containerd/containerd/v2/cmd/containerd"),
    Program::go(Node, "containerd", "containerd-shim-runc-v2",
        "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2"),
    Program::go(Node, "containerd", "ctr", "github.com/containerd/containerd/v2/cmd/ctr"),
    Program::go(Node, "coredns", "coredns", "github.com/coredns/coredns"),
    // Holds the namespaces of a pod.
    Program::go(Node, "pause", "pause", "."),
    // What Tekton puts into the pods of a run.
    Program::go(Node, "tekton", "tekton-entrypoint", "github.com/tektoncd/pipeline/cmd/entrypoint"),
    Program::go(Node, "tekton", "tekton-nop", "github.com/tektoncd/pipeline/cmd/nop"),
    Program::go(Node, "tekton", "tekton-workingdirinit", "github.com/tektoncd/pipeline/cmd/workingdirinit"),

    // What scales functions, and leads requests to them. From here on, each program is an image.
    Program::go(Platform, "serving", "serving-controller", "knative.dev/serving/cmd/controller").needs(SERVING),
    Program::go(Platform, "serving", "serving-webhook", "knative.dev/serving/cmd/webhook"),
    Program::go(Platform, "serving", "serving-autoscaler", "knative.dev/serving/cmd/autoscaler"),
    Program::go(Platform, "serving", "serving-activator", "knative.dev/serving/cmd/activator"),
    Program::go(Platform, "serving", "serving-queue", "knative.dev/serving/cmd/queue"),
    Program::go(Platform, "kourier", "kourier-controller", "knative.dev/net-kourier/cmd/kourier").needs(KOURIER),
    Program::new(Platform, "envoy", "envoy", Origin::Python("envoy/_bin/envoy")),
    // What carries events from sources to functions.
    Program::go(Platform, "eventing", "eventing-controller", "knative.dev/eventing/cmd/controller").needs(EVENTING),
    Program::go(Platform, "eventing", "eventing-webhook", "knative.dev/eventing/cmd/webhook"),
    Program::go(Platform, "eventing", "eventing-broker-controller", "knative.dev/eventing/cmd/mtchannel_broker"),
    Program::go(Platform, "eventing", "eventing-broker-ingress", "knative.dev/eventing/cmd/broker/ingress"),
    Program::go(Platform, "eventing", "eventing-broker-filter", "knative.dev/eventing/cmd/broker/filter"),
    Program::go(Platform, "eventing", "eventing-channel-controller",
        "knative.dev/eventing/cmd/in_memory/channel_controller"),
    Program::go(Platform, "eventing", "eventing-channel-dispatcher",
        "knative.dev/eventing/cmd/in_memory/channel_dispatcher"),
    Program::go(Platform, "eventing", "eventing-ping-source", "knative.dev/eventing/cmd/mtping"),
    Program::go(Platform, "eventing", "eventing-api-server-source",
        "knative.dev/eventing/cmd/apiserver_receive_adapter"),
    Program::go(Platform, "eventing", "eventing-auth-proxy", "knative.dev/eventing/cmd/auth_proxy"),

    // What others make runs of events with.
    Program::go(Comparison, "triggers", "triggers-controller", "github.com/tektoncd/triggers/cmd/controller")
        .needs(TRIGGERS),
    Program::go(Comparison, "triggers", "triggers-webhook", "github.com/tektoncd/triggers/cmd/webhook"),
    Program::go(Comparison, "triggers", "triggers-interceptors", "github.com/tektoncd/triggers/cmd/interceptors"),
    Program::go(Comparison, "triggers", "triggers-event-listener",
        "github.com/tektoncd/triggers/cmd/eventlistenersink"),
];

const TEKTON: &[Objects] = &[Objects {
    module: "github.com/tektoncd/pipeline",
    files: &[
        "config/100-namespace/",
        "config/300-crds/",
        "config/500-webhooks.yaml",
        "config/config-",
    ],
}];

/// Serving's own files link to some of the others' in its repository; a module holds no links.
const SERVING: &[Objects] = &[
    Objects {
        module: "knative.dev/serving",
        files: &[
            "config/core/",
            "config/core/200-roles/",
            "config/core/300-resources/",
            "config/core/configmaps/",
            "config/core/deployments/",
            "config/core/webhooks/",
        ],
    },
    Objects {
        module: "knative.dev/networking",
        files: &["config/"],
    },
    Objects {
        module: "knative.dev/caching",
        files: &["config/image.yaml"],
    },
];

const KOURIER: &[Objects] = &[Objects {
    module: "knative.dev/net-kourier",
    files: &["config/"],
}];

/// Without the servers behind JobSink and RequestReply, which nothing of ours uses; their types are there, since the
/// controller watches them.
const EVENTING: &[Objects] = &[Objects {
    module: "knative.dev/eventing",
    files: &[
        "config/core/",
        "config/core/configmaps/",
        "config/core/deployments/controller.yaml",
        "config/core/deployments/pingsource-mt-adapter.yaml",
        "config/core/deployments/webhook.yaml",
        "config/core/resources/",
        "config/core/roles/",
        "config/core/webhooks/",
        "config/brokers/mt-channel-broker/deployments/",
        "config/brokers/mt-channel-broker/roles/",
        "config/channels/in-memory-channel/",
        "config/channels/in-memory-channel/configmaps/",
        "config/channels/in-memory-channel/deployments/",
        "config/channels/in-memory-channel/resources/",
        "config/channels/in-memory-channel/roles/",
        "config/channels/in-memory-channel/webhooks/",
        "third_party/eventing-integrations-latest/",
    ],
}];

const TRIGGERS: &[Objects] = &[Objects {
    module: "github.com/tektoncd/triggers",
    files: &["config/", "config/interceptors/"],
}];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_programs_share_a_name() {
        let names: BTreeSet<_> = PROGRAMS.iter().map(|program| program.name).collect();
        assert_eq!(names.len(), PROGRAMS.len());
    }
}
