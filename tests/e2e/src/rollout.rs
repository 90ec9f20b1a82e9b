//! Trouble under load: a new revision, killed pods, a restarted containerd. Senders repeat what was not acknowledged, under the same
//! key, and in the end every event has exactly one run.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use control_plane::until;
use serde_json::json;
use system_tests::{
    case::Case,
    support::{ask, objects::name},
};
use tokio::task::JoinSet;

use crate::{
    artisan::{flow, step},
    install::{FLOW, MAIN},
    world::{PATIENCE, QUEUE, World, case, event_of},
};

/// Whether the cluster is the repository's own, whose containerd can be killed.
pub(crate) fn cases(own: bool) -> Vec<Case<World>> {
    vec![
        case(
            "rollout::no_event_is_lost_or_doubled_while_revisions_change_and_pods_are_killed",
            300,
            MAIN,
            rollout,
        )
        .alone(),
        case(
            "rollout::no_event_is_lost_or_doubled_while_containerd_restarts",
            300,
            MAIN,
            containerd,
        )
        .ignored_if(!own)
        .alone(),
    ]
}

/// Time between two events.
const PACE: Duration = Duration::from_millis(200);
/// How long a sender goes on with one event.
const STAMINA: Duration = Duration::from_secs(90);

async fn rollout(world: Arc<World>) -> Result<()> {
    let trouble = async || -> Result<()> {
        for number in 0..3 {
            annotate(&world, number).await?;
            pause(6).await;
            kill_one(&world, number).await?;
            pause(5).await;
        }
        Ok(())
    };
    let before = ready_revision(&world).await?;
    storm(&world, "rollout", 180, trouble()).await?;
    // Three revisions that never got ready would be no trouble at all.
    until(
        "the last new revision is the ready one",
        PATIENCE,
        async || {
            let number = |revision: &str| {
                revision
                    .rsplit('-')
                    .next()
                    .and_then(|it| it.parse::<u32>().ok())
            };
            let (before, now) = (number(&before), number(&ready_revision(&world).await?));
            Ok(before.is_some() && now == before.map(|before| before + 3))
        },
    )
    .await
}

/// The revision that gets the requests.
async fn ready_revision(world: &World) -> Result<String> {
    let what = format!("services.serving.knative.dev/{FLOW}");
    let path = "jsonpath={.status.latestReadyRevisionName}";
    world
        .kubectl(&["--namespace", MAIN, "get", &what, "--output", path])
        .await
}

async fn containerd(world: Arc<World>) -> Result<()> {
    let trouble = async || -> Result<()> {
        pause(3).await;
        world.restart("containerd")?;
        pause(5).await;
        // With a pod to be started while it starts itself.
        kill_one(&world, 0).await?;
        world.restart("containerd")
    };
    storm(&world, "containerd", 100, trouble()).await
}

/// Lets the load go on for a while: the passing of time is what the case is about.
async fn pause(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// Makes a new revision.
async fn annotate(world: &World, number: u64) -> Result<()> {
    let patch = json!({"spec": {"template": {"metadata": {"annotations": {"hookrun.dev/e2e": number.to_string()}}}}});
    let what = format!("services.serving.knative.dev/{FLOW}");
    world
        .kubectl(&[
            "--namespace",
            MAIN,
            "patch",
            &what,
            "--type=merge",
            "--patch",
            &patch.to_string(),
        ])
        .await
        .map(drop)
}

/// Kills a pod of the function without any notice, the oldest or the youngest.
async fn kill_one(world: &World, number: u64) -> Result<()> {
    let mut pods = world
        .pods(MAIN, &format!("serving.knative.dev/service={FLOW}"))
        .await?;
    pods.sort_by_key(|pod| {
        pod["metadata"]["creationTimestamp"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    });
    let victim = if number.is_multiple_of(2) {
        pods.first()
    } else {
        pods.last()
    };
    let victim = victim.context("there is no pod to kill")?;
    let delete = [
        "--namespace",
        MAIN,
        "delete",
        "pod",
        name(victim),
        "--force",
        "--grace-period=0",
        "--wait=false",
        "--ignore-not-found",
    ];
    world.kubectl(&delete).await.map(drop)
}

/// Posts events at a steady pace while something happens, and counts their runs.
async fn storm(
    world: &World,
    title: &str,
    count: usize,
    trouble: impl Future<Output = Result<()>>,
) -> Result<()> {
    let key = format!("ART_FLOW_e2e-{title}");
    world
        .store(
            &key,
            &flow(
                &format!("E2E {title}"),
                QUEUE,
                &[step(world, "none", "true")],
            ),
        )
        .await?;
    let gateway = world.reach(&world.main)?;
    let path = format!("/flow/key/{key}/ns/{QUEUE}");
    // A warm start, so that the first trouble meets something.
    ask(gateway
        .post(&path)
        .header("idempotency-key", format!("{title}-warm")))
    .await?
    .run()?;

    let mut senders = JoinSet::new();
    let sending = async {
        let mut pace = tokio::time::interval(PACE);
        for number in 0..count {
            pace.tick().await;
            let request = gateway
                .post(&path)
                .header("idempotency-key", format!("{title}-{number}"))
                .body(format!("event {number}"));
            senders.spawn(deliver(request));
        }
    };
    let (_, trouble) = tokio::join!(sending, trouble);
    trouble?;
    let mut failures = BTreeMap::<String, usize>::new();
    let mut longest = Duration::ZERO;
    while let Some(delivered) = senders.join_next().await {
        let Delivered { time, failed } = delivered??;
        longest = longest.max(time);
        for failure in failed {
            *failures.entry(failure).or_default() += 1;
        }
    }
    eprintln!(
        "e2e: {title}: {count} events, the slowest after {:.1} s; meanwhile {failures:?}",
        longest.as_secs_f32()
    );

    let mut runs = BTreeMap::<String, usize>::new();
    for run in world
        .objects(QUEUE)
        .selected("PipelineRun", &format!("hookrun.dev/flow=e2e-{title}"))
        .await?
    {
        *runs.entry(event_of(&run).to_owned()).or_default() += 1;
    }
    ensure!(
        runs.values().all(|count| *count == 1),
        "events with several runs: {runs:?}"
    );
    ensure!(
        runs.len() == count + 1,
        "{} runs of {} events",
        runs.len(),
        count + 1
    );
    Ok(())
}

/// How an event was delivered.
struct Delivered {
    time: Duration,
    failed: Vec<String>,
}

/// Posts one event until it is acknowledged, as a good sender does.
async fn deliver(request: reqwest::RequestBuilder) -> Result<Delivered> {
    let began = Instant::now();
    let mut failed = Vec::new();
    loop {
        let next = request
            .try_clone()
            .expect("a body that can be sent again")
            .timeout(Duration::from_secs(30));
        match ask(next).await {
            Ok(answer) if answer.status == 200 => {
                return Ok(Delivered {
                    time: began.elapsed(),
                    failed,
                });
            }
            // Nothing that a repeat could mend: the sender would give up, and the event be lost. A gateway that has lost its
            // way for a moment answers 404 as well, but not in the function's words.
            Ok(answer)
                if answer.status < 500
                    && (answer.status != 404 || answer.text.contains("flow")) =>
            {
                bail!("{answer:?}")
            }
            Ok(answer) => failed.push(answer.status.to_string()),
            Err(_) => failed.push("no answer".to_owned()),
        }
        ensure!(
            began.elapsed() < STAMINA,
            "not delivered after {STAMINA:?}: {failed:?}"
        );
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}
