//! How often something may happen: events of one Hook that are started at once (what exceeds it is stored, and started
//! by the sweep), and reads for names that nobody has.

use tokio::time::Instant;

/// A bucket of tokens: a minute's worth fits into it, and it fills at the rate of the quota.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    /// Tokens taken, and when that was true.
    taken: Option<(f64, Instant)>,
}

impl Bucket {
    /// Takes one token, if there is one.
    pub(crate) fn take(&mut self, per_minute: u32, now: Instant) -> bool {
        let size = f64::from(per_minute);
        let taken = self.taken.map_or(0.0, |(taken, at)| {
            let regained = now.saturating_duration_since(at).as_secs_f64() * size / 60.0;
            (taken - regained).max(0.0)
        });
        let allowed = taken + 1.0 <= size;
        self.taken = Some((if allowed { taken + 1.0 } else { taken }, now));
        allowed
    }

    /// Gives one token back that was taken for nothing.
    pub(crate) fn give_back(&mut self) {
        if let Some((taken, _)) = &mut self.taken {
            *taken = (*taken - 1.0).max(0.0);
        }
    }

    /// Whether the next token cannot be had now, right after one was taken or asked for.
    pub(crate) fn is_empty(&self, per_minute: u32) -> bool {
        let size = f64::from(per_minute);
        self.taken.is_some_and(|(taken, _)| taken + 1.0 > size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_minute_s_worth_is_there_at_once_and_comes_back_steadily() {
        let mut bucket = Bucket::default();
        let start = Instant::now();
        let taken = (0..100).filter(|_| bucket.take(60, start)).count();
        assert_eq!(taken, 60);
        let later = start + Duration::from_secs(10);
        let taken = (0..100).filter(|_| bucket.take(60, later)).count();
        assert_eq!(taken, 10);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let (mut bucket, now) = (Bucket::default(), Instant::now());
        assert!(!bucket.is_empty(1) && bucket.take(1, now));
        assert!(bucket.is_empty(1) && !bucket.take(1, now));
        bucket.give_back();
        assert!(!bucket.is_empty(1) && bucket.take(1, now));
    }

    #[test]
    fn a_quota_of_zero_stores_everything() {
        assert!(!Bucket::default().take(0, Instant::now()));
    }
}
