//! How many control frames a peer may send.

use std::time::Duration;

use super::ProtocolError;
use crate::Config;

/// A bucket of control frames that fills with time, which is given as the age of the connection.
///
/// Kept small, because every idle connection has one.
#[derive(Debug)]
pub(crate) struct ControlRate {
    /// The age, in thousandths of a second, up to which frames were earned. Wraps around after 49
    /// days.
    refilled: u32,
    /// [`FULL`] before the first frame.
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
            .checked_sub(1)
            .ok_or(ProtocolError::ControlFlood { rate })?;
        Ok(())
    }

    fn refill(&mut self, age: u32, rate: u32, burst: u32) {
        if self.tokens == FULL {
            *self = Self {
                refilled: age,
                tokens: burst.min(FULL - 1),
            };
            return;
        }
        let elapsed = u64::from(age.wrapping_sub(self.refilled));
        let earned = elapsed * u64::from(rate) / 1000;
        if earned > 0 {
            self.tokens = (u64::from(self.tokens) + earned).min(burst.into()) as u32;
            // Only the time of whole frames is used up; the rest counts next time.
            let used = (earned * 1000).div_ceil(rate.into()).min(elapsed);
            self.refilled = self.refilled.wrapping_add(used as u32);
        }
    }
}

/// More than any bucket holds.
const FULL: u32 = u32::MAX;
