//! How long an answer takes.

use std::time::Duration;

/// The round-trip time of a connection: from the moment the transport takes a ping until its pong arrives.
///
/// It is measured with the pings of [`Config::ping_interval`](crate::Config::ping_interval) and of
/// [`Sender::ping_and_wait`](crate::Sender::ping_and_wait), in microseconds, up to 71 minutes. It includes the bytes
/// that wait before the ping in the buffers of both kernels, and the time until the session's task runs.
/// [`WebSocket::rtt`](crate::WebSocket::rtt) returns it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Rtt {
    /// The last one measured.
    pub last: Duration,
    /// The smoothed one, as TCP has it: an eighth of the last one and seven of what was before (RFC 6298 §2).
    pub smoothed: Duration,
}

/// What is kept of that, in microseconds; nothing is zero.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RoundTrips {
    last: u32,
    smoothed: u32,
}

impl RoundTrips {
    pub(crate) fn add(&mut self, time: Duration) {
        let last = u32::try_from(time.as_micros()).unwrap_or(u32::MAX).max(1);
        let smoothed = match self.smoothed {
            0 => last,
            // RFC 6298 §2.2 and §2.3, rounded.
            before => ((u64::from(before) * 7 + u64::from(last) + 4) / 8) as u32,
        };
        *self = Self { last, smoothed };
    }

    /// Returns them, where there was one.
    pub(crate) fn get(self) -> Option<Rtt> {
        (self.last > 0).then(|| Rtt {
            last: Duration::from_micros(self.last.into()),
            smoothed: Duration::from_micros(self.smoothed.into()),
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests {
    use super::*;

    fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    #[test]
    fn the_first_one_is_both_and_each_later_one_counts_an_eighth() {
        let mut trips = RoundTrips::default();
        assert_eq!(trips.get(), None);
        for (last, smoothed) in [(8_000, 8_000), (16_000, 9_000), (1_000, 8_000)] {
            trips.add(micros(last));
            let (last, smoothed) = (micros(last), micros(smoothed));
            assert_eq!(trips.get(), Some(Rtt { last, smoothed }));
        }
    }

    #[test]
    fn extremes_stay_what_they_are() {
        let mut trips = RoundTrips::default();
        trips.add(Duration::ZERO);
        assert_eq!(trips.get().unwrap().last, micros(1));
        for _ in 0..200 {
            trips.add(Duration::MAX);
        }
        let most = micros(u32::MAX.into());
        let rtt = trips.get().unwrap();
        assert_eq!(rtt.last, most);
        // What is less than half of an eighth is rounded away.
        assert!(most - rtt.smoothed < micros(4), "{rtt:?}");
    }

    #[test]
    fn it_takes_eight_bytes() {
        assert_eq!(size_of::<RoundTrips>(), 8);
    }
}
