//! SIGKILL while events are handled, five hundred times and more, with senders that repeat until they get a 2xx: what
//! was acknowledged is not lost, nothing runs twice, and after a sweep every Delivery has an outcome.
//!
//! A process dies before and after each of its requests to the API server (between two of them nothing of it is
//! outside its own memory): when an event comes first, when it comes again, and in a sweep; and under load at moments
//! that nobody has chosen. Which requests there are is counted first, so a step that is added to the product is killed
//! at too.

mod stage;
mod tally;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use control_plane::{Cluster, Process, eventually, until};
use futures_util::future::{try_join, try_join_all};
use http::Method;
use tokio::{sync::watch, time::Instant};

use self::{
    stage::{LANES, Lane, Stage},
    tally::{Place, Step, Way},
};
use super::scene::PATIENCE;
use crate::{
    aftermath,
    case::Case,
    cases,
    faults::{Action, Rule, Seen},
    function::Function,
};

/// Deaths in each run of the case, at least.
const DEATHS: usize = 500;

/// How often an event meets each place. In every fourth round nobody repeats it.
const ROUNDS: usize = 12;

/// Events whose process died right after it had stored them, for redeliveries that die as well.
const LEFT: usize = 24;

/// Deaths under load.
const MOMENTS: usize = 200;

/// Senders of one Hook under load.
const SENDERS: usize = 2;

/// Age at which a redelivery or the sweep takes over what a dead process has left.
const TAKEOVER: Duration = Duration::from_secs(6);

pub(super) fn cases() -> Vec<Case> {
    cases![of_what_five_hundred_dead_processes_left_nothing_is_lost_and_nothing_doubled]
        .into_iter()
        .map(|case| case.within(Duration::from_secs(600)))
        .collect()
}

async fn of_what_five_hundred_dead_processes_left_nothing_is_lost_and_nothing_doubled(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let stage = Stage::new(&cluster).await?;
    // It lives on beside those that die, as another replica does.
    let heir = stage.setup().start().await?;
    let places = at_each_request(&stage, &heir).await?;
    let left_at = Instant::now();
    under_load(&stage).await?;
    tokio::time::sleep_until(left_at + TAKEOVER).await;
    // Stored, and without outcome: that is what was to be killed at.
    let left = stage.left().await?;
    ensure!(left >= DEATHS / 4, "only {left} Deliveries were left");
    let redelivered = redelivered(&stage, &heir).await?;
    let swept = swept(&stage).await?;
    stage.finish().await?;
    // Once more has nothing to do, twice at once neither.
    let sweep = || stage.scene.sweep(TAKEOVER);
    for told in <[String; 2]>::from(try_join(sweep(), sweep()).await?) {
        ensure!(told.contains("finished 0 deliveries, deleted 0"), "{told}");
    }
    stage.holds().await?;
    aftermath::discreet(&heir)?;

    let (tally, total) = (&stage.tally, stage.tally.total());
    eprintln!("{total} deaths, {left} Deliveries left by them before the first sweep:\n{tally}");
    ensure!(total >= DEATHS, "only {total} deaths:\n{tally}");
    for (way, places) in places.into_iter().chain([redelivered, swept]) {
        for place in places {
            ensure!(
                tally.at(way, &place) > 0,
                "{way}: no death {place}:\n{tally}"
            );
        }
    }
    for place in [Moment::Between, Moment::Other] {
        ensure!(
            tally.at(Way::Load, &place) > MOMENTS / 20,
            "no death {place}:\n{tally}"
        );
    }
    Ok(())
}

/// Places that were to be met on one way.
type Places = (Way, Vec<Place>);

/// An event that meets a death.
struct Plan<'a> {
    way: Way,
    place: &'a Place,
    id: String,
    /// Whether its sender repeats it at once.
    again: bool,
}

/// Events come, and their processes die before and after each request, several times over, with and without a sender
/// that repeats.
async fn at_each_request(stage: &Stage, heir: &Function) -> Result<[Places; 2]> {
    // The statuses of all Hooks are written, so that what follows is what each event needs.
    try_join_all(stage.lanes.iter().map(|lane| lane.repeat(heir, "warm"))).await?;
    let first = stage.lanes.first().context("no lane")?;
    let small = Place::around(&steps(stage, first, "counted").await?);
    let large = Place::around(&steps(stage, first, "large").await?);
    let stored = small
        .iter()
        .find(|place| place.after && place.step.is(&Method::POST, "deliveries"))
        .context("no Delivery is created")?;
    let plan = |way, place, id: String, again| Plan {
        way,
        place,
        id,
        again,
    };
    // Whose number is the same as that of their place here, so that their Hook is known.
    let mut plans: Vec<_> = (0..LEFT)
        .map(|number| plan(Way::Event, stored, left(number), false))
        .collect();
    for round in 0..ROUNDS {
        for (number, place) in small.iter().enumerate() {
            let id = format!("{round}-{number}");
            plans.push(plan(Way::Event, place, id, round % 4 != 3));
        }
    }
    for (number, place) in large.iter().enumerate() {
        let id = format!("large-{number}");
        plans.push(plan(Way::LargeEvent, place, id, number % 2 == 0));
    }
    let lanes = stage.lanes.iter().enumerate().map(async |(at, lane)| {
        for plan in plans.iter().skip(at).step_by(LANES) {
            ensure!(
                stage.dies(lane, plan.way, plan.place, &plan.id).await?,
                "not killed {}, whose requests were {:#?}",
                plan.place,
                lane.faults.seen()
            );
            if plan.again {
                lane.repeat(heir, &plan.id).await?;
            }
        }
        Ok::<_, anyhow::Error>(())
    });
    try_join_all(lanes).await?;
    Ok([(Way::Event, small), (Way::LargeEvent, large)])
}

/// The identity of an event that is left for a redelivery; its Hook is that of lane `number % LANES`.
fn left(number: usize) -> String {
    format!("left-{number}")
}

/// The requests of a process that knows nothing yet, for one event.
async fn steps(stage: &Stage, lane: &Lane, id: &str) -> Result<Vec<Step>> {
    let function = stage.function(lane).await?;
    lane.repeat(&function, id).await?;
    Step::all(&lane.faults.seen())
}

/// Where a process died that nobody aimed at.
enum Moment {
    /// An event was stored, and its outcome was not.
    Between,
    /// No event was.
    Other,
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Between => "between a Delivery and its outcome",
            Self::Other => "at another moment",
        })
    }
}

impl Moment {
    fn of(seen: &[Seen]) -> Self {
        let done = |method, part| {
            let mut seen = seen.iter().filter(|seen| seen.succeeded());
            seen.by_ref()
                .filter(|seen| seen.method == method && seen.target.contains(part))
                .count()
        };
        match done(Method::POST, "/deliveries?") > done(Method::PATCH, "/deliveries/") {
            true => Self::Between,
            false => Self::Other,
        }
    }
}

/// Senders that never pause, to processes that die at any moment.
async fn under_load(stage: &Stage) -> Result<()> {
    let deaths = AtomicUsize::new(0);
    let lanes = stage.lanes.iter().enumerate().map(async |(number, lane)| {
        let (address, addresses) = watch::channel(String::new());
        let over = AtomicBool::new(false);
        let senders = (0..SENDERS).map(|sender| send_on(lane, sender, addresses.clone(), &over));
        let killing = async {
            let mut random = Random(number as u64);
            while deaths.fetch_add(1, Ordering::Relaxed) < MOMENTS {
                let function = stage.function(lane).await?;
                lane.faults.add(at_some_moment(&mut random, &function));
                address.send_replace(function.url());
                let moment = end(lane, function).await?;
                stage.tally.count(Way::Load, &moment);
            }
            over.store(true, Ordering::Relaxed);
            // Events that are under way find somebody who lives.
            let function = stage.function(lane).await?;
            address.send_replace(function.url());
            Ok(function)
        };
        try_join(killing, try_join_all(senders)).await.map(drop)
    });
    try_join_all(lanes).await.map(drop)
}

/// Numbers that nobody has chosen; the same ones in each run of the test.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Kills some time after some request.
fn at_some_moment(random: &mut Random, function: &Function) -> Rule {
    let (killer, pause) = (function.killer(), Duration::from_millis(random.below(30)));
    let call = move || {
        let killer = killer.clone();
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            killer.kill();
        });
    };
    let request = 2 + usize::try_from(random.below(20)).unwrap_or_default();
    Rule::of("", Action::Call(Arc::new(call)))
        .skip(request)
        .times(1)
}

/// Waits for a death, and says where it was.
async fn end(lane: &Lane, mut function: Function) -> Result<Moment> {
    until("the process dies", PATIENCE, async || {
        Ok(function.ended()?.is_some())
    })
    .await?;
    aftermath::discreet(&function)?;
    Ok(Moment::of(&lane.faults.seen()))
}

/// One sender: events without end, each repeated until there is a 2xx.
async fn send_on(
    lane: &Lane,
    sender: usize,
    mut addresses: watch::Receiver<String>,
    over: &AtomicBool,
) -> Result<()> {
    for number in 0.. {
        let id = format!("load-{sender}-{number}");
        loop {
            let url = addresses.borrow_and_update().clone();
            let answer = match url.as_str() {
                "" => None,
                // Whoever is not answered by the living asks again, as every sender does.
                url => {
                    let sending = lane.send_by(url, &id);
                    let answer = tokio::time::timeout(PATIENCE, sending).await;
                    answer.ok().and_then(Result::ok)
                }
            };
            match answer {
                Some(answer) if lane.taken(&id, &answer)? => break,
                Some(_) => {}
                // The process is gone: wait a while for the next one.
                None => drop(tokio::time::timeout(TAKEOVER, addresses.changed()).await),
            }
        }
        if over.load(Ordering::Relaxed) {
            break;
        }
    }
    Ok(())
}

/// Events come again, so late that what is left of them is taken over; and again the process dies at each request.
async fn redelivered(stage: &Stage, heir: &Function) -> Result<Places> {
    let first = stage.lanes.first().context("no lane")?;
    let places = Place::around(&steps(stage, first, &left(0)).await?);
    ensure!(
        places.len() < LEFT,
        "{} places need more than {LEFT} events",
        places.len()
    );
    let lanes = stage.lanes.iter().enumerate().map(async |(at, lane)| {
        let mine = (1..LEFT)
            .zip(&places)
            .filter(|(number, _)| number % LANES == at);
        for (number, place) in mine {
            let id = left(number);
            ensure!(
                stage.dies(lane, Way::Redelivery, place, &id).await?,
                "a redelivery was not killed {place}, its requests were {:#?}",
                lane.faults.seen()
            );
            if number % 2 == 0 {
                lane.repeat(heir, &id).await?;
            }
        }
        Ok::<_, anyhow::Error>(())
    });
    try_join_all(lanes).await?;
    Ok((Way::Redelivery, places))
}

/// Sweeps die at their requests, several of them at once.
async fn swept(stage: &Stage) -> Result<Places> {
    let first = stage.lanes.first().context("no lane")?;
    // The first one tells every Hook that it is ready; what follows is what each sweep needs.
    sweep(stage, first, None).await?;
    first.faults.forget();
    sweep(stage, first, None).await?;
    let mut kinds = Step::all(&first.faults.seen())?;
    kinds.retain(Step::is_first);
    let places = Place::around(&kinds);
    let plans: Vec<Place> = [0, 1, 5]
        .iter()
        .flat_map(|nth| places.iter().map(|place| place.at(*nth)))
        .collect();
    let lanes = stage.lanes.iter().enumerate().map(async |(at, lane)| {
        for place in plans.iter().skip(at).step_by(LANES) {
            // Not every sweep gets that far: another one may have done the work.
            if sweep(stage, lane, Some(place)).await? {
                stage.tally.count(Way::Sweep, place);
            }
        }
        Ok::<_, anyhow::Error>(())
    });
    try_join_all(lanes).await?;
    Ok((Way::Sweep, places))
}

/// One sweep of a few Deliveries; whether it was killed.
async fn sweep(stage: &Stage, lane: &Lane, place: Option<&Place>) -> Result<bool> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    lane.faults.heal();
    let scene = &stage.scene;
    let command = stage.sweeper(lane)?;
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let log = scene.cluster.logs().join(format!("sweep-{number}.log"));
    let mut process = Process::start("sweep", command, &log)?;
    if let Some(place) = place {
        let fault = place.fault(&scene.namespace, process.killer());
        lane.faults.add(fault);
    }
    let status = eventually("the sweep ends", PATIENCE, async || process.ended()).await?;
    aftermath::discreet_log(&process.output())?;
    Ok(status.code().is_none())
}
