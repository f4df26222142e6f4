//! How long the pauses are.

use std::time::Duration;

use super::setback::Setback;
use crate::protocol::CloseCode;

/// What pauses depend on.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    /// Doubles with each try.
    pub(super) base: Duration,
    pub(super) max: Duration,
    pub(super) stable_after: Duration,
    pub(super) max_retry_after: Duration,
}

impl Pace {
    /// Returns how long to wait after a setback; `random` says how far it is from the least to the most.
    pub(super) fn delay(&self, setback: &Setback, tries: u32, random: u32) -> Duration {
        let asked = setback.retry_after();
        self.pick(setback.close_code(), asked, tries, random)
    }

    fn pick(
        &self,
        code: Option<CloseCode>,
        asked: Option<Duration>,
        tries: u32,
        random: u32,
    ) -> Duration {
        let (least, span) = if code == Some(CloseCode::TRY_AGAIN_LATER) {
            (self.max / 2, self.max / 2)
        } else {
            let factor = 1_u32.checked_shl(tries).unwrap_or(u32::MAX);
            let asked = asked.unwrap_or_default().min(self.max_retry_after);
            (asked, self.base.saturating_mul(factor).min(self.max))
        };
        least.saturating_add(span.mul_f64(f64::from(random) / RANDOM_VALUES))
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            base: Duration::from_secs(1),
            max: Duration::from_secs(30),
            stable_after: Duration::from_secs(10),
            max_retry_after: Duration::from_secs(5 * 60),
        }
    }
}

/// How many values there are of what is drawn.
const RANDOM_VALUES: f64 = 4_294_967_296.0;

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: u32 = u32::MAX;
    const DAY: Duration = Duration::from_secs(86_400);

    /// The pause is at least and less than so many milliseconds.
    fn between(
        pace: &Pace,
        code: Option<CloseCode>,
        asked: Option<Duration>,
        tries: u32,
    ) -> (u128, u128) {
        let least = pace.pick(code, asked, tries, 0).as_millis();
        let most = pace.pick(code, asked, tries, MOST);
        (least, most.as_nanos().div_ceil(1_000_000))
    }

    #[test]
    fn bound_doubles_up_to_the_longest() {
        let pace = Pace::default();
        let expected = [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000];
        for (tries, most) in (0..).zip(expected) {
            assert_eq!(between(&pace, None, None, tries), (0, most), "{tries}");
        }
        for tries in [31, 32, 63, 64, MOST] {
            assert_eq!(between(&pace, None, None, tries), (0, 30_000), "{tries}");
        }
        let half = pace.pick(None, None, 2, 1 << 31);
        assert_eq!(half, Duration::from_secs(2));
    }

    #[test]
    fn server_that_names_a_time_is_left_alone_for_it() {
        let pace = Pace::default();
        for (seconds, expected) in [
            (0, (0, 2000)),
            (120, (120_000, 122_000)),
            (300, (300_000, 302_000)),
            (301, (300_000, 302_000)),
            (u64::MAX, (300_000, 302_000)),
        ] {
            let asked = Some(Duration::from_secs(seconds));
            assert_eq!(between(&pace, None, asked, 1), expected, "{seconds}");
        }
        let deaf = Pace {
            max_retry_after: Duration::ZERO,
            ..pace
        };
        assert_eq!(between(&deaf, None, Some(DAY), 1), (0, 2000));
    }

    #[test]
    fn server_that_has_too_many_is_left_alone_for_long() {
        let pace = Pace::default();
        for tries in [0, 9] {
            let bounds = between(&pace, Some(CloseCode::TRY_AGAIN_LATER), None, tries);
            assert_eq!(bounds, (15_000, 30_000));
        }
        for code in [CloseCode::GOING_AWAY, CloseCode::SERVICE_RESTART] {
            assert_eq!(between(&pace, Some(code), None, 0), (0, 1000));
        }
    }

    #[test]
    fn longest_times_do_not_overflow() {
        let pace = Pace {
            base: Duration::MAX,
            max: Duration::MAX,
            stable_after: Duration::MAX,
            max_retry_after: Duration::MAX,
        };
        let longest = pace.pick(None, Some(Duration::MAX), 3, MOST);
        assert_eq!(longest, Duration::MAX);
        assert!(pace.pick(None, None, MOST, MOST) > DAY);
        let none = Pace {
            base: Duration::ZERO,
            ..pace
        };
        assert_eq!(none.pick(None, None, 40, MOST), Duration::ZERO);
    }
}
