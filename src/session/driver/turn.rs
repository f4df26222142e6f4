//! One round of a session's turn: what the driver does before the handler is polled, and after.

use std::{pin::Pin, task::Context};

use super::{
    Driver, Phase,
    alarm::Alarm,
    round::{Next, Snapshot, Turn},
    write::Written,
};
use crate::session::shared::CORK;

// A round, in this order:
//
// 1. Look at what is shared: from here on nobody has to wake the session.
// 2. Read and decode, before the handler: pings are answered and a Close is seen though the handler
//    may never yield to its socket.
// 3. Poll the handler (in `task`), again while more of what was read can be given to it.
// 4. Write all that came of it at once, then bring the end and the deadlines on: what the handler has
//    just said leaves before either ends the connection.
// 5. End the turn under the lock that has seen the queue empty, or go round again.
impl Driver {
    /// Begins a round: reads what is there and delivers it. `false` if the session was aborted.
    pub(crate) fn begin_round(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> bool {
        let Some(snapshot) = self.snapshot(cx, turn) else {
            self.abort();
            return false;
        };
        if self.is_condemned() {
            self.give_way(cx);
        }
        self.receive(cx, &snapshot, turn);
        self.take_handler_due();
        true
    }

    /// Reports whether a handler that was polled is given more of what was read before anything is
    /// written.
    ///
    /// It is only while something can still be decoded: a transport that has ended meanwhile, or a
    /// deadline that passed, leaves bytes behind that nobody will ever take.
    pub(crate) fn gives_more(&self, turn: &mut Turn) -> bool {
        if !turn.undecoded || self.phase != Phase::Open || turn.budget.decodes_no_more() {
            return false;
        }
        turn.budget.spend_helping();
        !self.has_deferred() && self.shared.lock().queued() < CORK
    }

    /// Ends a round, once the handler was polled: writes what is queued and keeps the deadlines.
    pub(crate) fn end_round(
        &mut self,
        cx: &mut Context<'_>,
        turn: &mut Turn,
        alarm: Pin<&mut Alarm>,
    ) -> Next {
        let Ok(queue) = self.take_queue() else {
            // Before anything is written.
            self.abort();
            return Next::Over;
        };
        let written = self.transmit(cx, queue, turn);
        self.poll_end(cx);
        let passed = self.poll_deadlines(cx, alarm);
        if self.handler_finished && self.phase == Phase::Ended {
            return Next::Over;
        }
        turn.budget.spend_round();
        if turn.budget.is_spent() {
            self.count(&mut turn.left);
            cx.waker().wake_by_ref();
            return Next::Wait;
        }
        if passed || written == Written::HandlerWaits || self.take_handler_due() || self.has_more()
        {
            return Next::Round;
        }
        // What ended the turn early holds: senders wake the session since then.
        if written == Written::TurnOver || self.end_turn(self.shared.lock(), &mut turn.left) {
            self.read_on(cx, turn);
            Next::Wait
        } else {
            Next::Round
        }
    }

    /// Looks at what is shared: nobody has to wake the session for what comes before the round ends.
    /// `None` if it was aborted.
    fn snapshot(&self, cx: &Context<'_>, turn: &Turn) -> Option<Snapshot> {
        let mut locked = self.shared.lock();
        let (quiet, before) = locked.begin_round(cx.waker());
        let snapshot = Snapshot {
            quiet,
            inbox: locked.inbox_size(),
            queued: locked.queued(),
            observed: locked.is_observed(),
            closing: locked.close_sent(),
        };
        let aborted = locked.is_aborted();
        // What comes next is decoded into it.
        let emptied = turn
            .undecoded
            .then(|| locked.take_emptied_inbox())
            .flatten();
        drop(locked);
        drop(before);
        if let Some(inbox) = emptied {
            inbox.put_back();
        }
        (!aborted).then_some(snapshot)
    }
}
