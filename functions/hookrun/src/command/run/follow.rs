//! Following a run to its end, whatever happens to the connection meanwhile.
//!
//! A watch is only a reason to look again: when it ends, breaks off or stays silent, the run is read anew, and nothing
//! lasts longer than the deadline. What no repeat can mend (no right, no credentials) ends at once.

use std::{collections::BTreeMap, time::Duration};

use anyhow::bail;
use futures_util::StreamExt;
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, WatchEvent, WatchParams},
};
use serde_json::Value;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::command::{objects::Server, say};

/// How a followed run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It succeeded.
    Succeeded,
    /// It failed, was cancelled, or is gone.
    Failed,
    /// It had not ended at the deadline.
    TimedOut,
}

/// How often to look.
pub(super) struct Pace {
    /// Seconds after which the server ends a watch.
    watch: u32,
    /// Longest time that reading and watching may take. A connection that died without a word never ends by itself.
    look: Duration,
    /// Time between two looks.
    pause: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            watch: 60,
            look: Duration::from_secs(75),
            pause: Duration::from_secs(1),
        }
    }
}

/// Watches the run until it has ended or the time is over, telling each change once.
///
/// # Errors
/// What no repeat can mend.
pub(super) async fn follow(
    client: kube::Client,
    namespace: &str,
    run: &str,
    deadline: Instant,
    pace: &Pace,
) -> anyhow::Result<Verdict> {
    let runs = tekton(&client, namespace, "PipelineRun");
    let tasks = tekton(&client, namespace, "TaskRun");
    let mut told = Told::default();
    loop {
        let look = timeout(pace.look, look(&runs, &tasks, run, pace, &mut told));
        match timeout_at(deadline, look).await {
            Err(_) => return Ok(Verdict::TimedOut),
            Ok(Ok(Ok(Some(verdict)))) => return Ok(verdict),
            // The watch came to its end, or stayed silent.
            Ok(Ok(Ok(None)) | Err(_)) => {}
            Ok(Ok(Err(error))) if passes(&error) => {
                told.trouble(&Server::Configured.explained(&error));
            }
            Ok(Ok(Err(error))) => {
                bail!(
                    "cannot read the run: {}",
                    Server::Configured.explained(&error)
                )
            }
        }
        let next = Instant::now() + pace.pause;
        if next >= deadline {
            sleep_until(deadline).await;
            return Ok(Verdict::TimedOut);
        }
        sleep_until(next).await;
    }
}

/// Reads the run and watches it from there; `None` when the watch is over and the run is not.
async fn look(
    runs: &Api<DynamicObject>,
    tasks: &Api<DynamicObject>,
    run: &str,
    pace: &Pace,
    told: &mut Told,
) -> kube::Result<Option<Verdict>> {
    let Some(current) = runs.get_opt(run).await? else {
        say("the run is gone: somebody deleted it");
        return Ok(Some(Verdict::Failed));
    };
    told.trouble.clear();
    if let Some(verdict) = told.tell(&current, tasks).await {
        return Ok(Some(verdict));
    }
    let selected = WatchParams::default()
        .fields(&format!("metadata.name={run}"))
        .timeout(pace.watch);
    let version = current.resource_version().unwrap_or_default();
    let mut events = std::pin::pin!(runs.watch(&selected, &version).await?);
    while let Some(event) = events.next().await {
        match event? {
            WatchEvent::Added(run) | WatchEvent::Modified(run) => {
                if let Some(verdict) = told.tell(&run, tasks).await {
                    return Ok(Some(verdict));
                }
            }
            WatchEvent::Deleted(_) => {
                say("the run is gone: somebody deleted it");
                return Ok(Some(Verdict::Failed));
            }
            WatchEvent::Bookmark(_) => {}
            // The watch is too old or broken; the next look starts from the current state.
            WatchEvent::Error(_) => break,
        }
    }
    Ok(None)
}

/// Whether an error may be over at the next try.
fn passes(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code >= 500 || matches!(status.code, 410 | 429),
        kube::Error::Service(_) | kube::Error::HyperError(_) | kube::Error::ReadEvents(_) => true,
        _ => false,
    }
}

fn tekton(client: &kube::Client, namespace: &str, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("tekton.dev", "v1", kind));
    Api::namespaced_with(client.clone(), namespace, &resource)
}

/// What has been told already, so that each change is told once.
#[derive(Default)]
struct Told {
    state: String,
    steps: BTreeMap<String, String>,
    trouble: String,
}

impl Told {
    /// Tells what is new; the verdict when the run has ended.
    async fn tell(&mut self, run: &DynamicObject, tasks: &Api<DynamicObject>) -> Option<Verdict> {
        self.tell_steps(run, tasks).await;
        let condition = succeeded(&run.data)?;
        let text = |field: &str| condition[field].as_str().unwrap_or_default();
        let state = format!("{}: {}", text("reason"), text("message"));
        if self.state != state {
            say(&state);
            self.state = state;
        }
        match text("status") {
            "True" => Some(Verdict::Succeeded),
            "False" => Some(Verdict::Failed),
            _ => None,
        }
    }

    /// Tells the steps of the run's tasks. They are an extra: without the right to read them the run is still followed.
    async fn tell_steps(&mut self, run: &DynamicObject, tasks: &Api<DynamicObject>) {
        let selected =
            ListParams::default().labels(&format!("tekton.dev/pipelineRun={}", run.name_any()));
        let Ok(list) = tasks.list(&selected).await else {
            return;
        };
        for task in list {
            for step in task.data["status"]["steps"]
                .as_array()
                .into_iter()
                .flatten()
            {
                let name = step["name"].as_str().unwrap_or_default();
                let state = if let Some(ended) = step.get("terminated") {
                    format!(
                        "{} (exit code {})",
                        ended["reason"].as_str().unwrap_or("ended"),
                        ended["exitCode"]
                    )
                } else if step.get("running").is_some() {
                    "running".to_owned()
                } else {
                    continue;
                };
                let key = format!("{}/{name}", task.name_any());
                if self.steps.get(&key) != Some(&state) {
                    say(&format!("  step {name}: {state}"));
                    self.steps.insert(key, state);
                }
            }
        }
    }

    /// Tells that the API server is not heard, until it is again.
    fn trouble(&mut self, text: &str) {
        if self.trouble != text {
            say(&format!("cannot see the run, trying again: {text}"));
            text.clone_into(&mut self.trouble);
        }
    }
}

/// The condition that says how a run is doing.
fn succeeded(run: &Value) -> Option<&Value> {
    run["status"]["conditions"]
        .as_array()?
        .iter()
        .find(|condition| condition["type"] == "Succeeded")
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    };

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::json;

    use super::*;

    /// What the API server does with a watch.
    #[derive(Clone, Copy)]
    enum Watches {
        End,
        StaySilent,
        BreakOff,
    }

    fn run(status: &str) -> Value {
        json!({"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "metadata": {"name": "r", "resourceVersion": "1"},
            "status": {"conditions": [{"type": "Succeeded", "status": status, "reason": "R", "message": "m"}]}})
    }

    /// An API server that gives the states one after the other, the last one for good, and what following it ends with.
    async fn followed(
        watches: Watches,
        states: Vec<(u16, Value)>,
        seconds: u64,
    ) -> (anyhow::Result<Verdict>, usize) {
        let reads = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&reads);
        let service = tower::service_fn(move |request: Request<Body>| {
            let query = request.uri().query().unwrap_or_default();
            let listed = request.uri().path().ends_with("/taskruns");
            let watched = query.contains("watch=true");
            let read = if watched || listed {
                0
            } else {
                count.fetch_add(1, Relaxed)
            };
            let (status, body) = states[read.min(states.len() - 1)].clone();
            async move {
                let answer = |status: u16, body: Vec<u8>| {
                    Response::builder().status(status).body(Body::from(body))
                };
                if listed {
                    return Ok(answer(403, b"{}".to_vec())?);
                }
                match (watched, watches) {
                    (false, _) => Ok(answer(status, body.to_string().into_bytes())?),
                    (true, Watches::End) => Ok(answer(200, Vec::new())?),
                    (true, Watches::StaySilent) => std::future::pending().await,
                    (true, Watches::BreakOff) => Err(tower::BoxError::from("reset")),
                }
            }
        });
        let client = kube::Client::new(service, "default");
        let deadline = Instant::now() + Duration::from_secs(seconds);
        let verdict = follow(client, "n", "r", deadline, &Pace::default()).await;
        assert!(Instant::now() <= deadline + Duration::from_millis(10));
        (verdict, reads.load(Relaxed))
    }

    #[tokio::test(start_paused = true)]
    async fn the_verdict_comes_whatever_the_watch_does() {
        for watches in [Watches::End, Watches::StaySilent, Watches::BreakOff] {
            for (status, verdict) in [("True", Verdict::Succeeded), ("False", Verdict::Failed)] {
                let states = vec![(200, run("Unknown")), (200, run(status))];
                let (followed, reads) = followed(watches, states, 3600).await;
                assert_eq!((followed.expect("a verdict"), reads), (verdict, 2));
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_holds_whatever_the_watch_does() {
        for (watches, most) in [
            (Watches::End, 100),
            (Watches::StaySilent, 2),
            (Watches::BreakOff, 100),
        ] {
            let (followed, reads) = followed(watches, vec![(200, run("Unknown"))], 100).await;
            assert_eq!(followed.expect("a verdict"), Verdict::TimedOut);
            // Neither given up nor spinning.
            assert!((2..=most).contains(&reads), "{reads}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_tried_again_and_what_cannot_is_an_error() {
        let status = |code: u16| {
            let reason = if code == 404 { "NotFound" } else { "X" };
            json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
                "reason": reason, "message": "m"})
        };
        for code in [410, 429, 500, 503] {
            let states = vec![(code, status(code)), (200, run("True"))];
            let (followed, _) = followed(Watches::End, states, 60).await;
            assert_eq!(followed.expect("a verdict"), Verdict::Succeeded, "{code}");
        }
        for code in [401, 403] {
            let (followed, reads) = followed(Watches::End, vec![(code, status(code))], 60).await;
            assert!(followed.is_err() && reads == 1, "{code}");
        }
        let (gone, _) = followed(
            Watches::End,
            vec![(200, run("Unknown")), (404, status(404))],
            60,
        )
        .await;
        assert_eq!(gone.expect("a verdict"), Verdict::Failed);
    }
}
