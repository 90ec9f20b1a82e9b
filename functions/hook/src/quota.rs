//! How many events of one Hook are started at once; what exceeds it is stored, and started by the sweep.

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
    fn a_quota_of_zero_stores_everything() {
        assert!(!Bucket::default().take(0, Instant::now()));
    }
}
