//! How long Deliveries are kept, and which ones of a Hook are past their time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Outcome;

/// Milliseconds of an hour.
const HOUR: i64 = 3_600_000;
/// Milliseconds of a day.
const DAY: i64 = 24 * HOUR;

/// Bytes that the cluster adds to each Delivery, about: its UID, its times, and who wrote which of its fields.
const RECORD: u64 = 2 << 10;

/// Most that a Hook may keep, in the words of [`Retention`]: the cluster is everybody's.
pub(crate) const MAX_COUNT: u32 = 10_000;
/// Most hours.
pub(crate) const MAX_HOURS: u32 = 366 * 24;
/// Most days.
pub(crate) const MAX_DAYS: u32 = 366;
/// Most bytes.
pub(crate) const MAX_BYTES: u64 = 1 << 30;

/// How long Deliveries are kept, and so how long an event that comes again is recognised. The sweep deletes the oldest of
/// what exceeds any of these. What is gone would start its runs once more, were it sent again and its first runs gone, too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retention {
    /// Number of Deliveries. It deletes none that came within `minHours`.
    #[serde(default = "default_count")]
    #[schemars(range(max = MAX_COUNT))]
    pub count: u32,
    /// Hours for which they are kept however many there are, so that a repeated event is recognised also where many come at
    /// once. With 72, what people send again within the 3 days that GitHub gives them is recognised, too.
    #[serde(default = "default_min_hours")]
    #[schemars(range(max = MAX_HOURS))]
    pub min_hours: u32,
    /// Days.
    #[serde(default = "default_days")]
    #[schemars(range(max = MAX_DAYS))]
    pub days: u32,
    /// Bytes of all Deliveries together, as they are stored in the cluster, with the Secrets that they own and 2 KiB for
    /// each that the cluster adds. The newest stays, whatever its size. This goes before `minHours`: what is stored in the
    /// cluster has to be bounded.
    #[serde(default = "default_bytes")]
    #[schemars(range(max = MAX_BYTES))]
    pub bytes: u64,
}

fn default_count() -> u32 {
    100
}
fn default_min_hours() -> u32 {
    1
}
fn default_days() -> u32 {
    14
}
fn default_bytes() -> u64 {
    8 << 20
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            count: default_count(),
            min_hours: default_min_hours(),
            days: default_days(),
            bytes: default_bytes(),
        }
    }
}

/// What retention needs to know of a Delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its name.
    pub name: String,
    /// When it came, in milliseconds since 1970.
    pub received: i64,
    /// Bytes that it takes with what it owns, as they were written.
    pub bytes: u64,
    /// What became of it.
    pub outcome: Outcome,
}

/// The Deliveries of one Hook that are to be deleted, the oldest first: all beyond the number, the age, or the bytes
/// that the Hook keeps. What is not finished stays, and counts. For number and bytes the newest stays, too; for the number,
/// also what came within [`Retention::min_hours`]. One that has more bytes than all may have together goes by itself, and
/// takes no other with it. The same Deliveries give the same answer, in whatever order they come. `now` is in
/// milliseconds since 1970.
pub fn retain(mut deliveries: Vec<Kept>, retention: &Retention, now: i64) -> Vec<String> {
    deliveries.sort_unstable_by(|one, other| {
        (other.received, &other.name).cmp(&(one.received, &one.name))
    });
    let before = |age: i64| now.saturating_sub(age);
    let oldest = before(i64::from(retention.days).saturating_mul(DAY));
    let young = before(i64::from(retention.min_hours).saturating_mul(HOUR));
    let mut bytes: u64 = 0;
    let mut past = Vec::new();
    for (at, delivery) in deliveries.into_iter().enumerate() {
        let taken = delivery.bytes.saturating_add(RECORD);
        let too_large = taken > retention.bytes;
        if !too_large {
            bytes = bytes.saturating_add(taken);
        }
        let too_many = at >= retention.count as usize && delivery.received < young;
        let exceeds = at > 0 && (too_many || too_large || bytes > retention.bytes);
        if (exceeds || delivery.received < oldest) && delivery.outcome != Outcome::Received {
            past.push(delivery.name);
        }
    }
    past.reverse();
    past
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(name: &str, received: i64, bytes: u64) -> Kept {
        Kept {
            name: name.to_owned(),
            received,
            bytes,
            outcome: Outcome::Created,
        }
    }

    fn keep(count: u32, days: u32, bytes: u64) -> Retention {
        Retention {
            count,
            min_hours: 0,
            days,
            bytes,
        }
    }

    /// Bytes in which so many Deliveries have room that have ten bytes each.
    fn room(deliveries: u64) -> u64 {
        deliveries * (RECORD + 10)
    }

    fn four() -> Vec<Kept> {
        vec![
            kept("c", 3 * DAY, 10),
            kept("a", DAY, 10),
            kept("d", 4 * DAY, 10),
            kept("b", 2 * DAY, 10),
        ]
    }

    #[test]
    fn the_oldest_beyond_each_limit_go_first() {
        let all = room(4);
        assert_eq!(retain(four(), &keep(2, 14, all), 5 * DAY), ["a", "b"]);
        assert_eq!(retain(four(), &keep(10, 2, all), 5 * DAY), ["a", "b"]);
        assert_eq!(retain(four(), &keep(10, 14, all - 1), 5 * DAY), ["a"]);
        assert_eq!(retain(four(), &keep(10, 14, all), 5 * DAY), [""; 0]);
    }

    #[test]
    fn the_newest_goes_for_its_age_alone() {
        let past = retain(four(), &keep(0, 14, room(4)), 5 * DAY);
        assert_eq!(past, ["a", "b", "c"]);
        assert_eq!(retain(four(), &keep(9, 14, 0), 5 * DAY), ["a", "b", "c"]);
        let past = retain(four(), &keep(9, 0, room(4)), 5 * DAY);
        assert_eq!(past, ["a", "b", "c", "d"]);
    }

    #[test]
    fn one_that_is_too_large_takes_no_other_with_it() {
        let with_large = |name: &str| {
            let mut deliveries = four();
            for delivery in &mut deliveries {
                if delivery.name == name {
                    delivery.bytes = 25 << 20;
                }
            }
            retain(deliveries, &keep(9, 14, room(4)), 5 * DAY)
        };
        assert_eq!(with_large("d"), [""; 0]);
        assert_eq!(with_large("c"), ["c"]);
        assert_eq!(with_large("a"), ["a"]);
    }

    #[test]
    fn however_many_come_at_once_they_are_known_for_a_while() {
        let retention = Retention::default();
        let burst = |minutes: i64| {
            let came = |at: i64| kept(&format!("{at:04}"), DAY + at, 3000);
            let past = retain(
                (0..1000).map(came).collect(),
                &retention,
                DAY + minutes * 60_000,
            );
            1000 - past.len()
        };
        assert_eq!(burst(10), 1000);
        assert_eq!(burst(59), 1000);
        assert_eq!(burst(61), retention.count as usize);
    }

    #[test]
    fn a_flood_of_small_events_is_bounded_by_its_bytes() {
        let flood = (0..10_000).map(|at| kept(&format!("{at:05}"), DAY + at, 10));
        let kept = 10_000 - retain(flood.collect(), &Retention::default(), DAY + 10_000).len();
        assert_eq!(kept as u64, Retention::default().bytes / room(1));
    }

    #[test]
    fn one_that_is_exactly_as_old_as_allowed_stays() {
        let limits = keep(9, 2, room(1));
        let one = || vec![kept("a", DAY, 1)];
        assert_eq!(retain(one(), &limits, 3 * DAY), [""; 0]);
        assert_eq!(retain(one(), &limits, 3 * DAY + 1), ["a"]);
    }

    #[test]
    fn what_is_not_finished_stays_and_counts() {
        let mut deliveries = four();
        for delivery in &mut deliveries {
            if delivery.name == "a" || delivery.name == "d" {
                delivery.outcome = Outcome::Received;
            }
        }
        assert_eq!(retain(deliveries, &keep(2, 14, room(4)), 5 * DAY), ["b"]);
    }

    #[test]
    fn the_order_in_which_they_come_does_not_matter() {
        let mut same_time: Vec<_> = ["a", "b", "c"].map(|name| kept(name, 7, 1)).into();
        let one = retain(same_time.clone(), &keep(1, 14, room(3)), 8);
        same_time.reverse();
        assert_eq!(one, retain(same_time, &keep(1, 14, room(3)), 8));
        assert_eq!(one, ["a", "b"]);
    }
}
