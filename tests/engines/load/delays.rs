//! How long messages took, in buckets of an eighth of their size.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

pub(crate) struct Delays([AtomicU64; BUCKETS]);

impl Default for Delays {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; BUCKETS])
    }
}

impl Delays {
    pub(crate) fn note(&self, delay: Duration) {
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.0[bucket(micros)].fetch_add(1, Relaxed);
    }

    /// Returns what so many of a thousand did not exceed, as the upper border of its bucket; zero of nothing.
    pub(crate) fn within(&self, permille: u64) -> Duration {
        let counts: Vec<_> = self.0.iter().map(|count| count.load(Relaxed)).collect();
        let needed = (counts.iter().sum::<u64>() * permille).div_ceil(1000);
        let mut sum = 0;
        for (at, count) in counts.iter().enumerate() {
            sum += count;
            if sum >= needed && sum > 0 {
                return Duration::from_micros(upper(at));
            }
        }
        Duration::ZERO
    }

    /// Returns the longest.
    pub(crate) fn longest(&self) -> Duration {
        self.within(1000)
    }
}

/// The bucket of a number: its highest bit, and the three bits behind it.
fn bucket(number: u64) -> usize {
    let number = number.max(8);
    let bits = number.ilog2();
    let eighth = (number >> (bits - 3)) & 7;
    let at = u64::from(bits - 3) * 8 + eighth;
    usize::try_from(at).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// The first number that is above a bucket.
fn upper(at: usize) -> u64 {
    let (bits, eighth) = (at / 8, at as u64 % 8);
    (8 + eighth + 1) << bits
}

/// Up to 2^40 µs: twelve days.
const BUCKETS: usize = 37 * 8;
