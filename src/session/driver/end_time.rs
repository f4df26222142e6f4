//! How long the end may take.

use std::{task::Context, time::Duration};

use super::{Driver, cold::EndWatch, round::Line};
use crate::protocol::SENDING_FLOOR;

impl Driver {
    /// What is queued may leave slowly, but not for ever: each 14 KiB have another second.
    pub(super) fn bound_end(&mut self) {
        if !self.timers.is_closing() {
            let queued = self.shared.lock_to_drive().queued();
            let timeout = self.drain_timeout(queued);
            self.timers.bound_end(Self::now(), timeout);
            self.watch_end(queued);
        }
    }

    /// How long what is queued has to leave.
    fn drain_timeout(&self, queued: usize) -> Duration {
        let config = self.config();
        let patience = config
            .close_timeout
            .saturating_add(config.write_timeout.unwrap_or_default());
        patience.saturating_add(Duration::from_secs(queued as u64 / SENDING_FLOOR))
    }

    /// Waits for nothing but the end from now on.
    pub(super) fn await_end(&mut self, timeout: Duration) {
        self.timers.closing(Self::now(), timeout);
        self.cold().end = None;
        // A pong that is queued behind our Close does not bring the end nearer when it leaves.
        self.watch_end(0);
    }

    /// Remembers how far the end is, to see later whether it has come nearer.
    fn watch_end(&mut self, queued: usize) {
        let now = Self::now();
        let cold = self.cold();
        let discarded = cold.discarded;
        let watch = cold.end.get_or_insert_with(|| EndWatch::new(now));
        (watch.since, watch.queued, watch.discarded) = (now, queued, discarded);
    }

    /// Decides, when the time for the end is over, whether it gets more; reports whether it does.
    ///
    /// It does while the end comes nearer: what is queued leaves, at half the speed of the slowest
    /// line at least, which bounds the time; or the peer is still sending, at that speed, what it
    /// had begun before it could see our Close. A connection that is dropped with such bytes unread
    /// is reset, and a reset takes our Close away from a peer that has not read it yet.
    pub(super) fn prolong_end(&mut self, cx: &mut Context<'_>, line: &mut Line) -> bool {
        // The write that is tried once more begins a watch of its own.
        let Some(watch) = self.cold().end else {
            return false;
        };
        if self.write_anyway(cx, line) && self.write_failed {
            // The end has got another deadline with that.
            return true;
        }
        let now = Self::now();
        let queued = self.shared.lock_to_drive().queued();
        let limit = self.config().close_timeout.saturating_mul(MOST_TERMS);
        let discarded = self.cold().discarded;
        let floor = (now - watch.since).as_secs().saturating_mul(SENDING_FLOOR);
        let left = watch.queued.saturating_sub(queued) as u64;
        let came = discarded - watch.discarded;
        if left > 0 && queued == 0 && self.timers.is_closing() {
            // The Close has left just now, and its answer has a time of its own.
            return true;
        }
        let timeout = if left > 0 && (queued == 0 || left >= floor / 2) {
            self.drain_timeout(queued)
        } else if came > 0 && came >= floor && now - watch.first < limit {
            self.end_timeout(line)
        } else {
            return false;
        };
        self.timers.bound_end(now, timeout);
        self.watch_end(queued);
        true
    }

    pub(super) fn end_timeout(&self, line: &Line) -> Duration {
        if line.is_multiplexed() {
            self.config().close_timeout
        } else {
            self.config().linger
        }
    }
}

/// How often the wait for the end may last `close_timeout` while the peer goes on sending.
const MOST_TERMS: u32 = 6;
