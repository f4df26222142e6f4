//! How many control frames a peer may send.

use std::time::Duration;

use super::error::ProtocolError;
use crate::config::Config;

/// A bucket of control frames that fills with time, which is given as the age of the connection.
///
/// Kept small, because every idle connection has one.
#[derive(Debug)]
pub(crate) struct ControlRate {
    /// The age at which it was last filled, in thousandths of a second. Wraps around after 49 days.
    refilled: u32,
    /// Thousandths of a frame; [`FULL`] before the first frame.
    tokens: u32,
}

impl Default for ControlRate {
    fn default() -> Self {
        Self {
            refilled: 0,
            tokens: FULL,
        }
    }
}

impl ControlRate {
    /// Takes one control frame into account.
    pub(crate) fn receive(&mut self, age: Duration, config: &Config) -> Result<(), ProtocolError> {
        let Some(rate) = config.control_frame_rate else {
            return Ok(());
        };
        self.refill(age.as_millis() as u32, rate, config.control_frame_burst);
        self.tokens = self
            .tokens
            .checked_sub(FRAME)
            .ok_or(ProtocolError::ControlFlood { rate })?;
        Ok(())
    }

    fn refill(&mut self, age: u32, rate: u32, burst: u32) {
        let most = burst.saturating_mul(FRAME).min(FULL - 1);
        // Frames a second, times thousandths of a second: nothing is rounded.
        let earned = u64::from(age.wrapping_sub(self.refilled)) * u64::from(rate);
        let tokens = earned.saturating_add(self.tokens.into()).min(most.into());
        self.tokens = tokens as u32;
        self.refilled = age;
    }
}

/// What a frame takes.
const FRAME: u32 = 1000;

/// More than any bucket holds.
const FULL: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how many of `frames` control frames at `age` pass.
    fn pass(bucket: &mut ControlRate, frames: u32, age: Duration, config: &Config) -> u32 {
        (0..frames)
            .map(|_| u32::from(bucket.receive(age, config).is_ok()))
            .sum()
    }

    #[test]
    fn burst_passes_and_the_next_frame_fails() {
        let (age, config) = (Duration::from_secs(1), Config::default());
        let mut bucket = ControlRate::default();
        assert_eq!(pass(&mut bucket, 200, age, &config), 200);
        assert_eq!(
            bucket.receive(age, &config),
            Err(ProtocolError::ControlFlood { rate: 100 })
        );
    }

    #[test]
    fn after_the_burst_frames_pass_at_the_rate() {
        let (start, config) = (Duration::from_secs(1), Config::default());
        let mut bucket = ControlRate::default();
        pass(&mut bucket, 200, start, &config);
        assert_eq!(
            pass(&mut bucket, 1, start + Duration::from_millis(9), &config),
            0
        );
        assert_eq!(
            pass(&mut bucket, 2, start + Duration::from_millis(11), &config),
            1
        );
        assert_eq!(
            pass(
                &mut bucket,
                200,
                start + Duration::from_millis(1011),
                &config
            ),
            100
        );
    }

    #[test]
    fn time_never_saves_up_more_than_the_burst() {
        for (rate, burst) in [(100, 200), (1, 1), (u32::MAX, 1000)] {
            let config = Config::default()
                .control_frame_rate(rate)
                .control_frame_burst(burst);
            let mut bucket = ControlRate::default();
            for days in [0, 1, 40, 89, 1000] {
                let age = Duration::from_secs(days * 86_400 + 1);
                assert_eq!(pass(&mut bucket, 2 * burst, age, &config), burst, "{days}");
            }
        }
    }

    #[test]
    fn frames_at_the_rate_pass_for_ever() {
        for rate in [1, 3, 7, 99, 100, 300, 700, 1500] {
            let config = Config::default()
                .control_frame_rate(rate)
                .control_frame_burst(3);
            let mut bucket = ControlRate::default();
            for frame in 0..20_000 {
                let age = Duration::from_secs(1) * frame / rate;
                assert_eq!(
                    bucket.receive(age, &config),
                    Ok(()),
                    "frame {frame} at {rate}"
                );
            }
        }
    }

    #[test]
    fn frames_above_the_rate_use_up_the_burst() {
        let start = Duration::from_secs(1);
        let config = Config::default();
        let mut bucket = ControlRate::default();
        let passed = (0..1000)
            .take_while(|frame| {
                let age = start + Duration::from_millis(5) * *frame;
                bucket.receive(age, &config).is_ok()
            })
            .count();
        // 200 frames a second against 100 take two seconds to empty a bucket of 200.
        assert!((399..=401).contains(&passed), "{passed}");
    }

    #[test]
    fn without_a_rate_everything_passes() {
        let (age, config) = (
            Duration::from_secs(1),
            Config::default().control_frame_rate(None),
        );
        assert_eq!(
            pass(&mut ControlRate::default(), 100_000, age, &config),
            100_000
        );
    }

    #[test]
    fn bucket_without_a_burst_takes_nothing() {
        let config = Config::default().control_frame_burst(0);
        let mut bucket = ControlRate::default();
        assert_eq!(pass(&mut bucket, 9, Duration::ZERO, &config), 0);
        assert_eq!(pass(&mut bucket, 9, Duration::from_secs(9), &config), 0);
    }
}
