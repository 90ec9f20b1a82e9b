//! Which Deliveries of a Hook are past their time.

use crate::{Outcome, hook::Retention};

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

/// What retention needs to know of a Delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its name.
    pub name: String,
    /// When it came, in milliseconds since 1970.
    pub received: i64,
    /// Bytes of its payload, as they are stored.
    pub bytes: u64,
    /// What became of it.
    pub outcome: Outcome,
}

/// The Deliveries of one Hook that are to be deleted, the oldest first: all beyond the number, the age, or the bytes
/// that the Hook keeps. What is not finished stays, and counts. The same Deliveries give the same answer, in whatever
/// order they come. `now` is in milliseconds since 1970.
pub fn retain(mut deliveries: Vec<Kept>, retention: &Retention, now: i64) -> Vec<String> {
    deliveries.sort_unstable_by(|one, other| {
        (other.received, &other.name).cmp(&(one.received, &one.name))
    });
    let oldest = now.saturating_sub(i64::from(retention.days).saturating_mul(DAY));
    let mut bytes: u64 = 0;
    let mut past = Vec::new();
    for (at, delivery) in deliveries.into_iter().enumerate() {
        bytes = bytes.saturating_add(delivery.bytes);
        let exceeds =
            at >= retention.count as usize || delivery.received < oldest || bytes > retention.bytes;
        if exceeds && delivery.outcome != Outcome::Received {
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
        Retention { count, days, bytes }
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
        assert_eq!(retain(four(), &keep(2, 14, 1000), 5 * DAY), ["a", "b"]);
        assert_eq!(retain(four(), &keep(10, 2, 1000), 5 * DAY), ["a", "b"]);
        assert_eq!(retain(four(), &keep(10, 14, 35), 5 * DAY), ["a"]);
        assert_eq!(retain(four(), &keep(10, 14, 1000), 5 * DAY), [""; 0]);
        assert_eq!(
            retain(four(), &keep(0, 14, 1000), 5 * DAY),
            ["a", "b", "c", "d"]
        );
    }

    #[test]
    fn one_that_is_exactly_as_old_as_allowed_stays() {
        assert_eq!(
            retain(vec![kept("a", DAY, 1)], &keep(9, 2, 9), 3 * DAY),
            [""; 0]
        );
        assert_eq!(
            retain(vec![kept("a", DAY, 1)], &keep(9, 2, 9), 3 * DAY + 1),
            ["a"]
        );
    }

    #[test]
    fn what_is_not_finished_stays_and_counts() {
        let mut deliveries = four();
        for delivery in &mut deliveries {
            if delivery.name == "a" || delivery.name == "d" {
                delivery.outcome = Outcome::Received;
            }
        }
        assert_eq!(retain(deliveries, &keep(2, 14, 1000), 5 * DAY), ["b"]);
    }

    #[test]
    fn the_order_in_which_they_come_does_not_matter() {
        let mut same_time: Vec<_> = ["a", "b", "c"].map(|name| kept(name, 7, 1)).into();
        let one = retain(same_time.clone(), &keep(1, 14, 9), 8);
        same_time.reverse();
        assert_eq!(one, retain(same_time, &keep(1, 14, 9), 8));
        assert_eq!(one, ["a", "b"]);
    }
}
