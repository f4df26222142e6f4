//! How long to wait before the next connection to the engine.

use std::time::Duration;

use super::chance::Chance;

/// The pauses between attempts: the first at random, then doubling, for ever.
///
/// For the first ten seconds or so they stay short, so that nodes which lost the engine together find it again
/// together: what they kept is of use only if the others are there.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// Returns the pause before the next attempt.
    pub(super) fn next(&mut self, chance: &mut Chance) -> Duration {
        let attempts = self.attempts;
        self.attempts = attempts.saturating_add(1);
        if attempts == 0 {
            return chance.between(Duration::ZERO, FIRST);
        }
        let most = if attempts <= SHORT { SHORT_MOST } else { MOST };
        let doubled = 1_u32.checked_shl(attempts).unwrap_or(u32::MAX);
        let pause = FIRST.saturating_mul(doubled).min(most);
        chance.between(pause / 2, pause * 3 / 2)
    }

    /// Begins anew: a connection was good.
    pub(super) fn reset(&mut self) {
        self.attempts = 0;
    }
}

/// The longest first pause.
const FIRST: Duration = Duration::from_millis(250);

/// How many attempts follow upon each other soon.
const SHORT: u32 = 10;

/// The longest pause between those, before chance makes it half as long again.
const SHORT_MOST: Duration = Duration::from_secs(1);

/// The longest pause, before chance makes it half as long again.
const MOST: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the shortest and the longest of the pauses before each of the attempts.
    fn pauses(attempts: usize) -> Vec<(Duration, Duration)> {
        let mut pauses = vec![(Duration::MAX, Duration::ZERO); attempts];
        for seed in 0..1000 {
            let (mut backoff, mut chance) = (Backoff::default(), Chance::new(seed));
            for (least, most) in &mut pauses {
                let pause = backoff.next(&mut chance);
                *least = pause.min(*least);
                *most = pause.max(*most);
            }
        }
        pauses
    }

    #[test]
    fn pauses_double_up_to_one_second_ten_times_and_are_five_then_give_or_take_half() {
        let mut expected = vec![(0, 250), (250, 750)];
        expected.extend([(500, 1500); 9]);
        expected.extend([(2500, 7500); 3]);
        for ((least, most), expected) in pauses(14).into_iter().zip(expected) {
            let (from, to) = (
                Duration::from_millis(expected.0),
                Duration::from_millis(expected.1),
            );
            assert!(
                from <= least && most <= to,
                "{least:?}..{most:?}, not {expected:?}"
            );
            let near = (to - from) / 20;
            assert!(
                least < from + near && most > to - near,
                "{least:?}..{most:?}"
            );
        }
    }

    #[test]
    fn attempts_go_on_for_ever_no_slower() {
        let (mut backoff, mut chance) = (Backoff::default(), Chance::new(1));
        backoff.attempts = u32::MAX - 10;
        for _ in 0..100 {
            assert!(backoff.next(&mut chance) <= Duration::from_millis(7500));
        }
    }

    #[test]
    fn a_good_connection_makes_the_next_pause_short_again() {
        let (mut backoff, mut chance) = (Backoff::default(), Chance::new(1));
        for _ in 0..20 {
            backoff.next(&mut chance);
        }
        backoff.reset();
        assert!(backoff.next(&mut chance) <= FIRST);
    }
}
