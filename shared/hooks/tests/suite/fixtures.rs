//! Fixtures: a Hook, an event as it is seen, and what is decided; `UPDATE_FIXTURES=1` rewrites what is decided.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use hooks::{Hook, Ids, Outcome, Seen, check, decide, delivery::RuleRecord, delivery_name};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

const EXPECT: &str = "expect:\n";

/// A file up to `expect:`.
fn read<T: DeserializeOwned>(path: &Path) -> (String, T, String) {
    let text = fs::read_to_string(path).unwrap();
    let at = text
        .find(EXPECT)
        .unwrap_or_else(|| panic!("{}: no `expect`", path.display()));
    let (given, expected) = text.split_at(at);
    let parsed =
        serde_saphyr::from_str(given).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (given.to_owned(), parsed, expected.to_owned())
}

/// Compares with the rest of the file, or rewrites it.
fn compare<T: Serialize>(path: &Path, given: &str, expected: &str, found: &T) {
    let found = serde_saphyr::to_string(&BTreeMap::from([("expect", found)])).unwrap();
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        fs::write(path, format!("{given}{found}")).unwrap();
        return;
    }
    let value = |text: &str| serde_saphyr::from_str::<Value>(text).unwrap();
    assert_eq!(
        value(&found),
        value(expected),
        "{}\n{found}",
        path.display()
    );
}

fn cases(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(folder);
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Decision {
    hook: Hook,
    #[serde(default)]
    body: Value,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    query: BTreeMap<String, String>,
    event: Value,
    key: String,
}

fn decided(path: &Path) -> Vec<RuleRecord> {
    let (given, case, expected) = read::<Decision>(path);
    let checked =
        check(&case.hook).unwrap_or_else(|problems| panic!("{}: {problems:#?}", path.display()));
    let metadata = &case.hook.metadata;
    let records = decide(
        &checked,
        &Seen {
            body: &case.body,
            headers: &case.headers,
            query: &case.query,
            event: &case.event,
            payload_bytes: case.body.to_string().len() as u64,
        },
        &Ids {
            key: &case.key,
            delivery: &delivery_name(&metadata.name, &metadata.uid, &case.key),
        },
    );
    compare(path, &given, &expected, &records);
    records
}

#[test]
fn decisions() {
    for path in cases("decide/ok") {
        let records = decided(&path);
        assert!(
            records
                .iter()
                .all(|record| record.outcome != Outcome::Failed),
            "{}",
            path.display()
        );
    }
}

#[test]
fn decisions_that_fail() {
    for path in cases("decide/err") {
        let records = decided(&path);
        assert!(
            records
                .iter()
                .any(|record| record.outcome == Outcome::Failed),
            "{}",
            path.display()
        );
        let left = |record: &RuleRecord| record.pipeline_run.is_some() || record.run.is_some();
        assert!(
            !records
                .iter()
                .any(|record| record.outcome == Outcome::Failed && left(record))
        );
    }
}

#[test]
fn the_record_fits_into_an_object_whatever_the_hook_says() {
    let rule = |at: usize| {
        json!({
            "name": format!("r{at}"), "flow": {"key": "k"},
            "filter": format!("body.{} == '{}'", "a".repeat(1900), "b".repeat(1900)),
            "params": [{"name": "p", "expression": "body.text"}],
            "payload": {"workspace": "w", "expression": "body.text"},
        })
    };
    let mut hook: Hook = serde_json::from_value(json!({
        "apiVersion": "", "kind": "", "metadata": {"name": "h", "uid": "u"},
        "spec": {
            "provider": "github", "verification": {"secretRefs": [{"name": "s"}]},
            "rules": (0..64).map(rule).collect::<Vec<_>>(),
        },
    }))
    .unwrap();
    let none = BTreeMap::new();
    let body = json!({"text": "t".repeat(100_000), "a".repeat(1900): "b".repeat(1900)});
    let seen = Seen {
        body: &body,
        headers: &none,
        query: &none,
        event: &json!({"type": "push"}),
        payload_bytes: 1,
    };
    let ids = Ids {
        key: "k",
        delivery: "d",
    };
    let records = decide(&check(&hook).unwrap(), &seen, &ids);
    assert_eq!(records[0].outcome, Outcome::Received);
    assert_eq!(
        records[0].params.as_ref().unwrap()["p"],
        "t".repeat(100_000)
    );
    assert!(
        records[1].reason.contains("are too large"),
        "{}",
        records[1].reason
    );
    assert!(records[1].expression.is_some() && records[63].expression.is_none());
    assert!(!records[63].reason.is_empty());
    let bytes = serde_json::to_vec(&records).unwrap().len();
    assert!(bytes < 512 << 10, "{bytes}");

    hook.spec.rules[0].flow = None;
    hook.spec.rules[0].pipeline_run = Some(json!({
        "spec": {"pipelineRef": {"name": "p"}, "params": [{"name": "x", "value": "v".repeat(300_000)}]},
    }));
    let problems = check(&hook).unwrap_err();
    assert_eq!(problems[0].place, "spec.rules");
    assert!(
        problems[0].message.contains("may have 262144"),
        "{}",
        problems[0]
    );
}

#[test]
fn a_checked_hook_can_be_kept_and_shared() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<hooks::Checked>();
}

#[test]
fn the_installed_definitions_are_those_of_the_types() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../knative/crds");
    for (plural, definition) in ["hooks", "deliveries"].into_iter().zip(hooks::crds()) {
        let text = fs::read_to_string(folder.join(format!("{plural}.yaml"))).unwrap();
        let installed: Value = serde_saphyr::from_str(&text).unwrap();
        assert!(
            installed == definition,
            "{plural}: run `cargo xtask generate`"
        );
    }
}

#[derive(Deserialize)]
struct Refused {
    hook: Hook,
}

#[derive(Serialize)]
struct Told {
    place: String,
    kind: String,
    message: String,
}

#[test]
fn hooks_that_are_refused() {
    for path in cases("check/err") {
        let (given, case, expected) = read::<Refused>(&path);
        let problems = check(&case.hook).expect_err(&path.display().to_string());
        let told: Vec<_> = problems
            .into_iter()
            .map(|problem| Told {
                place: problem.place,
                kind: problem.kind.to_string(),
                message: problem.message,
            })
            .collect();
        compare(&path, &given, &expected, &told);
    }
}
