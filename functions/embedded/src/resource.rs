//! The table of everything that this API keeps. A new kind is one entry in [`RESOURCES`].

use crate::{
    kinds,
    shape::Shape,
    table::{self, Column},
};
use serde_json::{Value, json};
use std::cmp::Ordering;

/// One kind of object and what is particular about it.
pub(crate) struct Resource {
    /// API group; empty is the core group.
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) singular: &'static str,
    pub(crate) short_names: &'static [&'static str],
    pub(crate) categories: &'static [&'static str],
    pub(crate) scope: Scope,
    pub(crate) origin: Origin,
    /// `status` is written through its own subresource, and only there.
    pub(crate) status: bool,
    /// Columns of `kubectl get`, after the name.
    pub(crate) columns: &'static [Column],
    /// Fields that a field selector may name, beyond name and namespace.
    pub(crate) selectable: &'static [&'static str],
    /// Lists and maps that are not merged in the ordinary way, beyond those of the metadata.
    pub(crate) shapes: &'static [(&'static str, Shape)],
    /// What only this kind does when it is written.
    pub(crate) rules: kinds::Rules,
    /// Fills in the answer of a kind that is a question: an object of it can be created only, and is not kept.
    pub(crate) review: Option<fn(&mut Value)>,
}

/// Whether objects live in a namespace.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Cluster,
    Namespaced,
}

/// How the real API server knows the kind; some of its habits differ between the two.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Compiled in: strategic merge patch, updates without a resource version.
    BuiltIn,
    /// From a CustomResourceDefinition: counts generations, wants a resource version on update.
    Custom,
}

const TEKTON: Resource = Resource {
    group: "tekton.dev",
    version: "v1",
    kind: "",
    plural: "",
    singular: "",
    short_names: &[],
    categories: &["tekton", "tekton-pipelines"],
    scope: Scope::Namespaced,
    origin: Origin::Custom,
    status: true,
    columns: table::AGE,
    selectable: &[],
    shapes: &[],
    rules: kinds::UNCHECKED,
    review: None,
};

/// Ours. The columns are those of the definitions in `shared/hooks`, which the real API server has.
const HOOKRUN: Resource = Resource {
    group: "hookrun.dev",
    version: "v1alpha1",
    categories: &["hookrun"],
    status: false,
    ..TEKTON
};

const CORE: Resource = Resource {
    group: "",
    version: "v1",
    kind: "",
    plural: "",
    singular: "",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    origin: Origin::BuiltIn,
    status: false,
    columns: table::AGE,
    selectable: &[],
    shapes: &[],
    rules: kinds::UNCHECKED,
    review: None,
};

const NAMESPACE: Resource = Resource {
    kind: "Namespace",
    plural: "namespaces",
    singular: "namespace",
    short_names: &["ns"],
    scope: Scope::Cluster,
    columns: table::NAMESPACE,
    selectable: &["status.phase"],
    shapes: &[("status.conditions", Shape::Keyed(&["type"]))],
    rules: kinds::NAMESPACE,
    ..CORE
};

/// The entry of the namespaces themselves, which every other object asks for.
pub(crate) static NAMESPACES: Resource = NAMESPACE;

/// Everything that is kept. In the order of `kubectl api-resources`.
pub(crate) static RESOURCES: &[Resource] = &[
    Resource {
        kind: "ConfigMap",
        plural: "configmaps",
        singular: "configmap",
        short_names: &["cm"],
        columns: table::CONFIG_MAP,
        rules: kinds::CONFIG_MAP,
        ..CORE
    },
    Resource {
        kind: "Event",
        plural: "events",
        singular: "event",
        short_names: &["ev"],
        columns: table::EVENT,
        selectable: &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        shapes: &[
            ("involvedObject", Shape::Atomic),
            ("related", Shape::Atomic),
        ],
        rules: kinds::EVENT,
        ..CORE
    },
    NAMESPACE,
    Resource {
        kind: "Secret",
        plural: "secrets",
        singular: "secret",
        columns: table::SECRET,
        selectable: &["type"],
        rules: kinds::SECRET,
        ..CORE
    },
    Resource {
        kind: "ServiceAccount",
        plural: "serviceaccounts",
        singular: "serviceaccount",
        short_names: &["sa"],
        shapes: &[
            ("secrets", Shape::Keyed(&["name"])),
            ("imagePullSecrets[]", Shape::Atomic),
        ],
        rules: kinds::SERVICE_ACCOUNT,
        ..CORE
    },
    Resource {
        group: "authorization.k8s.io",
        kind: "LocalSubjectAccessReview",
        plural: "localsubjectaccessreviews",
        singular: "localsubjectaccessreview",
        rules: kinds::LOCAL_SUBJECT_ACCESS_REVIEW,
        review: Some(kinds::allow),
        ..CORE
    },
    Resource {
        group: "authorization.k8s.io",
        kind: "SubjectAccessReview",
        plural: "subjectaccessreviews",
        singular: "subjectaccessreview",
        scope: Scope::Cluster,
        rules: kinds::SUBJECT_ACCESS_REVIEW,
        review: Some(kinds::allow),
        ..CORE
    },
    Resource {
        kind: "Delivery",
        plural: "deliveries",
        singular: "delivery",
        short_names: &["dv"],
        columns: table::DELIVERY,
        selectable: &["hook.name", "outcome", "eventType"],
        ..HOOKRUN
    },
    Resource {
        kind: "Hook",
        plural: "hooks",
        singular: "hook",
        short_names: &["hk"],
        status: true,
        columns: table::HOOK,
        shapes: &[("status.conditions", Shape::Keyed(&["type"]))],
        ..HOOKRUN
    },
    Resource {
        kind: "PipelineRun",
        plural: "pipelineruns",
        singular: "pipelinerun",
        short_names: &["pr", "prs"],
        columns: table::RUN,
        ..TEKTON
    },
    Resource {
        kind: "Pipeline",
        plural: "pipelines",
        singular: "pipeline",
        ..TEKTON
    },
    Resource {
        kind: "TaskRun",
        plural: "taskruns",
        singular: "taskrun",
        short_names: &["tr", "trs"],
        columns: table::RUN,
        shapes: &[("spec.computeResources.claims", Shape::Keyed(&["name"]))],
        ..TEKTON
    },
    Resource {
        kind: "Task",
        plural: "tasks",
        singular: "task",
        shapes: &[(
            "spec.stepTemplate.computeResources.claims",
            Shape::Keyed(&["name"]),
        )],
        ..TEKTON
    },
];

/// The entry of a path such as `/apis/<group>/<version>/<plural>`.
pub(crate) fn by_plural(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
    RESOURCES
        .iter()
        .find(|r| r.group == group && r.version == version && r.plural == plural)
}

/// The entry of an object's `apiVersion` and `kind`.
pub(crate) fn by_kind(api_version: &str, kind: &str) -> Option<&'static Resource> {
    RESOURCES
        .iter()
        .find(|r| r.kind == kind && r.api_version() == api_version)
}

impl Resource {
    /// `v1`, `tekton.dev/v1`.
    pub(crate) fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// `secrets`, `tasks.tekton.dev`: how messages name the resource.
    pub(crate) fn qualified(&self) -> String {
        self.with_group(self.plural)
    }

    /// `Secret`, `Task.tekton.dev`: how messages name the kind.
    pub(crate) fn qualified_kind(&self) -> String {
        self.with_group(self.kind)
    }

    fn with_group(&self, word: &str) -> String {
        match self.group {
            "" => word.to_owned(),
            group => format!("{word}.{group}"),
        }
    }

    /// The `details` of a Status; whether `kind` is the kind or the resource depends on the message.
    pub(crate) fn details(&self, name: &str, kind: &str) -> Value {
        let mut details = json!({ "kind": kind });
        if !name.is_empty() {
            details["name"] = name.into();
        }
        if !self.group.is_empty() {
            details["group"] = self.group.into();
        }
        details
    }

    /// The path that lists all objects of this kind in all namespaces.
    pub(crate) fn group_path(&self) -> String {
        match self.group {
            "" => format!("/api/{}", self.version),
            group => format!("/apis/{group}/{}", self.version),
        }
    }
}

impl PartialEq for Resource {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Resource {}

impl PartialOrd for Resource {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Resource {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.group, self.plural).cmp(&(other.group, other.plural))
    }
}
