//! How many control frames a peer may send.

use std::time::{Duration, Instant};

use super::ProtocolError;
use crate::Config;

/// A bucket of control frames that fills with time.
#[derive(Debug)]
pub(crate) struct ControlRate {
    /// `None` before the first frame: the bucket is full.
    refilled: Option<Instant>,
    tokens: u32,
}

impl ControlRate {
    pub(crate) fn new() -> Self {
        Self {
            refilled: None,
            tokens: 0,
        }
    }

    /// Takes one control frame into account.
    pub(crate) fn receive(&mut self, now: Instant, config: &Config) -> Result<(), ProtocolError> {
        let Some(rate) = config.control_frame_rate else {
            return Ok(());
        };
        self.refill(now, rate, config.control_frame_burst);
        self.tokens = self
            .tokens
            .checked_sub(1)
            .ok_or(ProtocolError::ControlFlood { rate })?;
        Ok(())
    }

    fn refill(&mut self, now: Instant, rate: u32, burst: u32) {
        let Some(refilled) = self.refilled else {
            self.refilled = Some(now);
            self.tokens = burst;
            return;
        };
        let earned = now.saturating_duration_since(refilled).as_secs_f64() * f64::from(rate);
        let whole = earned as u32;
        if whole > 0 {
            self.tokens = self.tokens.saturating_add(whole).min(burst);
            // Only the time of whole frames is used up; the rest counts next time.
            self.refilled =
                Some(refilled + Duration::from_secs_f64(f64::from(whole) / f64::from(rate)));
        }
    }
}
