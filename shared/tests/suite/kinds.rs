//! Every kind of problem is explained, and shown by a fixture.

use std::{collections::BTreeSet, fs, path::Path};

use crate::fixtures::cases;

/// The kinds, read from the one place that lists them.
fn slugs() -> BTreeSet<String> {
    let source = include_str!("../../src/problem/kind.rs");
    let arms = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Self::")?.split_once("=> \""));
    arms.filter_map(|(_, rest)| Some(rest.split_once('"')?.0.to_owned()))
        .collect()
}

#[test]
fn every_kind_is_explained() {
    let document = include_str!("../../../docs/problems/document.md");
    let explained: BTreeSet<_> = document
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(str::to_owned)
        .collect();
    assert_eq!(explained, slugs());
}

#[test]
fn every_kind_is_shown_by_a_case() {
    // These need what the cluster holds, and are shown by the tests of `stored`; or thousands of problems.
    let elsewhere = [
        "not-tekton",
        "task-not-found",
        "secret-not-found",
        "parameter-without-value",
        "workspace-without-volume",
        "more-problems",
        "data-too-large",
        "value-too-long",
    ];
    let mut shown: BTreeSet<_> = elsewhere.iter().map(ToString::to_string).collect();
    for case in cases("artisan/err", "txt") {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/artisan/err");
        let report =
            fs::read_to_string(folder.join(format!("{}.txt", case.name))).unwrap_or_default();
        let slugs = report
            .lines()
            .filter_map(|line| line.strip_suffix(']')?.rsplit_once('['))
            .map(|(_, slug)| slug);
        shown.extend(slugs.map(str::to_owned));
    }
    assert_eq!(shown, slugs());
}
