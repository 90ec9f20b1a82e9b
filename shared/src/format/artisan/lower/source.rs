//! What steps read: the rules between `package`, `function` and `source`, over all steps.
//!
//! They are the checks that the Artisan CLI does before it fills a flow, done again where the flow arrives, and two
//! more for fields that the runtime would pass over in silence. `docs/artisan.md` lists them.

use super::super::Step;
use super::{Notes, at_step};
use crate::problem::{Kind, shortened};

const CREATE: &str = "create";
const MERGE: &str = "merge";
const READ: &str = "read";

/// Whether a step's function is read from the flow's Git repository.
pub(super) fn has_only_function(step: &Step) -> bool {
    !step.function.is_empty() && step.package.is_empty()
}

/// Checks every rule on every step; takes time in proportion to their number.
pub(super) fn check(steps: &[Step], notes: &Notes) {
    let create = steps.iter().position(|step| step.source == CREATE);
    let only_function = steps.iter().position(has_only_function);
    let transient = first_by_package(steps, |step| step.source.is_empty());
    for (index, step) in steps.iter().enumerate() {
        check_alone(index, step, notes);
        let here = || at_step(index, "source");
        let step_source = match step.source.as_str() {
            MERGE => Some(MERGE),
            READ => Some(READ),
            _ => None,
        };
        match (step_source, create) {
            (Some(step_source), None) => {
                notes.add(here, || Kind::SourceWithoutCreate { step_source })
            }
            (Some(step_source), Some(create)) if index < create => {
                notes.add(here, || Kind::SourceBeforeCreate {
                    step_source,
                    create,
                });
            }
            (Some(_) | None, _) => {}
        }
        if !step.source.is_empty()
            && let Some(other) = transient.get(step.package.as_str())
        {
            let package = || shortened(&step.package);
            notes.add(
                || at_step(index, "package"),
                || Kind::PackageUsedTwoWays {
                    package: package(),
                    other: *other,
                },
            );
        }
        if step.source == CREATE
            && let Some(other) = only_function
        {
            notes.add(here, || Kind::CreateWithGit { other });
        }
    }
}

/// The rules that look at one step.
fn check_alone(index: usize, step: &Step, notes: &Notes) {
    let source = || at_step(index, "source");
    if !matches!(step.source.as_str(), "" | CREATE | MERGE | READ) {
        notes.add(source, || Kind::UnknownSource {
            given: shortened(&step.source),
        });
    }
    if !step.source.is_empty() && step.package.is_empty() {
        notes.add(source, || Kind::SourceWithoutPackage);
    }
    if !step.package.is_empty() && step.function.is_empty() && step.source != MERGE {
        notes.add(
            || at_step(index, "package"),
            || Kind::PackageWithoutFunction,
        );
    }
    if step.source == MERGE && !step.function.is_empty() {
        notes.add(|| at_step(index, "function"), || Kind::MergeWithFunction);
    }
}

/// The first step that uses each package, of those that match.
fn first_by_package(
    steps: &[Step],
    matches: impl Fn(&Step) -> bool,
) -> std::collections::BTreeMap<&str, usize> {
    let mut first = std::collections::BTreeMap::new();
    for (index, step) in steps.iter().enumerate() {
        if !step.package.is_empty() && matches(step) {
            first.entry(step.package.as_str()).or_insert(index);
        }
    }
    first
}
