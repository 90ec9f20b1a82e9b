//! Commands that write: `apply`, `create`, `patch`, `label`, `annotate`, `replace`, `delete`.

use super::{Kubectl, OBJECTS};
use anyhow::{Result, ensure};

pub(super) fn files_are_applied(kubectl: &Kubectl) -> Result<()> {
    let apply = ["apply", "-f", "-"];
    let created = [
        "task.tekton.dev/build created",
        "pipelinerun.tekton.dev/run created",
        "secret/keys created",
        "configmap/settings created",
    ];
    kubectl.says(
        &["apply", "--dry-run=server", "-f", "-"],
        OBJECTS,
        &created
            .map(|l| format!("{l} (server dry run)"))
            .each_ref()
            .map(String::as_str),
    )?;
    kubectl.says(&apply, OBJECTS, &created)?;
    let again = kubectl.ok(&apply, OBJECTS)?;
    ensure!(
        again.contains("secret/keys unchanged\nconfigmap/settings unchanged\n"),
        "{again}"
    );
    let changed = kubectl.ok(
        &apply,
        &OBJECTS
            .replace("{k: v}", "{l: w}")
            .replace("echo hi", "echo ho"),
    )?;
    ensure!(
        changed.contains("task.tekton.dev/build configured\n"),
        "{changed}"
    );
    ensure!(
        changed.contains("configmap/settings configured\n"),
        "{changed}"
    );
    kubectl.says(
        &["get", "configmap", "settings", "-o", "jsonpath={.data}"],
        "",
        &["{\"l\":\"w\"}"],
    )?;
    kubectl.says(
        &[
            "get",
            "task",
            "build",
            "-o",
            "jsonpath={.spec.steps[0].script}",
        ],
        "",
        &["echo ho"],
    )?;
    let bad = OBJECTS.replace("name: settings", "name: settings, nonsense: 1");
    kubectl.fails(&apply, &bad, "unknown field \"metadata.nonsense\"")
}

pub(super) fn files_are_applied_by_the_server(kubectl: &Kubectl) -> Result<()> {
    let apply = ["apply", "--server-side", "-f", "-"];
    let lines = [
        "task.tekton.dev/build serverside-applied",
        "pipelinerun.tekton.dev/run serverside-applied",
        "secret/keys serverside-applied",
        "configmap/settings serverside-applied",
    ];
    kubectl.says(&apply, OBJECTS, &lines)?;
    kubectl.says(&apply, OBJECTS, &lines)?;
    let other = ["apply", "--server-side", "--field-manager=other", "-f", "-"];
    let changed = OBJECTS.replace("{k: v}", "{k: w}");
    kubectl.fails(
        &other,
        &changed,
        "Apply failed with 1 conflict: conflict with \"kubectl\": .data.k",
    )?;
    kubectl.ok(&[&other[..], &["--force-conflicts"]].concat(), &changed)?;
    kubectl.says(
        &["get", "configmap", "settings", "-o", "jsonpath={.data.k}"],
        "",
        &["w"],
    )?;
    // What was applied by the client before is taken over.
    kubectl.ok(
        &["apply", "-f", "-"],
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: old}, data: {k: v}}",
    )?;
    kubectl.ok(
        &apply,
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: old}, data: {l: v}}",
    )?;
    kubectl.says(
        &["get", "configmap", "old", "-o", "jsonpath={.data}"],
        "",
        &["{\"l\":\"v\"}"],
    )
}

pub(super) fn objects_are_created_by_commands(kubectl: &Kubectl) -> Result<()> {
    let namespace = format!("{}-more", kubectl.namespace);
    kubectl.says(
        &["create", "namespace", &namespace],
        "",
        &[&format!("namespace/{namespace} created")],
    )?;
    kubectl.shows(
        &["get", "namespace", &namespace],
        &[&[&namespace, "Active"]],
    )?;
    kubectl.says(
        &["create", "secret", "generic", "s", "--from-literal=k=v"],
        "",
        &["secret/s created"],
    )?;
    kubectl.says(
        &["get", "secret", "s", "-o", "jsonpath={.data.k}"],
        "",
        &["dg=="],
    )?;
    kubectl.says(
        &["create", "configmap", "c", "--from-literal=k=v"],
        "",
        &["configmap/c created"],
    )?;
    kubectl.says(
        &["get", "configmap", "c", "-o", "jsonpath={.data.k}"],
        "",
        &["v"],
    )?;
    kubectl.says(
        &["create", "serviceaccount", "bot"],
        "",
        &["serviceaccount/bot created"],
    )?;
    kubectl.shows(
        &["get", "serviceaccount", "bot"],
        &[&["NAME", "AGE"], &["bot"]],
    )?;
    kubectl.fails(
        &["create", "secret", "generic", "s", "--from-literal=k=v"],
        "",
        "secrets \"s\" already exists",
    )?;
    kubectl.says(
        &["delete", "namespace", &namespace],
        "",
        &[&format!("namespace \"{namespace}\" deleted")],
    )
}

pub(super) fn objects_are_created_from_files(kubectl: &Kubectl) -> Result<()> {
    let create = ["create", "-f", "-"];
    let created = [
        "task.tekton.dev/build created",
        "pipelinerun.tekton.dev/run created",
        "secret/keys created",
        "configmap/settings created",
    ];
    kubectl.says(&create, OBJECTS, &created)?;
    kubectl.fails(
        &create,
        OBJECTS,
        "(AlreadyExists): error when creating \"STDIN\": tasks.tekton.dev \"build\" already exists",
    )?;
    let generated = OBJECTS.replace("name: run,", "generateName: run-,");
    let (_, output, _) = kubectl.run(&create, &generated)?;
    ensure!(
        output.starts_with("pipelinerun.tekton.dev/run-"),
        "{output}"
    );
    kubectl.fails(
        &create,
        "{apiVersion: v1, kind: Secret, metadata: {name: A}}",
        "The Secret \"A\" is invalid: metadata.name: Invalid value: \"A\": a lowercase RFC 1123 subdomain",
    )
}

pub(super) fn objects_are_changed(kubectl: &Kubectl) -> Result<()> {
    kubectl.ok(&["create", "-f", "-"], OBJECTS)?;
    kubectl.says(
        &["label", "pr", "run", "x=y"],
        "",
        &["pipelinerun.tekton.dev/run labeled"],
    )?;
    kubectl.says(
        &["label", "pr", "run", "x-"],
        "",
        &["pipelinerun.tekton.dev/run unlabeled"],
    )?;
    kubectl.says(
        &["annotate", "secret", "keys", "x=y"],
        "",
        &["secret/keys annotated"],
    )?;
    kubectl.says(
        &[
            "get",
            "secret",
            "keys",
            "-o",
            "jsonpath={.metadata.annotations.x}",
        ],
        "",
        &["y"],
    )?;
    let patched = ["task.tekton.dev/build patched"];
    kubectl.says(
        &[
            "patch",
            "task",
            "build",
            "--type=merge",
            "-p",
            r#"{"spec":{"description":"d"}}"#,
        ],
        "",
        &patched,
    )?;
    let patch = r#"[{"op":"test","path":"/spec/description","value":"d"},{"op":"remove","path":"/spec/description"}]"#;
    kubectl.says(
        &["patch", "task", "build", "--type=json", "-p", patch],
        "",
        &patched,
    )?;
    kubectl.fails(
        &["patch", "task", "build", "--type=json", "-p", patch],
        "",
        "The request is invalid: the server rejected our request due to an error in our request",
    )?;
    kubectl.says(
        &[
            "patch",
            "secret",
            "keys",
            "-p",
            r#"{"stringData":{"l":"w"}}"#,
        ],
        "",
        &["secret/keys patched"],
    )?;
    kubectl.says(
        &["get", "secret", "keys", "-o", "jsonpath={.data.l}"],
        "",
        &["dw=="],
    )?;
    let settings = "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {l: w}}";
    kubectl.says(
        &["replace", "-f", "-"],
        settings,
        &["configmap/settings replaced"],
    )?;
    kubectl.says(
        &["get", "configmap", "settings", "-o", "jsonpath={.data}"],
        "",
        &["{\"l\":\"w\"}"],
    )
}

pub(super) fn objects_are_deleted(kubectl: &Kubectl) -> Result<()> {
    kubectl.ok(&["create", "-f", "-"], OBJECTS)?;
    let uid = kubectl.ok(&["get", "pr", "run", "-o", "jsonpath={.metadata.uid}"], "")?;
    let owned = format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: owned, ownerReferences: [{{apiVersion: tekton.dev/v1, kind: PipelineRun, name: run, uid: {uid}}}]}}}}"
    );
    kubectl.ok(&["create", "-f", "-"], &owned)?;
    let deleted = |what: &str, name: &str| {
        format!(
            "{what} \"{name}\" deleted from {} namespace",
            kubectl.namespace
        )
    };
    kubectl.says(
        &["delete", "pr", "run", "--dry-run=server"],
        "",
        &[&format!(
            "{} (server dry run)",
            deleted("pipelinerun.tekton.dev", "run")
        )],
    )?;
    kubectl.says(
        &["delete", "pr", "run"],
        "",
        &[&deleted("pipelinerun.tekton.dev", "run")],
    )?;
    kubectl.ok(
        &["wait", "--for=delete", "secret/owned", "--timeout=60s"],
        "",
    )?;
    kubectl.fails(
        &["get", "secret", "owned"],
        "",
        "secrets \"owned\" not found",
    )?;
    kubectl.says(
        &["delete", "secrets", "-l", "hookrun.dev/flow=a"],
        "",
        &[&deleted("secret", "keys")],
    )?;
    kubectl.says(
        &["delete", "-f", "-", "--ignore-not-found"],
        OBJECTS,
        &[
            &deleted("task.tekton.dev", "build"),
            &deleted("configmap", "settings"),
        ],
    )?;
    kubectl.fails(
        &["delete", "task", "build"],
        "",
        "tasks.tekton.dev \"build\" not found",
    )?;
    kubectl.ok(&["create", "configmap", "one"], "")?;
    kubectl.says(
        &["delete", "configmap", "one", "--cascade=foreground"],
        "",
        &[&deleted("configmap", "one")],
    )?;
    kubectl.ok(&["create", "-f", "-"], OBJECTS)?;
    kubectl.says(
        &["delete", "tasks", "--all"],
        "",
        &[&deleted("task.tekton.dev", "build")],
    )
}
