//! Whether a turn may end, asked under one lock.

use super::{Driver, Input, Phase, round::Turn};
use crate::{
    lock::LockGuard,
    memory::LITTLE,
    session::{
        shared::locked::{Awaited, Locked},
        traffic::Traffic,
    },
};

impl Driver {
    /// Ends the turn, unless something has come up that no waker will report.
    #[inline]
    pub(super) fn end_turn(&self, mut locked: LockGuard<'_, Locked>, turn: &mut Turn) -> bool {
        if self.has_to_go_on(&locked) {
            return false;
        }
        turn.left = locked.held();
        let paused = self.input == Input::Paused && !self.is_throttled();
        let awaited = if paused || self.is_patient() {
            Awaited::Room
        } else if locked.inbox_size() >= LITTLE {
            Awaited::All
        } else {
            Awaited::Nothing
        };
        locked.end_turn(awaited);
        // What has to be flushed is, once the lock is released; then it goes back where the turn is left.
        if !self.flush_pending
            && let Some(transport) = turn.line.transport.take()
        {
            locked.put_back_transport(transport);
        }
        let flushed = locked.end_loan(self.setup(), None);
        let inbox = locked.take_spent_inbox();
        let entry = self.entry.as_deref();
        let counted = entry.map(|entry| (entry, self.traffic(&locked)));
        drop(locked);
        drop(flushed);
        if let Some((entry, traffic)) = counted {
            entry.count(traffic);
        }
        if let Some(inbox) = inbox {
            inbox.put_back();
        }
        true
    }

    /// Reports whether there is more to do right away, as far as the driver alone knows.
    pub(super) fn has_more(&self) -> bool {
        if self.has_deferred() {
            return !self.is_patient();
        }
        self.input == Input::Ready && self.phase != Phase::Ended
    }

    /// Reports whether there is something to do that nothing will wake the session for.
    #[inline]
    fn has_to_go_on(&self, locked: &Locked) -> bool {
        let writable = !self.write_blocked && !self.write_failed && self.phase != Phase::Ended;
        let queued = locked.queued() > 0;
        (queued && (writable || self.is_close_unbounded(locked)))
            || locked.abandoned(self.handler_finished).is_some()
            || self.can_resume(locked)
            || locked.is_aborted()
            || (self.is_patient() && !locked.receiver_is_away(self.handler_finished))
    }

    /// Reports whether decoding can go on.
    fn can_resume(&self, locked: &Locked) -> bool {
        self.input == Input::Paused
            && self.phase == Phase::Open
            && !self.has_deferred()
            && (locked.close_sent() || (!self.is_held_up() && self.shared.has_room(locked)))
    }

    /// Reports whether decoding waits for a time to come.
    fn is_held_up(&self) -> bool {
        self.is_stopped() || self.is_throttled()
    }

    /// Reports whether a Close waits behind what the transport does not take, and has no deadline yet.
    fn is_close_unbounded(&self, locked: &Locked) -> bool {
        let stuck = self.write_blocked && self.phase != Phase::Ended;
        stuck && locked.close_sent() && !self.timers.is_closing()
    }

    /// Counts what has gone over the connection so far, before the end of a turn.
    pub(super) fn count(&self, turn: &mut Turn) {
        let mut locked = self.shared.lock_to_drive();
        turn.left = locked.held();
        if let Some(transport) = turn.line.transport.take() {
            locked.put_back_transport(transport);
        }
        let traffic = self.traffic(&locked);
        drop(locked);
        if let Some(entry) = &self.entry {
            entry.count(traffic);
        }
    }

    /// Returns what has gone over the connection so far.
    pub(super) fn traffic(&self, locked: &Locked) -> Traffic {
        let (messages_sent, bytes_sent) = locked.sent();
        Traffic {
            messages_received: self.incoming.messages(),
            bytes_received: self.incoming.bytes(),
            messages_sent,
            bytes_sent,
            queue_full: locked.queue_full(),
        }
    }
}
