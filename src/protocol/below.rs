//! What was written and has not reached the peer: in the buffers of kernels, and on the line.

use std::time::Duration;

use super::ticks::{TICK, TICKS_PER_SECOND};

/// How much lies below us, as a point in time: when all that was written has reached the peer, if that
/// takes half of [`SENDING_FLOOR`] bytes a second.
///
/// At half the speed, so that it is not forgotten what lies below a line that is a little slower than
/// the floor, and always full. Time is in ticks since the connection opened.
#[derive(Debug, Default)]
pub(super) struct Below {
    drained: u32,
    /// What was written since `drained` was last moved, in bytes: less than [`SENDING_FLOOR`].
    unsettled: u16,
    /// By how much `drained` was moved since the last ping was written, in ticks.
    behind_ping: u16,
}

impl Below {
    /// Notes bytes that were given to the transport; reports whether some seconds' worth of them may
    /// still be below us.
    ///
    /// The clock is asked only once in 14 KiB.
    #[inline]
    pub(super) fn written(&mut self, bytes: usize, now: impl FnOnce() -> u32) -> bool {
        let bytes = (bytes as u64).saturating_add(self.unsettled.into());
        if bytes < SENDING_FLOOR {
            self.unsettled = bytes as u16;
            return false;
        }
        self.settle(bytes, now()) >= MUCH_BELOW
    }

    /// Notes that a ping was written, behind all that is below us.
    pub(super) fn ping_written(&mut self, now: u32) {
        let _ticks = self.settle(self.unsettled.into(), now);
        self.behind_ping = 0;
    }

    /// Notes that the peer has answered all pings: what was written before the last one has reached
    /// it.
    pub(super) fn pings_answered(&mut self, now: u32) {
        // At its most it says nothing.
        if self.behind_ping < u16::MAX {
            let most = now.saturating_add(self.behind_ping.into());
            self.drained = self.drained.min(most);
        }
    }

    /// Returns how long what was written, of which at most `most` bytes are still below us, may be on
    /// its way to the peer: in whole seconds, so that a few bytes change no deadline.
    pub(super) fn time(&self, now: u32, most: u64) -> Duration {
        let left = self.drained.saturating_sub(now);
        // `drained` is what it would be at half the speed.
        let left = (TICK * left).as_secs() / 2;
        Duration::from_secs(left.min(most / SENDING_FLOOR))
    }

    /// Gives what is below us no more time: it has had it.
    pub(super) fn forget(&mut self) {
        self.drained = 0;
    }

    /// Moves the time at which all that was written is at the peer's, by so many bytes; returns how
    /// far off it is, in ticks.
    fn settle(&mut self, bytes: u64, now: u32) -> u32 {
        let added = (bytes / DRAINED_PER_TICK).min(MAX_BELOW / DRAINED_PER_TICK) as u32;
        // Less than what takes a tick is left for the next time.
        self.unsettled = (bytes % DRAINED_PER_TICK) as u16;
        let most = now.saturating_add((MAX_BELOW / DRAINED_PER_TICK) as u32);
        self.drained = self.drained.max(now).saturating_add(added).min(most);
        let added = u16::try_from(added).unwrap_or(u16::MAX);
        self.behind_ping = self.behind_ping.saturating_add(added);
        self.drained - now
    }
}

/// How many bytes a second what was written is expected to take to the peer at least: what headers
/// leave of a line of 128 kbit/s, rounded down.
pub(crate) const SENDING_FLOOR: u64 = 14 << 10;

/// What leaves in a tick at half of that.
const DRAINED_PER_TICK: u64 = SENDING_FLOOR / 2 / TICKS_PER_SECOND;

/// From here on it is worth a system call to have the kernel keep less: 4 seconds, as ticks at half
/// the speed.
const MUCH_BELOW: u32 = 800;

/// How much may be below us, on its way to the peer: as much as Linux lets the buffer of a receiver
/// grow, which is more than that of a sender.
pub(crate) const MAX_BELOW: u64 = 6 << 20;
