//! `hookrun deliveries list`: a line for each event, the newest first.

use std::{future, process::ExitCode};

use deliveries::resource::DELIVERIES;
use futures_util::{StreamExt, TryStreamExt};
use hooks::{Delivery, delivery::Record};
use jiff::Timestamp;

use super::select::{marks, read, within, word};
use crate::{
    cli::{common::Form, deliveries::List},
    command::{
        objects::Objects,
        output::{age, plain, print, table},
        say,
    },
};

/// Deliveries that are shown to people, unless they say otherwise.
const SHOWN: usize = 100;

/// Characters of a cell, and of the last one of a line.
const CELL: usize = 40;
const LAST: usize = 120;

/// The titles of the columns.
pub(super) const HEADER: [&str; 7] = [
    "NAME",
    "HOOK",
    "EVENT",
    "OUTCOME",
    "AGE",
    "DUPLICATES",
    "RUN OR REASON",
];

/// Runs the command.
pub(super) async fn run(options: &List) -> anyhow::Result<ExitCode> {
    let objects = Objects::connect(&options.objects).await?;
    let namespace = (!options.all_namespaces).then(|| objects.namespace());
    let now = Timestamp::now();
    let shown = (options.output.form == Form::Text).then_some(SHOWN);
    let deliveries = match options.limit.or(shown) {
        Some(limit) => newest(&objects, namespace, options, limit, now).await?,
        None => whole(&objects, namespace, options, now).await?,
    };
    print(options.output.form, &deliveries, || {
        let rows: Vec<_> = deliveries
            .iter()
            .map(|delivery| row(delivery, options.all_namespaces, now))
            .collect();
        match rows.as_slice() {
            [] => "there are no such Deliveries\n".to_owned(),
            rows => table(HEADER, rows),
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// All that are meant, page by page.
async fn whole(
    objects: &Objects,
    namespace: Option<&str>,
    options: &List,
    now: Timestamp,
) -> anyhow::Result<Vec<Delivery>> {
    let labels = options.range.selection.labels(options.hook.as_deref());
    let mut all: Vec<Delivery> = objects.list(DELIVERIES, namespace, &labels).await?;
    all.retain(|delivery| options.range.means(delivery, now));
    newest_first(&mut all);
    Ok(all)
}

/// Whether so many of all are better read with all the others, in pages, than one by one: a request for each takes longer
/// than as many bytes again.
fn better_whole(wanted: usize, all: usize) -> bool {
    all <= wanted.saturating_mul(2)
}

/// So many of those that are meant: little more is read whole than is shown.
async fn newest(
    objects: &Objects,
    namespace: Option<&str>,
    options: &List,
    limit: usize,
    now: Timestamp,
) -> anyhow::Result<Vec<Delivery>> {
    let labels = options.range.selection.labels(options.hook.as_deref());
    let all = marks(objects, namespace, &labels).await?;
    let meant = within(&all, &options.range, now);
    let count = meant.len();
    let newest = if better_whole(count.min(limit), all.len()) {
        let mut newest = whole(objects, namespace, options, now).await?;
        newest.truncate(limit);
        newest
    } else {
        let means = |delivery: &Delivery| future::ready(options.range.means(delivery, now));
        let read = read(objects, meant).try_filter(means).take(limit);
        read.try_collect().await?
    };
    if newest.len() == limit && count > limit {
        say(&format!(
            "these are the newest {limit} of {count}; --limit shows more"
        ));
    }
    Ok(newest)
}

/// The times of records are written so that their order as text is theirs.
pub(super) fn newest_first(deliveries: &mut [Delivery]) {
    deliveries.sort_by(|one, other| {
        let key = |delivery: &Delivery| {
            (
                delivery.record.received_time.clone(),
                delivery.metadata.name.clone(),
            )
        };
        key(other).cmp(&key(one))
    });
}

/// The Hook that an event came to, or the flow that it was posted for.
fn origin(record: &Record) -> String {
    match (&record.hook, record.rules.first()) {
        (Some(hook), _) => hook.name.clone(),
        (None, Some(flow)) => format!("flow {}", flow.name),
        (None, None) => String::new(),
    }
}

/// The line of a Delivery.
pub(super) fn row(delivery: &Delivery, with_namespace: bool, now: Timestamp) -> [String; 7] {
    let (metadata, record) = (&delivery.metadata, &delivery.record);
    let runs: Vec<&str> = record
        .rules
        .iter()
        .filter_map(|rule| rule.run.as_deref())
        .collect();
    let started = word(record.outcome) == "Created";
    let last = if started {
        runs.join(", ")
    } else {
        record.reason.clone()
    };
    let name = match with_namespace {
        true => format!("{}/{}", metadata.namespace, metadata.name),
        false => metadata.name.clone(),
    };
    let action = record
        .event
        .as_ref()
        .and_then(|event| event["action"].as_str());
    let event = match action {
        Some(action) => format!("{}.{action}", record.event_type),
        None => record.event_type.clone(),
    };
    [
        // Names are to be copied, so they are never cut.
        name,
        origin(record),
        plain(&event, CELL),
        word(record.outcome).to_owned(),
        age(&record.received_time, now),
        record.duplicates.to_string(),
        plain(&last, LAST),
    ]
}

#[cfg(test)]
pub(super) mod tests {
    use hooks::{
        Outcome,
        delivery::{HookRef, RuleRecord},
        object::Metadata,
    };
    use serde_json::json;

    use super::*;

    /// A Delivery of one rule.
    pub(in super::super) fn delivery(name: &str, outcome: Outcome, received: &str) -> Delivery {
        Delivery {
            api_version: hooks::API_VERSION.to_owned(),
            kind: "Delivery".to_owned(),
            metadata: Metadata {
                name: name.to_owned(),
                namespace: "team".to_owned(),
                ..Metadata::default()
            },
            record: Record {
                hook: Some(HookRef {
                    name: "shop".to_owned(),
                    ..HookRef::default()
                }),
                event_type: "pull_request".to_owned(),
                event: Some(json!({"action": "opened"})),
                received_time: received.to_owned(),
                outcome,
                reason: "rule build: the filter is false".to_owned(),
                rules: vec![RuleRecord {
                    name: "build".to_owned(),
                    outcome,
                    reason: "the filter is false".to_owned(),
                    expression: Some("event.branch == 'main'".to_owned()),
                    values: [("event.branch".to_owned(), "\"dev\"".to_owned())].into(),
                    run: (outcome == Outcome::Created).then(|| "shop-build-1".to_owned()),
                    ..RuleRecord::default()
                }],
                ..Record::default()
            },
        }
    }

    #[test]
    fn a_line_says_what_was_started_or_why_nothing_was() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().expect("a time");
        let row = |outcome| {
            row(
                &delivery("d", outcome, "2026-01-02T03:04:00.000Z"),
                true,
                now,
            )
        };
        let expected = [
            "team/d",
            "shop",
            "pull_request.opened",
            "Created",
            "5s",
            "0",
            "shop-build-1",
        ];
        assert_eq!(row(Outcome::Created), expected);
        assert_eq!(row(Outcome::Filtered)[6], "rule build: the filter is false");
    }

    #[test]
    fn deliveries_are_read_one_by_one_where_most_of_them_are_not_wanted() {
        assert!(better_whole(100, 100) && better_whole(100, 150));
        assert!(!better_whole(2, 6) && !better_whole(0, 1) && !better_whole(100, 10_000));
    }

    #[test]
    fn the_newest_comes_first() {
        let mut all: Vec<_> = [
            "2026-01-02T03:04:05.100Z",
            "2026-01-03T03:04:05.000Z",
            "2026-01-02T03:04:05.200Z",
        ]
        .iter()
        .enumerate()
        .map(|(at, time)| delivery(&at.to_string(), Outcome::Created, time))
        .collect();
        newest_first(&mut all);
        let names: Vec<_> = all
            .iter()
            .map(|delivery| delivery.metadata.name.as_str())
            .collect();
        assert_eq!(names, ["1", "2", "0"]);
    }
}
