//! What becomes of runs: privileged or not, from a git repository, failed, timed out, cancelled, with results.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use control_plane::until;
use serde_json::{Value, json};
use system_tests::{case::Case, support::ask};

use crate::{
    artisan::{flow, hookrun_run, step, until_run},
    install::MAIN,
    world::{PATIENCE, PRIVILEGED, RUNS, World, case, succeeded},
};

pub(crate) fn cases() -> Vec<Case<World>> {
    vec![
        case(
            "runs::steps_are_privileged_only_where_the_namespace_allows_it",
            240,
            MAIN,
            privileged,
        ),
        case("runs::git_source_is_cloned_with_its_login", 300, MAIN, git),
        case(
            "runs::failing_step_ends_the_run_and_hookrun_run_tells_it",
            240,
            MAIN,
            failing,
        ),
        case(
            "runs::results_and_a_timeout_are_those_of_the_pipeline_that_was_run_by_name",
            240,
            MAIN,
            by_name,
        ),
        case("runs::cancelled_run_ends_its_pod", 240, MAIN, cancelled),
    ]
}

async fn privileged(world: Arc<World>) -> Result<()> {
    let gateway = world.reach(&world.main)?;
    let mut step = step(&world, "who", "id -u; grep CapEff /proc/self/status");
    let post = async |step: &Value, namespace: &str| {
        ask(gateway
            .post("/flow")
            .body(flow("e2e-privileged", namespace, std::slice::from_ref(step)).to_string()))
        .await
    };
    let plain = post(&step, PRIVILEGED).await?.run()?.to_owned();
    step["privileged"] = true.into();
    let refused = post(&step, RUNS).await?;
    ensure!(
        refused.status == 403 && refused.text.contains("who"),
        "{refused:?}"
    );
    let allowed = post(&step, PRIVILEGED).await?.run()?.to_owned();

    world.succeeds(PRIVILEGED, &plain).await?;
    let log = world.log(PRIVILEGED, &plain).await?;
    ensure!(
        log.contains("100000000") && capabilities(&log) == Some(0),
        "{log}"
    );
    world.succeeds(PRIVILEGED, &allowed).await?;
    let log = world.log(PRIVILEGED, &allowed).await?;
    // CAP_SYS_ADMIN, the one that says it all.
    let whole = capabilities(&log).is_some_and(|capabilities| capabilities & 1 << 21 != 0);
    ensure!(log.lines().any(|line| line == "0") && whole, "{log}");
    Ok(())
}

/// The capabilities that a step has told.
fn capabilities(log: &str) -> Option<u64> {
    let line = log.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// A repository with one commit on `main` and one more on `next`, served as plain files with a login.
const GIT_SERVER: &str = r#"
export HOME=/tmp
git config --global user.name e2e
git config --global user.email e2e@example.com
git init --quiet --initial-branch main /tmp/work
cd /tmp/work
echo "hello from main" > greeting
git add greeting
git commit --quiet --message one
git checkout --quiet -b next
echo "hello from next" > greeting
git commit --quiet --all --message two
git checkout --quiet main
mkdir /tmp/www
cp -r .git /tmp/www/parts.git
git --git-dir /tmp/www/parts.git update-server-info
echo '/:ci:open-sesame' > /tmp/httpd.conf
exec httpd -f -vv -p 8080 -h /tmp/www -c /tmp/httpd.conf
"#;

async fn git(world: Arc<World>) -> Result<()> {
    world.serve("git", RUNS, GIT_SERVER).await?;
    let gateway = world.reach(&world.main)?;
    let mut flow = flow(
        "e2e-git",
        RUNS,
        &[json!({
            "name": "look",
            "runtime": world.tools.step,
            "function": "look",
            "input": {"var": [{"name": "SCRIPT", "value": "cat greeting; ls -a"}]},
        })],
    );
    flow["git"] = json!({
        "git_uri": format!("http://git.{RUNS}.svc.cluster.local:8080/parts.git"),
        "git_branch": "next",
        "git_login": "ci",
        "git_password": "open-sesame",
    });
    let run = ask(gateway.post("/flow").body(flow.to_string()))
        .await?
        .run()?
        .to_owned();
    world.succeeds(RUNS, &run).await?;
    let log = world.log(RUNS, &run).await?;
    ensure!(
        log.contains("hello from next") && log.contains("cloned "),
        "{log}"
    );
    ensure!(
        !log.contains("sesame"),
        "the password is in the log:\n{log}"
    );

    flow["git"]["git_password"] = "wrong".into();
    let run = ask(gateway.post("/flow").body(flow.to_string()))
        .await?
        .run()?
        .to_owned();
    let ended = world.ended(RUNS, &run).await?;
    ensure!(
        succeeded(&ended)["status"] == "False",
        "{:#}",
        succeeded(&ended)
    );
    Ok(())
}

async fn failing(world: Arc<World>) -> Result<()> {
    let steps = [
        step(&world, "breaks", "echo before; exit 3"),
        step(&world, "after", "echo after"),
    ];
    let (code, told) = hookrun_run(&world, &flow("e2e-failing", RUNS, &steps)).await?;
    ensure!(
        code == Some(1) && told.contains("step breaks") && told.contains("exit code 3"),
        "{code:?}:\n{told}"
    );
    let runs = world
        .objects(RUNS)
        .selected("PipelineRun", "hookrun.dev/flow=e2e-failing")
        .await?;
    ensure!(runs.len() == 1, "{} runs", runs.len());
    let verdict = succeeded(&runs[0]);
    ensure!(
        verdict["status"] == "False" && verdict["reason"] == "Failed",
        "{verdict:#}"
    );
    let log = world
        .log(RUNS, system_tests::support::objects::name(&runs[0]))
        .await?;
    ensure!(
        log.contains("before") && !log.lines().any(|line| line == "after"),
        "{log}"
    );
    Ok(())
}

async fn by_name(world: Arc<World>) -> Result<()> {
    let task = |name: &str, script: &str| {
        json!({
            "apiVersion": "tekton.dev/v1", "kind": "Task", "metadata": {"name": name, "namespace": RUNS},
            "spec": {
                "results": [{"name": "answer"}],
                "steps": [{"name": "think", "image": world.tools.pod, "script": script}],
            },
        })
    };
    let pipeline = |flow: &str, task: &str, timeout: &str| {
        json!({
            "apiVersion": "tekton.dev/v1", "kind": "Pipeline", "metadata": {"name": format!("{flow}-pl"), "namespace": RUNS},
            "spec": {
                "results": [{"name": "answer", "value": "$(tasks.work.results.answer)"}],
                "tasks": [{"name": "work", "taskRef": {"name": task}, "timeout": timeout}],
            },
        })
    };
    for object in [
        task(
            "e2e-think",
            "#!/bin/sh\nprintf 42 > $(results.answer.path)\n",
        ),
        task("e2e-dream", "#!/bin/sh\nsleep 600\n"),
        pipeline("e2e-think", "e2e-think", "5m"),
        pipeline("e2e-dream", "e2e-dream", "5s"),
    ] {
        world.apply(&object).await?;
    }
    let gateway = world.reach(&world.main)?;
    let post = async |name: &str| -> Result<String> {
        Ok(ask(gateway.post(&format!("/flow/name/{name}/ns/{RUNS}")))
            .await?
            .run()?
            .to_owned())
    };
    let (think, dream) = (post("e2e-think").await?, post("e2e-dream").await?);
    let ended = world.succeeds(RUNS, &think).await?;
    ensure!(
        ended["status"]["results"] == json!([{"name": "answer", "value": "42"}]),
        "{:#}",
        ended["status"]
    );
    let ended = world.ended(RUNS, &dream).await?;
    let verdict = succeeded(&ended);
    let told = verdict["message"].as_str().unwrap_or_default();
    ensure!(verdict["status"] == "False", "{verdict:#}");
    let tasks = world
        .objects(RUNS)
        .selected("TaskRun", &format!("tekton.dev/pipelineRun={dream}"))
        .await?;
    let reasons: Vec<_> = tasks
        .iter()
        .map(|task| succeeded(task)["reason"].clone())
        .collect();
    ensure!(reasons == ["TaskRunTimeout"], "{reasons:?}: {told}");
    Ok(())
}

async fn cancelled(world: Arc<World>) -> Result<()> {
    let gateway = world.reach(&world.main)?;
    let flow = flow(
        "e2e-cancelled",
        RUNS,
        &[step(&world, "waits", "echo waiting; sleep 600")],
    );
    let run = ask(gateway.post("/flow").body(flow.to_string()))
        .await?
        .run()?
        .to_owned();
    until_run(&world, &run, "the run runs", |run| {
        succeeded(run)["reason"] == "Running"
    })
    .await?;
    let selector = format!("tekton.dev/pipelineRun={run}");
    until("its step runs", PATIENCE, async || {
        let pods = world.objects(RUNS).selected("Pod", &selector).await?;
        Ok(pods.iter().any(|pod| pod["status"]["phase"] == "Running"))
    })
    .await?;
    world
        .objects(RUNS)
        .merge(
            "PipelineRun",
            &run,
            json!({"spec": {"status": "Cancelled"}}),
        )
        .await?;
    let ended = world.ended(RUNS, &run).await?;
    ensure!(
        succeeded(&ended)["reason"] == "Cancelled",
        "{:#}",
        succeeded(&ended)
    );
    until("its pod is gone", Duration::from_secs(60), async || {
        let pods = world.objects(RUNS).selected("Pod", &selector).await?;
        Ok(pods.iter().all(|pod| pod["status"]["phase"] != "Running"))
    })
    .await
}
