//! So much in a second, and no more.

use std::time::{Duration, Instant};

/// How much was done of what may be done so often in a second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Budget {
    /// When the second began; there was none yet, or it does not matter any more.
    since: Option<Instant>,
    used: u32,
}

impl Budget {
    /// Takes one, of `most` in a second; reports whether there is one.
    pub(super) fn take(&mut self, most: u32, now: Instant) -> bool {
        let is_over = |since| now.saturating_duration_since(since) >= SECOND;
        if self.since.is_none_or(is_over) {
            *self = Self {
                since: Some(now),
                used: 0,
            };
        }
        let is_left = self.used < most;
        self.used += u32::from(is_left);
        is_left
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_much_is_taken_in_a_second_and_as_much_in_the_next() {
        let mut budget = Budget::default();
        let mut now = Instant::now();
        for _ in 0..3 {
            for _ in 0..5 {
                assert!(budget.take(5, now));
            }
            now += Duration::from_millis(999);
            assert!(!budget.take(5, now));
            now += Duration::from_millis(1);
        }
    }
}
