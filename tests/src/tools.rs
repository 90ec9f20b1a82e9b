//! The commands of the executable as a newcomer uses them: `dev`, `run`, `convert`, `completions`, and what they say.

use std::{
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use control_plane::{Process, eventually, free_ports};
use serde_json::{Value, json};

use crate::{
    case::{Case, case},
    function::{PASSWORD, USER, executable, repository},
    registry::Registry,
    support::{Scene, ask},
};

/// The cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    vec![
        case(
            "tools::the_readme_s_first_try_works_without_a_cluster",
            async |cluster| {
                let folder = tempfile::tempdir()?;
                let dev = Dev::start(folder.path(), &[]).await?;
                let example = repository().join("examples/nightly-scan.json");
                let answer = ask(reqwest::Client::new()
                    .post(dev.url("/flow"))
                    .body(std::fs::read(&example)?))
                .await?;
                let run = answer.run()?.to_owned();

                let kubectl = |arguments: &[&str]| {
                    let mut command = Command::new(cluster.programs().path("kubectl"));
                    let server = dev.url("");
                    command
                        .env("HOME", folder.path())
                        .args(["--server", &server])
                        .args(arguments)
                        .output()
                };
                let runs = kubectl(&["get", "pipelineruns"])?;
                ensure!(text(&runs).contains(&run), "{runs:?}");
                let objects = kubectl(&[
                    "get",
                    "tasks,pipelines,secrets",
                    "-l",
                    "hookrun.dev/flow=nightly-scan",
                    "-o",
                    "name",
                ])?;
                for name in [
                    "nightly-scan-build-task",
                    "nightly-scan-pl",
                    "nightly-scan-creds-secret",
                    &format!("{run}-files-secret"),
                ] {
                    ensure!(
                        text(&objects).contains(name),
                        "{name} is not in {objects:?}"
                    );
                }

                let posted = tool(folder.path(), &["run", "--url", &dev.url("")], &example)?;
                ensure!(posted.status.code() == Some(0), "{posted:?}");
                ensure!(
                    errors(&posted).contains("created")
                        && errors(&posted).contains("nothing executes it"),
                    "{posted:?}"
                );
                Ok(())
            },
        ),
        case(
            "tools::what_dev_keeps_is_there_again_after_a_restart",
            async |_| {
                let folder = tempfile::tempdir()?;
                let flows = folder.path().join("objects/flows");
                let first = Dev::start(folder.path(), &[]).await?;
                std::fs::copy(
                    repository().join("examples/nightly-scan.json"),
                    flows.join("scan.json"),
                )?;
                let event = |dev: &Dev| {
                    let request = reqwest::Client::new().post(dev.url("/flow/key/scan/ns/default"));
                    request.header("idempotency-key", "one").body("payload")
                };
                let run = ask(event(&first)).await?.run()?.to_owned();
                drop(first);
                let second = Dev::start(folder.path(), &[]).await?;
                ensure!(ask(event(&second)).await?.run()? == run);
                Ok(())
            },
        ),
        case(
            "tools::dev_uses_a_cluster_only_when_the_command_line_says_so",
            async |cluster| {
                let kubeconfig = cluster
                    .folder()
                    .join("admin.kubeconfig")
                    .display()
                    .to_string();
                let namespace = cluster.namespace("dev").await?;
                let flow =
                    crate::support::flow("x", &namespace, json!([crate::support::step("s")]));
                let folder = tempfile::tempdir()?;

                let by_variable = Dev::start(folder.path(), &[("KUBECONFIG", &kubeconfig)]).await?;
                let version = reqwest::get(by_variable.url("/version"))
                    .await?
                    .bytes()
                    .await?;
                let version: Value = serde_json::from_slice(&version)?;
                ensure!(
                    version["gitVersion"]
                        .as_str()
                        .is_some_and(|version| version.contains("hookrun")),
                    "{version}"
                );
                drop(by_variable);

                let by_flag =
                    Dev::start_with(folder.path(), &["--kubeconfig", &kubeconfig], &[]).await?;
                let run = ask(reqwest::Client::new()
                    .post(by_flag.url("/flow"))
                    .body(flow.to_string()))
                .await?;
                let objects = crate::support::objects::Objects::of(cluster.admin(), &namespace);
                objects.get("PipelineRun", run.run()?).await?;
                Ok(())
            },
        ),
        case(
            "tools::a_followed_run_ends_with_its_verdict",
            async |cluster| {
                let scene = Scene::new(&cluster).await?;
                let registry = Registry::start().await?;
                let folder = tempfile::tempdir()?;
                let kubeconfig = cluster
                    .folder()
                    .join("admin.kubeconfig")
                    .display()
                    .to_string();
                for (name, status, code) in [("good", "True", 0), ("bad", "False", 1)] {
                    let mut flow = scene.plain_flow(name);
                    flow["steps"][0]["runtime"] = registry.image().into();
                    let file = folder.path().join(format!("{name}.json"));
                    std::fs::write(&file, flow.to_string())?;
                    let mut command = Command::new(executable());
                    command
                        .args([
                            "run",
                            "--url",
                            &scene.function.url(),
                            "--username",
                            USER,
                            "--kubeconfig",
                            &kubeconfig,
                        ])
                        .arg(&file)
                        .env("HOOKRUN_PASSWORD", PASSWORD);
                    let mut process = Process::start(
                        "hookrun run",
                        command,
                        &folder.path().join(format!("{name}.log")),
                    )?;
                    let run =
                        eventually("the run is created", Duration::from_secs(60), async || {
                            let runs = scene
                                .objects
                                .selected("PipelineRun", &format!("hookrun.dev/flow={name}"))
                                .await?;
                            Ok(runs.into_iter().next())
                        })
                        .await?;
                    let run = crate::support::objects::name(&run).to_owned();
                    // There is no node: the pod of the run ends by its status, as a kubelet would write it.
                    end_pods(&scene, &run, status).await?;
                    let ended =
                        eventually("the command ends", Duration::from_secs(60), async || {
                            process.ended()
                        })
                        .await?;
                    ensure!(
                        ended.code() == Some(code),
                        "{name}: {ended:?}\n{}",
                        process.output()
                    );
                    ensure!(process.output().contains("created"), "{}", process.output());
                }
                Ok(())
            },
        ),
        case(
            "tools::convert_prints_objects_or_problems_with_their_lines",
            async |_| {
                let folder = tempfile::tempdir()?;
                let good = tool(
                    folder.path(),
                    &["convert", "artisan"],
                    &repository().join("examples/git-build.json"),
                )?;
                ensure!(
                    good.status.success()
                        && text(&good).starts_with("---\napiVersion: tekton.dev/v1\nkind: Task\n"),
                    "{good:?}"
                );

                let file = folder.path().join("bad.json");
                std::fs::write(
                    &file,
                    "{\"name\": \"x\",\n \"labels\": {\"namespace\": \"n\"},\n \"steps\": [{\"name\": 5}]}",
                )?;
                let bad = tool(folder.path(), &["convert", "artisan"], &file)?;
                ensure!(
                    bad.status.code() == Some(1) && bad.stdout.is_empty(),
                    "{bad:?}"
                );
                ensure!(
                    errors(&bad).contains("bad.json:3:")
                        && errors(&bad).contains("$.steps[0].name"),
                    "{bad:?}"
                );
                Ok(())
            },
        ),
        case(
            "tools::what_cannot_be_started_has_an_exit_code_of_its_own",
            async |_| {
                let folder = tempfile::tempdir()?;
                let example = repository().join("examples/nightly-scan.json");
                let nobody = tool(
                    folder.path(),
                    &["run", "--url", "http://127.0.0.1:1"],
                    &example,
                )?;
                ensure!(
                    nobody.status.code() == Some(2)
                        && errors(&nobody).contains("cannot reach the flow function"),
                    "{nobody:?}"
                );
                Ok(())
            },
        ),
        case(
            "tools::completions_are_printed_for_every_shell",
            async |_| {
                for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
                    let output = Command::new(executable())
                        .args(["completions", shell])
                        .output()?;
                    ensure!(
                        output.status.success() && text(&output).contains("hookrun"),
                        "{shell}: {output:?}"
                    );
                }
                Ok(())
            },
        ),
    ]
}

/// `hookrun dev`, running.
pub(crate) struct Dev {
    _process: Process,
    url: String,
}

impl Dev {
    pub(crate) async fn start(folder: &Path, environment: &[(&str, &str)]) -> Result<Self> {
        Self::start_with(folder, &[], environment).await
    }

    async fn start_with(
        folder: &Path,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Self> {
        let [port] = free_ports()?;
        let mut command = Command::new(executable());
        command
            .args(["dev", "--port", &port.to_string(), "--folder"])
            .arg(folder.join("objects"))
            .args(arguments)
            .env_remove("KUBECONFIG")
            .env_remove("KUBERNETES_SERVICE_HOST")
            .envs(environment.iter().copied());
        let mut process = Process::start("hookrun dev", command, &folder.join("dev.log"))?;
        let url = format!("http://127.0.0.1:{port}");
        eventually(
            "hookrun dev is ready",
            Duration::from_secs(30),
            async || {
                ensure!(process.ended()?.is_none(), "it ended: {}", process.output());
                let ready = reqwest::get(format!("{url}/readyz")).await;
                Ok(ready.ok().filter(|answer| answer.status().is_success()))
            },
        )
        .await?;
        Ok(Self {
            _process: process,
            url,
        })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }
}

/// A command of the executable with a file as its last argument.
fn tool(home: &Path, arguments: &[&str], file: &Path) -> Result<Output> {
    let mut command = Command::new(executable());
    command
        .env("HOME", home)
        .env_remove("KUBECONFIG")
        .args(arguments)
        .arg(file);
    command.output().context("hookrun does not start")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Ends the pods of a run as a kubelet would: every container terminated.
async fn end_pods(scene: &Scene, run: &str, verdict: &str) -> Result<()> {
    let pod = eventually("the run has its pod", Duration::from_secs(90), async || {
        let pods = scene
            .objects
            .selected("Pod", &format!("tekton.dev/pipelineRun={run}"))
            .await?;
        Ok(pods.into_iter().next())
    })
    .await?;
    let name = crate::support::objects::name(&pod);
    let (phase, exit) = if verdict == "True" {
        ("Succeeded", 0)
    } else {
        ("Failed", 1)
    };
    let ended = json!({"terminated": {"exitCode": exit, "reason": if exit == 0 { "Completed" } else { "Error" },
        "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:01Z"}});
    let statuses: Vec<Value> = pod["spec"]["containers"]
        .as_array()
        .context("no containers")?
        .iter()
        .map(|container| {
            json!({"name": container["name"], "image": container["image"], "imageID": "sha256:0", "ready": false,
                "restartCount": 0, "state": ended})
        })
        .collect();
    let status = json!({"status": {"phase": phase, "containerStatuses": statuses}});
    scene
        .objects
        .merge("Pod", &format!("{name}/status"), status)
        .await?;
    Ok(())
}
