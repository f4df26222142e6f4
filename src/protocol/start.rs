//! When a connection opened.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

/// An instant in half the memory of one: in nanoseconds since the first that was kept so by the process, or before
/// it. It is exact for 292 years.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Start(i64);

impl Start {
    pub(super) fn new(now: Instant) -> Self {
        let first = first(now);
        Self(match now.checked_duration_since(first) {
            Some(after) => nanos(after),
            None => -nanos(first.saturating_duration_since(now)),
        })
    }

    /// Returns how much time has passed until then; none where that was before.
    pub(super) fn age(self, now: Instant) -> Duration {
        let passed = Self::new(now).0.saturating_sub(self.0);
        Duration::from_nanos(u64::try_from(passed).unwrap_or(0))
    }

    /// Returns the instant that is so much later; `None` where there is none.
    pub(super) fn checked_add(self, after: Duration) -> Option<Instant> {
        // It is known since this was made.
        let first = *FIRST.get()?;
        let apart = Duration::from_nanos(self.0.unsigned_abs());
        let start = if self.0 < 0 {
            first.checked_sub(apart)
        } else {
            first.checked_add(apart)
        };
        start?.checked_add(after)
    }
}

/// Returns the first instant that was asked with.
fn first(now: Instant) -> Instant {
    *FIRST.get_or_init(|| now)
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// What instants are told apart by. Which one it is makes no difference.
static FIRST: OnceLock<Instant> = OnceLock::new();

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests {
    use super::*;

    #[test]
    fn it_is_as_exact_as_an_instant_before_and_after_the_first() {
        let now = Instant::now();
        let _first = Start::new(now);
        for nanos in [0, 1, 999_999_999, 86_400_000_000_007] {
            let apart = Duration::from_nanos(nanos);
            for instant in [now + apart, now.checked_sub(apart).unwrap_or(now)] {
                let start = Start::new(instant);
                assert_eq!(start.checked_add(Duration::ZERO), Some(instant));
                assert_eq!(start.age(instant), Duration::ZERO);
                assert_eq!(start.age(instant + apart), apart);
                let later = start.checked_add(apart).unwrap();
                assert_eq!(later, instant + apart);
            }
        }
    }

    #[test]
    fn it_has_no_age_before_it_begins() {
        let now = Instant::now();
        let start = Start::new(now + Duration::from_secs(1));
        assert_eq!(start.age(now), Duration::ZERO);
    }

    #[test]
    fn it_takes_half_the_memory() {
        assert_eq!(size_of::<Start>(), 8);
    }
}
