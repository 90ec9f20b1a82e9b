//! The status of a Hook: its path, whether it is ready and why not, which secrets are in use, and what was refused.
//!
//! Written at best effort and rarely: at once where somebody should know, otherwise at most once a minute. An event
//! never fails for it.

use std::{sync::PoisonError, time::Duration};

use cluster::{Cluster, Fault, Part};
use deliveries::{is_younger, record::rfc3339, resource::HOOKS};
use hooks::{
    HookStatus,
    hook::{Condition, Rejection, SecretRef, SecretUse},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;
use url::Url;

use crate::{
    known::{Known, Place},
    notes::Notes,
    registry::Slot,
};

/// How often the status is written for what is not urgent.
const RARELY: Duration = Duration::from_secs(60);

/// How often it is written at most.
const URGENT: Duration = Duration::from_secs(2);

/// Longest message of a condition, in bytes.
const MESSAGE_BYTES: usize = 4096;

/// The one condition that a Hook has.
const TYPE: &str = "Ready";

/// Reason of a Hook that nothing is wrong with.
const READY: &str = "Ready";

/// Reason of a Hook that something in the cluster is missing for.
const CLUSTER: &str = "Cluster";

/// Reason of a Hook that nothing is wrong with by itself, while nobody has looked at the cluster around it. It is neither
/// ready nor not: `kubectl wait --for=condition=Ready` goes on until the sweep has looked.
const NOT_CHECKED: &str = "NotChecked";

/// What such a Hook waits for.
const SWEEP: &str =
    "the Hook itself is right; the next sweep looks whether the cluster has what it names";

/// What happened, to be told.
pub(crate) enum News<'a> {
    /// A verified event came, with this secret if one proved it.
    Accepted(Option<&'a SecretRef>),
    /// A request was not verified, or the Hook was looked at.
    Other,
}

/// Writes the status if it is due, and only over the edition that was read: another replica counts refusals, too.
/// Whatever goes wrong is no more than logged, and what was not told is told the next time.
pub(crate) async fn tell(
    cluster: &Cluster,
    slot: &Slot,
    known: &Known,
    news: &News<'_>,
    now: Timestamp,
) {
    let due = {
        let mut notes = slot.notes.lock().unwrap_or_else(PoisonError::into_inner);
        due(&mut notes, &slot.address, known, news, now)
    };
    let Some(Due { patch, refused }) = due else {
        return;
    };
    if let Err(fault) = write(cluster, &slot.place, &patch).await {
        tracing::debug!(hook = slot.place.name, error = %fault, "the status was not written");
        let mut notes = slot.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.refused = notes.refused.saturating_add(refused.0);
        notes.rejection = notes.rejection.take().or(refused.1);
    }
}

/// Writes the status.
pub(crate) async fn write(cluster: &Cluster, place: &Place, patch: &Value) -> Result<(), Fault> {
    let namespace = place.namespace.as_str();
    let written: serde::de::IgnoredAny = cluster
        .merge(HOOKS, namespace, &place.name, Part::Status, patch)
        .await?;
    let serde::de::IgnoredAny = written;
    Ok(())
}

/// Remembers a request that was not verified.
pub(crate) fn note_refusal(slot: &Slot, reason: &str, now: Timestamp) {
    let mut notes = slot.notes.lock().unwrap_or_else(PoisonError::into_inner);
    notes.refused = notes.refused.saturating_add(1);
    notes.rejection = Some(Rejection {
        reason: reason.to_owned(),
        time: rfc3339(now),
    });
}

/// A status to be written.
struct Due {
    patch: Value,
    /// How many refusals it tells of, and the last of them, where it tells of that.
    refused: (u64, Option<Rejection>),
}

fn due(
    notes: &mut Notes,
    address: &Address,
    known: &Known,
    news: &News<'_>,
    now: Timestamp,
) -> Option<Due> {
    let before = known.hook.status.clone().unwrap_or_default();
    let (mut status, news_of_hook) = settled(address, known, None, now);
    let (mut changed, mut urgent) = (false, news_of_hook);
    if let News::Accepted(used) = news {
        let told = |time: &Option<String>| {
            time.as_ref()
                .is_some_and(|time| is_younger(time, now, RARELY))
        };
        changed |= !told(&before.last_event_time);
        status.last_event_time = Some(rfc3339(now));
        if let Some(used) = used {
            let last = before
                .secrets
                .iter()
                .max_by_key(|used| used.last_used_time.clone());
            urgent |= last.is_none_or(|last| !is_use_of(last, used));
            note_use(&mut status.secrets, used, now);
        }
    }
    changed |= urgent || notes.refused > 0;
    let pause = if urgent { URGENT } else { RARELY };
    if !changed || notes.written.is_some_and(|at| at.elapsed() < pause) {
        return None;
    }
    notes.written = Some(Instant::now());
    let refused = (std::mem::take(&mut notes.refused), notes.rejection.take());
    status.rejected = before.rejected.saturating_add(refused.0);
    status.last_rejection = refused.1.clone().or(before.last_rejection);
    let edition = &known.hook.metadata.resource_version;
    let patch = json!({"metadata": {"resourceVersion": edition}, "status": status});
    Some(Due { patch, refused })
}

/// The status as the Hook alone makes it, and whether that is news. `around` is what is wrong in the cluster around it,
/// where somebody has looked; an event does not, and leaves what is on record of that.
pub(crate) fn settled(
    address: &Address,
    known: &Known,
    around: Option<&[String]>,
    now: Timestamp,
) -> (HookStatus, bool) {
    let before = known.hook.status.clone().unwrap_or_default();
    let mut status = before.clone();
    let refs = &known.hook.spec.verification.secret_refs;
    status
        .secrets
        .retain(|used| refs.iter().any(|reference| is_use_of(used, reference)));
    status.path = Some(address.path.clone());
    // Who does not know it leaves what others have told.
    status.url = address.url.clone().or(status.url);
    status.observed_generation = known.hook.metadata.generation;
    let mut conditions = before.conditions.iter();
    let old = conditions.find(|old| old.r#type == TYPE);
    let mut ready = ready(known, around.unwrap_or_default(), now);
    if around.is_none() && ready.reason == READY {
        ready = not_looked(ready, old);
    }
    if let Some(old) = old.filter(|old| old.status == ready.status) {
        let since = &old.last_transition_time;
        ready.last_transition_time.clone_from(since);
    }
    status.conditions = vec![ready];
    let news = status.conditions != before.conditions
        || status.path != before.path
        || status.url != before.url;
    (status, news)
}

/// The condition of a Hook that nothing is wrong with by itself: what is on record of the cluster around it, or that
/// nobody has looked since it became what it is.
fn not_looked(ready: Condition, old: Option<&Condition>) -> Condition {
    let looked = |old: &&Condition| {
        let same = old.observed_generation == ready.observed_generation;
        same && [READY, CLUSTER].contains(&old.reason.as_str())
    };
    old.filter(looked).cloned().unwrap_or(Condition {
        status: "Unknown".to_owned(),
        reason: NOT_CHECKED.to_owned(),
        message: SWEEP.to_owned(),
        ..ready.clone()
    })
}

/// Where senders find a Hook, without a token.
pub(crate) struct Address {
    path: String,
    url: Option<String>,
}

impl Address {
    /// That of a Hook, where outside services find the function under this URL.
    pub(crate) fn of(Place { namespace, name }: &Place, base: Option<&Url>) -> Self {
        let path = format!("/hooks/{namespace}/{name}");
        let url = base.map(|base| format!("{}{path}", base.as_str().trim_end_matches('/')));
        Self { path, url }
    }
}

fn ready(known: &Known, around: &[String], now: Timestamp) -> Condition {
    let mut problems = known.all_problems();
    let rules = known.checked.is_err();
    problems.extend(around.iter().map(String::as_str));
    let (status, reason) = match (problems.is_empty(), rules, known.problems.is_empty()) {
        (true, _, _) => ("True", READY),
        (false, true, _) => ("False", "Invalid"),
        (false, false, false) => ("False", "Secrets"),
        (false, false, true) => ("False", CLUSTER),
    };
    let mut message = problems.join("; ");
    message.truncate(message.floor_char_boundary(MESSAGE_BYTES));
    Condition {
        r#type: TYPE.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: rfc3339(now),
        observed_generation: known.hook.metadata.generation,
    }
}

fn is_use_of(used: &SecretUse, reference: &SecretRef) -> bool {
    (&used.name, &used.key) == (&reference.name, &reference.key)
}

fn note_use(uses: &mut Vec<SecretUse>, reference: &SecretRef, now: Timestamp) {
    let time = rfc3339(now);
    match uses.iter_mut().find(|used| is_use_of(used, reference)) {
        Some(used) => used.last_used_time = time,
        None => uses.push(SecretUse {
            name: reference.name.clone(),
            key: reference.key.clone(),
            last_used_time: time,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// The condition after an event, or after somebody found this wrong in the cluster; of a Hook with this on record.
    fn judged(before: &[Condition], generation: i64, around: Option<&[String]>) -> Condition {
        let mut hook = hooks::Hook::default();
        hook.metadata.generation = generation;
        hook.status = Some(HookStatus {
            conditions: before.to_vec(),
            ..HookStatus::default()
        });
        let known = Known {
            checked: Arc::new(hooks::check(&right()).map_err(|_| Vec::new())),
            hook,
            verifier: None,
            problems: Vec::new(),
        };
        let place = Place {
            namespace: "team".parse().unwrap(),
            name: "shop".to_owned(),
        };
        let address = Address::of(&place, None);
        let (status, _) = settled(&address, &known, around, Timestamp::UNIX_EPOCH);
        status.conditions[0].clone()
    }

    fn right() -> hooks::Hook {
        let hook = json!({
            "apiVersion": hooks::API_VERSION, "kind": "Hook", "metadata": {"name": "shop", "namespace": "team"},
            "spec": {
                "provider": "github", "verification": {"secretRefs": [{"name": "s"}]},
                "rules": [{"name": "build", "pipelineRef": {"name": "p"}}],
            },
        });
        serde_json::from_value(hook).unwrap()
    }

    fn told(condition: &Condition) -> (&str, &str) {
        (&condition.status, &condition.reason)
    }

    #[test]
    fn the_url_is_what_the_base_and_the_path_make() {
        let place = Place {
            namespace: "team".parse().unwrap(),
            name: "shop".to_owned(),
        };
        for base in ["https://hooks.example.com", "https://hooks.example.com/"] {
            let base = base.parse().unwrap();
            let url = Address::of(&place, Some(&base)).url;
            assert_eq!(
                url.as_deref(),
                Some("https://hooks.example.com/hooks/team/shop")
            );
        }
        assert_eq!(Address::of(&place, None).url, None);
    }

    #[test]
    fn an_event_does_not_say_what_only_a_look_at_the_cluster_can() {
        let missing = ["there is no Pipeline".to_owned()];
        let fresh = judged(&[], 1, None);
        assert_eq!(told(&fresh), ("Unknown", NOT_CHECKED));
        let good = judged(&[fresh], 1, Some(&[]));
        assert_eq!(told(&good), ("True", READY));
        let bad = judged(&[], 1, Some(&missing));
        assert_eq!(told(&bad), ("False", CLUSTER));
        for (looked, same) in [(good, ("True", READY)), (bad, ("False", CLUSTER))] {
            let before = [looked];
            assert_eq!(told(&judged(&before, 1, None)), same);
            // It was edited since.
            assert_eq!(told(&judged(&before, 2, None)), ("Unknown", NOT_CHECKED));
        }
    }
}
