//! An API server that stumbles: for every request of an event, every way to fail, once; for all requests, every way to fail,
//! for good. The answer is right, it comes in time, and nothing is there twice.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use control_plane::{Cluster, eventually};
use futures_util::future::try_join_all;
use http::{Method, StatusCode, header};
use reqwest::Response;
use tokio::{net::TcpListener, task::JoinSet};

use crate::{
    aftermath,
    case::Case,
    cases,
    faults::{Action, Faults, Rule},
    function::Function,
    samples::{Folder, payload, rich},
};

/// `HOOKRUN_API_TIMEOUT` of the function: what one request may take.
const ATTEMPT: Duration = Duration::from_secs(1);

/// `HOOKRUN_API_DEADLINE` of the function: what all requests of an event may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// What a busy machine may add to the deadline.
const SLACK: Duration = Duration::from_secs(5);

/// The cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    cases![
        any_request_may_fail_once_in_any_way_and_the_event_still_runs_once,
        a_faulty_api_server_is_a_503_within_the_deadline_and_the_repetition_runs_once,
        a_wait_beyond_the_deadline_is_handed_on_to_the_sender_at_once,
        conflicts_without_end_are_answered_within_the_deadline,
        a_storm_of_faults_over_many_events_loses_and_doubles_none,
        an_api_server_that_is_down_is_a_503_and_work_goes_on_when_it_is_back,
        a_slow_api_server_is_slow_and_nothing_else,
    ]
    .into_iter()
    // Alone: clocks this short would otherwise measure the other cases.
    .map(|case| case.within(Duration::from_secs(420)).alone())
    .collect()
}

/// A function behind a faulty API server, with small deadlines.
struct Stage {
    namespace: String,
    faults: Faults,
    function: Function,
    // Read until the end.
    _flows: Folder,
}

impl Stage {
    async fn start(cluster: &Cluster) -> Result<Self> {
        let namespace = cluster.namespace("faults").await?;
        let flows = Folder::new()?;
        flows.put("nightly", &rich("nightly", &namespace, "first"))?;
        let faults = Faults::start(cluster).await?;
        let function = Function::on(cluster)
            .run_in(&namespace)
            .through(&faults)
            .env("HOOKRUN_FLOW_STORE", &flows.url())
            .env("HOOKRUN_API_TIMEOUT", &time(ATTEMPT))
            .env("HOOKRUN_API_DEADLINE", &time(DEADLINE))
            .start()
            .await?;
        Ok(Self {
            namespace,
            faults,
            function,
            _flows: flows,
        })
    }

    async fn send(&self, event: &str) -> Result<Response> {
        let path = format!("/flow/key/nightly/ns/{}", self.namespace);
        let request = self.function.post(&path).header("idempotency-key", event);
        Ok(request.body(payload(1)).send().await?)
    }

    /// Sends an event that must get a 200.
    async fn succeed(&self, event: &str) -> Result<String> {
        let answer = self.send(event).await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(
            status == 200,
            "{event}: {status} {text}\n{:#?}",
            self.faults.seen()
        );
        Ok(text)
    }
}

fn time(time: Duration) -> String {
    format!("{}ms", time.as_millis())
}

/// A way to fail, and a word for it.
struct Fault {
    name: &'static str,
    rule: fn() -> Rule,
    /// For requests that change nothing it would be no fault of an API server.
    writes_only: bool,
}

const fn fault(name: &'static str, rule: fn() -> Rule) -> Fault {
    Fault {
        name,
        rule,
        writes_only: false,
    }
}

const FAULTS: &[Fault] = &[
    Fault {
        name: "409",
        rule: || Rule::of("", Action::Answer(StatusCode::CONFLICT, None)),
        writes_only: true,
    },
    fault("429 with Retry-After", || {
        Rule::of("", Action::Answer(StatusCode::TOO_MANY_REQUESTS, Some(1)))
    }),
    fault("429", || {
        Rule::of("", Action::Answer(StatusCode::TOO_MANY_REQUESTS, None))
    }),
    fault("500", || {
        Rule::of("", Action::Answer(StatusCode::INTERNAL_SERVER_ERROR, None))
    }),
    fault("503", || {
        Rule::of("", Action::Answer(StatusCode::SERVICE_UNAVAILABLE, None))
    }),
    fault("504", || {
        Rule::of("", Action::Answer(StatusCode::GATEWAY_TIMEOUT, None))
    }),
    fault("500 after it was done", || {
        Rule::of("", Action::Answer(StatusCode::INTERNAL_SERVER_ERROR, None)).after()
    }),
    fault("no answer", || Rule::of("", Action::Hang)),
    fault("no answer after it was done", || {
        Rule::of("", Action::Hang).after()
    }),
    fault("closed", || Rule::of("", Action::Close)),
    fault("closed after it was done", || {
        Rule::of("", Action::Close).after()
    }),
    fault("half an answer", || Rule::of("", Action::Truncate)),
];

async fn any_request_may_fail_once_in_any_way_and_the_event_still_runs_once(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let stage = Stage::start(&cluster).await?;
    stage.faults.forget();
    stage.succeed("whole").await?;
    let requests = stage.faults.seen();
    let mut events = vec!["whole".to_owned()];
    for Fault {
        name,
        rule,
        writes_only,
    } in FAULTS
    {
        for (step, request) in requests.iter().enumerate() {
            if *writes_only && !request.is_write() {
                continue;
            }
            let event = format!("{name} at {step}");
            stage.faults.heal();
            stage.faults.forget();
            stage.faults.add(rule().skip(step).times(1));
            let first = stage
                .succeed(&event)
                .await
                .with_context(|| format!("at {request}"))?;
            let second = stage.succeed(&event).await?;
            ensure!(first == second, "{event}: {first:?}, repeated: {second:?}");
            events.push(event);
        }
    }
    aftermath::holds(&cluster, &stage.namespace, &events).await?;
    aftermath::discreet(&stage.function)?;
    aftermath::vanishes_with_its_runs(&cluster, &stage.namespace).await
}

async fn a_faulty_api_server_is_a_503_within_the_deadline_and_the_repetition_runs_once(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let stage = Stage::start(&cluster).await?;
    stage.faults.forget();
    stage.succeed("whole").await?;
    let steps = stage.faults.seen().len();
    let mut events = vec!["whole".to_owned()];
    for Fault { name, rule, .. } in FAULTS.iter().filter(|fault| !fault.writes_only) {
        // From the beginning, and from the middle on.
        for from in [0, steps / 2] {
            let event = format!("{name} from {from}");
            stage.faults.heal();
            stage.faults.add(rule().skip(from));
            let began = Instant::now();
            let answer = stage.send(&event).await?;
            let took = began.elapsed();
            ensure!(
                answer.status() == 503,
                "{event}: {} {}",
                answer.status(),
                answer.text().await?
            );
            ensure!(
                answer.headers().contains_key(header::RETRY_AFTER),
                "{event}: no Retry-After"
            );
            ensure!(took < DEADLINE + SLACK, "{event}: answered after {took:?}");
            stage.faults.heal();
            stage.succeed(&event).await?;
            events.push(event);
        }
    }
    aftermath::holds(&cluster, &stage.namespace, &events).await?;
    aftermath::discreet(&stage.function)
}

async fn a_wait_beyond_the_deadline_is_handed_on_to_the_sender_at_once(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let stage = Stage::start(&cluster).await?;
    stage.faults.add(Rule::of(
        "",
        Action::Answer(StatusCode::TOO_MANY_REQUESTS, Some(77)),
    ));
    let began = Instant::now();
    let answer = stage.send("busy").await?;
    ensure!(answer.status() == 503, "{}", answer.status());
    let told = &answer.headers()[header::RETRY_AFTER];
    ensure!(told == "77", "Retry-After: {told:?}");
    ensure!(
        began.elapsed() < DEADLINE,
        "it waited all the same: {:?}",
        began.elapsed()
    );
    stage.faults.heal();
    stage.succeed("busy").await?;
    aftermath::holds(&cluster, &stage.namespace, &["busy".to_owned()]).await
}

async fn conflicts_without_end_are_answered_within_the_deadline(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let stage = Stage::start(&cluster).await?;
    let mut events = Vec::new();
    for (event, part, method) in [
        ("apply", "/tasks/", Method::PATCH),
        ("create", "/pipelineruns", Method::POST),
        ("copy", "/secrets", Method::POST),
        ("start", "/pipelineruns/", Method::PATCH),
    ] {
        stage.faults.heal();
        stage
            .faults
            .add(Rule::of(part, Action::Answer(StatusCode::CONFLICT, None)).method(method));
        let began = Instant::now();
        let answer = stage.send(event).await?;
        ensure!(
            matches!(answer.status().as_u16(), 409 | 503),
            "{event}: {}",
            answer.status()
        );
        ensure!(
            began.elapsed() < DEADLINE + SLACK,
            "{event}: answered after {:?}",
            began.elapsed()
        );
        stage.faults.heal();
        stage.succeed(event).await?;
        events.push(event.to_owned());
    }
    aftermath::holds(&cluster, &stage.namespace, &events).await
}

async fn a_storm_of_faults_over_many_events_loses_and_doubles_none(
    cluster: Arc<Cluster>,
) -> Result<()> {
    const EVENTS: usize = 40;
    let stage = Stage::start(&cluster).await?;
    for number in 0..150 {
        let Fault { rule, .. } = &FAULTS[number % FAULTS.len()];
        stage.faults.add(rule().skip(number * 31 % 7).times(1));
    }
    let events: Vec<_> = (0..EVENTS)
        .map(|number| format!("storm-{number}"))
        .collect();
    try_join_all(events.iter().map(async |event| {
        for _ in 0..20 {
            let answer = stage.send(event).await?;
            match answer.status().as_u16() {
                200 => return Ok(()),
                503 => {}
                // An injected conflict of a read or of a write that cannot conflict is the test's lie, not the product's.
                409 => {}
                other => bail!("{event}: {other} {}", answer.text().await?),
            }
        }
        bail!("{event}: never a 200")
    }))
    .await?;
    stage.faults.heal();
    aftermath::holds(&cluster, &stage.namespace, &events).await?;
    aftermath::discreet(&stage.function)?;
    aftermath::vanishes_with_its_runs(&cluster, &stage.namespace).await
}

/// Passes bytes on to an address while it is there; when dropped, connections break and new ones are refused.
struct Gate {
    _tasks: JoinSet<()>,
}

impl Gate {
    async fn open(at: SocketAddr, to: SocketAddr) -> Result<(Self, SocketAddr)> {
        let listener = TcpListener::bind(at).await?;
        let address = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut outer, _)) = listener.accept().await {
                connections.spawn(async move {
                    if let Ok(mut inner) = tokio::net::TcpStream::connect(to).await {
                        tokio::io::copy_bidirectional(&mut outer, &mut inner)
                            .await
                            .ok();
                    }
                });
            }
        });
        Ok((Self { _tasks: tasks }, address))
    }
}

async fn an_api_server_that_is_down_is_a_503_and_work_goes_on_when_it_is_back(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let namespace = cluster.namespace("down").await?;
    let flows = Folder::new()?;
    flows.put("nightly", &rich("nightly", &namespace, "first"))?;
    let server = cluster.url().trim_start_matches("https://").parse()?;
    let (gate, address) = Gate::open(SocketAddr::from(([127, 0, 0, 1], 0)), server).await?;
    // Another function brings account and rights.
    let other = Function::on(&cluster).run_in(&namespace).start().await?;
    let kubeconfig = cluster.kubeconfig(&format!("https://{address}"), &other.account().token)?;
    let function = Function::on(&cluster)
        .account(other.account())
        .run_in(&namespace)
        .env("KUBECONFIG", &kubeconfig.display().to_string())
        .env("HOOKRUN_FLOW_STORE", &flows.url())
        .env("HOOKRUN_API_TIMEOUT", &time(ATTEMPT))
        .env("HOOKRUN_API_DEADLINE", &time(DEADLINE))
        .start()
        .await?;
    let path = format!("/flow/key/nightly/ns/{namespace}");
    let send = async |event: &str| {
        let request = function.post(&path).header("idempotency-key", event);
        anyhow::Ok(request.body(payload(1)).send().await?)
    };
    ensure!(send("before").await?.status() == 200);
    drop(gate);

    let began = Instant::now();
    let answer = send("during").await?;
    ensure!(answer.status() == 503, "{}", answer.status());
    ensure!(
        answer.headers().contains_key(header::RETRY_AFTER),
        "no Retry-After"
    );
    ensure!(
        began.elapsed() < DEADLINE + SLACK,
        "answered after {:?}",
        began.elapsed()
    );
    let alive = function.anonymous(Method::GET, "/healthz").send().await?;
    ensure!(
        alive.status() == 200,
        "the process is to blame for nothing: {}",
        alive.status()
    );

    let (_gate, _) = Gate::open(address, server)
        .await
        .context("the port was taken meanwhile")?;
    eventually("it works again", Duration::from_secs(10), async || {
        Ok((send("during").await?.status() == 200).then_some(()))
    })
    .await?;
    aftermath::holds(
        &cluster,
        &namespace,
        &["before".to_owned(), "during".to_owned()],
    )
    .await
}

async fn a_slow_api_server_is_slow_and_nothing_else(cluster: Arc<Cluster>) -> Result<()> {
    let stage = Stage::start(&cluster).await?;
    stage
        .faults
        .add(Rule::of("", Action::Delay(Duration::from_millis(100))));
    let first = stage.succeed("slow").await?;
    let second = stage.succeed("slow").await?;
    ensure!(first == second, "{first:?}, repeated: {second:?}");
    aftermath::holds(&cluster, &stage.namespace, &["slow".to_owned()]).await
}
