//! Commands that show: `version`, `api-resources`, `get` in all its forms, `get -w`, `describe`.

use super::{Kubectl, OBJECTS, lines, wait_for};
use anyhow::{Context, Result, ensure};

pub(super) fn the_server_tells_what_it_is(kubectl: &Kubectl) -> Result<()> {
    kubectl.shows(
        &["version"],
        &[&["Client", "Version:"], &["Server", "Version:"]],
    )?;
    let resources = kubectl.ok(&["api-resources", "--no-headers"], "")?;
    for line in [
        "configmaps cm v1 true ConfigMap",
        "events ev v1 true Event",
        "namespaces ns v1 false Namespace",
        "secrets v1 true Secret",
        "serviceaccounts sa v1 true ServiceAccount",
        "pipelineruns pr,prs tekton.dev/v1 true PipelineRun",
        "pipelines tekton.dev/v1 true Pipeline",
        "taskruns tr,trs tekton.dev/v1 true TaskRun",
        "tasks tekton.dev/v1 true Task",
    ] {
        let words: Vec<&str> = line.split_whitespace().collect();
        let found = resources
            .lines()
            .any(|l| l.split_whitespace().collect::<Vec<_>>() == words);
        ensure!(found, "{line} is not in:\n{resources}");
    }
    kubectl.fails(
        &["get", "nonsense"],
        "",
        "the server doesn't have a resource type \"nonsense\"",
    )
}

pub(super) fn objects_are_shown_in_every_form(kubectl: &Kubectl) -> Result<()> {
    kubectl.ok(&["create", "-f", "-"], OBJECTS)?;
    let condition = r#"{"status":{"startTime":"2026-01-01T00:00:00Z","conditions":[{"type":"Succeeded","status":"Unknown","reason":"Running","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}"#;
    kubectl.ok(
        &[
            "patch",
            "pipelinerun",
            "run",
            "--subresource=status",
            "--type=merge",
            "-p",
            condition,
        ],
        "",
    )?;
    kubectl.shows(
        &["get", "pipelineruns"],
        &[
            &["NAME", "SUCCEEDED", "REASON", "STARTTIME", "COMPLETIONTIME"],
            &["run", "Unknown", "Running"],
        ],
    )?;
    kubectl.shows(
        &["get", "pr", "run", "-o", "wide"],
        &[&["run", "Unknown", "Running"]],
    )?;
    kubectl.shows(&["get", "tasks"], &[&["NAME", "AGE"], &["build"]])?;
    kubectl.shows(
        &["get", "secrets", "keys"],
        &[&["NAME", "TYPE", "DATA", "AGE"], &["keys", "Opaque", "1"]],
    )?;
    kubectl.shows(
        &["get", "pipelineruns,secrets,configmaps"],
        &[
            &["pipelinerun.tekton.dev/run", "Unknown"],
            &["secret/keys", "Opaque"],
            &["configmap/settings", "1"],
        ],
    )?;
    kubectl.shows(
        &["get", "tekton"],
        &[&["pipelinerun.tekton.dev/run"], &["task.tekton.dev/build"]],
    )?;
    kubectl.shows(
        &["get", "pipelineruns", "-A"],
        &[&["NAMESPACE", "NAME"], &[&kubectl.namespace, "run"]],
    )?;
    kubectl.shows(
        &["get", "pr", "--show-labels"],
        &[&["NAME"], &["run", "Unknown", "Running"]],
    )?;
    kubectl.says(
        &[
            "get",
            "secrets,tasks",
            "-l",
            "hookrun.dev/flow=a",
            "-o",
            "name",
        ],
        "",
        &["secret/keys", "task.tekton.dev/build"],
    )?;
    kubectl.says(
        &["get", "secrets", "-l", "hookrun.dev/flow=b", "-o", "name"],
        "",
        &[],
    )?;
    kubectl.says(
        &[
            "get",
            "secrets",
            "--field-selector",
            "metadata.name=keys",
            "-o",
            "name",
        ],
        "",
        &["secret/keys"],
    )?;
    kubectl.says(
        &["get", "pr", "run", "-o", "jsonpath={.spec.managedBy}"],
        "",
        &["suite.dev/nobody"],
    )?;
    kubectl.says(
        &[
            "get",
            "pr",
            "-o",
            "custom-columns=N:.metadata.name,M:.spec.managedBy",
        ],
        "",
        &["N     M", "run   suite.dev/nobody"],
    )?;
    let yaml = kubectl.ok(&["get", "configmap", "settings", "-o", "yaml"], "")?;
    ensure!(
        yaml.starts_with(
            "apiVersion: v1\ndata:\n  k: v\nkind: ConfigMap\nmetadata:\n  creationTimestamp: "
        ),
        "{yaml}"
    );
    let json: serde_json::Value = serde_json::from_str(&kubectl.ok(
        &[
            "get",
            "secrets,tasks",
            "-l",
            "hookrun.dev/flow=a",
            "-o",
            "json",
        ],
        "",
    )?)?;
    ensure!(
        json["kind"] == "List" && json["items"].as_array().is_some_and(|i| i.len() == 2),
        "{json}"
    );
    kubectl.fails(
        &["get", "pr", "none"],
        "",
        "Error from server (NotFound): pipelineruns.tekton.dev \"none\" not found",
    )?;
    kubectl.says(&["get", "taskruns", "-o", "name"], "", &[])
}

pub(super) fn objects_are_described(kubectl: &Kubectl) -> Result<()> {
    kubectl.ok(&["create", "-f", "-"], OBJECTS)?;
    let event = r"
apiVersion: v1
kind: Event
metadata: {name: told}
involvedObject: {apiVersion: tekton.dev/v1, kind: PipelineRun, name: run, namespace: NAMESPACE, uid: UID}
reason: Told
message: something was told
type: Normal
count: 1
source: {component: suite}
";
    let uid = kubectl.ok(&["get", "pr", "run", "-o", "jsonpath={.metadata.uid}"], "")?;
    let event = event
        .replace("NAMESPACE", &kubectl.namespace)
        .replace("UID", &uid);
    kubectl.ok(&["create", "-f", "-"], &event)?;
    kubectl.shows(
        &["describe", "pipelinerun", "run"],
        &[
            &["Name:", "run"],
            &["Namespace:", &kubectl.namespace],
            &["Labels:", "hookrun.dev/flow=a"],
            &["API", "Version:", "tekton.dev/v1"],
            &["Kind:", "PipelineRun"],
            &["Spec:"],
            &["Events:"],
            &["Normal", "Told"],
        ],
    )?;
    kubectl.shows(
        &["describe", "task/build"],
        &[&["Kind:", "Task"], &["Events:", "<none>"]],
    )?;
    kubectl.shows(
        &["describe", "secret", "keys"],
        &[&["Type:", "Opaque"], &["k:", "1", "bytes"]],
    )?;
    kubectl.shows(
        &["describe", "configmap", "settings"],
        &[&["Name:", "settings"], &["k:"], &["v"]],
    )?;
    let hook = "{apiVersion: hookrun.dev/v1alpha1, kind: Hook, metadata: {name: shop}, spec: {provider: github}}";
    kubectl.ok(&["create", "-f", "-"], hook)?;
    kubectl.shows(
        &["describe", "hook", "shop"],
        &[
            &["Kind:", "Hook"],
            &["Provider:", "github"],
            &["Events:", "<none>"],
        ],
    )?;
    kubectl.shows(
        &["get", "events"],
        &[&["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]],
    )?;
    let events = kubectl.ok(&["get", "events", "--no-headers"], "")?;
    ensure!(
        events.contains("Told") && events.contains("pipelinerun/run"),
        "{events}"
    );
    Ok(())
}

pub(super) fn changes_are_followed(kubectl: &Kubectl) -> Result<()> {
    kubectl.ok(&["create", "-f", "-"], OBJECTS)?;
    let mut watch = kubectl.command(&["get", "pipelineruns", "-w"]).spawn()?;
    let lines = lines(watch.stdout.take().context("no output")?);
    let follow = || -> Result<()> {
        wait_for(
            &lines,
            &["NAME", "SUCCEEDED", "REASON", "STARTTIME", "COMPLETIONTIME"],
        )?;
        wait_for(&lines, &["run"])?;
        let condition = r#"{"status":{"conditions":[{"type":"Succeeded","status":"True","reason":"Done","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}"#;
        kubectl.ok(
            &[
                "patch",
                "pr",
                "run",
                "--subresource=status",
                "--type=merge",
                "-p",
                condition,
            ],
            "",
        )?;
        wait_for(&lines, &["run", "True", "Done"])?;
        kubectl.ok(
            &["create", "-f", "-"],
            &OBJECTS
                .replace("name: run", "name: second")
                .replace("name: build,", "name: b2,")
                .replace("name: keys", "name: k2")
                .replace("name: settings", "name: s2"),
        )?;
        wait_for(&lines, &["second"])
    };
    let followed = follow();
    watch.kill()?;
    watch.wait()?;
    followed
}
