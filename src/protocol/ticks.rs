//! The time of a connection, in ticks since it opened.

use std::time::Duration;

/// Returns a duration in ticks, rounded up.
pub(super) fn ticks(duration: Duration) -> u32 {
    u32::try_from(duration.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(NEVER)
}

/// The unit of deadlines.
pub(super) const TICK: Duration = Duration::from_millis(10);

pub(super) const TICKS_PER_SECOND: u64 = 100;

pub(super) const NEVER: u32 = u32::MAX;
