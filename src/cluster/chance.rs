//! Chance from a seed, so that nothing here asks for random numbers.

use std::time::Duration;

/// Numbers that are spread evenly (SplitMix64): for pauses, not for secrets.
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Draws a time between `least` and `most`.
    pub(super) fn between(&mut self, least: Duration, most: Duration) -> Duration {
        // 16 bits are more than a pause needs.
        let share = most.saturating_sub(least) / u32::from(u16::MAX);
        least.saturating_add(share.saturating_mul(self.draw().into()))
    }

    fn draw(&mut self) -> u16 {
        (self.number() >> 48) as u16
    }

    /// Draws a number.
    pub(super) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_lie_between_the_bounds_and_near_both() {
        let mut chance = Chance::new(2);
        let (least, most) = (Duration::from_millis(500), Duration::from_millis(1500));
        let times: Vec<_> = (0..10_000).map(|_| chance.between(least, most)).collect();
        assert!(times.iter().all(|time| (least..=most).contains(time)));
        let near = Duration::from_millis(10);
        assert!(times.iter().any(|time| *time < least + near));
        assert!(times.iter().any(|time| *time > most - near));
        let mean = times.iter().sum::<Duration>() / 10_000;
        assert!(mean.abs_diff(Duration::from_secs(1)) < near, "{mean:?}");
    }
}
