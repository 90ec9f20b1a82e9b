//! Running a recorded event again because somebody wants it: a new Delivery that points at the old one.
//!
//! It is decided by the Hook of today, under an identity of its own, and stored with its decision like any other. What
//! starts its runs is the sweep: whoever asks for a replay needs no right to start anything, and may be gone a moment
//! later. Pure: the caller reads and creates the objects.

use hooks::{
    Delivery, Hook, Ids, Problem, Seen,
    delivery::{HookRef, Record},
};
use jiff::Timestamp;
use serde_json::Value;

use deliveries::record::{self, Subject};

/// The Delivery of a replay. `id` tells replays of the same event apart: the same one gives the same name.
///
/// Its payload is where that of the old one is; a Secret that holds it has to get the new Delivery as an owner beside
/// the old one.
///
/// # Errors
/// What is wrong with the Hook.
pub fn replay(
    old: &Delivery,
    payload: &[u8],
    hook: &Hook,
    id: &str,
    now: Timestamp,
) -> Result<Delivery, Vec<Problem>> {
    let checked = hooks::check(hook)?;
    let (metadata, origin) = (&hook.metadata, &old.metadata.name);
    let key = format!("replay {id} of {origin}");
    let name = hooks::delivery_name(&metadata.name, &metadata.uid, &key);
    let json: Option<Value> = serde_json::from_slice(payload).ok();
    let recorded = &old.record;
    let event = providers::event::of(&recorded.provider, &recorded.event_type, json.as_ref());
    let query = providers::parameters(&recorded.query);
    let seen = Seen {
        body: json.as_ref().unwrap_or(&Value::Null),
        headers: &recorded.headers,
        query: &query,
        event: &serde_json::to_value(&event).unwrap_or_default(),
        payload_bytes: payload.len() as u64,
    };
    let ids = Ids {
        key: &key,
        delivery: &name,
    };
    let rules = hooks::decide(&checked, &seen, &ids);
    let record = Record {
        hook: Some(HookRef {
            name: metadata.name.clone(),
            uid: metadata.uid.clone(),
            generation: metadata.generation,
        }),
        key,
        received_time: record::rfc3339(now),
        event: Some(event.to_record()),
        rules,
        ..record::again(old)
    };
    let subject = Subject {
        name: &name,
        namespace: &metadata.namespace,
        request: id,
        service_account: Some(&hook.spec.service_account_name),
    };
    Ok(record::replay(subject, record))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use deliveries::resource;
    use hooks::{Outcome, delivery::StoredPayload, object::Metadata};
    use serde_json::json;

    use super::*;

    fn hook(filter: &str) -> Hook {
        let hook = json!({
            "apiVersion": hooks::API_VERSION, "kind": "Hook",
            "metadata": {"name": "shop", "namespace": "team", "uid": "u", "generation": 7},
            "spec": {
                "provider": "github",
                "verification": {"secretRefs": [{"name": "s"}]},
                "serviceAccountName": "builder",
                "rules": [{"name": "build", "filter": filter, "pipelineRef": {"name": "p"}}],
            },
        });
        serde_json::from_value(hook).unwrap()
    }

    fn old() -> Delivery {
        Delivery {
            api_version: hooks::API_VERSION.to_owned(),
            kind: "Delivery".to_owned(),
            metadata: Metadata {
                name: "shop-old".to_owned(),
                namespace: "team".to_owned(),
                uid: "u1".to_owned(),
                resource_version: "5".to_owned(),
                labels: BTreeMap::from([(resource::OUTCOME.to_owned(), "Filtered".to_owned())]),
                annotations: BTreeMap::from([
                    (resource::STORED_BYTES.to_owned(), "1".to_owned()),
                    (resource::REQUEST.to_owned(), "the first".to_owned()),
                ]),
                ..Metadata::default()
            },
            record: Record {
                provider: "github".to_owned(),
                event_type: "push".to_owned(),
                delivery_id: "d".to_owned(),
                key: "k".to_owned(),
                attempts: 3,
                outcome: Outcome::Filtered,
                payload: StoredPayload {
                    size: 2,
                    gzip: Some("x".to_owned()),
                    ..StoredPayload::default()
                },
                ..Record::default()
            },
        }
    }

    fn replayed(filter: &str, id: &str) -> Delivery {
        let payload = br#"{"ref": "refs/heads/main"}"#;
        let now = "2026-01-02T03:04:05Z".parse().unwrap();
        replay(&old(), payload, &hook(filter), id, now).unwrap()
    }

    #[test]
    fn a_replay_is_decided_anew_under_an_identity_of_its_own() {
        let new = replayed("event.branch == 'main'", "1");
        assert_eq!(new.record.outcome, Outcome::Received);
        assert_eq!(new.record.replay_of.as_deref(), Some("shop-old"));
        let generation = new.record.hook.as_ref().map(|hook| hook.generation);
        assert_eq!((generation, new.record.attempts), (Some(7), 0));
        assert_eq!(new.record.payload, old().record.payload);
        assert_eq!(new.metadata.labels[resource::OUTCOME], "Received");
        let annotation = |name: &str| new.metadata.annotations[name].clone();
        assert_eq!(annotation(resource::SERVICE_ACCOUNT), "builder");
        assert_eq!(annotation(resource::REQUEST), "1");
        assert_ne!(annotation(resource::STORED_BYTES), "1");
        // Nothing of the old object but its content: the API server gives these.
        assert_eq!(
            (
                new.metadata.uid.as_str(),
                new.metadata.resource_version.as_str()
            ),
            ("", "")
        );
        let run = new.record.rules[0].pipeline_run.clone().unwrap();
        assert_eq!(
            run["metadata"]["labels"][hooks::run::DELIVERY],
            new.metadata.name.as_str()
        );
    }

    #[test]
    fn the_same_replay_has_the_same_names_and_another_one_others() {
        let names = |id| {
            let new = replayed("true", id);
            (new.metadata.name, new.record.rules[0].run.clone())
        };
        assert_eq!(names("1"), names("1"));
        let (one, two) = (names("1"), names("2"));
        assert!(one.0 != two.0 && one.1 != two.1);
    }

    #[test]
    fn a_flow_is_left_to_whoever_can_look_it_up() {
        let mut hook = hook("true");
        for rule in &mut hook.spec.rules {
            rule.pipeline_ref = None;
            rule.flow = serde_json::from_value(json!({"key": "scan"})).unwrap();
        }
        let new = replay(&old(), b"{}", &hook, "1", Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(new.record.outcome, Outcome::Received);
        let flow = new.record.rules[0].flow.as_ref().unwrap();
        assert_eq!(flow.key.as_deref(), Some("scan"));
    }

    #[test]
    fn what_the_hook_of_today_filters_starts_nothing() {
        let new = replayed("event.branch == 'dev'", "1");
        assert_eq!(new.record.outcome, Outcome::Filtered);
        assert!(
            new.record.reason.contains("rule build"),
            "{}",
            new.record.reason
        );
        assert!(replay(&old(), b"{}", &hook("evnt"), "1", Timestamp::UNIX_EPOCH).is_err());
    }
}
