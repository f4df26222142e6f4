//! How many round trips took how long.

use std::time::Duration;

use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A histogram of the [round trips](crate::session::Rtt) of all connections since the beginning.
///
/// Its buckets only grow, and each also counts what is in those before it, as Prometheus expects.
///
/// ```
/// use tower_websocket::Connections;
///
/// let rtt = Connections::new().counters().rtt; // nothing has been timed yet
/// assert_eq!(rtt.count(), 0);
/// assert!(rtt.sum().is_zero());
/// let (last, _) = rtt.buckets().last().expect("there are 16");
/// assert_eq!(last, None); // it counts all
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RttHistogram {
    counts: [u64; BUCKETS],
    micros: u64,
}

impl RttHistogram {
    /// Iterates over the buckets: the longest time that is in one, and how many took no longer.
    ///
    /// The last bucket has no such time (`+Inf`), and counts all. The bounds are 250 µs, 500 µs, 1, 2.5, 5, 10, 25, 50, 100,
    /// 250 and 500 ms, 1, 2.5, 5 and 10 s.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        let bounds = BOUNDS.map(|micros| Some(Duration::from_micros(micros)));
        let bounds = bounds.into_iter().chain([None]);
        let sums = self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        bounds.zip(sums)
    }

    /// Returns how many round trips were timed.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns how long all round trips took together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.micros)
    }
}

/// The histogram as it is kept.
#[derive(Debug, Default)]
pub(super) struct RoundTripCounts {
    counts: [AtomicU64; BUCKETS],
    micros: AtomicU64,
}

impl RoundTripCounts {
    pub(super) fn add(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|&bound| bound < micros);
        self.counts[bucket].fetch_add(1, Relaxed);
        self.micros.fetch_add(micros, Relaxed);
    }

    pub(super) fn snapshot(&self) -> RttHistogram {
        let counts = self.counts.each_ref().map(|count| count.load(Relaxed));
        let micros = self.micros.load(Relaxed);
        RttHistogram { counts, micros }
    }
}

/// In microseconds.
const BOUNDS: [u64; BUCKETS - 1] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

const BUCKETS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_in_the_first_bucket_that_is_long_enough() {
        let counts = RoundTripCounts::default();
        for micros in [0, 250, 251, 1_000, 9_999_999, 10_000_000, 10_000_001] {
            counts.add(Duration::from_micros(micros));
        }
        let histogram = counts.snapshot();
        let found: Vec<_> = histogram.buckets().map(|(_, count)| count).collect();
        let expected = [2, 3, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 6, 7];
        assert_eq!(found, expected);
        assert_eq!(histogram.count(), 7);
        assert_eq!(histogram.sum(), Duration::from_micros(30_001_501));
    }

    #[test]
    fn the_last_bucket_has_no_bound() {
        let histogram = RttHistogram::default();
        let bounds: Vec<_> = histogram.buckets().map(|(bound, _)| bound).collect();
        assert_eq!(bounds.len(), 16);
        assert_eq!(bounds[0], Some(Duration::from_micros(250)));
        assert_eq!(bounds[15], None);
        assert!(bounds[..15].is_sorted());
    }
}
