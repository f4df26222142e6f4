//! Chance that comes again.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// A generator of numbers (SplitMix64): the same seed gives the same run.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// A number of this range.
    pub(crate) fn within(&mut self, range: std::ops::RangeInclusive<usize>) -> usize {
        range.start() + self.below(range.end() - range.start() + 1)
    }

    /// Whether something happens that does so this often in a hundred times.
    pub(crate) fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    pub(crate) fn millis(&mut self, most: usize) -> Duration {
        Duration::from_millis(self.within(0..=most) as u64)
    }

    /// A generator for somebody else.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// The length of a message: most are short.
    pub(crate) fn len(&mut self) -> usize {
        match self.below(100) {
            0..25 => self.below(20),
            25..60 => self.pick(&[0, 1, 120, 125, 126, 127, 200, 300]),
            60..85 => self.below(2_000),
            85..95 => self.pick(&[4_000, 4_095, 4_096, 5_000, 9_000]),
            95..99 => self.below(40_000),
            _ => self.pick(&[65_535, 65_536, 70_000, 150_000]),
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
